//! Slots for a port's connections that aren't WebSockets: handshakes under way, plain HTTP, and
//! silent ones.
//!
//! A newcomer always gets a slot soon. When all are taken, the address with the most slots gives
//! one up, and only that address: first a connection that has made no progress in the time of a
//! handshake, then one that has been idle, or waiting for a response, for too long. Clients that
//! send request after request take turns: a response sent while a newcomer waits is the last on its
//! connection, and says so (`Connection: close`). If most of the address's connections have had no
//! response yet, only those are evicted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::net::network;

/// Minimum time before a connection may be evicted: a round trip on a slow network…
const ROUND_TRIP: Duration = Duration::from_millis(250);

/// …plus, per slot, the time to serve one first request. When a crowd connects at once, newcomers
/// wait briefly in the kernel's queue instead of evicting others in mid-handshake.
const REQUEST: Duration = Duration::from_micros(100);

/// The same per slot for TLS handshakes.
const TLS_HANDSHAKE: Duration = Duration::from_millis(1);

/// Factor on the minimum time of connections without progress while slots are freed quickly: then a
/// crowd is being served, and the newcomer gets a slot without an eviction.
const FLOW_GRACE_FACTOR: u32 = 4;

/// Fraction of the slots (one in `FLOW`) that must be freed within the minimum time for that.
const FLOW: usize = 4;

/// Maximum time a connection that had a response may stay idle, or wait for another, when its slot
/// is needed.
const MAX_HOLD: Duration = Duration::from_secs(1);

/// Maximum of connections that are evicted and haven't closed their files yet. On a busy machine they may take a
/// moment, and newcomers wait for it: half of the files that are kept for other things.
const MAX_LEAVING: usize = 16;

/// Minimum age of a connection whose response may be its last: connecting costs more than a
/// request. Short, since newcomers wait as long.
const MIN_TENURE: Duration = Duration::from_millis(150);

/// The slots of one port.
#[derive(Debug)]
pub(super) struct Pending {
    max: usize,
    clock: Arc<Clock>,
    places: Mutex<Places>,
    left: Notify,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    /// By number, so in the order in which they were taken.
    taken: BTreeMap<u64, Place>,
    /// Number of slots per address.
    by_address: HashMap<IpAddr, Count>,
    /// Address of the waiting newcomer; `None` once a connection is leaving for it.
    waits: Option<IpAddr>,
    /// Number of connections that were evicted and have yet to close.
    leaving: usize,
    /// Times at which slots were freed without an eviction, for the last quarter of the slots.
    freed: VecDeque<Instant>,
}

/// The slots of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    /// Those of connections that have had no response and wait for none.
    new: usize,
}

#[derive(Debug)]
struct Place {
    address: IpAddr,
    entered: Instant,
    stage: Stage,
    /// When the current stage began.
    since: Instant,
    evicted: CancellationToken,
}

/// Progress of a connection, in the order of eviction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// No bytes that count as progress yet.
    Silent,
    /// TLS handshake under way or done.
    Tls,
    /// Had a response, no request under way.
    Idle,
    /// Waits for a response.
    Asking,
}

impl Stage {
    const fn is_new(self) -> bool {
        match self {
            Self::Silent | Self::Tls => true,
            Self::Idle | Self::Asking => false,
        }
    }
}

/// A connection's slot; freed on drop.
#[derive(Debug)]
pub(super) struct Slot {
    pending: Arc<Pending>,
    address: IpAddr,
    number: AtomicU64,
    evicted: CancellationToken,
}

impl Pending {
    /// Slots for `max` connections.
    pub(super) fn new(max: usize, clock: Arc<Clock>) -> Arc<Self> {
        Arc::new(Self { max, clock, places: Mutex::default(), left: Notify::new() })
    }

    /// Waits for a slot: a free one, or that of a connection that is due for eviction. One caller
    /// at a time.
    pub(super) async fn enter(self: &Arc<Self>, address: IpAddr) -> Slot {
        loop {
            match self.try_enter(address, self.clock.now()) {
                Ok(slot) => return slot,
                Err(wait) => {
                    // an evicted connection may take a moment to leave
                    let wait = wait.min(ROUND_TRIP);
                    drop(tokio::time::timeout(wait, self.left.notified()).await);
                }
            }
        }
    }

