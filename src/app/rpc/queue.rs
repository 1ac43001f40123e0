//! Calls that wait, and which is sent next. Pure: the time is given.
//!
//! Three lanes, so that a storm of connects doesn't stop those who are in: commands of those connected, connects,
//! disconnects. Each has a share of the calls that the application has at a time, and may use what the others leave
//! free, but for a tenth that is kept for commands. Within a lane, whoever waits longest is next.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::breaker::{Breaker, Lets};
use super::limit::Limit;

/// Number of lanes.
pub(super) const LANES: usize = 3;

/// Of ten calls that the application has, or that wait, so many are of each lane.
const SHARES: [usize; LANES] = [7, 2, 1];

/// Their sum.
const WHOLE: usize = 10;

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
    number: u64,
}

/// The right to send one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    lane: Lane,
    number: u64,
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
    /// It didn't get through.
    Missed,
    /// Nobody knows.
    Unknown,
}

/// The calls that wait, each with a `T`, and the number of those that were sent.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: [BTreeMap<u64, (Instant, T)>; LANES],
    running: [usize; LANES],
    places: [usize; LANES],
    limit: Limit,
    breaker: Breaker,
    tickets: u64,
    passes: u64,
}

impl<T> Queue<T> {
    /// `places` bounds those that wait, `limit` those that are sent, if it isn't found out.
    pub(super) fn new(places: usize, limit: Option<usize>) -> Self {
        Self {
            waiting: std::array::from_fn(|_| BTreeMap::new()),
            running: [0; LANES],
            places: SHARES.map(|share| (places * share / WHOLE).max(1)),
            limit: Limit::new(limit),
            breaker: Breaker::default(),
            tickets: 0,
            passes: 0,
        }
    }

    /// Waits, if there is a place.
    pub(super) fn enter(&mut self, lane: Lane, waiter: T, now: Instant) -> Option<Ticket> {
        let number = self.tickets;
        let [waiting, places] = [self.waiting(lane), self.places(lane)];
        if waiting >= places {
            return None;
        }
        self.tickets += 1;
        self.lane(lane).insert(number, (now, waiter));
        Some(Ticket { lane, number })
    }

    /// Waits no longer; whether it still did.
    pub(super) fn leave(&mut self, ticket: Ticket) -> bool {
        self.lane(ticket.lane).remove(&ticket.number).is_some()
    }

    /// Who is sent next, if anybody is now.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Pass, T)> {
        let tries = match self.breaker.lets(now) {
            Lets::All => false,
            Lets::One => true,
            Lets::None(_) => return None,
        };
        let lane = if tries { self.first() } else { self.fairest() }?;
        let (_, (_, waiter)) = self.lane(lane).pop_first()?;
        let number = self.passes;
        self.passes += 1;
        if let Some(running) = self.running.get_mut(lane as usize) {
            *running += 1;
        }
        if tries {
            self.breaker.tries();
        }
        Some((Pass { lane, number, tries }, waiter))
    }

    /// A call that was sent has ended.
    pub(super) fn finish(&mut self, pass: Pass, end: End, now: Instant) {
        let is_full = self.sent() >= self.limit.current() || self.all_waiting() > 0;
        if let Some(running) = self.running.get_mut(pass.lane as usize) {
            *running -= 1;
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
            End::Missed => self.breaker.missed(pass.tries, now),
            End::Unknown => self.breaker.unknown(pass.tries, now),
        }
    }

    /// When to look for the next, if only time is waited for.
    pub(super) fn wakes_at(&self, now: Instant) -> Option<Instant> {
        match self.breaker.lets(now) {
            Lets::None(at) if self.all_waiting() > 0 => at,
            Lets::None(_) | Lets::All | Lets::One => None,
        }
    }

    /// Whether one more has a place in a lane, and a prospect: nobody there waits for so long.
    pub(super) fn has_room(&self, lane: Lane, longest: Duration, now: Instant) -> bool {
        let waited = self.waiting.get(lane as usize).and_then(BTreeMap::first_key_value);
        let waited = waited.map(|(_, (since, _))| now.saturating_duration_since(*since));
        self.waiting(lane) < self.places(lane)
            && waited.is_none_or(|waited| waited < longest)
            && !matches!(self.breaker.lets(now), Lets::None(_))
    }

    /// How many wait in a lane.
    pub(super) fn waiting(&self, lane: Lane) -> usize {
        self.waiting.get(lane as usize).map_or(0, BTreeMap::len)
    }

    /// How many are sent, and have not ended.
    pub(super) fn sent(&self) -> usize {
        self.running.iter().sum()
    }

    /// How many may be sent at a time.
    pub(super) fn limit(&self) -> usize {
        self.limit.current()
    }

    /// Whether nothing gets through.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// How many wait.
    pub(super) fn all_waiting(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }

    fn places(&self, lane: Lane) -> usize {
        self.places.get(lane as usize).copied().unwrap_or_default()
    }

    fn lane(&mut self, lane: Lane) -> &mut BTreeMap<u64, (Instant, T)> {
        let [commands, connects, disconnects] = &mut self.waiting;
        match lane {
            Lane::Command => commands,
            Lane::Connect => connects,
            Lane::Disconnect => disconnects,
        }
    }

    /// The first lane in which somebody waits.
    fn first(&self) -> Option<Lane> {
        Lane::ALL.into_iter().find(|lane| self.waiting(*lane) > 0)
    }

    /// The lane in which somebody waits, and of which the fewest are sent for its share.
    fn fairest(&self) -> Option<Lane> {
        let limit = self.limit.current();
        if self.sent() >= limit {
            return None;
        }
        let [commands, others @ ..] = self.running;
        let for_others = if limit > 1 { limit - limit.div_ceil(WHOLE) } else { limit };
        let has_others = others.iter().sum::<usize>() < for_others;
        let lanes = Lane::ALL.into_iter().zip(SHARES).zip([commands, others[0], others[1]]);
        let may = lanes.filter(|((lane, _), _)| {
            self.waiting(*lane) > 0 && (has_others || *lane == Lane::Command)
        });
        // as fractions: running / share, for which no float is needed
        let fairest = may.min_by(|((_, share), running), ((_, other_share), other)| {
            (running * other_share).cmp(&(other * share))
        });
        fairest.map(|((lane, _), _)| lane)
    }
}

impl Lane {
    /// All, the first the most urgent.
    pub(super) const ALL: [Self; LANES] = [Self::Command, Self::Connect, Self::Disconnect];
}

#[cfg(test)]
mod tests;
