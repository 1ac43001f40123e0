//! 6: text is UTF-8, and what isn't is refused by the byte that proves it.

use crate::frame::{TEXT, fragments, frame};
use crate::script::{Case, Script, by_the_byte, case, in_parts};

/// "Hello-µ@ßöäüàá-UTF-8!!", cut between two characters.
const HELLO: [&str; 2] = ["Hello-µ@ßöä", "üàá-UTF-8!!"];

/// "κόσμε", the second letter decomposed or not being all there is to say about it: 11 bytes.
const KOSME: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

const EDITED: &[u8] = b"edited";

/// 6.1: fragments without payload.
pub(crate) fn empty() -> Vec<Case> {
    vec![
        case("6.1.1", |carriage| {
            let message = carriage.text("");
            Script::new().send(frame(TEXT, &*message)).echo(message).closed()
        }),
        in_fragments("6.1.2", &["", "", ""]),
        in_fragments("6.1.3", &["", "middle frame payload", ""]),
    ]
}

/// 6.2: characters in one fragment, and over several.
pub(crate) fn cut() -> Vec<Case> {
    let bytes = |number, payload: &'static [u8]| {
        case(number, move |carriage| {
            let message = carriage.text(payload);
            Script::new().together(by_the_byte(&message)).echo(message).closed()
        })
    };
    vec![
        whole("6.2.1", HELLO.concat().as_bytes()),
        in_fragments("6.2.2", &HELLO),
        bytes("6.2.3", "Hello-µ@ßöäüàá-UTF-8!!".as_bytes()),
        bytes("6.2.4", KOSME),
    ]
}

/// 6.3: a surrogate, in one fragment and over several.
pub(crate) fn invalid() -> Vec<Case> {
    let wrong = || [KOSME, &[0xED, 0xA0, 0x80], EDITED].concat();
    vec![
        whole("6.3.1", &wrong()),
        case("6.3.2", move |carriage| {
            Script::new().together(by_the_byte(&carriage.text(wrong()))).failed(1007)
        }),
    ]
}

/// 6.4: the wrong byte is refused before the rest is sent. The strict outcome is held to; the other
/// would be to wait for the message's end.
pub(crate) fn fail_fast() -> Vec<Case> {
    /// Beyond U+10FFFF, which the second byte proves.
    const TOO_LARGE: &[u8] = &[0xF4, 0x90, 0x80, 0x80];
    let up_to_the_proof: [&[u8]; 3] =
        [&[KOSME, &TOO_LARGE[..1]].concat(), &TOO_LARGE[1..2], &[&TOO_LARGE[2..], EDITED].concat()]
            .map(|part| &*part.to_vec().leak());
    let as_frames = |number, parts: [&'static [u8]; 3]| {
        case(number, move |carriage| {
            let frames = fragments(TEXT, carriage.parts(parts));
            let [first, second, _] = frames.try_into().ok().unwrap();
            Script::new().send(first).quiet().send(second).failed(1007)
        })
    };
    let as_pieces = |number, parts: [&'static [u8]; 3]| {
        case(number, move |carriage| {
            let carried = carriage.parts(parts);
            let bytes = frame(TEXT, carried.concat()).bytes();
            let (begun, _) = bytes.split_at(bytes.len() - carried[2].len());
            let (first, second) = begun.split_at(begun.len() - carried[1].len());
            Script::new().raw(first).quiet().raw(second).failed(1007)
        })
    };
    let by_meaning = [KOSME, TOO_LARGE, EDITED];
    vec![
        as_frames("6.4.1", by_meaning),
        as_frames("6.4.2", up_to_the_proof),
        as_pieces("6.4.3", by_meaning),
        as_pieces("6.4.4", up_to_the_proof),
    ]
}

