//! However the bytes arrive, and however often the sink breaks, the events are the same.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// A message, cut into fragments at these places, with pings between them or not.
#[derive(Clone, Debug)]
pub(super) struct Fragments<T> {
    payload: T,
    cuts: Vec<Index>,
    pinged: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Item {
    Text(Fragments<String>),
    Binary(Fragments<Vec<u8>>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

impl Item {
    /// A text in one frame.
    pub(super) fn whole(payload: String) -> Self {
        Self::Text(Fragments { payload, cuts: vec![], pinged: false })
    }
}

fn fragments<T: Clone + std::fmt::Debug>(
    payload: impl Strategy<Value = T>,
) -> impl Strategy<Value = Fragments<T>> {
    (payload, vec(any::<Index>(), 0..4), any::<bool>())
        .prop_map(|(payload, cuts, pinged)| Fragments { payload, cuts, pinged })
}

pub(super) fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![
        4 => fragments("\\PC{0,60}").prop_map(Item::Text),
        1 => fragments("[a-zé€😀]{120,300}").prop_map(Item::Text),
        1 => fragments(vec(any::<u8>(), 0..200)).prop_map(Item::Binary),
        1 => vec(any::<u8>(), 0..=125).prop_map(Item::Ping),
        1 => vec(any::<u8>(), 0..=125).prop_map(Item::Pong),
    ];
    vec(item, 0..8)
}

/// Frames, each a first byte and a payload, and the events they stand for.
#[derive(Default)]
pub(super) struct Script {
    pub(super) frames: Vec<(u8, Vec<u8>)>,
    events: Vec<Seen>,
}

impl Script {
    pub(super) fn new(items: &[Item]) -> Self {
        let mut script = Self::default();
        for item in items {
            match item {
                Item::Text(message) => {
                    script.message(TEXT_BEGIN, message.payload.as_bytes(), message);
                    script.events.push(text(&message.payload));
                }
                Item::Binary(message) => {
                    script.events.push(Seen::Binary);
                    script.message(BINARY_BEGIN, &message.payload, message);
                }
                Item::Ping(payload) => script.ping(payload),
                Item::Pong(payload) => {
                    script.frames.push((PONG, payload.clone()));
                    script.events.push(Seen::Pong(payload.clone()));
                }
            }
        }
        script
    }

    fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect()
    }

    fn ping(&mut self, payload: &[u8]) {
        self.frames.push((PING, payload.to_vec()));
        self.events.push(Seen::Ping(payload.to_vec()));
    }

    fn message<T>(&mut self, mut first: u8, payload: &[u8], message: &Fragments<T>) {
        let mut cuts: Vec<_> =
            message.cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts {
            self.frames.push((first, payload[from..cut].to_vec()));
            (first, from) = (MORE, cut);
            if message.pinged {
                self.ping(&[7]);
            }
        }
        self.frames.push((0x80 | first, payload[from..].to_vec()));
    }
}

/// Valid frames of which some bytes were replaced, left out or put in, and perhaps a close.
pub(super) fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    let close = prop_oneof![
        3 => Just(vec![]),
        1 => (995..1020_u16, "\\PC{0,9}")
            .prop_map(|(code, reason)| frame(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())),
        1 => vec(any::<u8>(), 0..9).prop_map(|payload| frame(CLOSE, payload)),
    ];
    let mutation = (any::<Index>(), 0..4_u8, any::<u8>());
    let first = any::<u8>();
    let stray = prop_oneof![4 => Just(vec![]), 1 => first.prop_map(|first| frame(first, "stray"))];
    (items(), stray, items(), close, vec(mutation, 0..3)).prop_map(
        |(before, stray, after, close, mutations)| {
            let (before, after) = (Script::new(&before).bytes(), Script::new(&after).bytes());
            let mut bytes = [before, stray, after, close, frame(TEXT, "end")].concat();
            for (at, kind, byte) in mutations {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes[at] ^= 1 << (byte % 8),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, byte),
                }
            }
            bytes
        },
    )
}

/// The bytes in pieces of these lengths, over and over.
pub(super) fn pieces<'a>(bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at(rest.len().min(*lengths.next()?));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

pub(super) fn lengths() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![vec(1..20_usize, 1..9), vec(1..500_usize, 1..9)]
}

proptest! {
    #[test]
    fn valid_frames_yield_their_events(items in items(), lengths in lengths()) {
        let script = Script::new(&items);
        let bytes = script.bytes();
        let expected = Outcome { seen: script.events, end: Ok(()), partial: false };
        prop_assert_eq!(&read_all(&bytes), &expected);
        prop_assert_eq!(&read(pieces(&bytes, &lengths), 1 << 20, || false), &expected);
    }

    #[test]
    fn neither_pieces_nor_breaks_change_anything(
        bytes in nearly_valid(),
        lengths in lengths(),
        breaks in vec(any::<bool>(), 1..9),
        max_message in prop_oneof![Just(1 << 20), 0..300_usize],
    ) {
        let at_once = read([&*bytes], max_message, || false);
        prop_assert_eq!(&read(pieces(&bytes, &lengths), max_message, || false), &at_once);
        let mut breaks = breaks.iter().cycle();
        let broken = read(pieces(&bytes, &lengths), max_message, || *breaks.next().unwrap());
        prop_assert_eq!(&broken, &at_once);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..300), lengths in lengths()) {
        let at_once = read([&*bytes], 1000, || false);
        prop_assert_eq!(&read(pieces(&bytes, &lengths), 1000, || true), &at_once);
    }
}
