//! What is to be kept beyond this process: every change, and all streams as they are now.

use super::Shard;
use crate::log::Change;
use crate::shard::delivery::Destination;
use crate::shard::input::SubscriberKey;
use crate::shard::watched::Stream;
use crate::stream::presence::{Owner, RecordKey};
use crate::types::{Join, PresenceChange, PresenceId, RecordChange, SessionId, StreamName};

impl<R: Destination> Shard<R> {
    /// Notes every change from now on, for [`Shard::take_changes`].
    pub fn keep_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// What has changed since this was last called. Keep it before anyone is told of it.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Some streams as they are now, the first one at a place that counts from 0, and the place to
    /// go on at; at least one stream, and no more once there are `most` changes.
    pub fn snapshot(&self, place: usize, most: usize) -> (Vec<Change>, Option<usize>) {
        let mut changes = Vec::new();
        for place in place..self.streams.end() {
            if changes.len() >= most {
                return (changes, Some(place));
            }
            if let Some(stream) = self.streams.get(place) {
                self.describe(stream, &mut changes);
            }
        }
        (changes, None)
    }

    /// All that there is to know of a stream.
    fn describe(&self, stream: &Stream<R>, changes: &mut Vec<Change>) {
        changes.push(began(stream));
        let (.., kept) = stream.history.parts();
        changes.extend(kept.cloned().map(Change::Published));
        for (group, subscribers) in &stream.groups {
            for (session, subscriber) in subscribers {
                let key = SubscriberKey { session: *session, group: group.clone() };
                let grant = subscriber.grant.as_deref();
                changes.extend(grant.map(|grant| subscribed(stream, &key, *grant)));
            }
        }
        let parked =
            stream.parked.iter().filter_map(|(key, parked)| Some((key, parked.grant.as_deref()?)));
        changes.extend(parked.map(|(key, grant)| subscribed(stream, key, *grant)));
        if stream.journal.is_truncated(self.ticks, self.needed_since(self.now)) {
            changes.push(Change::JournalTruncated { stream: stream.name.clone() });
        }
        let gone = stream.journal.gone().filter(|id| !stream.presence.has(id));
        changes.extend(gone.map(|id| Change::Gone { stream: stream.name.clone(), id: id.clone() }));
        changes.extend(stream.presence.records().map(|(owner, join)| {
            let (stream, Join { id, info, extra }) = (stream.name.clone(), join);
            match owner {
                Owner::Subscription(SubscriberKey { session, group }) => {
                    let (session, identifier) = (*session, group.identifier.clone());
                    Change::Joined { stream, session, identifier, id, info, extra }
                }
                Owner::Application { until } => {
                    Change::Put { stream, id, info, extra, until: *until }
                }
            }
        }));
    }

