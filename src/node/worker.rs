//! A shard's task: takes what waits, applies all of it, and only then tells anyone.
//!
//! So what was said to a stream meanwhile leaves as one write to each subscriber: nothing is
//! delayed when the broker is idle, and under load the cost falls from one write a message to one
//! write a turn. A large fan-out is sent in slices, with other inputs taken between them.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::job::{Ended, Job, Presence, Resume};
use super::meter::Meter;
use super::onlookers::Onlookers;
use super::timer::Timer;
use crate::clock::Clock;
use crate::outbound::{Ping, Recipient};
use crate::protocol;
use crate::shard::{Delivery, End, FanOut, Input, Output, Shard};
use crate::state::Log;
use crate::telemetry::Instruments;
use crate::types::{GroupKey, ServerMessage, Watch};

/// How many inputs are applied before anyone is told anything.
const INPUTS_A_TURN: usize = 1024;

/// How many sockets are written to before other tasks, and other inputs, get their turn. Below
/// this, the turns cost more; far above it, commands wait for broadcasts.
const SOCKETS_A_TURN: usize = 128;

/// How many replies are sent before other tasks get their turn.
const REPLIES_A_TURN: usize = 512;

/// How many bytes of replies, likewise; the one that reaches it is sent whole.
const REPLY_BYTES_A_TURN: usize = 1024 * 1024;

/// Replies to one subscriber go in one write up to here.
const REPLIES_A_WRITE: usize = 64 * 1024;

/// How many entries are written of the streams, when all are, before other tasks get their turn.
const ENTRIES_A_TURN: usize = 1024;

/// How many bytes the names of a subscription may have that are repeated in one write. What is said is
/// bounded by the shard; a name can be far longer than that.
const NAMES_A_WRITE: usize = 4 * 1024 * 1024;

/// A buffer that a turn has made larger is given back.
const KEPT_BUFFER: usize = 64 * 1024;

