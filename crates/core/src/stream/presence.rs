//! Who is present in one stream.
//!
//! A *record* is one session's membership; a *member* is all records of one presence id. A
//! member's records stand in the order of their last change, so the last one holds what others
//! see; members stand in the order of their arrival. Every change says what it did to the record
//! and to the member, and applying those to a list taken before gives the list taken after.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::list::{Linked, Links, List};
use super::pages::{Pages, is_roomy};
use crate::shard::deadlines::Deadline;
use crate::shard::input::SubscriberKey;
use crate::types::{
    Extra, IdList, Join, LeaveCause, Listed, Member as ListedMember, MemberChange, MemberList,
    MemberRecords, PresenceChange, PresenceId, RawJson, Record as ListedRecord, RecordChange,
    RecordList,
};

/// A record's place in its set.
pub(crate) type RecordKey = u32;

#[derive(Debug, Default)]
pub(crate) struct PresenceSet {
    records: Pages<Record>,
    members: Pages<Member>,
    by_id: HashTable<u32>,
    hasher: RandomState,
    arrival: List,
    references: u64,
    /// Bytes that a list of all members has.
    size: usize,
    /// Bytes that a list of all records has.
    records_size: usize,
    /// The list as last asked for, until something changes.
    listed: Option<Arc<Listed<MemberList>>>,
    /// The list with all records, likewise.
    listed_records: Option<Arc<RecordList>>,
    /// The list of their ids alone, likewise.
    listed_ids: Option<Arc<Listed<IdList>>>,
}

#[derive(Debug)]
struct Record {
    member: u32,
    reference: u64,
    shown: Shown,
    /// When it goes, once its connection has ended.
    deadline: Option<Deadline>,
    holder: Holder,
    /// Whose it is, where that is kept and `holder` doesn't say it all.
    owner: Option<Box<Owner>>,
    links: Links,
}

/// Who has a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holder {
    /// A session.
    #[default]
    Session,
    /// None: its session has ended and can't come back.
    Orphan,
    /// The application. Of such records there are many, so one that stays needs nothing else.
    Application,
}

/// What others see of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    info: RawJson,
    extra: Extra,
}

/// Whose a record is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// That of the subscription it was made through.
    Subscription(SubscriberKey),
    /// The application's, which is always kept.
    Application {
        /// When it goes, in milliseconds of the Unix epoch; if it does by itself.
        until: Option<u64>,
    },
}

/// The owner of a record of the application's that doesn't go by itself.
static STAYS: Owner = Owner::Application { until: None };

#[derive(Debug)]
struct Member {
    id: PresenceId,
    /// Its records, the one changed last at the end.
    records: List,
    /// At which tick it arrived.
    arrived: u32,
    links: Links,
}

/// What operators see of a member.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) id: &'a PresenceId,
    pub(crate) info: &'a RawJson,
    /// At which tick it arrived.
    pub(crate) arrived: u32,
    pub(crate) records: usize,
    /// When it leaves, if no record has a connection.
    pub(crate) leaves_at: Option<Instant>,
}

impl Record {
    fn owner(&self) -> Option<&Owner> {
        let stays = || (self.holder == Holder::Application).then_some(&STAYS);
        self.owner.as_deref().or_else(stays)
    }

