//! A shard's survey shows its streams, members and counters as they are.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::shard::{Attendee, End, Input, Restoring, Shard, StreamSize};
use broker::types::{Join, MemberChange, StreamName};

use crate::shard_settings::without_history;
use crate::subscriber::{key, subscribe};

const TTL: Duration = Duration::from_secs(15);
const ALL: (usize, usize) = (usize::MAX, usize::MAX);

struct World {
    shard: Shard<()>,
    now: Instant,
    unix: u64,
}

impl World {
    fn new() -> Self {
        let now = Clock::new().now();
        Self { shard: Shard::new(without_history(TTL), now), now, unix: 0 }
    }

    fn follow(&mut self, stream: &str, session: u128, join: Option<(&str, &str)>) {
        let join = join.map(|(id, info)| Join { id: id.into(), info: info.into(), extra: None });
        let command = subscribe(join);
        let input = Input::Command { key: key(session), recipient: (), command, reference: None };
        self.shard.handle(&stream.into(), input, self.now);
        self.settle();
    }

    fn end(&mut self, stream: &str, session: u128) {
        let input = Input::Ended { key: key(session), end: End::at(self.now) };
        self.shard.handle(&stream.into(), input, self.now);
        self.settle();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.unix += u64::try_from(time.as_millis()).unwrap();
        self.shard.set_unix(self.unix);
        self.shard.handle_timeout(self.now);
        self.settle();
    }

    fn settle(&mut self) {
        while self.shard.commit(|_| ()).poll_reply().is_some() {}
        while self.shard.commit(|_| ()).poll_fan_out(usize::MAX, self.now).is_some() {}
    }

    fn attendance(&mut self, stream: &str, max: (usize, usize)) -> Vec<Attendee> {
        self.shard.commit(|_| ()).attendance(&stream.into(), max, self.now)
    }

    fn happened(&mut self) -> Vec<(String, String, MemberChange)> {
        let told = |(stream, change): (StreamName, std::sync::Arc<_>)| {
            let change: &broker::types::PresenceChange = &change;
            (stream.to_string(), change.id.to_string(), change.member.clone())
        };
        self.shard.commit(|_| ()).take_observed().into_iter().map(told).collect()
    }
}

#[test]
fn the_largest_streams_are_found_whatever_is_looked_at_in_a_turn() {
    let mut world = World::new();
    for number in 0..20_u128 {
        for session in 0..number {
            let join = (session % 2 == 0).then(|| format!("m{session}"));
            let stream = format!("s{number:02}");
            world.follow(&stream, session, join.as_deref().map(|id| (id, "1")));
        }
    }
    world.end("s19", 0); // still a member, but no subscriber
    for many in [1, 3, 19, 1000] {
        let (mut found, mut next) = (Vec::new(), Some(0));
        while let Some(place) = next {
            let (sizes, more) = world.shard.commit(|_| ()).largest(place, many, 3);
            found.extend(sizes);
            StreamSize::keep_largest(&mut found, 3);
            next = more;
        }
        let size = |name: &str, members, subscribers| StreamSize {
            name: name.into(),
            members,
            subscribers,
        };
        let expected = [size("s19", 10, 18), size("s18", 9, 18), size("s17", 9, 17)];
        assert_eq!(found, expected, "{many} in a turn");
    }
}

#[test]
fn who_is_present_is_told_with_how() {
    let mut world = World::new();
    world.follow("a", 1, Some(("ann", "1")));
    world.pass(Duration::from_secs(5));
    world.follow("a", 2, Some(("bob", "2")));
    world.follow("a", 3, Some(("ann", "3")));
    world.follow("a", 4, None);
    let attendee = |id: &str, info: &str, age, records, leaves_in: Option<u64>| Attendee {
        id: id.into(),
        info: info.into(),
        age: Duration::from_secs(age),
        records,
        leaves_in: leaves_in.map(Duration::from_secs),
    };
    let expected = [attendee("ann", "3", 5, 2, None), attendee("bob", "2", 0, 1, None)];
    assert_eq!(world.attendance("a", ALL), expected);

    world.end("a", 1);
    world.end("a", 2);
    world.pass(Duration::from_secs(1));
    let expected = [attendee("ann", "3", 6, 2, None), attendee("bob", "2", 1, 1, Some(14))];
    assert_eq!(world.attendance("a", ALL), expected);
    world.end("a", 3);
    let leave = |world: &mut World| -> Vec<_> {
        world.attendance("a", ALL).iter().map(|attendee| attendee.leaves_in).collect()
    };
    assert_eq!(
        leave(&mut world),
        [Some(TTL), Some(Duration::from_secs(14))],
        "the last one counts"
    );

    // who comes again is new
    world.pass(TTL);
    assert_eq!(world.attendance("a", ALL), []);
    world.follow("a", 5, Some(("ann", "5")));
    assert_eq!(world.attendance("a", ALL), [attendee("ann", "5", 0, 1, None)]);
    assert_eq!(world.attendance("nowhere", ALL), []);
}

#[test]
fn a_member_is_as_old_after_a_restart() {
    let mut world = World::new();
    world.pass(Duration::from_secs(100));
    world.follow("a", 1, Some(("ann", "1")));
    world.pass(Duration::from_secs(5));
    let (entries, _) = world.shard.commit(|_| ()).snapshot(0, usize::MAX);
    let mut next = World { unix: world.unix, ..World::new() };
    next.pass(Duration::from_secs(1));
    let at = Restoring { unix: next.unix, complete: true, has_history: true, now: next.now };
    next.shard.restore(entries, at);
    assert_eq!(next.attendance("a", ALL)[0].age, Duration::from_secs(6));
}

#[test]
fn no_more_is_told_than_is_asked_for() {
    let mut world = World::new();
    for (session, id) in ["a", "b", "c", "d"].into_iter().enumerate() {
        world.follow("s", session as u128, Some((id, "\"four\"")));
    }
    assert_eq!(world.attendance("s", (3, usize::MAX)).len(), 3);
    assert_eq!(world.attendance("s", (0, usize::MAX)).len(), 0);
    assert_eq!(world.attendance("s", (9, 7)).len(), 2);
    assert_eq!(world.attendance("s", (9, 12)).len(), 2);
}

#[test]
fn only_what_happens_where_somebody_looks_is_noted() {
    let mut world = World::new();
    world.follow("a", 1, Some(("ann", "1")));
    assert_eq!(world.happened(), []);
    world.shard.commit(|_| ()).observe(["a".into()]);
    world.follow("a", 2, Some(("bob", "2")));
    world.follow("a", 3, Some(("bob", "2"))); // nothing that anyone would see
    world.follow("b", 2, Some(("bob", "2")));
    world.follow("a", 4, Some(("bob", "3")));
    world.end("a", 1);
    world.pass(TTL);
    let change = |id: &str, change| ("a".to_owned(), id.to_owned(), change);
    let expected = [
        change("bob", MemberChange::Joined { info: "2".into() }),
        change("bob", MemberChange::Updated { info: "3".into() }),
        change("ann", MemberChange::Left),
    ];
    assert_eq!(world.happened(), expected);
    assert_eq!(world.happened(), [], "it is told once");
    world.shard.commit(|_| ()).observe([]);
    world.follow("a", 5, Some(("cem", "1")));
    assert_eq!(world.happened(), []);
}
