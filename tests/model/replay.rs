//! What a subscriber makes of what it is told.

use broker::types::{Member, MemberChange, MemberList, PresenceChange, PresenceId};

/// What a client does with its list of members when one changes.
pub(crate) fn replay(seen: &mut MemberList, change: &PresenceChange) {
    let place = seen.iter().position(|member| member.id == change.id);
    match (&change.member, place) {
        (MemberChange::Joined { info }, None) => {
            seen.push(Member { id: change.id.clone(), info: info.clone() });
        }
        (MemberChange::Updated { info }, Some(place)) => {
            assert_ne!(seen[place].info, *info, "nothing was updated");
            seen[place].info = info.clone();
        }
        (MemberChange::Left, Some(place)) => drop(seen.remove(place)),
        (MemberChange::Unchanged, Some(_)) => {}
        (change, _) => panic!("{change:?} can't happen to {seen:?}"),
    }
}

/// What a client does with its list of members when it is told of one what it may know already.
pub(crate) fn apply(view: &mut MemberList, id: &PresenceId, change: &MemberChange, strict: bool) {
    let place = view.iter().position(|member| member.id == *id);
    match (change, place) {
        (MemberChange::Joined { info }, None) => {
            view.push(Member { id: id.clone(), info: info.clone() });
        }
        (MemberChange::Left, Some(place)) => drop(view.remove(place)),
        (MemberChange::Updated { info }, Some(place)) => view[place].info = info.clone(),
        (MemberChange::Unchanged, _) => {}
        (MemberChange::Joined { info }, Some(place)) if !strict => view[place].info = info.clone(),
        (MemberChange::Left | MemberChange::Updated { .. }, None) if !strict => {}
        (change, _) => panic!("{change:?} of {id} can't happen to {view:?}"),
    }
}