    fn take_owner(&mut self) -> Option<Owner> {
        let owner = self.owner.take().map(|owner| *owner);
        if self.holder != Holder::Application {
            return owner;
        }
        self.holder = Holder::Session;
        owner.or(Some(Owner::Application { until: None }))
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
    /// Nobody is present; records are numbered from `first` on.
    pub(crate) fn numbered_from(first: u64) -> Self {
        Self { references: first, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    /// Whether there is a member of this id.
    pub(crate) fn has(&self, id: &PresenceId) -> bool {
        self.find_member(id).is_some()
    }

    /// Bytes that a list of all members has: their ids, their infos and what is around them.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Bytes that a list of all records has.
    pub(crate) fn records_size(&self) -> usize {
        self.size + self.records_size
    }

    /// Adds a record; the member is new with its first one.
    pub(crate) fn add(&mut self, join: Join) -> (RecordKey, PresenceChange) {
        let Join { id, info, extra } = join;
        let member = self.find_or_add_member(&id);
        let before = self.seen(member).cloned();
        let reference = self.next_reference();
        self.records_size += record_size(&info);
        let shown = Shown { info: info.clone(), extra };
        let record = key(self.records.insert(Record {
            member,
            reference,
            shown: shown.clone(),
            deadline: None,
            holder: Holder::default(),
            owner: None,
            links: Links::default(),
        }));
        if let Some(member) = self.members.get_mut(member as usize) {
            member.records.push_back(&mut self.records, record);
        }
        let change = RecordChange::Added { info };
        (record, self.changed(id, reference, change, before, Some(shown)))
    }

    /// Shows something else of a record; `None` if it is that already.
    pub(crate) fn update(
        &mut self,
        key: RecordKey,
        info: RawJson,
        extra: Extra,
    ) -> Option<PresenceChange> {
        let shown = Shown { info, extra };
        let is_news = self.records.get(key as usize).is_some_and(|record| record.shown != shown);
        if is_news { self.show(key, shown) } else { None }
    }

    /// Shows something of a record, which is then the one of its member that changed last.
    fn show(&mut self, key: RecordKey, shown: Shown) -> Option<PresenceChange> {
        let record = self.records.get(key as usize)?;
        let (member, previous) = (record.member, record.reference);
        let before = self.seen(member)?.clone();
        let reference = self.next_reference();
        let record = self.records.get_mut(key as usize)?;
        record.reference = reference;
        let last = std::mem::replace(&mut record.shown, shown.clone()).info;
        let info = shown.info.clone();
        self.records_size = self.records_size + record_size(&info) - record_size(&last);
        let Member { id, records, .. } = self.members.get_mut(member as usize)?;
        let id = id.clone();
        records.remove(&mut self.records, key);
        records.push_back(&mut self.records, key);
        let record = RecordChange::Updated { info, previous, before: last };
        Some(self.changed(id, reference, record, Some(before), Some(shown)))
    }

    /// Takes a record out; the member goes with its last one.
    pub(crate) fn remove(&mut self, key: RecordKey, cause: LeaveCause) -> Option<PresenceChange> {
        let member = self.records.get(key as usize)?.member;
        let before = self.seen(member)?.clone();
        self.members.get_mut(member as usize)?.records.remove(&mut self.records, key);
        let Record { shown: Shown { info, .. }, reference, .. } =
            self.records.remove(key as usize)?;
        self.records_size -= record_size(&info);
        let id = self.members.get(member as usize)?.id.clone();
        let now = self.seen(member).cloned();
        if now.is_none() {
            self.remove_member(member);
        }
        let record = RecordChange::Removed { info, cause };
        Some(self.changed(id, reference, record, Some(before), now))
    }

    /// Notes that a record's session has ended and can't come back.
    pub(crate) fn orphan(&mut self, key: RecordKey) {
        if let Some(record) = self.records.get_mut(key as usize) {
            record.holder = Holder::Orphan;
        }
    }

    /// Takes up a member's record whose session has ended and can't come back, if there is one: the
    /// one changed last. What others see then is what they would see of a new record.
    pub(crate) fn adopt(&mut self, join: &Join) -> Option<(RecordKey, Option<PresenceChange>)> {
        let is_orphan = |key: &RecordKey| {
            self.records.get(*key as usize).is_some_and(|record| record.holder == Holder::Orphan)
        };
        let key = self.records_of(&join.id).filter(is_orphan).last()?;
        let is_last = self.records_of(&join.id).last() == Some(key);
        let record = self.records.get_mut(key as usize)?;
        record.holder = Holder::Session;
        let shown = Shown { info: join.info.clone(), extra: join.extra.clone() };
        let is_news = !is_last || record.shown != shown;
        Some((key, if is_news { self.show(key, shown) } else { None }))
    }

    /// The application's record of a presence id.
    pub(crate) fn applications(&self, id: &PresenceId) -> Option<RecordKey> {
        let is_its = |key: &RecordKey| {
            let record = self.records.get(*key as usize);
            record.is_some_and(|record| record.holder == Holder::Application)
        };
        self.records_of(id).find(is_its)
    }

    /// The application's records that go by themselves, each with when, in milliseconds of the Unix
    /// epoch.
    pub(crate) fn applications_until(&self) -> Vec<(RecordKey, u64)> {
        let until = |(index, record): (usize, &Record)| match record.owner() {
            Some(Owner::Application { until: Some(until) }) => Some((key(index), *until)),
            Some(_) | None => None,
        };
        self.records.iter().filter_map(until).collect()
    }

    /// A member's records, the one changed last at the end.
    pub(crate) fn records_of(&self, id: &PresenceId) -> impl Iterator<Item = RecordKey> {
        let member = self.find_member(id).and_then(|key| self.members.get(key as usize));
        member.into_iter().flat_map(|member| member.records.keys(&self.records))
    }

    /// The presence id a record was made with.
    pub(crate) fn id_of(&self, key: RecordKey) -> Option<&PresenceId> {
        let member = self.records.get(key as usize)?.member;
        self.members.get(member as usize).map(|member| &member.id)
    }

    /// The number of a record's last change.
    pub(crate) fn reference_of(&self, key: RecordKey) -> Option<u64> {
        self.records.get(key as usize).map(|record| record.reference)
    }

    /// Notes when a member arrived.
    pub(crate) fn arrived(&mut self, id: &PresenceId, tick: u32) {
        let member = self.find_member(id).and_then(|key| self.members.get_mut(key as usize));
        if let Some(member) = member {
            member.arrived = tick;
        }
    }

    /// The members in order of arrival, as operators see them.
    pub(crate) fn seen_by_operators(&self) -> impl Iterator<Item = Seen<'_>> {
        self.arrival.iter(&self.members).filter_map(|member| {
            let last = self.records.get(member.records.last()? as usize)?;
            let (mut records, mut leaves_at, mut stays) = (0, None, false);
            for record in member.records.iter(&self.records) {
                records += 1;
                stays |= record.deadline.is_none();
                leaves_at = leaves_at.max(record.deadline.map(|(at, _)| at));
            }
            Some(Seen {
                id: &member.id,
                info: &last.shown.info,
                arrived: member.arrived,
                records,
                leaves_at: leaves_at.filter(|_| !stays),
            })
        })
    }

    /// What others see of a member, and what the application says of it.
    pub(crate) fn shown_of(&self, id: &PresenceId) -> Option<(&RawJson, &Extra)> {
        self.seen(self.find_member(id)?).map(|shown| (&shown.info, &shown.extra))
    }

    /// A join with what the application says, or has said of this member before.
    pub(crate) fn with_extra(&self, join: Join) -> Join {
        let before = || self.shown_of(&join.id).and_then(|(_, extra)| extra.clone());
        let extra = join.extra.or_else(before);
        Join { extra, ..join }
    }

    /// Notes whose a record is; says whose it was, where that was kept.
    pub(crate) fn set_owner(&mut self, key: RecordKey, owner: Owner) -> Option<Owner> {
        let record = self.records.get_mut(key as usize)?;
        let before = record.take_owner();
        if let Owner::Application { .. } = owner {
            record.holder = Holder::Application;
        }
        record.owner = (owner != STAYS).then(|| Box::new(owner));
        before
    }

    /// Whose a record was, which is about to go.
    pub(crate) fn take_owner(&mut self, key: RecordKey) -> Option<Owner> {
        self.records.get_mut(key as usize)?.take_owner()
    }

    /// The records in an order in which adding them anew gives the same set, each with its owner.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&Owner, Join)> {
        self.arrival.iter(&self.members).flat_map(|member| {
            member.records.iter(&self.records).filter_map(|record| {
                let Shown { info, extra } = record.shown.clone();
                Some((record.owner()?, Join { id: member.id.clone(), info, extra }))
            })
        })
    }

    /// When a record goes, if its connection has ended.
    pub(crate) fn deadline_mut(&mut self, key: RecordKey) -> Option<&mut Option<Deadline>> {
        self.records.get_mut(key as usize).map(|record| &mut record.deadline)
    }

    /// The members in order of arrival, shared by everyone who asks before the next change.
    pub(crate) fn list(&mut self) -> Arc<Listed<MemberList>> {
        if let Some(listed) = &self.listed {
            return Arc::clone(listed);
        }
        let list = self.arrival.iter(&self.members).filter_map(|member| {
            let record = self.records.get(member.records.last()? as usize)?;
            let Shown { info, extra } = record.shown.clone();
            Some(ListedMember { id: member.id.clone(), info, extra })
        });
        let list = Arc::new(Listed::new(list.collect()));
        self.listed = Some(Arc::clone(&list));
        list
    }

    /// The members' ids in order of arrival, shared likewise.
    fn list_ids(&mut self) -> Arc<Listed<IdList>> {
        if let Some(listed) = &self.listed_ids {
            return Arc::clone(listed);
        }
        let list = self.arrival.iter(&self.members).map(|member| member.id.clone());
        let list = Arc::new(Listed::new(list.collect()));
        self.listed_ids = Some(Arc::clone(&list));
        list
    }

    /// The same, unless a list of all members has more than `most` bytes.
    pub(crate) fn repeated(&mut self, most: usize) -> Option<Arc<Listed<IdList>>> {
        (self.size <= most).then(|| self.list_ids())
    }

    /// A member with its records.
    pub(crate) fn member(&self, id: &PresenceId) -> Option<MemberRecords> {
        let member = self.members.get(self.find_member(id)? as usize)?;
        Some(self.with_records(member))
    }

    /// The members in order of arrival with their records, shared likewise.
    pub(crate) fn list_records(&mut self) -> Arc<RecordList> {
        if let Some(listed) = &self.listed_records {
            return Arc::clone(listed);
        }
        let list = self.arrival.iter(&self.members).map(|member| self.with_records(member));
        let list = Arc::new(list.collect::<RecordList>());
        self.listed_records = Some(Arc::clone(&list));
        list
    }

    fn with_records(&self, member: &Member) -> MemberRecords {
        let listed = |record: &Record| ListedRecord {
            reference: record.reference,
            info: record.shown.info.clone(),
        };
        let records = member.records.iter(&self.records).map(listed).collect();
        let last = member.records.last().and_then(|last| self.records.get(last as usize));
        let extra = last.and_then(|last| last.shown.extra.clone());
        MemberRecords { id: member.id.clone(), records, extra }
    }

    /// What others see of a member: what is shown of the record that changed last.
    fn seen(&self, member: u32) -> Option<&Shown> {
        let record = self.members.get(member as usize)?.records.last()?;
        self.records.get(record as usize).map(|record| &record.shown)
    }

    fn next_reference(&mut self) -> u64 {
        self.references += 1;
        self.references
    }

    fn find_member(&self, id: &PresenceId) -> Option<u32> {
        let member = |key: &u32| self.members.get(*key as usize);
        let same = |key: &u32| member(key).is_some_and(|member| member.id == *id);
        self.by_id.find(self.hasher.hash_one(id), same).copied()
    }

    fn find_or_add_member(&mut self, id: &PresenceId) -> u32 {
        if let Some(found) = self.find_member(id) {
            return found;
        }
        let (members, hash) = (&mut self.members, self.hasher.hash_one(id));
        let member = Member {
            id: id.clone(),
            records: List::default(),
            arrived: 0,
            links: Links::default(),
        };
        let key = key(members.insert(member));
        self.arrival.push_back(members, key);
        self.by_id.insert_unique(hash, key, |key| {
            members.get(*key as usize).map_or(0, |member| self.hasher.hash_one(&member.id))
        });
        key
    }

    fn remove_member(&mut self, key: u32) {
        self.arrival.remove(&mut self.members, key);
        let Some(member) = self.members.remove(key as usize) else { return };
        let hash = self.hasher.hash_one(&member.id);
        if let Ok(entry) = self.by_id.find_entry(hash, |found| *found == key) {
            entry.remove();
        }
        if is_roomy(self.by_id.len(), self.by_id.capacity()) {
            let (members, len) = (&self.members, self.by_id.len());
            self.by_id.shrink_to(2 * len, |key| {
                members.get(*key as usize).map_or(0, |member| self.hasher.hash_one(&member.id))
            });
        }
    }

    /// Says what changed, of what others saw of the member to what they see now.
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
            self.listed = None;
        }
        if member.comes_or_goes() {
            self.listed_ids = None;
        }
        self.listed_records = None;
        let extra = now.or(before).and_then(|shown| shown.extra);
        PresenceChange { id, reference, record, member, extra, members: None }
    }
}

