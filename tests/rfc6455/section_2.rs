//! 2: pings and pongs.

use crate::frame::{Frame, PING, PONG, frame};
use crate::script::{Case, Script, case};

const BINARY: [u8; 8] = [0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0x00, 0xFF];

pub(crate) fn cases() -> Vec<Case> {
    let ping = |number, payload: Vec<u8>| {
        case(number, move |_| Script::new().send(frame(PING, &*payload)).pong(&*payload).closed())
    };
    let unasked = || frame(PONG, "unsolicited pong payload");
    vec![
        ping("2.1", vec![]),
        ping("2.2", b"Hello, world!".to_vec()),
        ping("2.3", BINARY.to_vec()),
        ping("2.4", vec![0xFE; 125]),
        case("2.5", |_| Script::new().send(frame(PING, [0xFE; 126])).failed(1002)),
        case("2.6", |_| {
            Script::new().chopped(1, [frame(PING, [0xFE; 125])]).pong([0xFE; 125]).closed()
        }),
        case("2.7", |_| Script::new().send(frame(PONG, "")).closed()),
        case("2.8", move |_| Script::new().send(unasked()).closed()),
        case("2.9", move |_| {
            let frames = [unasked(), frame(PING, "ping payload")];
            Script::new().together(frames).pong("ping payload").closed()
        }),
        case("2.10", |_| pongs(Script::new().together(ten_pings())).closed()),
        case("2.11", |_| pongs(Script::new().chopped(1, ten_pings())).closed()),
    ]
}

fn payloads() -> impl Iterator<Item = String> {
    (0..10).map(|n| format!("payload-{n}"))
}

fn ten_pings() -> Vec<Frame> {
    payloads().map(|payload| frame(PING, payload)).collect()
}

fn pongs(script: Script) -> Script {
    payloads().fold(script, Script::pong)
}
