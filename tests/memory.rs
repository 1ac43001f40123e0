//! What there are many of stays small: bytes of each, by the numbers that `cargo bench --bench memory`
//! shows at a larger scale.

#[path = "../benches/support/memory.rs"]
mod memory;

use broker::clock::Clock;
use broker::protocol::typed;
use broker::shard::{Input, ResumeSettings, Settings, Shard, SubscriberKey};
use broker::types::{
    Grant, GroupKey, Join, SessionId, StreamCommand, StreamName, Subscribe, SubscribeOptions,
};
use memory::settings::settings;
use memory::{Scale, Weight, outbox, parked_session};

/// As many in each stream as where there are a million, so that tables are as full.
const SCALE: Scale = Scale { streams: 10, each: 1000 };

#[test]
fn what_there_are_many_of_is_small() {
    let few = Scale { streams: 1000, each: 1 };
    for (what, weight, max) in [
        ("a stream", few.stream(), Weight { bytes: 2000.0, allocations: 10.0 }),
        ("a record that was put", SCALE.record(), Weight { bytes: 220.0, allocations: 2.0 }),
        ("a subscription", SCALE.subscription(), Weight { bytes: 200.0, allocations: 1.0 }),
        ("its record", SCALE.joined(), Weight { bytes: 230.0, allocations: 2.0 }),
        ("both, parked,", SCALE.parked(), Weight { bytes: 350.0, allocations: 2.0 }),
        ("an outbox", outbox(1000), Weight { bytes: 150.0, allocations: 2.0 }),
        ("a parked session", parked_session(1000), Weight { bytes: 450.0, allocations: 3.0 }),
    ] {
        let Weight { bytes, allocations } = weight;
        assert!(bytes <= max.bytes, "{what} takes {bytes:.0} bytes, more than {}", max.bytes);
        assert!(bytes > max.bytes / 2.0, "{what} takes {bytes:.0} bytes: lower its bound");
        assert!(allocations <= max.allocations, "{what} takes {allocations:.1} allocations");
    }
}

/// Subscriptions of one client in a stream, of which all end but the last.
const CROWD: u32 = 1000;

#[test]
fn what_a_crowd_took_is_given_back() {
    const STREAMS: u32 = 10;
    let now = Clock::new().now();
    // apart from what is noted for those who come back
    let settings = Settings { resume: ResumeSettings::default(), ..settings() };
    let mut shard: Shard<u32> = Shard::new(settings, now);
    let mut crowd = |stream: &StreamName| {
        let mut command = |number: u32, command| {
            let group = GroupKey::new(typed::CODEC, number.to_string().into());
            let key = SubscriberKey { session: SessionId::from_bits(0), group };
            let input = Input::Command { key, recipient: 0, command, reference: None };
            shard.handle(stream, input, now);
            while shard.commit(|_| ()).poll_reply().is_some() {}
            while shard.commit(|_| ()).poll_fan_out(100, now).is_some() {}
            shard.take_counts();
        };
        for number in 0..CROWD {
            let join = Join { id: number.to_string().into(), info: "1".into(), extra: None };
            let (join, history) = (Some(Ok(join)), None);
            let (grant, options) = (Grant::OPEN, SubscribeOptions::default());
            command(number, StreamCommand::from(Subscribe { join, history, grant, options }));
        }
        for number in 0..CROWD - 1 {
            command(number, StreamCommand::Unsubscribe);
        }
    };
    let names: Vec<StreamName> = (0..STREAMS).map(|stream| stream.to_string().into()).collect();
    let bytes = allocation_counter::measure(|| names.iter().for_each(&mut crowd)).bytes_current;
    let each = bytes / i64::from(STREAMS);
    assert!(each < 12_000, "one that stays holds on to {each} bytes");
    assert_eq!(shard.totals().records, STREAMS as usize);
}
