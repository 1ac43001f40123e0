//! What a batch costs on its way to the engine and back, with a secret of the cluster and without.

use std::hint::black_box;

use broker::auth::ClusterSecret;
use broker::cluster::{Batch, Item, Rules};
use broker::log::{Change, LogId, NodeId};
use broker::node::LogEncoding;
use broker::shard::Proposal;

use crate::support::work::Work;

/// Encoding and decoding of batches of one entry, and of as many as one has at most.
pub(crate) fn sealing() -> impl Iterator<Item = Work> {
    [1, 256].into_iter().flat_map(|entries| {
        [("plain", None), ("sealed", Some("a secret of thirty-two letters"))].map(
            |(what, secret)| {
                Work::again(("log", format!("{what} batch of {entries}")), 1, move || {
                    let secret = secret.map(|secret| ClusterSecret::new(secret, "broker"));
                    let encoding = LogEncoding::of(secret.as_ref(), 1, LogId(7));
                    let batch = batch(entries);
                    move || {
                        let bytes = encoding.encode(black_box(&batch));
                        black_box(encoding.decode(&bytes)).ok();
                    }
                })
            },
        )
    })
}

/// A batch of publications of a hundred bytes.
fn batch(entries: usize) -> Batch {
    let text = format!("{{\"text\":\"{}\"}}", "x".repeat(89));
    let (data, labels, except, author) = (text.as_str().into(), None, None, None);
    let change =
        Change::Published { data, labels, at: 1_700_000_000_000, except, is_kept: true, author };
    let item =
        Item::Change(Proposal { request: 7, stream: "room/1".into(), change, continues: false });
    let (rules, node, items) = (Rules(1), NodeId(u64::MAX), vec![item; entries]);
    Batch { rules, node, incarnation: 1, number: 1000, items }
}
