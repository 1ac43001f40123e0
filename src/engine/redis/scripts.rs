//! Scripts: what Redis does in one step.
//!
//! They work on the hash that [`Meta`](super::meta::Meta) reads. Each is given the log's identity and does nothing
//! to another log.

use std::sync::LazyLock;

use redis::{Cmd, cmd};
use sha1::{Digest as _, Sha1};

use super::keys::PartitionKeys;
use crate::log::LogId;

/// Creates a log unless there is one; returns its identity. What is left of one whose hash is gone is deleted.
const OPEN: &str = "\
local id = redis.call('HGET', KEYS[1], 'id')
if id then return id end
redis.call('UNLINK', KEYS[2])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'head', '0')
return ARGV[1]";

/// Appends a batch. The head is set first, since a stream's entry can't be taken back; if then the entry can't be
/// added, the head is as before.
const APPEND: &str = "\
local meta = redis.call('HMGET', KEYS[1], 'id', 'head')
if meta[1] ~= ARGV[1] then return 'other' end
local cursor = string.format('%.0f', tonumber(meta[2]) + 1)
local id = cursor .. '-' .. ARGV[2]
local time = redis.call('TIME')
local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'head', cursor)
local added = redis.pcall('XADD', KEYS[2], id, 't', at, 'b', ARGV[4])
if type(added) == 'table' and added.err then
  redis.call('HSET', KEYS[1], 'head', meta[2])
  return added
end
redis.call('PUBLISH', ARGV[3], id .. ' ' .. at .. ' ' .. ARGV[1] .. ' ' .. ARGV[4])
return 'ok'";

/// Makes a written snapshot the newest one, unless there is one with a larger cursor. The log is trimmed up to the
/// one before, if that has been the newest for long enough: who has read it can still follow the log behind it.
/// Its chunks stay for a while, for who is reading them.
const SWITCH: &str = "\
local meta = redis.call('HMGET', KEYS[1], 'id', 'snap', 'snap_at', 'snap_time')
if meta[1] ~= ARGV[1] then return 'other' end
if redis.call('LLEN', KEYS[3]) ~= tonumber(ARGV[4]) then return 'incomplete' end
if meta[3] and tonumber(meta[3]) > tonumber(ARGV[3]) then
  redis.call('UNLINK', KEYS[3])
  return 'ok'
end
local now = redis.call('TIME')[1]
redis.call('PERSIST', KEYS[3])
redis.call('HSET', KEYS[1], 'snap', ARGV[2], 'snap_at', ARGV[3], 'snap_chunks', ARGV[4], 'snap_time', now)
if meta[2] then
  redis.call('EXPIRE', ARGV[5] .. meta[2], ARGV[6])
  if now - meta[4] >= tonumber(ARGV[7]) then redis.call('XTRIM', KEYS[2], 'MINID', meta[3]) end
end
return 'ok'";

/// Seconds for which chunks stay that no log names: those of a snapshot that is being written, or that was replaced and
/// may be being read.
pub(super) const SPARE_SECONDS: u32 = 120;

/// Seconds for which a snapshot has been the newest before the log is trimmed up to it.
const MARGIN_SECONDS: u32 = 60;

/// What scripts return if the log is another one, or there is none.
pub(super) const OTHER: &str = "other";

/// What [`switch`] returns if chunks are missing.
pub(super) const INCOMPLETE: &str = "incomplete";

/// SHA-1 of [`APPEND`], by which Redis knows it once it has seen it.
static APPEND_SHA: LazyLock<String> =
    LazyLock::new(|| format!("{:x}", Sha1::digest(APPEND.as_bytes())));

/// How to name a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// By its SHA-1, which Redis may have forgotten.
    Sha,
    /// By its text.
    Text,
}

pub(super) fn open(keys: &PartitionKeys, id: LogId) -> Cmd {
    let mut open = cmd("EVAL");
    open.arg(OPEN).arg(2).arg(&keys.meta).arg(&keys.log).arg(id.0);
    open
}

pub(super) fn append(by: By, keys: &PartitionKeys, log: LogId, nonce: u64, batch: &[u8]) -> Cmd {
    let mut append = match by {
        By::Sha => cmd("EVALSHA"),
        By::Text => cmd("EVAL"),
    };
    append.arg(match by {
        By::Sha => APPEND_SHA.as_str(),
        By::Text => APPEND,
    });
    append.arg(2).arg(&keys.meta).arg(&keys.log);
    append.arg(log.0).arg(nonce).arg(&keys.channel).arg(batch);
    append
}

pub(super) fn switch(keys: &PartitionKeys, log: LogId, name: &str, at: u64, chunks: usize) -> Cmd {
    let mut switch = cmd("EVAL");
    switch.arg(SWITCH).arg(3).arg(&keys.meta).arg(&keys.log);
    switch.arg(format!("{}{name}", keys.snapshots));
    switch.arg(log.0).arg(name).arg(at).arg(chunks).arg(&keys.snapshots).arg(SPARE_SECONDS);
    switch.arg(MARGIN_SECONDS);
    switch
}
