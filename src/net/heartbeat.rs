//! Pings all connections and detects dead ones, without a timer per connection.
//!
//! Connections are in a timer wheel, by the beat (a tenth of a second) at which they are due. Two
//! things make one due: the protocol's own ping, which clients expect, and the liveness check. Any
//! bytes from the client count as a sign of life. Without any for the interval, a native WebSocket
//! ping is sent; without any for the timeout after that, the connection is closed. Bytes that have
//! arrived but aren't read yet count, and so does a client that still reads what is queued for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::{BEAT, Clock};
use crate::outbound::{Outbox, Ping, Recipient};
use crate::protocol;
use crate::protocol::{PingParameters, PingPrecision};
use crate::telemetry::Instruments;
use crate::types::{CloseReason, Codec, ConnectionMessage};

/// Beats per second.
pub(super) const BEATS_A_SECOND: u32 = 10;

/// Connections pinged before other tasks get their turn.
const PINGS_A_TURN: usize = 128;

/// Interval at which a connection without pings is checked, to drop it when it has ended.
const IDLE_CHECK_BEATS: u32 = 600;

/// Time for the connection's task to read bytes that have arrived.
const GRACE: u32 = 5;

/// Timing of liveness checks.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    /// Silence before a ping; zero disables the checks.
    pub interval: Duration,
    /// Silence after it, until the connection is closed.
    pub timeout: Duration,
}

/// The wheel, and its current beat.
#[derive(Debug)]
pub struct Heartbeat {
    beat: AtomicU32,
    wheel: Mutex<Wheel>,
    clock: Arc<Clock>,
    interval: u32,
    timeout: u32,
}

#[derive(Debug, Default)]
struct Wheel {
    due: BTreeMap<u32, Vec<TimerEntry>>,
    /// Why all connections are closed, once they are.
    stopped: Option<CloseReason>,
}

/// A connection's entry in the wheel.
#[derive(Debug)]
struct TimerEntry {
    outbox: Weak<Outbox>,
    /// Beats between the protocol's pings; 0 for none.
    every: u32,
    next_ping: u32,
    next_check: u32,
    /// A liveness ping was sent, at a beat; with the outbox's progress at that time.
    asked: Option<(u32, Option<u32>)>,
    precision: PingPrecision,
}

impl Heartbeat {
    /// An empty wheel.
    pub fn new(clock: Arc<Clock>, liveness: Liveness) -> Arc<Self> {
        Arc::new(Self {
            beat: AtomicU32::new(0),
            wheel: Mutex::default(),
            clock,
            interval: beats(liveness.interval),
            timeout: beats(liveness.timeout),
        })
    }

    /// The current beat.
    pub fn beat(&self) -> u32 {
        self.beat.load(Ordering::Relaxed)
    }

    /// Adds a connection, until it ends.
    pub fn add(&self, outbox: &Recipient, ping: PingParameters) {
        let (beat, codec) = (self.beat(), outbox.codec());
        let every = if codec.pings() { beats(ping.ping_interval) } else { 0 };
        let entry = TimerEntry {
            outbox: Arc::downgrade(outbox),
            every,
            next_ping: beat.saturating_add(every),
            next_check: beat.saturating_add(if self.interval == 0 {
                IDLE_CHECK_BEATS
            } else {
                self.interval
            }),
            asked: None,
            precision: ping.ping_precision,
        };
        self.keep(entry, outbox);
    }

    fn keep(&self, entry: TimerEntry, outbox: &Outbox) {
        let mut wheel = self.wheel.lock();
        match wheel.stopped {
            Some(reason) => outbox.close(reason),
            None => wheel.add(entry),
        }
    }

