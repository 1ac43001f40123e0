//! A state file: `[how, bytes…]`. The bytes are the file, or a header's fields and frames' payloads, to which
//! the target adds checksums.
//!
//! Memory is bounded by the file's length. A truncated file yields a prefix of the whole one, and truncation
//! is never taken for damage. Decoded items can be written and read again; a shard restores them, and another
//! one its snapshot.

use std::io::{self, Read};
use std::time::Duration;

use broker::clock::Clock;
use broker::log::{Change, Entry, LogId, Owner, Subscription};
use broker::shard::{HistorySettings, Restoring, ResumeSettings, Settings, Shard};
use broker::state::format::{
    Basis, Boot, Decoded, Fault, Header, HeaderError, Item, Reader, decode, encode, encode_item,
};
use broker::types::{Epoch, Extra, Identifier, PresenceId, RawJson, StreamName};
use serde_json::value::RawValue;

use super::shard_settings::without_history;

const HEAD: Header = Header {
    boot: Boot::from_bits(7),
    run: 3,
    shards: 2,
    shard: 1,
    generation: 4,
    basis: Basis::Generation { number: 3, length: 900 },
    log: LogId(5),
};

/// What a header begins with, whatever it says, and what it ends with.
const MAGIC_AND_VERSION: usize = 8 + 4;
const CRC: usize = 4;

/// Bytes that a file of none takes.
const LEAST: usize = 1024;

pub fn run(data: &[u8]) {
    let Some((&how, bytes)) = data.split_first() else { return };
    let (how, file) = (usize::from(how), file(how, bytes));
    let mut read = None;
    let memory = allocation_counter::measure(|| read = Some(decode(&file)));
    let decoded = match read.expect("it was read") {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(matches!(how % 4, 0 | 3), "{error}");
            return;
        }
    };
    check_memory(memory.bytes_max, &decoded, file.len());
    let header = HEAD.encode().len();
    assert_eq!(decoded.header.encode(), file[..header], "there is one way to write a header");
    for item in &decoded.items {
        check(item);
    }
    let end = decoded.items.iter().position(|item| *item == Item::Closed);
    assert!(end.is_none_or(|end| end + 1 == decoded.items.len()), "something follows the end");
    let ends = ends(&file, &decoded);
    for cut in cuts(&ends, file.len(), how / 4) {
        check_cut(&file, cut, &ends, &decoded);
    }
    for cut in 0..header {
        assert!(matches!(Header::decode(&file[..cut]), Err(HeaderError::Short)), "{cut}");
    }
    check_trickle(&file, &decoded, how / 4);
    check_again(&decoded);
    check_restored(&decoded);
}

/// The changes in an input's file.
pub fn changes(data: &[u8]) -> Vec<Change> {
    let file = data.split_first().map(|(&how, bytes)| file(how, bytes));
    let items = file.and_then(|file| decode(&file).ok()).map(|decoded| decoded.items);
    items.iter().flatten().filter_map(entry).map(|entry| entry.change.clone()).collect()
}

fn file(how: u8, bytes: &[u8]) -> Vec<u8> {
    match how % 4 {
        0 => bytes.to_vec(),
        1 => [&HEAD.encode(), bytes].concat(),
        2 => [HEAD.encode(), frames(bytes)].concat(),
        _ => with_fields(bytes),
    }
}

/// A file of `[a header's fields, frames…]`.
fn with_fields(bytes: &[u8]) -> Vec<u8> {
    let mut file = HEAD.encode();
    let fields = file.len() - MAGIC_AND_VERSION - CRC;
    let (fields, rest) = bytes.split_at(bytes.len().min(fields));
    file[MAGIC_AND_VERSION..][..fields.len()].copy_from_slice(fields);
    file.truncate(file.len() - CRC);
    file.extend(crc32fast::hash(&file).to_le_bytes());
    file.extend(frames(rest));
    file
}