pub(super) struct Worker {
    shard: Shard<Recipient>,
    /// Whether clients are asked what they have got.
    asks: bool,
    /// Where changes are written before anyone is told.
    log: Option<Log>,
    /// How far the streams have been written to a log that begins.
    written: usize,
    queue: mpsc::Receiver<Job>,
    clock: Arc<Clock>,
    meter: Meter,
    /// The operators who look at a stream.
    onlookers: Onlookers,
    frames: Vec<u8>,
    /// Where in `frames` each message of a fan-out begins.
    starts: Vec<usize>,
    /// How many bytes of replies have been encoded since other tasks had their turn.
    unyielded: usize,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        (shard, asks, log): (Shard<Recipient>, bool, Option<Log>),
        queue: mpsc::Receiver<Job>,
        clock: Arc<Clock>,
        instruments: Arc<Instruments>,
    ) -> Self {
        Self {
            shard,
            asks,
            log,
            written: 0,
            queue,
            clock,
            meter: Meter::new(number, instruments),
            onlookers: Onlookers::default(),
            frames: Vec::new(),
            starts: Vec::new(),
            unyielded: 0,
        }
    }

    /// Works until it is stopped, and then until everyone has been told what came before.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.meter.count(&mut self.shard, &self.queue, &self.clock); // what was there before
        self.work(&stop).await;
        if let Some(log) = self.log.take() {
            log.close(self.clock.now());
        }
    }

    async fn work(&mut self, stop: &CancellationToken) {
        let mut jobs = Vec::new();
        let mut timer = Timer::new(stop);
        let mut behind = self.log.as_ref().is_some_and(Log::is_in_snapshot);
        let mut stopping = false;
        loop {
            if behind || stopping {
                self.take_waiting(&mut jobs, stopping).await;
                if jobs.is_empty() && !behind {
                    return;
                }
            } else {
                self.wait(&mut jobs, &mut timer).await;
                if jobs.is_empty() && self.queue.is_closed() {
                    return; // there is nobody left who could send any
                }
            }
            stopping = stop.is_cancelled();
            let now = self.clock.now();
            self.shard.set_unix(unix_millis(&self.clock));
            self.unyielded = 0;
            for job in jobs.drain(..) {
                self.apply(job, now);
                // rather than hold any number of large answers, or others up with them
                while self.shard.reply_weight().max(self.unyielded) > REPLY_BYTES_A_TURN {
                    self.unyielded = 0;
                    self.reply(now);
                    tokio::task::yield_now().await;
                }
                while self.shard.is_crowded() && (self.reply(now) || self.fan_out(now)) {
                    tokio::task::yield_now().await;
                }
            }
            if stopping {
                self.shard.hurry();
            } else {
                self.shard.handle_timeout(now);
            }
            behind = self.reply(now) || self.fan_out(now);
            behind |= self.shard.is_expiring();
            behind |= self.write_streams(now);
            self.tell_onlookers(now);
            self.meter.count(&mut self.shard, &self.queue, &self.clock);
        }
    }

    fn tell_onlookers(&mut self, now: Instant) {
        let Self { shard, log, onlookers, .. } = self;
        onlookers.tell(&mut commit(shard, log.as_mut(), now));
    }

    /// Waits for inputs, for a deadline or for the stop.
    async fn wait(&mut self, jobs: &mut Vec<Job>, timer: &mut Timer) {
        let retry = self.log.as_ref().and_then(Log::poll_timeout);
        let due = [self.shard.poll_timeout(), retry].into_iter().flatten().min();
        poll_fn(|task| match self.queue.poll_recv_many(task, jobs, INPUTS_A_TURN) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => timer.poll(task, due, &self.clock),
        })
        .await;
    }

    /// Lets other tasks have their turn, then takes what waits by then; nothing if too much is yet
    /// to be said.
    async fn take_waiting(&mut self, jobs: &mut Vec<Job>, stopping: bool) {
        tokio::task::yield_now().await;
        if stopping {
            self.queue.close();
        }
        if self.shard.is_crowded() || self.shard.has_replies() {
            return;
        }
        while jobs.len() < INPUTS_A_TURN
            && let Ok(job) = self.queue.try_recv()
        {
            jobs.push(job);
        }
    }

    fn output(&mut self, now: Instant) -> Output<'_, Recipient> {
        commit(&mut self.shard, self.log.as_mut(), now)
    }

    /// Writes some of the streams to a log that begins; whether there are more.
    fn write_streams(&mut self, now: Instant) -> bool {
        self.output(now);
        let Some(log) = &mut self.log else { return false };
        if log.wants_snapshot(now) {
            log.begin_snapshot(now);
            self.written = 0;
        }
        if !log.is_in_snapshot() {
            return false;
        }
        let (entries, next) = self.shard.commit(|_| ()).snapshot(self.written, ENTRIES_A_TURN);
        log.append(&entries, now);
        self.written = next.unwrap_or_default();
        if next.is_none() {
            log.end_snapshot(self.shard.forgotten(), self.shard.next_position(), now);
        }
        log.is_in_snapshot()
    }

    fn apply(&mut self, job: Job, now: Instant) {
        if let Job::Input(_, Input::Command { recipient, command, .. }) = &job
            && command.has_large_reply()
        {
            recipient.answered();
        }
        match job {
            Job::Input(_, Input::Command { recipient, command, .. })
                if command.is_question() && recipient.closing().is_some() => {}
            Job::Input(stream, input) => self.shard.handle(&stream, input, now),
            // whoever asked may be gone
            Job::Presence { stream, records, answer } => {
                let output = self.output(now);
                let presence = Presence {
                    total: output.member_count(&stream),
                    members: records.then(|| output.members(&stream)),
                };
                drop(answer.send(presence));
            }
            Job::Records { stream, answer } => {
                answer.send(self.output(now).records(&stream)).ok();
            }
            Job::Member { stream, id, answer } => {
                answer.send(self.output(now).member(&stream, &id)).ok();
            }
            Job::Put { stream, put, answer } => {
                let placed = self.shard.put(&stream, put, now);
                answer.send(self.output(now).open(placed)).ok();
            }
            Job::Kick { stream, id, answer } => {
                let records = self.shard.kick(&stream, &id, now);
                answer.send(self.output(now).open(records)).ok();
            }
            Job::History { stream, answer } => {
                drop(answer.send(self.output(now).publications(&stream)));
            }
            Job::Ended(Ended { stream, key, outbox, at, resumable, goodbye }) => {
                if goodbye.is_some() {
                    self.shard.catch_up(&stream, &key, now);
                }
                while self.reply(now) {} // so that the outbox knows of all it was sent
                let unacked_since = outbox.unacked_since().map(|beat| self.clock.began(beat));
                let end = End { at, unacked_since, resumable };
                self.shard.handle(&stream, Input::Ended { key, end }, now);
                drop(goodbye);
            }
            Job::Forget { stream, key } => self.shard.forget_parked(&stream, &key),
            Job::Question(question) => {
                let Self { shard, log, onlookers, meter, .. } = self;
                let output = commit(shard, log.as_mut(), now);
                onlookers.answer(question, output, meter.tally(), now);
            }
            Job::Settle { answer } => {
                self.output(now);
                answer.send(()).ok();
            }
            Job::Resume { stream, resume: Resume { from, to, recipient }, answer } => {
                let fits = |bytes| recipient.reserve(bytes);
                let to = (to, Recipient::clone(&recipient));
                let resumed = self.shard.resume(&stream, &from, to, fits, now);
                while self.reply(now) {}
                answer.send(self.output(now).open(resumed)).ok();
            }
        }
    }

    /// Tells single subscribers what is theirs, small replies to one of them in one write, and no
    /// more than a turn's worth; whether there are more.
    fn reply(&mut self, now: Instant) -> bool {
        let mut to: Option<Recipient> = None;
        let mut events = false;
        let (mut replies, mut bytes) = (0, 0);
        while replies < REPLIES_A_TURN && bytes < REPLY_BYTES_A_TURN {
            let Some(delivery) = self.output(now).poll_reply() else {
                break;
            };
            let Delivery { recipient, group, messages, reference } = delivery;
            replies += 1;
            let same = to.as_ref().is_some_and(|to| Arc::ptr_eq(to, &recipient));
            if !same || self.frames.len() >= REPLIES_A_WRITE {
                self.flush(to.take(), std::mem::take(&mut events), now);
            }
            let tells = self.asks_about(&group, &messages);
            if recipient.is_closed() && !tells {
                continue; // nothing reaches it any more; of events, its outbox takes note
            }
            self.meter.delivered += messages.len();
            events |= tells;
            let start = self.frames.len();
            protocol::encode_run(&group, &messages, reference.as_deref(), &mut self.frames);
            bytes += self.frames.len() - start;
            to = Some(recipient);
        }
        self.flush(to, events, now);
        self.unyielded += bytes;
        self.shard.has_replies()
    }

    /// Whether a client is to be asked whether it has got these messages.
    fn asks_about(&self, group: &GroupKey, messages: &[ServerMessage]) -> bool {
        let may_come_back = group.codec.resumes() && group.watch == Watch::Members;
        self.asks && may_come_back && messages.iter().any(ServerMessage::is_event)
    }

    /// Sends what is in the buffer, which tells of events or not.
    fn flush(&mut self, to: Option<Recipient>, events: bool, now: Instant) {
        if let Some(to) = to {
            self.meter.sent += if events {
                let ask = self.write_ping(now);
                to.send_events(&self.frames, ask, || Bytes::copy_from_slice(&self.frames))
            } else {
                to.send(&self.frames, || Bytes::copy_from_slice(&self.frames))
            };
        }
        self.empty_buffer();
    }

    /// Puts a ping behind the frames in the buffer.
    fn write_ping(&mut self, now: Instant) -> (Ping, u32) {
        let ping = Ping::new();
        ping.write(&mut self.frames);
        (ping, self.clock.beat(now))
    }

    fn empty_buffer(&mut self) {
        self.frames.clear();
        if self.frames.capacity() > KEPT_BUFFER {
            self.frames = Vec::new();
        }
    }

    /// Tells a turn's number of subscribers what they lack; whether there are more.
    fn fan_out(&mut self, now: Instant) -> bool {
        let mut left = SOCKETS_A_TURN;
        while left > 0 {
            let Some(slice) = self.output(now).poll_fan_out(left, now) else { return false };
            left -= slice.recipients.len().min(left);
            self.send_slice(slice, now);
        }
        true
    }

    fn send_slice(&mut self, slice: FanOut<Recipient>, now: Instant) {
        let FanOut { group, messages, recipients } = slice;
        let max = (NAMES_A_WRITE / group.identifier.as_str().len().max(1)).max(1);
        // to those who are closing nothing is written
        let is_open = recipients.iter().any(|(recipient, _)| !recipient.is_closed());
        for (number, messages) in messages.chunks(max).enumerate() {
            let told = number * max;
            if !group.codec.merges_events() {
                self.send_each(&group, messages, (&recipients, told), is_open, now);
            } else if is_open {
                self.send_merged(&group, messages, (&recipients, told));
            }
        }
    }

    /// Sends messages to recipients, each with how many it has already of those that begin `told` before
    /// them. If none is open, only their outboxes take note of events.
    fn send_each(
        &mut self,
        group: &GroupKey,
        messages: &[ServerMessage],
        (recipients, told): (&[(Recipient, usize)], usize),
        is_open: bool,
        now: Instant,
    ) {
        self.starts.clear();
        for message in messages {
            self.starts.push(self.frames.len());
            if is_open {
                protocol::encode(group, message, None, &mut self.frames);
            }
        }
        let events = self.asks_about(group, messages);
        let ask = events.then(|| self.write_ping(now));
        let mut shared: Option<Bytes> = None;
        for (recipient, has) in recipients {
            let has = has.saturating_sub(told);
            let Some(&start) = self.starts.get(has) else { continue };
            let frames = self.frames.get(start..).unwrap_or_default();
            // copied once for all whose socket is full
            let share = || {
                shared.get_or_insert_with(|| Bytes::copy_from_slice(&self.frames)).slice(start..)
            };
            self.meter.sent += match ask {
                Some(ask) => recipient.send_events(frames, ask, share),
                None => recipient.send(frames, share),
            };
            self.meter.delivered += messages.len() - has;
        }
        self.empty_buffer();
    }

    /// The same where several messages can become one: what a recipient lacks is encoded as a
    /// whole, once for all in a row that lack the same.
    fn send_merged(
        &mut self,
        group: &GroupKey,
        messages: &[ServerMessage],
        (recipients, told): (&[(Recipient, usize)], usize),
    ) {
        let mut encoded: Option<(usize, Bytes)> = None;
        for (recipient, has) in recipients {
            let has = has.saturating_sub(told);
            if has >= messages.len() {
                continue;
            }
            let frames = match &encoded {
                Some((same, frames)) if *same == has => frames.clone(),
                Some(_) | None => {
                    self.frames.clear();
                    let lacking = messages.get(has..).unwrap_or_default();
                    protocol::encode_run(group, lacking, None, &mut self.frames);
                    Bytes::copy_from_slice(&self.frames)
                }
            };
            self.meter.sent += recipient.send(&frames, || frames.clone());
            self.meter.delivered += messages.len() - has;
            encoded = Some((has, frames));
        }
        self.empty_buffer();
    }
}

/// What a shard has to say, once what has happened is written: then the end of this process loses
/// nothing that anyone knows.
fn commit<'a>(
    shard: &'a mut Shard<Recipient>,
    log: Option<&mut Log>,
    now: Instant,
) -> Output<'a, Recipient> {
    shard.commit(|entries| {
        if let Some(log) = log {
            log.append(entries, now);
        }
    })
}

fn unix_millis(clock: &Clock) -> u64 {
    u64::try_from(clock.unix().as_millis()).unwrap_or(u64::MAX)
}
