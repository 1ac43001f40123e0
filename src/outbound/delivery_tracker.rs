//! What a client has surely got.
//!
//! That bytes were written says nothing: a socket may hold them for minutes while the client is in
//! a tunnel, and a proxy takes them in for a client that is gone. The proof is the client's answer
//! to a native ping that was sent behind them. So pings go along with presence events, one at a
//! time and no more than a few a second; between them, and whenever a client doesn't answer, it is
//! in doubt what arrived.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::protocol::websocket;

/// How many pings may go along with events in a [`WINDOW`].
const PINGS_A_WINDOW: u8 = 8;

/// How long that is, in beats.
const WINDOW: u32 = 40;

/// A native ping with a number, which the client's answer repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping(u32);

impl Ping {
    /// How long its frame is, in bytes.
    pub(super) const SIZE: usize = 6;

    /// A ping unlike any other of the last four billion.
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

/// What of the events sent to one client is in doubt.
#[derive(Debug, Default)]
pub(super) struct DeliveryTracker {
    /// The ping that is out.
    asked: Option<OutstandingPing>,
    /// The beat of the first event since.
    unasked: Option<u32>,
    /// The beat at which the present window began, and how many pings went in it.
    window: (u32, u8),
}

/// A pong that answers no ping, or an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unasked;

#[derive(Debug)]
struct OutstandingPing {
    ping: Ping,
    /// The beat of the first event that its answer proves to have arrived.
    since: Option<u32>,
}

impl DeliveryTracker {
    /// The beat since which events are in doubt, if any are.
    pub(super) fn doubt(&self) -> Option<u32> {
        // a shard in the middle of a long turn still sends at the beat at which that began
        let asked = self.asked.as_ref().and_then(|asked| asked.since);
        [asked, self.unasked].into_iter().flatten().min()
    }

    /// Whether something is in doubt that no ping asks about.
    pub(super) fn is_unasked(&self) -> bool {
        self.asked.is_none() && self.unasked.is_some()
    }

    /// Events are sent at a beat. Whether the ping should go along.
    pub(super) fn sent(&mut self, beat: u32, ping: Ping) -> bool {
        self.unasked = Some(self.unasked.map_or(beat, |first| first.min(beat)));
        let asks = self.asked.is_none() && self.may_ask(beat);
        if asks {
            self.ask(ping);
        }
        asks
    }

    /// A ping is sent.
    pub(super) fn ask(&mut self, ping: Ping) {
        let since = self.doubt();
        self.unasked = None;
        self.asked = Some(OutstandingPing { ping, since });
    }

    /// A pong came at a beat. Whether another ping should go, and is noted as sent.
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
        assert_eq!(tracker.doubt(), None);
        let first = send(&mut tracker, 5).unwrap();
        assert_eq!(tracker.doubt(), Some(5));
        assert_eq!(send(&mut tracker, 6), None, "one is out");
        assert_eq!(send(&mut tracker, 7), None);
        let second = answer(&mut tracker, first, 8).unwrap();
        assert_eq!(tracker.doubt(), Some(6));
        assert_eq!(answer(&mut tracker, first, 9), None, "answered twice");
        assert_eq!(tracker.doubt(), Some(6));
        assert_eq!(answer(&mut tracker, second, 9), None);
        assert_eq!(tracker.doubt(), None);
    }

    #[test]
    fn an_answer_to_another_ping_proves_nothing() {
        let mut tracker = DeliveryTracker::default();
        let lost = send(&mut tracker, 5).unwrap();
        let liveness = Ping::new();
        tracker.ask(liveness);
        assert_eq!(tracker.doubt(), Some(5));
        assert_eq!(answer(&mut tracker, lost, 6), None);
        assert_eq!(tracker.answered(b"", 6, Ping::new()), Err(Unasked));
        assert_eq!(tracker.doubt(), Some(5));
        assert_eq!(answer(&mut tracker, liveness, 7), None);
        assert_eq!(tracker.doubt(), None);
    }

    #[test]
    fn shards_that_are_behind_send_at_earlier_beats() {
        let mut tracker = DeliveryTracker::default();
        let first = send(&mut tracker, 5).unwrap();
        assert_eq!(send(&mut tracker, 8), None);
        assert_eq!(send(&mut tracker, 3), None);
        assert_eq!(tracker.doubt(), Some(3));
        let second = answer(&mut tracker, first, 9).unwrap();
        assert_eq!(tracker.doubt(), Some(3), "its answer proves nothing of what came behind it");
        assert!(!tracker.is_unasked());
        assert_eq!(answer(&mut tracker, second, 9), None);
        assert_eq!(tracker.doubt(), None);
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