/// Frames around payloads, each `[kind, length, bytes…]`. A fourth of them lie of their length.
fn frames(mut bytes: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    while let Some((&[kind, length], rest)) = bytes.split_first_chunk() {
        let (payload, rest) = rest.split_at(rest.len().min(length.into()));
        let length = match kind % 4 {
            3 => 1 << (kind / 4),
            _ => payload.len() as u64,
        };
        let mut about = length.to_le_bytes().to_vec();
        about.extend(crc32fast::hash(payload).to_le_bytes());
        about.extend(crc32fast::hash(&about).to_le_bytes());
        frames.extend(about);
        frames.extend(payload);
        bytes = rest;
    }
    frames
}

/// The most that was held at once goes with what there is to read, whatever that says of itself.
fn check_memory(max: u64, decoded: &Decoded, length: usize) {
    let entries = match decoded.fault {
        Some(Fault::Damaged) => length / 2, // what was read of the frame is not in the result
        Some(Fault::Short | Fault::Unreadable(_)) | None => decoded.items.len(),
    };
    // twice, in a frame's list and in the file's, which grow by doubling
    let allowed = LEAST + 8 * length + 6 * entries * size_of::<Item>();
    assert!(max <= allowed as u64, "{max} bytes for a file of {length}, {allowed} are allowed");
}

/// Where the whole frames end, and how many entries there are up to there.
fn ends(file: &[u8], decoded: &Decoded) -> Vec<(usize, usize)> {
    let mut reader = Reader::new(file).expect("a header");
    let at = |reader: &Reader<&[u8]>| usize::try_from(reader.length()).expect("a length");
    let (mut ends, mut items) = (vec![(at(&reader), 0)], Vec::new());
    while let Ok(Some(frame)) = reader.read() {
        assert!(!frame.is_empty(), "a frame holds something");
        items.extend(frame);
        ends.push((at(&reader), items.len()));
    }
    assert_eq!((items, reader.length()), (decoded.items.clone(), decoded.length));
    let is_whole = decoded.length == file.len() as u64;
    assert_eq!(decoded.fault.is_none(), is_whole, "{:?}", decoded.fault);
    ends
}

/// Some of the places to cut a file at: around the ends of frames, and anywhere.
fn cuts(ends: &[(usize, usize)], length: usize, offset: usize) -> Vec<usize> {
    let (first, last) = (ends[0].0, ends[ends.len() - 1].0);
    let ends =
        ends.iter().step_by(ends.len() / 4 + 1).flat_map(|(end, _)| [end - 1, *end, end + 1]);
    let anywhere = (0..4).map(|part| first + (length - first) * (64 * part + offset) / 256);
    ends.chain(anywhere).filter(|cut| (first..=last).contains(cut)).collect()
}

/// What is cut off within what can be read leaves the frames before the cut.
fn check_cut(file: &[u8], cut: usize, ends: &[(usize, usize)], whole: &Decoded) {
    let before = ends.iter().rfind(|(end, _)| *end <= cut);
    let &(end, items) = before.expect("the header is before it");
    let decoded = decode(&file[..cut]).expect("a header");
    assert_eq!(decoded.length, end as u64);
    assert_eq!(decoded.items, whole.items[..items]);
    match decoded.fault {
        None => assert_eq!(cut, end, "the cut wasn't noticed"),
        Some(Fault::Short) => assert_ne!(cut, end, "nothing is missing"),
        Some(fault) => panic!("a cut is taken for something else: {fault}"),
    }
}

