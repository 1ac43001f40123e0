//! A naive model of who is present: a list of records that is searched. The fuzzers use it, too.

use broker::types::{
    Join, LeaveCause, Member, MemberChange, MemberList, PresenceChange, PresenceId, RawJson,
    RecordChange,
};

/// The records of all streams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presences {
    /// By their last change.
    records: Vec<Record>,
    /// Each stream's members in order of arrival.
    members: Vec<(usize, PresenceId)>,
    numbers: u64,
}

#[derive(Clone, Debug)]
struct Record {
    stream: usize,
    /// The presence id and info that it shows.
    join: Join,
    /// Number of its last change.
    reference: u64,
    holder: Holder,
    /// Its expiry, and a number for the order among those of the same time.
    deadline: Option<(u64, u64)>,
}

/// Owner of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Holder {
    /// A subscription, by its number.
    Subscription(usize),
    Application,
    /// Nobody: the connection has ended, and can't be resumed.
    Orphan,
}

/// Why a record isn't added or changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refusal {
    Full,
    /// The subscription has joined under another id.
    OtherId,
}

/// A change of a stream, if something has changed.
pub(crate) type Changed = Option<(usize, PresenceChange)>;

impl Presences {
    /// A subscription joins, with a record of its own, an orphan of its id, or a new one.
    pub(crate) fn join(
        &mut self,
        stream: usize,
        subscription: usize,
        join: &Join,
        max_members: usize,
    ) -> Result<Changed, Refusal> {
        let holder = Holder::Subscription(subscription);
        let own = self.records.iter().position(|record| record.holder == holder);
        if own.is_some_and(|at| self.records[at].join.id != join.id) {
            return Err(Refusal::OtherId);
        }
        let adopted = if own.is_none() { self.adopt(stream, holder, join) } else { None };
        let record = own.or(adopted.map(|(at, _)| at));
        if record.is_none() && !self.has_room(stream, &join.id, max_members) {
            return Err(Refusal::Full);
        }
        let is_moved = adopted.is_some_and(|(_, is_moved)| is_moved);
        Ok(self.set((stream, holder), (record, is_moved), join))
    }

    /// Passes an orphan of the same id on to `holder`; returns its index. That counts as a change, if the
    /// member has changed since.
    fn adopt(&mut self, stream: usize, holder: Holder, join: &Join) -> Option<(usize, bool)> {
        let of_id = |record: &Record| record.stream == stream && record.join.id == join.id;
        let is_orphan = |record: &Record| of_id(record) && record.holder == Holder::Orphan;
        let at = self.records.iter().rposition(is_orphan)?;
        let record = &mut self.records[at];
        (record.holder, record.deadline) = (holder, None);
        Some((at, self.records.iter().rposition(of_id) != Some(at)))
    }

    /// The application puts a record, which expires at `until`; whether it is a new one, too.
    pub(crate) fn put(
        &mut self,
        stream: usize,
        join: &Join,
        until: Option<u64>,
        max_members: usize,
    ) -> Result<(bool, Changed), Refusal> {
        if !self.has_room(stream, &join.id, max_members) {
            return Err(Refusal::Full);
        }
        let holder = Holder::Application;
        let of_it = |record: &Record| {
            record.holder == holder && record.stream == stream && record.join.id == join.id
        };
        let before = self.records.iter().position(of_it);
        let changed = self.set((stream, holder), (before, false), join);
        let deadline = until.map(|until| (until, self.number()));
        let record = self.records.iter_mut().find(|record| of_it(record));
        record.expect("it was put").deadline = deadline;
        Ok((before.is_none(), changed))
    }

    /// Whether a stream may have this member.
    fn has_room(&self, stream: usize, id: &PresenceId, max_members: usize) -> bool {
        let mut here = self.ids(stream);
        self.count(stream) < max_members || here.any(|member| member == id)
    }

    /// Adds a record, or shows something else of the one at a place.
    fn set(
        &mut self,
        (stream, holder): (usize, Holder),
        (at, is_moved): (Option<usize>, bool),
        join: &Join,
    ) -> Changed {
        let before = self.seen(stream, &join.id);
        let mut join = join.clone();
        // what the application doesn't say takes nothing away
        join.extra = join.extra.or_else(|| before.as_ref().and_then(|seen| seen.extra.clone()));
        let Join { id, info, extra } = join.clone();
        if !is_moved && at.is_some_and(|at| self.records[at].join == join) {
            return None; // as it is already
        }
        let reference = self.number();
        let record = match at.map(|at| self.records.remove(at)) {
            Some(Record { reference: previous, join: Join { info: before, .. }, .. }) => {
                RecordChange::Updated { info: info.clone(), previous, before }
            }
            None => RecordChange::Added { info: info.clone() },
        };
        let member = match before {
            None => {
                self.members.push((stream, id.clone()));
                MemberChange::Joined { info }
            }
            Some(before) if before == join => MemberChange::Unchanged,
            Some(_) => MemberChange::Updated { info },
        };
        self.records.push(Record { stream, join, reference, holder, deadline: None });
        Some((stream, PresenceChange { id, reference, record, member, extra, members: None }))
    }

