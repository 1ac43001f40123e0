//! A session whose client is named by its joins.

use super::*;

fn named() -> Session {
    session(PresenceIdPolicy::Any).keeping_names(true)
}

/// The ticket of the question behind a join.
fn asked(session: &mut Session) -> Option<Ticket> {
    let (action, _) = session.poll_action(&Limits::default(), &Streams::default())?;
    let Action::Ask { ticket, question } = action else { panic!("{action:?}") };
    let (stream, identifier) = ("room".into(), "i".into());
    assert_eq!(question, Question::PresentAs { stream, identifier, watch: Watch::Members });
    Some(ticket)
}

fn present(id: &str) -> Verdict {
    Verdict::PresentAs(Some(id.into()))
}

#[test]
fn a_join_names_its_client_once_it_has_succeeded() {
    let mut ann = named();
    assert!(matches!(subscribe(&mut ann, Some("ann")), Action::Forward { .. }));
    let ticket = asked(&mut ann).unwrap();
    assert_eq!((ann.presence_id(), ann.is_naming()), (None, true));
    ann.answer(ticket, present("ann"));
    assert_eq!((ann.presence_id(), ann.is_naming()), (Some(&"ann".into()), false));
    assert_eq!(asked(&mut ann), None);
    assert!(!ann.is_asking(), "nothing is left of it");
    ann.answer(ticket, present("bob"));
    assert_eq!(ann.presence_id(), Some(&"ann".into()), "it has had its answer");
}

#[test]
fn a_join_that_is_refused_names_nobody() {
    let mut ann = named();
    subscribe(&mut ann, Some("ann"));
    let ticket = asked(&mut ann).unwrap();
    ann.answer(ticket, Verdict::PresentAs(None));
    assert_eq!((ann.presence_id(), ann.is_naming()), (None, false));
    for (id, is) in [("ann", "ann"), ("bob", "ann"), ("bob", "bob")] {
        join(&mut ann, id);
        let ticket = asked(&mut ann).unwrap();
        ann.answer(ticket, present(is));
        assert_eq!(ann.presence_id(), Some(&is.into()), "the stream knows");
    }
}

#[test]
fn a_join_under_the_same_name_asks_nothing() {
    let mut ann = named();
    subscribe(&mut ann, Some("ann"));
    let ticket = asked(&mut ann).unwrap();
    join(&mut ann, "bob");
    let other = asked(&mut ann).unwrap();
    join(&mut ann, "ann");
    let last = asked(&mut ann).unwrap();
    ann.answer(last, present("ann"));
    ann.answer(other, present("bob"));
    assert!(ann.is_naming());
    ann.answer(ticket, present("ann"));
    assert_eq!(ann.presence_id(), Some(&"ann".into()), "the last join counts, not the last answer");
    assert_eq!(asked(&mut ann), None);
    join(&mut ann, "ann");
    assert!(!ann.is_naming() && !ann.is_asking());
}

#[test]
fn whom_a_token_names_is_named_by_no_join() {
    let mut ann = session(PresenceIdPolicy::Only("ann".into())).keeping_names(true);
    subscribe(&mut ann, Some("ann"));
    assert!(!ann.is_naming() && !ann.is_asking());
    assert_eq!(ann.presence_id(), Some(&"ann".into()));
}

#[test]
fn who_stops_asking_is_named_by_nothing_more() {
    let mut ann = named();
    subscribe(&mut ann, Some("ann"));
    asked(&mut ann).unwrap();
    ann.stop_asking();
    assert!(!ann.is_naming());
    assert_eq!(asked(&mut ann), None);
    assert!(!ann.is_asking());
}

#[test]
fn only_so_many_names_are_open() {
    let mut ann = named();
    subscribe(&mut ann, None);
    for number in 0..32 {
        assert!(!ann.is_full(), "{number}");
        join(&mut ann, &number.to_string());
        asked(&mut ann).unwrap();
    }
    assert!(ann.is_full());
}
