//! What happens to a topic: random steps.

use proptest::prelude::*;
use proptest::sample::select;

use super::{CLIENTS, INFOS, INTERVAL, METAS, TTL, USERS};

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A client connects, if it isn't connected.
    Open {
        client: usize,
        user: usize,
    },
    Do {
        client: usize,
        what: What,
    },
    /// The client of Action Cable joins, if it hasn't.
    Cable {
        user: usize,
        info: usize,
    },
    /// Its connection ends, with a session that can be resumed or not.
    CableEnds {
        resumable: bool,
    },
    Put {
        user: usize,
        info: usize,
    },
    Kick(usize),
    Publish,
    Pass(u64),
    Expire,
    Deliver {
        slices: usize,
        max: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// Joins the topic, for the first time or again.
    Join {
        meta: usize,
        counts: bool,
    },
    Leave,
    Track {
        meta: usize,
    },
    Update {
        meta: usize,
    },
    Untrack,
    Shout,
    /// A shout with the reference of an earlier join.
    ShoutLate,
    Heartbeat,
    Vanish,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let meta = || 0..METAS.len();
    let what = prop_oneof![
        6 => (meta(), prop::bool::weighted(0.15))
            .prop_map(|(meta, counts)| What::Join { meta, counts }),
        2 => Just(What::Leave),
        1 => meta().prop_map(|meta| What::Track { meta }),
        3 => meta().prop_map(|meta| What::Update { meta }),
        1 => Just(What::Untrack),
        1 => Just(What::Shout),
        1 => Just(What::ShoutLate),
        1 => Just(What::Heartbeat),
        2 => Just(What::Vanish),
    ];
    let (user, info) = (|| 0..USERS.len() - 1, || 0..INFOS.len());
    let step = prop_oneof![
        5 => (0..CLIENTS, 0..USERS.len()).prop_map(|(client, user)| Step::Open { client, user }),
        16 => (0..CLIENTS, what).prop_map(|(client, what)| Step::Do { client, what }),
        1 => (user(), info()).prop_map(|(user, info)| Step::Cable { user, info }),
        1 => any::<bool>().prop_map(|resumable| Step::CableEnds { resumable }),
        1 => (user(), info()).prop_map(|(user, info)| Step::Put { user, info }),
        1 => user().prop_map(Step::Kick),
        1 => Just(Step::Publish),
        3 => select(vec![1, TTL - 1, TTL, INTERVAL]).prop_map(Step::Pass),
        2 => Just(Step::Expire),
        4 => (0..4_usize, 1..4_usize).prop_map(|(slices, max)| Step::Deliver { slices, max }),
    ];
    prop::collection::vec(step, 0..150)
}
