//! What a subscriber makes of what it is told.

use broker::types::{Extra, Member, MemberChange, MemberList, PresenceChange, PresenceId, RawJson};

/// What the application may say of a member: nothing with the first info.
pub(crate) fn extra(info: usize) -> Extra {
    (info > 0).then(|| Box::new(RawJson::from(format!("{{\"a\":{info}}}"))))
}

/// What a client does with its list of members when one changes.
pub(crate) fn replay(seen: &mut MemberList, change: &PresenceChange) {
    let place = seen.iter().position(|member| member.id == change.id);
    let PresenceChange { id, extra, .. } = change;
    let now = |info: &RawJson| Member { id: id.clone(), info: info.clone(), extra: extra.clone() };
    match (&change.member, place) {
        (MemberChange::Joined { info }, None) => seen.push(now(info)),
        (MemberChange::Updated { info }, Some(place)) => {
            assert_ne!(seen[place], now(info), "nothing was updated");
            seen[place] = now(info);
        }
        (MemberChange::Left, Some(place)) => drop(seen.remove(place)),
        (MemberChange::Unchanged, Some(_)) => {}
        (change, _) => panic!("{change:?} can't happen to {seen:?}"),
    }
}

/// What a client does with its list of members when it is told of one what it may know already.
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
