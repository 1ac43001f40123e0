//! What is written is read again, whatever is cut off; hostile bytes do no harm.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::log::{
    Change, Entry, ExpiryReason, Known, LogId, NodeId, Origin, Owner, Parked, Parking, Position,
    SessionChange, Subscription,
};
use crate::protocol::sse;
use crate::types::{
    Grant, JoinCause, Label, MemberEvent, Offset, PresenceId, RawJson, SessionId, Watch, Whisper,
};

mod entries;

use entries::{entry, session_change};

const HEAD: Header = Header {
    boot: Boot::from_bits(7),
    run: 3,
    shards: 2,
    shard: 1,
    generation: 4,
    basis: Basis::Generation { number: 3, length: 900 },
    log: LogId(0x1234_5678_9abc_def0),
};

/// A file of turns, and what it holds.
fn file(turns: &[Vec<Entry>], closed: bool) -> (Vec<u8>, Vec<Item>) {
    file_with(turns, &[], closed)
}

/// The same with changes of sessions.
fn file_with(
    turns: &[Vec<Entry>],
    sessions: &[SessionChange],
    closed: bool,
) -> (Vec<u8>, Vec<Item>) {
    let (mut file, mut items) = (HEAD.encode(), Vec::new());
    for change in sessions {
        let item = Item::Session(change.clone());
        encode_item(&item, &mut file);
        items.push(item);
    }
    for turn in turns {
        encode(turn, &mut file);
        items.extend(turn.iter().cloned().map(Item::Entry));
    }
    let marks =
        [Item::WithoutHistory, Item::Complete { forgotten: 5, next: Position(9) }, Item::Closed];
    for mark in marks.into_iter().filter(|mark| closed || *mark != Item::Closed) {
        encode_item(&mark, &mut file);
        items.push(mark);
    }
    (file, items)
}

fn turns() -> impl Strategy<Value = Vec<Vec<Entry>>> {
    prop::collection::vec(prop::collection::vec(entry(), 0..4), 0..4)
}

/// An entry of a stream, early in its log.
fn of_a(change: Change) -> Entry {
    let (position, origin) = (Position(3), Origin::default());
    Entry { position, at: 5, origin, stream: "a".into(), change }
}

