//! The questions a session has out, and what waits for their answers.
//!
//! ```text
//! handle ─ it needs an answer ─▶ Action::Ask { ticket, question }; what was decided is held in the line
//!   │                                                               of its subscription
//!   └─ about a subscription with a line ─▶ Action::Wait; it waits there, undecided
//!
//! answer(ticket, verdict) ─▶ what was held is due ─▶ poll_action: that, then what waits behind it
//! ```
//!
//! The order within a subscription is that of its commands. Others aren't held up, with one exception:
//! a join that its stream may refuse because the client has too many records goes *alone*. It waits
//! until all that came before it has been followed, and what comes after it until it has been itself: which
//! join is refused must not depend on which shard, or which answer, is quicker.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Action, Session};
use crate::auth::Streams;
use crate::types::{
    ClientCommand, Extra, Identifier, Limits, PresenceId, Reference, Request, StreamName,
};

/// How many questions about subscriptions a session may have out before nothing more should be read.
const MAX_OUT: usize = 32;

/// How many commands may wait for answers before that.
const MAX_WAITING: usize = 128;

/// How many bytes of identifiers and payloads they may have before that.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// A question that is out, by which its answer finds what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u32);

/// What a session asks before it goes on with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What does the application say of somebody who joins?
    Presence {
        /// The stream they join.
        stream: StreamName,
        /// Who.
        id: PresenceId,
    },
    /// Have the streams followed all that was forwarded so far? Answer when they have.
    Followed,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To [`Question::Presence`]; nothing if the application says nothing, or can't be asked.
    Presence(Extra),
    /// To [`Question::Followed`]: they have.
    Followed,
}

/// What is to be done, and by what the client knows the answer, if by anything.
type Due = (Action, Option<Arc<Reference>>);

/// What waits for an answer, and what other streams of the subscription are to do with it.
#[derive(Debug)]
struct Held {
    due: Due,
    others: VecDeque<Due>,
}

/// What waits for answers. There is none where nothing does.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// How many tickets there have been.
    given: u32,
    /// How many requests have waited.
    waited: u64,
    lines: Vec<Line>,
    /// What has its answer.
    due: VecDeque<Due>,
    alone: Option<Alone>,
    /// A join waits to go alone, and what came after it for that.
    is_barred: bool,
    waiting: usize,
    waiting_bytes: usize,
}

/// The commands of one subscription.
#[derive(Debug)]
struct Line {
    identifier: Identifier,
    /// What goes on when a ticket's answer is there.
    held: Option<(Ticket, Held)>,
    /// Each with its place among those of all lines.
    waiting: VecDeque<(u64, Request<'static>)>,
}

/// A join that goes alone.
#[derive(Debug)]
struct Alone {
    next: Step,
    /// The question that is out, if one is.
    ticket: Option<Ticket>,
    join: Held,
}

/// What is to be done next about a join that goes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Wait until what came before it has been followed.
    FollowBefore,
    AskPresence,
    Forward,
    /// Wait until it has been followed itself.
    FollowIt,
}

impl Session {
    /// Takes the answer to a question. Take what [`Session::poll_action`] has afterwards.
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

    /// What is to be done next, in order: what has its answer, and what waited behind that.
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

    /// Whether something waits for an answer.
    pub fn is_asking(&self) -> bool {
        self.tickets.is_some()
    }

    /// Whether so much waits that no more of the client's commands should be read.
    pub fn is_full(&self) -> bool {
        self.tickets.as_ref().is_some_and(|tickets| tickets.is_full())
    }

    /// Waits for no answer any more, and goes on as if there had been nothing in those that are out.
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

    /// Decides about a request, or lets it wait for what came before it.
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

    /// Whether there may be something to ask about a join.
    pub(super) fn may_ask(&self, limits: &Limits) -> bool {
        self.asks || self.may_have_too_many(0, limits)
    }

    /// Asks first, if there is something to ask about what was decided.
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

    /// Whether a request is a join that its stream may refuse for the number of records.
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

    /// Whether the client may have more records than it may, with so many subscriptions more: each has
    /// one at most, and each that isn't known to have gone may have one still.
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
    /// Adds what other streams of a subscription are to do about a command that one of them answers.
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

    /// Takes out the first that has to wait no longer. One that goes alone has to as long as an answer
    /// is out, and what came after it has to as long as it does.
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

/// What is to be asked about who joins by an action, if somebody does.
fn presence(action: &Action) -> Option<Question> {
    let Action::Forward { stream, command, .. } = action else { return None };
    let join = command.join()?;
    Some(Question::Presence { stream: stream.clone(), id: join.id.clone() })
}

/// Adds what an answer says to what waited for it.
fn fill((action, _): &mut Due, verdict: Verdict) {
    if let (Action::Forward { command, .. }, Verdict::Presence(extra)) = (action, verdict)
        && let Some(join) = command.join_mut()
    {
        join.extra = extra;
    }
}
