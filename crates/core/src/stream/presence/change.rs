//! Changes of the presence set; only [`State::apply`](crate::stream::State::apply) makes them.

use std::hash::BuildHasher as _;

use super::{
    Holder, Joining, Member, Moment, PresenceSet, Record, RecordKey, Shown, holder, key,
    listed_size, record_size, session, unheld,
};
use crate::log::{ExpiryReason, LogId, Owner, Position, Subscription};
use crate::stream::list::{Links, List};
use crate::stream::pages::{is_roomy, missing};
use crate::types::{Join, LeaveCause, MemberChange, PresenceChange, PresenceId, RecordChange};

impl PresenceSet {
    /// A subscription joins: with the record it holds, an orphan of its presence id, or a new one. The change
    /// is `None` if nothing changed.
    pub(in crate::stream) fn join(
        &mut self,
        (by, held): (&Subscription, Option<RecordKey>),
        join: Join,
        at: Moment,
    ) -> (RecordKey, Joining, Option<PresenceChange>) {
        let member = self.find_member(&join.id);
        let join = self.with_extra(join, member);
        if let Some(key) = held {
            return (key, Joining::Kept, self.update(key, join, at));
        }
        let holder = Holder::Subscription(by.clone(), Position(0));
        if let Some(key) = self.orphan_of(member) {
            let is_last = self.records_of(&join.id).last() == Some(key);
            self.set_holder(key, holder);
            let change =
                if is_last { self.update(key, join, at) } else { Some(self.show(key, join, at)) };
            return (key, Joining::Adopted, change);
        }
        let (key, change) = self.add(join, member, holder, at);
        (key, Joining::Added, Some(change))
    }

    /// The application puts a record, or changes the info or expiry of its record.
    pub(in crate::stream) fn put(
        &mut self,
        join: Join,
        until: Option<u64>,
        at: Moment,
    ) -> (RecordKey, Joining, Option<PresenceChange>) {
        let member = self.find_member(&join.id);
        let join = self.with_extra(join, member);
        let holder = Holder::Application(until.unwrap_or(0));
        let Some(key) = self.put_as(&join.id) else {
            let (key, change) = self.add(join, member, holder, at);
            return (key, Joining::Added, Some(change));
        };
        self.set_holder(key, holder);
        (key, Joining::Kept, self.update(key, join, at))
    }

    /// Adds a record of a snapshot.
    pub(in crate::stream) fn restore(
        &mut self,
        owner: &Owner,
        join: Join,
        at: Moment,
    ) -> (RecordKey, PresenceChange) {
        let holder = match owner {
            Owner::Subscription { by, ended } => {
                Holder::Subscription(by.clone(), ended.unwrap_or_default())
            }
            Owner::Orphan { ended } => Holder::Orphan(*ended),
            Owner::Application { until } => Holder::Application(until.unwrap_or(0)),
        };
        let member = self.find_member(&join.id);
        self.add(join, member, holder, at)
    }

    /// Adds a record of a member, which is new with its first one.
    fn add(
        &mut self,
        join: Join,
        member: Option<u32>,
        holder: Holder,
        at: Moment,
    ) -> (RecordKey, PresenceChange) {
        let Join { id, info, extra } = join;
        let (member, before) = match member {
            Some(member) => (member, Some(self.seen(member).clone())),
            None => (self.add_member(&id, at), None),
        };
        self.records_size += record_size(&info);
        let shown = Shown { info: info.clone(), extra };
        let links = Links::default();
        let record = Record { member, links, position: at.position, shown: shown.clone(), holder };
        self.digest.add(record.digest());
        let key = key(self.records.insert(record));
        self.index(key);
        self.members.live_mut(member as usize).records.push_back(&mut self.records, key);
        let change = RecordChange::Added { info };
        (key, self.changed(id, at.name(), change, before, Some(shown)))
    }

    /// Sets the visible part of a record; `None` if it is the same.
    fn update(&mut self, key: RecordKey, join: Join, at: Moment) -> Option<PresenceChange> {
        let shown = &self.records.live(key as usize).shown;
        if shown.info == join.info && shown.extra == join.extra {
            return None;
        }
        Some(self.show(key, join, at))
    }

