//! Frames of valid messages of which some are made wrong: a bit, an opcode, a length, a mask, a
//! byte of text, one too many or too few.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    splits::{Item, Script, items},
    *,
};

/// What is made of a frame.
#[derive(Clone, Debug)]
enum Fault {
    /// Other bits in the first byte.
    Bits(u8),
    Opcode(u8),
    Unmasked,
    /// The length in 16 or 64 bits, be it as it was.
    Wide(bool),
    /// Another length than the payload's.
    Announced(u64),
    /// Another byte in the payload.
    Byte(Index, u8),
    /// The payload's end.
    Cut(Index),
    Missing,
    Twice,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        prop_oneof![Just(0x80), Just(0x40), Just(0x20), Just(0x10), 1..=0x0F_u8]
            .prop_map(Fault::Bits),
        (0..16_u8).prop_map(Fault::Opcode),
        Just(Fault::Unmasked),
        any::<bool>().prop_map(Fault::Wide),
        prop_oneof![0..200_u64, 500..700_u64, 65_530..65_540_u64, any::<u64>()]
            .prop_map(Fault::Announced),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Fault::Byte(at, byte)),
        any::<Index>().prop_map(Fault::Cut),
        Just(Fault::Missing),
        Just(Fault::Twice),
    ]
}

/// A frame with a mask of its own, and a fault or not.
fn write(out: &mut Vec<u8>, first: u8, payload: &[u8], mask: [u8; 4], fault: Option<&Fault>) {
    let (mut first, mut payload) = (first, payload.to_vec());
    let mut length = payload.len() as u64;
    let (mut masked, mut wide, mut times) = (true, None, 1);
    match fault {
        None => {}
        Some(Fault::Bits(bits)) => first ^= bits,
        Some(Fault::Opcode(opcode)) => first = first & 0xF0 | opcode,
        Some(Fault::Unmasked) => masked = false,
        Some(Fault::Wide(wider)) => wide = Some(*wider),
        Some(Fault::Announced(other)) => length = *other,
        Some(Fault::Byte(at, byte)) => {
            let at = at.index(payload.len() + 1);
            payload.splice(at..payload.len().min(at + 1), [*byte]);
            length = payload.len() as u64;
        }
        Some(Fault::Cut(at)) => {
            payload.truncate(at.index(payload.len() + 1));
            length = payload.len() as u64;
        }
        Some(Fault::Missing) => times = 0,
        Some(Fault::Twice) => times = 2,
    }
    for _ in 0..times {
        let mut frame = header(first, length);
        frame.truncate(frame.len() - 4);
        let wider = match (wide, u16::try_from(length)) {
            (None, _) => None,
            (Some(false), Ok(length)) => Some([&[MASKED_16][..], &length.to_be_bytes()].concat()),
            (Some(_), _) => Some([&[MASKED_64][..], &length.to_be_bytes()].concat()),
        };
        if let Some(wider) = wider {
            frame.splice(1.., wider);
        }
        if masked {
            frame.extend(mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            frame[1] &= 0x7F;
            frame.extend(&payload);
        }
        out.extend(frame);
    }
}

/// A close frame's payload: any code, the known ones more often, and text or not.
fn close() -> impl Strategy<Value = Vec<u8>> {
    let code = prop_oneof![995..1020_u16, 2990..3010_u16, 4990..5010_u16, any::<u16>()];
    let reason =
        prop_oneof![3 => "\\PC{0,40}".prop_map(String::into_bytes), 1 => vec![any::<u8>(); 2]];
    prop_oneof![
        6 => (code, reason).prop_map(|(code, reason)| [&code.to_be_bytes(), &*reason].concat()),
        1 => vec(any::<u8>(), 0..3),
    ]
}

/// Messages, one of them perhaps at the edge of a length's forms, or of the lower limit.
fn messages() -> impl Strategy<Value = Vec<Item>> {
    let edge = prop_oneof![125..128_usize, 599..602_usize, 65_535..65_537_usize];
    let edge =
        edge.prop_map(|length| Item::whole("x".repeat(length % 2) + &"é".repeat(length / 2)));
    (items(), proptest::option::weighted(0.1, edge)).prop_map(|(mut items, edge)| {
        items.extend(edge);
        items
    })
}

/// The frames, a fault in one of eight, or in none; and then perhaps a close and something more.
pub(super) fn broken_frames() -> impl Strategy<Value = Vec<u8>> {
    let faults = prop_oneof![
        3 => vec(proptest::option::weighted(0.125, fault()), 32),
        1 => Just(vec![]),
    ];
    let close = proptest::option::of(close());
    (messages(), faults, any::<[u8; 4]>(), close).prop_map(|(messages, faults, mask, close)| {
        let mut out = Vec::new();
        let mut frames = Script::new(&messages).frames;
        frames.extend(close.map(|payload| (CLOSE, payload)));
        frames.push((TEXT, b"end".to_vec()));
        for (n, (first, payload)) in frames.iter().enumerate() {
            let mask = mask.map(|byte| byte.rotate_left(u32::try_from(n).unwrap()));
            write(&mut out, *first, payload, mask, faults.get(n).and_then(Option::as_ref));
        }
        out
    })
}
