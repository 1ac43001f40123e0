//! A shard whose log is shared with other nodes: it proposes changes, and makes them when they come back
//! at their place in the log.
//!
//! ```text
//! handle(input) ─▶ proposals ─▶ take_proposals() ─▶ the log
//!                     │ the input waits
//!                     ▼
//! apply(entry) ─▶ of another node: applied
//!              └▶ of this node: the input that waits for it is handled, and finds its entry there
//! ```
//!
//! An input is handled in one go, at the place of its entries, and knows at once what became of them.
//! What changes nothing, such as a request for a list, waits only for what was proposed before it: a client
//! that joins and then asks who is there finds itself.
//!
//! Which changes an input leads to is known beforehand, but for what only its turn can show: how a
//! connection that ended was left, say. Such a change is proposed then, and nothing waits for it.

use std::collections::{HashMap, VecDeque};
use std::mem::discriminant;
use std::time::{Duration, Instant};

use super::Shard;
use super::admin::millis;
use super::put::Put;
use crate::log::{Change, Entry, NodeId, Subscription, Void};
use crate::shard::delivery::Destination;
use crate::shard::input::{End, Input, Publish, SubscriberKey};
use crate::shard::outcome::{Outcome, Ticket};
use crate::shard::proposals::{Proposal, Shared, Task, Waiting};
use crate::shard::settings::Settings;
use crate::types::{Join, JoinCause, StreamCommand, StreamName, Subscribe};

/// Time after which a node proposes the expiry that another one should have proposed.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

impl<R: Destination> Shard<R> {
    /// A shard of a log that several nodes write.
    pub fn sharing(settings: Settings, node: NodeId, now: Instant) -> Self {
        let shared = Shared {
            node,
            request: 0,
            delay: Duration::ZERO,
            proposals: Vec::new(),
            waiting: VecDeque::new(),
            arrived: VecDeque::new(),
            parked: Vec::new(),
            plans: HashMap::default(),
        };
        Self { shared: Some(Box::new(shared)), ..Self::new(settings, now) }
    }

    /// Sets this node's rank for what expires: 0 if it is the first to propose the expiry of what no living
    /// node has ended, 1 if it is the next, should that one fail.
    pub fn set_rank(&mut self, rank: u32) {
        live(&mut self.shared).delay = rank * PATIENCE;
    }

    /// The proposals since the last call, in order. Those of one input are next to each other, and have to
    /// be so in the log.
    pub fn take_proposals(&mut self) -> Vec<Proposal> {
        self.shared.as_mut().map(|shared| std::mem::take(&mut shared.proposals)).unwrap_or_default()
    }

    /// The outcome is [`Outcome::Synced`], when all earlier inputs have been applied.
    pub fn sync(&mut self, ticket: Ticket) {
        match &mut self.shared {
            Some(shared) if !shared.waiting.is_empty() => {
                let (task, left, entries) = (Task::Sync(ticket), 0, VecDeque::new());
                shared.waiting.push_back(Waiting { task, left, entries });
            }
            Some(_) | None => self.outcomes.push_back((ticket, Outcome::Synced)),
        }
    }

