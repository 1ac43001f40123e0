//! Each rule of RFC 6455 that a reader holds its client to.

use std::ops::ControlFlow::{Break, Continue};

use super::*;

/// Nothing but these events, whether fed at once or by the byte.
fn yields(frames: &[Vec<u8>], events: &[Seen]) {
    let bytes = frames.concat();
    let outcome = Outcome { seen: events.to_vec(), end: Ok(()), partial: false };
    assert_eq!(read_all(&bytes), outcome);
    assert_eq!(read(bytes.chunks(1), 1 << 20, || false), outcome);
}

/// A violation of the protocol, whether fed at once or by the byte, and not before the last byte.
fn violates(bytes: &[u8], rule: &str) {
    fails(
        bytes,
        1 << 20,
        |violation| matches!(violation, Violation::Protocol(what) if what.contains(rule)),
    );
}

fn fails(bytes: &[u8], max_message: usize, expected: impl Fn(Violation) -> bool) {
    let at_once = read([bytes], max_message, || false);
    assert!(at_once.end.is_err_and(expected), "{:?}", at_once.end);
    assert_eq!(read(bytes.chunks(1), max_message, || false), at_once);
    let earlier = &bytes[..bytes.len() - 1];
    assert_eq!(read([earlier], max_message, || false).end, Ok(()), "before the last byte");
}

fn invalid_text(bytes: &[u8]) {
    fails(bytes, 1 << 20, |violation| violation == Violation::InvalidText);
}

#[test]
fn an_idle_reader_is_a_pointer() {
    assert_eq!(size_of::<Reader>(), size_of::<usize>());
}

#[test]
fn text_of_every_length_form() {
    for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
        let payload: String = ('a'..='z').cycle().take(length).collect();
        yields(&[frame(TEXT, &payload), frame(TEXT, "after")], &[text(&payload), text("after")]);
    }
}

#[test]
fn fragments_make_one_message_with_control_frames_in_between() {
    yields(
        &[
            frame(TEXT_BEGIN, "one "),
            frame(PING, "p"),
            frame(MORE, ""),
            frame(MORE, "two "),
            frame(PONG, "unasked"),
            frame(END, "three"),
            frame(TEXT, "next"),
        ],
        &[
            Seen::Ping(b"p".to_vec()),
            Seen::Pong(b"unasked".to_vec()),
            text("one two three"),
            text("next"),
        ],
    );
    yields(&[frame(TEXT_BEGIN, ""), frame(MORE, ""), frame(END, "")], &[text("")]);
}

#[test]
fn a_character_may_be_split_over_fragments() {
    let whole = "aé€😀";
    for cut in 0..=whole.len() {
        let (a, b) = whole.as_bytes().split_at(cut);
        yields(&[frame(TEXT_BEGIN, a), frame(END, b)], &[text(whole)]);
    }
}

#[test]
fn control_frames_of_every_length() {
    for length in [0, 1, 124, 125] {
        let payload = vec![0xFF; length];
        yields(
            &[frame(PING, &payload), frame(PONG, &payload)],
            &[Seen::Ping(payload.clone()), Seen::Pong(payload)],
        );
    }
    violates(&[PING, MASKED_16], "longer than 125");
    violates(&[PONG, MASKED_64], "longer than 125");
    violates(&[CLOSE, MASKED_16], "longer than 125");
}

#[test]
fn binary_is_told_of_at_its_header_and_skipped() {
    let told = read_all(&header(BINARY, 1000));
    assert_eq!((told.seen, told.end, told.partial), (vec![Seen::Binary], Ok(()), true));
    yields(
        &[
            frame(BINARY_BEGIN, [0xFF; 300]),
            frame(PING, ""),
            frame(MORE, [0xFF; 3]),
            frame(END, ""),
            frame(BINARY, ""),
            frame(TEXT, "after"),
        ],
        &[Seen::Binary, Seen::Ping(vec![]), Seen::Binary, text("after")],
    );
}