    /// Takes a slot, or returns the time until the next eviction is due.
    fn try_enter(self: &Arc<Self>, address: IpAddr, now: Instant) -> Result<Slot, Duration> {
        let address = network(address);
        let mut places = self.places.lock();
        places.waits = Some(address);
        // several may have to go, as paused connections may have come back over the limit
        while places.taken.len() >= self.max {
            let evicted = self.find_overdue(&places, now)?;
            if places.leaving >= MAX_LEAVING {
                return Err(ROUND_TRIP);
            }
            if let Some(place) = places.remove(evicted) {
                places.leaving += usize::from(!place.evicted.is_cancelled());
                place.evicted.cancel();
            }
        }
        places.waits = None;
        let evicted = CancellationToken::new();
        let token = evicted.clone();
        let place =
            Place { address, entered: now, stage: Stage::Silent, since: now, evicted: token };
        let number = AtomicU64::new(places.take(place));
        Ok(Slot { pending: Arc::clone(self), address, number, evicted })
    }

    /// The connection to evict now, or the time until one is due.
    fn find_overdue(&self, places: &Places, now: Instant) -> Result<u64, Duration> {
        let flows = self.flows(places, now);
        let max = places.max_weight();
        let mut first: Option<(Stage, Instant, u64)> = None;
        let mut wait = MAX_HOLD;
        for (number, place) in &places.taken {
            if !places.makes_room(place.address, place.stage, max) {
                continue;
            }
            let held = now.saturating_duration_since(place.since);
            let left = self.hold(place.stage, flows).saturating_sub(held);
            if left.is_zero() {
                let candidate = (place.stage, place.since, *number);
                first = Some(first.map_or(candidate, |first| first.min(candidate)));
            }
            wait = wait.min(left);
        }
        first.map(|(_, _, number)| number).ok_or(wait)
    }

    /// How long a connection may hold its slot in a stage while a newcomer waits.
    fn hold(&self, stage: Stage, flows: bool) -> Duration {
        let max = u32::try_from(self.max).unwrap_or(u32::MAX);
        let patience = if flows { FLOW_GRACE_FACTOR } else { 1 };
        match stage {
            Stage::Silent => (ROUND_TRIP + REQUEST * max) * patience,
            Stage::Tls => (ROUND_TRIP + TLS_HANDSHAKE * max) * patience,
            Stage::Idle | Stage::Asking => MAX_HOLD,
        }
    }

    /// Whether slots are freed quickly without evictions.
    fn flows(&self, places: &Places, now: Instant) -> bool {
        let first = places.freed.front().filter(|_| places.freed.len() >= self.flow());
        first.is_some_and(|first| {
            now.saturating_duration_since(*first) < self.hold(Stage::Silent, false)
        })
    }

    /// Number of freed slots that counts as quick.
    fn flow(&self) -> usize {
        self.max.div_ceil(FLOW)
    }
}

impl Places {
    fn take(&mut self, place: Place) -> u64 {
        let number = self.next;
        self.next += 1;
        let count = self.by_address.entry(place.address).or_default();
        count.all += 1;
        count.new += usize::from(place.stage.is_new());
        self.taken.insert(number, place);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Place> {
        let place = self.taken.remove(&number)?;
        if let Some(count) = self.by_address.get_mut(&place.address) {
            count.all -= 1;
            count.new -= usize::from(place.stage.is_new());
            if count.all == 0 {
                self.by_address.remove(&place.address);
            }
        }
        Some(place)
    }

    fn change(&mut self, number: u64, stage: Stage, now: Instant) {
        if let Some(place) = self.taken.get_mut(&number) {
            if let Some(count) = self.by_address.get_mut(&place.address) {
                count.new -= usize::from(place.stage.is_new());
                count.new += usize::from(stage.is_new());
            }
            place.stage = stage;
            place.since = now;
        }
    }

    fn count(&self, address: IpAddr) -> Count {
        self.by_address.get(&address).copied().unwrap_or_default()
    }

    /// Slots that an address holds, the waiting newcomer counted in.
    fn weight(&self, address: IpAddr) -> usize {
        self.count(address).all + usize::from(self.waits == Some(address))
    }

    /// The largest weight of all addresses.
    fn max_weight(&self) -> usize {
        self.by_address.keys().map(|address| self.weight(*address)).max().unwrap_or_default()
    }

    /// Whether a connection is a candidate for eviction: its address has the most slots, and if
    /// most of these have had no response, it is one of them.
    fn makes_room(&self, address: IpAddr, stage: Stage, max: usize) -> bool {
        let Count { all, new } = self.count(address);
        self.weight(address) == max && (stage.is_new() || new * 2 <= all)
    }
}

impl Slot {
    /// A TLS handshake has begun, or is done.
    pub(super) fn speaks_tls(&self) {
        self.change(Stage::Tls, self.pending.clock.now());
    }

