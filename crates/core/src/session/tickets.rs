//! Questions of a session without an answer yet, and the commands that wait for the answers.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::action::Action;
use super::question::{Question, Ticket, Verdict};
use crate::types::{
    CallFailure, ChannelCommand, ClientCommand, HistoryRequest, Identifier, JoinRequest,
    PresenceId, Reference, Reply, Request, Watch,
};

/// Number of subscriptions waiting for an answer from which on no more commands should be read.
const MAX_OUT: usize = 32;

/// The same for waiting commands.
const MAX_WAITING: usize = 128;

/// The same for their texts, in bytes.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// An action, and the reference of the request it answers.
pub(super) type DueAction = (Action, Option<Arc<Reference>>);

/// An action that waits for an answer, with the actions for other streams of the same subscription.
#[derive(Debug)]
pub(super) struct WaitingAction {
    pub(super) due: DueAction,
    pub(super) others: VecDeque<DueAction>,
}

/// Everything that waits for answers; allocated only while something does.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    /// Number of the last ticket.
    pub(super) given: u32,
    /// Place of the last request in the order of arrival.
    pub(super) arrived: u64,
    /// Place of the request that is being decided.
    pub(super) place: u64,
    pub(super) lines: Vec<Line>,
    /// Actions that wait for nothing any more.
    pub(super) due: VecDeque<DueAction>,
    pub(super) alone: Option<Alone>,
    /// Joins that may change the default presence id, without a verdict yet.
    pub(super) namings: Vec<Naming>,
    /// Place of the join that changed it last.
    pub(super) named: u64,
    /// Answers of the application that have yet to be applied.
    pub(super) replied: VecDeque<Replied>,
    /// A join is to go alone; later requests that may add or remove records wait for it.
    pub(super) is_barred: bool,
    pub(super) waiting: usize,
    pub(super) waiting_bytes: usize,
}

/// One subscription that waits, and its later requests.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) identifier: Identifier,
    /// The join that waits for an answer, or to go alone.
    pub(super) held: Option<HeldJoin>,
    /// The command that the application is asked about.
    pub(super) call: Option<HeldCall>,
    /// Each with its place in the order of arrival over all lines.
    pub(super) waiting: VecDeque<(u64, Request<'static>)>,
}

/// A command that the application is asked about, in its line.
#[derive(Debug)]
pub(super) struct HeldCall {
    pub(super) ticket: Ticket,
    pub(super) kind: ChannelCommand,
    /// What else a subscribe asks for.
    pub(super) start: Option<Start>,
}

/// What a subscribe asks for besides the subscription.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) history: Option<HistoryRequest>,
    pub(super) join: Option<Result<JoinRequest, Cow<'static, str>>>,
    pub(super) watch: Watch,
}

/// What a subscribe repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeated {
    Nothing,
    /// One that waits.
    Waiting,
    /// The one that the application is asked about.
    Asked(Ticket),
}

/// An answer of the application that has yet to be applied.
#[derive(Debug)]
pub(super) struct Replied {
    pub(super) identifier: Identifier,
    pub(super) call: HeldCall,
    pub(super) reply: Result<Box<Reply>, CallFailure>,
}

/// A join in its line.
#[derive(Debug)]
pub(super) struct HeldJoin {
    /// Its place in the order of arrival.
    pub(super) place: u64,
    /// The ticket of the question about its member, without an answer yet.
    pub(super) ticket: Option<Ticket>,
    pub(super) goes_alone: bool,
    pub(super) join: WaitingAction,
}

/// A join that may change the default presence id.
#[derive(Debug)]
pub(super) struct Naming {
    /// Of the question about it.
    pub(super) ticket: Ticket,
    /// Its place in the order of arrival: the last join that succeeds counts, not the last verdict.
    pub(super) place: u64,
    /// The id that it asks for.
    pub(super) id: PresenceId,
}

/// A join that goes alone.
#[derive(Debug)]
pub(super) struct Alone {
    pub(super) next: Step,
    /// The ticket of the question without an answer yet.
    pub(super) ticket: Option<Ticket>,
    pub(super) join: WaitingAction,
}