/// Bytes of a member in a list: `{"id":"…","info":…,"data":…},` in the one protocol there is.
fn listed_size(id: &PresenceId, info: &RawJson, extra: &Extra) -> usize {
    let extra = extra.as_ref().map_or(0, |extra| extra.as_str().len() + 8);
    id.as_str().len() + info.as_str().len() + 18 + extra
}

/// Bytes of a record in a list: `{"phx_ref":"…",…},` in the one protocol that has such lists.
fn record_size(info: &RawJson) -> usize {
    info.as_str().len() + 32
}

/// A number of [`Pages`] in four bytes: a stream with four billion records doesn't fit in memory.
fn key(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(id: &str, info: &str) -> Join {
        Join { id: id.into(), info: info.into(), extra: None }
    }

    fn member_of(change: &PresenceChange) -> &MemberChange {
        &change.member
    }

    #[test]
    fn the_record_changed_last_is_what_others_see() {
        let mut set = PresenceSet::default();
        let (phone, change) = set.add(join("ann", "1"));
        assert_eq!(member_of(&change), &MemberChange::Joined { info: "1".into() });
        let (laptop, change) = set.add(join("ann", "2"));
        assert_eq!(member_of(&change), &MemberChange::Updated { info: "2".into() });
        let change = set.update(phone, "3".into(), None).unwrap();
        assert_eq!(member_of(&change), &MemberChange::Updated { info: "3".into() });
        let change = set.remove(phone, LeaveCause::Left).unwrap();
        assert_eq!(member_of(&change), &MemberChange::Updated { info: "2".into() });
        let change = set.remove(laptop, LeaveCause::Left).unwrap();
        assert_eq!(member_of(&change), &MemberChange::Left);
        assert!(set.is_empty() && set.list().is_empty());
        assert_eq!(set.size(), 0);
    }

    #[test]
    fn the_same_info_again_changes_nothing() {
        let mut set = PresenceSet::default();
        let (first, _) = set.add(join("ann", "1"));
        let (_, change) = set.add(join("ann", "1"));
        assert_eq!(member_of(&change), &MemberChange::Unchanged);
        assert_eq!(set.update(first, "1".into(), None), None);
        let change = set.remove(first, LeaveCause::Expired).unwrap();
        assert_eq!(member_of(&change), &MemberChange::Unchanged);
    }

    #[test]
    fn what_the_application_says_is_shown_with_the_info() {
        let mut set = PresenceSet::default();
        let said = |text: &str| Some(Box::new(RawJson::from(text)));
        let known = set.with_extra(join("ann", "1"));
        assert_eq!(known.extra, None);
        let (first, change) = set.add(Join { extra: said("{}"), ..known });
        assert_eq!(change.extra, said("{}"));
        let size = set.size();
        let known = set.with_extra(join("ann", "1"));
        assert_eq!(known.extra, said("{}"), "an answer that doesn't come takes nothing away");
        let (second, change) = set.add(known);
        assert_eq!(member_of(&change), &MemberChange::Unchanged);
        let change = set.update(second, "1".into(), said("{\"a\":1}")).unwrap();
        assert_eq!(member_of(&change), &MemberChange::Updated { info: "1".into() });
        assert_eq!(change.extra, said("{\"a\":1}"));
        assert_eq!(set.list()[0].extra, change.extra);
        assert_eq!(set.list_records()[0].extra, change.extra);
        assert_eq!(set.size(), size + 5);
        assert_eq!(set.update(second, "1".into(), said("{\"a\":1}")), None);
        let change = set.remove(second, LeaveCause::Left).unwrap();
        assert_eq!(member_of(&change), &MemberChange::Updated { info: "1".into() });
        assert_eq!(change.extra, said("{}"));
        assert_eq!(set.size(), size);
        let change = set.remove(first, LeaveCause::Left).unwrap();
        assert_eq!(change.extra, said("{}"), "the last");
        assert_eq!(set.size(), 0);
    }

    #[test]
    fn members_are_listed_in_order_of_arrival() {
        let mut set = PresenceSet::default();
        let (ann, _) = set.add(join("ann", "1"));
        set.add(join("bob", "1"));
        set.add(join("cem", "1"));
        set.update(ann, "2".into(), None);
        let names = |set: &mut PresenceSet| -> Vec<String> {
            set.list().iter().map(|member| member.id.to_string()).collect()
        };
        assert_eq!(names(&mut set), ["ann", "bob", "cem"]);
        set.remove(ann, LeaveCause::Left);
        set.add(join("ann", "3"));
        assert_eq!(names(&mut set), ["bob", "cem", "ann"]);
    }

    #[test]
    fn an_unchanged_list_is_shared() {
        let mut set = PresenceSet::default();
        set.add(join("ann", "1"));
        assert!(Arc::ptr_eq(&set.list(), &set.list()));
    }
}