#[test]
fn frames_must_be_masked_without_reserved_bits_or_opcodes() {
    violates(&[TEXT, 0x02], "not masked");
    violates(&[PING, 0x00], "not masked");
    for bit in [0x40, 0x20, 0x10] {
        violates(&[TEXT | bit], "reserved bits");
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        violates(&[0x80 | opcode], "reserved opcode");
    }
}

#[test]
fn control_frames_must_not_be_fragmented() {
    for first in [CLOSE, PING, PONG] {
        violates(&[first & 0x7F], "fragmented");
    }
}

#[test]
fn fragments_must_be_in_order() {
    let then = |before: &[Vec<u8>], first| [before.concat(), header(first, 3)].concat();
    violates(&then(&[], MORE), "continuation of no message");
    violates(&then(&[], END), "continuation of no message");
    violates(&then(&[frame(TEXT, "a")], END), "continuation of no message");
    violates(&then(&[frame(TEXT_BEGIN, "a"), frame(END, "b")], END), "continuation of no message");
    for first in [TEXT, TEXT_BEGIN, BINARY, BINARY_BEGIN] {
        violates(&then(&[frame(TEXT_BEGIN, "a")], first), "within another");
        violates(&then(&[frame(BINARY_BEGIN, "a")], first), "within another");
    }
}

#[test]
fn lengths_must_be_minimal_and_positive() {
    violates(&[TEXT, MASKED_16, 0, 125], "minimally");
    violates(&[TEXT, MASKED_64, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], "minimally");
    violates(&[TEXT, MASKED_64, 0x80, 0, 0, 0, 0, 1, 0, 0], "highest bit");
    violates(&[BINARY, MASKED_64, 0xFF, 0, 0, 0, 0, 1, 0, 0], "highest bit");
}

#[test]
fn the_limit_is_applied_to_what_headers_announce() {
    let too_big = |bytes: &[u8]| fails(bytes, 300, |violation| violation == Violation::TooBig);
    for first in [TEXT, TEXT_BEGIN, BINARY, BINARY_BEGIN] {
        too_big(&header(first, 301));
        too_big(&header(first, u64::MAX >> 1));
    }
    for first in [TEXT_BEGIN, BINARY_BEGIN] {
        too_big(&[frame(first, [b'a'; 100]), frame(MORE, [b'a'; 100]), header(END, 101)].concat());
    }
    let fits = [frame(TEXT_BEGIN, [b'a'; 200]), frame(PING, [0; 125]), frame(END, [b'a'; 100])];
    assert_eq!(read([&*fits.concat()], 300, || false).seen.len(), 2);
    assert_eq!(read([&*frame(TEXT, [b'a'; 300])], 300, || false).seen.len(), 1);
    assert_eq!(read([&*frame(TEXT, "")], 0, || false).seen, [text("")]);
}

#[test]
fn close_codes() {
    yields(&[frame(CLOSE, "")], &[Seen::Close(None)]);
    for code in [1000, 1001, 1002, 1003, 1007, 1010, 1011, 1012, 1014, 3000, 3999, 4000, 4999_u16] {
        let payload = [&code.to_be_bytes(), "bye €".as_bytes()].concat();
        yields(&[frame(CLOSE, payload)], &[Seen::Close(Some(code))]);
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535_u16] {
        violates(&frame(CLOSE, code.to_be_bytes()), "close code");
    }
    violates(&frame(CLOSE, "x"), "one byte");
    invalid_text(&frame(CLOSE, [0x03, 0xE8, b'a', 0xFF]));
    invalid_text(&frame(CLOSE, [0x03, 0xE8, 0xE2, 0x82]));
}

#[test]
fn nothing_comes_after_a_close() {
    let bytes = [frame(CLOSE, [0x03, 0xE8]), frame(TEXT, "late"), vec![0xFF; 20]].concat();
    for breaks in [false, true] {
        for step in [1, bytes.len()] {
            let outcome = read(bytes.chunks(step), 1 << 20, || breaks);
            assert_eq!((outcome.seen, outcome.end), (vec![Seen::Close(Some(1000))], Ok(())));
            assert!(!outcome.partial);
        }
    }
}