/// In whatever pieces it comes the same is read, and up to where it can't be read.
fn check_trickle(file: &[u8], whole: &Decoded, pieces: usize) {
    let read = |fails_at| {
        let trickle = Trickle { rest: file, piece: 1 + pieces, left: fails_at, interrupted: false };
        let mut reader = Reader::new(trickle).ok()?;
        let mut items = Vec::new();
        loop {
            match reader.read() {
                Ok(Some(frame)) => items.extend(frame),
                Ok(None) => return Some((items, reader.length(), None)),
                Err(fault) => return Some((items, reader.length(), Some(fault))),
            }
        }
    };
    let (items, length, fault) = read(usize::MAX).expect("a header");
    assert_eq!((&items, length), (&whole.items, whole.length));
    assert_eq!(fault.map(|it| it.to_string()), whole.fault.as_ref().map(ToString::to_string));

    let fails_at = file.len() * (1 + pieces) / 65;
    let Some((items, length, fault)) = read(fails_at) else {
        return assert!(fails_at < HEAD.encode().len());
    };
    assert!(whole.items.starts_with(&items) && length <= fails_at as u64);
    let is_before = fails_at as u64 <= whole.length;
    assert!(!is_before || matches!(fault, Some(Fault::Unreadable(_))), "{fault:?}");
}

/// What it holds, it hands out in pieces with interruptions between, until it fails.
struct Trickle<'a> {
    rest: &'a [u8],
    piece: usize,
    left: usize,
    interrupted: bool,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.left == 0 {
            return Err(io::Error::other("a broken disk"));
        }
        let max = self.piece.min(self.left).min(buffer.len());
        let read = self.rest.read(&mut buffer[..max])?;
        self.left -= read;
        Ok(read)
    }
}

/// What was read is good for what is made of it.
fn check(item: &Item) {
    let Item::Entry(Entry { stream, change, .. }) = item else { return };
    assert!(!stream.as_str().is_empty());
    match change {
        Change::Snapshot { epoch, .. }
        | Change::Forgotten { epoch, .. }
        | Change::Idle { epoch, .. } => check_epoch(epoch),
        Change::Published { data, author, .. } => {
            check_json(data);
            author.iter().for_each(check_subscription);
        }
        Change::Whispered { whisper, author, .. } => {
            check_json(&whisper.data);
            author.iter().for_each(check_subscription);
        }
        Change::Kept { data, .. } => check_json(data),
        Change::Joined { by, id, info, extra, .. } => {
            check_subscription(by);
            check_member(id, info, extra);
        }
        Change::Put { id, info, extra, .. } => check_member(id, info, extra),
        Change::Record { owner, id, info, extra, .. } => {
            match owner {
                Owner::Subscription { by, .. } => check_subscription(by),
                Owner::Application { until } => assert_ne!(*until, Some(0), "that is for good"),
                Owner::Orphan { .. } => {}
            }
            check_member(id, info, extra);
        }
        Change::Left { by, id } => {
            check_subscription(by);
            id.iter().for_each(check_id);
        }
        Change::Subscribed { by, .. }
        | Change::Unsubscribed { by }
        | Change::Ended { by, .. }
        | Change::Lapsed { by, .. }
        | Change::Resumed { from: by, .. }
        | Change::Resumable { by, .. } => check_subscription(by),
        Change::Kicked { id } | Change::Expired { id, .. } | Change::Noted { id, .. } => {
            check_id(id);
        }
        Change::Began { .. }
        | Change::Arrived
        | Change::Restarted { .. }
        | Change::Used { .. }
        | Change::ForgottenByAll { .. }
        | Change::Forked => {}
    }
}

fn check_subscription(by: &Subscription) {
    check_identifier(&by.identifier);
}

fn check_id(id: &PresenceId) {
    assert!(!id.as_str().is_empty());
}

fn check_member(id: &PresenceId, info: &RawJson, extra: &Extra) {
    check_id(id);
    check_json(info);
    if let Some(extra) = extra {
        let json: serde_json::Value = serde_json::from_str(extra.as_str()).expect("JSON");
        assert!(json.is_object() && extra.as_str().starts_with('{'));
    }
}

fn check_json(json: &RawJson) {
    serde_json::from_str::<&RawValue>(json.as_str()).expect("JSON");
}

