//! The presence set: records and members of one stream.
//!
//! A *record* is the membership of one subscription, or one put by the application. A *member* is all records
//! of one presence id. A member's records are in the order of their last change; the last one has the info
//! that others see. Members are in order of arrival. A change says what happened to the record and to the
//! member; applied to a list from before, it gives the list from after.

mod change;

use std::cell::{Cell, OnceCell};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::log::{ExpiryReason, LogId, Owner, Position, Subscription};
use crate::stream::digest::{Sum, mix, of_subscription};
use crate::stream::list::{Linked, Links, List};
use crate::stream::pages::Pages;
use crate::types::{
    CachedList, Extra, IdList, Join, Member as ListedMember, MemberList, MemberRecords, PresenceId,
    RawJson, Record as ListedRecord, RecordList, SessionId,
};

/// Index of a record in its set.
pub(crate) type RecordKey = u32;

/// The records and members of a stream.
#[derive(Debug, Default)]
pub(crate) struct PresenceSet {
    records: Pages<Record>,
    members: Pages<Member>,
    by_id: HashTable<u32>,
    /// Records held by subscriptions, by session; a session has few.
    by_subscription: HashTable<RecordKey>,
    hasher: RandomState,
    /// The record whose expiry was requested last: most likely the next one to expire.
    expiring: Cell<RecordKey>,
    arrival: List,
    /// Digest of all records.
    digest: Sum,
    /// Size of a list of all members, in bytes.
    size: usize,
    /// Additional size of a list of all records, in bytes.
    records_size: usize,
    /// The last built list of members, until the next change.
    listed: OnceCell<Arc<CachedList<MemberList>>>,
    /// The same with all records.
    listed_records: OnceCell<Arc<RecordList>>,
    /// The same with ids only.
    listed_ids: OnceCell<Arc<CachedList<IdList>>>,
}

#[derive(Debug)]
struct Record {
    member: u32,
    links: Links,
    /// Position of its last change, from which its reference derives.
    position: Position,
    shown: Shown,
    holder: Holder,
}

/// Owner of a record, and its expiry.
#[derive(Debug)]
enum Holder {
    /// A subscription, with the position at which its connection ended; 0 while it is connected.
    Subscription(Subscription, Position),
    /// Nobody: the connection ended at that position, and its session can't be resumed.
    Orphan(Position),
    /// The application, with the expiry in milliseconds of the Unix epoch; 0 for none.
    Application(u64),
}

/// The visible part of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    info: RawJson,
    extra: Extra,
}

#[derive(Debug)]
struct Member {
    id: PresenceId,
    /// Its records, by their last change.
    records: List,
    /// Time of its arrival, in seconds of the Unix epoch.
    arrived: u32,
    links: Links,
}

/// A member as operators see it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) id: &'a PresenceId,
    pub(crate) info: &'a RawJson,
    /// Time of its arrival, in seconds of the Unix epoch.
    pub(crate) arrived: u32,
    /// Its records, by their last change.
    pub(crate) records: Vec<RecordKey>,
}

/// The entry that makes a change.
#[derive(Clone, Copy, Debug)]
pub(in crate::stream) struct Moment {
    pub(in crate::stream) log: LogId,
    pub(in crate::stream) position: Position,
    /// Its time, in milliseconds of the Unix epoch.
    pub(in crate::stream) unix: u64,
}

/// Origin of the record of a join or put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// It is new.
    Added,
    /// It was an orphan.
    Adopted,
    /// It was held before.
    Kept,
}

impl Moment {
    /// A number that names the entry.
    const fn name(self) -> u64 {
        self.log.name(self.position)
    }

    fn seconds(self) -> u32 {
        u32::try_from(self.unix / 1000).unwrap_or(u32::MAX) // in the year 2106
    }
}

impl Record {
    /// Digest of the record's replicated state. Its id, info and data aren't in it: the position names the
    /// entry that set them.
    fn digest(&self) -> u64 {
        let (kind, time) = match &self.holder {
            Holder::Subscription(by, ended) => (of_subscription(by), ended.0),
            Holder::Orphan(ended) => (1, ended.0),
            Holder::Application(until) => (2, *until),
        };
        mix(mix(self.position.0, time), kind)
    }

    const fn expiry_reason(&self) -> Option<ExpiryReason> {
        match &self.holder {
            Holder::Subscription(_, Position(0)) | Holder::Application(0) => None,
            Holder::Subscription(_, ended) | Holder::Orphan(ended) => {
                Some(ExpiryReason::Ended(*ended))
            }
            Holder::Application(until) => Some(ExpiryReason::Until(*until)),
        }
    }

    fn is_held_by(&self, by: &Subscription) -> bool {
        matches!(&self.holder, Holder::Subscription(holder, _) if holder == by)
    }
}

