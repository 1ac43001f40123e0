//! Subscribers of the fuzzed shard: messages that are due, and lists of members.

use std::collections::{BTreeMap, VecDeque};

use broker::shard::SubscriberKey;
use broker::types::{MemberList, Publication, ServerMessage, StreamPosition};

use super::super::replay::{apply, replay};

/// One following of a stream by a client; its number is the recipient's.
pub(super) struct Follower {
    pub(super) connection: usize,
    pub(super) stream: usize,
    pub(super) key: SubscriberKey,
    pub(super) is_held: bool,
    /// Set while it has no connection and can be resumed.
    pub(super) parked: Option<Parked>,
    /// Publications and whispers that it is yet to be told, by number.
    pub(super) due: VecDeque<u64>,
    /// How many answers it is yet to be given.
    pub(super) answers: usize,
    /// For each request for history: what must be told, if it isn't refused.
    pub(super) asked: VecDeque<Option<Vec<u64>>>,
    /// What has come of the first of those.
    pub(super) missed: Vec<u64>,
    pub(super) view: View,
    /// If its session was resumed: when, and what it saw before it was told what it had missed.
    pub(super) resumed: Option<(u64, View)>,
}

pub(super) struct Parked {
    /// When it can no longer be resumed.
    pub(super) deadline: u64,
    /// Whether it must be possible until then.
    pub(super) is_sure: bool,
}

/// Where a client is, with one connection after another.
#[derive(Default)]
pub(super) struct Place {
    /// How many sessions it had before the one it has.
    pub(super) generation: u64,
    /// What was written to the session's connection: for which follower, and when.
    pub(super) written: Vec<(usize, ServerMessage, u64)>,
    /// Set while the connection is broken and nobody has noticed.
    pub(super) broken: Option<Broken>,
    /// The last publication with a position that the client has of a stream, with its number.
    pub(super) last: BTreeMap<usize, (u64, StreamPosition)>,
    /// The same when the session began.
    pub(super) last_before: BTreeMap<usize, (u64, StreamPosition)>,
}

#[derive(Clone, Copy)]
pub(super) struct Broken {
    /// How much of what was written arrived.
    pub(super) arrived: usize,
    /// How much earlier than what is lost the doubt begins, in milliseconds.
    pub(super) margin: u64,
}

/// The members as a follower sees them, once it has been given a list.
#[derive(Clone, Default)]
pub(super) struct View {
    seen: Option<MemberList>,
    /// It was, or will be, told some things twice: then the order isn't that of arrival.
    pub(super) in_doubt: bool,
}

impl Follower {
    pub(super) fn new(connection: usize, stream: usize, key: SubscriberKey) -> Self {
        Self {
            connection,
            stream,
            key,
            is_held: true,
            parked: None,
            due: VecDeque::new(),
            answers: 0,
            asked: VecDeque::new(),
            missed: Vec::new(),
            view: View::default(),
            resumed: None,
        }
    }

    pub(super) fn publication(&mut self, publication: &Publication) {
        let number = number(publication);
        if self.due.front() == Some(&number) {
            self.due.pop_front();
        } else {
            assert!(!self.asked.is_empty(), "{number} comes once and in order: {:?}", self.due);
            self.missed.push(number);
        }
    }
}

impl Place {
    /// Another session begins.
    pub(super) fn begin(&mut self) {
        self.generation += 1;
        self.written.clear();
        self.broken = None;
        self.last_before = self.last.clone();
    }

    pub(super) fn take_in(&mut self, stream: usize, message: &ServerMessage) {
        if let ServerMessage::Publication(publication) = message
            && let Some(position) = &publication.position
        {
            self.last.insert(stream, (number(publication), position.clone()));
        }
    }
}

impl View {
    pub(super) fn take_in(&mut self, message: &ServerMessage) {
        let Self { seen, in_doubt } = self;
        match (message, seen) {
            (ServerMessage::PresenceList(list), _) => {
                self.check(list);
                *self = Self { seen: Some(list.to_vec()), in_doubt: false };
            }
            (ServerMessage::PresenceCount(total), Some(seen)) => assert_eq!(seen.len(), *total),
            (ServerMessage::Presence(change), Some(seen)) => replay(seen, change),
            (ServerMessage::Missed { id, change, extra }, Some(seen)) => {
                apply(seen, id, (change, extra), !*in_doubt);
            }
            _ => {}
        }
    }

    /// It sees who is there.
    pub(super) fn check(&self, there: &MemberList) {
        let Some(seen) = &self.seen else { return };
        if self.in_doubt {
            assert_eq!(sorted(seen), sorted(there));
        } else {
            assert_eq!(seen, there);
        }
    }
}

fn sorted(list: &MemberList) -> MemberList {
    let mut list = list.clone();
    list.sort_by(|a, b| a.id.cmp(&b.id));
    list
}

fn number(publication: &Publication) -> u64 {
    publication.data.as_str().parse().expect("a number")
}

/// Whether a message answers a command.
pub(super) fn is_answer(message: &ServerMessage) -> bool {
    match message {
        ServerMessage::Publication(_)
        | ServerMessage::Whisper(_)
        | ServerMessage::Presence(_)
        | ServerMessage::Arrived
        | ServerMessage::Occupancy(_)
        | ServerMessage::Missed { .. } => false,
        ServerMessage::Confirmed
        | ServerMessage::Rejected(_)
        | ServerMessage::Ended
        | ServerMessage::Done
        | ServerMessage::NotSubscribed
        | ServerMessage::PresenceRecords(_)
        | ServerMessage::PresenceList(_)
        | ServerMessage::PresenceCount(_)
        | ServerMessage::Refused(_)
        | ServerMessage::HistoryConfirmed
        | ServerMessage::HistoryRejected => true,
    }
}
