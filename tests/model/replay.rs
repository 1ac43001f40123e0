//! What a subscriber makes of what it is told.

use broker::types::{Member, MemberChange, MemberList, PresenceChange};

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
