//! What Redis knows of a log besides its batches.

use redis::{Cmd, Value, cmd};

use super::entry::{bytes, log_id, number};
use super::keys::PartitionKeys;
use crate::log::LogId;

/// What Redis knows of a log besides its batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// Identity of the log; `None` if there is none.
    pub(super) id: Option<LogId>,
    /// Cursor of the last batch.
    pub(super) head: u64,
    /// The run of the server in which the log was found whole.
    pub(super) run: String,
    /// Which settling was the last: a nonce.
    pub(super) round: u64,
    /// The newest snapshot.
    pub(super) snapshot: Option<SnapshotMeta>,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SnapshotMeta {
    /// What its key ends with.
    pub(super) name: String,
    /// Cursor of the last batch in it.
    pub(super) at: u64,
    /// Number of its chunks.
    pub(super) chunks: usize,
}

impl Meta {
    /// Asks for it. The fields are those that [`scripts`](super::scripts) write.
    pub(super) fn ask(keys: &PartitionKeys) -> Cmd {
        let mut ask = cmd("HMGET");
        let fields = ["id", "head", "run", "round", "snap", "snap_at", "snap_chunks"];
        ask.arg(&keys.meta).arg(&fields);
        ask
    }

    /// From the answer.
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::Array(fields) = value else { return None };
        let [id, head, run, round, name, at, chunks] = <[Value; 7]>::try_from(fields).ok()?;
        let read = |field| bytes(field).and_then(|text| number(&text));
        let snapshot = bytes(name).and_then(|name| {
            Some(SnapshotMeta {
                name: String::from_utf8(name).ok()?,
                at: read(at)?,
                chunks: read(chunks)?.try_into().ok()?,
            })
        });
        let id = bytes(id).and_then(|text| log_id(&text));
        let run = bytes(run).and_then(|run| String::from_utf8(run).ok()).unwrap_or_default();
        let (head, round) = (read(head).unwrap_or(0), read(round).unwrap_or(0));
        Some(Self { id, head, run, round, snapshot })
    }
}