    /// A request has begun.
    pub(super) fn asks(&self) {
        self.change(Stage::Asking, self.pending.clock.now());
    }

    /// A response is ready. Returns whether it has to be the last on this connection, since a
    /// newcomer waits.
    pub(super) fn is_last_answer(&self) -> bool {
        self.is_last_answer_at(self.pending.clock.now())
    }

    fn is_last_answer_at(&self, now: Instant) -> bool {
        let number = self.number.load(Ordering::Relaxed);
        let mut places = self.pending.places.lock();
        places.change(number, Stage::Idle, now);
        let entered = places.taken.get(&number).map(|place| place.entered);
        let is_last = entered.is_some_and(|at| now.saturating_duration_since(at) >= MIN_TENURE)
            && places.waits.is_some()
            && places.makes_room(self.address, Stage::Idle, places.max_weight());
        if is_last {
            places.waits = None;
        }
        is_last
    }

    /// Frees the slot while a long-lived response lasts (`out`), and takes one again afterwards,
    /// even over the limit.
    pub(super) fn pause(&self, out: bool) {
        let now = self.pending.clock.now();
        if out {
            self.leave(now);
        } else {
            self.return_at(now);
        }
    }

    fn return_at(&self, now: Instant) {
        let mut places = self.pending.places.lock();
        if !places.taken.contains_key(&self.number.load(Ordering::Relaxed)) {
            let (address, evicted) = (self.address, self.evicted.clone());
            let place = Place { address, entered: now, stage: Stage::Asking, since: now, evicted };
            self.number.store(places.take(place), Ordering::Relaxed);
        }
    }

    fn change(&self, stage: Stage, now: Instant) {
        let number = self.number.load(Ordering::Relaxed);
        self.pending.places.lock().change(number, stage, now);
    }

    fn leave(&self, now: Instant) {
        let mut places = self.pending.places.lock();
        if places.remove(self.number.load(Ordering::Relaxed)).is_some() {
            if places.freed.len() >= self.pending.flow() {
                places.freed.pop_front();
            }
            places.freed.push_back(now);
            self.pending.left.notify_one();
        }
    }

