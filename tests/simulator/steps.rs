//! What happens: to nodes, to the engine, to clients.

use broker::types::{HistoryRequest, Join, Listing, StreamCommand, StreamPosition, Whisper};
use proptest::prelude::*;

use crate::faults::Fate;
use crate::subscriber::subscribe;
use crate::world::{CLIENTS, COUNTERS, MAX_NODES, STREAMS, stream as name};

pub(crate) const IDS: [&str; 3] = ["ann", "bob", "cem"];

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Command {
        client: usize,
        stream: usize,
        what: What,
    },
    Publish {
        node: usize,
        stream: usize,
    },
    Put {
        node: usize,
        stream: usize,
        id: usize,
        has_ttl: bool,
    },
    Kick {
        node: usize,
        stream: usize,
        id: usize,
    },
    /// The connection ends; the client comes back to any node. It resumes its session, or begins anew.
    End {
        client: usize,
        to: usize,
        resumes: bool,
        /// A node by which somebody else tries to resume it, too.
        rival: Option<usize>,
    },
    /// A node appends what it has to append, if nothing of it is on its way.
    Append {
        node: usize,
        fate: Fate,
    },
    /// A node appends again what wasn't answered.
    Retry {
        node: usize,
    },
    /// A node reads on in the log.
    Read {
        node: usize,
        batches: usize,
    },
    /// A node takes a snapshot for those that start.
    Snapshot {
        node: usize,
        slice: usize,
    },
    /// A node's process is killed, and another one starts in its place: with the snapshot, and so many batches before
    /// it; or with the beginning of the log.
    Kill {
        node: usize,
        earlier: Option<usize>,
    },
    /// A node says that it lives, and has all compare what they have.
    Beat {
        node: usize,
    },
    /// A node asks all nodes to do something.
    Ask {
        node: usize,
    },
    /// A node accuses those whose beats stay out.
    Accuse {
        node: usize,
    },
    Pass(u64),
    /// Everyone leaves a stream.
    Leave {
        stream: usize,
    },
    /// Time passes, and all nodes read all that was proposed meanwhile.
    Rest(u64),
    /// All nodes read all that was proposed.
    Settle,
    /// The log goes on without what nodes may have had that are gone.
    Fork,
    /// Something arrives at the engine that was on its way.
    Arrive(usize),
    /// A node can't reach the engine any more.
    Cut {
        node: usize,
    },
    /// No node can.
    Stall,
    /// A node stands still.
    Pause {
        node: usize,
    },
    /// A node goes on, and reaches the engine.
    Heal {
        node: usize,
    },
    /// The engine loses its last batches, or all. Nodes put back what they have. What was on its way to it is refused if
    /// it has restarted. The node that has most may be away.
    Lose {
        batches: usize,
        restarts: bool,
        is_away: bool,
    },
    /// The engine's clock is set, by milliseconds.
    Jump(i64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    Subscribe {
        join: bool,
    },
    Unsubscribe,
    Join {
        id: usize,
        info: usize,
    },
    Update {
        id: usize,
        info: usize,
    },
    Leave,
    List,
    Whisper {
        members_only: bool,
    },
    Publish {
        members_only: bool,
    },
    /// It asks for all publications behind one that it knows, so many before the last.
    History {
        back: usize,
    },
}