/// A JSON string in the one spelling that `serde_json` gives it.
fn check_identifier(identifier: &Identifier) {
    let text: String = serde_json::from_str(identifier.as_str()).expect("a string");
    assert_eq!(serde_json::to_string(&text).expect("a string"), identifier.as_str());
}

/// It can stand in a JSON string as it is.
fn check_epoch(epoch: &Epoch) {
    let text: String = serde_json::from_str(&format!("\"{epoch}\"")).expect("a string");
    assert!(text == epoch.as_str() && !text.is_empty());
}

/// It is written as what it was read as.
fn check_again(decoded: &Decoded) {
    let mut file = decoded.header.encode();
    let turns = decoded.items.chunk_by(|a, b| entry(a).is_some() && entry(b).is_some());
    for turn in turns {
        match &turn[0] {
            Item::Entry(_) => encode(turn.iter().filter_map(entry), &mut file),
            item @ (Item::Complete { .. }
            | Item::WithoutHistory
            | Item::Closed
            | Item::Session(_)) => encode_item(item, &mut file),
        }
    }
    let again = decode(&file).expect("a header");
    assert!(again.fault.is_none(), "{:?}", again.fault);
    assert_eq!(again.length, file.len() as u64);
    assert_eq!((again.header, &again.items), (decoded.header, &decoded.items));
}

fn entry(item: &Item) -> Option<&Entry> {
    match item {
        Item::Entry(entry) => Some(entry),
        Item::Complete { .. } | Item::WithoutHistory | Item::Closed | Item::Session(_) => None,
    }
}

const UNIX: u64 = 1_700_000_000_000;

/// A shard takes all of it up, and another one the streams that this one has then.
fn check_restored(decoded: &Decoded) {
    let mut streams: Vec<(&StreamName, Vec<Entry>)> = Vec::new();
    let longest = Duration::from_secs(60);
    for entry in decoded.items.iter().filter_map(entry) {
        let (name, mut entry) = (&entry.stream, entry.clone());
        if let Change::Ended { ttl, .. } | Change::Record { ttl, .. } = &mut entry.change {
            *ttl = longest.min(*ttl); // so that it is over in both shards
        }
        match streams.iter_mut().find(|(other, _)| *other == name) {
            Some((_, entries)) => entries.push(entry),
            None => streams.push((name, vec![entry])),
        }
    }
    let ttl = longest;
    let history = HistorySettings { limit: 3, ttl, max_bytes: 1 << 20 };
    let resume = ResumeSettings { ttl, max_unacked: Duration::from_secs(1) };
    let log = decoded.header.log;
    let settings = Settings { resume, history, log, ..without_history(ttl) };
    let now = Clock::new().now();
    let at = Restoring { unix: UNIX, complete: true, has_history: true, now };
    let mut first: Shard<()> = Shard::new(settings, now);
    first.keep_entries();
    let names: Vec<&StreamName> = streams.iter().map(|(name, _)| *name).collect();
    for (_, entries) in streams {
        first.restore(entries, at);
    }
    let mut second: Shard<()> = Shard::new(settings, now);
    let (snapshot, end) = first.commit(|_| ()).snapshot(0, usize::MAX);
    assert_eq!(end, None);
    for name in names {
        let of_stream = snapshot.iter().filter(|entry| entry.stream == *name);
        second.restore(of_stream.cloned().collect::<Vec<_>>(), at);
        let (first, second) = (first.commit(|_| ()), second.commit(|_| ()));
        assert_eq!(first.members(name), second.members(name));
        assert_eq!(first.publications(name), second.publications(name));
    }
    assert_eq!(first.totals(), second.totals());
    for shard in [&mut first, &mut second] {
        while let Some(due) = shard.poll_timeout().filter(|due| *due <= now + 2 * ttl) {
            shard.handle_timeout(due);
        }
    }
    assert_eq!(first.totals(), second.totals());
}
