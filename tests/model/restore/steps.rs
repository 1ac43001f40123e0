//! What happens to a shard: random steps, restarts among them.

use proptest::prelude::*;

use super::{CLIENTS, IDS, INFOS, PUT_IDS, STREAMS};

#[derive(Clone, Debug)]
pub(super) enum Step {
    Subscribe {
        client: usize,
        stream: usize,
    },
    Join {
        client: usize,
        stream: usize,
        id: usize,
        info: usize,
    },
    Leave {
        client: usize,
        stream: usize,
    },
    Unsubscribe {
        client: usize,
        stream: usize,
    },
    Publish(usize),
    /// The application puts a record, for some milliseconds or for good.
    Put {
        stream: usize,
        id: usize,
        info: usize,
        ttl: Option<u64>,
    },
    /// The application removes a member.
    Kick {
        stream: usize,
        id: usize,
    },
    /// The application changes its record `changes` times.
    Churn {
        stream: usize,
        changes: usize,
    },
    /// A client's connection ends, with a session that can be resumed or not.
    End {
        client: usize,
        resumable: bool,
    },
    Resume(usize),
    Pass(u64),
    Expire,
    /// A snapshot, written in slices of `max` entries, replaces the entries so far.
    Snapshot {
        max: usize,
    },
    /// The shard ends, and another one restores its state.
    Restart,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (client, stream) = (|| 0..CLIENTS, || 0..STREAMS);
    let step = prop_oneof![
        4 => (client(), stream()).prop_map(|(client, stream)| Step::Subscribe { client, stream }),
        6 => (client(), stream(), 0..IDS.len(), 0..INFOS.len())
            .prop_map(|(client, stream, id, info)| Step::Join { client, stream, id, info }),
        1 => (client(), stream()).prop_map(|(client, stream)| Step::Leave { client, stream }),
        1 => (client(), stream()).prop_map(|(client, stream)| Step::Unsubscribe { client, stream }),
        4 => stream().prop_map(Step::Publish),
        3 => (stream(), 0..PUT_IDS.len(), 0..INFOS.len(), prop::option::of(prop::sample::select(vec![100, 700, 2500])))
            .prop_map(|(stream, id, info, ttl)| Step::Put { stream, id, info, ttl }),
        1 => (stream(), 0..PUT_IDS.len()).prop_map(|(stream, id)| Step::Kick { stream, id }),
        2 => (client(), prop::bool::weighted(0.8))
            .prop_map(|(client, resumable)| Step::End { client, resumable }),
        2 => client().prop_map(Step::Resume),
        2 => prop::sample::select(vec![1, 150, 300, 900, 2000]).prop_map(Step::Pass),
        2 => Just(Step::Expire),
        1 => (1..6_usize).prop_map(|max| Step::Snapshot { max }),
        2 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..80)
}

/// Steps with resumes, and with more changes than a journal keeps.
pub(super) fn busy_steps() -> impl Strategy<Value = Vec<Step>> {
    let (client, stream, id) = (|| 0..CLIENTS, || 0..STREAMS, || 0..IDS.len());
    let step = prop_oneof![
        6 => (client(), stream()).prop_map(|(client, stream)| Step::Subscribe { client, stream }),
        4 => (client(), stream(), id(), 0..INFOS.len())
            .prop_map(|(client, stream, id, info)| Step::Join { client, stream, id, info }),
        2 => (client(), stream()).prop_map(|(client, stream)| Step::Leave { client, stream }),
        1 => (stream(), id()).prop_map(|(stream, id)| Step::Kick { stream, id }),
        1 => (stream(), prop::sample::select(vec![3, 990, 1000, 1001]))
            .prop_map(|(stream, changes)| Step::Churn { stream, changes }),
        2 => client().prop_map(|client| Step::End { client, resumable: true }),
        4 => client().prop_map(Step::Resume),
        1 => prop::sample::select(vec![1, 150, 300]).prop_map(Step::Pass),
        1 => Just(Step::Expire),
        2 => (1..6_usize).prop_map(|max| Step::Snapshot { max }),
        3 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..100)
}
