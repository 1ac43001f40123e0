//! The replicated state of a stream, and applying entries to it.
//!
//! [`State::apply`] is deterministic: it reads no clock and no random number, does no I/O and can't fail. So
//! the same entries in the same order give the same state on every replica. State of a node (its
//! connections, its kept publications) is elsewhere and follows from the [`Effect`]s.

use std::sync::Arc;
use std::time::Duration;

use super::digest::{mix, of_text};
use super::presence::{Joining, Moment, PresenceSet, RecordKey};
use super::subscriptions::{SubscriptionState, Subscriptions};
use super::usage::Usage;
use crate::log::{
    Change, Entry, ExpiryReason, Known, LogId, NodeId, Owner, Parked, Parking, Position,
    Subscription, Void,
};
use crate::types::{
    Epoch, Extra, Join, JoinCause, Labels, LeaveCause, MemberEvent, Offset, PresenceChange,
    PresenceId, Publication, RawJson, SessionId, Whisper,
};

/// The replicated state of a stream.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Epoch of its history; `None` before the stream has begun.
    epoch: Option<Epoch>,
    /// Digest of the epoch.
    epoch_digest: u64,
    /// Offset of the newest publication.
    head: Offset,
    presence: PresenceSet,
    subscriptions: Subscriptions,
    usage: Usage,
    /// Digest of the whole state, as of the last change.
    digest: u64,
}

/// Totals of a state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateTotals {
    pub(crate) members: usize,
    pub(crate) records: usize,
    pub(crate) parked: usize,
}

/// An effect of an entry, for everything that follows a stream.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// The stream began.
    Began {
        /// Time of the newest publication that an earlier stream of this name may have had.
        lost: u64,
    },
    /// The stream was replaced by a snapshot.
    Replaced {
        /// Time of the newest publication that the snapshot doesn't have.
        lost: u64,
        /// Position from which on its member events are known.
        journal: Position,
    },
    /// The stream ended.
    Forgotten {
        /// Time of its newest publication.
        lost: u64,
    },
    /// The history began again.
    Forked,
    /// A message was published.
    Published { publication: Arc<Publication>, except: Option<SessionId> },
    /// An earlier publication is kept.
    Kept { publication: Arc<Publication> },
    /// A subscriber sent a whisper.
    Whispered { whisper: Whisper, from: SessionId },
    /// A subscriber was added.
    Arrived,
    /// A record changed, or came with a snapshot.
    Changed { record: RecordKey, change: PresenceChange, cause: Cause },
    /// A record will expire.
    Runs { record: RecordKey, expiry: Expiry },
    /// A record no longer expires.
    Stays { record: RecordKey },
    /// A subscription lost its record without a command of its client.
    Taken { by: Subscription },
    /// A subscription is parked, and can be resumed for a time.
    Parked { by: Subscription, ttl: Duration },
    /// A subscription is no longer parked.
    Unparked { by: Subscription },
    /// A member event for the journal.
    Noted { id: PresenceId, event: MemberEvent },
}

/// Time of a record's expiry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiry {
    /// This long after the entry.
    After(Duration),
    /// A time of day, in milliseconds of the Unix epoch.
    At(u64),
}

impl Expiry {
    const fn of(reason: ExpiryReason, ttl: Duration) -> Self {
        match reason {
            ExpiryReason::Ended(_) => Self::After(ttl),
            ExpiryReason::Until(until) => Self::At(until),
        }
    }
}

/// Why a record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Joined(JoinCause),
    Left(LeaveCause),
    /// It is part of a snapshot: no message is sent.
    Restored,
}

impl State {
    /// An empty stream whose history continues after an offset.
    fn of(epoch: Epoch, head: Offset) -> Self {
        let epoch_digest = of_text(epoch.as_str());
        Self { epoch: Some(epoch), epoch_digest, head, ..Self::default() }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.epoch.is_some()
    }

    pub(crate) fn epoch(&self) -> Option<&Epoch> {
        self.epoch.as_ref()
    }

    /// Offset of the newest publication.
    pub(crate) fn head(&self) -> Offset {
        self.head
    }

