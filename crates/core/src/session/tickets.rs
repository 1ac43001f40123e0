//! Questions of a session without an answer yet, and the commands that wait for the answers.
//!
//! ```text
//! handle ─ depends on an answer ─▶ Action::Ask { ticket, question }; the action is held in the line of
//!   │                                                              its subscription
//!   └─ about a subscription with a line ─▶ Action::Wait; the request waits there, undecided
//!
//! answer(ticket, verdict) ─▶ the held action is due ─▶ poll_action: that, then the requests behind it
//! ```
//!
//! Commands of one subscription keep their order; those of others don't wait. One exception: a join that
//! its stream may refuse because the client has too many records goes *alone*. It waits until all
//! earlier commands have been applied, and later ones wait until it has been: which join is refused
//! must not depend on the speed of a shard or of an answer.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Action, Session};
use crate::auth::Streams;
use crate::types::{
    ClientCommand, Extra, Identifier, Limits, PresenceId, Reference, Request, StreamName,
};

/// Number of subscriptions waiting for an answer from which on no more commands should be read.
const MAX_OUT: usize = 32;

/// The same for waiting commands.
const MAX_WAITING: usize = 128;

/// The same for their texts, in bytes.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// Number of a question, by which its answer finds what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u32);

/// A question that a command depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The application's data about a joining member.
    Presence {
        /// The stream.
        stream: StreamName,
        /// The member.
        id: PresenceId,
    },
    /// Whether the shards have applied all actions forwarded so far; to be answered once they have.
    Followed,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To [`Question::Presence`]; `None` without data, or without an answer in time.
    Presence(Extra),
    /// To [`Question::Followed`].
    Followed,
}

/// An action, and the reference of the request it answers.
type Due = (Action, Option<Arc<Reference>>);

/// An action that waits for an answer, with the actions for other streams of the same subscription.
#[derive(Debug)]
struct Held {
    due: Due,
    others: VecDeque<Due>,
}

/// Everything that waits for answers; allocated only while something does.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// Number of the last ticket.
    given: u32,
    /// Number of the last request that had to wait.
    waited: u64,
    lines: Vec<Line>,
    /// Actions that wait for nothing any more.
    due: VecDeque<Due>,
    alone: Option<Alone>,
    /// A join waits to go alone; later requests wait for it.
    is_barred: bool,
    waiting: usize,
    waiting_bytes: usize,
}

/// One subscription that waits, and its later requests.
#[derive(Debug)]
struct Line {
    identifier: Identifier,
    /// The action that waits for the ticket's answer.
    held: Option<(Ticket, Held)>,
    /// Each with its number, in order of arrival over all lines.
    waiting: VecDeque<(u64, Request<'static>)>,
}

/// A join that goes alone.
#[derive(Debug)]
struct Alone {
    next: Step,
    /// The ticket of the question without an answer yet.
    ticket: Option<Ticket>,
    join: Held,
}

/// The next step of a join that goes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Wait until all earlier commands have been applied.
    FollowBefore,
    AskPresence,
    Forward,
    /// Wait until the join has been applied.
    FollowIt,
}

impl Session {
    /// Takes the answer to a question. Drain [`Session::poll_action`] afterwards.
    pub fn answer(&mut self, ticket: Ticket, verdict: Verdict) {
        let Some(tickets) = self.tickets.as_deref_mut() else { return };
        if let Some(alone) = tickets.alone.as_mut().filter(|it| it.ticket == Some(ticket)) {
            alone.ticket = None;
            match alone.next {
                Step::FollowBefore => (self.departed, alone.next) = (0, Step::AskPresence),
                Step::AskPresence => {
                    fill(&mut alone.join.due, verdict);
                    alone.next = Step::Forward;
                }
                Step::Forward | Step::FollowIt => tickets.alone = None,
            }
        } else if let Some(Held { mut due, others }) = tickets.take_held(ticket) {
            fill(&mut due, verdict);
            tickets.due.push_back(due);
            tickets.due.extend(others);
        }
    }

