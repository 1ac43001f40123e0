//! A stream that many follow: the real shard's task, its queue, its encoding and its outboxes.
//! Only the sockets are none. A kernel's `send` is ten times what the broker does for it, and
//! another machine's kernel another ten; `broker-bench` measures with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::clock::Clock;
use broker::config::defaults;
use broker::node::{Router, Startup};
use broker::outbound::{Outbox, Recipient};
use broker::protocol::{action_cable, chat, phoenix, typed};
use broker::shard::{Input, Publish, Put, SubscriberKey};
use broker::telemetry::Instruments;
use broker::types::{
    Codec, Grant, GroupKey, Identifier, Join, Listing, SessionId, StreamCommand, StreamName,
    Subscribe, SubscribeOptions,
};
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::nowhere::Nowhere;
use super::settings::settings;
use super::work::Work;

/// What a chat's message or a reading of a sensor looks like.
const MESSAGE: &str =
    r#"{"author":"ann","text":"The quick brown fox jumps over the lazy dog","number":1234567}"#;

/// How often others get their turn before what should have been told counts as lost.
const MAX_TURNS: u32 = 100_000;

/// Everyone is told one message.
pub(crate) fn fan_out(codec: Codec, subscribers: u32) -> Work {
    let name = format!("{} to {subscribers}", name_of(codec));
    Work::again(("fan-out", name), subscribers.into(), move || {
        let room = Room::with(codec, subscribers);
        move || {
            room.publish();
            room.wait(subscribers.into());
        }
    })
}

/// Everyone is told many messages, which their shard finds in its queue together.
pub(crate) fn burst(codec: Codec, messages: u32, subscribers: u32) -> Work {
    let name = format!("{}, {messages} at once to {subscribers}", name_of(codec));
    Work::again(("fan-out", name), (messages * subscribers).into(), move || {
        let room = Room::with(codec, subscribers);
        move || {
            for _ in 0..messages {
                room.publish();
            }
            room.wait(subscribers.into());
        }
    })
}