/// An hour, in milliseconds.
const HOUR: i64 = 3_600_000;

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (node, stream) = (|| 0..MAX_NODES, || 0..STREAMS);
    let client = || 0..CLIENTS + COUNTERS;
    let (id, info) = (|| 0..IDS.len(), || 0..2_usize);
    let what = prop_oneof![
        4 => any::<bool>().prop_map(|join| What::Subscribe { join }),
        1 => Just(What::Unsubscribe),
        4 => (id(), info()).prop_map(|(id, info)| What::Join { id, info }),
        1 => (id(), info()).prop_map(|(id, info)| What::Update { id, info }),
        2 => Just(What::Leave),
        2 => Just(What::List),
        1 => any::<bool>().prop_map(|members_only| What::Whisper { members_only }),
        1 => any::<bool>().prop_map(|members_only| What::Publish { members_only }),
        4 => (0..4_usize).prop_map(|back| What::History { back }),
    ];
    let step = prop_oneof![
        12 => (client(), stream(), what)
            .prop_map(|(client, stream, what)| Step::Command { client, stream, what }),
        4 => (node(), stream()).prop_map(|(node, stream)| Step::Publish { node, stream }),
        1 => (node(), stream(), id(), any::<bool>())
            .prop_map(|(node, stream, id, has_ttl)| Step::Put { node, stream, id, has_ttl }),
        1 => (node(), stream(), id()).prop_map(|(node, stream, id)| Step::Kick { node, stream, id }),
        3 => (client(), node(), any::<bool>(), prop::option::weighted(0.3, node()))
            .prop_map(|(client, to, resumes, rival)| Step::End { client, to, resumes, rival }),
        8 => (node(), fate()).prop_map(|(node, fate)| Step::Append { node, fate }),
        6 => node().prop_map(|node| Step::Retry { node }),
        10 => (node(), 1..6_usize).prop_map(|(node, batches)| Step::Read { node, batches }),
        2 => (node(), 1..4_usize).prop_map(|(node, slice)| Step::Snapshot { node, slice }),
        1 => (node(), prop::option::weighted(0.7, 0..4_usize))
            .prop_map(|(node, earlier)| Step::Kill { node, earlier }),
        5 => node().prop_map(|node| Step::Beat { node }),
        1 => node().prop_map(|node| Step::Ask { node }),
        3 => node().prop_map(|node| Step::Accuse { node }),
        6 => prop::sample::select(vec![50, 50, 200, 200, 2500, 12_000]).prop_map(Step::Pass),
        2 => Just(Step::Settle),
        3 => (0..4_usize).prop_map(Step::Arrive),
        1 => node().prop_map(|node| Step::Cut { node }),
        1 => node().prop_map(|node| Step::Pause { node }),
        4 => node().prop_map(|node| Step::Heal { node }),
        1 => (prop_oneof![4 => 0..4_usize, 1 => Just(usize::MAX)], any::<bool>(), any::<bool>())
            .prop_map(|(batches, restarts, is_away)| Step::Lose { batches, restarts, is_away }),
        1 => prop::sample::select(vec![Step::Fork, Step::Stall, Step::Jump(HOUR), Step::Jump(-HOUR)]),
        1 => stream().prop_map(|stream| Step::Leave { stream }),
        1 => prop::sample::select(vec![3, 11, 14, 20]).prop_map(Step::Rest),
    ];
    prop::collection::vec(step, 0..250)
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Stored),
        2 => Just(Fate::Unanswered),
        1 => Just(Fate::Delayed),
        1 => Just(Fate::Lost)
    ]
}

pub(crate) fn join(id: usize, info: usize) -> Join {
    Join { id: IDS[id].into(), info: info.to_string().into(), extra: None }
}

/// A command; the question for a history has a place in a stream.
pub(crate) fn command(
    what: What,
    at: u64,
    (of, after): (usize, Option<StreamPosition>),
) -> StreamCommand {
    match what {
        What::Subscribe { join: joins } => subscribe(joins.then(|| join(0, 0))),
        What::Unsubscribe => StreamCommand::Unsubscribe,
        What::Join { id, info } => StreamCommand::Join(join(id, info)),
        What::Update { id, info } => StreamCommand::Update(join(id, info)),
        What::Leave => StreamCommand::Leave(None),
        What::List => StreamCommand::List(Listing::Members),
        What::Whisper { members_only } => {
            let whisper = Whisper { event: None, data: "1".into() };
            StreamCommand::Whisper { whisper, members_only }
        }
        What::Publish { members_only } => {
            StreamCommand::Publish { data: "2".into(), at, members_only }
        }
        What::History { .. } => {
            let positions = after.map(|after| (name(of), after)).into_iter().collect();
            StreamCommand::History(HistoryRequest { since: None, positions, joint: None })
        }
    }
}
