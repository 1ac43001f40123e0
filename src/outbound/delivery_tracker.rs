//! Tracks which events a client has proven to have received.
//!
//! That bytes were written proves nothing: a socket may hold them for minutes while the client is
//! in a tunnel, and a proxy accepts them for a client that is gone. The proof is the client's pong
//! to a native ping that was sent after them. So pings accompany presence events, one at a time and
//! at most a few per second; until a pong arrives, the events since the last proof are unconfirmed.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::protocol::websocket;

/// Maximum number of such pings per [`WINDOW`].
const PINGS_A_WINDOW: u8 = 8;

/// Its length in beats.
const WINDOW: u32 = 40;

/// A native ping with a number, which the pong repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping(u32);

impl Ping {
    /// Length of its frame in bytes.
    pub(super) const SIZE: usize = 6;

    /// A ping whose number is unique among the last four billion.
    #[expect(clippy::new_without_default, reason = "no two are equal")]
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self(NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// Appends its frame.
    pub fn write(self, out: &mut Vec<u8>) {
        websocket::write_ping(out, &self.0.to_be_bytes());
    }

    fn is_answered_by(self, payload: &[u8]) -> bool {
        payload == self.0.to_be_bytes()
    }
}

/// Unconfirmed events sent to one client.
#[derive(Debug, Default)]
pub(super) struct DeliveryTracker {
    /// The outstanding ping.
    asked: Option<OutstandingPing>,
    /// Beat of the first event after it.
    unasked: Option<u32>,
    /// First beat of the current window, and the pings sent in it.
    window: (u32, u8),
}

/// A pong to no ping, or to an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unasked;

#[derive(Debug)]
struct OutstandingPing {
    ping: Ping,
    /// Beat of the first event that the pong confirms.
    since: Option<u32>,
}

impl DeliveryTracker {
    /// Beat of the earliest unconfirmed event.
    pub(super) fn unacked_since(&self) -> Option<u32> {
        // a shard in a long turn sends with the beat at which the turn began
        let asked = self.asked.as_ref().and_then(|asked| asked.since);
        [asked, self.unasked].into_iter().flatten().min()
    }

    /// Whether events are unconfirmed and no ping is out for them.
    pub(super) fn is_unasked(&self) -> bool {
        self.asked.is_none() && self.unasked.is_some()
    }

    /// Notes events sent at a beat. Returns whether to send a ping with them.
    pub(super) fn sent(&mut self, beat: u32, ping: Ping) -> bool {
        self.unasked = Some(self.unasked.map_or(beat, |first| first.min(beat)));
        let asks = self.asked.is_none() && self.may_ask(beat);
        if asks {
            self.ask(ping);
        }
        asks
    }

    /// Notes a sent ping.
    pub(super) fn ask(&mut self, ping: Ping) {
        let since = self.unacked_since();
        self.unasked = None;
        self.asked = Some(OutstandingPing { ping, since });
    }

    /// Notes a pong received at a beat. Returns whether to send another ping, which counts as sent.
    pub(super) fn answered(
        &mut self,
        payload: &[u8],
        beat: u32,
        ping: Ping,
    ) -> Result<bool, Unasked> {
        self.asked.take_if(|asked| asked.ping.is_answered_by(payload)).ok_or(Unasked)?;
        let asks = self.unasked.is_some() && self.may_ask(beat);
        if asks {
            self.ask(ping);
        }
        Ok(asks)
    }

    fn may_ask(&mut self, beat: u32) -> bool {
        let (began, pings) = self.window;
        if beat.saturating_sub(began) >= WINDOW {
            self.window = (beat, 1);
        } else if pings < PINGS_A_WINDOW {
            self.window = (began, pings + 1);
        } else {
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends events at a beat and gives the ping that goes along, if one does.
    fn send(tracker: &mut DeliveryTracker, beat: u32) -> Option<Ping> {
        let ping = Ping::new();
        tracker.sent(beat, ping).then_some(ping)
    }

    fn answer(tracker: &mut DeliveryTracker, to: Ping, beat: u32) -> Option<Ping> {
        let ping = Ping::new();
        tracker.answered(&to.0.to_be_bytes(), beat, ping).unwrap_or(false).then_some(ping)
    }

    #[test]
    fn an_answer_proves_what_was_sent_before_its_ping() {
        let mut tracker = DeliveryTracker::default();
        assert_eq!(tracker.unacked_since(), None);
        let first = send(&mut tracker, 5).unwrap();
        assert_eq!(tracker.unacked_since(), Some(5));
        assert_eq!(send(&mut tracker, 6), None, "one is out");
        assert_eq!(send(&mut tracker, 7), None);
        let second = answer(&mut tracker, first, 8).unwrap();
        assert_eq!(tracker.unacked_since(), Some(6));
        assert_eq!(answer(&mut tracker, first, 9), None, "answered twice");
        assert_eq!(tracker.unacked_since(), Some(6));
        assert_eq!(answer(&mut tracker, second, 9), None);
        assert_eq!(tracker.unacked_since(), None);
    }

    #[test]
    fn an_answer_to_another_ping_proves_nothing() {
        let mut tracker = DeliveryTracker::default();
        let lost = send(&mut tracker, 5).unwrap();
        let liveness = Ping::new();
        tracker.ask(liveness);
        assert_eq!(tracker.unacked_since(), Some(5));
        assert_eq!(answer(&mut tracker, lost, 6), None);
        assert_eq!(tracker.answered(b"", 6, Ping::new()), Err(Unasked));
        assert_eq!(tracker.unacked_since(), Some(5));
        assert_eq!(answer(&mut tracker, liveness, 7), None);
        assert_eq!(tracker.unacked_since(), None);
    }

    #[test]
    fn shards_that_are_behind_send_at_earlier_beats() {
        let mut tracker = DeliveryTracker::default();
        let first = send(&mut tracker, 5).unwrap();
        assert_eq!(send(&mut tracker, 8), None);
        assert_eq!(send(&mut tracker, 3), None);
        assert_eq!(tracker.unacked_since(), Some(3));
        let second = answer(&mut tracker, first, 9).unwrap();
        assert_eq!(
            tracker.unacked_since(),
            Some(3),
            "its answer proves nothing of what came behind it"
        );
        assert!(!tracker.is_unasked());
        assert_eq!(answer(&mut tracker, second, 9), None);
        assert_eq!(tracker.unacked_since(), None);
    }

    #[test]
    fn a_storm_of_events_is_no_storm_of_pings() {
        let mut tracker = DeliveryTracker::default();
        let mut pings = 0;
        for beat in 0..WINDOW {
            for _ in 0..10 {
                if let Some(ping) = send(&mut tracker, beat) {
                    pings += 1;
                    pings += i32::from(answer(&mut tracker, ping, beat).is_some());
                }
            }
        }
        assert_eq!(pings, i32::from(PINGS_A_WINDOW));
        assert!(tracker.is_unasked());
        assert!(send(&mut tracker, WINDOW).is_some(), "the next window");
    }
}
