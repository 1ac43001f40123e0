//! 7: the closing handshake.

use crate::frame::{CLOSE, PING, TEXT, close, frame};
use crate::script::{Case, Script, case, in_parts};

const HELLO: &str = "Hello World!";

/// Text and then what isn't.
const NOT_UTF_8: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";

/// 7.1: what comes before and after a close frame.
pub(crate) fn basic() -> Vec<Case> {
    vec![
        case("7.1.1", |carriage| {
            let message = carriage.text(HELLO);
            Script::new().send(frame(TEXT, &*message)).echo(message).closed()
        }),
        case("7.1.2", |_| {
            Script::new().together([close(1000, ""), frame(CLOSE, "")]).answered(1000)
        }),
        case("7.1.3", |_| {
            Script::new().together([close(1000, ""), frame(PING, "")]).answered(1000)
        }),
        case("7.1.4", |carriage| {
            let frames = [close(1000, ""), frame(TEXT, carriage.text(HELLO))];
            Script::new().together(frames).answered(1000)
        }),
        case("7.1.5", |carriage| {
            let mut frames = in_parts(&carriage.parts(["fragment1", "fragment2"]));
            frames.insert(1, close(1000, ""));
            Script::new().together(frames).answered(1000)
        }),
        // whether both messages are answered is left open there
        case("7.1.6", |carriage| {
            let large = carriage.text("BAsd7&jh23".repeat(26_215).split_at(256 << 10).0);
            let small = carriage.text(HELLO);
            let frames =
                [frame(TEXT, &*large), frame(TEXT, &*small), close(1000, ""), frame(PING, "")];
            Script::new().together(frames).echo(large).echo(small).answered(1000)
        }),
    ]
}

/// 7.3: how long a close frame is.
pub(crate) fn lengths() -> Vec<Case> {
    vec![
        case("7.3.1", |_| Script::new().send(frame(CLOSE, "")).answered(1000)),
        case("7.3.2", |_| Script::new().send(frame(CLOSE, "a")).failed(1002)),
        case("7.3.3", |_| Script::new().send(close(1000, "")).answered(1000)),
        case("7.3.4", |_| Script::new().send(close(1000, HELLO)).answered(1000)),
        case("7.3.5", |_| Script::new().send(close(1000, [b'*'; 123])).answered(1000)),
        case("7.3.6", |_| Script::new().send(close(1000, [b'*'; 124])).failed(1002)),
    ]
}

/// 7.5: the reason is text. 1002 would be right there, too.
pub(crate) fn reason() -> Vec<Case> {
    vec![case("7.5.1", |_| Script::new().send(close(1000, NOT_UTF_8)).failed(1007))]
}

/// 7.7: codes that may be sent, answered by the same.
pub(crate) fn valid_codes() -> Vec<Case> {
    (1..)
        .zip([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
        .map(|(n, code)| {
            case(format!("7.7.{n}"), move |_| Script::new().send(close(code, "")).answered(code))
        })
        .collect()
}

/// 7.9: codes that may not.
pub(crate) fn invalid_codes() -> Vec<Case> {
    (1..)
        .zip([0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999])
        .map(|(n, code)| {
            case(format!("7.9.{n}"), move |_| Script::new().send(close(code, "")).failed(1002))
        })
        .collect()
}

/// 7.13: codes of which the RFC says nothing. Anything would be right there.
pub(crate) fn beyond_codes() -> Vec<Case> {
    [("7.13.1", 5000), ("7.13.2", 65_535)]
        .into_iter()
        .map(|(number, code)| {
            case(number, move |_| Script::new().send(close(code, "")).failed(1002))
        })
        .collect()
}
