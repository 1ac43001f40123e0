//! An overloaded shard.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker::protocol::action_cable;
use broker::shard::{End, GroupKey, Input, SubscriberKey};
use broker::types::{
    Grant, Identifier, SessionId, StreamCommand, StreamName, Subscribe, SubscribeOptions,
};

use crate::client::{Client, join, subscribe};
use crate::parts::{Options, Parts};
use crate::pipe::pipe;

/// A door that a shard waits at while it is shut.
#[derive(Default)]
struct Door {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    is_shut: bool,
    is_waited_at: bool,
}

impl Door {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut(&self) {
        self.state().is_shut = true;
    }

    fn open(&self) {
        self.state().is_shut = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state();
        state.is_waited_at = state.is_shut;
        drop(self.opened.wait_while(state, |state| state.is_shut));
    }
}

/// Opens the door at the latest when the test is over, however it ends.
struct Key(Arc<Door>);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// An input that changes nothing.
fn nothing() -> Input<broker::outbound::Recipient> {
    let group = GroupKey::new(action_cable::CODEC, Identifier::from("\"\""));
    let key = SubscriberKey { session: SessionId::from_bits(u128::MAX), group };
    Input::Ended { key, end: End::at(broker::clock::Clock::new().now()) }
}

/// Waits, in real time, until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to pass that {what}");
}

fn confirmed(client: &mut Client) -> usize {
    let messages = client.messages();
    messages.iter().filter(|message| message["type"] == "confirm_subscription").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_queue_blocks_whoever_needs_it_and_loses_nothing() {
    let broker = Parts::start(&Options { shards: 2, ttl: Duration::ZERO, ..Options::default() });
    let door = Arc::new(Door::default());
    let (near, _far) = pipe(1 << 20);
    let near = near.before_write({
        let door = Arc::clone(&door);
        move || door.pass()
    });
    let group = GroupKey::new(action_cable::CODEC, Identifier::from("\"\""));
    let subscriber = SubscriberKey { session: broker.next_session(), group };
    let command = StreamCommand::from(Subscribe {
        join: None,
        history: None,
        grant: Grant::OPEN,
        options: SubscribeOptions::default(),
    });
    let input = Input::Command {
        key: subscriber,
        recipient: broker.recipient(near),
        command,
        reference: None,
    };
    broker.send("slow", input).await;
    until("the shard has a subscriber", || broker.metric("broker_subscriptions") == 1).await;

    let key = Key(Arc::clone(&door));
    door.shut();
    broker.router.publish("slow".into(), broker.publication("1")).await.expect("a shard");
    until("the shard stands at the door", || door.state().is_waited_at).await;
    while broker.router.try_send("slow".into(), nothing()).is_ok() {}
    let is_full =
        |name: &String| broker.router.try_send(StreamName::from(name.as_str()), nothing()).is_err();
    let (slow, quick): (Vec<String>, Vec<String>) =
        (0..40).map(|number| format!("stream-{number}")).partition(is_full);
    assert!(slow.len() > 5 && quick.len() > 5, "{slow:?} {quick:?}");

    let (mut blocked, mut free) = (broker.connect(), broker.connect());
    let (mut gone, task) = broker.connect_with(1 << 20);
    let all = |names: &[String]| names.iter().flat_map(|name| subscribe(name)).collect::<Vec<u8>>();
    blocked.far.send(&all(&slow));
    // at once, as nothing more is read when one of them has to wait
    gone.far.send(&[all(&slow), join(&slow[0], "ann")].concat());
    free.far.send(&all(&quick));
    let mut count = 0;
    until("the other shard's streams are followed", || {
        count += confirmed(&mut free);
        count == quick.len()
    })
    .await;
    assert_eq!((confirmed(&mut blocked), confirmed(&mut gone)), (0, 0));
    // while it waits, it reads nothing more, and it can end
    until("it has read what it is to wait with", || blocked.far.unread() == 0).await;
    let more = subscribe("one more");
    blocked.far.send(&more);
    until("it has read its commands", || gone.far.unread() == 0).await;
    task.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(blocked.far.unread(), more.len());

    drop(key);
    let mut count = 0;
    until("all of its commands are followed", || {
        count += confirmed(&mut blocked);
        count == slow.len() + 1
    })
    .await;
    // those of the one that has gone are undone, in their order
    let left = 1 + slow.len() + 1 + quick.len();
    until("the one that has gone follows nothing", || {
        broker.metric("broker_subscriptions") == left as u64
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(broker.metric("broker_subscriptions"), left as u64, "it comes back");
    for name in &slow {
        assert!(broker.presence(name).await.is_empty());
    }
}
