//! 1: framing. Lengths in each of their forms.

use crate::frame::{BINARY, TEXT, frame};
use crate::script::{Case, Script, case};

pub(crate) fn text() -> Vec<Case> {
    let mut cases: Vec<_> = (1..)
        .zip([0, 125, 126, 127, 128, 65_535, 65_536])
        .map(|(n, length)| {
            case(format!("1.1.{n}"), move |carriage| {
                let message = carriage.filled(length);
                Script::new().send(frame(TEXT, &*message)).echo(message).closed()
            })
        })
        .collect();
    cases.push(case("1.1.8", |carriage| {
        let message = carriage.filled(65_536);
        Script::new().chopped(997, [frame(TEXT, &*message)]).echo(message).closed()
    }));
    cases
}

pub(crate) fn binary() -> Vec<Case> {
    let mut cases: Vec<_> = (1..)
        .zip([0, 125, 126, 127, 128, 65_535, 65_536])
        .map(|(n, length)| {
            case(format!("1.2.{n}"), move |_| {
                Script::new().send(frame(BINARY, vec![0xFE; length])).failed(1003)
            })
        })
        .collect();
    cases.push(case("1.2.8", |_| {
        Script::new().chopped(997, [frame(BINARY, vec![0xFE; 65_536])]).failed(1003)
    }));
    cases
}
