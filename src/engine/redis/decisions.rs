//! Decisions of a follower. They are pure, so that [`model`](super::model) can try out all orders in which things happen.
//!
//! A nonce names one entry, with all that is before it. A *round* is from one settling of a log to the next: within it,
//! entries are added, and nothing else changes. Later ones have larger numbers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::meta::Meta;
use crate::engine::bids::Bids;
use crate::engine::event::LostReason;
use crate::log::{LogId, NodeId};

/// What a settled log is to what was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It has all of that.
    Whole,
    /// It hasn't, and the others have gone on with it.
    Lost(LostReason),
    /// It hasn't, and that isn't settled: Redis has lost something without having restarted.
    Doubtful,
}

/// What to do about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Deliver it.
    Deliver,
    /// Read the log.
    Read,
    /// Nothing.
    Nothing,
}

/// Judges a settled log. `found` is the nonce at the cursor that was delivered last, if there is an entry, `nonce` the one
/// that was delivered, if it is known; `round` is the one in which the log had all.
pub(super) fn prove(
    meta: &Meta,
    found: Option<u64>,
    (cursor, nonce): (u64, Option<u64>),
    round: Option<u64>,
) -> Proof {
    let reason = match (found, nonce) {
        _ if meta.head < cursor => LostReason::Shorter,
        (Some(found), Some(nonce)) if found != nonce => LostReason::Forked,
        (None, Some(_)) => LostReason::Trimmed,
        // without a nonce: whether the next one is there is seen when it is read
        (Some(_), _) | (None, None) => return Proof::Whole,
    };
    if reason == LostReason::Trimmed || round != Some(meta.round) {
        Proof::Lost(reason)
    } else {
        Proof::Doubtful
    }
}

/// Whether the log is as it was in a round, but for what was added; else it has to be proved.
pub(super) fn goes_on(is_settled: bool, meta: &Meta, round: Option<u64>) -> bool {
    is_settled && round == Some(meta.round)
}

/// What to do about a message of a round. One of another round is of a log that was before, or that has to be proved,
/// or of another database.
pub(super) fn take(of: u64, cursor: u64, (delivered, round): (u64, Option<u64>)) -> Next {
    if round != Some(of) || cursor <= delivered {
        Next::Nothing
    } else if cursor == delivered + 1 {
        Next::Deliver
    } else {
        Next::Read
    }
}

/// Low bits of a round and of a nonce, which are random: no two have the same number. Those above count rounds.
const RANDOM_BITS: u32 = 44;

/// The round in which a log begins.
pub(super) fn first_round(log: LogId) -> u64 {
    numbered(0, log.0)
}

/// The round behind all of these.
pub(super) fn next_round(rounds: [u64; 3], ballot: u64) -> u64 {
    let last = rounds.into_iter().map(count).max().unwrap_or(0);
    numbered(last + 1, ballot)
}

/// A nonce for a batch of a round.
pub(super) fn nonce(round: u64, random: u64) -> u64 {
    numbered(count(round), random)
}

/// The earliest round with the count of a round, or of a nonce.
pub(super) fn begin(number: u64) -> u64 {
    numbered(count(number), 0)
}

fn count(number: u64) -> u64 {
    number >> RANDOM_BITS
}

fn numbered(count: u64, random: u64) -> u64 {
    (count << RANDOM_BITS) | (random % (1 << RANDOM_BITS))
}

/// How long a node waits before it settles a log, and whether it forks it then: a node that hasn't bid may have had more.
pub(super) fn settling(
    bids: &Bids,
    own: NodeId,
    members: &BTreeSet<NodeId>,
    lease: Duration,
) -> (Duration, bool) {
    let patience = bids.patience(own, members, lease);
    (patience, !patience.is_zero())
}
