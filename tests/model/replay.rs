//! What a subscriber makes of what it is told.

use broker::types::{Extra, Member, MemberChange, MemberList, PresenceChange, PresenceId, RawJson};

/// What the application may say of a member: nothing with the first info.
pub(crate) fn extra(info: usize) -> Extra {
    (info > 0).then(|| Box::new(RawJson::from(format!("{{\"a\":{info}}}"))))
}

/// What a client does with its list of members when one changes.
pub(crate) fn replay(view: &mut MemberList, change: &PresenceChange) {
    let before = view.clone();
    apply(view, &change.id, (&change.member, &change.extra), true);
    assert_eq!(*view == before, change.member == MemberChange::Unchanged, "{change:?}");
}

/// What a client does with its list of members when it is told of one. If `strict`, nobody joins who is in
/// the list, and nobody leaves or changes who isn't.
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
