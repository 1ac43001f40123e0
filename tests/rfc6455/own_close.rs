//! How a connection ends, beyond what Autobahn asks.

use crate::frame::{BINARY, CLOSE, MORE, PING, PONG, TEXT, close, frame};
use crate::script::{Case, Ending, Script, case, in_parts};

/// Sections 7.4.1 and 7.4.2, and IANA's registry: 1012 to 1014 came after the RFC.
pub(crate) fn codes() -> Vec<Case> {
    let valid = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999_u16);
    let near = [0, 1, 999, 1100, 1999, 2000, 2999, 3000, 3001, 3999, 4000, 4998, 4999, 5000];
    (1000..=1017)
        .chain(near)
        .chain([32_767, 32_768, 65_534, 65_535])
        .map(|code| {
            case(format!("close code {code} with a reason"), move |_| {
                let script = Script::new().send(close(code, "so"));
                if valid(code) { script.answered(code) } else { script.failed(1002) }
            })
        })
        .collect()
}

/// Section 5.5.1: a reason is text of at most 123 bytes.
pub(crate) fn reasons() -> Vec<Case> {
    let mut cases = Vec::new();
    for length in [1, 2, 122, 123] {
        cases.push(case(format!("a reason of {length} bytes"), move |_| {
            Script::new().send(close(1001, vec![b'r'; length])).answered(1001)
        }));
    }
    cases.push(case("a reason of 123 bytes in characters of three", |_| {
        Script::new().send(close(1000, "€".repeat(41))).answered(1000)
    }));
    for (what, reason) in [
        ("ends within a character", &b"r\xE2\x82"[..]),
        ("has a lone continuation", b"r\x80r"),
        ("has a surrogate", b"\xED\xA0\x80"),
        ("has an overlong form", b"\xC0\xAF"),
        ("is beyond U+10FFFF", b"\xF4\x90\x80\x80"),
        ("is 123 bytes and ends within a character", &[b'r'; 123]),
    ] {
        let mut reason = reason.to_vec();
        if reason.len() == 123 {
            reason[122] = 0xE2;
        }
        cases.push(case(format!("a reason that {what}"), move |_| {
            Script::new().send(close(1000, &reason)).failed(1007)
        }));
    }
    cases.push(case("a code that may not be sent and a reason that is not text", |_| {
        Script::new().send(close(1005, b"\xFF")).failed(1002)
    }));
    for byte in [0, 3, 0xFF] {
        cases.push(case(format!("half a code, {byte}"), move |_| {
            Script::new().send(frame(CLOSE, [byte])).failed(1002)
        }));
    }
    cases
}

/// Section 5.5.1 and 7.1: what a close frame ends, and what ends without one.
pub(crate) fn endings() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, after) in [
        ("a ping", frame(PING, "late")),
        ("a pong", frame(PONG, "late")),
        ("text that is not UTF-8", frame(TEXT, [0xFF])),
        ("binary", frame(BINARY, "late")),
        ("a continuation of nothing", frame(MORE, "late")),
        ("an unmasked frame", frame(TEXT, "late").unmasked()),
        ("a close frame of one byte", frame(CLOSE, "x")),
        ("another close frame", close(4000, "late")),
        ("reserved bits", frame(TEXT, "late").reserved(7)),
    ] {
        cases.push(case(format!("{what} after a close frame"), move |_| {
            Script::new().together([close(3000, "first"), after.clone()]).answered(3000)
        }));
    }
    cases.push(case("text before a close frame is read, text after it not", |carriage| {
        let message = carriage.text("before");
        let sent = frame(TEXT, &*message);
        let frames = [sent.clone(), sent.clone(), close(1000, ""), sent];
        Script::new().together(frames).echo(&*message).echo(&*message).answered(1000)
    }));
    cases.push(case("a close frame between fragments", |carriage| {
        let parts = carriage.parts(["never", "whole"]);
        let begun = in_parts(&parts).remove(0);
        Script::new().together([begun, frame(CLOSE, "")]).answered(1000)
    }));
    cases.push(case("a violation is answered once, whatever follows", |carriage| {
        let sent = frame(TEXT, carriage.text("late"));
        let frames = [frame(3, "wrong"), sent, frame(PING, ""), close(1000, "")];
        Script::new().together(frames).failed(1002)
    }));
    cases.push(case("after binary a ping and a close frame of the client's own", |_| {
        let frames = [frame(BINARY, "x"), frame(PING, "late"), close(4999, "")];
        Script::new().together(frames).failed(1003)
    }));
    cases.push(case("the stream ends without a close frame", |carriage| {
        let message = carriage.text("last words");
        let script = Script::new().send(frame(TEXT, &*message)).echo(message);
        script.end_sending().ends(Ending::Dropped)
    }));
    for (what, keep) in [("a header", 1), ("a mask", 4), ("a payload", 8)] {
        cases.push(case(format!("the stream ends within {what}"), move |_| {
            let begun = frame(TEXT, "never whole").bytes();
            Script::new().raw(&begun[..keep]).end_sending().ends(Ending::Dropped)
        }));
    }
    cases.push(case("the stream ends within a message", |carriage| {
        let begun = in_parts(&carriage.parts(["never", "whole"])).remove(0);
        Script::new().send(begun).end_sending().ends(Ending::Dropped)
    }));
    cases
}
