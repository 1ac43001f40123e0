//! A client's list of members, from the events it gets.

use broker::types::{Extra, Member, MemberChange, MemberList, PresenceChange, PresenceId, RawJson};

/// The application's data about a member; none with the first info.
pub(crate) fn extra(info: usize) -> Extra {
    (info > 0).then(|| Box::new(RawJson::from(format!("{{\"a\":{info}}}"))))
}

/// Applies a change to a client's list of members.
pub(crate) fn replay(view: &mut MemberList, change: &PresenceChange) {
    let before = view.clone();
    apply(view, &change.id, (&change.member, &change.extra), true);
    assert_eq!(*view == before, change.member == MemberChange::Unchanged, "{change:?}");
}

/// Applies an event to a client's list of members. If `strict`, a join of a member in the list is a
/// failure, and so is a leave or an update of one that isn't.
pub(crate) fn apply(
    view: &mut MemberList,
    id: &PresenceId,
    (change, extra): (&MemberChange, &Extra),
    strict: bool,
) {
    let place = view.iter().position(|member| member.id == *id);
    let now = |info: &RawJson| Member { id: id.clone(), info: info.clone(), extra: extra.clone() };
    match (change, place) {
        (MemberChange::Joined { info }, None) => view.push(now(info)),
        (MemberChange::Left, Some(place)) => drop(view.remove(place)),
        (MemberChange::Updated { info }, Some(place)) => view[place] = now(info),
        (MemberChange::Unchanged, _) => {}
        (MemberChange::Joined { info }, Some(place)) if !strict => view[place] = now(info),
        (MemberChange::Left | MemberChange::Updated { .. }, None) if !strict => {}
        (change, _) => panic!("{change:?} of {id} can't happen to {view:?}"),
    }
}
