//! RFC 6455, asked of the real binary: the cases of the Autobahn test suite's sections 1 to 7 and
//! 10 under their numbers, and more of the project's own.
//!
//! Autobahn wants an echo, and the broker is none: it takes text alone, and as commands. So here
//!
//! - text that is echoed there is answered here by the `error` frame for what is no command, one
//!   for each message and in its place among the pongs; and played again, it is the data of a
//!   whisper, whose bytes another subscriber of the stream must hear as they were sent,
//! - binary messages, which are valid frames, are answered by close code 1003, once the rules for
//!   their header hold,
//! - pongs carry what the ping did, and come in their order,
//! - a breach of the protocol is 1002, of UTF-8 1007, of the limit 1009; what came before it is
//!   answered, nothing after it, and the server ends the stream,
//! - where Autobahn tells OK from NON-STRICT, it is OK that counts, and where it takes anything
//!   (7.1.6, 7.13), what stands in [`section_7`].
//!
//! Each case is played four times: with its text as it is, with its first bytes in one packet with
//! the handshake, as whispers, and as whispers in packets of a byte. That nothing comes between, before or after
//! what is expected is part of it.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and processes live in real time"
)]

mod frame;
mod own_close;
mod own_frames;
mod own_text;
mod runner;
mod script;
mod section_1;
mod section_10;
mod section_2;
mod section_3;
mod section_4;
mod section_5;
mod section_6;
mod section_7;
mod sections;
mod stop;
#[path = "../process/support.rs"]
mod support;
mod wire;

use std::collections::HashSet;
use std::io::Write as _;
use std::time::Instant;

use script::Case;
use sections::{Section, autobahn, own};
use support::Broker;

/// How many cases Autobahn has in each of its sections.
const AUTOBAHN: [(&str, usize); 37] = [
    ("1.1", 8),
    ("1.2", 8),
    ("2", 11),
    ("3", 7),
    ("4.1", 5),
    ("4.2", 5),
    ("5", 20),
    ("6.1", 3),
    ("6.2", 4),
    ("6.3", 2),
    ("6.4", 4),
    ("6.5", 5),
    ("6.6", 11),
    ("6.7", 4),
    ("6.8", 2),
    ("6.9", 4),
    ("6.10", 3),
    ("6.11", 5),
    ("6.12", 8),
    ("6.13", 5),
    ("6.14", 10),
    ("6.15", 1),
    ("6.16", 3),
    ("6.17", 5),
    ("6.18", 5),
    ("6.19", 5),
    ("6.20", 7),
    ("6.21", 8),
    ("6.22", 34),
    ("6.23", 7),
    ("7.1", 6),
    ("7.3", 6),
    ("7.5", 1),
    ("7.7", 13),
    ("7.9", 9),
    ("7.13", 2),
    ("10.1", 1),
];

fn cases(sections: Vec<Section>) -> Vec<Case> {
    sections.into_iter().flat_map(|section| section.cases).collect()
}

#[test]
fn every_case_ends_as_it_should() {
    let mut broker = Broker::start(&["--max-message-size", &own_frames::LIMIT.to_string()]);
    let begun = Instant::now();
    let mut faults = Vec::new();
    // past the test's own capture: the counts are worth a line whenever the tests run
    let mut out = std::io::stderr();
    for (whose, cases) in [("Autobahn's", cases(autobahn())), ("the project's own", cases(own()))] {
        let found = runner::play(broker.port, &cases);
        let failed: HashSet<_> = found.iter().map(|fault| &fault.number).collect();
        let passed = cases.len() - failed.len();
        writeln!(out, "RFC 6455: {passed} of {} cases pass of {whose}", cases.len()).unwrap();
        faults.extend(found.iter().map(ToString::to_string));
    }
    writeln!(out, "RFC 6455: played in {:.1?}", begun.elapsed()).unwrap();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));

    broker.until("rid of all connections", |broker| {
        let (status, page) = broker.get("/metrics");
        assert_eq!(status, 200);
        page.lines().any(|line| line == "broker_connections 0")
    });
    stop::ends_with_0(broker);
}

#[test]
fn the_numbers_are_autobahns() {
    let mut numbers = HashSet::new();
    for (section, cases) in AUTOBAHN {
        numbers.extend((1..=cases).map(|n| format!("{section}.{n}")));
    }
    let cases = cases(autobahn());
    assert_eq!(cases.len(), numbers.len());
    let ours: HashSet<_> = cases.into_iter().map(|case| case.number).collect();
    assert_eq!(ours, numbers);
}

#[test]
fn no_two_cases_are_one() {
    let names: Vec<_> = cases(own()).into_iter().map(|case| case.number).collect();
    let different: HashSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len());
}

#[test]
fn the_manual_lists_what_is_played() {
    let manual = include_str!("../../docs/RFC6455.md");
    for (title, sections) in [("## Autobahn's cases", autobahn()), ("## More cases", own())] {
        let (_, part) = manual.split_once(title).unwrap_or_else(|| panic!("{title} is missing"));
        let part = part.split("\n## ").next().unwrap();
        let listed: Vec<_> = part.lines().filter(|line| line.starts_with('|')).skip(2).collect();
        let rows: Vec<_> = sections.iter().map(Section::row).collect();
        assert_eq!(listed, rows, "the table should be\n{}\n", rows.join("\n"));
        let total: usize = sections.iter().map(|section| section.cases.len()).sum();
        assert!(part.contains(&format!("{total} cases")), "{title}: {total} cases");
    }
}