    /// Sets the visible part of a record, which becomes its member's last one.
    fn show(&mut self, key: RecordKey, join: Join, at: Moment) -> PresenceChange {
        let Join { id, info, extra } = join;
        let shown = Shown { info, extra };
        let member = self.records.live(key as usize).member;
        let before = self.seen(member).clone();
        let record = self.records.live_mut(key as usize);
        self.digest.remove(record.digest());
        let previous = std::mem::replace(&mut record.position, at.position);
        self.digest.add(record.digest());
        let last = std::mem::replace(&mut record.shown, shown.clone()).info;
        let info = shown.info.clone();
        self.records_size = self.records_size + record_size(&info) - record_size(&last);
        let Member { records, .. } = self.members.live_mut(member as usize);
        records.remove(&mut self.records, key);
        records.push_back(&mut self.records, key);
        let previous = at.log.name(previous);
        let record = RecordChange::Updated { info, previous, before: last };
        self.changed(id, at.name(), record, Some(before), Some(shown))
    }

    /// Removes a record; the member leaves with its last one.
    pub(in crate::stream) fn remove(
        &mut self,
        key: RecordKey,
        cause: LeaveCause,
        log: LogId,
    ) -> PresenceChange {
        self.unindex(key);
        let member = self.records.live(key as usize).member;
        let Member { id, records, .. } = self.members.live_mut(member as usize);
        let was_last = records.last() == Some(key);
        records.remove(&mut self.records, key);
        let (id, last) = (id.clone(), records.last());
        let record = self.records.take(key as usize);
        self.digest.remove(record.digest());
        let Record { shown, position, .. } = record;
        self.records_size -= record_size(&shown.info);
        let now = last.map(|last| self.records.live(last as usize).shown.clone());
        if now.is_none() {
            self.remove_member(member);
        }
        let record = RecordChange::Removed { info: shown.info.clone(), cause };
        let before = if was_last { Some(shown) } else { now.clone() };
        self.changed(id, log.name(position), record, before, now)
    }

    /// The connection of a record's subscription has ended: the record stays for a resume, or is an orphan.
    pub(in crate::stream) fn end(&mut self, key: RecordKey, at: Position, is_parked: bool) {
        let record = self.records.live_mut(key as usize);
        let before = record.digest();
        let Holder::Subscription(_, ended) = &mut record.holder else { unheld(key) };
        if !is_parked {
            return self.set_holder(key, Holder::Orphan(at));
        }
        *ended = at;
        self.digest.remove(before);
        self.digest.add(record.digest());
    }

    /// The parked subscription of a record can no longer be resumed: the record is an orphan.
    pub(in crate::stream) fn orphan(&mut self, key: RecordKey) {
        let Record { holder, .. } = self.records.live(key as usize);
        let Holder::Subscription(_, ended) = holder else { unheld(key) };
        self.set_holder(key, Holder::Orphan(*ended));
    }

    /// Passes a record to another subscription, which is connected.
    pub(in crate::stream) fn pass_on(&mut self, key: RecordKey, to: Subscription) {
        self.set_holder(key, Holder::Subscription(to, Position(0)));
    }

    /// The records that subscriptions hold.
    pub(in crate::stream) fn of_subscriptions(&self) -> Vec<(RecordKey, Subscription)> {
        let of_subscription = |(key, record): (RecordKey, &Record)| match &record.holder {
            Holder::Subscription(by, _) => Some((key, by.clone())),
            Holder::Orphan(_) | Holder::Application(_) => None,
        };
        self.in_order().filter_map(of_subscription).collect()
    }

    /// The subscriptions that hold records and whose connections haven't ended.
    pub(in crate::stream) fn of_connections(&self) -> Vec<Subscription> {
        let of_connection = |(_, record): (RecordKey, &Record)| match &record.holder {
            Holder::Subscription(by, Position(0)) => Some(by.clone()),
            Holder::Subscription(..) | Holder::Orphan(_) | Holder::Application(_) => None,
        };
        self.in_order().filter_map(of_connection).collect()
    }

    /// The application's records that expire.
    pub(in crate::stream) fn of_the_application(&self) -> Vec<(RecordKey, ExpiryReason)> {
        let runs_out =
            |(key, record): (RecordKey, &Record)| match (&record.holder, record.expiry_reason()) {
                (Holder::Application(_), Some(reason)) => Some((key, reason)),
                _ => None,
            };
        self.in_order().filter_map(runs_out).collect()
    }

    /// The records in the order of members and of their last change. The order of their indexes isn't
    /// replicated.
    fn in_order(&self) -> impl Iterator<Item = (RecordKey, &Record)> {
        let keys = self.arrival.iter(&self.members);
        let keys = keys.flat_map(|member| member.records.keys(&self.records));
        keys.map(|key| (key, self.records.live(key as usize)))
    }

