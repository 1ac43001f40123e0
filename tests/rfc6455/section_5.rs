//! 5: fragments, their order, and what may come between them.

use crate::frame::{Frame, MORE, PING, PONG, TEXT, frame};
use crate::script::{Carriage, Case, Script, case, in_parts};

const HELLO: &str = "Hello, world!";
const PARTS: [&str; 2] = ["fragment1", "fragment2"];

/// How a stream of frames is cut into packets.
#[derive(Clone, Copy)]
enum Cut {
    Together,
    Apart,
    Bytes,
}

fn sent(script: Script, cut: Cut, frames: &[Frame]) -> Script {
    match cut {
        Cut::Together => script.together(frames),
        Cut::Apart => script.apart(frames),
        Cut::Bytes => script.chopped(1, frames),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![fragmented_control("5.1", PING), fragmented_control("5.2", PONG)];
    for (n, cut) in [(3, Cut::Together), (4, Cut::Apart), (5, Cut::Bytes)] {
        cases.push(case(format!("5.{n}"), move |carriage| {
            let parts = carriage.parts(PARTS);
            sent(Script::new(), cut, &in_parts(&parts)).echo(parts.concat()).closed()
        }));
    }
    for (n, cut) in [(6, Cut::Together), (7, Cut::Apart), (8, Cut::Bytes)] {
        cases.push(case(format!("5.{n}"), move |carriage| {
            let parts = carriage.parts(PARTS);
            let mut frames = in_parts(&parts);
            frames.insert(1, frame(PING, "ping payload"));
            sent(Script::new(), cut, &frames).pong("ping payload").echo(parts.concat()).closed()
        }));
    }
    for (first, fin) in [(9, true), (12, false)] {
        for (n, cut) in (first..).zip([Cut::Together, Cut::Apart, Cut::Bytes]) {
            cases.push(case(format!("5.{n}"), move |carriage| {
                let frames = [stray(fin), frame(TEXT, carriage.text(HELLO))];
                sent(Script::new(), cut, &frames).failed(1002)
            }));
        }
    }
    cases.push(case("5.15", |carriage| {
        let parts = carriage.parts(PARTS);
        let mut frames = in_parts(&parts);
        frames.push(frame(MORE, "fragment3").open());
        frames.push(frame(TEXT, carriage.text("fragment4")));
        Script::new().together(frames).echo(parts.concat()).failed(1002)
    }));
    for (n, fin) in [(16, false), (17, true)] {
        cases.push(case(format!("5.{n}"), move |carriage| {
            let mut frames = in_parts(&carriage.parts(["fragment2", "fragment3"]));
            let first = frame(MORE, "fragment1");
            frames.insert(0, if fin { first } else { first.open() });
            Script::new().together([&*frames, &*frames].concat()).failed(1002)
        }));
    }
    cases.push(case("5.18", |carriage| {
        let [first, last] = carriage.parts(PARTS).try_into().unwrap();
        Script::new().together([frame(TEXT, first).open(), frame(TEXT, last)]).failed(1002)
    }));
    cases.push(case("5.19", |carriage| pinged_twice(carriage, Cut::Together)));
    cases.push(case("5.20", |carriage| pinged_twice(carriage, Cut::Apart)));
    cases
}

fn fragmented_control(number: &str, opcode: u8) -> Case {
    case(number, move |_| {
        let frames = [frame(opcode, "fragment1").open(), frame(MORE, "fragment2")];
        Script::new().together(frames).failed(1002)
    })
}

fn stray(fin: bool) -> Frame {
    let stray = frame(MORE, "non-continuation payload");
    if fin { stray } else { stray.open() }
}

/// The first ping is answered while the message is underway.
fn pinged_twice(carriage: &Carriage, cut: Cut) -> crate::script::Play {
    let parts = carriage.parts(["fragment1", "fragment2", "fragment3", "fragment4", "fragment5"]);
    let frames = in_parts(&parts);
    let (first, second) = (frame(PING, "pongme 1!"), frame(PING, "pongme 2!"));
    let script = sent(Script::new(), cut, &[&frames[..2], &[first]].concat()).pong("pongme 1!");
    let rest = [&frames[2..4], &[second], &frames[4..]].concat();
    sent(script.quiet(), cut, &rest).pong("pongme 2!").echo(parts.concat()).closed()
}
