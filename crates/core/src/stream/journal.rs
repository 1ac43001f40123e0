//! Recent member events of a stream, for subscribers that lost their connection and resume.
//!
//! It is unknown whether the last writes to a broken socket arrived. So the events that a subscriber has
//! got are a range ([`Known`]), from which [`Journal::missed`] computes the events that bring it up to
//! date. An event may be sent twice; applied twice it changes nothing.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::pages::is_roomy;
use crate::log::{Known, Position};
use crate::types::{MemberEvent, PresenceId};

/// Maximum number of entries per stream. A client that missed more has to request the list.
pub(crate) const LONGEST: usize = 1000;

/// Tick of an entry that isn't sent to everyone yet.
const UNSENT: u32 = u32::MAX;

/// Resolution of the time at which an entry was sent to everyone.
pub(crate) const TICK: Duration = Duration::from_millis(1000 / TICKS_A_SECOND);

const TICKS_A_SECOND: u64 = 10;

#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Position from which on the journal is complete.
    start: Position,
    /// In order of their positions.
    entries: VecDeque<Noted>,
    /// Position after the last entry, or `start`.
    end: Position,
    /// Tick by which the last dropped entry was sent to everyone.
    dropped: Option<u32>,
    /// Approximate bytes of the entries.
    weight: usize,
}

#[derive(Debug)]
struct Noted {
    position: Position,
    id: PresenceId,
    event: MemberEvent,
    /// Tick by which it was sent to everyone.
    sent_by: u32,
}

impl Noted {
    fn weight(&self) -> usize {
        // half of the queue's capacity may be free, and the id has two reference counts
        2 * size_of::<Self>() + self.id.as_str().len() + 2 * size_of::<usize>()
    }
}

/// Ticks since the start of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks(Instant);

impl Ticks {
    pub(crate) fn since(start: Instant) -> Self {
        Self(start)
    }

    /// When a tick began.
    pub(crate) fn began(self, tick: u32) -> Instant {
        self.0 + TICK * tick
    }

    pub(crate) fn at(self, time: Instant) -> u32 {
        let since = time.saturating_duration_since(self.0);
        let within = u64::from(since.subsec_nanos() / TICK.subsec_nanos());
        let ticks = since.as_secs().saturating_mul(TICKS_A_SECOND).saturating_add(within);
        u32::try_from(ticks).unwrap_or(u32::MAX) // after thirteen years
    }
}

impl Journal {
    /// An empty journal from a position on; earlier entries count as not sent to everyone.
    pub(crate) fn from(start: Position) -> Self {
        let dropped = (start > Position(0)).then_some(UNSENT);
        Self { start, end: start, dropped, ..Self::default() }
    }

    /// Position after the last entry, or that at which it begins.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Position from which on the journal is complete.
    pub(crate) fn complete_from(&self) -> Position {
        self.start
    }

    /// Position from which on the journal is complete for everyone who can still be resumed: 0, unless an
    /// entry was dropped that wasn't sent to everyone before a time.
    pub(crate) fn start(&self, ticks: Ticks, since: Instant) -> Position {
        if self.dropped.is_some_and(|dropped| dropped >= ticks.at(since)) {
            self.entries.front().map_or(self.end, |entry| entry.position)
        } else {
            Position(0)
        }
    }