    pub(crate) fn presence(&self) -> &PresenceSet {
        &self.presence
    }

    pub(crate) fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Its use by the nodes that share its log.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// The parking of a subscription, if it is parked.
    pub(crate) fn parked(&self, by: &Subscription) -> Option<Parked> {
        self.subscriptions.get(by)?.parked
    }

    /// Whether a subscription holds a record or is kept for a resume.
    pub(crate) fn knows(&self, by: &Subscription) -> bool {
        self.presence.held_by(by).is_some() || self.subscriptions.get(by).is_some()
    }

    /// The subscriptions of a node whose connections haven't ended, in an order that follows from the log.
    pub(crate) fn connected_of(&self, node: NodeId) -> Vec<Subscription> {
        let mut all = self.presence.of_connections();
        all.retain(|by| self.subscriptions.get(by).is_none()); // those come next
        let kept = self.subscriptions.iter().filter(|(_, held)| held.parked.is_none());
        all.extend(kept.map(|(by, _)| by.clone()));
        all.retain(|by| node.has(by.session));
        all
    }

    /// Totals.
    pub(crate) fn totals(&self) -> StateTotals {
        StateTotals {
            members: self.presence.members(),
            records: self.presence.len(),
            parked: self.subscriptions.parked(),
        }
    }

    /// Whether there are no members and no kept subscriptions.
    pub(crate) fn is_empty(&self) -> bool {
        self.presence.is_empty() && self.subscriptions.is_empty()
    }

