//! A shard of a log that several nodes write: what a client hears, and when.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{Entry, LogId, NodeId, Origin, Position};
use broker::shard::{HistorySettings, Input, ResumeSettings, Settings, Shard};
use broker::types::{Join, Listing, ServerMessage, StreamCommand, StreamName};

use crate::shard_settings::without_history;
use crate::subscriber::{key, subscribe};

const IDS: [&str; 3] = ["ann", "bob", "cem"];

const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: Duration::from_secs(60), max_unacked: Duration::from_secs(10) },
    max_members: 2,
    max_records: 2,
    history: HistorySettings { limit: 3, ttl: Duration::from_secs(3600), max_bytes: usize::MAX },
    log: LogId(11),
    ..without_history(Duration::from_millis(300))
};

fn stream(number: usize) -> StreamName {
    format!("stream-{number}").into()
}

fn join(id: usize, info: usize) -> Join {
    Join { id: IDS[id].into(), info: info.to_string().into(), extra: None }
}

/// Some nodes, each with one client, and the messages that come of a few commands.
struct Few {
    nodes: Vec<Shard<usize>>,
    log: Vec<Entry>,
    now: Instant,
}

impl Few {
    fn new() -> Self {
        let now = Clock::new().now();
        let node = |number| Shard::sharing(SETTINGS, NodeId(number), now);
        Self { nodes: (1..=3).map(node).collect(), log: Vec::new(), now }
    }

    fn command(&mut self, node: usize, command: StreamCommand) {
        let (key, recipient) = (key(node as u128), node);
        let input = Input::Command { key, recipient, command, reference: None };
        self.nodes[node].handle(&stream(0), input, self.now);
    }

    fn append(&mut self, node: usize) {
        let proposals = self.nodes[node].take_proposals().into_iter();
        let node = NodeId(node as u64 + 1);
        let next = self.log.len() as u64 + 1;
        self.log.extend((next..).zip(proposals).map(|(position, proposal)| Entry {
            position: Position(position),
            at: 0,
            origin: Origin { node, request: proposal.request },
            stream: proposal.stream,
            change: proposal.change,
        }));
    }

    fn read(&mut self, node: usize) -> Vec<ServerMessage> {
        for entry in &self.log {
            self.nodes[node].apply(entry.clone(), self.now).ok();
        }
        let mut output = self.nodes[node].commit(|_| ());
        let mut told = Vec::new();
        while let Some(reply) = output.poll_reply() {
            told.extend(reply.messages);
        }
        told
    }
}

#[test]
fn a_client_that_joins_and_asks_at_once_finds_itself() {
    let mut few = Few::new();
    few.command(0, subscribe(None));
    few.command(0, StreamCommand::Join(join(0, 0)));
    few.command(0, StreamCommand::List(Listing::Members));
    few.command(1, subscribe(Some(join(1, 0))));
    few.append(1);
    few.append(0);
    let told = few.read(0);
    let Some(ServerMessage::PresenceList(list)) = told.last() else { panic!("{told:?}") };
    let ids: Vec<&str> = list.iter().map(|member| member.id.as_str()).collect();
    assert_eq!(ids, ["bob", "ann"], "in the log's order");
}

#[test]
fn nothing_is_seen_of_a_change_before_it_is_in_the_log() {
    let mut few = Few::new();
    few.command(0, subscribe(None));
    assert_eq!(few.read(0), [ServerMessage::Confirmed], "that changes nothing");
    few.command(0, StreamCommand::Join(join(0, 0)));
    few.command(0, StreamCommand::List(Listing::Count));
    assert_eq!(few.read(0), []);
    few.append(0);
    assert_eq!(few.read(0).last(), Some(&ServerMessage::PresenceCount(1)));
}

#[test]
fn who_comes_too_late_for_the_last_place_hears_why() {
    let mut few = Few::new();
    for node in 0..3 {
        few.command(node, subscribe(Some(join(node, 0))));
    }
    for node in [2, 0, 1] {
        few.append(node);
    }
    let refused = |told: &[ServerMessage]| {
        told.iter().any(|message| {
            matches!(message, ServerMessage::Refused(reason) if reason.contains("at most 2 members"))
        })
    };
    let told = [0, 1, 2].map(|node| refused(&few.read(node)));
    assert_eq!(told, [false, true, false]);
}