fn ann() -> Subscription {
    Subscription { session: SessionId::from_bits(1 << 64 | 2), identifier: r#""i""#.into() }
}

fn published(data: &str) -> Change {
    let (data, labels) = (data.into(), Label::new(Some("e".into()), None));
    Change::Published { data, labels, at: 6, except: None, is_kept: true, author: Some(ann()) }
}

fn joined(identifier: &str, id: &str, info: &str, extra: Option<&str>) -> Change {
    Change::Joined {
        by: Subscription { identifier: identifier.into(), ..ann() },
        id: id.into(),
        info: info.into(),
        extra: extra.map(|extra| Box::new(extra.into())),
        cause: JoinCause::Subscribed,
        is_update: false,
        max_members: 9,
    }
}

fn snapshot(epoch: &str) -> Change {
    Change::Snapshot { epoch: epoch.into(), head: Offset(7), lost: 8, journal: Position(2) }
}

fn record(owner: Owner, extra: Option<&str>) -> Change {
    let extra = extra.map(|extra| Box::new(extra.into()));
    let ttl = Duration::from_secs(15);
    Change::Record { owner, ttl, id: "ann".into(), info: "1".into(), extra, arrived: 4_000 }
}

/// One change of each kind, in the order of their numbers.
fn every_kind() -> Vec<Change> {
    let (codec, watch, grant) = (sse::RAW, Watch::Occupancy, Grant::OPEN);
    let (by, id, ttl) = (ann(), PresenceId::from("ann"), Duration::new(1, 2));
    let known = Known { confirmed_before: Position(1), sent_before: Position(2) };
    let reason = ExpiryReason::Ended(Position(1));
    let parked = Some(Parked { at: Position(2), known });
    let whisper = Whisper { event: Some("e".into()), data: "2".into() };
    vec![
        Change::Began { lost: 4 },
        Change::Forgotten { epoch: "e".into(), head: Offset(7), lost: 4 },
        published("1"),
        Change::Whispered { whisper, from: by.session, author: None },
        Change::Arrived,
        joined(r#""i""#, "ann", "{}", Some("{}")),
        Change::Left { by: by.clone(), id: Some(id.clone()) },
        Change::Put {
            id: id.clone(),
            info: "1".into(),
            extra: None,
            until: Some(300),
            max_members: 9,
        },
        Change::Kicked { id: id.clone() },
        Change::Expired { id: id.clone(), record: Position(2), reason },
        Change::Subscribed { by: by.clone(), codec, watch, grant },
        Change::Unsubscribed { by: by.clone() },
        Change::Ended {
            by: by.clone(),
            ttl,
            parking: Some(Box::new(Parking { codec, watch, known, ttl })),
        },
        Change::Lapsed { by: by.clone(), parked: Position(2) },
        Change::Resumed { from: by.clone(), to: SessionId::from_bits(9) },
        Change::Restarted { ttl, resumable: Some(ttl) },
        snapshot("e"),
        Change::Kept { data: "[]".into(), labels: Label::new(None, Some("t".into())), at: 7 },
        record(Owner::Subscription { by: by.clone(), ended: Some(Position(1)) }, Some("{}")),
        Change::Resumable { by, codec, watch, grant: Some(grant), parked, ttl },
        Change::Noted { id, event: MemberEvent::Updated },
        Change::Idle { epoch: "e".into(), head: Offset(9) },
        Change::Used { by: Some(NodeId(300)) },
        Change::ForgottenByAll { idle: Position(300), lost: 7 },
        Change::Forked,
    ]
}

/// A change's number in a file.
fn number(change: &Change) -> u8 {
    match change {
        Change::Began { .. } => 0,
        Change::Forgotten { .. } => 1,
        Change::Published { .. } => 2,
        Change::Whispered { .. } => 3,
        Change::Arrived => 4,
        Change::Joined { .. } => 5,
        Change::Left { .. } => 6,
        Change::Put { .. } => 7,
        Change::Kicked { .. } => 8,
        Change::Expired { .. } => 9,
        Change::Subscribed { .. } => 10,
        Change::Unsubscribed { .. } => 11,
        Change::Ended { .. } => 12,
        Change::Lapsed { .. } => 13,
        Change::Resumed { .. } => 14,
        Change::Restarted { .. } => 15,
        Change::Snapshot { .. } => 16,
        Change::Kept { .. } => 17,
        Change::Record { .. } => 18,
        Change::Resumable { .. } => 19,
        Change::Noted { .. } => 20,
        Change::Idle { .. } => 21,
        Change::Used { .. } => 22,
        Change::ForgottenByAll { .. } => 23,
        Change::Forked => 24,
    }
}

/// A frame around any bytes.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u64).to_le_bytes().to_vec();
    frame.extend(crc32fast::hash(payload).to_le_bytes());
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    frame.extend(payload);
    frame
}

fn decoded(frames: &[u8]) -> Decoded {
    decode(&[&HEAD.encode(), frames].concat()).unwrap()
}

#[test]
fn a_header_says_what_it_is() {
    for basis in [Basis::Nothing, Basis::Runs, Basis::Lost, HEAD.basis] {
        let header = Header { basis, ..HEAD };
        assert_eq!(Header::decode(&header.encode()).unwrap(), header);
    }
    let bytes = HEAD.encode();
    for cut in 0..bytes.len() {
        assert!(matches!(Header::decode(&bytes[..cut]), Err(HeaderError::Short)), "{cut}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(Header::decode(&changed).is_err(), "{at}");
    }
    let of_version = |version: u32| {
        let mut header = bytes.clone();
        header[8..12].copy_from_slice(&version.to_le_bytes());
        Header::decode(&header)
    };
    for version in [VERSION + 1, u32::MAX] {
        assert!(matches!(of_version(version), Err(HeaderError::Newer(met)) if met == version));
    }
    for version in 1..VERSION {
        assert!(matches!(of_version(version), Err(HeaderError::Older(met)) if met == version));
    }
    assert!(matches!(of_version(0), Err(HeaderError::Damaged)));
    assert!(matches!(Header::decode(b"hello"), Err(HeaderError::Foreign)));
    assert!(matches!(Header::decode(&[0; 100]), Err(HeaderError::Foreign)));
    let nobody = Header { shard: 2, ..HEAD }.encode();
    assert!(matches!(Header::decode(&nobody), Err(HeaderError::Damaged)));
}

/// A header of format 3, shorter than one of this, and a frame of its entries.
#[test]
fn a_file_of_a_version_before_is_told_by_its_first_bytes() {
    let mut header = b"brokerst".to_vec();
    header.extend(3_u32.to_le_bytes());
    header.extend([0; 16 + 8 + 4 + 4 + 8 + 1 + 8 + 8]);
    header.extend(crc32fast::hash(&header).to_le_bytes());
    let file = [header, framed(&[3, 1, b'a', 5, 0, 1, b'1'])].concat();
    for length in [file.len(), 12] {
        let error = decode(&file[..length]).unwrap_err();
        assert!(matches!(error, HeaderError::Older(3)), "{error}");
        assert_eq!(
            error.to_string(),
            "an earlier version of the broker wrote it (format 3, this one reads 5)"
        );
    }
}

/// What is on disk must be read by the next version, too: a failure means that [`VERSION`] goes up.
#[test]
fn each_kind_is_written_as_ever() {
    let kinds = every_kind();
    assert!(kinds.iter().map(number).eq(0..25), "one of each");
    let mut all = HEAD.encode();
    for change in kinds {
        let (mut frame, number) = (Vec::new(), number(&change));
        let entry = of_a(change);
        encode([&entry], &mut frame);
        let begin = [0, 3, 5, 0, 0, 1, b'a', number];
        assert_eq!(frame[16..][..begin.len()], begin, "{entry:?}");
        assert_eq!(decoded(&frame).items, [Item::Entry(entry)]);
        all.extend(frame);
    }
    for (mark, bytes) in [
        (Item::Complete { forgotten: 300, next: Position(4) }, &[1, 0xac, 2, 4][..]),
        (Item::WithoutHistory, &[2]),
        (Item::Closed, &[3]),
    ] {
        let mut frame = Vec::new();
        encode_item(&mark, &mut frame);
        assert_eq!(frame[16..], *bytes, "{mark:?}");
        assert_eq!(decoded(&frame).items, [mark]);
        all.extend(frame);
    }
    assert_eq!((all.len(), crc32fast::hash(&all)), (941, 162_802_536), "the bytes are others");
}

#[test]
fn a_boot_that_is_unknown_is_no_other() {
    let (one, other) = (Boot::from_bits(1), Boot::from_bits(2));
    assert!(one.is_same(one) && !one.is_same(other));
    assert!(!Boot::UNKNOWN.is_same(Boot::UNKNOWN));
}

#[test]
fn what_is_invalid_is_damage() {
    let entry = |stream: &str, change| {
        let mut frame = Vec::new();
        encode([&Entry { stream: stream.into(), ..of_a(change) }], &mut frame);
        frame
    };
    let kicked = |id: &str| Change::Kicked { id: id.into() };
    let put = |extra: &str| {
        let (info, extra) = ("1".into(), Some(Box::new(extra.into())));
        Change::Put { id: "ann".into(), info, extra, until: None, max_members: 9 }
    };
    let application = |until| Owner::Application { until };
    for (what, bytes) in [
        ("a kick", entry("a", kicked("b"))),
        ("an epoch", entry("a", snapshot("e"))),
        ("a publication", entry("a", published(" [1] "))),
        ("a join", entry("a", joined(r#""i""#, "ann", "{}", Some(r#"{"a":1}"#)))),
        ("a put", entry("a", put("{}"))),
        ("a record for good", entry("a", record(application(None), None))),
    ] {
        let decoded = decoded(&bytes);
        assert_eq!((decoded.items.len(), decoded.fault.is_none()), (1, true), "{what}");
    }
    // a payload that is as long as it says, but for what it says of itself
    let kick = |text: &[u8]| framed(&[&[0, 3, 5, 0, 0, 1, b'a', 8], text].concat());
    assert_eq!(decoded(&kick(b"\x01b")).items.len(), 1);
    for (what, bytes) in [
        ("an empty stream", entry("", kicked("b"))),
        ("an empty id", entry("a", kicked(""))),
        ("no UTF-8", kick(&[1, 0xff])),
        ("a text longer than the frame", kick(&[200, 1, b'b'])),
        ("a text longer than memory", kick(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
        ("a length of no number", kick(&[0xff; 11])),
        ("half an entry", kick(&[])),
        ("an unknown kind of change", framed(&[0, 3, 5, 0, 0, 1, b'a', 21])),
        ("half a change of a session", framed(&[4])),
        ("an unknown kind of item", framed(&[5])),
        ("an empty frame", framed(&[])),
        ("an identifier that is no string", entry("a", joined("1", "ann", "{}", None))),
        ("an identifier in another spelling", entry("a", joined(r#""\u0061""#, "ann", "{}", None))),
        ("an empty id that joins", entry("a", joined(r#""i""#, "", "{}", None))),
        ("info that is no JSON", entry("a", joined(r#""i""#, "ann", "{", None))),
        ("data that is no JSON", entry("a", published("1 2"))),
        ("no data", entry("a", published(""))),
        ("what is said that is no object", entry("a", joined(r#""i""#, "ann", "1", Some("[]")))),
        ("the same, put", entry("a", put(r#""{}""#))),
        ("an object with more before it", entry("a", put(" {}"))),
        ("an object that doesn't end", entry("a", put("{"))),
        ("the same of a record", entry("a", record(application(None), Some("1")))),
        ("an application's record of no time", entry("a", record(application(Some(0)), None))),
        ("an epoch with a quote", entry("a", snapshot("\""))),
        ("an epoch with a space", entry("a", snapshot("e e"))),
        ("no epoch", entry("a", snapshot(""))),
        ("more after the end", framed(&[3, 3])),
        ("a frame after the end", [framed(&[3]), framed(&[2])].concat()),
    ] {
        let decoded = decoded(&bytes);
        assert!(matches!(decoded.fault, Some(Fault::Damaged)), "{what}: {decoded:?}");
    }
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    let mut frame = u64::MAX.to_le_bytes().to_vec();
    frame.extend([0; 4]);
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    frame.extend([0; 100]);
    let file = [HEAD.encode(), frame].concat();
    let mut reader = Reader::new(&*file).unwrap();
    assert!(matches!(reader.read(), Err(Fault::Short)));
    assert!(reader.buffer() <= 1024, "{}", reader.buffer());
}

#[test]
fn a_large_turn_is_several_frames() {
    let data = RawJson::from(format!("\"{}\"", "a".repeat(600_000)));
    let publication = |at| Change::Published {
        data: data.clone(),
        labels: None,
        at,
        except: None,
        is_kept: true,
        author: None,
    };
    let turn: Vec<Entry> = (0..5).map(|at| of_a(publication(at))).collect();
    let (file, items) = file(&[turn], true);
    assert_eq!(decode(&file).unwrap().items, items);
    let cut = decode(&file[..2_000_000]).unwrap();
    assert_eq!(cut.items, items[..2]);
    assert!(matches!(cut.fault, Some(Fault::Short)));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        turns in turns(),
        sessions in prop::collection::vec(session_change(), 0..4),
        closed: bool,
    ) {
        let (file, items) = file_with(&turns, &sessions, closed);
        let decoded = decode(&file).unwrap();
        prop_assert!(decoded.fault.is_none(), "{:?}", decoded.fault);
        prop_assert_eq!(decoded.header, HEAD);
        prop_assert_eq!(decoded.length, file.len() as u64);
        prop_assert_eq!(decoded.items, items);
    }

    #[test]
    fn what_is_cut_is_read_up_to_there(turns in turns(), closed: bool, cut: prop::sample::Index) {
        let (file, items) = file(&turns, closed);
        let least = HEAD.encode().len();
        let cut = least + cut.index(file.len() - least);
        let decoded = decode(&file[..cut]).unwrap();
        prop_assert!(items.starts_with(&decoded.items));
        prop_assert!(decoded.items.len() < items.len());
        prop_assert!(decoded.length <= cut as u64);
        // a fault exactly if the cut is within a frame, and never for damage
        prop_assert_eq!(decoded.fault.is_some(), decoded.length < cut as u64);
        prop_assert!(matches!(decoded.fault, None | Some(Fault::Short)));
    }

    #[test]
    fn what_is_changed_is_found(turns in turns(), at: prop::sample::Index, bit in 0..8u8) {
        let (mut file, items) = file(&turns, true);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        if let Ok(decoded) = decode(&file) {
            prop_assert!(matches!(decoded.fault, Some(Fault::Damaged)), "{:?}", decoded.fault);
            prop_assert!(items.starts_with(&decoded.items));
        }
    }

    /// What is hostile within a frame is read as something that can be written, or not at all.
    #[test]
    fn hostile_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes));
        drop(decoded(&bytes));
        let entry = |kind| [0, 3, 5, 0, 0, 1, b'a', kind];
        let begins = (0..22).map(|kind| entry(kind).to_vec()).chain((0..6).map(|kind| vec![kind]));
        for begin in begins.chain([vec![]]) {
            let items = decoded(&framed(&[&begin, &*bytes].concat())).items;
            let mut again = Vec::new();
            for item in &items {
                encode_item(item, &mut again);
            }
            prop_assert_eq!(decoded(&again).items, items);
        }
    }
}
