//! Calls that wait, and which is sent next. Pure: the time is given.
//!
//! Three lanes, so that a storm of connects doesn't stop those who are in: commands of those connected, connects,
//! disconnects. Each has a share of the calls that the application has at a time, and may use what the others leave
//! free, but for a tenth that is kept for commands. Within a lane, [sessions take turns](super::line).
//!
//! A thread of the application's that is stuck isn't one that is busy: a call that [hangs](super::out) no longer counts
//! against a limit that is found out, and its end says nothing about it. A few sessions whose calls hang so take nothing
//! from others, while an application that answers slowly is sent no more than before: there, only calls that are slow
//! even for it hang. If it stands still for a time, what it is sent meanwhile is, at most, a fifth of what it would have
//! done in that time, by as many threads as the limit.
//!
//! What holds after any course of events (`queue/tests.rs`):
//!
//! - A call is sent once, or leaves before. A session's calls in a lane are sent in order.
//! - Who is in line waits for at most one call of each other session in its lane.
//! - A session has at most [`MAX_OF_SESSION`] calls out in a lane, and of a limit that is given at most a third. Its others
//!   take no place in the line.
//! - When a call is sent, fewer than the limit are out that don't hang, and fewer than [`MAX_OUT`] in all. Of a limit that
//!   is given, hanging calls are a part.
//! - None waits whose session, lane, limit and breaker allow it to be sent.

use std::time::{Duration, Instant};

use super::breaker::{Breaker, Lets};
use super::limit::Limit;
use super::line::Line;
use super::out::Out;
use crate::types::SessionId;

/// Number of lanes.
pub(super) const LANES: usize = 3;

/// Of ten calls that the application has, or that wait, so many are of each lane.
const SHARES: [usize; LANES] = [7, 2, 1];

/// Their sum.
const WHOLE: usize = 10;

/// Maximum number of calls of one session that are out in a lane.
const MAX_OF_SESSION: usize = 8;

/// Of a limit that is given, one session has at most this part, but always one call.
const SESSIONS_PART: usize = 3;

/// Maximum number of calls that are out, with those that hang, where the limit is found out. Over HTTP each has a
/// connection.
const MAX_OUT: usize = 640;

/// What calls are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// A command of somebody connected.
    Command,
    /// Somebody connects.
    Connect,
    /// Somebody has gone.
    Disconnect,
}

/// A place among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    lane: Lane,
    session: SessionId,
    number: u64,
}

/// The right to send one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    lane: Lane,
    session: SessionId,
    number: u64,
    sent: Instant,
    /// Whether it tries if calls get through again.
    tries: bool,
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a reply.
    Answered,
    /// It got through, without a reply.
    Reached,
    /// The application had too much to do.
    Overloaded,
    /// No answer came in time.
    Late,
    /// It didn't get through.
    Missed,
    /// Nobody knows.
    Unknown,
}

/// The calls that wait, each with a `T`, and those that are out.
#[derive(Debug)]
pub(super) struct Queue<T> {
    lines: [Line<T>; LANES],
    out: [Out; LANES],
    places: [usize; LANES],
    limit: Limit,
    breaker: Breaker,
    tickets: u64,
    passes: u64,
}

impl<T> Queue<T> {
    /// `places` bounds those that wait, `limit` those that are out, if it isn't found out.
    pub(super) fn new(places: usize, limit: Option<usize>) -> Self {
        let max_of_session =
            limit.map_or(MAX_OF_SESSION, |it| (it / SESSIONS_PART).clamp(1, MAX_OF_SESSION));
        Self {
            lines: std::array::from_fn(|_| Line::new(max_of_session)),
            out: std::array::from_fn(|_| Out::default()),
            places: SHARES.map(|share| (places * share / WHOLE).max(1)),
            limit: Limit::new(limit),
            breaker: Breaker::default(),
            tickets: 0,
            passes: 0,
        }
    }

    /// Waits, if there is a place.
    pub(super) fn enter(
        &mut self,
        lane: Lane,
        session: SessionId,
        waiter: T,
        now: Instant,
    ) -> Option<Ticket> {
        let (number, places) = (self.tickets, self.places(lane));
        if !self.line_mut(lane).enter(session, (number, now, waiter), places) {
            return None;
        }
        self.tickets += 1;
        Some(Ticket { lane, session, number })
    }