impl Linked for Record {
    fn links(&self) -> &Links {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Linked for Member {
    fn links(&self) -> &Links {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl PresenceSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// All records.
    pub(crate) fn keys(&self) -> impl Iterator<Item = RecordKey> {
        self.records.iter().map(|(number, _)| key(number))
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Digest of the records: of their positions, owners and expiries.
    pub(in crate::stream) fn digest(&self) -> Sum {
        self.digest
    }

    /// Whether a presence id is present.
    pub(crate) fn has(&self, id: &PresenceId) -> bool {
        self.find_member(id).is_some()
    }

    /// Size of a list of all members, in bytes: ids, infos and syntax.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Size of a list of all records, in bytes.
    pub(crate) fn records_size(&self) -> usize {
        self.size + self.records_size
    }

    /// The record that a subscription holds.
    pub(crate) fn held_by(&self, by: &Subscription) -> Option<RecordKey> {
        if self.by_subscription.is_empty() {
            return None;
        }
        let is_its = |key: &RecordKey| self.records.live(*key as usize).is_held_by(by);
        self.by_subscription.find(self.hasher.hash_one(by.session), is_its).copied()
    }

    /// The application's record of a presence id.
    pub(crate) fn put_as(&self, id: &PresenceId) -> Option<RecordKey> {
        let is_its = |key: &RecordKey| {
            matches!(self.records.live(*key as usize).holder, Holder::Application(_))
        };
        self.records_of(id).find(is_its)
    }

    /// A member's records, by their last change.
    pub(crate) fn records_of(&self, id: &PresenceId) -> impl Iterator<Item = RecordKey> {
        let member = self.find_member(id).map(|key| self.members.live(key as usize));
        member.into_iter().flat_map(|member| member.records.keys(&self.records))
    }

    /// The subscription that holds a record.
    pub(in crate::stream) fn holder_of(&self, key: RecordKey) -> Option<&Subscription> {
        holder(&self.records, key)
    }

    /// The presence id of a record.
    pub(crate) fn id_of(&self, key: RecordKey) -> &PresenceId {
        &self.members.live(self.records.live(key as usize).member as usize).id
    }

    /// Reason of a record's expiry, if it expires.
    pub(crate) fn expiry_reason_of(&self, key: RecordKey) -> Option<ExpiryReason> {
        self.records.live(key as usize).expiry_reason()
    }

    /// Of a record that expires: the presence id, the position of its last change, and the reason.
    pub(crate) fn expiry_of(
        &self,
        key: RecordKey,
    ) -> Option<(&PresenceId, Position, ExpiryReason)> {
        let record = self.records.get(key as usize)?;
        let member = self.members.live(record.member as usize);
        self.expiring.set(key);
        Some((&member.id, record.position, record.expiry_reason()?))
    }

    /// The record of a member with this last change and this reason of expiry.
    pub(in crate::stream) fn expiring(
        &self,
        id: &PresenceId,
        at: Position,
        reason: ExpiryReason,
    ) -> Option<RecordKey> {
        let is_it =
            |record: &Record| record.position == at && record.expiry_reason() == Some(reason);
        let guess = self.expiring.get();
        if self.records.get(guess as usize).is_some_and(is_it) && self.id_of(guess) == id {
            return Some(guess);
        }
        let member = self.members.live(self.find_member(id)? as usize);
        member.records.find(&self.records, is_it)
    }

    /// The members in order of arrival, as operators see them.
    pub(crate) fn seen_by_operators(&self) -> impl Iterator<Item = Seen<'_>> {
        self.arrival.iter(&self.members).map(|member| {
            let records = member.records.keys(&self.records).collect();
            let (id, info, arrived) = (&member.id, &self.newest(member).shown.info, member.arrived);
            Seen { id, info, arrived, records }
        })
    }

    /// A member's visible info, and the application's data.
    pub(crate) fn shown_of(&self, id: &PresenceId) -> Option<(&RawJson, &Extra)> {
        let Shown { info, extra } = self.seen(self.find_member(id)?);
        Some((info, extra))
    }

    /// The records in an order from which the set can be rebuilt: position, time of the member's arrival in
    /// milliseconds of the Unix epoch, owner, and content.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Position, u64, Owner, Join)> {
        self.arrival.iter(&self.members).flat_map(|member| {
            member.records.iter(&self.records).map(|record| {
                let owner = match &record.holder {
                    Holder::Subscription(by, ended) => {
                        let ended = Some(*ended).filter(|ended| ended.0 > 0);
                        Owner::Subscription { by: by.clone(), ended }
                    }
                    Holder::Orphan(ended) => Owner::Orphan { ended: *ended },
                    Holder::Application(until) => {
                        Owner::Application { until: Some(*until).filter(|until| *until > 0) }
                    }
                };
                let Shown { info, extra } = record.shown.clone();
                let arrived = u64::from(member.arrived) * 1000;
                (record.position, arrived, owner, Join { id: member.id.clone(), info, extra })
            })
        })
    }

    /// What a record shows.
    pub(crate) fn join_of(&self, key: RecordKey) -> Join {
        let Shown { info, extra } = self.records.live(key as usize).shown.clone();
        Join { id: self.id_of(key).clone(), info, extra }
    }

    /// The members in order of arrival. The list is shared until the next change.
    pub(crate) fn list(&self) -> Arc<CachedList<MemberList>> {
        let list = self.listed.get_or_init(|| {
            let list = self.arrival.iter(&self.members).map(|member| {
                let Shown { info, extra } = self.newest(member).shown.clone();
                ListedMember { id: member.id.clone(), info, extra }
            });
            Arc::new(CachedList::new(list.collect()))
        });
        Arc::clone(list)
    }

    /// The members' ids in order of arrival, shared likewise. `None` if a list of all members has more than
    /// `max` bytes.
    pub(crate) fn repeated(&self, max: usize) -> Option<Arc<CachedList<IdList>>> {
        let list = || {
            let ids = self.arrival.iter(&self.members).map(|member| member.id.clone());
            Arc::new(CachedList::new(ids.collect()))
        };
        (self.size <= max).then(|| Arc::clone(self.listed_ids.get_or_init(list)))
    }

    /// A member with its records.
    pub(crate) fn member(&self, id: &PresenceId, log: LogId) -> Option<MemberRecords> {
        let member = self.members.live(self.find_member(id)? as usize);
        Some(self.with_records(member, log))
    }

    /// The members in order of arrival with their records, shared likewise.
    pub(crate) fn list_records(&self, log: LogId) -> Arc<RecordList> {
        let list = self.listed_records.get_or_init(|| {
            let list = self.arrival.iter(&self.members);
            Arc::new(list.map(|member| self.with_records(member, log)).collect::<RecordList>())
        });
        Arc::clone(list)
    }

    fn with_records(&self, member: &Member, log: LogId) -> MemberRecords {
        let listed = |record: &Record| ListedRecord {
            reference: log.name(record.position),
            info: record.shown.info.clone(),
        };
        let records = member.records.iter(&self.records).map(listed).collect();
        let extra = self.newest(member).shown.extra.clone();
        MemberRecords { id: member.id.clone(), records, extra }
    }

    /// The visible part of a member: that of the record changed last.
    fn seen(&self, member: u32) -> &Shown {
        &self.newest(self.members.live(member as usize)).shown
    }

    /// The record of a member that was changed last; a member has at least one.
    fn newest(&self, member: &Member) -> &Record {
        match member.records.last() {
            Some(last) => self.records.live(last as usize),
            None => without_records(&member.id),
        }
    }

    fn find_member(&self, id: &PresenceId) -> Option<u32> {
        let same = |key: &u32| self.members.live(*key as usize).id == *id;
        self.by_id.find(self.hasher.hash_one(id), same).copied()
    }

    /// A join with the application's data, by default the member's previous data.
    fn with_extra(&self, join: Join, member: Option<u32>) -> Join {
        let before = || self.seen(member?).extra.clone();
        let extra = join.extra.or_else(before);
        Join { extra, ..join }
    }
}
/// The subscription that holds a record.
fn holder(records: &Pages<Record>, key: RecordKey) -> Option<&Subscription> {
    match &records.live(key as usize).holder {
        Holder::Subscription(by, _) => Some(by),
        Holder::Orphan(_) | Holder::Application(_) => None,
    }
}

/// The session that holds a record which a subscription holds.
fn session(records: &Pages<Record>, key: RecordKey) -> SessionId {
    match holder(records, key) {
        Some(by) => by.session,
        None => unheld(key),
    }
}

#[cold]
#[expect(clippy::panic, reason = "it would be a fault of the set, whose state is wrong then")]
fn unheld(key: RecordKey) -> ! {
    panic!("no subscription holds record {key}")
}

#[cold]
#[expect(clippy::panic, reason = "it would be a fault of the set, whose state is wrong then")]
fn without_records(id: &PresenceId) -> ! {
    panic!("{id} is a member without records")
}

/// Size of a member in a list, in bytes: `{"id":"…","info":…,"data":…},` in Action Cable.
fn listed_size(id: &PresenceId, info: &RawJson, extra: &Extra) -> usize {
    let extra = extra.as_ref().map_or(0, |extra| extra.as_str().len() + 8);
    id.as_str().len() + info.as_str().len() + 18 + extra
}

/// Size of a record in a list, in bytes: `{"phx_ref":"…",…},` in Phoenix.
fn record_size(info: &RawJson) -> usize {
    info.as_str().len() + 32
}

/// An index of [`Pages`] in four bytes: four billion records of a stream wouldn't fit in memory.
fn key(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
