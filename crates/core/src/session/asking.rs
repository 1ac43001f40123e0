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
//! its stream may refuse because the client has too many records goes *alone*. Once it has its answer, it
//! waits until all earlier commands have been applied, and later ones wait until it has been: which join is
//! refused must not depend on the speed of a shard or of an answer. So while it waits for its answer, later
//! joins, leaves and unsubscribes wait for it in their lines; everything else goes on.

use std::sync::Arc;

use super::action::Action;
use super::question::{Ticket, Verdict};
use super::session::Session;
use super::tickets::{DueAction, HeldJoin, Repeated, Step, WaitingAction, presence};
use crate::auth::Streams;
use crate::types::{ClientCommand, CommandKind, Limits, Reference, Request};

impl Session {
    /// Takes the answer to a question. Drain [`Session::poll_action`] afterwards.
    pub fn answer(&mut self, ticket: Ticket, verdict: Verdict) {
        let verdict = match verdict {
            Verdict::PresentAs(id) => return self.take_name(ticket, id),
            Verdict::MemberData(_) | Verdict::Called(_) | Verdict::Applied => verdict,
        };
        let Some(tickets) = self.tickets.as_deref_mut() else { return };
        if let Verdict::Called(reply) = verdict {
            return tickets.replied(ticket, reply);
        }
        if let Some(alone) = tickets.alone.as_mut().filter(|it| it.ticket == Some(ticket)) {
            alone.ticket = None;
            match alone.next {
                Step::AwaitEarlier => (self.departed, alone.next) = (0, Step::Forward),
                Step::Forward | Step::AwaitIt => tickets.alone = None,
            }
        } else {
            tickets.answer(ticket, verdict);
        }
    }

    /// The next due action, if any.
    pub fn poll_action(&mut self, limits: &Limits, streams: &Streams) -> Option<DueAction> {
        let tickets = self.tickets.as_deref_mut()?;
        if let Some(due) = tickets.due.pop_front() {
            return Some(due);
        }
        if let Some(replied) = tickets.replied.pop_front() {
            self.take_reply(replied, limits);
            return self.poll_action(limits, streams);
        }
        if tickets.alone.is_some() || tickets.go_alone() {
            return tickets.next_alone();
        }
        let mut tickets = self.tickets.take()?;
        let waiting = tickets.waiting;
        let request = tickets.release(
            |request| self.goes_alone(request, limits),
            |request| self.keeps_order(request, waiting, limits),
        );
        if request.is_some() || !tickets.lines.is_empty() || !tickets.namings.is_empty() {
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
        if let Some(alone) = tickets.alone.take_if(|alone| alone.next != Step::AwaitIt) {
            tickets.come_due(alone.join);
        }
        tickets.alone = None;
        tickets.namings.clear();
        tickets.lines.iter_mut().for_each(|line| line.call = None);
        let held = tickets.lines.iter_mut().filter_map(|line| line.held.take());
        let mut held: Vec<_> = held.collect();
        held.sort_unstable_by_key(|held| held.place);
        for held in held {
            tickets.come_due(held.join);
        }
    }

    /// Decides about a request, or lets it wait for earlier ones.
    pub(super) fn handle_in_turn(
        &mut self,
        request: Request<'_>,
        limits: &Limits,
        streams: &Streams,
    ) -> Action {
        let waiting = self.tickets.as_ref().map_or(0, |tickets| tickets.waiting);
        let goes_alone = self.goes_alone(&request, limits);
        let keeps_order = self.keeps_order(&request, waiting, limits);
        if let Some(tickets) = &mut self.tickets {
            if let Ok(ClientCommand::Subscribe { identifier, .. }) = &request.command {
                match tickets.repeats(identifier) {
                    Repeated::Nothing => {}
                    Repeated::Waiting => return Action::Nothing(CommandKind::Subscribe),
                    Repeated::Asked(ticket) => return self.ask_again(ticket),
                }
            }
            let place = tickets.arrive();
            if let Some(identifier) = request.identifier()
                && (tickets.holds(identifier)
                    || (tickets.is_barred && keeps_order)
                    || (goes_alone && waiting > 0))
            {
                tickets.is_barred |= goes_alone;
                tickets.wait(place, request.into_owned());
                return Action::Wait;
            }
            tickets.place = place;
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
        let join = WaitingAction { due, others: std::mem::take(&mut tickets.due) };
        let ticket = self.asks.then(|| tickets.give());
        tickets.hold(identifier, HeldJoin { place: tickets.place, ticket, goes_alone, join });
        ticket.map_or(Action::Wait, |ticket| Action::Ask { ticket, question })
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

    /// Whether a request has to keep its place behind a join that goes alone: it may add or remove a record,
    /// or fail for want of a subscription that one of `waiting` requests would end or begin.
    fn keeps_order(&self, request: &Request<'_>, waiting: usize, limits: &Limits) -> bool {
        match &request.command {
            Ok(ClientCommand::Subscribe { join: None | Some(Err(_)), .. }) => {
                self.subscriptions.len().saturating_add(waiting) >= limits.subscriptions
            }
            Ok(
                ClientCommand::Subscribe { .. }
                | ClientCommand::Unsubscribe { .. }
                | ClientCommand::Join { .. }
                | ClientCommand::Update { .. }
                | ClientCommand::Leave { .. },
            ) => true,
            Ok(
                ClientCommand::Presence { .. }
                | ClientCommand::History { .. }
                | ClientCommand::Whisper { .. }
                | ClientCommand::Publish { .. }
                | ClientCommand::Perform { .. }
                | ClientCommand::Ping
                | ClientCommand::Pong,
            )
            | Err(_) => false,
        }
    }

    /// Whether the client's records may exceed the limit, with `more` new subscriptions. A subscription has
    /// at most one record, and so has one whose end may not have been applied yet.
    fn may_have_too_many(&self, more: usize, limits: &Limits) -> bool {
        let subscriptions = self.subscriptions.len() + more;
        subscriptions.saturating_add(self.departed as usize) > limits.records
    }
}