    /// The next due action, if any.
    pub fn poll_action(&mut self, limits: &Limits, streams: &Streams) -> Option<Due> {
        let tickets = self.tickets.as_deref_mut()?;
        if let Some(due) = tickets.due.pop_front() {
            return Some(due);
        }
        if tickets.alone.is_some() {
            return self.go_alone();
        }
        let mut tickets = self.tickets.take()?;
        let request = tickets.release(|request| self.goes_alone(request, limits));
        if request.is_some() || !tickets.lines.is_empty() {
            self.tickets = Some(tickets);
        }
        let request = request?;
        let reference = request.reference.clone();
        Some((self.decide(request, limits, streams), reference))
    }

    /// Whether anything waits for an answer.
    pub fn is_asking(&self) -> bool {
        self.tickets.is_some()
    }

    /// Whether so much waits that no more commands should be read.
    pub fn is_full(&self) -> bool {
        self.tickets.as_ref().is_some_and(|tickets| tickets.is_full())
    }

    /// Stops asking: questions without an answer yet count as answered with nothing.
    pub fn stop_asking(&mut self) {
        self.asks = false;
        let Some(tickets) = self.tickets.as_deref_mut() else { return };
        let held = tickets.lines.iter_mut().filter_map(|line| Some(line.held.take()?.1));
        let alone = tickets.alone.take().filter(|alone| alone.next != Step::FollowIt);
        for Held { due, others } in held.chain(alone.map(|alone| alone.join)) {
            tickets.due.push_back(due);
            tickets.due.extend(others);
        }
    }

    /// Decides about a request, or lets it wait for earlier ones.
    pub(super) fn handle_in_turn(
        &mut self,
        request: Request<'_>,
        limits: &Limits,
        streams: &Streams,
    ) -> Action {
        let goes_alone = self.goes_alone(&request, limits);
        if let (Some(tickets), Some(identifier)) = (&mut self.tickets, request.identifier())
            && (goes_alone || tickets.holds(identifier))
        {
            tickets.is_barred |= goes_alone;
            tickets.wait(request.into_owned());
            return Action::Wait;
        }
        self.decide(request, limits, streams)
    }

    /// Whether a join may depend on an answer.
    pub(super) fn may_ask(&self, limits: &Limits) -> bool {
        self.asks || self.may_have_too_many(0, limits)
    }

    /// Holds a join back and asks about it. Other actions are returned as they are.
    pub(super) fn ask_first(
        &mut self,
        action: Action,
        reference: Option<&Arc<Reference>>,
        limits: &Limits,
    ) -> Action {
        let Some(question) = presence(&action) else { return action };
        let Action::Forward { identifier, .. } = &action else { return action };
        let goes_alone = self.may_have_too_many(0, limits);
        let (identifier, due) = (identifier.clone(), (action, reference.cloned()));
        let tickets = self.tickets.get_or_insert_default();
        let held = Held { due, others: std::mem::take(&mut tickets.due) };
        if goes_alone {
            tickets.alone = Some(Alone { next: Step::FollowBefore, ticket: None, join: held });
            return Action::Wait;
        }
        let ticket = tickets.give();
        tickets.hold(identifier, (ticket, held));
        Action::Ask { ticket, question }
    }