/// A member joins and leaves, and all subscribers get both events.
pub(crate) fn churn(codec: Codec, members: u32) -> Work {
    let name = format!("{}, a join and a leave in a room of {members}", name_of(codec));
    Work::again(("churn", name), 2, move || {
        let room = Room::with(codec, members);
        for member in 0..members - 1 {
            room.command(member, StreamCommand::Join(join(member, "{}")));
        }
        room.catch_up();
        let visitor = members - 1;
        move || {
            room.command(visitor, StreamCommand::Join(join(visitor, r#"{"name":"Ann"}"#)));
            room.wait(members.into());
            room.command(visitor, StreamCommand::Leave(None));
            room.wait(members.into());
        }
    })
}

/// Somebody asks who is present, and nothing has changed since that was last asked.
pub(crate) fn list(codec: Codec, members: u32) -> Work {
    let name = format!("{}, {members} members", name_of(codec));
    Work::again(("list", name), members.into(), move || {
        let room = Room::with(codec, 1);
        room.fill(members);
        move || {
            room.ask();
            room.wait(1);
        }
    })
}

/// Somebody asks who is present just after one of them has changed.
pub(crate) fn list_after_a_change(codec: Codec, members: u32) -> Work {
    let name = format!("{}, {members} members after a change", name_of(codec));
    Work::again(("list", name), members.into(), move || {
        let room = Room::with(codec, 1);
        room.fill(members);
        let mut changes = 0_u64;
        move || {
            changes += 1;
            room.put(0, &changes.to_string());
            room.wait(1);
            room.ask();
            room.wait(1);
        }
    })
}

/// A shard at work, and those who follow one stream of it.
struct Room {
    runtime: Runtime,
    router: Arc<Router>,
    stream: StreamName,
    group: GroupKey,
    outboxes: Vec<Recipient>,
    writes: Arc<AtomicU64>,
    _stop: DropGuard,
}

impl Room {
    /// A room that so many follow, all alike.
    fn with(codec: Codec, subscribers: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().expect("a runtime");
        let (clock, instruments) = (Clock::new(), Arc::new(Instruments::new()));
        let (stop, failed) = (CancellationToken::new(), CancellationToken::new());
        let startup = Startup::empty(1, settings(), clock.now());
        let router = {
            let _within = runtime.enter();
            startup.start(&clock, &instruments, &TaskTracker::new(), &stop, &failed)
        };
        let writes = Arc::new(AtomicU64::new(0));
        let limit = u32::try_from(defaults::MAX_OUTBOX_SIZE).expect("a limit");
        let outbox = |_| {
            let writes = Arc::clone(&writes);
            let count = move || {
                writes.fetch_add(1, Ordering::Relaxed);
            };
            Outbox::new(Box::new(Nowhere(count)), codec, limit)
        };
        let outboxes = (0..subscribers).map(outbox).collect();
        let group = GroupKey::new(codec, Identifier::from(r#""room""#));
        let stream = StreamName::from("room");
        let room =
            Self { runtime, router, stream, group, outboxes, writes, _stop: stop.drop_guard() };
        for subscriber in 0..subscribers {
            room.command(
                subscriber,
                StreamCommand::from(Subscribe {
                    join: None,
                    history: None,
                    grant: Grant::OPEN,
                    options: SubscribeOptions::default(),
                }),
            );
        }
        room.catch_up();
        room
    }

    /// Puts members that aren't subscribers.
    fn fill(&self, members: u32) {
        for member in 0..members {
            self.put(member, "0");
        }
        self.catch_up();
    }

    fn publish(&self) {
        let (labels, except, is_transient) = (None, None, false);
        self.send(Input::Publish(Publish {
            data: MESSAGE.into(),
            labels,
            at: 0,
            except,
            is_transient,
        }));
    }

    fn ask(&self) {
        self.outboxes.first().expect("somebody").ask();
        self.command(0, StreamCommand::List(Listing::Members));
    }

    fn put(&self, member: u32, info: &str) {
        let put = Put { join: join(member, info), ttl: None };
        let placed = self.runtime.block_on(self.router.put(self.stream.clone(), put));
        placed.expect("a shard").expect("a place");
    }

    fn command(&self, subscriber: u32, command: StreamCommand) {
        let session = SessionId::from_bits(subscriber.into());
        let key = SubscriberKey { session, group: self.group.clone() };
        let recipient = self.outboxes.get(subscriber as usize).expect("a subscriber");
        let recipient = Arc::clone(recipient);
        self.send(Input::Command { key, recipient, command, reference: None });
    }

    fn send(&self, input: Input<Recipient>) {
        if let Err(full) = self.router.try_send(self.stream.clone(), input) {
            self.runtime.block_on(full.wait());
        }
    }

    /// Lets the shard work until so many more writes were made.
    fn wait(&self, writes: u64) {
        let made = || self.writes.load(Ordering::Relaxed);
        self.runtime.block_on(async {
            for _ in 0..MAX_TURNS {
                if made() >= writes {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(made(), writes, "everyone was to be written to once");
        self.writes.store(0, Ordering::Relaxed);
    }

    /// Lets the shard work until it has nothing to do.
    fn catch_up(&self) {
        self.runtime.block_on(async {
            for (mut before, mut quiet) in [(0, 0)] {
                while quiet < 1000 {
                    tokio::task::yield_now().await;
                    let now = self.writes.load(Ordering::Relaxed);
                    quiet = if now == before { quiet + 1 } else { 0 };
                    before = now;
                }
            }
        });
        self.writes.store(0, Ordering::Relaxed);
    }
}

fn join(member: u32, info: &str) -> Join {
    Join { id: format!("member-{member}").into(), info: info.into(), extra: None }
}

fn name_of(codec: Codec) -> &'static str {
    match codec {
        action_cable::CODEC => "action_cable",
        phoenix::CODEC => "phoenix",
        typed::CODEC => "typed",
        chat::CODEC => "chat",
        _ => "sse",
    }
}
