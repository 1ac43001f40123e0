//! Headers and their order, beyond what Autobahn asks.

use crate::frame::{BINARY, CLOSE, Frame, MORE, PING, PONG, TEXT, bytes, fragments, frame};
use crate::script::{Case, Script, case, in_parts};

/// The limit the broker is started with.
pub(crate) const LIMIT: usize = 300_000;

const OPCODES: [u8; 6] = [MORE, TEXT, BINARY, CLOSE, PING, PONG];
const RESERVED: [u8; 10] = [3, 4, 5, 6, 7, 11, 12, 13, 14, 15];

/// An unfinished message before what is sent, where that needs one.
fn underway(opcode: u8) -> Vec<u8> {
    if opcode == MORE { frame(TEXT, "begun").open().bytes() } else { vec![] }
}

/// Bytes that are refused, of which the last is the proof: nothing after it has to come.
fn refused(name: String, code: u16, bytes: impl Into<Vec<u8>>) -> Case {
    let bytes = bytes.into();
    case(name, move |_| {
        let (before, proof) = bytes.split_at(bytes.len() - 1);
        Script::new().raw(before).quiet().raw(proof).failed(code)
    })
}

/// Section 5.1 and 5.3: a client masks, by whatever key.
pub(crate) fn masks() -> Vec<Case> {
    let mut cases: Vec<_> = OPCODES
        .into_iter()
        .map(|opcode| {
            let bare = frame(opcode, "bare").unmasked().bytes();
            refused(
                format!("an unmasked frame of opcode {opcode}"),
                1002,
                [&*underway(opcode), &bare[..2]].concat(),
            )
        })
        .collect();
    cases.push(case("an unmasked frame without payload", |_| {
        Script::new().send(frame(TEXT, "").unmasked()).failed(1002)
    }));
    cases.push(case("a masked frame and then an unmasked one", |carriage| {
        let message = carriage.text("masked");
        let sent = frame(TEXT, &*message);
        Script::new().together([sent.clone(), sent.unmasked()]).echo(message).failed(1002)
    }));
    for mask in [[0; 4], [0xFF; 4], [0, 0, 0, 1], *b"{\"c:", [0x80, 0, 0x81, 0x7F]] {
        cases.push(case(format!("the mask {mask:x?}"), move |carriage| {
            let parts = carriage.parts(["mäs", "k€d by ", "a key"]);
            let message = in_parts(&parts).into_iter().map(|part| part.masked_by(mask));
            let mut frames: Vec<_> = message.collect();
            frames.insert(2, frame(PING, "key").masked_by(mask));
            Script::new().together(frames).pong("key").echo(parts.concat()).closed()
        }));
    }
    cases
}

/// Section 5.2: reserved bits, on every opcode, each by its first byte.
pub(crate) fn reserved_bits() -> Vec<Case> {
    OPCODES
        .into_iter()
        .flat_map(|opcode| (1..8).map(move |bits| (opcode, bits)))
        .map(|(opcode, bits)| {
            let first = frame(opcode, "").reserved(bits).bytes()[0];
            refused(
                format!("reserved bits {bits} on opcode {opcode}"),
                1002,
                [underway(opcode), vec![first]].concat(),
            )
        })
        .collect()
}

/// Section 5.2: opcodes without a meaning, with FIN and without, between fragments and not.
pub(crate) fn reserved_opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in RESERVED {
        for (fin, how) in [(0x80, ""), (0, " without FIN")] {
            cases.push(refused(format!("opcode {opcode}{how}"), 1002, [fin | opcode]));
            let inside = [underway(MORE), vec![fin | opcode]].concat();
            cases.push(refused(format!("opcode {opcode}{how} between fragments"), 1002, inside));
        }
    }
    cases
}

/// Sections 5.4 and 5.5: what may come between fragments, and what not.
pub(crate) fn order() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in [CLOSE, PING, PONG] {
        cases.push(refused(format!("opcode {opcode} without FIN"), 1002, [opcode]));
    }
    for (name, second) in [
        ("text", frame(TEXT, "x")),
        ("text that begins", frame(TEXT, "x").open()),
        ("binary", frame(BINARY, "x")),
        ("binary that begins", frame(BINARY, "x").open()),
    ] {
        let header = &second.bytes()[..6];
        cases.push(refused(
            format!("{name} between fragments"),
            1002,
            [&*underway(MORE), header].concat(),
        ));
    }
    cases.push(case("a continuation after a message in fragments", |carriage| {
        let parts = carriage.parts(["a", "b"]);
        let frames = [in_parts(&parts), vec![frame(MORE, "c")]].concat();
        Script::new().together(frames).echo(parts.concat()).failed(1002)
    }));
    cases.push(case("binary in fragments", |_| {
        Script::new().together(fragments(BINARY, ["a", "b", "c"])).failed(1003)
    }));
    cases.push(case("an empty first fragment of binary", |_| {
        Script::new().send(frame(BINARY, "").open()).failed(1003)
    }));
    cases.push(case("what comes before binary is answered, and nothing after it", |carriage| {
        let message = carriage.text("before");
        let sent = frame(TEXT, &*message);
        let ping = frame(PING, "before");
        let frames = [sent.clone(), ping.clone(), frame(BINARY, "x"), sent, ping];
        Script::new().together(frames).echo(message).pong("before").failed(1003)
    }));
    cases.push(case("a ping and a pong between all fragments", |carriage| {
        let message = carriage.text("a text of many fragments, each of them a byte");
        let mut frames = Vec::new();
        let mut script = Script::new();
        for (n, part) in crate::script::by_the_byte(&message).into_iter().enumerate() {
            let payload = vec![0xFF; n % 126];
            frames.extend([part, frame(PING, &*payload), frame(PONG, &*payload)]);
        }
        frames.truncate(frames.len() - 2); // none after the last
        script = script.together(&frames);
        for n in 0..message.len() - 1 {
            script = script.pong(vec![0xFF; n % 126]);
        }
        script.echo(message).closed()
    }));
    cases.push(case("a thousand empty fragments", |carriage| {
        let parts = carriage.parts(["a", "b"]);
        let mut frames = in_parts(&parts);
        frames.splice(1..1, vec![frame(MORE, "").open(); 1000]);
        Script::new().together(frames).echo(parts.concat()).closed()
    }));
    cases.push(case("a thousand messages in one write", |carriage| {
        let message = carriage.text("again");
        let script = Script::new().together(vec![frame(TEXT, &*message); 1000]);
        (0..1000).fold(script, |script, _| script.echo(&*message)).closed()
    }));
    cases
}