    /// Waits no longer; whether it still did.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.line_mut(ticket.lane).leave(ticket.session, ticket.number)
    }

    /// Sends a call that needn't wait: nobody is in line.
    pub(super) fn send(&mut self, lane: Lane, session: SessionId, now: Instant) -> Option<Pass> {
        let may = self.all_in_line() == 0
            && self.breaker.lets(now) == Lets::All
            && self.may_send(lane, now)
            && self.line_mut(lane).send(session);
        may.then(|| self.pass(lane, session, now, false))
    }

    /// Who is sent next, if anybody is now.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Pass, T)> {
        let tries = match self.breaker.lets(now) {
            Lets::All => false,
            Lets::One => true,
            Lets::None(_) => return None,
        };
        let lane = self.next_lane(tries, now)?;
        let (session, waiter) = self.line_mut(lane).next()?;
        Some((self.pass(lane, session, now, tries), waiter))
    }

    /// A call that was sent has ended.
    pub(super) fn finish(&mut self, pass: Pass, end: End, now: Instant) {
        let is_full = self.busy() >= self.limit.current() || self.all_in_line() > 0;
        self.line_mut(pass.lane).finish(pass.session);
        let out = self.out_mut(pass.lane);
        let hung = out.finish(pass.number);
        if end == End::Answered {
            out.answered(now.saturating_duration_since(pass.sent));
        }
        match end {
            End::Answered => {
                if is_full {
                    self.limit.succeeded();
                }
                self.breaker.reached();
            }
            End::Reached => self.breaker.reached(),
            End::Overloaded => {
                self.limit.overloaded(pass.number, self.passes);
                self.breaker.missed(pass.tries, now);
            }
            End::Late => {
                if !hung {
                    self.limit.overloaded(pass.number, self.passes);
                }
                self.breaker.unknown(pass.tries, now);
            }
            End::Missed => self.breaker.missed(pass.tries, now),
            End::Unknown => self.breaker.unknown(pass.tries, now),
        }
    }

    /// When to look for the next, if only time is waited for.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        if self.all_in_line() == 0 {
            return None;
        }
        match self.breaker.lets(now) {
            Lets::None(at) => Some(at),
            Lets::All | Lets::One if self.limit.is_fixed() || self.sent() >= MAX_OUT => None,
            Lets::All | Lets::One => self.out.iter().filter_map(Out::hangs_at).min(),
        }
    }

    /// Whether one more has a place in a lane, and a prospect: nobody there waits for so long.
    pub(super) fn has_room(&self, lane: Lane, longest: Duration, now: Instant) -> bool {
        let others = self.line(lane);
        let waited = others.since().map(|since| now.saturating_duration_since(since));
        others.in_line() < self.places(lane)
            && waited.is_none_or(|waited| waited < longest)
            && !matches!(self.breaker.lets(now), Lets::None(_))
    }

    /// How many are out.
    pub(super) fn sent(&self) -> usize {
        self.out.iter().map(Out::all).sum()
    }

    /// How many may be out at a time.
    pub(super) fn limit(&self) -> usize {
        self.limit.current()
    }

    /// Whether nothing gets through.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.lines.iter().map(Line::waiting).sum()
    }

    /// Whether somebody is in line.
    pub(super) fn has_line(&self) -> bool {
        self.all_in_line() > 0
    }

    fn all_in_line(&self) -> usize {
        self.lines.iter().map(Line::in_line).sum()
    }

    /// How many are out that don't hang.
    fn busy(&self) -> usize {
        self.out.iter().map(Out::busy).sum()
    }

    fn pass(&mut self, lane: Lane, session: SessionId, now: Instant, tries: bool) -> Pass {
        let number = self.passes;
        self.passes += 1;
        self.out_mut(lane).send(number, now);
        if tries {
            self.breaker.tries(now);
        }
        Pass { lane, session, number, sent: now, tries }
    }

    /// Whether one more of a lane may be out.
    fn may_send(&mut self, lane: Lane, now: Instant) -> bool {
        if !self.limit.is_fixed() {
            self.out.iter_mut().for_each(|out| out.look(now));
            if self.sent() >= MAX_OUT {
                return false;
            }
        }
        let limit = self.limit.current();
        let [commands, others @ ..] = &self.out;
        let others = others.iter().map(Out::busy).sum::<usize>();
        let for_others = if limit > 1 { limit - limit.div_ceil(WHOLE) } else { limit };
        commands.busy() + others < limit && (lane == Lane::Command || others < for_others)
    }

    /// The lane in which somebody is in line, and of which the fewest are out for its share; the first one to try.
    fn next_lane(&mut self, tries: bool, now: Instant) -> Option<Lane> {
        let mut fairest: Option<(Lane, usize, usize)> = None;
        for (lane, share) in Lane::ALL.into_iter().zip(SHARES) {
            if self.line(lane).in_line() == 0 || !self.may_send(lane, now) {
                continue;
            }
            if tries {
                return Some(lane);
            }
            let busy = self.out(lane).busy();
            // as fractions: busy / share, for which no float is needed
            if fairest.is_none_or(|(_, least, of)| busy * of < least * share) {
                fairest = Some((lane, busy, share));
            }
        }
        fairest.map(|(lane, ..)| lane)
    }

    fn places(&self, lane: Lane) -> usize {
        let [commands, connects, disconnects] = self.places;
        lane.of(commands, connects, disconnects)
    }

    fn line(&self, lane: Lane) -> &Line<T> {
        let [commands, connects, disconnects] = &self.lines;
        lane.of(commands, connects, disconnects)
    }

    fn line_mut(&mut self, lane: Lane) -> &mut Line<T> {
        let [commands, connects, disconnects] = &mut self.lines;
        lane.of(commands, connects, disconnects)
    }

    fn out(&self, lane: Lane) -> &Out {
        let [commands, connects, disconnects] = &self.out;
        lane.of(commands, connects, disconnects)
    }

    fn out_mut(&mut self, lane: Lane) -> &mut Out {
        let [commands, connects, disconnects] = &mut self.out;
        lane.of(commands, connects, disconnects)
    }
}

impl Lane {
    /// All, the first the most urgent.
    pub(super) const ALL: [Self; LANES] = [Self::Command, Self::Connect, Self::Disconnect];

    /// What is this lane's.
    fn of<T>(self, commands: T, connects: T, disconnects: T) -> T {
        match self {
            Self::Command => commands,
            Self::Connect => connects,
            Self::Disconnect => disconnects,
        }
    }
}

#[cfg(test)]
mod tests;
