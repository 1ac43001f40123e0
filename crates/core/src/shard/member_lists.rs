//! Lists of members beside changes, for protocols that repeat them.
//!
//! All changes sent together have the same list: that after the last of them. So the list is built once, and
//! a client that replaces its list with each change ends with the right one. If the list is large, only the
//! last change has it.

use std::sync::Arc;
use std::time::Duration;

use crate::types::{CachedList, GroupKey, IdList, PresenceChange, ServerMessage};

/// Maximum bytes of repeated ids in messages sent together. Otherwise the size would be quadratic when a
/// crowd joins or leaves.
const MAX_REPEATED: usize = 64 * 1024;

/// Average rate of repeated ids to a subscriber, in bytes per millisecond.
const REPEATED_A_MILLISECOND: usize = 2048;

/// Maximum time for which member events wait for more, to share a write.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Time for which changes wait for more after a list was sent, so that in a large room not every change has
/// its own list. About zero in a small room.
pub(super) fn pause_behind(list: &IdList) -> Duration {
    let pause = list.size / REPEATED_A_MILLISECOND;
    LONGEST_PAUSE.min(Duration::from_millis(pause as u64))
}

/// Adds the list to the member changes for a group, if its codec repeats members. `list` is called only
/// then, and only if there are changes.
pub(super) fn repeat_to(
    group: &GroupKey,
    messages: &mut [ServerMessage],
    list: impl FnOnce() -> Option<Arc<CachedList<IdList>>>,
) {
    if group.codec.repeats_members() {
        repeat(messages, list);
    }
}

fn repeat(messages: &mut [ServerMessage], list: impl FnOnce() -> Option<Arc<CachedList<IdList>>>) {
    let repeats = messages.iter().filter(|message| comes_or_goes(message).is_some()).count();
    if repeats == 0 {
        return;
    }
    let Some(list) = list() else { return };
    let is_much = repeats.saturating_mul(list.size) > MAX_REPEATED;
    let mut without = if is_much { repeats - 1 } else { 0 };
    for message in messages {
        let Some(change) = comes_or_goes(message) else { continue };
        if without > 0 {
            without -= 1;
            continue;
        }
        let members = Some(Arc::clone(&list));
        let change = PresenceChange { members, ..PresenceChange::clone(change) };
        *message = ServerMessage::Presence(Arc::new(change));
    }
}

fn comes_or_goes(message: &ServerMessage) -> Option<&Arc<PresenceChange>> {
    let ServerMessage::Presence(change) = message else { return None };
    change.member.comes_or_goes().then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{MemberChange, RecordChange};

    fn messages(changes: impl IntoIterator<Item = MemberChange>) -> Vec<ServerMessage> {
        let message = |member| {
            let record = RecordChange::Added { info: "1".into() };
            let (id, extra, members) = ("ann".into(), None, None);
            let change = PresenceChange { id, reference: 1, record, member, extra, members };
            ServerMessage::Presence(Arc::new(change))
        };
        changes.into_iter().map(message).collect()
    }

    fn list(size: usize) -> Arc<CachedList<IdList>> {
        Arc::new(CachedList::new(IdList { ids: vec!["ann".into()], size }))
    }

    /// Whether each message has a list.
    fn having(messages: &[ServerMessage]) -> Vec<usize> {
        let has = |message: &ServerMessage| matches!(message, ServerMessage::Presence(change) if change.members.is_some());
        (0..messages.len()).filter(|at| has(&messages[*at])).collect()
    }

    #[test]
    fn whoever_comes_or_goes_has_the_list_beside_it() {
        let joined = || MemberChange::Joined { info: "1".into() };
        let updated = MemberChange::Updated { info: "1".into() };
        let mut all = messages([joined(), updated.clone(), MemberChange::Left, updated]);
        all.push(ServerMessage::Arrived);
        repeat(&mut all, || Some(list(5)));
        assert_eq!(having(&all), [0, 2]);
        let mut none = messages([MemberChange::Unchanged]);
        repeat(&mut none, || panic!("it is of no use"));
        assert!(having(&none).is_empty());
        let mut too_large = messages([joined()]);
        repeat(&mut too_large, || None);
        assert!(having(&too_large).is_empty());
    }

    #[test]
    fn where_it_would_be_much_only_the_last_has_it() {
        let left = || messages([MemberChange::Left, MemberChange::Left, MemberChange::Left]);
        let mut all = left();
        repeat(&mut all, || Some(list(MAX_REPEATED / 3)));
        assert_eq!(having(&all), [0, 1, 2]);
        let mut last = left();
        repeat(&mut last, || Some(list(MAX_REPEATED / 3 + 1)));
        assert_eq!(having(&last), [2]);
        let mut one = messages([MemberChange::Left]);
        repeat(&mut one, || Some(list(10 * MAX_REPEATED)));
        assert_eq!(having(&one), [0]);
    }
}