/// Section 5.2: a length has one spelling.
pub(crate) fn lengths() -> Vec<Case> {
    let mut cases: Vec<_> =
        [0, 1, 124, 125, 126, 127, 128, 255, 256, 65_534, 65_535, 65_536, 65_537]
            .into_iter()
            .map(|length| {
                case(format!("a message of {length} bytes, whole and in two"), move |carriage| {
                    let message = carriage.filled(length);
                    let half = message.split_at(message.len() / 2);
                    let parts = in_parts(&[half.0.to_vec(), half.1.to_vec()]);
                    Script::new()
                        .send(frame(TEXT, &*message))
                        .together(parts)
                        .echo(&*message)
                        .echo(&*message)
                        .closed()
                })
            })
            .collect();
    for length in [125, 126, 127, 65_535, 65_536] {
        cases.push(case(format!("{length} from the server"), move |carriage| {
            let message = carriage.told_in(length);
            Script::new().send(frame(TEXT, &*message)).echo(message).closed()
        }));
    }
    let mut not_minimal = |how: &str, header: &Frame, end: usize| {
        cases.push(refused(how.to_owned(), 1002, &header.bytes()[..end]));
    };
    for length in [0, 1, 125] {
        let header = frame(TEXT, "").length_16(length);
        not_minimal(&format!("{length} in 16 bits"), &header, 4);
    }
    for length in [0, 125, 126, 65_535] {
        let header = frame(TEXT, "").length_64(length);
        not_minimal(&format!("{length} in 64 bits"), &header, 10);
    }
    for length in [1 << 63, 1 << 63 | 65_536, u64::MAX] {
        for opcode in [TEXT, BINARY] {
            let header = frame(opcode, "").length_64(length);
            not_minimal(&format!("{length} bytes of opcode {opcode}"), &header, 10);
        }
    }
    for opcode in [CLOSE, PING, PONG] {
        for length in [126, 65_536] {
            let header = frame(opcode, vec![0; length]);
            not_minimal(&format!("opcode {opcode} of {length} bytes"), &header, 2);
        }
        let small = frame(opcode, "").length_16(125);
        not_minimal(&format!("opcode {opcode} with 125 in 16 bits"), &small, 2);
    }
    cases
}

/// Section 10.4: the limit, which the header of a frame already shows.
pub(crate) fn limits() -> Vec<Case> {
    let text = |length| frame(TEXT, "").length_64(length).bytes();
    let largest = u64::MAX >> 1;
    let over = LIMIT as u64 + 1;
    vec![
        case("a message as large as the limit", |carriage| {
            let message = carriage.filled(LIMIT);
            Script::new().send(frame(TEXT, &*message)).echo(message).closed()
        }),
        case("a message as large as the limit in fragments", |carriage| {
            let message = carriage.filled(LIMIT);
            let parts: Vec<_> = message.chunks(70_000).map(<[u8]>::to_vec).collect();
            Script::new().together(in_parts(&parts)).echo(message).closed()
        }),
        refused("a message that is a byte too large".to_owned(), 1009, text(over)),
        refused("a message as large as can be".to_owned(), 1009, text(largest)),
        case("fragments that are a byte too large together", |_| {
            let begun = frame(TEXT, vec![b'a'; LIMIT]).open();
            Script::new().send(begun).quiet().send(frame(MORE, "b")).failed(1009)
        }),
        case("a ping within a message as large as the limit", |carriage| {
            let message = carriage.filled(LIMIT);
            let (first, last) = message.split_at(LIMIT - 1);
            let mut frames = in_parts(&[first.to_vec(), last.to_vec()]);
            frames.insert(1, frame(PING, [7; 125]));
            Script::new().raw(bytes(&frames)).pong([7; 125]).echo(message).closed()
        }),
    ]
}