    /// Resolves when the connection is evicted.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.leave(self.pending.clock.now());
        if self.evicted.is_cancelled() {
            self.pending.places.lock().leaving -= 1;
            self.pending.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: &str = "192.0.2.1";
    const BOB: &str = "192.0.2.2";

    fn room_for(max: usize) -> (Arc<Pending>, Instant) {
        let clock = Clock::new();
        let now = clock.now();
        (Pending::new(max, clock), now)
    }

    impl Pending {
        fn come(self: &Arc<Self>, address: &str, now: Instant) -> Result<Slot, Duration> {
            self.try_enter(address.parse().unwrap(), now)
        }

        fn fill(self: &Arc<Self>, address: &str, now: Instant) -> Vec<Slot> {
            let free = self.max - self.places.lock().taken.len();
            (0..free).map(|_| self.come(address, now).unwrap()).collect()
        }
    }

    /// Which of them have been sent away.
    fn gone(slots: &[Slot]) -> Vec<bool> {
        slots.iter().map(|slot| slot.evicted.is_cancelled()).collect()
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let (pending, now) = room_for(1);
        let slot = pending.come(ANN, now).unwrap();
        assert_eq!(pending.come(ANN, now).unwrap_err(), pending.hold(Stage::Silent, false));
        drop(slot);
        let _slot = pending.come(ANN, now).unwrap();
    }

    #[test]
    fn the_first_that_got_nowhere_goes_but_not_at_once() {
        let (pending, start) = room_for(2);
        let grace = pending.hold(Stage::Silent, false);
        let first = pending.come(ANN, start).unwrap();
        let second = pending.come(ANN, start + grace / 2).unwrap();
        assert_eq!(pending.come(ANN, start + grace / 2).unwrap_err(), grace / 2);
        let third = pending.come(ANN, start + grace).unwrap();
        let slots = [first, second, third];
        assert_eq!(gone(&slots), [true, false, false]);
        drop(slots);
        let places = pending.places.lock();
        assert!(places.taken.is_empty() && places.by_address.is_empty());
    }

    #[test]
    fn newcomers_wait_while_many_have_yet_to_close() {
        let (pending, start) = room_for(64);
        let mut slots = pending.fill(ANN, start);
        let later = start + MAX_HOLD;
        let _newcomers: Vec<_> =
            (0..MAX_LEAVING).map(|_| pending.come(ANN, later).unwrap()).collect();
        assert_eq!(pending.come(ANN, later).unwrap_err(), ROUND_TRIP);
        drop(slots.remove(0));
        let _newcomer = pending.come(ANN, later).unwrap();
        assert_eq!(pending.come(ANN, later).unwrap_err(), ROUND_TRIP);
        drop(slots);
        assert_eq!(pending.places.lock().leaving, 0);
    }

    #[test]
    fn a_tls_handshake_under_way_has_the_time_that_all_of_them_take() {
        let (pending, start) = room_for(100);
        let mut slots = pending.fill(ANN, start);
        slots[0].change(Stage::Tls, start);
        let all_but_one = start + ROUND_TRIP + TLS_HANDSHAKE * 99;
        let mut others = Vec::new();
        for _ in 0..99 {
            others.push(pending.come(ANN, all_but_one).unwrap());
            slots.retain(|slot| !slot.evicted.is_cancelled());
        }
        assert_eq!(slots.len(), 1);
        let _newcomer = pending.come(ANN, all_but_one + TLS_HANDSHAKE).unwrap();
        assert_eq!(gone(&others), [false; 99]);
        assert!(slots[0].evicted.is_cancelled());
    }

    #[test]
    fn nobody_who_has_asked_holds_a_place_for_more_than_a_second() {
        let (pending, start) = room_for(3);
        let slots = pending.fill(ANN, start);
        slots[0].change(Stage::Asking, start);
        slots[1].change(Stage::Idle, start);
        slots[2].change(Stage::Idle, start + MAX_HOLD / 2);
        assert_eq!(pending.come(ANN, start + MAX_HOLD / 2).unwrap_err(), MAX_HOLD / 2);
        let _newcomer = pending.come(ANN, start + MAX_HOLD).unwrap();
        assert_eq!(gone(&slots), [false, true, false], "who waits for an answer goes last");
        let _newcomer = pending.come(ANN, start + MAX_HOLD).unwrap();
        assert_eq!(gone(&slots), [true, true, false]);
    }

    #[test]
    fn those_who_keep_asking_take_turns_each_with_a_last_answer() {
        let (pending, start) = room_for(3);
        let slots = pending.fill(ANN, start);
        let answers =
            |now| slots.iter().map(|slot| slot.is_last_answer_at(now)).collect::<Vec<_>>();
        assert_eq!(answers(start + MIN_TENURE), [false; 3], "nobody waits");
        pending.come(ANN, start).unwrap_err();
        assert_eq!(answers(start), [false; 3], "they have just come");
        assert_eq!(answers(start + MIN_TENURE), [true, false, false], "one for each newcomer");
        pending.come(ANN, start + MIN_TENURE).unwrap_err();
        drop(slots);
        let _newcomer = pending.come(ANN, start + MIN_TENURE).unwrap();
    }

    #[test]
    fn the_address_with_the_most_places_makes_room() {
        let (pending, start) = room_for(4);
        let bob = [pending.come(BOB, start).unwrap()];
        let ann = pending.fill(ANN, start);
        let later = start + MAX_HOLD;
        let _bob = pending.come(BOB, later).unwrap();
        assert_eq!((gone(&bob), gone(&ann)), (vec![false], vec![true, false, false]));
        let _ann = pending.come(ANN, later).unwrap();
        assert_eq!((gone(&bob), gone(&ann)), (vec![false], vec![true, true, false]));
        // nor is an answer to Bob the last for Ann's sake
        for slot in bob.iter().chain(&ann) {
            slot.change(Stage::Idle, later);
        }
        pending.come(ANN, later).unwrap_err();
        assert!(!bob[0].is_last_answer_at(later) && ann[2].is_last_answer_at(later));
    }

    #[test]
    fn where_most_have_got_nowhere_those_who_have_an_answer_stay() {
        let (pending, start) = room_for(5);
        let slots = pending.fill(ANN, start);
        assert!(!slots[0].is_last_answer_at(start) && !slots[1].is_last_answer_at(start));
        let later = start + MAX_HOLD;
        for slot in &slots[2..] {
            slot.change(Stage::Silent, later);
        }
        pending.come(ANN, later).unwrap_err();
        assert!(!slots[0].is_last_answer_at(later));
        assert_eq!(gone(&slots), [false; 5]);
        let grace = pending.hold(Stage::Silent, false);
        let _newcomer = pending.come(ANN, later + grace).unwrap();
        assert_eq!(gone(&slots), [false, false, true, false, false]);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let (pending, start) = room_for(3);
        let bob = [pending.come(BOB, start).unwrap()];
        let networks = ["2001:db8::1", "2001:db8::2"];
        let others = networks.map(|address| pending.come(address, start).unwrap());
        let _bob = pending.come(BOB, start + MAX_HOLD).unwrap();
        assert_eq!(gone(&bob), [true], "both have two, and Bob was first");
        assert_eq!(gone(&others), [false, false]);
    }

    #[test]
    fn while_many_places_come_free_those_who_got_nowhere_yet_have_longer() {
        let (pending, start) = room_for(8);
        let grace = pending.hold(Stage::Silent, false);
        let mut slots = pending.fill(ANN, start);
        slots.pop().unwrap().leave(start + grace);
        let _next = pending.fill(ANN, start + grace);
        let _other = pending.come(ANN, start + grace).unwrap();
        assert!(slots[0].evicted.is_cancelled(), "one now and then is no flow");
        for _ in 0..pending.flow() {
            slots.pop().unwrap().leave(start + grace);
        }
        let _next = pending.fill(ANN, start + grace);
        assert_eq!(pending.come(ANN, start + grace).unwrap_err(), MAX_HOLD.min(grace * 3));
        assert!(!slots[1].evicted.is_cancelled());
        let _other = pending.come(ANN, start + grace * 2).unwrap();
        assert!(slots[1].evicted.is_cancelled(), "it may stop");
    }

    #[test]
    fn who_steps_out_is_not_sent_away_and_comes_back() {
        let (pending, start) = room_for(2);
        let lasting = pending.come(ANN, start).unwrap();
        lasting.pause(true);
        let others = pending.fill(ANN, start);
        lasting.return_at(start + MAX_HOLD);
        lasting.return_at(start + MAX_HOLD);
        assert_eq!(pending.places.lock().taken.len(), 3);
        let _newcomer = pending.come(ANN, start + MAX_HOLD).unwrap();
        assert_eq!(gone(&others), [true, true], "one place was too many");
        assert!(!lasting.evicted.is_cancelled());
        assert_eq!(pending.places.lock().taken.len(), 2);
        drop(lasting);
        assert_eq!(pending.places.lock().taken.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_when_a_place_is_free() {
        let (pending, _) = room_for(1);
        let address: IpAddr = ANN.parse().unwrap();
        let slot = pending.enter(address).await;
        let waiting = tokio::spawn({
            let pending = Arc::clone(&pending);
            async move { pending.enter(address).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(slot);
        let asked = tokio::time::timeout(ROUND_TRIP / 10, waiting).await;
        asked.expect("not woken").unwrap();
    }
}
