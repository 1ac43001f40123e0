use super::*;
use crate::types::{LeaveCause, MemberChange, PresenceChange};

const LOG: LogId = LogId(7);

/// A set, and the position of its next change.
#[derive(Default)]
struct World {
    set: PresenceSet,
    next: u64,
}

impl World {
    fn at(&mut self) -> Moment {
        self.next += 1;
        Moment { log: LOG, position: Position(self.next), unix: 0 }
    }

    fn join(&mut self, session: u128, id: &str, info: &str) -> Option<PresenceChange> {
        self.say(session, id, info, None)
    }

    fn say(
        &mut self,
        session: u128,
        id: &str,
        info: &str,
        extra: Option<&str>,
    ) -> Option<PresenceChange> {
        let extra = extra.map(|text| Box::new(RawJson::from(text)));
        let (at, join) = (self.at(), Join { id: id.into(), info: info.into(), extra });
        let held = self.set.held_by(&by(session));
        self.set.join((&by(session), held), join, at).2
    }

    fn leave(&mut self, session: u128) -> PresenceChange {
        let record = self.set.held_by(&by(session)).unwrap();
        self.set.remove(record, LeaveCause::Left, LOG)
    }
}

fn by(session: u128) -> Subscription {
    let session = crate::types::SessionId::from_bits(session);
    Subscription { session, identifier: "\"a\"".into() }
}

#[test]
fn the_record_changed_last_is_what_others_see() {
    let mut world = World::default();
    let change = world.join(1, "ann", "1").unwrap();
    assert_eq!(change.member, MemberChange::Joined { info: "1".into() });
    let change = world.join(2, "ann", "2").unwrap();
    assert_eq!(change.member, MemberChange::Updated { info: "2".into() });
    let change = world.join(1, "ann", "3").unwrap();
    assert_eq!(change.member, MemberChange::Updated { info: "3".into() });
    assert_eq!(world.leave(1).member, MemberChange::Updated { info: "2".into() });
    assert_eq!(world.leave(2).member, MemberChange::Left);
    assert!(world.set.is_empty() && world.set.list().is_empty());
    assert_eq!((world.set.size(), world.set.digest()), (0, Sum::default()));
}

#[test]
fn the_same_info_again_changes_nothing() {
    let mut world = World::default();
    world.join(1, "ann", "1");
    let change = world.join(2, "ann", "1").unwrap();
    assert_eq!(change.member, MemberChange::Unchanged);
    assert_eq!(world.join(1, "ann", "1"), None);
    assert_eq!(world.leave(1).member, MemberChange::Unchanged);
}

#[test]
fn what_the_application_says_is_shown_with_the_info() {
    let mut world = World::default();
    let said = |text: &str| Some(Box::new(RawJson::from(text)));
    let change = world.say(1, "ann", "1", Some("{}")).unwrap();
    assert_eq!(change.extra, said("{}"));
    let size = world.set.size();
    let change = world.join(2, "ann", "1").unwrap();
    assert_eq!(
        change.member,
        MemberChange::Unchanged,
        "an answer that doesn't come takes nothing away"
    );
    assert_eq!(change.extra, said("{}"));
    let change = world.say(2, "ann", "1", Some("{\"a\":1}")).unwrap();
    assert_eq!(change.member, MemberChange::Updated { info: "1".into() });
    assert_eq!(change.extra, said("{\"a\":1}"));
    assert_eq!(world.set.list()[0].extra, change.extra);
    assert_eq!(world.set.list_records(LOG)[0].extra, change.extra);
    assert_eq!(world.set.size(), size + 5);
    assert_eq!(world.say(2, "ann", "1", Some("{\"a\":1}")), None);
    let change = world.leave(2);
    assert_eq!(change.member, MemberChange::Updated { info: "1".into() });
    assert_eq!(change.extra, said("{}"));
    assert_eq!(world.set.size(), size);
    assert_eq!(world.leave(1).extra, said("{}"), "the last");
    assert_eq!(world.set.size(), 0);
}

#[test]
fn members_are_listed_in_order_of_arrival() {
    let mut world = World::default();
    for (session, id) in [(1, "ann"), (2, "bob"), (3, "cem")] {
        world.join(session, id, "1");
    }
    world.join(1, "ann", "2");
    let names = |world: &World| -> Vec<String> {
        world.set.list().iter().map(|member| member.id.to_string()).collect()
    };
    assert_eq!(names(&world), ["ann", "bob", "cem"]);
    world.leave(1);
    world.join(1, "ann", "3");
    assert_eq!(names(&world), ["bob", "cem", "ann"]);
}

#[test]
fn an_unchanged_list_is_shared() {
    let mut world = World::default();
    world.join(1, "ann", "1");
    assert!(Arc::ptr_eq(&world.set.list(), &world.set.list()));
}

#[test]
fn a_record_is_found_by_who_holds_it_now() {
    let mut world = World::default();
    for session in 0..40 {
        world.join(session, "ann", "1");
    }
    for session in 0..40 {
        let key = world.set.held_by(&by(session)).unwrap();
        let at = world.at().position;
        match session % 4 {
            0 => world.set.pass_on(key, by(session + 100)),
            1 => world.set.end(key, at, false),
            2 => world.set.end(key, at, true),
            _ => drop(world.leave(session)),
        }
    }
    for session in 0..40 {
        let is_held = |session| world.set.held_by(&by(session)).is_some();
        assert_eq!(
            (is_held(session), is_held(session + 100)),
            (session % 4 == 2, session % 4 == 0)
        );
    }
    world.join(200, "ann", "2");
    assert_eq!(world.set.len(), 30, "an orphan was taken over");
}
