//! One answer of several streams.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::message::ServerMessage;

/// The joint answer of a subscription's streams to one request for history.
///
/// Their shards run side by side: each stream settles its part when its messages are on their way to the client, so
/// that the answer, which goes with the last part, comes behind the messages of all.
#[derive(Debug)]
pub struct JointAnswer {
    /// Number of parts that have yet to be settled.
    open: AtomicUsize,
    /// The worst part so far.
    verdict: AtomicU8,
}

/// What a part says, from the best to the worst.
const NOTHING: u8 = 0;
const CONFIRMED: u8 = 1;
const REJECTED: u8 = 2;

impl JointAnswer {
    /// The answer of so many streams.
    pub fn of(streams: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(streams), verdict: AtomicU8::new(NOTHING) })
    }

    /// Settles the part of one stream, `None` if that has no answer. Returns the answer of all with the last part: a
    /// rejection if one is.
    pub fn settle(&self, part: Option<&ServerMessage>) -> Option<ServerMessage> {
        let verdict = match part {
            None => NOTHING,
            Some(ServerMessage::HistoryConfirmed) => CONFIRMED,
            Some(_) => REJECTED,
        };
        self.verdict.fetch_max(verdict, Ordering::AcqRel);
        if self.open.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        match self.verdict.load(Ordering::Acquire) {
            NOTHING => None,
            CONFIRMED => Some(ServerMessage::HistoryConfirmed),
            _ => Some(ServerMessage::HistoryRejected),
        }
    }
}

/// Equal is the same one.
impl PartialEq for JointAnswer {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }
}

impl Eq for JointAnswer {}