/// The next step of a join that goes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait until all earlier commands have been applied.
    AwaitEarlier,
    Forward,
    /// Wait until the join has been applied.
    AwaitIt,
}

impl Line {
    fn is_held(&self) -> bool {
        self.held.is_some() || self.call.is_some()
    }
}

impl Tickets {
    /// Adds actions for other streams of the same subscription.
    pub(super) fn add(&mut self, others: Vec<Action>) {
        self.due.extend(others.into_iter().map(|action| (action, None)));
    }

    /// The place of a request that arrives now.
    pub(super) fn arrive(&mut self) -> u64 {
        self.arrived += 1;
        self.arrived
    }

    /// Whether a request about a subscription has to wait, whatever it is.
    pub(super) fn holds(&self, identifier: &str) -> bool {
        self.alone.is_some()
            || !self.due.is_empty()
            || !self.replied.is_empty()
            || self.lines.iter().any(|line| line.identifier.as_str() == identifier)
    }

    pub(super) fn wait(&mut self, place: u64, request: Request<'static>) {
        let Some(identifier) = request.identifier() else { return };
        self.waiting += 1;
        self.waiting_bytes += request.weight();
        match self.lines.iter_mut().find(|line| line.identifier.as_str() == identifier) {
            Some(line) => line.waiting.push_back((place, request)),
            None => self.lines.push(Line {
                identifier: identifier.into(),
                held: None,
                call: None,
                waiting: [(place, request)].into(),
            }),
        }
    }

