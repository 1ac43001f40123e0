//! 3: reserved bits. Nothing is negotiated that gives them a meaning.

use crate::frame::{BINARY, CLOSE, PING, TEXT, frame};
use crate::script::{Carriage, Case, Script, case};

const HELLO: &str = "Hello, world!";

pub(crate) fn cases() -> Vec<Case> {
    let after_a_message = |carriage: &Carriage, bits| {
        let message = carriage.text(HELLO);
        let sent = frame(TEXT, &*message);
        (message, [sent.clone(), sent.reserved(bits), frame(PING, "")])
    };
    vec![
        case("3.1", |carriage| {
            Script::new().send(frame(TEXT, carriage.text(HELLO)).reserved(1)).failed(1002)
        }),
        case("3.2", move |carriage| {
            let (message, frames) = after_a_message(carriage, 2);
            Script::new().together(frames).echo(message).failed(1002)
        }),
        case("3.3", move |carriage| {
            let (message, frames) = after_a_message(carriage, 3);
            Script::new().apart(frames).echo(message).failed(1002)
        }),
        case("3.4", move |carriage| {
            let (message, frames) = after_a_message(carriage, 4);
            Script::new().chopped(1, frames).echo(message).failed(1002)
        }),
        case("3.5", |_| {
            let payload = [0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF];
            Script::new().send(frame(BINARY, payload).reserved(5)).failed(1002)
        }),
        // announced as a ping there, but sent as binary
        case("3.6", |_| Script::new().send(frame(BINARY, HELLO).reserved(6)).failed(1002)),
        case("3.7", |_| Script::new().send(frame(CLOSE, "").reserved(7)).failed(1002)),
    ]
}
