//! Clients: what they say to their nodes, and what they make of what they are told.

use broker::shard::{End, Input, Outcome, SubscriberKey, Ticket};
use broker::types::{Grant, MemberList, ServerMessage, SessionId};

use crate::faults::Fate;
use crate::replay::{apply, replay};
use crate::steps::{What, command};
use crate::subscriber::key;
use crate::world::{NODES, STREAMS, World};

/// A client, by its connection: a new one has a new number.
pub(crate) struct Client {
    pub(crate) session: SessionId,
    pub(crate) number: usize,
    pub(crate) node: usize,
    /// How many streams have yet to say whether it is resumed there.
    pub(crate) resuming: usize,
    /// In each stream, the members as it knows them, once it has asked.
    pub(crate) views: [Option<MemberList>; STREAMS],
    pub(crate) is_subscribed: [bool; STREAMS],
    /// Since a resume it may have heard something twice, so that its list has another order.
    pub(crate) is_unordered: [bool; STREAMS],
    /// How many confirmations it awaits, and how many come before that of its present subscription.
    pub(crate) awaited: [usize; STREAMS],
    pub(crate) outdated: [usize; STREAMS],
}

impl World {
    pub(crate) fn client(&mut self, node: usize) -> Client {
        self.made += 1;
        Client {
            session: self.nodes[node].id.session(self.made),
            number: usize::try_from(self.made).unwrap(),
            node,
            resuming: 0,
            views: Default::default(),
            is_subscribed: Default::default(),
            is_unordered: Default::default(),
            awaited: Default::default(),
            outdated: Default::default(),
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
            }
        }
        client.is_subscribed[of] = !matches!(what, What::Unsubscribe);
        if let What::Unsubscribe = what {
            client.views[of] = None;
            client.is_unordered[of] = false;
        }
        let key: SubscriberKey = key(client.session.to_bits());
        let (node, recipient) = (client.node, client.number * STREAMS + of);
        let command = command(what, self.engine.unix);
        let input = Input::Command { key, recipient, command, reference: None };
        self.handle(node, of, input);
    }

    pub(crate) fn end_connection(&mut self, number: usize, to: usize, resumes: bool) {
        let Client { session, node, is_subscribed, .. } = self.clients[number];
        for of in 0..STREAMS {
            let end = End { grant: resumes.then_some(Grant::OPEN), ..End::at(self.now) };
            let input = Input::Ended { key: key(session.to_bits()), end };
            self.handle(node, of, input);
        }
        let mut client = self.client(to);
        if resumes {
            if number.is_multiple_of(2) {
                self.append(node, Fate::Stored);
            }
            self.hear();
            client.views = std::mem::take(&mut self.clients[number].views);
            for of in (0..STREAMS).filter(|of| is_subscribed[*of]) {
                let ticket = Ticket(client.number * STREAMS + of);
                let (from, to) = (key(session.to_bits()), client.session);
                let input = Input::Resume { from, to, recipient: ticket.0, ticket };
                self.handle(client.node, of, input);
            }
            client.is_subscribed = is_subscribed;
            client.resuming = is_subscribed.iter().filter(|is_subscribed| **is_subscribed).count();
            client.is_unordered = [true; STREAMS];
        }
        self.clients[number] = client;
    }

    /// Clients take what is for them.
    pub(crate) fn hear(&mut self) {
        for node in 0..NODES {
            let mut heard = Vec::new();
            let mut output = self.nodes[node].partition.shard_mut().commit(|_| ());
            let mut answered = Vec::new();
            while let Some((ticket, outcome)) = output.poll_outcome() {
                if let Some((recipient, Outcome::Resumed(is_resumed))) =
                    self.requests.hear(ticket, outcome)
                {
                    answered.push((recipient, is_resumed));
                }
            }
            while let Some(delivery) = output.poll_reply() {
                heard.extend(delivery.messages.into_iter().map(|it| (delivery.recipient, it)));
            }
            while let Some(slice) = output.poll_fan_out(100, self.now) {
                for (recipient, has) in slice.recipients {
                    let messages = slice.messages[has..].iter().cloned();
                    heard.extend(messages.map(|message| (recipient, message)));
                }
            }
            for (recipient, is_resumed) in answered {
                let (number, of) = (recipient / STREAMS, recipient % STREAMS);
                let client = self.clients.iter_mut().find(|client| client.number == number);
                let Some(client) = client else { continue };
                client.resuming -= 1;
                self.seen.resumed += usize::from(is_resumed);
                if !is_resumed {
                    (client.is_subscribed[of], client.views[of]) = (false, None);
                    client.is_unordered[of] = false;
                }
            }
            for (recipient, message) in heard {
                self.told(recipient, message);
            }
        }
    }

    fn told(&mut self, recipient: usize, message: ServerMessage) {
        let (number, of) = (recipient / STREAMS, recipient % STREAMS);
        let client = self.clients.iter_mut().find(|client| client.number == number);
        let Some(client) = client else { return };
        if message == ServerMessage::Confirmed {
            client.awaited[of] -= 1;
            client.outdated[of] = client.outdated[of].saturating_sub(1);
        }
        if !client.is_subscribed[of] || client.outdated[of] > 0 {
            return;
        }
        match (message, &mut client.views[of]) {
            (ServerMessage::Presence(change), Some(view)) => replay(view, &change),
            (ServerMessage::Missed { id, change, extra }, Some(view)) => {
                apply(view, &id, (&change, &extra), false);
            }
            (ServerMessage::PresenceList(list), Some(view)) => {
                let list = list.to_vec();
                if std::mem::take(&mut client.is_unordered[of]) {
                    assert_eq!(sorted(view), sorted(&list));
                    *view = list;
                } else {
                    assert_eq!(*view, list);
                }
            }
            (ServerMessage::PresenceList(list), view) => *view = Some(list.to_vec()),
            _ => {}
        }
    }
}

fn sorted(list: &MemberList) -> MemberList {
    let mut list = list.clone();
    list.sort_by(|a, b| a.id.cmp(&b.id));
    list
}