    /// The application's records that have expired at a time, in milliseconds of the Unix epoch.
    pub(in crate::stream) fn until_before(&self, unix: u64) -> Vec<RecordKey> {
        let records = self.of_the_application().into_iter();
        let over =
            |reason: &ExpiryReason| matches!(reason, ExpiryReason::Until(until) if *until <= unix);
        records.filter(|(_, reason)| over(reason)).map(|(key, _)| key).collect()
    }

    /// A member's orphan: the one changed last.
    fn orphan_of(&self, member: Option<u32>) -> Option<RecordKey> {
        let is_orphan =
            |key: &RecordKey| matches!(self.records.live(*key as usize).holder, Holder::Orphan(_));
        let member = self.members.live(member? as usize);
        member.records.keys(&self.records).filter(is_orphan).last()
    }

    fn set_holder(&mut self, key: RecordKey, holder: Holder) {
        self.unindex(key);
        let record = self.records.live_mut(key as usize);
        self.digest.remove(record.digest());
        record.holder = holder;
        self.digest.add(record.digest());
        self.index(key);
    }

    /// Indexes a record by the subscription that holds it.
    fn index(&mut self, key: RecordKey) {
        let Self { records, by_subscription, hasher, .. } = self;
        let Some(by) = holder(records, key) else { return };
        by_subscription.insert_unique(hasher.hash_one(by.session), key, |key| {
            hasher.hash_one(session(records, *key))
        });
    }

    fn unindex(&mut self, key: RecordKey) {
        let Self { records, by_subscription, hasher, .. } = self;
        let Some(by) = holder(records, key) else { return };
        match by_subscription.find_entry(hasher.hash_one(by.session), |found| *found == key) {
            Ok(entry) => entry.remove(),
            Err(_) => unheld(key),
        };
        if is_roomy(by_subscription.len(), by_subscription.capacity()) {
            let len = by_subscription.len();
            by_subscription.shrink_to(2 * len, |key| hasher.hash_one(session(records, *key)));
        }
    }

    /// Adds a member, whose first record is to be added at once.
    fn add_member(&mut self, id: &PresenceId, at: Moment) -> u32 {
        let (members, hash) = (&mut self.members, self.hasher.hash_one(id));
        let member = Member {
            id: id.clone(),
            records: List::default(),
            arrived: at.seconds(),
            links: Links::default(),
        };
        let key = key(members.insert(member));
        self.arrival.push_back(members, key);
        let hash_of = |key: &u32| self.hasher.hash_one(&members.live(*key as usize).id);
        self.by_id.insert_unique(hash, key, hash_of);
        key
    }

    fn remove_member(&mut self, key: u32) {
        self.arrival.remove(&mut self.members, key);
        let Member { id, .. } = self.members.take(key as usize);
        match self.by_id.find_entry(self.hasher.hash_one(&id), |found| *found == key) {
            Ok(entry) => entry.remove(),
            Err(_) => missing(key as usize),
        };
        if is_roomy(self.by_id.len(), self.by_id.capacity()) {
            let (members, len) = (&self.members, self.by_id.len());
            let hash_of = |key: &u32| self.hasher.hash_one(&members.live(*key as usize).id);
            self.by_id.shrink_to(2 * len, hash_of);
        }
    }

    /// Builds the change from the member's visible part before and now.
    fn changed(
        &mut self,
        id: PresenceId,
        reference: u64,
        record: RecordChange,
        before: Option<Shown>,
        now: Option<Shown>,
    ) -> PresenceChange {
        let size = |shown: &Option<Shown>| {
            shown.as_ref().map_or(0, |shown| listed_size(&id, &shown.info, &shown.extra))
        };
        self.size = self.size + size(&now) - size(&before);
        let info = now.as_ref().map(|now| now.info.clone());
        let member = match (info, &before) {
            (None, _) => MemberChange::Left,
            (Some(info), None) => MemberChange::Joined { info },
            (Some(_), before) if *before == now => MemberChange::Unchanged,
            (Some(info), Some(_)) => MemberChange::Updated { info },
        };
        if member != MemberChange::Unchanged {
            self.listed.take();
        }
        if member.comes_or_goes() {
            self.listed_ids.take();
        }
        self.listed_records.take();
        let extra = now.or(before).and_then(|shown| shown.extra);
        PresenceChange { id, reference, record, member, extra, members: None }
    }
}
