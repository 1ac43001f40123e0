//! The kind of a received message, by the marker in it.
//!
//! No JSON is read: a storm has millions of events, and the client must not cost more than the
//! server. The markers are those of compact JSON, as Action Cable, `AnyCable` and the broker write it.
//! In identifiers the quotes are escaped, so a marker with quotes is never part of one.

use memchr::memmem::Finder;

/// Stands before the time in a publication of this program.
pub(crate) const STAMP: &str = "bench:";

/// Digits of the time: nanoseconds, for 300 years.
pub(crate) const STAMP_DIGITS: usize = 19;

/// Stands before a member's number in its id.
pub(crate) const MEMBER: &str = "m-";

/// Stands before the run and the number in a stream's name.
pub(crate) const RUN: &str = "bench-";

/// Kind of a received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A publication of this program, with the time it was sent at.
    Published(u64),
    Joined,
    Left,
    /// The list of who is present.
    Listed,
    /// A command was refused.
    Refused,
    Ping,
    Welcome,
    Confirmed,
    Rejected,
    Disconnect,
    /// Whatever else servers say.
    Other,
}

/// What is expected for now, and so looked for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Publications,
    Joins,
    Leaves,
    Lists,
}

pub(crate) struct Classifier {
    /// What is looked for first.
    pub(crate) expected: Expected,
    stamp: Finder<'static>,
    run: Finder<'static>,
    member: Finder<'static>,
    joined: Finder<'static>,
    left: Finder<'static>,
    listed: Finder<'static>,
    others: [(Finder<'static>, Received); 6],
}

impl Classifier {
    pub(crate) fn new() -> Self {
        Self {
            expected: Expected::Publications,
            stamp: Finder::new(STAMP),
            run: Finder::new(RUN),
            member: Finder::new(r#""id":"m-"#),
            joined: Finder::new(r#""type":"join""#),
            left: Finder::new(r#""type":"leave""#),
            listed: Finder::new(r#""type":"info""#),
            others: [
                (Finder::new(r#""type":"ping""#), Received::Ping),
                (Finder::new(r#""type":"welcome""#), Received::Welcome),
                (Finder::new(r#""type":"confirm_subscription""#), Received::Confirmed),
                (Finder::new(r#""type":"reject_subscription""#), Received::Rejected),
                (Finder::new(r#""type":"disconnect""#), Received::Disconnect),
                (Finder::new(r#""type":"error""#), Received::Refused),
            ],
        }
    }

    pub(crate) fn classify(&self, text: &[u8]) -> Received {
        let first = match self.expected {
            Expected::Publications => self.published(text),
            Expected::Joins => self.joined.find(text).map(|_| Received::Joined),
            Expected::Leaves => self.left.find(text).map(|_| Received::Left),
            Expected::Lists => self.listed.find(text).map(|_| Received::Listed),
        };
        first.unwrap_or_else(|| self.classify_slowly(text))
    }

    #[cold]
    fn classify_slowly(&self, text: &[u8]) -> Received {
        let other = self.others.iter().find(|(finder, _)| finder.find(text).is_some());
        let presence = || {
            let lists = self.listed.find(text).map(|_| Received::Listed);
            let joins = || self.joined.find(text).map(|_| Received::Joined);
            lists.or_else(joins).or_else(|| self.left.find(text).map(|_| Received::Left))
        };
        let received = other.map(|(_, received)| *received).or_else(|| self.published(text));
        received.or_else(presence).unwrap_or(Received::Other)
    }

    /// The number of the member that an event is about.
    pub(crate) fn member(&self, text: &[u8]) -> Option<u32> {
        let digits = text.get(self.member.find(text)? + self.member.needle().len()..)?;
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        number(digits.get(..length)?).and_then(|number| u32::try_from(number).ok())
    }

    /// The number of the stream that a message is about.
    pub(crate) fn stream(&self, text: &[u8]) -> Option<u32> {
        let run = text.get(self.run.find(text)? + RUN.len()..)?;
        let digits = run.get(memchr::memchr(b'-', run)? + 1..)?;
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        number(digits.get(..length)?).and_then(|number| u32::try_from(number).ok())
    }

    /// Whether a member is in a list.
    pub(crate) fn lists(&self, text: &[u8], member: u32) -> bool {
        let digits = format!("{member}\"");
        let mut places = self.member.find_iter(text).map(|at| at + self.member.needle().len());
        places.any(|at| text.get(at..).is_some_and(|rest| rest.starts_with(digits.as_bytes())))
    }

    fn published(&self, text: &[u8]) -> Option<Received> {
        let start = self.stamp.find(text)? + STAMP.len();
        number(text.get(start..start + STAMP_DIGITS)?).map(Received::Published)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let add = |number: u64, digit: &u8| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTIFIER: &str = r#"{\"channel\":\"$pubsub\",\"stream_name\":\"s\"}"#;

    #[test]
    fn messages_are_told_apart_whatever_is_expected() {
        let presence = |message: &str| {
            format!(r#"{{"type":"presence","identifier":"{IDENTIFIER}","message":{message}}}"#)
        };
        let cases = [
            (
                format!(
                    r#"{{"identifier":"{IDENTIFIER}","message":{{"at":"bench:0000000000000000042"}}}}"#
                ),
                Received::Published(42),
            ),
            (presence(r#"{"type":"join","id":"m-7","info":{"name":"User 7"}}"#), Received::Joined),
            (presence(r#"{"id":"m-7","info":{"name":"User 7"},"type":"join"}"#), Received::Joined),
            (presence(r#"{"type":"leave","id":"m-7"}"#), Received::Left),
            (presence(r#"{"type":"info","total":1,"records":[{"id":"m-7"}]}"#), Received::Listed),
            (presence(r#"{"type":"error","reason":"no"}"#), Received::Refused),
            (r#"{"type":"ping","message":1795398657}"#.to_owned(), Received::Ping),
            (r#"{"type":"welcome","sid":"a"}"#.to_owned(), Received::Welcome),
            (
                format!(r#"{{"identifier":"{IDENTIFIER}","type":"confirm_subscription"}}"#),
                Received::Confirmed,
            ),
            (
                format!(r#"{{"type":"reject_subscription","identifier":"{IDENTIFIER}"}}"#),
                Received::Rejected,
            ),
            (r#"{"type":"disconnect","reason":"x"}"#.to_owned(), Received::Disconnect),
            (r#"{"type":"history"}"#.to_owned(), Received::Other),
            (r#"{"message":"bench:12"}"#.to_owned(), Received::Other),
        ];
        let mut classifier = Classifier::new();
        for expected in [Expected::Publications, Expected::Joins, Expected::Leaves, Expected::Lists]
        {
            classifier.expected = expected;
            for (text, received) in &cases {
                assert_eq!(
                    classifier.classify(text.as_bytes()),
                    *received,
                    "{text}, expecting {expected:?}"
                );
            }
        }
    }

    #[test]
    fn an_event_says_whose_it_is() {
        let classifier = Classifier::new();
        assert_eq!(classifier.member(br#"{"type":"join","id":"m-4711","info":null}"#), Some(4711));
        assert_eq!(classifier.member(br#"{"type":"join","id":"somebody"}"#), None);
        assert_eq!(classifier.member(br#"{"type":"join","id":"m-"}"#), None);
        assert_eq!(classifier.member(br#"{"type":"join","id":"m-99999999999"}"#), None);
    }
}
