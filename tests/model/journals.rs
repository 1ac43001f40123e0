//! Journals are bounded over all streams of a shard: the oldest entries are dropped first, and a client that
//! would need them subscribes again.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::shard::{End, Input, Put, ResumeSettings, Settings, Shard};
use broker::types::{Grant, Join, PresenceId, SessionId, StreamName};

use crate::door::Door as _;
use crate::subscriber::{key, subscribe};

/// How many bytes the journals of a shard may take.
const BOUND: usize = 16 * 1024 * 1024;
/// A change takes more than the id in it.
const ID: usize = 1000;
const STREAMS: u32 = 30;
const CHANGES: u32 = 900;
const TTL: Duration = Duration::from_secs(300);

struct World {
    shard: Shard<u32>,
    now: Instant,
}

fn name(stream: u32) -> StreamName {
    stream.to_string().as_str().into()
}

impl World {
    fn new() -> Self {
        let now = Clock::new().now();
        let resume = ResumeSettings { ttl: TTL, max_unacked: Duration::from_secs(1) };
        let settings = Settings { resume, ..crate::shard_settings::without_history(TTL) };
        Self { shard: Shard::new(settings, now), now }
    }

    /// A subscriber whose connection ends at once.
    fn park(&mut self, stream: u32) {
        let (key, command) = (key(stream), subscribe(None));
        let subscribe =
            Input::Command { key: key.clone(), recipient: stream, command, reference: None };
        self.shard.handle(&name(stream), subscribe, self.now);
        while self.shard.commit(|_| ()).poll_reply().is_some() {}
        let end = End { grant: Some(Grant::OPEN), ..End::at(self.now) };
        self.shard.handle(&name(stream), Input::Ended { key, end }, self.now);
    }

    fn resumes(&mut self, stream: u32) -> bool {
        let to = (SessionId::from_bits(u128::from(stream) + 1000), stream);
        let resumed = self.shard.resume(&name(stream), &key(stream), to, self.now);
        self.shard.open(resumed)
    }

    /// Somebody comes and goes, again and again.
    fn change(&mut self, stream: u32, changes: u32) {
        for change in 0..changes / 2 {
            let id = PresenceId::from(format!("{change:ID$}"));
            let join = Join { id: id.clone(), info: "1".into(), extra: None };
            let placed = self.shard.put(&name(stream), Put { join, ttl: None }, self.now);
            self.shard.open(placed).expect("room");
            let gone = self.shard.kick(&name(stream), &id, self.now);
            self.shard.open(gone);
        }
        self.now += Duration::from_millis(200);
    }

    fn noted(&self) -> usize {
        format!("{:?}", self.shard).matches("event: ").count()
    }
}

#[test]
fn what_was_noted_first_goes_first() {
    let mut world = World::new();
    for stream in 0..STREAMS {
        world.park(stream);
        world.change(stream, CHANGES);
        assert!(world.noted() * ID <= BOUND, "with {stream}");
    }
    assert!(world.noted() * ID > BOUND / 2, "it is made use of");
    let all = (STREAMS * CHANGES) as usize;
    assert!(all * ID > BOUND, "too little to tell");
    let kept: Vec<u32> = (0..STREAMS).filter(|stream| world.resumes(*stream)).collect();
    let newest: Vec<u32> = (STREAMS - u32::try_from(kept.len()).unwrap()..STREAMS).collect();
    assert_eq!(kept, newest, "the newest are whole");
    assert!(kept.len() > 10);
    world.now += 3 * TTL;
    world.shard.handle_timeout(world.now);
    assert_eq!(world.noted(), 0, "all is given back in time");
}
