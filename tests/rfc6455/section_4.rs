//! 4: opcodes that mean nothing.

use crate::frame::{PING, TEXT, frame};
use crate::script::{Case, Script, case};

const HELLO: &str = "Hello, world!";
const RESERVED: &str = "reserved opcode payload";

/// 4.1, data, from opcode 3 on.
pub(crate) fn data() -> Vec<Case> {
    of("4.1", 3)
}

/// 4.2, control, from opcode 11 on.
pub(crate) fn control() -> Vec<Case> {
    of("4.2", 11)
}

fn of(section: &str, opcode: u8) -> Vec<Case> {
    let after_a_message = move |n: u8, payload: &'static str, chop: Option<usize>| {
        case(format!("{section}.{n}"), move |carriage| {
            let message = carriage.text(HELLO);
            let frames = [frame(TEXT, &*message), frame(opcode + n - 1, payload), frame(PING, "")];
            let script = match chop {
                None => Script::new().together(frames),
                Some(size) => Script::new().chopped(size, frames),
            };
            script.echo(message).failed(1002)
        })
    };
    let alone = move |n: u8, payload: &'static str| {
        case(format!("{section}.{n}"), move |_| {
            Script::new().send(frame(opcode + n - 1, payload)).failed(1002)
        })
    };
    vec![
        alone(1, ""),
        alone(2, RESERVED),
        after_a_message(3, "", None),
        after_a_message(4, HELLO, None),
        after_a_message(5, HELLO, Some(1)),
    ]
}
