//! Clients that read too slowly.

use serde_json::{Value, json};

use crate::client::{Frame, pass, settle};
use crate::parts::{Options, Parts};

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_whole_frames_and_the_reason() {
    // so that the cut falls on every kind of place: rooms of all sizes, single frames and many
    for (room, size, at_once) in (0..60).map(|n| (201 + 37 * n, 60 + 61 * n % 700, 1 + n % 5)) {
        let broker = Parts::start(&Options { max_outbox: 9000, ..Options::default() });
        let (mut client, _task) = broker.connect_with(room);
        client.command("subscribe", "room");
        let mut frames = Vec::new();
        for _ in 0..20 {
            settle().await;
            frames.extend(client.frames());
        }
        assert_eq!(frames.len(), 2, "welcome and confirmation");
        frames.clear();
        for number in 0..20_000 / size {
            broker.publish("room", &json!([number, "x".repeat(size)]).to_string()).await;
            if number % at_once == 0 {
                settle().await;
                let max = if number % 3 == 0 { size / 4 } else { 0 };
                frames.extend(client.receive(max));
            }
        }
        assert_eq!(broker.metric("broker_outbox_overflows_total"), 1, "{room} {size} {at_once}");
        let before = frames.len();
        for _ in 0..1000 {
            settle().await;
            frames.extend(client.frames());
            if client.far.unread() == 0
                && frames.last().is_some_and(|f| matches!(f, Frame::Close(..)))
            {
                break;
            }
        }
        assert_eq!(client.partial(), 0, "half a frame was left");
        let [messages @ .., Frame::Text(disconnect), Frame::Close(1000, reason)] = &*frames else {
            panic!("{frames:?}")
        };
        let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        let said = json!({"type": "disconnect", "reason": "too_slow", "reconnect": true});
        assert_eq!((parse(disconnect), reason.as_str()), (said, "too_slow"));
        // no more than what was on its way already, and the frames at either end of that
        let Some(Frame::Text(first)) = messages.first() else { panic!("{messages:?}") };
        let size = first.len();
        assert!(messages.len().saturating_sub(before) <= room / size + 2, "{room} {size}");
        for (number, message) in messages.iter().enumerate() {
            let Frame::Text(message) = message else { panic!("{message:?}") };
            assert_eq!(parse(message)["message"][0], json!(number));
        }
        client.close(1000);
        settle().await;
        assert!(client.far.is_at_end());
        client.far.end();
        broker.assert_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_up_nobody() {
    let broker = Parts::start(&Options { max_outbox: 1 << 20, ..Options::default() });
    let (mut slow, _task) = broker.connect_with(500);
    let mut quick = broker.connect();
    for client in [&slow, &quick] {
        client.command("subscribe", "room");
    }
    settle().await;
    for number in 0..100 {
        broker.publish("room", &json!([number, "x".repeat(300)]).to_string()).await;
    }
    settle().await;
    let numbers = |messages: &[Value]| -> Vec<u64> {
        messages.iter().filter_map(|message| message["message"][0].as_u64()).collect()
    };
    assert_eq!(numbers(&quick.messages()), (0..100).collect::<Vec<_>>());
    let mut received = Vec::new();
    for _ in 0..200 {
        received.extend(numbers(&slow.messages()));
        pass(10).await;
    }
    assert_eq!(received, (0..100).collect::<Vec<_>>(), "all of it comes, as it reads");
}
