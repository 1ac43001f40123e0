//! Limits on connections: per address, in all, and per second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::absent::Absent;
use super::address;

/// An emptied map with more capacity is shrunk.
const KEPT_ROOM: usize = 1024;

/// Limits on connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Maximum number of connections.
    pub connections: usize,
    /// Maximum per address.
    pub per_address: Option<usize>,
    /// Maximum of handshakes per second.
    pub per_second: Option<usize>,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmissionError {
    /// The maximum number of connections is reached.
    Full,
    /// The maximum per address is reached.
    Address,
    /// The maximum per second is reached.
    Rate,
}

/// Hands out permits.
#[derive(Debug)]
pub(in crate::net) struct Admission {
    counts: Arc<Counts>,
    /// What all permits share that count for no address.
    place: Arc<Place>,
}

/// Counts connections.
#[derive(Debug)]
struct Counts {
    limits: ConnectionLimits,
    open: AtomicUsize,
    /// Connections per address; empty if there is no limit.
    by_address: Mutex<HashMap<IpAddr, usize>>,
    rate: Option<Rate>,
}

/// One connection's permit; returned on drop.
#[derive(Debug)]
pub struct Permit(Arc<Place>);

/// What a connection counts for.
#[derive(Debug)]
struct Place {
    counts: Arc<Counts>,
    /// The address, if the connections of one are limited.
    address: Option<IpAddr>,
}

impl Admission {
    /// No connections yet.
    pub(in crate::net) fn new(limits: ConnectionLimits) -> Self {
        let rate = limits.per_second.map(Rate::new);
        let counts =
            Counts { limits, open: AtomicUsize::new(0), by_address: Mutex::default(), rate };
        let counts = Arc::new(counts);
        let place = Arc::new(Place { counts: Arc::clone(&counts), address: None });
        Self { counts, place }
    }

    /// A permit for an address. If all are taken and an `absent` session can be evicted, the
    /// maximum is exceeded until that has ended: it needs no file.
    pub(in crate::net) fn admit(
        &self,
        address: IpAddr,
        now: Instant,
        absent: &Absent,
    ) -> Result<Permit, AdmissionError> {
        let counts = &self.counts;
        let more = |open: usize| (open < counts.limits.connections).then_some(open + 1);
        let is_full = counts.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err();
        if is_full {
            if !absent.can_make_room(now) {
                return Err(AdmissionError::Full);
            }
            counts.open.fetch_add(1, Ordering::Relaxed);
        }
        let mut permit = Permit(Arc::clone(&self.place));
        if let Some(max) = counts.limits.per_address {
            let address = address::network(address);
            let mut by_address = counts.by_address.lock();
            let count = by_address.entry(address).or_insert(0);
            if *count >= max {
                return Err(AdmissionError::Address);
            }
            *count += 1;
            let (counts, address) = (Arc::clone(counts), Some(address));
            permit.0 = Arc::new(Place { counts, address });
        }
        // last, so that refused connections don't use tokens up
        if counts.rate.as_ref().is_some_and(|rate| !rate.take(now)) {
            return Err(AdmissionError::Rate);
        }
        if is_full && !absent.make_room(now) {
            return Err(AdmissionError::Full);
        }
        Ok(permit)
    }

    /// Number of open connections.
    pub(in crate::net) fn connections(&self) -> usize {
        self.counts.open.load(Ordering::Relaxed)
    }
}

impl Counts {
    fn forget(&self, address: IpAddr) {
        let mut by_address = self.by_address.lock();
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
                if by_address.capacity() > KEPT_ROOM && by_address.len() < by_address.capacity() / 4
                {
                    let room = by_address.len() * 2;
                    by_address.shrink_to(room);
                }
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Place { counts, address } = &*self.0;
        counts.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = address {
            counts.forget(*address);
        }
    }
}

/// A token bucket with the tokens of one second: as many at once after a quiet second, and as many
/// per second in the long run.
#[derive(Debug)]
struct Rate {
    /// Time per token.
    interval: Duration,
    /// When the bucket is full again; `None` if it is full.
    full_at: Mutex<Option<Instant>>,
}

impl Rate {
    /// The number of tokens.
    const BURST: Duration = Duration::from_secs(1);

    fn new(per_second: usize) -> Self {
        let per_second = u32::try_from(per_second).unwrap_or(u32::MAX).max(1);
        Self { interval: Self::BURST / per_second, full_at: Mutex::default() }
    }

