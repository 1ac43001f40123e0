//! A session that asks: its commands wait for answers.
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

use std::sync::Arc;

use super::action::Action;
use super::question::{Question, Ticket, Verdict};
use super::session::Session;
use super::tickets::{Alone, Due, Held, Step, fill, presence};
use crate::auth::Streams;
use crate::types::{ClientCommand, Limits, Reference, Request};

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