#[test]
fn a_close_may_come_between_fragments() {
    yields(&[frame(TEXT_BEGIN, "a"), frame(CLOSE, "")], &[Seen::Close(None)]);
}

#[test]
fn text_must_be_utf_8() {
    // A lone continuation, an overlong form, a surrogate, beyond U+10FFFF, a cut character.
    for wrong in
        [&[0x80][..], &[0xC0, 0xAF], &[0xED, 0xA0, 0x80], &[0xF4, 0x90, 0x80, 0x80], &[0xE2, 0x82]]
    {
        for frames in [
            frame(TEXT, wrong),
            frame(TEXT, [b"ok", wrong].concat()),
            [frame(TEXT_BEGIN, "ok"), frame(END, wrong)].concat(),
        ] {
            let outcome = read_all(&frames);
            assert_eq!((outcome.seen, outcome.end), (vec![], Err(Violation::InvalidText)));
        }
    }
}

#[test]
fn invalid_text_is_told_by_the_byte_that_proves_it() {
    let underway = |payload: &[u8]| {
        let mut bytes = frame(TEXT, [payload, &[b'x'; 1000]].concat());
        bytes.truncate(8 + payload.len());
        bytes
    };
    for proof in [&[b'a', 0xFF][..], &[0xC0], &[0xE0, 0x80], &[0xED, 0xA0], &[0xF4, 0x90], &[0xF5]]
    {
        invalid_text(&underway(proof));
        invalid_text(&[frame(TEXT_BEGIN, "ok"), frame(MORE, proof)].concat());
        invalid_text(
            &[frame(TEXT_BEGIN, &proof[..proof.len() - 1]), frame(MORE, &proof[proof.len() - 1..])]
                .concat(),
        );
    }
    // A cut character is no proof until its message ends.
    let cut = [frame(TEXT_BEGIN, [0xF0, 0x9F]), frame(PING, "")].concat();
    assert_eq!(read_all(&cut).end, Ok(()));
    invalid_text(&[cut, frame(END, "")].concat());
}

#[test]
fn a_break_holds_the_rest_until_resumed() {
    let mut reader = Reader::new();
    let mut seen = Vec::new();
    let mut one = |event: Event<'_>| {
        seen.push(Seen::from(event));
        Break(())
    };
    let mut bytes = [frame(TEXT, "1"), frame(PING, "2"), frame(TEXT, "3")].concat();
    bytes.truncate(bytes.len() - 1);
    reader.feed(&mut bytes, 100, &mut one).unwrap();
    assert!(reader.is_held() && !reader.is_partial());
    reader.resume(100, &mut one).unwrap();
    assert!(reader.is_held() && !reader.is_partial());
    reader.resume(100, &mut one).unwrap();
    assert!(!reader.is_held() && reader.is_partial());
    reader.resume(100, &mut one).unwrap();
    let end = frame(TEXT, "3").pop().unwrap();
    reader.feed(&mut [end], 100, &mut one).unwrap();
    assert!(!reader.is_held() && !reader.is_partial());
    assert_eq!(seen, [text("1"), Seen::Ping(b"2".to_vec()), text("3")]);
}

#[test]
fn bytes_fed_while_some_are_held_come_after_them() {
    let mut reader = Reader::new();
    let mut seen = Vec::new();
    for n in 0..10 {
        let mut bytes = [frame(TEXT, format!("{n}a")), frame(TEXT, format!("{n}b"))].concat();
        let mut one = |event: Event<'_>| {
            seen.push(Seen::from(event));
            Break(())
        };
        reader.feed(&mut bytes, 100, &mut one).unwrap();
    }
    assert_eq!(seen.len(), 10);
    assert!(reader.is_held());
    let all = &mut |event: Event<'_>| {
        seen.push(event.into());
        Continue(())
    };
    reader.resume(100, all).unwrap();
    assert!(!reader.is_held());
    let expected: Vec<_> =
        (0..10).flat_map(|n| [text(&format!("{n}a")), text(&format!("{n}b"))]).collect();
    assert_eq!(seen, expected);
}
