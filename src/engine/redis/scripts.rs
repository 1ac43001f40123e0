//! Scripts: what Redis does in one step.
//!
//! They work on the hash that [`Meta`](super::meta::Meta) reads. Each is given the log's identity and does nothing
//! to another log. What settles a log begins a *round*; its number is larger than those before, and no other log has it.

use std::sync::LazyLock;

use redis::{Cmd, cmd};
use sha1::{Digest as _, Sha1};

use super::decisions::first_round;
use super::keys::PartitionKeys;
use crate::engine::bids::Bid;
use crate::engine::recent::Entry;
use crate::log::{LogId, NodeId};

/// Creates a log unless there is one, or it isn't wished; returns its identity. What is left of one whose hash is gone
/// is deleted. Where nodes bid, they put the log back.
const OPEN: &str = "\
local id = redis.call('HGET', KEYS[1], 'id')
if id then return id end
if ARGV[3] == '0' or redis.call('HGET', KEYS[3], 'run') then return 'none' end
redis.call('UNLINK', KEYS[2])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'head', '0', 'run', ARGV[2], 'round', ARGV[4])
return ARGV[1]";

/// Appends a batch, to a log that is settled in this run. The head is set first, since a stream's entry can't be taken
/// back; if then the entry can't be added, the head is as before.
const APPEND: &str = "\
local meta = redis.call('HMGET', KEYS[1], 'id', 'head', 'run', 'round')
if meta[1] ~= ARGV[1] or meta[3] ~= ARGV[5] then return 'other' end
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
redis.call(ARGV[6], ARGV[3], id .. ' ' .. at .. ' ' .. meta[4] .. ' ' .. ARGV[4])
return 'ok'";

/// Notes what a node has of a log that isn't settled in this run; returns what all have. The first one
/// names the *ballot*.
const BID: &str = "\
local meta = redis.call('HMGET', KEYS[1], 'id', 'run')
if meta[1] and meta[1] ~= ARGV[1] then return 'other' end
if meta[1] and meta[2] == ARGV[2] then return 'settled' end
if redis.call('HGET', KEYS[2], 'run') ~= ARGV[2] then
  redis.call('UNLINK', KEYS[2])
  redis.call('HSET', KEYS[2], 'run', ARGV[2], 'ballot', ARGV[6])
end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[5])
return redis.call('HGETALL', KEYS[2])";

/// Settles a log that has the batch that a node had last, with one more behind it all, unless that is empty; if the node
/// has decided so by the bids there are: those of another ballot were about another loss.
const CONFIRM: &str = "\
local meta = redis.call('HMGET', KEYS[1], 'id', 'run', 'head')
if not meta[1] then return 'incomplete' end
if meta[1] ~= ARGV[1] then return 'other' end
if meta[2] == ARGV[2] then return 'settled' end
if redis.call('HGET', KEYS[3], 'ballot') ~= ARGV[7] then return 'incomplete' end
if tonumber(meta[3]) < tonumber(ARGV[3]) then return 'incomplete' end
if ARGV[4] ~= '0' then
  local last = redis.call('XRANGE', KEYS[2], ARGV[3], ARGV[3], 'COUNT', 1)[1]
  if not last or last[1] ~= ARGV[3] .. '-' .. ARGV[4] then return 'incomplete' end
end
local head = meta[3]
if ARGV[6] ~= '' then
  head = string.format('%.0f', tonumber(head) + 1)
  local time = redis.call('TIME')
  local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('XADD', KEYS[2], head .. '-' .. ARGV[5], 't', at, 'b', ARGV[6])
end
redis.call('HSET', KEYS[1], 'run', ARGV[2], 'head', head, 'round', ARGV[8])
redis.call('UNLINK', KEYS[3])
return 'settled'";

/// Settles a log by a snapshot and the batches that lead to it, with one more behind them, unless that is empty; if the
/// node has decided so by the bids there are.
const RESTORE: &str = "\
local meta = redis.call('HMGET', KEYS[1], 'id', 'run', 'snap')
if meta[1] and meta[1] ~= ARGV[1] then return 'other' end
if meta[1] and meta[2] == ARGV[2] then
  redis.call('UNLINK', KEYS[3])
  return 'settled'
end
if redis.call('HGET', KEYS[4], 'ballot') ~= ARGV[10] then return 'incomplete' end
if redis.call('LLEN', KEYS[3]) ~= tonumber(ARGV[5]) then return 'incomplete' end
redis.call('UNLINK', KEYS[2])
for i = 12, #ARGV, 3 do redis.call('XADD', KEYS[2], ARGV[i], 't', ARGV[i + 1], 'b', ARGV[i + 2]) end
local head, time = ARGV[3], redis.call('TIME')
if ARGV[9] ~= '' then
  head = string.format('%.0f', tonumber(head) + 1)
  local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('XADD', KEYS[2], head .. '-' .. ARGV[8], 't', at, 'b', ARGV[9])
end
if meta[3] then redis.call('EXPIRE', ARGV[6] .. meta[3], ARGV[7]) end
redis.call('PERSIST', KEYS[3])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'run', ARGV[2], 'head', head, 'round', ARGV[11],
  'snap', ARGV[4], 'snap_at', ARGV[3], 'snap_chunks', ARGV[5], 'snap_time', time[1])
redis.call('UNLINK', KEYS[4])
return 'settled'";

/// Has a log settled anew, unless that has happened since a round.
const DOUBT: &str = "\
local meta = redis.call('HMGET', KEYS[1], 'id', 'round')
if meta[1] == ARGV[1] and meta[2] == ARGV[2] then redis.call('HSET', KEYS[1], 'run', '') end
return 'ok'";

