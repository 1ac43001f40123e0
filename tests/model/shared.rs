//! A shard of a log that several nodes write: what a client hears, and when.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{Change, Entry, LogId, NodeId, Origin, Position, Subscription};
use broker::shard::{
    End, HistorySettings, Input, Outcome, ParkedChange, ParkedState, ResumeSettings, Settings,
    Shard, SubscriberKey, Ticket,
};
use broker::types::{
    Grant, Identity, Join, Listing, Rights, ServerMessage, StreamCommand, StreamName, Watch,
};

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
    /// How much of it each node has read.
    read: [usize; 3],
    now: Instant,
}

impl Few {
    fn new() -> Self {
        let now = Clock::new().now();
        let node = |number| Shard::sharing(SETTINGS, NodeId(number), now);
        Self { nodes: (1..=3).map(node).collect(), log: Vec::new(), read: [0; 3], now }
    }

    fn command(&mut self, node: usize, command: StreamCommand) {
        let (key, recipient) = (key(node as u128), node);
        self.input(node, Input::Command { key, recipient, command, reference: None });
    }

    fn input(&mut self, node: usize, input: Input<usize>) {
        self.nodes[node].handle(&stream(0), input, self.now);
    }

    /// Everything that a node proposes, also when it reads its own entries.
    fn settle(&mut self, node: usize) -> Vec<ServerMessage> {
        let mut told = Vec::new();
        while self.nodes[node].waiting() > 0 {
            self.append(node);
            told.extend(self.read(node));
        }
        told
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
        for entry in &self.log[self.read[node]..] {
            self.nodes[node].apply(entry.clone(), self.now).ok();
        }
        self.read[node] = self.log.len();
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

#[test]
fn who_unsubscribes_and_joins_anew_before_anything_is_in_the_log_is_present() {
    let mut few = Few::new();
    few.command(0, subscribe(Some(join(0, 0))));
    few.command(0, StreamCommand::Unsubscribe);
    few.command(0, subscribe(Some(join(0, 1))));
    few.settle(0);
    few.command(0, StreamCommand::List(Listing::Members));
    let told = few.read(0);
    let Some(ServerMessage::PresenceList(list)) = told.last() else { panic!("{told:?}") };
    assert_eq!(list.iter().map(|member| member.info.as_str()).collect::<Vec<_>>(), ["1"]);
}

#[test]
fn a_session_is_resumed_though_its_end_is_not_in_the_log_yet() {
    let mut few = Few::new();
    few.command(0, subscribe(Some(join(0, 0))));
    let end = End { grant: Some(Grant::OPEN), ..End::at(few.now) };
    few.input(0, Input::Ended { key: key(0_u128), end });
    let (to, ticket) = (key(7_u128).session, Ticket(3));
    few.input(0, Input::Resume { from: key(0_u128), to, recipient: 7, ticket });
    few.settle(0);
    let outcome = few.nodes[0].commit(|_| ()).poll_outcome();
    assert_eq!(outcome, Some((ticket, Outcome::Resumed(true))));
    assert_eq!(few.nodes[0].totals().records, 1);
}

#[test]
fn a_session_is_over_though_its_end_is_not_in_the_log_yet() {
    let mut few = Few::new();
    few.command(0, subscribe(Some(join(0, 0))));
    let end = End { grant: Some(Grant::OPEN), ..End::at(few.now) };
    few.input(0, Input::Ended { key: key(0_u128), end });
    few.input(0, Input::Forget { key: key(0_u128) });
    few.settle(0);
    assert_eq!(few.nodes[0].totals().parked, 0);
    assert_eq!(few.nodes[0].totals().records, 1, "it keeps its TTL");
}

#[test]
fn what_a_parked_subscription_was_granted_is_known_to_all_nodes() {
    let mut few = Few::new();
    few.command(0, subscribe(None));
    let rights = Rights { join: true, whisper: false };
    let identity = Identity { identifier: 5, presence_id: 6 };
    let grant = Grant { rights, identity };
    let end = End { grant: Some(grant), ..End::at(few.now) };
    few.input(0, Input::Ended { key: key(0_u128), end });
    few.settle(0);
    few.read(1);
    let by = key(0_u128);
    let change = |state| ParkedChange { stream: stream(0), by: subscription(&by), state };
    let parked = [change(ParkedState::Parked(Watch::Members, grant))];
    for node in [0, 1] {
        assert_eq!(few.nodes[node].take_parked(), parked);
    }
    let (to, ticket) = (key(7_u128).session, Ticket(3));
    few.input(1, Input::Resume { from: by.clone(), to, recipient: 7, ticket });
    few.settle(1);
    few.read(0);
    for node in [0, 1] {
        let resumed = [ParkedState::Resumed, ParkedState::Over].map(change);
        assert_eq!(few.nodes[node].take_parked(), resumed);
    }
}

#[test]
fn a_stream_is_idle_from_when_it_was_last_left() {
    let mut few = Few::new();
    let begun = few.now;
    few.command(0, subscribe(None));
    // what node 1, which has no subscriber there, has to say at a time
    let mut says = |millis, command: Option<StreamCommand>| {
        few.now = begun + Duration::from_millis(millis);
        if let Some(command) = command {
            few.command(0, command);
            few.settle(0);
            few.read(1);
        }
        few.nodes[1].handle_timeout(few.now);
        few.nodes[1].take_proposals().into_iter().map(|it| it.change).collect::<Vec<_>>()
    };
    for at in [0, 8000] {
        assert_eq!(says(at, Some(StreamCommand::Join(join(0, 0)))), []);
        assert_eq!(says(at + 1000, Some(StreamCommand::Leave(None))), []);
    }
    for millis in [11_000, 12_000, 18_800] {
        assert_eq!(says(millis, None), [], "ten seconds after the first leave, not after the last");
    }
    let said = says(19_000, None);
    assert!(matches!(said[..], [Change::Idle { .. }]), "{said:?}");
    assert_eq!(says(40_000, None), [], "once is enough");
}

fn subscription(key: &SubscriberKey) -> Subscription {
    Subscription { session: key.session, identifier: key.group.identifier.clone() }
}