/// 6.5 to 6.23: byte sequences of Markus Kuhn's UTF-8 decoder stress test, each a message.
pub(crate) fn sequences(section: usize) -> Vec<Case> {
    let sequences: Vec<Vec<u8>> = match section {
        5 => list(&[
            b"hello$world",
            "hello\u{A2}world".as_bytes(),
            "hello\u{20AC}world".as_bytes(),
            "hello\u{24B62}world".as_bytes(),
            KOSME,
        ]),
        6 => (1..=KOSME.len()).map(|end| KOSME[..end].to_vec()).collect(),
        7 => characters("\0\u{80}\u{800}\u{10000}"),
        8 => vec![scheme(5, 0x20_0000), scheme(6, 0x400_0000)],
        9 => characters("\u{7F}\u{7FF}\u{FFFF}\u{10FFFF}"),
        10 => vec![scheme(4, 0x1F_FFFF), scheme(5, 0x3FF_FFFF), scheme(6, 0x7FFF_FFFF)],
        11 => {
            let mut all = characters("\u{D7FF}\u{E000}\u{FFFD}\u{10FFFF}");
            all.push(scheme(4, 0x11_0000));
            all
        }
        12 => {
            let mut all = list(&[b"\x80", b"\xBF"]);
            all.extend((2..=6).map(|length| b"\x80\xBF".repeat(3)[..length].to_vec()));
            all.push((0x80..0xBF).collect());
            all
        }
        13 => [0xC0..0xDF, 0xE0..0xEF, 0xF0..0xF7, 0xF8..0xFB, 0xFC..0xFD]
            .map(|begins| begins.flat_map(|begin| [begin, b' ']).collect())
            .to_vec(),
        14 => cut_short(),
        15 => vec![cut_short().concat()],
        16 => list(&[b"\xFE", b"\xFF", b"\xFE\xFE\xFF\xFF"]),
        17 => (2..=6).map(|bytes| scheme(bytes, u32::from(b'/'))).collect(),
        18 => [0x7F, 0x7FF, 0xFFFF, 0x1F_FFFF, 0x3FF_FFFF]
            .into_iter()
            .zip(2..)
            .map(|(last, bytes)| scheme(bytes, last))
            .collect(),
        19 => (2..=6).map(|bytes| scheme(bytes, 0)).collect(),
        20 => [0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF]
            .map(|surrogate| scheme(3, surrogate))
            .to_vec(),
        21 => [0xD800, 0xDB7F, 0xDB80, 0xDBFF]
            .into_iter()
            .flat_map(|high| [(high, 0xDC00), (high, 0xDFFF)])
            .map(|(high, low)| [scheme(3, high), scheme(3, low)].concat())
            .collect(),
        22 => (0..=16)
            .flat_map(|plane| [plane << 16 | 0xFFFE, plane << 16 | 0xFFFF])
            .map(|code| char::from_u32(code).unwrap().to_string().into_bytes())
            .collect(),
        23 => characters("\u{FFF9}\u{FFFA}\u{FFFB}\u{FFFC}\u{FFFD}\u{FFFE}\u{FFFF}"),
        other => panic!("there is no section 6.{other} of sequences"),
    };
    (1..).zip(sequences).map(|(n, bytes)| whole(&format!("6.{section}.{n}"), &bytes)).collect()
}

/// Sequences that lack their last byte: of the smallest and the largest number of each length.
fn cut_short() -> Vec<Vec<u8>> {
    let smallest = (2..=6).map(|bytes| scheme(bytes, 0));
    let largest = [0x7FF, 0xFFFF, 0x1F_FFFF, 0x3FF_FFFF, 0x7FFF_FFFF];
    let largest = largest.into_iter().zip(2..).map(|(number, bytes)| scheme(bytes, number));
    smallest.chain(largest).map(|bytes| bytes[..bytes.len() - 1].to_vec()).collect()
}

/// A number in so many bytes of the scheme behind UTF-8, whether UTF-8 allows that or not.
fn scheme(bytes: u32, number: u32) -> Vec<u8> {
    let mark = !(0xFF_u8 >> bytes);
    let byte = |at: u32| u8::try_from(number >> (6 * at) & 0x3F).unwrap();
    let mut all = vec![mark | byte(bytes - 1)];
    all.extend((0..bytes - 1).rev().map(|at| 0x80 | byte(at)));
    all
}

fn list(sequences: &[&[u8]]) -> Vec<Vec<u8>> {
    sequences.iter().map(|sequence| sequence.to_vec()).collect()
}

fn characters(all: &str) -> Vec<Vec<u8>> {
    all.chars().map(|one| one.to_string().into_bytes()).collect()
}

/// A message in one frame: read if it is UTF-8, else refused.
fn whole(number: &str, payload: &[u8]) -> Case {
    let payload = payload.to_vec();
    case(number, move |carriage| {
        let message = carriage.text(&payload);
        let script = Script::new().send(frame(TEXT, &*message));
        match std::str::from_utf8(&payload) {
            Ok(_) => script.echo(message).closed(),
            Err(_) => script.failed(1007),
        }
    })
}

fn in_fragments(number: &str, parts: &[&'static str]) -> Case {
    let parts = parts.to_vec();
    case(number, move |carriage| {
        let parts = carriage.parts(&parts);
        Script::new().together(in_parts(&parts)).echo(parts.concat()).closed()
    })
}