/// Makes a written snapshot the newest one, unless there is one with a larger cursor. The log is trimmed up to the
/// one before, if that has been the newest for long enough: who has read it can still follow the log behind it.
/// Its chunks stay for a while, for who is reading them.
const SWITCH: &str = "\
local meta = redis.call('HMGET', KEYS[1], 'id', 'snap', 'snap_at', 'snap_time', 'run', 'round')
if meta[1] ~= ARGV[1] or meta[5] ~= ARGV[8] or meta[6] ~= ARGV[9] then return 'other' end
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

/// Seconds for which bids stay.
const BID_SECONDS: u32 = 120;

/// What scripts return if the log is another one, there is none, or it isn't settled.
pub(super) const OTHER: &str = "other";

/// What [`switch`] returns if chunks are missing, and what settles if these, batches or bids are.
pub(super) const INCOMPLETE: &str = "incomplete";

/// What scripts return if the log is settled.
pub(super) const SETTLED: &str = "settled";

/// What [`open`] returns if there is no log.
pub(super) const NONE: &str = "none";

/// A log, and the run of the server in which it is to be settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled<'a> {
    pub(super) log: LogId,
    pub(super) run: &'a str,
}

/// How a log is settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settling {
    /// The bids that say so.
    pub(super) ballot: u64,
    /// The round that begins.
    pub(super) round: u64,
}

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

pub(super) fn open(keys: &PartitionKeys, log: Settled<'_>, may_create: bool) -> Cmd {
    let mut open = cmd("EVAL");
    open.arg(OPEN).arg(3).arg(&keys.meta).arg(&keys.log).arg(&keys.bids);
    open.arg(log.log.0).arg(log.run).arg(u8::from(may_create)).arg(first_round(log.log));
    open
}

pub(super) fn append(
    by: By,
    keys: &PartitionKeys,
    log: Settled<'_>,
    nonce: u64,
    batch: &[u8],
    publish: &str,
) -> Cmd {
    let mut append = match by {
        By::Sha => cmd("EVALSHA"),
        By::Text => cmd("EVAL"),
    };
    append.arg(match by {
        By::Sha => APPEND_SHA.as_str(),
        By::Text => APPEND,
    });
    append.arg(2).arg(&keys.meta).arg(&keys.log);
    append.arg(log.log.0).arg(nonce).arg(&keys.channel).arg(batch).arg(log.run).arg(publish);
    append
}

/// `round` is the one in which the log has what is in the snapshot, `at` the cursor of the last batch in it.
pub(super) fn switch(
    keys: &PartitionKeys,
    log: Settled<'_>,
    round: u64,
    (name, chunks): (&str, usize),
    at: u64,
) -> Cmd {
    let mut switch = cmd("EVAL");
    switch.arg(SWITCH).arg(3).arg(&keys.meta).arg(&keys.log);
    switch.arg(format!("{}{name}", keys.snapshots));
    switch.arg(log.log.0).arg(name).arg(at).arg(chunks).arg(&keys.snapshots).arg(SPARE_SECONDS);
    switch.arg(MARGIN_SECONDS).arg(log.run).arg(round);
    switch
}

/// `ballot` is the name of the ballot, if this is its first bid.
pub(super) fn bid(
    keys: &PartitionKeys,
    log: Settled<'_>,
    (node, has): (NodeId, Bid),
    ballot: u64,
) -> Cmd {
    let mut bid = cmd("EVAL");
    bid.arg(BID).arg(2).arg(&keys.meta).arg(&keys.bids);
    bid.arg(log.log.0).arg(log.run).arg(node.0);
    bid.arg(format!("{} {} {}", has.round, has.cursor, has.nonce)).arg(BID_SECONDS).arg(ballot);
    bid
}

/// `behind` is the nonce and the batch behind all.
pub(super) fn confirm(
    keys: &PartitionKeys,
    log: Settled<'_>,
    has: Bid,
    settling: Settling,
    behind: (u64, &[u8]),
) -> Cmd {
    let mut confirm = cmd("EVAL");
    confirm.arg(CONFIRM).arg(3).arg(&keys.meta).arg(&keys.log).arg(&keys.bids);
    confirm.arg(log.log.0).arg(log.run).arg(has.cursor).arg(has.nonce).arg(behind.0).arg(behind.1);
    confirm.arg(settling.ballot).arg(settling.round);
    confirm
}

/// `cursor` is that of the last entry, and of the snapshot; `behind` the nonce and the batch behind all.
pub(super) fn restore<'a>(
    keys: &PartitionKeys,
    log: Settled<'_>,
    (name, chunks): (&str, usize),
    cursor: u64,
    settling: Settling,
    entries: impl Iterator<Item = &'a Entry>,
    behind: (u64, &[u8]),
) -> Cmd {
    let mut restore = cmd("EVAL");
    restore.arg(RESTORE).arg(4).arg(&keys.meta).arg(&keys.log);
    restore.arg(format!("{}{name}", keys.snapshots)).arg(&keys.bids);
    restore.arg(log.log.0).arg(log.run).arg(cursor);
    restore.arg(name).arg(chunks).arg(&keys.snapshots).arg(SPARE_SECONDS);
    restore.arg(behind.0).arg(behind.1).arg(settling.ballot).arg(settling.round);
    for Entry { cursor, nonce, at, batch } in entries {
        restore.arg(format!("{cursor}-{nonce}")).arg(at).arg(&batch[..]);
    }
    restore
}

pub(super) fn doubt(keys: &PartitionKeys, log: LogId, round: u64) -> Cmd {
    let mut doubt = cmd("EVAL");
    doubt.arg(DOUBT).arg(1).arg(&keys.meta).arg(log.0).arg(round);
    doubt
}