    /// Closes all connections, one after the other over a time; those that are still open are served.
    pub async fn drain(&self, reason: CloseReason, over: Duration) {
        let (begun, all) = (self.clock.now(), self.wheel.lock().len());
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let passed = self.clock.now().saturating_duration_since(begun);
            let left = over.saturating_sub(passed);
            let due = self.wheel.lock().take_above(share(all, left, over));
            close(due, reason).await;
            if left.is_zero() || self.wheel.lock().due.is_empty() {
                break;
            }
        }
        self.close_all(reason).await; // those that were being pinged
    }

    /// Closes all connections, and those that are added later.
    pub async fn close_all(&self, reason: CloseReason) {
        let all = {
            let mut wheel = self.wheel.lock();
            wheel.stopped.get_or_insert(reason);
            std::mem::take(&mut wheel.due)
        };
        close(all.into_values().flatten(), reason).await;
    }

    /// Runs until stopped, and then closes all connections as `server_restart`.
    pub async fn run(self: Arc<Self>, instruments: Arc<Instruments>, stop: CancellationToken) {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(beats.tick()).await.is_some() {
            let beat = self.clock.beat(self.clock.now());
            self.beat.store(beat, Ordering::Relaxed);
            self.visit(beat, &instruments).await;
        }
        self.close_all(CloseReason::ServerRestart { elsewhere: false }).await;
    }

    /// Handles the entries due at a beat.
    async fn visit(&self, beat: u32, instruments: &Instruments) {
        let mut pings = Pings::default();
        loop {
            let Some(mut due) = self.wheel.lock().take(beat) else { break };
            let mut sent = 0;
            while !due.is_empty() {
                let rest = due.split_off(due.len().min(PINGS_A_TURN));
                for mut entry in due {
                    let Some(outbox) = entry.outbox.upgrade() else { continue };
                    sent += self.tick(&mut entry, &outbox, beat, &mut pings);
                    self.keep(entry, &outbox);
                }
                due = rest;
                tokio::task::yield_now().await;
            }
            instruments.sent_bytes.increment(sent as u64);
        }
    }

    fn tick(&self, entry: &mut TimerEntry, outbox: &Outbox, beat: u32, pings: &mut Pings) -> usize {
        let mut sent = 0;
        if entry.every > 0 && entry.next_ping <= beat {
            let frame = pings.protocol(outbox, entry.precision, &self.clock);
            sent += outbox.send(&frame, || frame.clone());
            if outbox.is_unasked() {
                sent += pings.native(outbox);
            }
            entry.next_ping = beat + entry.every;
        }
        if entry.next_check <= beat {
            sent += self.check_liveness(entry, outbox, beat, pings);
        }
        sent
    }

    /// Checks a silent connection: sends a ping, or closes it.
    fn check_liveness(
        &self,
        entry: &mut TimerEntry,
        outbox: &Outbox,
        beat: u32,
        pings: &mut Pings,
    ) -> usize {
        if self.interval == 0 {
            entry.next_check = beat + IDLE_CHECK_BEATS;
            return 0;
        }
        let transport = outbox.codec().transport();
        if !transport.has_pings() {
            // clients can't answer, but their system acknowledges bytes
            entry.next_check = beat + self.interval;
            let is_pinged = (1..=self.interval).contains(&entry.every);
            let keep_alive = transport.keep_alive().filter(|_| !is_pinged);
            return keep_alive.map_or(0, |bytes| outbox.send(bytes, || Bytes::from(bytes)));
        }
        let heard = outbox.heard();
        match entry.asked {
            Some((asked, _)) if heard >= asked => entry.asked = None,
            Some((_, progress)) => {
                let progressed = outbox.progress();
                if outbox.socket().has_input() {
                    outbox.wake();
                    entry.next_check = beat + GRACE;
                } else if progress.is_some() && progressed != progress {
                    // the ping waited behind other bytes, and the client is still reading
                    entry.asked = Some((beat, progressed));
                    entry.next_check = beat + self.timeout;
                } else {
                    outbox.close(CloseReason::NoPong);
                    entry.next_check = beat + IDLE_CHECK_BEATS;
                }
                return 0;
            }
            None => {}
        }
        let silent_until = heard.saturating_add(self.interval);
        if silent_until > beat {
            entry.next_check = silent_until;
            return 0;
        }
        let sent = pings.native(outbox);
        entry.asked = Some((beat, outbox.progress()));
        entry.next_check = beat + self.timeout;
        sent
    }
}

impl Wheel {
    fn add(&mut self, entry: TimerEntry) {
        let due =
            if entry.every > 0 { entry.next_ping.min(entry.next_check) } else { entry.next_check };
        self.due.entry(due).or_default().push(entry);
    }

    fn take(&mut self, beat: u32) -> Option<Vec<TimerEntry>> {
        let first = self.due.first_entry().filter(|first| *first.key() <= beat)?;
        Some(first.remove())
    }

    fn len(&self) -> usize {
        self.due.values().map(Vec::len).sum()
    }

    /// Takes out what is there beyond so many.
    fn take_above(&mut self, keeps: usize) -> Vec<TimerEntry> {
        let above = self.len().saturating_sub(keeps);
        let mut taken = Vec::with_capacity(above);
        while taken.len() < above
            && let Some(mut first) = self.due.first_entry()
        {
            let entries = first.get_mut();
            taken.extend(entries.drain(..entries.len().min(above - taken.len())));
            if entries.is_empty() {
                first.remove();
            }
        }
        taken
    }
}

/// Closes these connections, if they are still there.
async fn close(entries: impl IntoIterator<Item = TimerEntry>, reason: CloseReason) {
    for (number, entry) in entries.into_iter().enumerate() {
        if let Some(outbox) = entry.outbox.upgrade() {
            outbox.close(reason);
        }
        if number % PINGS_A_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// The part of a number that a time is of another one, rounded down.
fn share(of: usize, left: Duration, over: Duration) -> usize {
    let share = of as u128 * left.as_nanos() / over.as_nanos().max(1);
    usize::try_from(share).unwrap_or(of)
}

/// The frames of one beat, encoded once per codec.
#[derive(Default)]
struct Pings {
    protocol: Vec<(Codec, PingPrecision, Bytes)>,
    native: Option<(Ping, Bytes)>,
}

impl Pings {
    fn protocol(&mut self, outbox: &Outbox, precision: PingPrecision, clock: &Clock) -> Bytes {
        let codec = outbox.codec();
        let mut known = self.protocol.iter();
        if let Some((.., frame)) = known.find(|known| (known.0, known.1) == (codec, precision)) {
            return frame.clone();
        }
        let timestamp = precision.timestamp(clock.unix());
        let mut frame = Vec::new();
        let ping = ConnectionMessage::Ping { timestamp };
        protocol::encode_connection(codec, &ping, None, &mut frame);
        let frame = Bytes::from(frame);
        self.protocol.push((codec, precision, frame.clone()));
        frame
    }

    fn native(&mut self, outbox: &Outbox) -> usize {
        let (ping, frame) = self.native.get_or_insert_with(|| {
            let (ping, mut frame) = (Ping::new(), Vec::new());
            ping.write(&mut frame);
            (ping, Bytes::from(frame))
        });
        outbox.ping(*ping, frame)
    }
}

/// A duration in beats, rounded up; zero stays zero.
fn beats(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(BEAT.as_millis())).unwrap_or(u32::MAX / 2)
}
