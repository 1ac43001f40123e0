//! UTF-8 over fragments and pieces, beyond what Autobahn asks (section 8.1).

use crate::frame::{CLOSE, MORE, PING, TEXT, fragments, frame};
use crate::script::{Case, Script, case, in_parts};

/// One of each length, and what comes before the surrogates and last of all.
const CHARACTERS: [&str; 6] = ["a", "é", "€", "😀", "\u{D7FF}", "\u{10FFFF}"];

/// Bytes that end with the one that proves them wrong.
const PROOFS: [&[u8]; 14] = [
    b"\x80",
    b"\xBF",
    b"\xC0",
    b"\xC1",
    b"\xC3\x28",
    b"\xE0\x9F",
    b"\xE2\x82\x28",
    b"\xED\xA0",
    b"\xED\xBF",
    b"\xF0\x8F",
    b"\xF0\x9F\x98\x28",
    b"\xF4\x90",
    b"\xF5",
    b"\xFF",
];

/// Characters cut at every place, by fragments and by a ping between them.
pub(crate) fn cut_characters() -> Vec<Case> {
    let mut cases = Vec::new();
    for character in CHARACTERS {
        for at in 0..=character.len() {
            cases.push(case(
                format!("{} cut after {at} bytes", character.escape_unicode()).replace('\\', ""),
                move |carriage| {
                    let (first, last) = character.as_bytes().split_at(at);
                    let parts = carriage.parts([&[b"<", first].concat(), &[last, b">"].concat()]);
                    let mut frames = in_parts(&parts);
                    frames.insert(1, frame(PING, "between"));
                    Script::new().together(frames).pong("between").echo(parts.concat()).closed()
                },
            ));
        }
    }
    cases
}

/// Characters that are never whole.
pub(crate) fn unfinished() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, begun) in [("two", &b"\xC3"[..]), ("three", b"\xE2\x82"), ("four", b"\xF0\x9F\x98")]
    {
        cases.push(case(format!("a message that ends within a character of {name}"), move |_| {
            Script::new().send(frame(TEXT, [b"cut ", begun].concat())).failed(1007)
        }));
        cases.push(case(format!("fragments that end within a character of {name}"), move |_| {
            let first = frame(TEXT, begun).open();
            Script::new().send(first).quiet().send(frame(MORE, "")).failed(1007)
        }));
        cases.push(case(format!("a character of {name} that goes on as another"), move |_| {
            let frames = fragments(TEXT, [begun, b"", b"a", b"never looked at"]);
            Script::new().together(&frames[..2]).quiet().send(frames[2].clone()).failed(1007)
        }));
        cases.push(case(format!("a close frame within a character of {name}"), move |_| {
            let frames = [frame(TEXT, begun).open(), frame(CLOSE, "")];
            Script::new().together(frames).answered(1000)
        }));
    }
    cases
}

/// Refused by the byte that proves it, in a frame that isn't there yet.
pub(crate) fn proofs() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, proof) in PROOFS.into_iter().enumerate() {
        let begun = move |prefix: &[u8]| {
            let payload = [prefix, proof, &[b'x'; 1000]].concat();
            let bytes = frame(TEXT, payload).bytes();
            let end = bytes.len() - 1000;
            (bytes[..end - 1].to_vec(), bytes[end - 1])
        };
        cases.push(case(format!("{proof:02x?} in a piece of a frame"), move |carriage| {
            // after text that is carried, or else of the test's own
            let prefix = carriage.text(if n % 2 == 0 { "" } else { "ok €" });
            let (before, proof) = begun(&prefix);
            Script::new().raw(before).quiet().raw([proof]).failed(1007)
        }));
        cases.push(case(format!("{proof:02x?} in a fragment"), move |_| {
            let (before, last) = proof.split_at(proof.len() - 1);
            let first = frame(TEXT, [b"ok", before].concat()).open();
            Script::new().send(first).quiet().send(frame(MORE, last).open()).failed(1007)
        }));
    }
    cases
}
