//! Clients: what they say to their nodes.

use broker::shard::{End, GroupKey, Input, Outcome, SubscriberKey, Ticket};
use broker::types::{Grant, SessionId, StreamPosition, Watch};

use crate::faults::Fate;
use crate::steps::{What, command};
use crate::subscriber::key;
use crate::watchers::View;
use crate::world::{CLIENTS, STREAMS, World};

/// A client, by its connection: a new one has a new number.
pub(crate) struct Client {
    pub(crate) session: SessionId,
    pub(crate) number: usize,
    pub(crate) node: usize,
    /// Whether it watches the numbers of members instead of the members.
    pub(crate) counts: bool,
    /// How many streams have yet to say whether it is resumed there.
    pub(crate) resuming: usize,
    /// What it knows of each stream.
    pub(crate) views: [View; STREAMS],
    pub(crate) is_subscribed: [bool; STREAMS],
    /// How many confirmations it awaits, and how many come before that of its present subscription.
    pub(crate) awaited: [usize; STREAMS],
    pub(crate) outdated: [usize; STREAMS],
    /// The places of publications that it, or the client that it was before, has been shown.
    pub(crate) known: [Vec<StreamPosition>; STREAMS],
}

impl Client {
    pub(crate) fn key(&self) -> SubscriberKey {
        self.key_of(self.session)
    }

    fn key_of(&self, session: SessionId) -> SubscriberKey {
        let key = key(session.to_bits());
        let watch = if self.counts { Watch::Occupancy } else { Watch::Members };
        SubscriberKey { group: GroupKey { watch, ..key.group }, ..key }
    }
}

impl World {
    /// The next connection of a client, by its place.
    pub(crate) fn client(&mut self, place: usize, node: usize) -> Client {
        self.made += 1;
        Client {
            session: self.nodes[node].id.session(self.made),
            number: usize::try_from(self.made).unwrap(),
            node,
            counts: place >= CLIENTS,
            resuming: 0,
            views: Default::default(),
            is_subscribed: Default::default(),
            awaited: Default::default(),
            outdated: Default::default(),
            known: self
                .clients
                .get_mut(place)
                .map(|it| std::mem::take(&mut it.known))
                .unwrap_or_default(),
        }
    }

    pub(crate) fn command(&mut self, number: usize, of: usize, what: What) {
        let client = &mut self.clients[number];
        if client.resuming > 0 {
            return; // it has no welcome yet
        }
        let is_subscribe = matches!(what, What::Subscribe { .. });
        if !is_subscribe && !client.is_subscribed[of] {
            return; // its session says so
        }
        if is_subscribe {
            client.awaited[of] += 1;
            if !client.is_subscribed[of] {
                client.outdated[of] = client.awaited[of];
                client.views[of] = View::default();
            }
        }
        client.is_subscribed[of] = !matches!(what, What::Unsubscribe);
        let mut after = None;
        if let What::History { back } = what {
            let known = &client.known[of];
            if client.views[of].asked.is_some() || known.is_empty() || client.outdated[of] > 0 {
                return; // one at a time
            }
            after = known.get(known.len() - 1 - back.min(known.len() - 1)).cloned();
            client.views[of].ask(after.clone());
        }
        let (node, recipient, key) = (client.node, client.number * STREAMS + of, client.key());
        let command = command(what, self.engine.unix, (of, after));
        let input = Input::Command { key, recipient, command, reference: None };
        self.handle(node, of, input);
    }

    /// A client's connection ends, and it comes back. If it resumes, somebody else may try the same, by another node.
    pub(crate) fn end_connection(
        &mut self,
        number: usize,
        to: usize,
        resumes: bool,
        rival: Option<usize>,
    ) {
        let (session, node) = (self.clients[number].session, self.clients[number].node);
        let is_subscribed = self.clients[number].is_subscribed;
        let (at, from) = (self.nodes[node].now(self.now), self.clients[number].key());
        self.over.insert(session, self.now);
        for of in 0..STREAMS {
            let end = End { grant: resumes.then_some(Grant::OPEN), ..End::at(at) };
            self.handle(node, of, Input::Ended { key: from.clone(), end });
        }
        if !resumes {
            self.clients[number] = self.client(number, to);
            return;
        }
        if number.is_multiple_of(2) {
            self.append(node, Fate::Stored);
        }
        self.hear();
        let mut client = self.client(number, to);
        client.views = std::mem::take(&mut self.clients[number].views);
        client.views.iter_mut().for_each(View::suspend);
        for of in (0..STREAMS).filter(|of| is_subscribed[*of]) {
            let ticket = Ticket(client.number * STREAMS + of);
            let (from, to) = (from.clone(), client.session);
            let input = Input::Resume { from, to, recipient: ticket.0, ticket };
            self.handle(client.node, of, input);
        }
        client.is_subscribed = is_subscribed;
        client.resuming = is_subscribed.iter().filter(|is_subscribed| **is_subscribed).count();
        self.resumes.insert(client.number, session);
        self.clients[number] = client;
        if let Some(rival) = rival {
            self.compete(number, (from, rival), is_subscribed);
        }
    }

