//! What is written is read again, whatever is cut off; hostile bytes do no harm.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::log::Change;
use crate::protocol::{action_cable, chat, phoenix, sse, typed};
use crate::types::{
    Codec, Extra, Grant, Identifier, Identity, Label, Labels, Offset, Position, Publication,
    RawJson, Rights, SessionId, Watch,
};

const HEAD: Header = Header {
    boot: Boot::from_bits(7),
    run: 3,
    shards: 2,
    shard: 1,
    generation: 4,
    basis: Basis::Generation { number: 3, length: 900 },
};

fn json() -> impl Strategy<Value = RawJson> {
    prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<f32>().prop_map(|number| serde_json::to_string(&number).unwrap()),
        Just(r#"{ "a" : [9007199254740993, null, {}] } "#.to_owned()),
    ]
    .prop_map(RawJson::from)
}

fn identifier() -> impl Strategy<Value = Identifier> {
    any::<String>().prop_map(|text| Identifier::from(serde_json::to_string(&text).unwrap()))
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<u128>().prop_map(SessionId::from_bits)
}

fn position() -> impl Strategy<Value = Position> {
    ("[a-z0-9]{1,9}", any::<u64>()).prop_map(|(epoch, offset)| Position {
        epoch: epoch.as_str().into(),
        offset: Offset(offset),
    })
}

fn labels() -> impl Strategy<Value = Labels> {
    let name = || prop::option::of("\\PC{1,9}".prop_map(Arc::from));
    (name(), name()).prop_map(|(event, frame_type)| Label::new(event, frame_type))
}

fn group() -> impl Strategy<Value = (Codec, Watch)> {
    let codec = prop_oneof![
        Just(action_cable::CODEC),
        Just(phoenix::CODEC),
        Just(typed::CODEC),
        Just(chat::CODEC),
        Just(sse::CODEC),
        Just(sse::RAW),
    ];
    (codec, prop_oneof![Just(Watch::Members), Just(Watch::Occupancy)])
}

fn change() -> impl Strategy<Value = Change> {
    let stream = || "\\PC{1,9}".prop_map(|name: String| name.into());
    let whose = || (stream(), session(), identifier());
    prop_oneof![
        (stream(), position(), any::<u64>()).prop_map(|(stream, at, lost)| {
            Change::Began { stream, epoch: at.epoch, head: at.offset, lost }
        }),
        (stream(), any::<u64>()).prop_map(|(stream, lost)| Change::Forgotten { stream, lost }),
        (stream(), json(), labels(), any::<u64>(), prop::option::of(position())).prop_map(
            |(stream, data, labels, at, position)| {
                Change::Published(Publication { stream, data, labels, at, position }.into())
            }
        ),
        (whose(), group(), any::<(bool, bool, u64, u64)>()).prop_map(
            |(whose, (codec, watch), (join, whisper, identifier, presence_id))| {
                let identity = Identity { identifier, presence_id };
                let (stream, session, identifier) = whose;
                let grant = Grant { rights: Rights { join, whisper }, identity };
                Change::Subscribed { stream, session, codec, watch, identifier, grant }
            }
        ),
        whose().prop_map(|(stream, session, identifier)| {
            Change::Unsubscribed { stream, session, identifier }
        }),
        (whose(), "\\PC{1,9}", json(), extra()).prop_map(
            |((stream, session, identifier), id, info, extra)| {
                Change::Joined { stream, session, identifier, id: id.into(), info, extra }
            }
        ),
        whose().prop_map(|(stream, session, identifier)| {
            Change::Left { stream, session, identifier }
        }),
        (whose(), session()).prop_map(|((stream, from, identifier), to)| {
            Change::Resumed { stream, identifier, from, to }
        }),
        (stream(), "\\PC{1,9}").prop_map(|(stream, id)| Change::Gone { stream, id: id.into() }),
        stream().prop_map(|stream| Change::JournalTruncated { stream }),
        (stream(), "\\PC{1,9}", json(), extra(), any::<Option<u64>>()).prop_map(
            |(stream, id, info, extra, until)| {
                Change::Put { stream, id: id.into(), info, extra, until }
            }
        ),
        (stream(), "\\PC{1,9}")
            .prop_map(|(stream, id)| Change::Withdrawn { stream, id: id.into() }),
    ]
}

fn extra() -> impl Strategy<Value = Extra> {
    let object = "[a-z]{0,9}".prop_map(|text| RawJson::from(format!("{{\"a\":\"{text}\"}}")));
    prop::option::of(object.prop_map(Box::new))
}

/// A file of turns, and what it holds.
fn file(turns: &[Vec<Change>], closed: bool) -> (Vec<u8>, Vec<Entry>) {
    let (mut file, mut entries) = (HEAD.encode(), Vec::new());
    for turn in turns {
        encode(turn, &mut file);
        entries.extend(turn.iter().cloned().map(Entry::Change));
    }
    encode_without_history(&mut file);
    entries.push(Entry::WithoutHistory);
    encode_complete(5, &mut file);
    entries.push(Entry::Complete { forgotten: 5 });
    if closed {
        encode_closed(&mut file);
        entries.push(Entry::Closed);
    }
    (file, entries)
}

