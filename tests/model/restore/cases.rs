//! Single cases: records that are taken over, and histories that no longer fit.

use std::time::Duration;

use broker::clock::Clock;
use broker::protocol::{action_cable, phoenix};
use broker::shard::{
    End, GroupKey, HistorySettings, Input, Publish, Put, Restoring, ResumeSettings, Settings,
    Shard, SubscriberKey,
};
use broker::types::{Identifier, Join, SessionId};

use super::{SETTINGS, name, next_snapshot};
use crate::door::Door as _;
use crate::subscriber::{key, subscribe};

/// A record that is taken over counts as changed then, in memory and as it is kept.
#[test]
fn a_record_that_was_taken_over_is_as_it_was() {
    let now = Clock::new().now();
    let mut shard = Shard::<u32>::new(SETTINGS, now);
    shard.keep_entries();
    let stream = name(0);
    let key = |session, codec| SubscriberKey {
        session: SessionId::from_bits(session),
        group: GroupKey::new(codec, Identifier::from("\"a\"")),
    };
    let join = |shard: &mut Shard<u32>, key: SubscriberKey, info: &str| {
        let command = subscribe(Some(Join { id: "ann".into(), info: info.into(), extra: None }));
        shard.handle(&stream, Input::Command { key, recipient: 0, command, reference: None }, now);
    };
    join(&mut shard, key(1, phoenix::CODEC), "1");
    let mut kept = shard.take_entries();
    while shard.commit(|_| ()).poll_reply().is_some() {}
    let ended = Input::Ended { key: key(1, phoenix::CODEC), end: End::at(now) };
    shard.handle(&name(0), ended, now);
    join(&mut shard, key(2, action_cable::CODEC), "2");
    join(&mut shard, key(3, phoenix::CODEC), "1");
    kept.extend(shard.take_entries());
    let infos = |shard: &mut Shard<u32>| {
        let records = shard.commit(|_| ()).records(&name(0));
        let infos = records[0].records.iter().map(|record| record.info.as_str().to_owned());
        (shard.commit(|_| ()).members(&name(0))[0].info.clone(), infos.collect::<Vec<_>>())
    };
    let seen = infos(&mut shard);
    assert_eq!(seen, ("1".into(), vec!["2".to_owned(), "1".to_owned()]), "the last to join");
    let mut restored = Shard::<u32>::new(SETTINGS, now);
    restored.restore(kept, Restoring { unix: 0, complete: true, has_history: true, now });
    assert_eq!(infos(&mut restored), seen);
}

/// Whoever comes back then joins anew, and isn't two devices until the TTL is over.
#[test]
fn a_record_that_nobody_can_resume_is_taken_over() {
    let now = Clock::new().now();
    let join = |shard: &mut Shard<u32>, session| {
        let command = subscribe(Some(Join { id: "ann".into(), info: "1".into(), extra: None }));
        let (key, recipient, reference) = (key(session), session, None);
        shard.handle(&name(0), Input::Command { key, recipient, command, reference }, now);
    };
    let mut shard = Shard::<u32>::new(SETTINGS, now);
    shard.keep_entries();
    join(&mut shard, 1);
    let entries = shard.take_entries();
    let none = ResumeSettings { ttl: Duration::ZERO, ..SETTINGS.resume };
    for (complete, resume, records) in
        [(true, SETTINGS.resume, 2), (false, SETTINGS.resume, 1), (true, none, 1)]
    {
        let mut restored = Shard::<u32>::new(Settings { resume, ..SETTINGS }, now);
        let at = Restoring { unix: 0, complete, has_history: complete, now };
        restored.restore(entries.clone(), at);
        join(&mut restored, 2);
        assert_eq!(restored.totals().records, records, "{complete}, {resume:?}");
        assert_eq!(restored.commit(|_| ()).members(&name(0)).len(), 1);
    }
}

/// Publications that no longer fit leave the members of their stream alone.
#[test]
fn members_stay_where_publications_no_longer_fit() {
    let now = Clock::new().now();
    let mut shard = Shard::<u32>::new(SETTINGS, now);
    shard.keep_entries();
    let data = "\"long\"".into();
    let input =
        Input::Publish(Publish { data, labels: None, at: 1, except: None, is_transient: false });
    shard.handle(&name(0), input, now);
    let join = Join { id: "ann".into(), info: "1".into(), extra: None };
    let mut entries = shard.take_entries();
    let placed = shard.put(&name(0), Put { join, ttl: None }, now);
    entries.extend(shard.take_entries());
    shard.open(placed).unwrap();
    let history = HistorySettings { max_bytes: 1, ..SETTINGS.history };
    for entries in [entries, next_snapshot(&mut shard)] {
        let mut restored = Shard::<u32>::new(Settings { history, ..SETTINGS }, now);
        let at = Restoring { unix: 1, complete: true, has_history: true, now };
        restored.restore(entries, at);
        assert_eq!(restored.totals().publications, 0);
        assert_eq!(restored.commit(|_| ()).members(&name(0)).len(), 1);
    }
}
