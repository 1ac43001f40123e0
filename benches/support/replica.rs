//! What a node pays for what the others write: it decodes and applies the batches of a log, and has no clients itself.

use std::time::Instant;

use broker::clock::Clock;
use broker::cluster::{Batch, Item, KnownRules, Partition, Rules};
use broker::log::{Change, LogId, NodeId, Position, Subscription};
use broker::node::{LogEncoding, LogEntry};
use broker::shard::Proposal;
use broker::types::{Identifier, JoinCause};
use bytes::Bytes;

use super::settings::settings;
use super::work::Work;

/// Who writes, and who reads.
const NODES: [NodeId; 2] = [NodeId(1), NodeId(2)];

/// How often all join and leave. The first time, the streams begin; that isn't counted.
const ROUNDS: u32 = 3;

/// Entries of a batch.
const ENTRIES: usize = 8;

/// Clients of another node join and leave, each in a room of its own.
pub(crate) fn replica(rooms: u32) -> Work {
    let entries = u64::from(2 * rooms * (ROUNDS - 1));
    Work::once(("replica", format!("{rooms} rooms, joins and leaves")), entries, move || {
        let now = Clock::new().now();
        let mut partition = Partition::new(settings(), NODES[1], KnownRules::OWN, now);
        let mut rounds = log(rooms);
        let counted = rounds.split_off(rounds.len() / ROUNDS as usize);
        apply(&mut partition, &rounds, now);
        move || {
            apply(&mut partition, &counted, now);
            assert_eq!(partition.shard().totals().records, 0, "everyone has left");
        }
    })
}

fn apply(partition: &mut Partition<u32>, batches: &[(Position, Bytes)], now: Instant) {
    for (position, batch) in batches {
        let Ok(LogEntry::Batch(batch)) = encoding().decode(batch) else {
            unreachable!("it was encoded as a batch")
        };
        partition.apply(*position, 1_700_000_000_000, batch, now).expect("the next batch");
        partition.shard_mut().take_counts();
    }
}

/// The batches with the positions of their first items.
fn log(rooms: u32) -> Vec<(Position, Bytes)> {
    let all: Vec<u32> = (0..rooms).collect();
    let mut batches = Vec::new();
    for _ in 0..ROUNDS {
        for change in [joined, left] {
            for rooms in all.chunks(ENTRIES) {
                let number = batches.len() as u64 + 1;
                let items = rooms.iter().map(|room| item(*room, change(*room))).collect();
                let (rules, node) = (Rules(1), NODES[0]);
                let batch = Batch { rules, node, incarnation: 1, number, items };
                batches.push((Position(number << 12), encoding().encode(&batch)));
            }
        }
    }
    batches
}

fn encoding() -> LogEncoding {
    LogEncoding::of(None, 1, LogId(0))
}

fn item(room: u32, change: Change) -> Item {
    let (stream, request) = (format!("room-{room}").into(), 7);
    Item::Change(Proposal { request, stream, change, continues: false })
}

fn joined(room: u32) -> Change {
    Change::Joined {
        by: subscription(room),
        id: format!("member-{room}").into(),
        info: format!(r#"{{"name":"User {room}"}}"#).into(),
        extra: None,
        cause: JoinCause::Joined,
        is_update: false,
        max_members: usize::MAX,
    }
}

fn left(room: u32) -> Change {
    Change::Left { by: subscription(room), id: None }
}

fn subscription(room: u32) -> Subscription {
    let identifier = format!(r#""{{\"channel\":\"$pubsub\",\"stream_name\":\"room-{room}\"}}""#);
    Subscription {
        session: NODES[0].session(room.into()),
        identifier: Identifier::from(identifier),
    }
}