    /// Digest of epoch, offset, records, subscriptions and use; equal on all replicas. The order of members isn't
    /// in it, nor what is of this node alone.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    fn digested(&self) -> u64 {
        if !self.has_begun() {
            return 0;
        }
        let items = mix(self.presence.digest().0, self.subscriptions.digest().0);
        self.usage.mixed_into(mix(mix(self.epoch_digest, self.head.0), items))
    }

    /// Checks a change's condition: `Err` is why it would be void.
    pub(crate) fn verdict(&self, change: &Change) -> Result<(), Void> {
        self.concerned(change).map(drop)
    }

    /// Checks a change's condition and returns the existing record it is about, if any. `Err` is why it would
    /// be void.
    fn concerned(&self, change: &Change) -> Result<Option<RecordKey>, Void> {
        let holds = match change {
            Change::Began { .. } => !self.has_begun(),
            Change::Forgotten { epoch, head, .. } => {
                self.is_empty() && (self.epoch(), self.head) == (Some(epoch), *head)
            }
            Change::Idle { epoch, head } => {
                !self.usage.is_idle()
                    && self.is_empty()
                    && (self.epoch(), self.head) == (Some(epoch), *head)
            }
            Change::ForgottenByAll { idle, .. } => self.usage == Usage::Idle(*idle),
            Change::Used { .. } | Change::Forked => self.has_begun(),
            Change::Published { author, .. } | Change::Whispered { author, .. } => {
                let is_present = |by| self.presence.held_by(by).is_some();
                let may = author.as_ref().is_none_or(is_present);
                return may.then_some(None).ok_or(Void::NotAuthor);
            }
            Change::Joined { by, id, is_update, max_members, .. } => {
                return match self.presence.held_by(by) {
                    Some(record) if self.presence.id_of(record) == id => Ok(Some(record)),
                    Some(_) => Err(Void::JoinedOtherwise),
                    None if *is_update => Err(Void::NotJoined),
                    None => self.has_room(id, *max_members).map(|()| None),
                };
            }
            Change::Put { id, max_members, .. } => {
                return self.has_room(id, *max_members).map(|()| None);
            }
            Change::Left { by, id } => {
                let Some(record) = self.presence.held_by(by) else { return Err(Void::NotPresent) };
                let is_who = id.as_ref().is_none_or(|id| self.presence.id_of(record) == id);
                return is_who.then_some(Some(record)).ok_or(Void::LeavesOtherwise);
            }
            Change::Kicked { id } => self.presence.has(id),
            Change::Expired { id, record, reason } => {
                let expiring = self.presence.expiring(id, *record, *reason);
                return expiring.map(Some).ok_or(Void::Stale);
            }
            Change::Lapsed { by, parked } => self.parked(by).is_some_and(|it| it.at == *parked),
            Change::Resumed { from, to } => {
                let to = from.of_session(*to);
                self.parked(from).is_some() && !self.knows(&to)
            }
            Change::Record { owner: Owner::Subscription { by, .. }, .. } => {
                self.presence.held_by(by).is_none()
            }
            Change::Arrived
            | Change::Subscribed { .. }
            | Change::Unsubscribed { .. }
            | Change::Ended { .. }
            | Change::Restarted { .. }
            | Change::Snapshot { .. }
            | Change::Kept { .. }
            | Change::Record { .. }
            | Change::Resumable { .. }
            | Change::Noted { .. } => true,
        };
        holds.then_some(None).ok_or(Void::Stale)
    }

    fn has_room(&self, id: &PresenceId, max: usize) -> Result<(), Void> {
        let has = self.presence.members() < max || self.presence.has(id);
        has.then_some(()).ok_or(Void::Full(max))
    }

    /// Applies an entry and adds its effects to `effects`. `Err` is why it is void; then nothing changes.
    pub(crate) fn apply(
        &mut self,
        log: LogId,
        entry: &Entry,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Void> {
        let begins = matches!(entry.change, Change::Began { .. } | Change::Snapshot { .. });
        if !self.has_begun() && entry.change.is_lasting() && !begins {
            return Err(Void::Stale);
        }
        let concerned = self.concerned(&entry.change)?;
        let at = Moment { log, position: entry.position, unix: entry.at };
        if self.usage.is_idle() && entry.change.is_lasting() {
            self.usage = Usage::Unknown;
        }
        match &entry.change {
            Change::Began { lost } => {
                *self = Self::of(entry.epoch(log), Offset::default());
                effects.push(Effect::Began { lost: *lost });
            }
            Change::Forgotten { lost, .. } | Change::ForgottenByAll { lost, .. } => {
                *self = Self::default();
                effects.push(Effect::Forgotten { lost: *lost });
            }
            Change::Published { data, labels, at, except, is_kept, .. } => {
                let publication = self.publication(entry, (data, labels), *at, *is_kept);
                effects.push(Effect::Published { publication, except: *except });
            }
            Change::Whispered { whisper, from, .. } => {
                effects.push(Effect::Whispered { whisper: whisper.clone(), from: *from });
            }
            Change::Arrived => effects.push(Effect::Arrived),
            Change::Joined { by, id, info, extra, cause, .. } => {
                let (record, joining, change) =
                    self.presence.join((by, concerned), join(id, info, extra), at);
                if joining == Joining::Adopted {
                    effects.push(Effect::Stays { record });
                }
                changed(record, change, Cause::Joined(*cause), effects);
            }
            Change::Left { .. } => self.remove(concerned, LeaveCause::Left, log, effects),
            Change::Put { id, info, extra, until, .. } => {
                let (record, _, change) = self.presence.put(join(id, info, extra), *until, at);
                effects.push(match until {
                    Some(until) => Effect::Runs { record, expiry: Expiry::At(*until) },
                    None => Effect::Stays { record },
                });
                changed(record, change, Cause::Joined(JoinCause::Put), effects);
            }
            Change::Kicked { id } => {
                for record in self.presence.records_of(id).collect::<Vec<_>>() {
                    if let Some(by) = self.presence.holder_of(record) {
                        effects.push(Effect::Taken { by: by.clone() });
                    }
                    self.remove(Some(record), LeaveCause::Kicked, log, effects);
                }
            }
            Change::Expired { .. } => self.remove(concerned, LeaveCause::Expired, log, effects),
            Change::Subscribed { by, codec, watch, grant } => {
                let held = SubscriptionState::of((*codec, *watch), Some(Box::new(*grant)), None);
                self.hold(by.clone(), held, effects);
            }
            Change::Unsubscribed { by } => {
                self.drop_subscription(by, effects);
                self.remove(self.presence.held_by(by), LeaveCause::Unsubscribed, log, effects);
            }
            Change::Ended { by, ttl, parking } => {
                match parking.as_deref() {
                    Some(parking) => self.park(by, *parking, entry.position, effects),
                    None => drop(self.drop_subscription(by, effects)),
                }
                let record = self.presence.held_by(by);
                self.end(record, (*ttl, parking.is_some()), at, effects);
            }
            Change::Lapsed { by, .. } => self.lapse(by, effects),
            Change::Resumed { from, to } => self.resume(from, *to, effects),
            Change::Restarted { ttl, resumable } => self.restart((*ttl, *resumable), at, effects),
            Change::Snapshot { epoch, head, lost, journal } => {
                *self = Self::of(epoch.clone(), *head);
                effects.push(Effect::Replaced { lost: *lost, journal: *journal });
            }
            Change::Kept { data, labels, at } => {
                let publication = self.publication(entry, (data, labels), *at, true);
                effects.push(Effect::Kept { publication });
            }
            Change::Record { owner, ttl, id, info, extra, arrived } => {
                let at = Moment { unix: *arrived, ..at };
                self.restore((owner, join(id, info, extra)), *ttl, at, effects);
            }
            Change::Resumable { by, codec, watch, grant, parked, ttl } => {
                let held = SubscriptionState::of((*codec, *watch), grant.map(Box::new), *parked);
                self.hold(by.clone(), held, effects);
                effects.extend(parked.map(|_| Effect::Parked { by: by.clone(), ttl: *ttl }));
            }
            Change::Noted { id, event } => {
                effects.push(Effect::Noted { id: id.clone(), event: *event });
            }
            Change::Idle { .. } => self.usage = Usage::Idle(entry.position),
            Change::Used { by } => self.usage = by.map_or(Usage::Unknown, Usage::By),
            Change::Forked => self.fork(log.epoch_at(entry.position, entry.at), effects),
        }
        if entry.change.is_lasting() {
            self.digest = self.digested();
        }
        Ok(())
    }

    /// Begins a new epoch.
    fn fork(&mut self, epoch: Epoch, effects: &mut Vec<Effect>) {
        self.epoch_digest = of_text(epoch.as_str());
        (self.epoch, self.head) = (Some(epoch), Offset::default());
        effects.push(Effect::Forked);
    }

    /// Drops what is kept of a subscription that isn't parked.
    pub(crate) fn drop_connected(&mut self, by: &Subscription) {
        if self.subscriptions.get(by).is_some_and(|held| held.parked.is_none()) {
            self.subscriptions.remove(by);
            self.digest = self.digested();
        }
    }

    /// A publication, with the next offset if it is kept.
    fn publication(
        &mut self,
        entry: &Entry,
        (data, labels): (&RawJson, &Labels),
        at: u64,
        is_kept: bool,
    ) -> Arc<Publication> {
        let position = if is_kept { self.next_offset() } else { None };
        let (stream, data, labels) = (entry.stream.clone(), data.clone(), labels.clone());
        Arc::new(Publication { stream, data, labels, at, position })
    }

    fn next_offset(&mut self) -> Option<crate::types::StreamPosition> {
        self.head.0 = self.head.0.saturating_add(1);
        let (epoch, offset) = (self.epoch.clone()?, self.head);
        Some(crate::types::StreamPosition { epoch, offset })
    }

    fn remove(
        &mut self,
        record: Option<RecordKey>,
        cause: LeaveCause,
        log: LogId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(record) = record else { return };
        let change = self.presence.remove(record, cause, log);
        changed(record, Some(change), Cause::Left(cause), effects);
    }

    /// The connection of a record's subscription has ended.
    fn end(
        &mut self,
        record: Option<RecordKey>,
        (ttl, is_parked): (Duration, bool),
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(key) = record else { return };
        if ttl.is_zero() {
            return self.remove(record, LeaveCause::Expired, at.log, effects);
        }
        self.presence.end(key, at.position, is_parked);
        effects.push(Effect::Runs { record: key, expiry: Expiry::After(ttl) });
    }

    /// Adds a record of a snapshot.
    fn restore(
        &mut self,
        (owner, join): (&Owner, Join),
        ttl: Duration,
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let (record, change) = self.presence.restore(owner, join, at);
        changed(record, Some(change), Cause::Restored, effects);
        let reason = self.presence.expiry_reason_of(record);
        effects
            .extend(reason.map(|reason| Effect::Runs { record, expiry: Expiry::of(reason, ttl) }));
    }

    fn park(
        &mut self,
        by: &Subscription,
        parking: Parking,
        at: Position,
        effects: &mut Vec<Effect>,
    ) {
        let Parking { codec, watch, known, ttl } = parking;
        let grant = self.subscriptions.get(by).and_then(|held| held.grant.clone());
        self.hold(
            by.clone(),
            SubscriptionState::of((codec, watch), grant, Some(Parked { at, known })),
            effects,
        );
        effects.push(Effect::Parked { by: by.clone(), ttl });
    }

    /// Keeps a subscription for a resume, in place of its previous state.
    fn hold(&mut self, by: Subscription, held: SubscriptionState, effects: &mut Vec<Effect>) {
        self.drop_subscription(&by, effects);
        self.subscriptions.insert(by, held);
    }

    /// Drops a subscription's state, parked or not.
    fn drop_subscription(
        &mut self,
        by: &Subscription,
        effects: &mut Vec<Effect>,
    ) -> Option<SubscriptionState> {
        let held = self.subscriptions.remove(by)?;
        effects.extend(held.parked.map(|_| Effect::Unparked { by: by.clone() }));
        Some(held)
    }

    fn lapse(&mut self, by: &Subscription, effects: &mut Vec<Effect>) {
        self.drop_subscription(by, effects);
        if let Some(record) = self.presence.held_by(by) {
            self.presence.orphan(record);
        }
    }

    fn resume(&mut self, from: &Subscription, to: SessionId, effects: &mut Vec<Effect>) {
        let record = self.presence.held_by(from);
        let held = self.drop_subscription(from, effects);
        let to = from.of_session(to);
        if let Some(record) = record {
            self.presence.pass_on(record, to.clone());
            effects.push(Effect::Stays { record });
        }
        // without a grant on disk, a connected subscription needs no state
        if let Some(held) = held.filter(|held| held.grant.is_some()) {
            self.hold(to, SubscriptionState { parked: None, ..held }, effects);
        }
    }

    /// All connections have ended; it is unknown which events their clients have got.
    fn restart(
        &mut self,
        (ttl, resumable): (Duration, Option<Duration>),
        at: Moment,
        effects: &mut Vec<Effect>,
    ) {
        for (by, held) in self.subscriptions.take() {
            effects.extend(held.parked.map(|_| Effect::Unparked { by: by.clone() }));
            if let Some(ttl) = resumable {
                let SubscriptionState { codec, watch, grant, .. } = held;
                let known = Known::NOTHING;
                let held = SubscriptionState::of(
                    (codec, watch),
                    grant,
                    Some(Parked { at: at.position, known }),
                );
                self.hold(by.clone(), held, effects);
                effects.push(Effect::Parked { by, ttl });
            }
        }
        for record in self.presence.until_before(at.unix) {
            self.remove(Some(record), LeaveCause::Expired, at.log, effects);
        }
        for (record, reason) in self.presence.of_the_application() {
            effects.push(Effect::Runs { record, expiry: Expiry::of(reason, ttl) });
        }
        for (record, by) in self.presence.of_subscriptions() {
            let is_parked = self.subscriptions.get(&by).is_some();
            self.end(Some(record), (ttl, is_parked), at, effects);
        }
    }
}

fn join(id: &PresenceId, info: &RawJson, extra: &Extra) -> Join {
    Join { id: id.clone(), info: info.clone(), extra: extra.clone() }
}

fn changed(
    record: RecordKey,
    change: Option<PresenceChange>,
    cause: Cause,
    effects: &mut Vec<Effect>,
) {
    if let Some(change) = change {
        effects.push(Effect::Changed { record, change, cause });
    }
}
