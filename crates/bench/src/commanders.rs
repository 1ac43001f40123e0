//! Clients that send commands, each one at a time: as soon as the one before was answered, or at a pace.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use crate::action_cable::ActionCable;
use crate::client::Client;
use crate::clock;
use crate::crowd::{Crowd, Listener};
use crate::latency;
use crate::pacer::Pacer;
use crate::received::{Classifier, Received};

/// What they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// Who is present.
    Lists,
    /// To join and to leave, in turn; they begin outside.
    JoinsAndLeaves,
}

pub(crate) struct Commanders {
    asking: Asking,
    each: Vec<Commander>,
    /// Those who have nothing to wait for, where there is a pace.
    idle: VecDeque<u32>,
    pacer: Option<Pacer>,
    /// Until when they begin something.
    until: u64,
    /// Commands sent before aren't measured.
    since: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    /// Those of them that are measured.
    pub(crate) measured: u64,
    /// In microseconds.
    pub(crate) latency: Histogram<u64>,
}

struct Commander {
    /// What it sends, in turn.
    commands: Vec<Vec<u8>>,
    next: usize,
    /// Since when it waits for an answer.
    waits: Option<u64>,
    /// When it sent its last command.
    began: u64,
}

impl Commanders {
    /// `streams` has the one of each client. Without a rate, they send as fast as they are answered.
    pub(crate) fn new(
        asking: Asking,
        streams: &[u32],
        cable: &ActionCable,
        rate: Option<f64>,
    ) -> Self {
        let commands = |(number, stream): (u32, &u32)| match asking {
            Asking::Lists => vec![cable.list(*stream)],
            Asking::JoinsAndLeaves => vec![cable.join(*stream, number), cable.leave(*stream)],
        };
        let each = (0..)
            .zip(streams)
            .map(|of| Commander { commands: commands(of), next: 0, waits: None, began: 0 })
            .collect();
        Self {
            asking,
            each,
            idle: VecDeque::new(),
            pacer: rate.map(|rate| Pacer::new(rate, clock::now())),
            until: 0,
            since: 0,
            sent: 0,
            answered: 0,
            measured: 0,
            latency: latency::histogram(),
        }
    }

    /// Lets them begin; they go on until then.
    pub(crate) fn start(&mut self, crowd: &mut Crowd, until: u64) {
        self.until = until;
        self.idle.clear();
        for client in crowd.clients() {
            if self.pacer.is_some() {
                self.idle.push_back(client.number);
            } else {
                self.command(client);
            }
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.begin(clock::now());
        }
    }

    /// Sends what is due, where there is a pace. When something is due next.
    pub(crate) fn advance(&mut self, crowd: &mut Crowd, now: u64) -> u64 {
        let Some(mut pacer) = self.pacer else { return self.until };
        while now < self.until
            && let Some(number) = self.idle.front().copied()
            && pacer.due(now)
        {
            self.idle.pop_front();
            if let Some((client, _)) = crowd.client(number as usize) {
                self.command(client);
            }
        }
        self.pacer = Some(pacer);
        pacer.next()
    }

    /// Measures from now on.
    pub(crate) fn measure(&mut self, now: u64) {
        (self.since, self.measured) = (now, 0);
        self.latency.reset();
    }

    /// When a commander sent its last command.
    pub(crate) fn began(&self, number: u32) -> Option<u64> {
        self.each.get(number as usize).map(|commander| commander.began)
    }

    pub(crate) fn pending(&self) -> u64 {
        self.sent - self.answered
    }

    fn command(&mut self, client: &mut Client) {
        let Some(commander) = self.each.get_mut(client.number as usize) else { return };
        if let Some(command) = commander.commands.get(commander.next) {
            commander.began = clock::now();
            commander.waits = Some(commander.began);
            commander.next = (commander.next + 1) % commander.commands.len();
            self.sent += 1;
            client.send(command);
        }
    }

    fn is_answer(
        &self,
        client: &Client,
        received: Received,
        text: &[u8],
        classifier: &Classifier,
    ) -> bool {
        match self.asking {
            Asking::Lists => received == Received::Listed,
            Asking::JoinsAndLeaves => {
                matches!(received, Received::Joined | Received::Left)
                    && classifier.member(text) == Some(client.number)
            }
        }
    }
}

impl Listener for Commanders {
    fn on_message(
        &mut self,
        client: &mut Client,
        received: Received,
        text: &[u8],
        now: u64,
        classifier: &Classifier,
    ) {
        if !self.is_answer(client, received, text, classifier) {
            return;
        }
        let Some(commander) = self.each.get_mut(client.number as usize) else { return };
        let Some(since) = commander.waits.take() else { return };
        self.answered += 1;
        if since >= self.since {
            self.measured += 1;
            self.latency.saturating_record(now.saturating_sub(since) / 1000);
        }
        if self.pacer.is_some() {
            self.idle.push_back(client.number);
        } else if now < self.until {
            self.command(client);
        }
    }
}
