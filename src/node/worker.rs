//! A shard's task. Each turn applies all queued inputs, then sends their effects.
//!
//! So all messages of a turn reach a subscriber in one write: an idle broker delays nothing, and under
//! load there is one write per turn instead of one per message. A large fan-out is sent in slices,
//! between which other inputs are applied.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use slab::Slab;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::job::{Asked, Ended, Job, Presence, Resume};
use super::meter::Meter;
use super::observers::Observers;
use super::partition::PartitionReplica;
use super::replica::Replica;
use super::timer::Timer;
use crate::clock::Clock;
use crate::outbound::{Ping, Recipient};
use crate::protocol;
use crate::shard::{Delivery, End, FanOut, Input, Limited as _, Outcome, Output, Shard, Ticket};
use crate::telemetry::Instruments;
use crate::types::{GroupKey, ServerMessage, StreamName, Watch};

/// Maximum number of inputs per turn.
const INPUTS_A_TURN: usize = 1024;

/// Number of sockets written to before other tasks and inputs get their turn. With fewer, turns cost
/// more; with many more, commands wait for broadcasts.
const SOCKETS_A_TURN: usize = 128;

/// Number of replies sent before other tasks get their turn.
const REPLIES_A_TURN: usize = 512;

/// Bytes of replies encoded before other tasks get their turn. The reply that reaches it is sent whole.
const REPLY_BYTES_A_TURN: usize = 1024 * 1024;

/// Bytes of replies to one subscriber that are collected for one write.
const REPLIES_A_WRITE: usize = 64 * 1024;

/// Bytes of identifiers in one write. Each message repeats the identifier, which can be much longer than
/// the message; the shard bounds the messages alone.
const NAMES_A_WRITE: usize = 4 * 1024 * 1024;

/// Capacity above which the buffer is freed after a write, in bytes.
const KEPT_BUFFER: usize = 64 * 1024;

pub(super) struct Worker {
    replica: Replica,
    /// Whether presence events are followed by a ping, so that their delivery is confirmed.
    asks: bool,
    queue: mpsc::Receiver<Job>,
    clock: Arc<Clock>,
    /// The clock at the begin of the turn.
    begun: Instant,
    meter: Meter,
    /// Requests without an outcome yet, by ticket.
    asked: Slab<Asked>,
    /// The dashboard's observers.
    observers: Observers,
    frames: Vec<u8>,
    /// Offset in `frames` of each message of a fan-out.
    starts: Vec<usize>,
    /// Bytes of replies encoded since the task last yielded.
    unyielded: usize,
}

impl Worker {
    pub(super) fn new(
        number: usize,
        (replica, asks): (Replica, bool),
        queue: mpsc::Receiver<Job>,
        clock: Arc<Clock>,
        instruments: Arc<Instruments>,
    ) -> Self {
        Self {
            replica,
            asks,
            queue,
            begun: clock.now(),
            clock,
            meter: Meter::new(number, instruments),
            asked: Slab::new(),
            observers: Observers::default(),
            frames: Vec::new(),
            starts: Vec::new(),
            unyielded: 0,
        }
    }

