//! A session whose joins name its client.
//!
//! Whether a join succeeds is the stream's decision. So behind a join that may change the default presence id the
//! session asks its shard under which id the subscription is present. Until the verdict comes, what has a name
//! goes on; what has none waits ([`Session::is_naming`]).

use super::action::Action;
use super::question::{Question, Ticket};
use super::session::Session;
use super::tickets::Naming;
use crate::types::{ClientCommand, PresenceId, Request};

impl Session {
    /// Whether the default presence id may yet change by an earlier command. Until it can't, nothing should be
    /// decoded that depends on it.
    pub fn is_naming(&self) -> bool {
        let Some(tickets) = self.tickets.as_deref().filter(|_| self.keeps_names()) else {
            return false;
        };
        let mut waiting = tickets.lines.iter().flat_map(|line| &line.waiting);
        !tickets.namings.is_empty() || waiting.any(|(_, request)| self.may_name(request))
    }

    /// Asks what becomes of a join, right behind it, if that may change the default presence id.
    pub(super) fn ask_name(&mut self, join: &Action) {
        let Action::Forward { stream, identifier, watch, command } = join else { return };
        let Some(join) = command.join() else { return };
        if self.presence_id.as_ref() == Some(&join.id) && !self.is_naming() {
            return;
        }
        let tickets = self.tickets.get_or_insert_default();
        let ticket = tickets.give();
        tickets.namings.push(Naming { ticket, place: tickets.place, id: join.id.clone() });
        let (stream, identifier, watch) = (stream.clone(), identifier.clone(), *watch);
        let question = Question::PresentAs { stream, identifier, watch };
        tickets.due.push_back((Action::Ask { ticket, question }, None));
    }

    /// Takes the id under which the subscription of a join is present.
    pub(super) fn take_name(&mut self, ticket: Ticket, id: Option<PresenceId>) {
        let Some(tickets) = self.tickets.as_deref_mut() else { return };
        let Some(at) = tickets.namings.iter().position(|it| it.ticket == ticket) else { return };
        let Naming { place, id: wanted, .. } = tickets.namings.swap_remove(at);
        if id.as_ref() == Some(&wanted) && place >= tickets.named {
            tickets.named = place;
            self.presence_id = id;
        }
    }

    /// Whether a request is a join under another id than the default.
    fn may_name(&self, request: &Request<'_>) -> bool {
        let Ok(
            ClientCommand::Subscribe { join: Some(Ok(join)), .. }
            | ClientCommand::Join { join, .. }
            | ClientCommand::Update { join, .. },
        ) = &request.command
        else {
            return false;
        };
        join.id.is_some() && join.id != self.presence_id
    }
}
