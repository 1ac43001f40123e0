//! The protocol's own pings.

use std::time::Duration;

use broker::protocol::{PingParameters, PingPrecision};

use crate::client::{Client, pass, settle};
use crate::parts::{Options, Parts, SECOND};
use crate::pipe::pipe;

#[tokio::test(start_paused = true)]
async fn each_client_is_pinged_at_its_own_interval_and_precision() {
    let broker = Parts::start(&Options::default());
    let connect = |milliseconds, ping_precision| {
        let ping_interval = Duration::from_millis(milliseconds);
        let (near, far) = pipe(1 << 20);
        tokio::spawn(broker.open(near, PingParameters { ping_interval, ping_precision }, &[]));
        (Client::new(far), ping_precision, milliseconds)
    };
    let clients = [
        connect(500, PingPrecision::Seconds),
        connect(3000, PingPrecision::Milliseconds),
        connect(10_000, PingPrecision::Nanoseconds),
        connect(0, PingPrecision::Seconds),
    ];
    let before = broker.context.clock.unix();
    pass(60_050).await;
    let after = broker.context.clock.unix();
    for (mut client, precision, interval) in clients {
        let pings: Vec<u64> = client.messages()[1..]
            .iter()
            .map(|message| {
                assert_eq!(message["type"], "ping");
                message["message"].as_u64().expect("a number")
            })
            .collect();
        let expected = 60_000_u64.checked_div(interval).unwrap_or(0);
        assert!(
            (expected.saturating_sub(1)..=expected).contains(&(pings.len() as u64)),
            "{pings:?}"
        );
        for at in pings {
            assert!((precision.timestamp(before)..=precision.timestamp(after)).contains(&at));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_comes_when_it_is_due() {
    let ping_interval = 3 * SECOND;
    let ping = PingParameters { ping_interval, ping_precision: PingPrecision::Seconds };
    let broker = Parts::start(&Options { ping, ..Options::default() });
    let mut client = broker.connect();
    pass(2800).await;
    assert_eq!(client.messages().len(), 1);
    pass(400).await;
    assert_eq!(client.messages().len(), 1);
    pass(2600).await;
    assert_eq!(client.messages().len(), 0);
    pass(400).await;
    assert_eq!(client.messages().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_not_made_up_for() {
    let ping = PingParameters { ping_interval: SECOND, ping_precision: PingPrecision::Seconds };
    let broker = Parts::start(&Options { ping, ..Options::default() });
    let mut client = broker.connect();
    pass(500).await;
    tokio::time::advance(3600 * SECOND).await;
    settle().await;
    pass(1000).await;
    assert!(client.messages().len() <= 3);
}