fn turns() -> impl Strategy<Value = Vec<Vec<Change>>> {
    prop::collection::vec(prop::collection::vec(change(), 0..4), 0..4)
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
    let mut newer = bytes.clone();
    newer[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let refused = Header::decode(&newer);
    assert!(matches!(refused, Err(HeaderError::Newer(version)) if version == VERSION + 1));
    assert!(matches!(Header::decode(b"hello"), Err(HeaderError::Foreign)));
    assert!(matches!(Header::decode(&[0; 100]), Err(HeaderError::Foreign)));
    let nobody = Header { shard: 2, ..HEAD }.encode();
    assert!(matches!(Header::decode(&nobody), Err(HeaderError::Damaged)));
}

#[test]
fn a_file_of_a_version_before_is_read() {
    let frame = framed(&[3, 1, b'a', 5, 0, 1, b'1', 10, 1, b'a', 6, 0, 1, b'e', 1, b'2']);
    let publication = |at, event: Option<&str>, data: &str| {
        let labels = Label::new(event.map(Into::into), None);
        let (stream, data) = ("a".into(), data.into());
        let publication = Publication { stream, data, labels, at, position: None };
        Entry::Change(Change::Published(publication.into()))
    };
    for version in 1..VERSION {
        let mut header = HEAD.encode();
        header[8..12].copy_from_slice(&version.to_le_bytes());
        let (checked, crc) = header.split_last_chunk_mut().unwrap();
        *crc = crc32fast::hash(checked).to_le_bytes();
        let decoded = decode(&[header, frame.clone()].concat()).unwrap();
        assert!(decoded.fault.is_none(), "{version}: {:?}", decoded.fault);
        assert_eq!(decoded.entries, [publication(5, None, "1"), publication(6, Some("e"), "2")]);
    }
}

#[test]
fn a_boot_that_is_unknown_is_no_other() {
    let (one, other) = (Boot::from_bits(1), Boot::from_bits(2));
    assert!(one.is_same(one) && !one.is_same(other));
    assert!(!Boot::UNKNOWN.is_same(Boot::UNKNOWN));
}

#[test]
fn what_is_invalid_is_damage() {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let gone = |stream: &[u8], id: &[u8]| framed(&[&[9], stream, id].concat());
    assert_eq!(decoded(&gone(&text("a"), &text("b"))).entries.len(), 1);
    let joined = |identifier: &str, info: &str| {
        let id = text("ann");
        framed(&[&[6], &*text("a"), &[0; 16], &*text(identifier), &id, &*text(info)].concat())
    };
    assert_eq!(decoded(&joined(r#""i""#, "{}")).entries.len(), 1);
    for (what, bytes) in [
        ("an empty stream", gone(&text(""), &text("b"))),
        ("an empty id", gone(&text("a"), &text(""))),
        ("no UTF-8", gone(&[1, 0xff], &text("b"))),
        ("a text longer than the frame", gone(&text("a"), &[200, 1, b'b'])),
        ("a length of no number", gone(&text("a"), &[0xff; 11])),
        ("an unknown kind", framed(&[77, 1, b'a'])),
        ("half an entry", framed(&[9, 1])),
        ("an empty frame", framed(&[])),
        ("an identifier that is no string", joined("1", "{}")),
        ("an identifier in another spelling", joined(r#""\u0061""#, "{}")),
        ("info that is no JSON", joined(r#""i""#, "{")),
        ("a time of no kind", framed(&[12, 1, b'a', 1, b'b', 1, b'1', 0, 2])),
        ("what is said that is no object", framed(&[12, 1, b'a', 1, b'b', 1, b'1', 1, b'1', 0])),
        ("an epoch with a quote", framed(&[1, 1, b'a', 1, b'"', 0, 0])),
        ("more after the end", framed(&[129, 129])),
        ("a frame after the end", [framed(&[129]), framed(&[128, 0])].concat()),
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
    let publication = |at| Publication {
        stream: "a".into(),
        data: data.clone(),
        labels: None,
        at,
        position: None,
    };
    let turn: Vec<Change> = (0..5).map(|at| Change::Published(publication(at).into())).collect();
    let (file, entries) = file(&[turn], true);
    assert_eq!(decode(&file).unwrap().entries, entries);
    let cut = decode(&file[..2_000_000]).unwrap();
    assert_eq!(cut.entries, entries[..2]);
    assert!(matches!(cut.fault, Some(Fault::Short)));
}

proptest! {
    #[test]
    fn what_is_written_is_read(turns in turns(), closed: bool) {
        let (file, entries) = file(&turns, closed);
        let decoded = decode(&file).unwrap();
        prop_assert!(decoded.fault.is_none(), "{:?}", decoded.fault);
        prop_assert_eq!(decoded.header, HEAD);
        prop_assert_eq!(decoded.length, file.len() as u64);
        prop_assert_eq!(decoded.entries, entries);
    }

    #[test]
    fn what_is_cut_is_read_up_to_there(turns in turns(), closed: bool, cut: prop::sample::Index) {
        let (file, entries) = file(&turns, closed);
        let least = HEAD.encode().len();
        let cut = least + cut.index(file.len() - least);
        let decoded = decode(&file[..cut]).unwrap();
        prop_assert!(entries.starts_with(&decoded.entries));
        prop_assert!(decoded.entries.len() < entries.len());
        prop_assert!(decoded.length <= cut as u64);
        // a fault exactly if the cut is within a frame, and never for damage
        prop_assert_eq!(decoded.fault.is_some(), decoded.length < cut as u64);
        prop_assert!(matches!(decoded.fault, None | Some(Fault::Short)));
    }

    #[test]
    fn what_is_changed_is_found(turns in turns(), at: prop::sample::Index, bit in 0..8u8) {
        let (mut file, entries) = file(&turns, true);
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        if let Ok(decoded) = decode(&file) {
            prop_assert!(matches!(decoded.fault, Some(Fault::Damaged)), "{:?}", decoded.fault);
            prop_assert!(entries.starts_with(&decoded.entries));
        }
    }

    #[test]
    fn hostile_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes));
        drop(decoded(&bytes));
        drop(decoded(&framed(&bytes)));
        for kind in 0..17 {
            drop(decoded(&framed(&[&[kind], &*bytes].concat())));
        }
    }
}