    /// The entries in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Position, &PresenceId, MemberEvent)> {
        self.entries.iter().map(|entry| (entry.position, &entry.id, entry.event))
    }

    /// Approximate bytes.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// Time at which the oldest entry was sent to everyone; now, if it isn't yet.
    pub(crate) fn oldest(&self, ticks: Ticks, now: Instant) -> Option<Instant> {
        let Noted { sent_by, .. } = self.entries.front()?;
        Some(if *sent_by == UNSENT { now } else { ticks.began(*sent_by) })
    }

    /// Whether it has no entries.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an event, and drops the oldest entry if there are too many.
    pub(crate) fn note(&mut self, position: Position, id: PresenceId, event: MemberEvent) {
        self.add(Noted { position, id, event, sent_by: UNSENT });
    }

    /// Adds an event that nobody has to be sent, any more than those before it: there are no subscribers.
    pub(crate) fn note_sent(
        &mut self,
        position: Position,
        id: PresenceId,
        event: MemberEvent,
        (ticks, now): (Ticks, Instant),
    ) {
        let sent_by = ticks.at(now);
        let is_behind = self.entries.back().is_some_and(|last| last.sent_by == UNSENT);
        if is_behind || self.dropped == Some(UNSENT) {
            self.mark_sent(self.end, ticks, now);
        }
        self.add(Noted { position, id, event, sent_by });
    }

    fn add(&mut self, entry: Noted) {
        if self.entries.len() == LONGEST {
            self.drop_first();
        }
        self.end = entry.position.next();
        self.weight += entry.weight();
        self.entries.push_back(entry);
    }

    /// Marks the entries before a position as sent to everyone.
    pub(crate) fn mark_sent(&mut self, up_to: Position, ticks: Ticks, now: Instant) {
        let tick = ticks.at(now);
        if self.dropped == Some(UNSENT) && up_to >= self.start {
            self.dropped = Some(tick);
        }
        // mostly it is the last one alone: a search would touch memory all over a long journal
        let unsent = self.entries.iter_mut().rev().take_while(|entry| entry.sent_by == UNSENT);
        for entry in unsent.filter(|entry| entry.position < up_to) {
            entry.sent_by = tick;
        }
    }

    /// Drops the entries that were sent to everyone before a time.
    pub(crate) fn forget(&mut self, ticks: Ticks, before: Instant) {
        let tick = ticks.at(before);
        while self.entries.front().is_some_and(|entry| entry.sent_by < tick) {
            self.drop_first();
        }
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    /// The events that a subscriber has got, if it was sent those before `sent`. `unacked_since` is the time
    /// since which deliveries are unconfirmed.
    pub(crate) fn known(
        &self,
        sent: Position,
        unacked_since: Option<Instant>,
        ticks: Ticks,
    ) -> Known {
        let Some(unacked_since) = unacked_since else {
            return Known { confirmed_before: sent, sent_before: sent };
        };
        let tick = ticks.at(unacked_since);
        if self.dropped.is_some_and(|dropped| dropped >= tick) {
            let before = Position(self.start.0.saturating_sub(1));
            return Known { confirmed_before: before.min(sent), sent_before: sent };
        }
        let unsure = self.entries.partition_point(|entry| entry.sent_by < tick);
        let unsure = self.entries.get(unsure);
        let confirmed_before = unsure.map_or(sent, |entry| entry.position.min(sent));
        Known { confirmed_before, sent_before: sent }
    }

    /// Events a subscriber missed, at most two per member, in order; `None` if the journal doesn't reach
    /// back far enough.
    pub(crate) fn missed(&self, known: Known) -> Option<Vec<(&PresenceId, MemberEvent)>> {
        if known.confirmed_before < self.start {
            return None;
        }
        let first = self.entries.partition_point(|entry| entry.position < known.confirmed_before);
        let mut fates: HashMap<&PresenceId, Fate, RandomState> = HashMap::default();
        for (place, entry) in self.entries.iter().enumerate().skip(first) {
            let may_know = entry.position < known.sent_before;
            let fate = fates.entry(&entry.id).or_insert_with(|| Fate::new(entry.event));
            fate.note(place, entry.event, may_know);
        }
        let mut news: Vec<_> = fates
            .into_iter()
            .flat_map(|(id, fate)| fate.news().map(move |(place, event)| (place, id, event)))
            .collect();
        news.sort_unstable_by_key(|(place, ..)| *place);
        Some(news.into_iter().map(|(_, id, event)| (id, event)).collect())
    }

    /// Drops the oldest entry.
    pub(crate) fn drop_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.start = entry.position.next();
            self.dropped = Some(entry.sent_by);
            self.weight -= entry.weight();
            if is_roomy(self.entries.len(), self.entries.capacity()) {
                self.entries.shrink_to(2 * self.entries.len());
            }
        }
    }
}

/// Events of one member while a subscriber was away.
#[derive(Debug)]
struct Fate {
    /// Whether the subscriber may see it as present.
    may_have: bool,
    /// Last place of each event.
    joined: Option<usize>,
    updated: Option<usize>,
    left: Option<usize>,
    last: MemberEvent,
}

impl Fate {
    fn new(first: MemberEvent) -> Self {
        // a member that joins was absent before; one that is updated or leaves was present
        let may_have = first != MemberEvent::Joined;
        Self { may_have, joined: None, updated: None, left: None, last: first }
    }

