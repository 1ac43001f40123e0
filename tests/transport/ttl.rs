//! Members leave after the TTL, and not before.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use broker::protocol::action_cable;
use broker::shard::Input;
use broker::shard::{GroupKey, SubscriberKey};
use broker::types::{Grant, Identifier, StreamCommand, Subscribe, SubscribeOptions};
use futures_util::FutureExt as _;
use parking_lot::Mutex;

use crate::client::{Client, pass, settle};
use crate::parts::{Options, Parts, QUIET, SECOND};
use crate::pipe::pipe;

fn leave(id: &str) -> (String, String) {
    ("leave".to_owned(), id.to_owned())
}

/// Someone who has joined a stream, and someone who has seen it.
async fn joined(broker: &Parts) -> (Client, Client) {
    let (client, mut watcher) = (broker.connect(), broker.connect());
    watcher.command("subscribe", "room");
    settle().await;
    client.join("room", "ann");
    settle().await;
    assert_eq!(watcher.events(), [("join".to_owned(), "ann".to_owned())]);
    (client, watcher)
}

#[tokio::test(start_paused = true)]
async fn a_leave_comes_when_the_ttl_is_over_to_the_millisecond() {
    for ttl in [1, 2, 99, 100, 101, 1999, 15_000] {
        let options = Options { ttl: Duration::from_millis(ttl), ..Options::default() };
        let broker = Parts::start(&options);
        let (client, mut watcher) = joined(&broker).await;
        pass(12_345).await;
        client.far.reset();
        settle().await;
        pass(ttl - 1).await;
        assert_eq!(watcher.events(), [], "within {ttl} ms");
        pass(2).await; // one to the end, one that timers are coarse by
        settle().await;
        assert_eq!(watcher.events(), [leave("ann")], "after {ttl} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_ttl_a_leave_comes_at_once() {
    let broker = Parts::start(&Options { ttl: Duration::ZERO, ..Options::default() });
    let (client, mut watcher) = joined(&broker).await;
    client.far.end();
    settle().await;
    assert_eq!(watcher.events(), [leave("ann")]);
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_back_in_time_never_left() {
    let broker = Parts::start(&Options::default());
    let (client, mut watcher) = joined(&broker).await;
    client.far.reset();
    pass(1900).await;
    let again = broker.connect();
    again.join("room", "ann");
    pass(60_000).await;
    assert_eq!(watcher.events(), []);
    assert_eq!(broker.presence("room").await, ["ann"]);
    assert_eq!(broker.metric("broker_presence_records"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_ttl_counts_from_the_end_even_if_the_shard_is_busy() {
    let broker = Arc::new(Parts::start(&Options::default()));
    let (_client, mut watcher) = joined(&broker).await;
    let (near, far) = pipe(1 << 20);
    let leaving = broker.open(near, QUIET, &[]);
    let leaving = Arc::new(Mutex::new(Some(leaving)));
    let leaver = Client::new(far);
    leaver.join("room", "bob");
    // it gets its turns from here, so that it can end while the shard writes to somebody else
    poll_fn(|context| {
        let turn = leaving.lock().as_mut().map(|connection| connection.poll_unpin(context));
        assert_eq!(turn, Some(Poll::Pending));
        Poll::Ready(())
    })
    .await;
    settle().await;
    assert_eq!(watcher.events().len(), 1);

    let taken = Arc::clone(&leaving);
    let (near, _far) = pipe(1 << 20);
    let near = near.before_write(move || {
        if taken.lock().take().is_some() {
            assert!(tokio::time::advance(Duration::from_millis(900)).now_or_never().is_none());
        }
    });
    let identifier = Identifier::from("\"busy\"");
    let group = GroupKey::new(action_cable::CODEC, identifier);
    let key = SubscriberKey { session: broker.next_session(), group };
    let command = StreamCommand::from(Subscribe {
        join: None,
        history: None,
        grant: Grant::OPEN,
        options: SubscribeOptions::default(),
    });
    let input = Input::Command { key, recipient: broker.recipient(near), command, reference: None };
    let start = broker.context.clock.now();
    broker.send("busy", input).await;
    settle().await;
    assert!(leaving.lock().is_none(), "the shard wrote");
    let busy = broker.context.clock.now() - start;
    assert!(busy >= Duration::from_millis(900), "{busy:?}");
    pass(2000 - 900 - 1).await;
    assert_eq!(watcher.events(), []);
    pass(2).await;
    settle().await;
    assert_eq!(watcher.events(), [leave("bob")]);
    broker.router.publish("room".into(), broker.publication("1")).await.expect("a shard");
}

#[tokio::test(start_paused = true)]
async fn a_pause_counts_against_nobody() {
    let broker = Parts::start(&Options { ttl: 15 * SECOND, ..Options::default() });
    let (client, mut watcher) = joined(&broker).await;
    client.far.reset();
    pass(5000).await;
    tokio::time::advance(3600 * SECOND).await;
    settle().await;
    pass(9500).await;
    assert_eq!(watcher.events(), []);
    pass(600).await;
    assert_eq!(watcher.events(), [leave("ann")]);
    assert!((3599..=3600).contains(&broker.context.clock.paused().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task_leaves_nothing_behind() {
    let broker = Parts::start(&Options::default());
    let mut watcher = broker.connect();
    watcher.command("subscribe", "room");
    let (client, task) = broker.connect_with(1 << 20);
    client.join("room", "ann");
    client.join("hall", "ann");
    settle().await;
    assert_eq!(broker.metric("broker_subscriptions"), 3);
    task.abort();
    settle().await;
    assert!(client.far.is_closed());
    assert_eq!(broker.metric("broker_subscriptions"), 1);
    assert_eq!(broker.context.connections(), 1);
    assert_eq!(broker.presence("room").await, ["ann"]);
    pass(2001).await;
    settle().await;
    assert_eq!(watcher.events(), [("join".to_owned(), "ann".to_owned()), leave("ann")]);
    watcher.far.reset();
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_ran_leaves_nothing_behind() {
    let broker = Parts::start(&Options::default());
    let (near, far) = pipe(1 << 20);
    let connection = broker.open(near, QUIET, &crate::client::subscribe("room"));
    settle().await;
    assert_eq!(broker.metric("broker_subscriptions"), 1);
    drop(connection);
    broker.assert_empty().await;
    assert!(far.is_closed());
}
