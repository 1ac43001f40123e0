//! Questions of a session without an answer yet, and the commands that wait for the answers.

use std::collections::VecDeque;
use std::sync::Arc;

use super::action::Action;
use super::question::{Question, Ticket, Verdict};
use crate::types::{Identifier, Reference, Request};

/// Number of subscriptions waiting for an answer from which on no more commands should be read.
const MAX_OUT: usize = 32;

/// The same for waiting commands.
const MAX_WAITING: usize = 128;

/// The same for their texts, in bytes.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// An action, and the reference of the request it answers.
pub(super) type Due = (Action, Option<Arc<Reference>>);

/// An action that waits for an answer, with the actions for other streams of the same subscription.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) due: Due,
    pub(super) others: VecDeque<Due>,
}

/// Everything that waits for answers; allocated only while something does.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// Number of the last ticket.
    pub(super) given: u32,
    /// Number of the last request that had to wait.
    pub(super) waited: u64,
    pub(super) lines: Vec<Line>,
    /// Actions that wait for nothing any more.
    pub(super) due: VecDeque<Due>,
    pub(super) alone: Option<Alone>,
    /// A join waits to go alone; later requests wait for it.
    pub(super) is_barred: bool,
    pub(super) waiting: usize,
    pub(super) waiting_bytes: usize,
}

/// One subscription that waits, and its later requests.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) identifier: Identifier,
    /// The action that waits for the ticket's answer.
    pub(super) held: Option<(Ticket, Held)>,
    /// Each with its number, in order of arrival over all lines.
    pub(super) waiting: VecDeque<(u64, Request<'static>)>,
}

/// A join that goes alone.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) next: Step,
    /// The ticket of the question without an answer yet.
    pub(super) ticket: Option<Ticket>,
    pub(super) join: Held,
}

/// The next step of a join that goes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait until all earlier commands have been applied.
    FollowBefore,
    AskPresence,
    Forward,
    /// Wait until the join has been applied.
    FollowIt,
}

impl Tickets {
    /// Adds actions for other streams of the same subscription.
    pub(super) fn add(&mut self, others: Vec<Action>) {
        self.due.extend(others.into_iter().map(|action| (action, None)));
    }

    /// Whether a request about a subscription has to wait.
    pub(super) fn holds(&self, identifier: &str) -> bool {
        self.is_barred
            || self.alone.is_some()
            || !self.due.is_empty()
            || self.lines.iter().any(|line| line.identifier.as_str() == identifier)
    }

    pub(super) fn wait(&mut self, request: Request<'static>) {
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

    pub(super) fn hold(&mut self, identifier: Identifier, held: (Ticket, Held)) {
        match self.lines.iter_mut().find(|line| line.identifier == identifier) {
            Some(line) => line.held = Some(held),
            None => {
                self.lines.push(Line { identifier, held: Some(held), waiting: VecDeque::new() });
            }
        }
    }

    pub(super) fn take_held(&mut self, ticket: Ticket) -> Option<Held> {
        let is_it = |line: &&mut Line| line.held.as_ref().is_some_and(|held| held.0 == ticket);
        let line = self.lines.iter_mut().find(is_it)?;
        line.held.take().map(|(_, held)| held)
    }

    /// Removes the first request that needn't wait any longer. A join that goes alone waits for all
    /// earlier answers, and later requests wait for it.
    pub(super) fn release(
        &mut self,
        goes_alone: impl Fn(&Request<'_>) -> bool,
    ) -> Option<Request<'static>> {
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

    pub(super) fn is_full(&self) -> bool {
        self.is_barred
            || self.alone.is_some()
            || self.waiting >= MAX_WAITING
            || self.waiting_bytes >= MAX_WAITING_BYTES
            || self.lines.iter().filter(|line| line.held.is_some()).count() >= MAX_OUT
    }

    pub(super) fn give(&mut self) -> Ticket {
        self.given = self.given.wrapping_add(1);
        Ticket(self.given)
    }
}

/// The question about the member that joins by an action, if one does.
pub(super) fn presence(action: &Action) -> Option<Question> {
    let Action::Forward { stream, command, .. } = action else { return None };
    let join = command.join()?;
    Some(Question::Presence { stream: stream.clone(), id: join.id.clone() })
}

/// Completes an action with the answer it waited for.
pub(super) fn fill((action, _): &mut Due, verdict: Verdict) {
    if let (Action::Forward { command, .. }, Verdict::Presence(extra)) = (action, verdict)
        && let Some(join) = command.join_mut()
    {
        join.extra = extra;
    }
}