    /// Works until the stop, and then until the effects of all earlier inputs are sent.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.count(); // restored streams
        self.work(&stop).await;
        self.replica.close(self.clock.now());
    }

    async fn work(&mut self, stop: &CancellationToken) {
        let mut jobs = Vec::new();
        let mut timer = Timer::new(stop);
        let mut behind = self.replica.has_more_to_write();
        let mut stopping = false;
        loop {
            if behind || stopping {
                self.take_waiting(&mut jobs, stopping).await;
                if jobs.is_empty() && !behind && !self.replica.leave(&mut jobs).await {
                    return;
                }
            } else {
                self.wait(&mut jobs, &mut timer).await;
                if jobs.is_empty() && self.queue.is_closed() {
                    return; // no sender is left
                }
            }
            stopping = stop.is_cancelled();
            self.begun = self.clock.now();
            let now = self.replica.time(self.begun);
            self.replica.set_unix(&self.clock);
            self.unyielded = 0;
            for job in jobs.drain(..) {
                self.apply(job, now);
                // bounds the memory for large replies, and the time other tasks wait
                while self.shard().reply_weight().max(self.unyielded) > REPLY_BYTES_A_TURN {
                    self.unyielded = 0;
                    self.reply(now);
                    tokio::task::yield_now().await;
                }
                while self.shard().is_over_backlog() && (self.reply(now) || self.fan_out(now)) {
                    tokio::task::yield_now().await;
                }
            }
            if stopping {
                self.replica.shard_mut().flush_deferred();
            } else {
                self.replica.handle_timeout(now, &self.clock);
            }
            self.replica.append();
            behind = self.reply(now) || self.fan_out(now);
            behind |= self.shard().is_expiring();
            behind |= self.replica.write_snapshot(now);
            self.send_observed(now);
            self.count();
        }
    }

    fn count(&mut self) {
        self.meter.count(self.replica.shard_mut(), &self.queue, &self.clock);
    }

    fn shard(&self) -> &Shard<Recipient> {
        self.replica.shard()
    }

    fn send_observed(&mut self, now: Instant) {
        let Self { replica, observers, .. } = self;
        observers.send(&mut replica.commit(now));
    }

    /// Waits for inputs, for a deadline or for the stop.
    async fn wait(&mut self, jobs: &mut Vec<Job>, timer: &mut Timer) {
        let due = self.replica.poll_timeout(&self.clock);
        poll_fn(|task| {
            let arrived = self.replica.poll_events(task, jobs);
            if !self.replica.takes_inputs() {
                return if arrived.is_ready() {
                    arrived
                } else {
                    timer.poll(task, due, &self.clock)
                };
            }
            match self.queue.poll_recv_many(task, jobs, INPUTS_A_TURN) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending if arrived.is_ready() => arrived,
                Poll::Pending => timer.poll(task, due, &self.clock),
            }
        })
        .await;
    }

    /// Yields to other tasks, then takes queued inputs; none while too much remains to be sent.
    async fn take_waiting(&mut self, jobs: &mut Vec<Job>, stopping: bool) {
        tokio::task::yield_now().await;
        if stopping {
            self.queue.close();
        }
        if self.shard().is_over_backlog() || self.shard().has_replies() {
            return;
        }
        self.replica.take_events(jobs);
        while jobs.len() < INPUTS_A_TURN
            && self.replica.takes_inputs()
            && let Ok(job) = self.queue.try_recv()
        {
            jobs.push(job);
        }
    }

    fn output(&mut self, now: Instant) -> Output<'_, Recipient> {
        self.replica.commit(now)
    }

    fn apply(&mut self, job: Job, now: Instant) {
        if self.replica.is_shared() && job.is_given_up() {
            return; // it was refused
        }
        match job {
            Job::Input { input: Input::Command { recipient, command, .. }, .. }
                if command.is_question() && recipient.closing().is_some() =>
            {
                if command.has_large_reply() {
                    recipient.answered(); // or what its client says next isn't read
                }
            }
            Job::Input { stream, input, place } => {
                self.handle(&stream, input, now);
                if place.is_some() {
                    self.sync(Asked::Nobody(place), now);
                }
            }
            Job::Event(event) => {
                self.replica.handle(event, now, &self.clock);
                self.answer(now);
            }
            Job::Members { number, members } => {
                self.replica.hear_of_members(number, &members, &self.clock);
            }
            Job::Ask { of, ask, answer } => self.with_partition(|it| it.ask((of, ask), answer)),
            Job::Answer { to, answer } => self.with_partition(|it| it.answer(to, answer)),
            Job::Reach { position, answer } => self.with_partition(|it| it.reach(position, answer)),
            // of all queries: the connection that asked may be gone
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
                let ticket = Ticket(self.asked.insert(Asked::Put(answer)));
                self.handle(&stream, Input::Put { put, ticket }, now);
                self.answer(now);
            }
            Job::Kick { stream, id, answer } => {
                let ticket = Ticket(self.asked.insert(Asked::Kick(answer)));
                self.handle(&stream, Input::Kick { id, ticket }, now);
                self.answer(now);
            }
            Job::Publish { stream, publish, answer, place } => {
                self.handle(&stream, Input::Publish(publish), now);
                self.sync(Asked::Publish(answer, place), now);
            }
            Job::Identify { stream, key, answer } => {
                let ticket = Ticket(self.asked.insert(Asked::Identify(answer)));
                self.handle(&stream, Input::Identify { key, ticket }, now);
                self.answer(now);
            }
            Job::History { stream, answer } => {
                drop(answer.send(self.output(now).publications(&stream)));
            }
            Job::Ended(Ended { stream, key, outbox, at, grant, ttl, goodbye }) => {
                if let Some(goodbye) = goodbye {
                    self.handle(&stream, Input::CatchUp { key: key.clone() }, now);
                    self.sync(Asked::Goodbye(goodbye), now);
                }
                while self.reply(now) {} // so that the outbox has recorded all events
                let unacked_since = outbox.unacked_since();
                let unacked_since =
                    unacked_since.map(|beat| self.replica.time(self.clock.began(beat)));
                let at = self.replica.time(at);
                let end = End { at, unacked_since, grant, ttl };
                self.handle(&stream, Input::Ended { key, end }, now);
                self.answer(now);
            }
            Job::Forget { stream, key } => {
                self.handle(&stream, Input::Forget { key }, now);
            }
            Job::Query(query) => {
                let Self { replica, observers, meter, .. } = self;
                observers.answer(query, replica.commit(now), meter.tally(), now);
            }
            Job::Session { change, answer } => self.replica.change_session(change, answer, now),
            Job::Known { sid, answer } => {
                let session = self.replica.session(sid);
                drop(answer.send(session.map(|session| Arc::clone(&session.state))));
            }
            Job::Sync { answer } => self.sync(Asked::Sync(answer), now),
            Job::Resume { stream, resume: Resume { from, to, recipient }, answer } => {
                let ticket = Ticket(self.asked.insert(Asked::Resume(answer)));
                self.handle(&stream, Input::Resume { from, to, recipient, ticket }, now);
                while self.reply(now) {}
                self.answer(now);
            }
        }
    }

    fn handle(&mut self, stream: &StreamName, input: Input<Recipient>, now: Instant) {
        self.replica.shard_mut().handle(stream, input, now);
    }

    /// Does what only several nodes do.
    fn with_partition(&mut self, act: impl FnOnce(&mut PartitionReplica)) {
        if let Some(partition) = self.replica.partition_mut() {
            act(partition);
        }
    }

    /// Answers when all earlier inputs have been applied.
    fn sync(&mut self, asked: Asked, now: Instant) {
        let ticket = Ticket(self.asked.insert(asked));
        self.replica.shard_mut().sync(ticket);
        self.answer(now);
    }

    /// Answers requests whose outcome is there.
    fn answer(&mut self, now: Instant) {
        while let Some((Ticket(ticket), outcome)) = self.output(now).poll_outcome() {
            let asked = self.asked.try_remove(ticket);
            // the requester may be gone
            match (asked, outcome) {
                (Some(Asked::Put(answer)), Outcome::Put(placed)) => drop(answer.send(placed)),
                (Some(Asked::Kick(answer)), Outcome::Kicked(records)) => drop(answer.send(records)),
                (Some(Asked::Resume(answer)), Outcome::Resumed(is)) => drop(answer.send(is)),
                (Some(Asked::Identify(answer)), Outcome::Present(id)) => drop(answer.send(id)),
                (Some(Asked::Goodbye(goodbye)), Outcome::Synced | Outcome::Dropped) => {
                    while self.reply(now) {}
                    drop(goodbye);
                }
                // whose requester is told by that
                (Some(asked), Outcome::Dropped) => drop(asked),
                (Some(Asked::Sync(answer)), Outcome::Synced) => drop(answer.send(())),
                (Some(Asked::Publish(answer, place)), Outcome::Synced) => {
                    drop(place);
                    answer.send(()).ok(); // the requester may be gone
                }
                (Some(Asked::Nobody(place)), Outcome::Synced) => drop(place),
                (asked, outcome) => unreachable!("{outcome:?} is no answer to {asked:?}"),
            }
        }
    }

    /// Sends replies to single subscribers, up to a turn's maximum; returns whether more remain. Small
    /// replies in a row to one subscriber are one write.
    fn reply(&mut self, now: Instant) -> bool {
        let mut to: Option<Recipient> = None;
        let mut events = false;
        let (mut replies, mut bytes) = (0, 0);
        while replies < REPLIES_A_TURN && bytes < REPLY_BYTES_A_TURN {
            let Some(delivery) = self.output(now).poll_reply() else {
                break;
            };
            let Delivery { recipient, group, mut messages, reference, joint } = delivery;
            replies += 1;
            let same = to.as_ref().is_some_and(|to| Arc::ptr_eq(to, &recipient));
            if !same || self.frames.len() >= REPLIES_A_WRITE {
                self.flush(to.take(), std::mem::take(&mut events));
            }
            let has_events = self.needs_confirmation(&group, &messages);
            if recipient.is_closed() && !has_events {
                continue; // it can't be delivered; a closed outbox only records events
            }
            if let Some(joint) = joint {
                self.flush(to.take(), std::mem::take(&mut events)); // another shard may answer next
                let part = messages.pop();
                messages.extend(joint.settle(part.as_ref()));
            }
            self.meter.delivered += messages.len();
            events |= has_events;
            let start = self.frames.len();
            protocol::encode_run(&group, &messages, reference.as_deref(), &mut self.frames);
            bytes += self.frames.len() - start;
            to = Some(recipient);
        }
        self.flush(to, events);
        self.unyielded += bytes;
        self.shard().has_replies()
    }

    /// Whether the delivery of these messages needs a client's confirmation.
    fn needs_confirmation(&self, group: &GroupKey, messages: &[ServerMessage]) -> bool {
        let may_come_back = group.codec.resumes() && group.watch == Watch::Members;
        self.asks && may_come_back && messages.iter().any(ServerMessage::is_event)
    }

    /// Sends the buffer's frames; `events` says whether presence events are among them.
    fn flush(&mut self, to: Option<Recipient>, events: bool) {
        if let Some(to) = to {
            self.meter.sent += if events {
                let ask = self.write_ping();
                to.send_events(&self.frames, ask, || Bytes::copy_from_slice(&self.frames))
            } else {
                to.send(&self.frames, || Bytes::copy_from_slice(&self.frames))
            };
        }
        self.empty_buffer();
    }

    /// Appends a ping to the frames in the buffer.
    fn write_ping(&mut self) -> (Ping, u32) {
        let ping = Ping::new();
        ping.write(&mut self.frames);
        (ping, self.clock.beat(self.begun))
    }

    fn empty_buffer(&mut self) {
        self.frames.clear();
        if self.frames.capacity() > KEPT_BUFFER {
            self.frames = Vec::new();
        }
    }

    /// Sends unsent messages to a turn's number of subscribers; returns whether more remain.
    fn fan_out(&mut self, now: Instant) -> bool {
        let mut left = SOCKETS_A_TURN;
        while left > 0 {
            let Some(slice) = self.output(now).poll_fan_out(left, now) else { return false };
            left -= slice.recipients.len().min(left);
            self.send_slice(slice);
        }
        true
    }

    fn send_slice(&mut self, slice: FanOut<Recipient>) {
        let FanOut { group, messages, recipients } = slice;
        let max = (NAMES_A_WRITE / group.identifier.as_str().len().max(1)).max(1);
        // nothing is written to closing connections
        let is_open = recipients.iter().any(|(recipient, _)| !recipient.is_closed());
        for (number, messages) in messages.chunks(max).enumerate() {
            let earlier = number * max;
            if !group.codec.merges_events() {
                self.send_each(&group, messages, (&recipients, earlier), is_open);
            } else if is_open {
                self.send_merged(&group, messages, (&recipients, earlier));
            }
        }
    }

    /// Sends messages to recipients. Each recipient comes with the number of messages it has already,
    /// counted from `earlier` messages before these. If no outbox is open, events are only recorded.
    fn send_each(
        &mut self,
        group: &GroupKey,
        messages: &[ServerMessage],
        (recipients, earlier): (&[(Recipient, usize)], usize),
        is_open: bool,
    ) {
        self.starts.clear();
        for message in messages {
            self.starts.push(self.frames.len());
            if is_open {
                protocol::encode(group, message, None, &mut self.frames);
            }
        }
        let events = self.needs_confirmation(group, messages);
        let ask = events.then(|| self.write_ping());
        let mut shared: Option<Bytes> = None;
        for (recipient, has) in recipients {
            let has = has.saturating_sub(earlier);
            let Some(&start) = self.starts.get(has) else { continue };
            let frames = self.frames.get(start..).unwrap_or_default();
            // one copy for all recipients whose socket is full
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

    /// Like [`Self::send_each`], for codecs that merge messages: a recipient's messages are encoded
    /// together, once for consecutive recipients that lack the same.
    fn send_merged(
        &mut self,
        group: &GroupKey,
        messages: &[ServerMessage],
        (recipients, earlier): (&[(Recipient, usize)], usize),
    ) {
        let mut encoded: Option<(usize, Bytes)> = None;
        for (recipient, has) in recipients {
            let has = has.saturating_sub(earlier);
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
