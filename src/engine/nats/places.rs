//! Where cursors are in a log's stream: the follower finds out, and snapshots go by it.

use parking_lot::Mutex;

use super::settlement::Branch;

/// Where cursors are in a log's stream.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The branch that is followed.
    branch: Option<Branch>,
    /// Cursors in it from which on they are ahead of sequence numbers by so much.
    pieces: Vec<(u64, u64)>,
    /// Where the log goes on behind the snapshot that was read last.
    start: Option<Start>,
}

/// Where the log goes on behind a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Name of the branch.
    pub(super) branch: u64,
    /// Cursor of the last batch in the snapshot.
    pub(super) cursor: u64,
    /// Sequence number of the last message before it goes on.
    pub(super) read: u64,
    /// How much cursors are ahead of sequence numbers there.
    pub(super) ahead: u64,
}

impl Places {
    /// A branch is followed, from a cursor on.
    pub(super) fn begin(&self, branch: Branch, from: u64, ahead: u64) {
        let mut state = self.0.lock();
        (state.branch, state.pieces) = (Some(branch), vec![(from, ahead)]);
    }

    /// From a cursor on, cursors are ahead of sequence numbers by so much.
    pub(super) fn go_on(&self, from: u64, ahead: u64) {
        let mut state = self.0.lock();
        if state.pieces.last().is_none_or(|(_, before)| *before != ahead) {
            state.pieces.push((from, ahead));
        }
    }

    /// The sequence number of a cursor in a branch; `None`: it isn't there, or the branch isn't the one that is followed.
    pub(super) fn sequence(&self, branch: &Branch, cursor: u64) -> Option<u64> {
        let state = self.0.lock();
        match state.branch {
            None if cursor >= branch.cursor => Some(cursor.wrapping_sub(branch.ahead())),
            Some(followed) if followed.name == branch.name => {
                let (_, ahead) = state.pieces.iter().rfind(|(from, _)| *from <= cursor)?;
                Some(cursor.wrapping_sub(*ahead))
            }
            None | Some(_) => None,
        }
    }

    /// A snapshot was read.
    pub(super) fn set_start(&self, start: Start) {
        self.0.lock().start = Some(start);
    }

    /// Where the log goes on behind a cursor, if a snapshot of that was read.
    pub(super) fn start(&self, cursor: u64) -> Option<Start> {
        self.0.lock().start.filter(|start| start.cursor == cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_found_in_the_line_that_is_followed() {
        let places = Places::default();
        let branch = Branch { name: 1, sequence: 90, cursor: 40 };
        assert_eq!(places.sequence(&branch, 41), Some(91), "nothing is followed");
        assert_eq!(places.sequence(&branch, 39), None);
        places.begin(branch, 50, branch.ahead());
        places.go_on(1055, 900);
        assert_eq!(
            [49, 54, 1060].map(|it| places.sequence(&branch, it)),
            [None, Some(104), Some(160)]
        );
        assert_eq!(places.sequence(&Branch { name: 2, ..branch }, 54), None);
    }
}
