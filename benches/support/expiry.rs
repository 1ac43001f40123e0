//! Records whose time is over, in a shard without a task: there time comes in as an argument.

use std::time::Instant;

use broker::clock::Clock;
use broker::config::defaults;
use broker::protocol::action_cable;
use broker::shard::{End, Input, Shard, SubscriberKey};
use broker::types::{
    Grant, GroupKey, Identifier, Join, SessionId, StreamCommand, StreamName, Subscribe,
    SubscribeOptions,
};

use super::settings::settings;
use super::work::Work;

/// How many are present in each stream.
const RECORDS_A_STREAM: u32 = 100;

/// How many of those who stay are told, of a stream, at once.
const SLICE: usize = 128;

/// All sessions end at the same moment, and their records go when their time is over; in each stream
/// somebody stays and is told.
pub(crate) fn expiry(records: u32) -> Work {
    Work::once(("expiry", format!("{records} records")), records.into(), move || {
        let (mut shard, now) = shard_with_ended(records);
        let over = now + defaults::PRESENCE_TTL;
        move || {
            let mut told = 0;
            while shard.totals().records > 0 {
                shard.handle_timeout(over);
                while let Some(slice) = shard.commit(|_| ()).poll_fan_out(SLICE, over) {
                    told += slice.messages.len();
                }
                shard.take_counts();
            }
            assert_eq!(told, records as usize, "every leave is told");
        }
    })
}

fn shard_with_ended(records: u32) -> (Shard<u32>, Instant) {
    let now = Clock::new().now();
    let mut shard = Shard::new(settings(), now);
    let group = GroupKey::new(action_cable::CODEC, Identifier::from(r#""room""#));
    let subscribe = |join| {
        StreamCommand::from(Subscribe {
            join,
            history: None,
            grant: Grant::OPEN,
            options: SubscribeOptions::default(),
        })
    };
    let mut keys = Vec::new();
    for number in 0..records {
        let stream = StreamName::from(format!("room-{}", number / RECORDS_A_STREAM));
        let id = format!("member-{number}").into();
        let join = Join { id, info: "{}".into(), extra: None };
        let key = |bits: u128| SubscriberKey {
            session: SessionId::from_bits(bits),
            group: group.clone(),
        };
        let member = key(u128::from(number) + 1);
        let command =
            |key, command| Input::Command { key, recipient: number, command, reference: None };
        if number % RECORDS_A_STREAM == 0 {
            shard.handle(&stream, command(key(u128::MAX), subscribe(None)), now);
        }
        shard.handle(&stream, command(member.clone(), subscribe(Some(Ok(join)))), now);
        keys.push((stream, member));
        settle(&mut shard, now);
    }
    for (stream, key) in keys {
        let end = End { grant: Some(Grant::OPEN), ..End::at(now) };
        shard.handle(&stream, Input::Ended { key, end }, now);
    }
    settle(&mut shard, now);
    (shard, now)
}

/// Tells everyone everything.
fn settle(shard: &mut Shard<u32>, now: Instant) {
    while shard.commit(|_| ()).poll_reply().is_some() {}
    while shard.commit(|_| ()).poll_fan_out(SLICE, now).is_some() {}
    shard.take_counts();
}