    /// Number of inputs and changes that wait for their entries.
    pub fn waiting(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.waiting.len())
    }

    /// Handles an input when all that it changes is at its place in the log.
    pub(super) fn await_entries(&mut self, stream: &StreamName, input: Input<R>, now: Instant) {
        if self.comes_later(stream, &input) {
            let task = Task::Later { stream: stream.clone(), input };
            let waiting = Waiting { task, left: 0, entries: VecDeque::new() };
            live(&mut self.shared).waiting.push_back(waiting);
        } else {
            self.propose_input(stream, input, now);
        }
    }

    fn propose_input(&mut self, stream: &StreamName, mut input: Input<R>, now: Instant) {
        let changes = self.changes_of(stream, &input);
        let joins = changes.iter().any(|change| matches!(change, Change::Joined { .. }));
        let counted = joins.then(|| self.count_beforehand(stream, &input)).flatten();
        let shared = live(&mut self.shared);
        if changes.is_empty() && shared.waiting.is_empty() {
            return self.handle_now(stream, input, now);
        }
        if let Input::Ended { end: End { unacked_since, .. }, .. } = &mut input {
            unacked_since.get_or_insert(now); // what is sent from here on doesn't arrive
        }
        let left = changes.len();
        shared.propose_all(stream, changes);
        let task = Task::Input { stream: stream.clone(), input, counted };
        shared.waiting.push_back(Waiting { task, left, entries: VecDeque::new() });
    }

    /// Takes the entry of a change that is being made; or proposes it, if there is none.
    pub(super) fn commit_shared(
        &mut self,
        index: u32,
        change: Change,
        since: Instant,
    ) -> Result<(), Void> {
        let name = self.streams.live(index).name.clone();
        let shared = live(&mut self.shared);
        let is_it = |entry: &Entry| {
            discriminant(&entry.change) == discriminant(&change) && entry.stream == name
        };
        if shared.arrived.front().is_some_and(is_it)
            && let Some(entry) = shared.arrived.pop_front()
        {
            return self.begin_and_apply(index, entry, since);
        }
        shared.propose_alone(name, change, since);
        Err(Void::Stale) // as long as it isn't there
    }

    /// Applies an entry of the log, which every node does in the same order. The timers that it sets fire here later
    /// than on the node that proposed it, so that what expires is proposed once.
    pub(super) fn apply_shared(&mut self, entry: Entry, now: Instant) -> Result<(), Void> {
        self.now = now;
        let shared = live(&mut self.shared);
        if entry.origin.node != shared.node {
            // the other node has the first word when it expires
            let delay = PATIENCE + shared.delay;
            return self.apply_in_place(entry, now + delay);
        }
        let Some(first) = shared.waiting.front_mut() else { return Err(Void::Stale) };
        first.entries.push_back(entry);
        first.left = first.left.saturating_sub(1);
        self.take_turns(now);
        Ok(())
    }

    /// Handles the inputs whose entries have all arrived, up to the first one whose haven't.
    pub(super) fn take_turns(&mut self, now: Instant) {
        while let Some(shared) = &mut self.shared
            && shared.waiting.front().is_some_and(|first| first.left == 0)
            && let Some(Waiting { task, entries, .. }) = shared.waiting.pop_front()
        {
            self.take_turn(task, entries, now);
        }
    }

    fn take_turn(&mut self, task: Task<R>, entries: VecDeque<Entry>, now: Instant) {
        if let Some(shared) = &mut self.shared {
            shared.arrived = entries;
        }
        let is_input = matches!(task, Task::Input { .. });
        let since = match task {
            Task::Input { stream, input, counted } => {
                self.handle_now(&stream, input, now);
                if let Some(client) = counted {
                    client.remove_record();
                }
                now
            }
            Task::Later { stream, input } => {
                self.propose_input(&stream, input, now);
                now
            }
            Task::Sync(ticket) => {
                self.outcomes.push_back((ticket, Outcome::Synced));
                now
            }
            Task::Change { since } => since,
        };
        while let Some(entry) = self.shared.as_mut().and_then(|it| it.arrived.pop_front()) {
            let (name, gets) = (entry.stream.clone(), of_nobody(&entry.change));
            let is_applied = self.apply_in_place(entry, since).is_ok(); // nothing waits for it
            let (Some(by), Some(index)) = (gets, self.find(&name)) else { continue };
            if is_input && is_applied {
                let ttl = self.settings.presence_ttl;
                self.commit_change(index, Change::Ended { by, ttl, parking: None }, now).ok();
            } else if !is_input && !is_applied {
                self.taken(index, &by); // it couldn't come back
            }
        }
    }

    pub(super) fn apply_in_place(&mut self, entry: Entry, since: Instant) -> Result<(), Void> {
        let index = self.find_or_add(&entry.stream);
        let usage = self.streams.live(index).state.usage();
        let is_own_word = entry.change.is_about_use()
            && self.shared.as_ref().is_some_and(|shared| shared.node == entry.origin.node);
        let result = self.begin_and_apply(index, entry, since);
        self.note_use(index, usage, is_own_word);
        self.remove_if_empty(index);
        result
    }

    /// Applies an entry; a stream begins with the first that is to last. A publication is as old as its entry: the
    /// clocks of nodes differ, and that of the log is one.
    fn begin_and_apply(
        &mut self,
        index: u32,
        mut entry: Entry,
        since: Instant,
    ) -> Result<(), Void> {
        if let Change::Published { at, .. } = &mut entry.change {
            *at = entry.at;
        }
        let stream = self.streams.live(index);
        self.next = self.next.max(entry.position.next());
        if !stream.state.has_begun() && entry.change.is_lasting() {
            stream.state.verdict(&entry.change)?;
            let begun = Entry { change: Change::Began { lost: self.forgotten }, ..entry.clone() };
            self.apply_at(index, begun, since)?;
        }
        self.apply_at(index, entry, since)
    }

    /// Maximum of records of a client that joins now. In a shared log that was asked before.
    pub(super) fn max_records(&self) -> usize {
        match &self.shared {
            None => self.settings.max_records,
            Some(shared) if shared.arrived.is_empty() => 0,
            Some(_) => usize::MAX,
        }
    }

    /// Counts a record of a client that is about to join. `None` if it isn't counted: it has one here, or
    /// may have no more.
    fn count_beforehand(&self, stream: &StreamName, input: &Input<R>) -> Option<R> {
        let Input::Command { key, recipient, .. } = input else { return None };
        if self.has_record(stream, key) {
            return None;
        }
        recipient.add_record(self.settings.max_records).ok()?;
        Some(recipient.clone())
    }

    /// Whether anything in the log is about a subscription, or may be before the next input.
    fn knows(&self, stream: &StreamName, key: &SubscriberKey) -> bool {
        let state = self.streams.named(stream).map(|stream| &stream.state);
        state.is_some_and(|state| state.knows(&key.subscription()))
            || self.waits(stream, key, |command| command.join().is_some())
    }

    /// Whether a subscriber has a record, or is about to.
    fn has_record(&self, stream: &StreamName, key: &SubscriberKey) -> bool {
        let state = self.streams.named(stream).map(|stream| &stream.state);
        state.is_some_and(|state| state.presence().held_by(&key.subscription()).is_some())
            || self.waits(stream, key, |command| command.join().is_some())
    }

    /// Whether an input must come behind changes that an earlier one has yet to propose: a session is resumed, or lapses,
    /// behind its end, and what follows comes behind that.
    fn comes_later(&self, stream: &StreamName, input: &Input<R>) -> bool {
        let sessions = input.sessions();
        let waiting = self.shared.iter().flat_map(|shared| &shared.waiting);
        waiting.into_iter().any(|waiting| match &waiting.task {
            Task::Input { stream: of, input: Input::Ended { key, .. }, .. } => {
                let (Input::Resume { from: it, .. } | Input::Forget { key: it }) = input else {
                    return false;
                };
                it.session == key.session && of == stream
            }
            Task::Later { stream: of, input: earlier } => {
                let is_its = |session| sessions.contains(&session);
                of == stream && earlier.sessions().into_iter().flatten().any(|it| is_its(Some(it)))
            }
            Task::Input { .. } | Task::Sync(_) | Task::Change { .. } => false,
        })
    }

    /// Whether a command of a subscriber waits.
    fn waits(
        &self,
        stream: &StreamName,
        key: &SubscriberKey,
        is_it: impl Fn(&StreamCommand) -> bool,
    ) -> bool {
        let waiting = self.shared.iter().flat_map(|shared| &shared.waiting);
        waiting.into_iter().any(|waiting| match &waiting.task {
            Task::Input { stream: of, input: Input::Command { key: by, command, .. }, .. } => {
                of == stream && by == key && is_it(command)
            }
            Task::Input { .. } | Task::Later { .. } | Task::Sync(_) | Task::Change { .. } => false,
        })
    }

    /// The changes that an input leads to, in the order in which handling it makes them.
    fn changes_of(&self, stream: &StreamName, input: &Input<R>) -> Vec<Change> {
        match input {
            Input::Command { key, command, recipient, .. } => {
                self.changes_of_command(stream, key, command, recipient)
            }
            // when its turn comes: what the client of a connection that ended knew, what is parked
            Input::Ended { .. }
            | Input::Forget { .. }
            | Input::Identify { .. }
            | Input::CatchUp { .. } => Vec::new(),
            Input::Publish(Publish { data, labels, at, except, is_transient }) => {
                let is_kept = self.settings.history.limit > 0 && !is_transient;
                vec![Change::Published {
                    data: data.clone(),
                    labels: labels.clone(),
                    at: *at,
                    except: *except,
                    is_kept,
                    author: None,
                }]
            }
            Input::Put { put: Put { join, ttl }, .. } => {
                let Join { id, info, extra } = join.clone();
                let until = ttl.map(|ttl| self.unix.saturating_add(millis(ttl)));
                let max_members = self.settings.max_members;
                vec![Change::Put { id, info, extra, until, max_members }]
            }
            Input::Kick { id, .. } => vec![Change::Kicked { id: id.clone() }],
            Input::Resume { from, to, .. } => {
                vec![Change::Resumed { from: from.subscription(), to: *to }]
            }
        }
    }

    fn changes_of_command(
        &self,
        stream: &StreamName,
        key: &SubscriberKey,
        command: &StreamCommand,
        recipient: &R,
    ) -> Vec<Change> {
        let may_join = || {
            let is_free = recipient.add_record(self.settings.max_records).is_ok();
            if is_free {
                recipient.remove_record();
            }
            is_free || self.has_record(stream, key)
        };
        match command {
            StreamCommand::Subscribe(subscribe) => {
                let Subscribe { join, options, .. } = &**subscribe;
                let is_subscriber =
                    self.find(stream).is_some_and(|index| self.subscriber(index, key).is_some())
                        || self.waits(stream, key, |it| matches!(it, StreamCommand::Subscribe(_)));
                let arrived = (options.is_announced && !is_subscriber).then_some(Change::Arrived);
                let joined = join.as_ref().and_then(|join| join.as_ref().ok());
                let joined = joined.filter(|_| may_join());
                let joined =
                    joined.map(|join| self.joined(key, join, JoinCause::Subscribed, false));
                arrived.into_iter().chain(joined).collect()
            }
            StreamCommand::Join(join) if may_join() => {
                vec![self.joined(key, join, JoinCause::Joined, false)]
            }
            StreamCommand::Update(join) if may_join() => {
                vec![self.joined(key, join, JoinCause::Joined, true)]
            }
            // what it joins later must come behind
            StreamCommand::Unsubscribe if self.knows(stream, key) => {
                vec![Change::Unsubscribed { by: key.subscription() }]
            }
            StreamCommand::Leave(id) => {
                vec![Change::Left { by: key.subscription(), id: id.clone() }]
            }
            StreamCommand::Whisper { whisper, members_only } => {
                let author = members_only.then(|| key.subscription());
                vec![Change::Whispered { whisper: whisper.clone(), from: key.session, author }]
            }
            StreamCommand::Publish { data, at, members_only } => vec![Change::Published {
                data: data.clone(),
                labels: None,
                at: *at,
                except: None,
                is_kept: self.settings.history.limit > 0,
                author: members_only.then(|| key.subscription()),
            }],
            StreamCommand::Join(_)
            | StreamCommand::Update(_)
            | StreamCommand::Unsubscribe
            | StreamCommand::List(_)
            | StreamCommand::History(_)
            | StreamCommand::RefusePresence(..) => Vec::new(),
        }
    }

    fn joined(
        &self,
        key: &SubscriberKey,
        join: &Join,
        cause: JoinCause,
        is_update: bool,
    ) -> Change {
        let Join { id, info, extra } = join.clone();
        let (by, max_members) = (key.subscription(), self.settings.max_members);
        Change::Joined { by, id, info, extra, cause, is_update, max_members }
    }
}

/// What a shard of a shared log has proposed.
pub(super) fn live<R>(shared: &mut Option<Box<Shared<R>>>) -> &mut Shared<R> {
    match shared {
        Some(shared) => shared,
        None => not_shared(),
    }
}

#[cold]
#[expect(clippy::panic, reason = "it would be a fault of the shard, which asked before")]
fn not_shared() -> ! {
    panic!("the log isn't shared")
}

/// The subscription that a change gives a record, which it must not keep if handling the input made no
/// subscriber of it.
fn of_nobody(change: &Change) -> Option<Subscription> {
    if let Change::Joined { by, .. } = change {
        return Some(by.clone());
    }
    let Change::Resumed { from, to } = change else { return None };
    Some(from.of_session(*to))
}
