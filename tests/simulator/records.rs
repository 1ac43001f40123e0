//! Why records come to their end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::cluster::{Batch, Item};
use broker::log::{Change, Entry, ExpiryReason, NodeId, Owner, Position};
use broker::types::{PresenceId, SessionId};

use crate::engine::POSITION_BITS;
use crate::world::{STREAMS, World, stream};

pub(crate) type Records = BTreeMap<Key, Record>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) of: usize,
    id: String,
    holder: Holder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Session(u128),
    /// By the position of the record's last change.
    Orphan(u64),
    Application,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    position: Position,
    reason: Option<ExpiryReason>,
}

impl Key {
    /// Whether the connection of its record has ended, and its session can't be resumed.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.holder, Holder::Orphan(_))
    }
}

/// The records in a snapshot.
pub(crate) fn records_of(entries: Vec<Entry>) -> Records {
    let records = entries.into_iter().filter_map(|entry| {
        let Entry { position, stream: name, change, .. } = entry;
        let Change::Record { owner, id, .. } = change else { return None };
        let (holder, reason) = match owner {
            Owner::Subscription { by, ended } => {
                (Holder::Session(by.session.to_bits()), ended.map(ExpiryReason::Ended))
            }
            Owner::Orphan { ended } => {
                (Holder::Orphan(position.0), Some(ExpiryReason::Ended(ended)))
            }
            Owner::Application { until } => (Holder::Application, until.map(ExpiryReason::Until)),
        };
        let of = (0..STREAMS).find(|of| stream(*of) == name)?;
        let key = Key { of, id: id.as_str().to_owned(), holder };
        Some((key, Record { position, reason }))
    });
    records.collect()
}

impl World {
    /// Each record that is no longer there, or whose connection has ended, is so for a reason in the batch.
    pub(crate) fn check_records(&self, at: usize) {
        let none = Records::new();
        let before = at.checked_sub(2).map_or(&none, |before| &self.order.after[before].records);
        let after = &self.order.after[at - 1].records;
        for (key, record) in before {
            let now = after.get(key);
            let has_ended = now.is_none_or(|now| now.reason.is_some());
            if now.is_some() && !(has_ended && record.reason.is_none()) {
                continue;
            }
            let appended = &self.engine.log[at - 1];
            let batch = appended.batch.as_ref().filter(|_| self.order.after[at - 1].result.is_ok());
            let items = batch.into_iter().flat_map(|batch| batch.items.iter());
            let adopts = |item: &Item| {
                let Item::Change(proposal) = item else { return false };
                matches!(&proposal.change, Change::Joined { id, .. } | Change::Kicked { id } if id.as_str() == key.id)
            };
            let is_why = |item: &Item| {
                if now.is_some() {
                    self.ends(key, item)
                } else {
                    {
                        let is_orphan = || {
                            let holder = Holder::Orphan(record.position.0);
                            after.contains_key(&Key { holder, ..key.clone() })
                        };
                        self.removes(key, record, item, batch)
                            || self.ends(key, item) && (is_orphan() || items.clone().any(adopts))
                    }
                }
            };
            let is_explained =
                key.holder == Holder::Application && now.is_some() || items.clone().any(is_why);
            assert!(is_explained, "{key:?} {record:?} {now:?}: {appended:#?}");
        }
    }

    /// Whether an item says that the connection has ended that has a record; and it has.
    fn ends(&self, key: &Key, item: &Item) -> bool {
        let Holder::Session(session) = key.holder else { return false };
        let session = SessionId::from_bits(session);
        let Item::Change(proposal) = item else {
            return matches!(item, Item::Gone { node, .. } if node.has(session));
        };
        match &proposal.change {
            Change::Ended { by, .. } if by.session == session => {
                let client = self.clients.iter().find(|client| client.session == session);
                let is_connected =
                    client.is_some_and(|it| it.is_subscribed[key.of] && it.outdated[key.of] == 0);
                assert!(!is_connected, "{session:?} is connected: {key:?}");
                true
            }
            Change::Lapsed { by, .. } => by.session == session,
            _ => false,
        }
    }

    /// Whether an item removes a record, or gives it to somebody.
    fn removes(&self, key: &Key, record: &Record, item: &Item, batch: Option<&Batch>) -> bool {
        let Item::Change(proposal) = item else { return false };
        let Some(batch) = batch else { return false };
        if proposal.stream != stream(key.of) {
            return false;
        }
        let is_id = |id: &PresenceId| id.as_str() == key.id;
        let is_holder = |session: SessionId| key.holder == Holder::Session(session.to_bits());
        match &proposal.change {
            Change::Left { by, .. } | Change::Unsubscribed { by } => is_holder(by.session),
            Change::Resumed { from, .. } => is_holder(from.session),
            Change::Kicked { id } => is_id(id),
            Change::Joined { id, .. } => is_id(id) && matches!(key.holder, Holder::Orphan(_)),
            Change::Expired { id, record: position, reason } => {
                let expires =
                    is_id(id) && (*position, Some(*reason)) == (record.position, record.reason);
                if expires && let ExpiryReason::Ended(ended) = reason {
                    self.check_ttl(batch.node, *ended);
                }
                expires
            }
            _ => false,
        }
    }

    /// A node says that a TTL is over which began at a position. So much time has passed for it, pauses and silence left
    /// out.
    fn check_ttl(&self, by: NodeId, ended: Position) {
        let place = usize::try_from(ended.0 >> POSITION_BITS).unwrap() - 1;
        let item = usize::try_from(ended.0 & ((1 << POSITION_BITS) - 1)).unwrap();
        let begin = &self.engine.log[place];
        let (noticed, ttl): (Instant, Duration) = match &begin.batch.as_ref().unwrap().items[item] {
            Item::Gone { ttl, .. } => (begin.when, *ttl),
            Item::Change(proposal) => {
                let Change::Ended { by, ttl, .. } = &proposal.change else {
                    panic!("nothing ends there: {begin:#?}")
                };
                (self.over.get(&by.session).copied().unwrap_or(begin.when), *ttl)
            }
            item => panic!("nothing ends there: {item:?}"),
        };
        let passed = self.now.duration_since(noticed);
        assert!(passed >= ttl, "{passed:?} after the end at {ended:?}");
        if let Some(node) = self.nodes.iter().find(|node| node.id == by) {
            let counted = node.counted_since(noticed);
            assert!(counted >= ttl, "only {counted:?} of {passed:?} count for {by}");
        }
    }
}
