//! The connections that aren't WebSockets: handshakes under way, plain HTTP, and those that say
//! nothing. There is room for a number of them, and who needs it gets it from the one that has
//! been idle for longest, so that nobody keeps others out by waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// What a connection has at least before it has to go: a round trip of a slow network…
const ROUND_TRIP: Duration = Duration::from_millis(250);

/// …and the time that the handshakes of all others take, TLS among them, if their turn comes
/// first. When everyone comes at once, the next ones wait in the kernel for a moment rather than
/// cost others the handshake they are in the middle of.
const HANDSHAKE: Duration = Duration::from_millis(1);

/// How many times as long it has while places come free by themselves: then it is a crowd that
/// makes its way, and who waits will get in without anyone being sent away.
const WHILE_IT_MOVES: u32 = 4;

/// Set in the key of a connection that has got anywhere: those that haven't go first.
const IN_USE: u64 = 1 << 63;

/// All of them.
#[derive(Debug)]
pub(super) struct Pending {
    most: usize,
    grace: Duration,
    clock: Arc<Clock>,
    queue: Mutex<Queue>,
    left: Notify,
}

/// In the order in which they have to go.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// When a place last came free by itself.
    moved: Option<Instant>,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    since: Instant,
    crowded_out: CancellationToken,
}

/// One connection's place among them; free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    pending: Arc<Pending>,
    key: AtomicU64,
    crowded_out: CancellationToken,
}

impl Pending {
    /// Room for so many.
    pub(super) fn new(most: usize, clock: Arc<Clock>) -> Arc<Self> {
        let grace = ROUND_TRIP + HANDSHAKE * u32::try_from(most).unwrap_or(u32::MAX);
        Arc::new(Self { most, grace, clock, queue: Mutex::default(), left: Notify::new() })
    }

    /// A slot, as soon as one is free or someone has had theirs for long enough.
    pub(super) async fn enter(self: &Arc<Self>) -> Slot {
        loop {
            match self.try_enter(self.clock.now()) {
                Ok(slot) => return slot,
                Err(wait) => drop(tokio::time::timeout(wait, self.left.notified()).await),
            }
        }
    }

    /// A slot, or how long it takes until someone has to give theirs up.
    fn try_enter(self: &Arc<Self>, now: Instant) -> Result<Slot, Duration> {
        let mut queue = self.queue.lock();
        let moves = queue.moved.is_some_and(|at| now.saturating_duration_since(at) < self.grace);
        let grace = if moves { self.grace * WHILE_IT_MOVES } else { self.grace };
        // more than one has to go where some have come back
        while queue.entries.len() >= self.most
            && let Some(first) = queue.entries.first_entry()
        {
            let age = now.saturating_duration_since(first.get().since);
            if let Some(wait) = grace.checked_sub(age).filter(|wait| !wait.is_zero()) {
                return Err(wait.min(self.grace));
            }
            first.remove().crowded_out.cancel();
        }
        let crowded_out = CancellationToken::new();
        let key = queue.add(0, Entry { since: now, crowded_out: crowded_out.clone() });
        Ok(Slot { pending: Arc::clone(self), key: AtomicU64::new(key), crowded_out })
    }
}

impl Queue {
    fn add(&mut self, class: u64, entry: Entry) -> u64 {
        let key = self.next | class;
        self.next += 1;
        self.entries.insert(key, entry);
        key
    }
}

impl Slot {
    /// A request begins, or TLS is agreed on: the connection is in use.
    pub(super) fn touch(&self) {
        self.touch_at(self.pending.clock.now());
    }

    /// Gives the place up while a response lasts that isn't to be counted here, and takes one again
    /// when it is over, whether there is one or not.
    pub(super) fn step_out(&self, out: bool) {
        let now = self.pending.clock.now();
        if out {
            self.leave(now);
        } else {
            self.return_at(now);
        }
    }

    fn return_at(&self, now: Instant) {
        let mut queue = self.pending.queue.lock();
        if !queue.entries.contains_key(&self.key.load(Ordering::Relaxed)) {
            let entry = Entry { since: now, crowded_out: self.crowded_out.clone() };
            self.key.store(queue.add(IN_USE, entry), Ordering::Relaxed);
        }
    }

    fn touch_at(&self, now: Instant) {
        let mut queue = self.pending.queue.lock();
        if let Some(mut entry) = queue.entries.remove(&self.key.load(Ordering::Relaxed)) {
            entry.since = now;
            self.key.store(queue.add(IN_USE, entry), Ordering::Relaxed);
        }
    }

    fn leave(&self, now: Instant) {
        let mut queue = self.pending.queue.lock();
        if queue.entries.remove(&self.key.load(Ordering::Relaxed)).is_some() {
            queue.moved = Some(now);
            self.pending.left.notify_one();
        }
    }

