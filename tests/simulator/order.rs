//! The one order: what is so after each batch of the log, as the first node to read it has it. What all others have, and
//! what clients are told, is compared with that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use broker::cluster::{Item, Refused};
use broker::log::{Change, NodeId};
use broker::types::{
    CachedList, Epoch, Extra, MemberChange, MemberList, Offset, PresenceId, Publication,
};

use crate::records::{Records, records_of};
use crate::replay::apply;
use crate::rules::Rules;
use crate::world::{SETTINGS, STREAMS, World, stream};

#[derive(Debug, Default)]
pub(crate) struct Order {
    /// After each batch.
    pub(crate) after: Vec<After>,
    /// The member events of each stream.
    pub(crate) events: [Vec<Event>; STREAMS],
    pub(crate) rules: Rules,
    /// What was published, by its text: how many batches lead to it.
    published: BTreeMap<String, usize>,
    /// What anybody was shown at a place of a history. It stays, whatever the engine loses.
    shown: HashMap<(usize, Epoch, Offset), String>,
}

/// What is so after a batch.
#[derive(Debug)]
pub(crate) struct After {
    /// The state's digest, the time of what was forgotten last, and the rules in force.
    pub(crate) digest: [u64; 3],
    pub(crate) result: Result<(), Refused>,
    pub(crate) members: Vec<NodeId>,
    lists: [Arc<CachedList<MemberList>>; STREAMS],
    pub(crate) records: Records,
    /// How many events there are up to here.
    events: [usize; STREAMS],
}

/// A member event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: PresenceId,
    pub(crate) change: MemberChange,
    extra: Extra,
    /// The members behind it.
    pub(crate) list: MemberList,
}

impl Event {
    pub(crate) fn is(&self, id: &PresenceId, change: &MemberChange, extra: &Extra) -> bool {
        (&self.id, &self.change, &self.extra) == (id, change, extra)
    }
}

impl Order {
    /// Number of events of a stream in the first batches.
    pub(crate) fn events_before(&self, of: usize, batches: usize) -> usize {
        batches.checked_sub(1).map_or(0, |last| self.after[last].events[of])
    }

    /// The members of a stream behind a number of events.
    pub(crate) fn list(&self, of: usize, events: usize) -> &[broker::types::Member] {
        events.checked_sub(1).map_or(&[], |last| &self.events[of][last].list)
    }

    /// Somebody was shown a publication: at its place, nobody is ever shown another one.
    pub(crate) fn show(&mut self, of: usize, publication: &Publication) {
        let Some(position) = publication.position.clone() else { return };
        let text = publication.data.as_str();
        let place = (of, position.epoch, position.offset);
        let shown = self.shown.entry(place.clone()).or_insert_with(|| text.to_owned());
        assert_eq!(shown, text, "both are at {place:?}");
    }

    /// Whether something published is in the log, and applied by who has read so far.
    pub(crate) fn is_published(&self, text: &str, read: usize) -> bool {
        self.published.get(text).is_some_and(|at| *at <= read)
    }

    /// The engine has lost all behind the first batches.
    pub(crate) fn truncate(&mut self, log: &[crate::engine::Appended]) {
        let batches = log.len();
        self.after.truncate(batches);
        for of in 0..STREAMS {
            let events = self.events_before(of, self.after.len());
            self.events[of].truncate(events);
        }
        self.published.retain(|_, at| *at <= batches);
        self.rules = Rules::default();
        let mut before: &[NodeId] = &[];
        for (appended, after) in log.iter().zip(&self.after) {
            self.rules.follow(appended, after, before);
            before = &after.members;
        }
    }
}

impl World {
    /// A node has read a batch: notes what is so then, or compares it with what others found.
    pub(crate) fn note(&mut self, node: usize, result: Result<(), Refused>, members: &[NodeId]) {
        let node = &mut self.nodes[node];
        let (at, node_id) = (node.read, node.id);
        let shard = node.partition.shard();
        let rules = node.partition.rules().map_or(0, |rules| rules.0.into());
        let digest = [shard.digest(), shard.forgotten(), rules];
        let mut output = node.partition.shard_mut().commit(|_| ());
        let observed = output.take_observed();
        let lists: [_; STREAMS] = std::array::from_fn(|of| output.members(&stream(of)));
        for of in 0..STREAMS {
            for publication in output.publications(&stream(of)) {
                self.order.show(of, &publication);
            }
        }
        let told = |of: usize| observed.iter().filter(move |(name, _)| *name == stream(of));
        let appended = &self.engine.log[at - 1];
        if at <= self.order.after.len() {
            let expected = &self.order.after[at - 1];
            let found = (digest, result);
            let what = (node_id, at, appended);
            assert_eq!(found, (expected.digest, expected.result), "{what:#?}");
            for (of, list) in lists.iter().enumerate() {
                assert_eq!(*list, expected.lists[of], "{what:#?}");
                let events = self.order.events_before(of, at - 1)..expected.events[of];
                let events = &self.order.events[of][events];
                assert_eq!(events.len(), told(of).count(), "{what:#?}");
                let same = events
                    .iter()
                    .zip(told(of))
                    .all(|(event, (_, it))| event.is(&it.id, &it.member, &it.extra));
                assert!(same, "{events:?} {observed:?}");
            }
            return;
        }
        assert_eq!(at, self.order.after.len() + 1, "{node_id} has read what nobody knows");
        let (entries, _) = output.snapshot(0, usize::MAX);
        let members_after = node.partition.members().nodes().collect();
        let mut events = [0; STREAMS];
        for of in 0..STREAMS {
            let mut list = self.order.list(of, self.order.events[of].len()).to_vec();
            for (_, it) in told(of) {
                apply(&mut list, &it.id, (&it.member, &it.extra), true); // nobody comes or goes twice
                let (id, change, extra) = (it.id.clone(), it.member.clone(), it.extra.clone());
                let event = Event { id, change, extra, list: list.clone() };
                self.order.events[of].push(event);
            }
            assert_eq!(list, lists[of].to_vec(), "its events don't lead there");
            assert!(list.len() <= SETTINGS.max_members, "there is no room for {list:?}");
            events[of] = self.order.events[of].len();
        }
        if let Some(batch) = appended.batch.as_ref().filter(|_| result.is_ok()) {
            for item in &batch.items {
                if let Item::Change(proposal) = item
                    && let Change::Published { data, .. } = &proposal.change
                {
                    let text = data.as_str().to_owned();
                    self.order.published.entry(text).or_insert(at);
                }
            }
        }
        let records = records_of(entries);
        let after = After { digest, result, members: members_after, lists, records, events };
        self.order.rules.follow(appended, &after, members);
        self.order.after.push(after);
        self.check_records(at);
    }
}