    fn take(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock();
        let next = full_at.filter(|full| *full > now).unwrap_or(now) + self.interval;
        let is_there = next.saturating_duration_since(now) <= Self::BURST;
        if is_there {
            *full_at = Some(next);
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const ANY: ConnectionLimits =
        ConnectionLimits { connections: usize::MAX, per_address: None, per_second: None };

    fn now() -> Instant {
        Clock::new().now()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_they_come_free() {
        let admission = Admission::new(ConnectionLimits { per_address: Some(2), ..ANY });
        let admit = |address: &str| admission.admit(ip(address), now(), &Absent::default());
        let (first, _second) = (admit("192.0.2.1").unwrap(), admit("192.0.2.1").unwrap());
        assert_eq!(admit("192.0.2.1").unwrap_err(), AdmissionError::Address);
        assert_eq!(admission.connections(), 2, "the one refused holds no place");
        let _other = admit("192.0.2.2").unwrap();
        drop(first);
        let _again = admit("::ffff:192.0.2.1").unwrap();
        assert_eq!(admit("192.0.2.1").unwrap_err(), AdmissionError::Address);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let admission = Admission::new(ConnectionLimits { per_address: Some(1), ..ANY });
        let admit = |address: &str| admission.admit(ip(address), now(), &Absent::default());
        let _permit = admit("2001:db8::1").unwrap();
        assert_eq!(admit("2001:db8::ffff:1").unwrap_err(), AdmissionError::Address);
        let _other = admit("2001:db8:0:1::1").unwrap();
    }

    #[test]
    fn nothing_is_kept_of_addresses_without_connections() {
        let admission = Admission::new(ConnectionLimits { per_address: Some(1), ..ANY });
        let admit = |n: u32| {
            admission.admit(IpAddr::from(n.to_be_bytes()), now(), &Absent::default()).unwrap()
        };
        let permits: Vec<Permit> = (0..10_000).map(admit).collect();
        assert_eq!(admission.counts.by_address.lock().len(), 10_000);
        drop(permits);
        let by_address = admission.counts.by_address.lock();
        assert!(by_address.is_empty() && by_address.capacity() <= KEPT_ROOM);
    }

    #[test]
    fn without_a_bound_addresses_are_not_counted() {
        let admission = Admission::new(ANY);
        let _permit = admission.admit(ip("192.0.2.1"), now(), &Absent::default()).unwrap();
        assert!(admission.counts.by_address.lock().is_empty());
    }

    #[test]
    fn the_number_of_all_comes_first() {
        let admission =
            Admission::new(ConnectionLimits { connections: 1, per_second: Some(1), ..ANY });
        let at = now();
        let permit = admission.admit(ip("192.0.2.1"), at, &Absent::default()).unwrap();
        assert_eq!(
            admission.admit(ip("192.0.2.2"), at, &Absent::default()).unwrap_err(),
            AdmissionError::Full
        );
        drop(permit);
        assert_eq!(
            admission.admit(ip("192.0.2.2"), at, &Absent::default()).unwrap_err(),
            AdmissionError::Rate
        );
        assert_eq!(admission.connections(), 0);
    }

    #[test]
    fn a_second_of_tokens_at_once_and_then_one_at_a_time() {
        let (rate, start) = (Rate::new(10), now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!((0..20).filter(|_| rate.take(at(0))).count(), 10);
        assert!(!rate.take(at(99)));
        assert!(rate.take(at(100)) && !rate.take(at(100)));
        assert_eq!((0..20).filter(|_| rate.take(at(600))).count(), 5);
        assert_eq!((0..20).filter(|_| rate.take(at(60_000))).count(), 10, "no more are saved up");
    }

    #[test]
    fn in_the_long_run_it_is_the_rate() {
        for per_second in [1, 3, 7, 1000] {
            let (rate, start) = (Rate::new(per_second), now());
            let times = (0..100_000u64).map(|n| start + Duration::from_micros(n * 100));
            let taken = times.filter(|at| rate.take(*at)).count();
            let expected = per_second * 11; // ten seconds, and the bucket at the start
            assert!(taken.abs_diff(expected) <= 1, "{per_second} a second: {taken} in ten seconds");
        }
    }

    #[test]
    fn a_clock_that_stands_still_lets_no_more_in() {
        let (rate, start) = (Rate::new(1), now() + Duration::from_secs(10));
        assert!(rate.take(start) && !rate.take(start));
        assert!(!rate.take(start.checked_sub(Duration::from_secs(5)).unwrap()));
    }
}