    /// Waits until another connection has taken its place.
    pub(super) async fn crowded_out(&self) {
        self.crowded_out.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.leave(self.pending.clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room_for(most: usize) -> (Arc<Pending>, Instant, Duration) {
        let clock = Clock::new();
        let now = clock.now();
        let pending = Pending::new(most, clock);
        let grace = pending.grace;
        (pending, now, grace)
    }

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped() {
        let (pending, now, grace) = room_for(1);
        let slot = pending.try_enter(now).unwrap();
        assert_eq!(pending.try_enter(now).unwrap_err(), grace);
        drop(slot);
        let _slot = pending.try_enter(now).unwrap();
    }

    #[test]
    fn the_one_that_waited_longest_goes_but_not_at_once() {
        let (pending, start, grace) = room_for(2);
        let first = pending.try_enter(start).unwrap();
        let later = start + grace / 2;
        let second = pending.try_enter(later).unwrap();
        assert_eq!(pending.try_enter(later).unwrap_err(), grace / 2);
        let third = pending.try_enter(start + grace).unwrap();
        assert!(first.crowded_out.is_cancelled());
        assert!(!second.crowded_out.is_cancelled() && !third.crowded_out.is_cancelled());
        drop(first); // holds no slot any more
        assert_eq!(pending.try_enter(start + grace).unwrap_err(), grace / 2);
    }

    #[test]
    fn those_that_got_nowhere_go_first_and_then_the_idle() {
        let (pending, start, grace) = room_for(3);
        let slots = [(); 3].map(|()| pending.try_enter(start).unwrap());
        slots[0].touch_at(start);
        slots[1].touch_at(start);
        slots[0].touch_at(start + grace);
        let out = || slots.each_ref().map(|slot| slot.crowded_out.is_cancelled());
        let newcomer = pending.try_enter(start + grace).unwrap();
        assert_eq!(out(), [false, false, true]);
        newcomer.touch_at(start + grace);
        let other = pending.try_enter(start + grace).unwrap();
        assert_eq!(out(), [false, true, true]);
        other.touch_at(start + grace);
        assert_eq!(pending.try_enter(start + grace).unwrap_err(), grace);
    }

    #[test]
    fn as_long_as_places_come_free_those_who_are_in_have_longer() {
        let (pending, start, grace) = room_for(2);
        let slow = pending.try_enter(start).unwrap();
        let quick = pending.try_enter(start).unwrap();
        quick.leave(start + grace);
        let _next = pending.try_enter(start + grace).unwrap();
        assert_eq!(pending.try_enter(start + grace).unwrap_err(), grace, "it may stop moving");
        assert!(!slow.crowded_out.is_cancelled());
        let stuck = start + grace * 2;
        let _other = pending.try_enter(stuck).unwrap();
        assert!(slow.crowded_out.is_cancelled());
    }

    #[test]
    fn but_not_for_ever() {
        let (pending, start, grace) = room_for(2);
        let slow = pending.try_enter(start).unwrap();
        let end = start + grace * WHILE_IT_MOVES;
        pending.try_enter(end).unwrap().leave(end);
        let _next = pending.try_enter(end).unwrap();
        let _other = pending.try_enter(end).unwrap();
        assert!(slow.crowded_out.is_cancelled());
    }

    #[test]
    fn who_steps_out_is_not_sent_away_and_comes_back_to_the_end() {
        let (pending, start, grace) = room_for(2);
        let lasting = pending.try_enter(start).unwrap();
        lasting.touch_at(start);
        lasting.step_out(true);
        let others = [(); 2].map(|()| pending.try_enter(start).unwrap());
        for other in &others {
            other.touch_at(start);
        }
        let out = || {
            let cancelled = |slot: &Slot| slot.crowded_out.is_cancelled();
            (cancelled(&lasting), others.each_ref().map(cancelled))
        };
        assert_eq!(out(), (false, [false, false]));
        lasting.return_at(start + grace);
        lasting.return_at(start + grace);
        assert_eq!(pending.queue.lock().entries.len(), 3);
        let later = start + grace * WHILE_IT_MOVES;
        let _newcomer = pending.try_enter(later).unwrap();
        assert_eq!(out(), (false, [true, true]), "one place was too many");
        assert_eq!(pending.queue.lock().entries.len(), 2);
        drop(lasting);
        assert_eq!(pending.queue.lock().entries.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_when_a_slot_is_free() {
        let (pending, _, grace) = room_for(1);
        let slot = pending.enter().await;
        let waiting = tokio::spawn({
            let pending = Arc::clone(&pending);
            async move { pending.enter().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(slot);
        let asked = tokio::time::timeout(grace / 10, waiting).await;
        asked.expect("not woken").unwrap();
    }
}