    /// When the newest publication of a stream that isn't there any more was made, in
    /// milliseconds of the Unix epoch.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn keep(&mut self, change: impl FnOnce() -> Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change());
        }
    }

    pub(super) fn keep_began(&mut self, index: u32) {
        let (Some(changes), Some(stream)) = (&mut self.changes, self.streams.get(index as usize))
        else {
            return;
        };
        changes.push(began(stream));
    }

    pub(super) fn keep_subscribed(&mut self, index: u32, key: &SubscriberKey) {
        let (Some(changes), Some(stream)) = (&mut self.changes, self.streams.get(index as usize))
        else {
            return;
        };
        let subscriber = stream.groups.get(&key.group).and_then(|group| group.get(&key.session));
        let grant = subscriber.and_then(|subscriber| subscriber.grant.as_deref());
        changes.extend(grant.map(|grant| subscribed(stream, key, *grant)));
    }

    pub(super) fn keep_unsubscribed(&mut self, index: u32, key: &SubscriberKey) {
        let Some(stream) = self.name_of(index) else { return };
        let (session, identifier) = (key.session, key.group.identifier.clone());
        self.keep(|| Change::Unsubscribed { stream, session, identifier });
    }

    pub(super) fn keep_joined(&mut self, index: u32, key: &SubscriberKey, change: &PresenceChange) {
        let (Some(changes), Some(stream)) =
            (&mut self.changes, self.streams.get_mut(index as usize))
        else {
            return;
        };
        let group = stream.groups.get(&key.group);
        let subscriber = group.and_then(|group| group.get(&key.session));
        let record = subscriber.and_then(|subscriber| subscriber.record);
        if let RecordChange::Added { .. } = change.record
            && let Some(record) = record
        {
            stream.presence.set_owner(record, Owner::Subscription(key.clone()));
        }
        changes.push(Change::Joined {
            stream: stream.name.clone(),
            session: key.session,
            identifier: key.group.identifier.clone(),
            id: change.id.clone(),
            info: change.record.info().clone(),
            extra: change.extra.clone(), // its record is the one that is shown
        });
    }

    /// A record goes from the subscription that had it to another one, without an event.
    pub(super) fn keep_adopted(
        &mut self,
        index: u32,
        key: &SubscriberKey,
        record: RecordKey,
        join: &Join,
    ) {
        let (Some(changes), Some(stream)) =
            (&mut self.changes, self.streams.get_mut(index as usize))
        else {
            return;
        };
        let before = stream.presence.set_owner(record, Owner::Subscription(key.clone()));
        changes.push(Change::Joined {
            stream: stream.name.clone(),
            session: key.session,
            identifier: key.group.identifier.clone(),
            id: join.id.clone(),
            info: join.info.clone(),
            extra: join.extra.clone(),
        });
        self.keep_left(index, before, &join.id);
    }

    /// The record of an owner is gone.
    pub(super) fn keep_left(&mut self, index: u32, owner: Option<Owner>, id: &PresenceId) {
        let Some((stream, owner)) = self.name_of(index).zip(owner) else { return };
        self.keep(|| match owner {
            Owner::Subscription(SubscriberKey { session, group }) => {
                Change::Left { stream, session, identifier: group.identifier }
            }
            Owner::Application { .. } => Change::Withdrawn { stream, id: id.clone() },
        });
    }

    pub(super) fn keep_put(&mut self, index: u32, join: &Join, until: Option<u64>) {
        let Some(stream) = self.name_of(index) else { return };
        let Join { id, info, extra } = join.clone();
        self.keep(|| Change::Put { stream, id, info, extra, until });
    }

    pub(super) fn keep_resumed(
        &mut self,
        index: u32,
        from: SessionId,
        key: &SubscriberKey,
        record: Option<RecordKey>,
    ) {
        let (Some(changes), Some(stream)) =
            (&mut self.changes, self.streams.get_mut(index as usize))
        else {
            return;
        };
        if let Some(record) = record {
            stream.presence.set_owner(record, Owner::Subscription(key.clone()));
        }
        let (stream, identifier) = (stream.name.clone(), key.group.identifier.clone());
        changes.push(Change::Resumed { stream, identifier, from, to: key.session });
    }

    /// A stream's name, if changes are kept.
    fn name_of(&self, index: u32) -> Option<StreamName> {
        self.changes.as_ref()?;
        self.streams.get(index as usize).map(|stream| stream.name.clone())
    }
}

fn began<R: Clone>(stream: &Stream<R>) -> Change {
    let (epoch, head, lost, _) = stream.history.parts();
    Change::Began { stream: stream.name.clone(), epoch, head, lost }
}

fn subscribed<R: Clone>(
    stream: &Stream<R>,
    key: &SubscriberKey,
    grant: crate::types::Grant,
) -> Change {
    Change::Subscribed {
        stream: stream.name.clone(),
        session: key.session,
        codec: key.group.codec,
        watch: key.group.watch,
        identifier: key.group.identifier.clone(),
        grant,
    }
}