    /// Whether a request is a join that may exceed the limit of records.
    fn goes_alone(&self, request: &Request<'_>, limits: &Limits) -> bool {
        match &request.command {
            Ok(ClientCommand::Subscribe { identifier, join: Some(Ok(_)), .. }) => {
                let more = usize::from(self.position(identifier).is_none());
                self.may_have_too_many(more, limits)
            }
            Ok(ClientCommand::Join { .. } | ClientCommand::Update { .. }) => {
                self.may_have_too_many(0, limits)
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Whether the client's records may exceed the limit, with `more` new subscriptions. A subscription has
    /// at most one record, and so has one whose end may not have been applied yet.
    fn may_have_too_many(&self, more: usize, limits: &Limits) -> bool {
        let subscriptions = self.subscriptions.len() + more;
        subscriptions.saturating_add(self.departed as usize) > limits.records
    }

    /// The next step of a join that goes alone.
    fn go_alone(&mut self) -> Option<Due> {
        let tickets = self.tickets.as_deref_mut()?;
        let alone = tickets.alone.as_mut().filter(|alone| alone.ticket.is_none())?;
        let question = match alone.next {
            Step::FollowBefore | Step::FollowIt => Some(Question::Followed),
            Step::AskPresence => presence(&alone.join.due.0).filter(|_| self.asks),
            Step::Forward => None,
        };
        if let Some(question) = question {
            let ticket = tickets.give();
            tickets.alone.as_mut()?.ticket = Some(ticket);
            return Some((Action::Ask { ticket, question }, None));
        }
        alone.next = Step::FollowIt;
        tickets.due.append(&mut alone.join.others);
        Some(std::mem::replace(&mut alone.join.due, (Action::Wait, None)))
    }
}

impl Tickets {
    /// Adds actions for other streams of the same subscription.
    pub(super) fn add(&mut self, others: Vec<Action>) {
        self.due.extend(others.into_iter().map(|action| (action, None)));
    }

    /// Whether a request about a subscription has to wait.
    fn holds(&self, identifier: &str) -> bool {
        self.is_barred
            || self.alone.is_some()
            || !self.due.is_empty()
            || self.lines.iter().any(|line| line.identifier.as_str() == identifier)
    }

    fn wait(&mut self, request: Request<'static>) {
        let Some(identifier) = request.identifier() else { return };
        self.waiting += 1;
        self.waiting_bytes += request.weight();
        self.waited += 1;
        let place = self.waited;
        match self.lines.iter_mut().find(|line| line.identifier.as_str() == identifier) {
            Some(line) => line.waiting.push_back((place, request)),
            None => self.lines.push(Line {
                identifier: identifier.into(),
                held: None,
                waiting: [(place, request)].into(),
            }),
        }
    }

    fn hold(&mut self, identifier: Identifier, held: (Ticket, Held)) {
        match self.lines.iter_mut().find(|line| line.identifier == identifier) {
            Some(line) => line.held = Some(held),
            None => {
                self.lines.push(Line { identifier, held: Some(held), waiting: VecDeque::new() });
            }
        }
    }

    fn take_held(&mut self, ticket: Ticket) -> Option<Held> {
        let is_it = |line: &&mut Line| line.held.as_ref().is_some_and(|held| held.0 == ticket);
        let line = self.lines.iter_mut().find(is_it)?;
        line.held.take().map(|(_, held)| held)
    }

    /// Removes the first request that needn't wait any longer. A join that goes alone waits for all
    /// earlier answers, and later requests wait for it.
    fn release(&mut self, goes_alone: impl Fn(&Request<'_>) -> bool) -> Option<Request<'static>> {
        self.lines.retain(|line| line.held.is_some() || !line.waiting.is_empty());
        let waiting = self.lines.iter().flat_map(|line| &line.waiting);
        let bar = waiting.filter(|(_, it)| goes_alone(it)).map(|(place, _)| *place).min();
        self.is_barred = bar.is_some();
        let is_held = self.lines.iter().any(|line| line.held.is_some());
        let free = self.lines.iter_mut().filter(|line| line.held.is_none());
        let line = free.min_by_key(|line| line.waiting.front().map(|(place, _)| *place))?;
        let (place, _) = line.waiting.front()?;
        if bar.is_some_and(|bar| *place > bar || (*place == bar && is_held)) {
            return None;
        }
        let (_, request) = line.waiting.pop_front()?;
        self.waiting -= 1;
        self.waiting_bytes -= request.weight();
        Some(request)
    }

    fn is_full(&self) -> bool {
        self.is_barred
            || self.alone.is_some()
            || self.waiting >= MAX_WAITING
            || self.waiting_bytes >= MAX_WAITING_BYTES
            || self.lines.iter().filter(|line| line.held.is_some()).count() >= MAX_OUT
    }

    fn give(&mut self) -> Ticket {
        self.given = self.given.wrapping_add(1);
        Ticket(self.given)
    }
}

/// The question about the member that joins by an action, if one does.
fn presence(action: &Action) -> Option<Question> {
    let Action::Forward { stream, command, .. } = action else { return None };
    let join = command.join()?;
    Some(Question::Presence { stream: stream.clone(), id: join.id.clone() })
}

/// Completes an action with the answer it waited for.
fn fill((action, _): &mut Due, verdict: Verdict) {
    if let (Action::Forward { command, .. }, Verdict::Presence(extra)) = (action, verdict)
        && let Some(join) = command.join_mut()
    {
        join.extra = extra;
    }
}
