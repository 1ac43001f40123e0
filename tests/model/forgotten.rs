//! A stream of a shared log that is forgotten although a node has use for it, as its objection came too late.

use std::time::{Duration, Instant};

use broker::clock::Clock;
use broker::log::{Change, Entry, LogId, NodeId, Origin, Position};
use broker::shard::{
    End, HistorySettings, Input, Outcome, ResumeSettings, Settings, Shard, Ticket,
};
use broker::types::{
    Grant, HistoryRequest, Offset, ServerMessage, SessionId, StreamCommand, StreamName,
    StreamPosition,
};

use crate::shard_settings::without_history;
use crate::subscriber::{key, subscribe};

const MINUTE: Duration = Duration::from_secs(60);

const SETTINGS: Settings = Settings {
    resume: ResumeSettings { ttl: MINUTE, max_unacked: MINUTE },
    history: HistorySettings { limit: 9, ttl: MINUTE, max_bytes: usize::MAX },
    log: LogId(11),
    ..without_history(MINUTE)
};

const NODE: NodeId = NodeId(1);
const OTHER: NodeId = NodeId(2);

/// A node that applies a log.
struct Node {
    shard: Shard<u32>,
    next: Position,
    now: Instant,
}

fn stream() -> StreamName {
    "room".into()
}

/// A publication at a time, in seconds of the Unix epoch.
fn published(at: u64) -> Change {
    let (data, labels, except, author) = ("1".into(), None, None, None);
    Change::Published { data, labels, at: 1000 * at, except, is_kept: true, author }
}

impl Node {
    fn new() -> Self {
        let now = Clock::new().now();
        let mut shard = Shard::sharing(SETTINGS, NODE, now);
        shard.set_unix(50_000);
        Self { shard, next: Position(1), now }
    }

    /// Applies a change of another node, and returns its position.
    fn apply(&mut self, change: Change) -> Position {
        let origin = Origin { node: OTHER, request: 1 };
        self.append(origin, stream(), change)
    }

    fn append(&mut self, origin: Origin, stream: StreamName, change: Change) -> Position {
        let position = self.next;
        self.next = position.next();
        let entry = Entry { position, at: 50_000, origin, stream, change };
        self.shard.apply(entry, self.now).unwrap();
        position
    }

    /// Handles an input of a client; what it proposes is in the log at once.
    fn handle(&mut self, input: Input<u32>) {
        self.shard.handle(&stream(), input, self.now);
        for proposal in self.shard.take_proposals() {
            let origin = Origin { node: NODE, request: proposal.request };
            self.append(origin, proposal.stream, proposal.change);
        }
    }

    fn command(&mut self, session: SessionId, command: StreamCommand) {
        let (key, recipient, reference) = (key(session.to_bits()), 0, None);
        self.handle(Input::Command { key, recipient, command, reference });
    }

    /// The other node says that the stream is idle, and forgets it before this one can object.
    fn forget(&mut self, began: Position, head: u64, lost: u64) {
        let epoch = SETTINGS.log.epoch_at(began, 50_000);
        let idle = self.apply(Change::Idle { epoch, head: Offset(head) });
        self.apply(Change::ForgottenByAll { idle, lost: 1000 * lost });
    }

    fn heard(&mut self) -> Vec<ServerMessage> {
        let mut output = self.shard.commit(|_| ());
        let mut heard = Vec::new();
        while let Some((_, outcome)) = output.poll_outcome() {
            assert_eq!(outcome, Outcome::Resumed(true));
        }
        while let Some(reply) = output.poll_reply() {
            heard.extend(reply.messages);
        }
        while let Some(slice) = output.poll_fan_out(9, self.now) {
            heard.extend(slice.messages);
        }
        heard
    }
}

/// Offsets of the publications among some messages.
fn offsets(messages: &[ServerMessage]) -> Vec<u64> {
    let publications = messages.iter().filter_map(|message| match message {
        ServerMessage::Publication(it) => it.position.as_ref(),
        _ => None,
    });
    publications.map(|position| position.offset.0).collect()
}

fn history(since: Option<u64>, positions: Vec<(StreamName, StreamPosition)>) -> StreamCommand {
    StreamCommand::History(HistoryRequest { since, positions, joint: None })
}

#[test]
fn what_its_subscribers_are_told_live_they_are_not_told_again() {
    let mut node = Node::new();
    let (before, after) = (NODE.session(1), NODE.session(2));
    let began = node.apply(published(50));
    node.command(before, subscribe(None));
    let end = End { grant: Some(Grant::OPEN), ..End::at(node.now) };
    node.heard();
    node.handle(Input::Ended { key: key(before.to_bits()), end });
    let from = key(before.to_bits());
    node.handle(Input::Resume { from, to: after, recipient: 0, ticket: Ticket(0) });
    node.heard();
    node.now += 2 * Duration::from_secs(1);
    node.shard.handle_timeout(node.now);
    node.forget(began, 1, 50);
    node.apply(published(51));
    assert_eq!(offsets(&node.heard()), [1], "a new epoch");
    node.command(after, history(Some(51), Vec::new()));
    let told = node.heard();
    assert_eq!((offsets(&told), told.last()), (vec![], Some(&ServerMessage::HistoryConfirmed)));
}

#[test]
fn its_positions_are_refused() {
    let mut node = Node::new();
    let client = NODE.session(1);
    node.command(client, subscribe(None));
    let began = node.apply(published(50));
    node.forget(began, 1, 50);
    let anew = node.apply(published(51));
    node.heard();
    for (began, expected) in
        [(began, ServerMessage::HistoryRejected), (anew, ServerMessage::HistoryConfirmed)]
    {
        let at = StreamPosition { epoch: SETTINGS.log.epoch_at(began, 50_000), offset: Offset(1) };
        node.command(client, history(None, vec![(stream(), at)]));
        assert_eq!(node.heard(), [expected]);
    }
}

#[test]
fn what_was_lost_follows_from_the_log_alone() {
    let [mut early, mut late] = [Node::new(), Node::new()];
    late.command(NODE.session(1), subscribe(None));
    for node in [&mut early, &mut late] {
        let began = node.apply(published(50));
        if node.shard.totals().subscriptions == 0 {
            node.now += 2 * MINUTE;
            node.shard.handle_timeout(node.now);
        }
        node.forget(began, 1, 49); // one that says too little
        assert_eq!(node.shard.totals().publications, 0);
        assert_eq!(node.shard.forgotten(), 49_000);
    }
}