    /// Holds the line of a subscription until the application has answered.
    pub(super) fn call(&mut self, identifier: Identifier, call: HeldCall) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.identifier == identifier) {
            line.call = Some(call);
        } else {
            let (call, waiting) = (Some(call), VecDeque::new());
            self.lines.push(Line { identifier, held: None, call, waiting });
        }
    }

    /// Takes the answer of the application, to be applied.
    pub(super) fn replied(&mut self, ticket: Ticket, reply: Result<Box<Reply>, CallFailure>) {
        for line in &mut self.lines {
            if let Some(call) = line.call.take_if(|call| call.ticket == ticket) {
                let identifier = line.identifier.clone();
                return self.replied.push_back(Replied { identifier, call, reply });
            }
        }
    }

    /// Number of subscriptions that the application is asked about.
    pub(super) fn subscribing(&self) -> usize {
        let calls = self.lines.iter().filter_map(|line| line.call.as_ref());
        calls.filter(|call| call.kind == ChannelCommand::Subscribe).count()
    }

    /// Whether a subscribe repeats the last command of its line, of a subscription that the application is asked about.
    pub(super) fn repeats(&self, identifier: &str) -> Repeated {
        let line = self.lines.iter().find(|line| line.identifier.as_str() == identifier);
        let Some((call, waiting)) = line.and_then(|it| Some((it.call.as_ref()?, &it.waiting)))
        else {
            return Repeated::Nothing;
        };
        match waiting.back() {
            Some((_, last)) => match last.command {
                Ok(ClientCommand::Subscribe { .. }) => Repeated::Waiting,
                Ok(_) | Err(_) => Repeated::Nothing,
            },
            None if call.kind == ChannelCommand::Subscribe => Repeated::Asked(call.ticket),
            None => Repeated::Nothing,
        }
    }

    pub(super) fn hold(&mut self, identifier: Identifier, held: HeldJoin) {
        self.is_barred |= held.goes_alone;
        if let Some(line) = self.lines.iter_mut().find(|line| line.identifier == identifier) {
            line.held = Some(held);
        } else {
            let (held, waiting) = (Some(held), VecDeque::new());
            self.lines.push(Line { identifier, held, call: None, waiting });
        }
    }

    /// Takes the answer about a held join. The join is due then, unless it goes alone.
    pub(super) fn answer(&mut self, ticket: Ticket, verdict: Verdict) {
        let is_it =
            |line: &&mut Line| line.held.as_ref().is_some_and(|held| held.ticket == Some(ticket));
        let Some(line) = self.lines.iter_mut().find(is_it) else { return };
        let Some(held) = &mut line.held else { return };
        held.ticket = None;
        fill(&mut held.join.due, verdict);
        if !held.goes_alone
            && let Some(held) = line.held.take()
        {
            self.come_due(held.join);
        }
    }

    /// An action waits for nothing any more.
    pub(super) fn come_due(&mut self, WaitingAction { due, others }: WaitingAction) {
        self.due.push_back(due);
        self.due.extend(others);
    }

    /// Lets the join go alone that has its answer, if everything that arrived before it has been forwarded.
    pub(super) fn go_alone(&mut self) -> bool {
        let held = self.lines.iter().filter_map(|line| line.held.as_ref());
        let waiting = self.lines.iter().flat_map(|line| &line.waiting).map(|(place, _)| *place);
        let first = held.map(|held| held.place).chain(waiting).min();
        let is_it = |held: &mut HeldJoin| {
            held.goes_alone && held.ticket.is_none() && Some(held.place) == first
        };
        let Some(held) = self.lines.iter_mut().find_map(|line| line.held.take_if(is_it)) else {
            return false;
        };
        self.alone = Some(Alone { next: Step::AwaitEarlier, ticket: None, join: held.join });
        true
    }

    /// Removes the first request that needn't wait any longer, and notes its place. A join that goes alone
    /// waits for all earlier requests; of the later ones, those wait for it that `keeps_order` says.
    pub(super) fn release(
        &mut self,
        goes_alone: impl Fn(&Request<'_>) -> bool,
        keeps_order: impl Fn(&Request<'_>) -> bool,
    ) -> Option<Request<'static>> {
        self.lines.retain(|line| line.is_held() || !line.waiting.is_empty());
        let held = self.lines.iter().filter_map(|line| line.held.as_ref());
        let held = held.filter(|held| held.goes_alone).map(|held| held.place).min();
        let waiting = || self.lines.iter().flat_map(|line| &line.waiting);
        let first = waiting().map(|(place, _)| *place).min();
        let alone = waiting().filter(|(_, it)| goes_alone(it)).map(|(place, _)| *place).min();
        let bar = held.into_iter().chain(alone).min();
        self.is_barred = bar.is_some();
        let is_free = |(place, request): &(u64, Request<'_>)| match bar {
            Some(bar) if *place == bar => Some(*place) == first,
            Some(bar) if *place > bar => !keeps_order(request),
            Some(_) | None => true,
        };
        let free = self.lines.iter_mut().filter(|line| !line.is_held());
        let free = free.filter(|line| line.waiting.front().is_some_and(is_free));
        let line = free.min_by_key(|line| line.waiting.front().map(|(place, _)| *place))?;
        let (place, request) = line.waiting.pop_front()?;
        self.place = place;
        self.waiting -= 1;
        self.waiting_bytes -= request.weight();
        Some(request)
    }

    pub(super) fn is_full(&self) -> bool {
        self.alone.is_some()
            || self.waiting >= MAX_WAITING
            || self.namings.len() >= MAX_OUT
            || self.waiting_bytes >= MAX_WAITING_BYTES
            || self.lines.iter().filter(|line| line.is_held()).count() >= MAX_OUT
    }

    /// The next step of the join that goes alone.
    pub(super) fn next_alone(&mut self) -> Option<DueAction> {
        let alone = self.alone.as_mut().filter(|alone| alone.ticket.is_none())?;
        if alone.next != Step::Forward {
            let ticket = self.give();
            self.alone.as_mut()?.ticket = Some(ticket);
            return Some((Action::Ask { ticket, question: Question::Applied }, None));
        }
        alone.next = Step::AwaitIt;
        self.due.append(&mut alone.join.others);
        Some(std::mem::replace(&mut alone.join.due, (Action::Wait, None)))
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
    Some(Question::MemberData { stream: stream.clone(), id: join.id.clone() })
}

/// Completes an action with the answer it waited for.
fn fill((action, _): &mut DueAction, verdict: Verdict) {
    if let (Action::Forward { command, .. }, Verdict::MemberData(extra)) = (action, verdict)
        && let Some(join) = command.join_mut()
    {
        join.extra = extra;
    }
}