    /// A subscription is present no longer.
    pub(crate) fn leave(&mut self, subscription: usize, cause: LeaveCause) -> Changed {
        let holder = Holder::Subscription(subscription);
        self.remove(|record| record.holder == holder, cause)
    }

    /// The application removes a member; a change for each of its records.
    pub(crate) fn kick(&mut self, stream: usize, id: &PresenceId) -> Vec<(usize, PresenceChange)> {
        let mut gone = Vec::new();
        let of_id = |record: &Record| record.stream == stream && record.join.id == *id;
        while let Some(changed) = self.remove(of_id, LeaveCause::Kicked) {
            gone.push(changed);
        }
        gone
    }

    /// A subscription's connection has ended: its record expires.
    pub(crate) fn end(&mut self, subscription: usize, deadline: u64) {
        let deadline = (deadline, self.number());
        self.of(subscription).for_each(|record| record.deadline = Some(deadline));
    }

    /// A subscription's record becomes another one's, or an orphan if it can't be resumed.
    pub(crate) fn pass_on(&mut self, subscription: usize, to: Holder) {
        for record in self.of(subscription) {
            record.holder = to;
            record.deadline.take_if(|_| to != Holder::Orphan);
        }
    }

    fn of(&mut self, subscription: usize) -> impl Iterator<Item = &mut Record> {
        let holder = Holder::Subscription(subscription);
        self.records.iter_mut().filter(move |record| record.holder == holder)
    }

    /// Removes the record that expires next, if its time is over; when that was, and the change.
    pub(crate) fn expire(&mut self, now: u64) -> Option<(u64, (usize, PresenceChange))> {
        let deadlines = self.records.iter().filter_map(|record| record.deadline);
        let next = deadlines.min().filter(|(at, _)| *at <= now)?;
        let gone = self.remove(|record| record.deadline == Some(next), LeaveCause::Expired);
        gone.map(|gone| (next.0, gone))
    }

    /// Removes one record, if there is one.
    fn remove(&mut self, which: impl Fn(&Record) -> bool, cause: LeaveCause) -> Changed {
        let at = self.records.iter().position(which)?;
        let (stream, id) = (self.records[at].stream, self.records[at].join.id.clone());
        let before = self.seen(stream, &id);
        let Record { join: Join { info, .. }, reference, .. } = self.records.remove(at);
        let after = self.seen(stream, &id);
        let extra = after.as_ref().or(before.as_ref()).and_then(|seen| seen.extra.clone());
        let member = match after {
            None => {
                self.members.retain(|member| *member != (stream, id.clone()));
                MemberChange::Left
            }
            after if after == before => MemberChange::Unchanged,
            Some(Join { info, .. }) => MemberChange::Updated { info },
        };
        let record = RecordChange::Removed { info, cause };
        Some((stream, PresenceChange { id, reference, record, member, extra, members: None }))
    }

    /// What others see of a member.
    fn seen(&self, stream: usize, id: &PresenceId) -> Option<Join> {
        let of_id = |record: &&Record| record.stream == stream && record.join.id == *id;
        self.records.iter().rfind(of_id).map(|record| record.join.clone())
    }

    /// The members in order of arrival.
    pub(crate) fn list(&self, stream: usize) -> MemberList {
        let member = |id: &PresenceId| {
            let Join { id, info, extra } = self.seen(stream, id).expect("a member has a record");
            Member { id, info, extra }
        };
        self.ids(stream).map(member).collect()
    }

    /// The members with the infos of their records, the last changed at the end.
    pub(crate) fn infos(&self, stream: usize) -> Vec<(PresenceId, Vec<RawJson>)> {
        let of = |id: &PresenceId| {
            let of_id = |record: &&Record| record.stream == stream && record.join.id == *id;
            self.records.iter().filter(of_id).map(|record| record.join.info.clone()).collect()
        };
        self.ids(stream).map(|id| (id.clone(), of(id))).collect()
    }

    fn ids(&self, stream: usize) -> impl Iterator<Item = &PresenceId> {
        self.members.iter().filter(move |member| member.0 == stream).map(|(_, id)| id)
    }

    /// How many members a stream has.
    pub(crate) fn count(&self, stream: usize) -> usize {
        self.ids(stream).count()
    }

    /// How many members all streams have, and how many records.
    pub(crate) fn totals(&self) -> (usize, usize) {
        (self.members.len(), self.records.len())
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.records.iter().filter_map(|record| record.deadline).map(|(at, _)| at).min()
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}