    fn note(&mut self, place: usize, event: MemberEvent, may_know: bool) {
        match event {
            MemberEvent::Joined => {
                self.joined = Some(place);
                self.may_have |= may_know;
            }
            MemberEvent::Updated => self.updated = Some(place),
            MemberEvent::Left => self.left = Some(place),
        }
        self.last = event;
    }

    /// The missed events with their places.
    fn news(self) -> impl Iterator<Item = (usize, MemberEvent)> {
        let is_here = self.last != MemberEvent::Left;
        let left = self.left.filter(|_| self.may_have);
        let joined = self.joined.filter(|_| is_here);
        let updated = self.updated.filter(|_| is_here && joined.is_none());
        let at = |place: Option<usize>, event| place.map(|place| (place, event));
        [
            at(left, MemberEvent::Left),
            at(joined, MemberEvent::Joined),
            at(updated, MemberEvent::Updated),
        ]
        .into_iter()
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    /// The members in order of arrival, with how often each has changed.
    type Seen = Vec<(u8, u32)>;

    /// A step of a member: its id, whether it leaves if it is present, the pause after it, and whether
    /// the entries then count as sent to everyone.
    type Step = (u8, bool, u64, bool);

    fn id(number: u8) -> PresenceId {
        PresenceId::from(number.to_string())
    }

    /// Before which position one is that was sent so many entries.
    fn at(sent: usize) -> Position {
        Position(sent as u64 + 1)
    }

    struct World {
        journal: Journal,
        ticks: Ticks,
        now: Instant,
        /// The members before each entry, and after the last one.
        views: Vec<Seen>,
        /// When each entry had been sent to everyone.
        sent_at: Vec<Option<Instant>>,
    }

    impl World {
        fn of(steps: &[Step]) -> Self {
            let now = start();
            let (journal, ticks) = (Journal::default(), Ticks::since(now));
            let mut world = Self { journal, ticks, now, views: vec![vec![]], sent_at: vec![] };
            for step in steps {
                world.step(*step);
            }
            world
        }

        fn step(&mut self, (who, leaves, pause, is_sent): Step) {
            let mut seen = self.views.last().cloned().unwrap_or_default();
            let event = match seen.iter().position(|(there, _)| *there == who) {
                None => {
                    seen.push((who, u32::try_from(self.views.len()).unwrap()));
                    MemberEvent::Joined
                }
                Some(place) if leaves => {
                    seen.remove(place);
                    MemberEvent::Left
                }
                Some(place) => {
                    seen[place].1 = u32::try_from(self.views.len()).unwrap();
                    MemberEvent::Updated
                }
            };
            let position = Position(self.views.len() as u64);
            self.journal.note(position, id(who), event);
            self.views.push(seen);
            self.sent_at.push(None);
            self.now += Duration::from_millis(pause);
            if is_sent {
                self.journal.mark_sent(self.journal.end(), self.ticks, self.now);
                for at in &mut self.sent_at {
                    at.get_or_insert(self.now);
                }
            }
        }

        fn now(&self) -> &Seen {
            self.views.last().unwrap()
        }

        /// What a client sees that saw so much before and gets the news.
        fn after(&self, mut seen: Seen, news: &[(&PresenceId, MemberEvent)], strict: bool) -> Seen {
            for (who, event) in news {
                let who: u8 = who.as_str().parse().unwrap();
                let place = seen.iter().position(|(there, _)| *there == who);
                let version = self.now().iter().find(|(there, _)| *there == who).map(|(_, v)| *v);
                match (event, place) {
                    (MemberEvent::Joined, None) => seen.push((who, version.unwrap())),
                    (MemberEvent::Left, Some(place)) => drop(seen.remove(place)),
                    (MemberEvent::Joined, Some(place)) if !strict => {
                        seen[place].1 = version.unwrap();
                    }
                    (MemberEvent::Updated, Some(place)) => {
                        assert!(!strict || Some(seen[place].1) != version, "nothing was updated");
                        seen[place].1 = version.unwrap();
                    }
                    (MemberEvent::Left, None) if !strict => {}
                    (event, _) => panic!("{event:?} of {who} can't happen to {seen:?}"),
                }
            }
            seen
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let pause = prop::sample::select(vec![0, 1, 99, 100, 350]);
        prop::collection::vec((0..5_u8, any::<bool>(), pause, any::<bool>()), 0..60)
    }

    proptest! {
        #[test]
        fn a_subscriber_gets_what_it_was_not_sent_and_no_more(steps in steps(), sent in any::<prop::sample::Index>()) {
            let world = World::of(&steps);
            let sent = sent.index(world.views.len());
            let known = world.journal.known(at(sent), None, world.ticks);
            let news = world.journal.missed(known).unwrap();
            prop_assert_eq!(&world.after(world.views[sent].clone(), &news, true), world.now());
        }

        #[test]
        fn what_nobody_has_to_be_sent_is_as_what_everyone_was_sent(steps in steps(), from in 0..2_u64) {
            let (ticks, mut now) = (Ticks::since(start()), start());
            let mut journals = [(); 2].map(|()| Journal::from(Position(from)));
            for (position, (who, drops, pause, is_sent)) in (1..).zip(steps) {
                now += Duration::from_millis(pause);
                let (position, event) = (Position(position), MemberEvent::Joined);
                let [one, other] = &mut journals;
                one.note(position, id(who), event);
                if is_sent {
                    one.mark_sent(one.end(), ticks, now);
                    other.note_sent(position, id(who), event, (ticks, now));
                } else {
                    other.note(position, id(who), event);
                }
                if drops {
                    journals.iter_mut().for_each(Journal::drop_first);
                }
                let [one, other] = journals.each_ref().map(|it| format!("{it:?}"));
                prop_assert_eq!(one, other);
            }
        }

        #[test]
        fn whatever_arrived_of_what_is_in_doubt(
            steps in steps(),
            (sent, unacked_since, forgotten) in any::<(prop::sample::Index, prop::sample::Index, Option<u16>)>(),
        ) {
            let mut world = World::of(&steps);
            if let Some(before) = forgotten {
                world.journal.forget(world.ticks, world.ticks.0 + Duration::from_millis(before.into()));
            }
            let sent = sent.index(world.views.len());
            let length = world.now.duration_since(world.ticks.0);
            let unacked_since = world.ticks.0 + length / 100 * u32::try_from(unacked_since.index(101)).unwrap();
            let known = world.journal.known(at(sent), Some(unacked_since), world.ticks);
            let Some(news) = world.journal.missed(known) else {
                prop_assert!(forgotten.is_some(), "all is kept");
                return Ok(());
            };
            // an entry that everyone had been sent before that time has arrived
            let sure = world.sent_at.iter().take(sent);
            let sure = sure.filter(|at| at.is_some_and(|at| at < unacked_since)).count();
            for arrived in sure..=sent {
                let mut seen = world.after(world.views[arrived].clone(), &news, false);
                let mut now = world.now().clone();
                seen.sort_unstable();
                now.sort_unstable();
                prop_assert_eq!(seen, now, "{} arrived", arrived);
            }
        }
    }

    #[test]
    fn what_is_no_longer_kept_is_not_made_up() {
        let long: Vec<Step> = (0..LONGEST + 10).map(|_| (0, true, 100, true)).collect();
        let world = World::of(&long);
        let known = |sent, unacked_since| world.journal.known(at(sent), unacked_since, world.ticks);
        assert!(world.journal.missed(known(9, None)).is_none());
        assert!(world.journal.missed(known(10, None)).is_some());
        assert!(world.journal.missed(Known::NOTHING).is_none());
        let all = LONGEST + 10;
        assert!(world.journal.missed(known(all, Some(world.ticks.0))).is_none());
        assert!(world.journal.missed(known(all, Some(world.now))).is_some());
        let short = World::of(&long[..5]);
        assert!(short.journal.missed(Known::NOTHING).is_some());
    }

    /// Else whoever begins with the snapshot of one who began with a snapshot takes it for complete.
    #[test]
    fn without_entries_it_begins_where_it_was_said_to() {
        let ticks = Ticks::since(start());
        let journal = Journal::from(Position(5));
        assert_eq!(journal.start(ticks, ticks.0), Position(5));
        let known = journal.known(journal.end(), None, ticks);
        assert!(journal.missed(known).is_some_and(|missed| missed.is_empty()));
        assert!(journal.missed(Known::NOTHING).is_none());
    }

    #[test]
    fn entries_dropped_before_they_were_sent_are_unconfirmed() {
        let mut long: Vec<Step> = (0..LONGEST + 10).map(|_| (0, true, 1, false)).collect();
        long.push((1, true, 1, true));
        let world = World::of(&long);
        let known = world.journal.known(at(long.len()), Some(world.now), world.ticks);
        assert!(world.journal.missed(known).is_none());
    }
}
