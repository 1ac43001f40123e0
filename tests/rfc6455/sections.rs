//! All there is to play, section by section, as `docs/RFC6455.md` lists it.

use crate::script::Case;
use crate::{
    own_close, own_frames, own_text, section_1, section_2, section_3, section_4, section_5,
    section_6, section_7, section_10,
};

/// Cases of one kind.
pub(crate) struct Section {
    /// Autobahn's number, or the RFC's section.
    pub(crate) number: &'static str,
    pub(crate) subject: &'static str,
    /// What the broker does.
    pub(crate) outcome: &'static str,
    pub(crate) cases: Vec<Case>,
}

impl Section {
    const fn new(
        number: &'static str,
        subject: &'static str,
        outcome: &'static str,
        cases: Vec<Case>,
    ) -> Self {
        Self { number, subject, outcome, cases }
    }

    /// Its row in the manual.
    pub(crate) fn row(&self) -> String {
        let Self { number, subject, outcome, cases } = self;
        format!("| {number} | {subject} | {} | {outcome} |", cases.len())
    }
}

/// Autobahn's.
pub(crate) fn autobahn() -> Vec<Section> {
    const READ: &str = "read, every byte";
    const IN_ORDER: &str = "1002, and what came before is answered";
    let sequences = (5..=23).flat_map(section_6::sequences).collect();
    vec![
        Section::new("1.1", "text of 0 to 65,536 bytes", READ, section_1::text()),
        Section::new("1.2", "binary of 0 to 65,536 bytes", "1003", section_1::binary()),
        Section::new(
            "2",
            "pings and pongs",
            "pongs, byte for byte; 1002 for a ping of 126 bytes",
            section_2::cases(),
        ),
        Section::new("3", "reserved bits", IN_ORDER, section_3::cases()),
        Section::new("4.1", "reserved data opcodes", IN_ORDER, section_4::data()),
        Section::new("4.2", "reserved control opcodes", IN_ORDER, section_4::control()),
        Section::new(
            "5",
            "fragments, and pings between them",
            "read, pongs in between; 1002 for a wrong order",
            section_5::cases(),
        ),
        Section::new("6.1", "empty fragments", READ, section_6::empty()),
        Section::new("6.2", "characters over fragments", READ, section_6::cut()),
        Section::new("6.3", "a surrogate over fragments", "1007", section_6::invalid()),
        Section::new(
            "6.4",
            "failing fast",
            "1007 before the message ends (strict)",
            section_6::fail_fast(),
        ),
        Section::new("6.5 to 6.23", "UTF-8 sequences, right and wrong", "read, or 1007", sequences),
        Section::new(
            "7.1",
            "what comes after a close frame",
            "the close is answered, the rest ignored",
            section_7::basic(),
        ),
        Section::new(
            "7.3",
            "lengths of a close frame",
            "answered; 1002 for 1 and 126 bytes",
            section_7::lengths(),
        ),
        Section::new("7.5", "a reason that isn't UTF-8", "1007", section_7::reason()),
        Section::new(
            "7.7",
            "valid close codes",
            "answered with the same",
            section_7::valid_codes(),
        ),
        Section::new("7.9", "invalid close codes", "1002", section_7::invalid_codes()),
        Section::new("7.13", "close codes over 4999", "1002", section_7::beyond_codes()),
        Section::new("10.1", "65,536 bytes in fragments of 1,300", READ, section_10::cases()),
    ]
}

/// The project's own, by the RFC's sections.
pub(crate) fn own() -> Vec<Section> {
    const READ: &str = "read, every byte";
    vec![
        Section::new(
            "5.1, 5.3",
            "masks, and none",
            "read; 1002 by the second byte",
            own_frames::masks(),
        ),
        Section::new(
            "5.2",
            "reserved bits on every opcode",
            "1002 by the first byte",
            own_frames::reserved_bits(),
        ),
        Section::new(
            "5.2",
            "reserved opcodes, with FIN and without",
            "1002 by the first byte",
            own_frames::reserved_opcodes(),
        ),
        Section::new(
            "5.2",
            "lengths at every boundary and in every spelling",
            "read; 1002 for a longer spelling than needed",
            own_frames::lengths(),
        ),
        Section::new(
            "5.4, 5.5",
            "what may come between fragments",
            "read, pongs in between; 1002; 1003 for binary",
            own_frames::order(),
        ),
        Section::new(
            "10.4",
            "the limit of a message",
            "read; 1009 by the header",
            own_frames::limits(),
        ),
        Section::new(
            "7.4",
            "close codes with a reason",
            "answered with the same, or 1002",
            own_close::codes(),
        ),
        Section::new(
            "5.5.1",
            "reasons",
            "answered; 1007; 1002 for half a code",
            own_close::reasons(),
        ),
        Section::new(
            "5.5.1, 7.1",
            "after a close frame, and without one",
            "the first close counts; the stream ends",
            own_close::endings(),
        ),
        Section::new("8.1", "characters cut at every place", READ, own_text::cut_characters()),
        Section::new(
            "8.1",
            "characters that are never whole",
            "1007; a close frame is answered",
            own_text::unfinished(),
        ),
        Section::new(
            "8.1",
            "bytes that can't be UTF-8",
            "1007 at the first invalid byte",
            own_text::proofs(),
        ),
    ]
}