    /// Somebody else wants to resume a session. It ends as soon as it knows.
    fn compete(
        &mut self,
        number: usize,
        (from, node): (SubscriberKey, usize),
        is_subscribed: [bool; STREAMS],
    ) {
        self.made += 1;
        let rival = usize::try_from(self.made).unwrap();
        let session = self.nodes[node].id.session(self.made);
        self.resumes.insert(rival, from.session);
        for of in (0..STREAMS).filter(|of| is_subscribed[*of]) {
            let ticket = Ticket(rival * STREAMS + of);
            let from = from.clone();
            let input = Input::Resume { from, to: session, recipient: ticket.0, ticket };
            self.handle(node, of, input);
        }
        let key = self.clients[number].key_of(session);
        self.rivals.insert(rival, (node, key));
    }

    /// Clients take what is for them.
    pub(crate) fn hear(&mut self) {
        for node in 0..self.nodes.len() {
            let mut heard = Vec::new();
            let now = self.nodes[node].now(self.now);
            let mut output = self.nodes[node].partition.shard_mut().commit(|_| ());
            let (mut answered, mut outcomes) = (Vec::new(), Vec::new());
            while let Some(outcome) = output.poll_outcome() {
                outcomes.push(outcome);
            }
            while let Some(delivery) = output.poll_reply() {
                heard.extend(delivery.messages.into_iter().map(|it| (delivery.recipient, it)));
            }
            while let Some(slice) = output.poll_fan_out(100, now) {
                for (recipient, has) in slice.recipients {
                    let messages = slice.messages[has..].iter().cloned();
                    heard.extend(messages.map(|message| (recipient, message)));
                }
            }
            let read = self.nodes[node].read;
            for (ticket, outcome) in outcomes {
                let is_in_log = |text: &str| self.order.is_published(text, read);
                if let Some((recipient, Outcome::Resumed(is_resumed))) =
                    self.requests.hear(ticket, outcome, is_in_log)
                {
                    answered.push((recipient, is_resumed));
                }
            }
            if self.nodes[node].is_lost {
                continue; // nobody listens to it any more
            }
            for (recipient, is_resumed) in answered {
                self.answer_resume(recipient, is_resumed, read);
            }
            for (recipient, message) in heard {
                self.told(recipient, message);
            }
            for client in self.clients.iter_mut().filter(|client| client.node == node) {
                for of in (0..STREAMS).filter(|of| client.is_subscribed[*of]) {
                    client.views[of].rest(&self.order, of, read);
                }
            }
        }
    }

    fn answer_resume(&mut self, recipient: usize, is_resumed: bool, read: usize) {
        let (number, of) = (recipient / STREAMS, recipient % STREAMS);
        if is_resumed {
            let earlier = self.resumed.insert((self.resumes[&number], of), read);
            assert_eq!(earlier, None, "{:?} is resumed twice in {of}", self.resumes[&number]);
        }
        if let Some((node, key)) = self.rivals.get(&number).cloned() {
            let at = self.nodes[node].now(self.now);
            self.over.insert(key.session, self.now);
            self.seen.rivals += usize::from(is_resumed);
            if is_resumed {
                self.handle(node, of, Input::Ended { key, end: End::at(at) });
            }
            return;
        }
        let client = self.clients.iter_mut().find(|client| client.number == number);
        let Some(client) = client else { return };
        client.resuming -= 1;
        self.seen.resumed += usize::from(is_resumed);
        if is_resumed {
            client.views[of].resume(read);
        } else {
            client.is_subscribed[of] = false;
            client.views[of] = View::default();
        }
    }
}
