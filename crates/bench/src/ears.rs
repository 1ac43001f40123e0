//! What a message of the server is, by the marker in it.
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

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
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

pub(crate) struct Ears {
    /// What is looked for first.
    pub(crate) expected: Expected,
    stamp: Finder<'static>,
    member: Finder<'static>,
    joined: Finder<'static>,
    left: Finder<'static>,
    listed: Finder<'static>,
    others: [(Finder<'static>, Heard); 6],
}

impl Ears {
    pub(crate) fn new() -> Self {
        Self {
            expected: Expected::Publications,
            stamp: Finder::new(STAMP),
            member: Finder::new(r#""id":"m-"#),
            joined: Finder::new(r#""type":"join""#),
            left: Finder::new(r#""type":"leave""#),
            listed: Finder::new(r#""type":"info""#),
            others: [
                (Finder::new(r#""type":"ping""#), Heard::Ping),
                (Finder::new(r#""type":"welcome""#), Heard::Welcome),
                (Finder::new(r#""type":"confirm_subscription""#), Heard::Confirmed),
                (Finder::new(r#""type":"reject_subscription""#), Heard::Rejected),
                (Finder::new(r#""type":"disconnect""#), Heard::Disconnect),
                (Finder::new(r#""type":"error""#), Heard::Refused),
            ],
        }
    }

    pub(crate) fn tell(&self, text: &[u8]) -> Heard {
        let first = match self.expected {
            Expected::Publications => self.published(text),
            Expected::Joins => self.joined.find(text).map(|_| Heard::Joined),
            Expected::Leaves => self.left.find(text).map(|_| Heard::Left),
            Expected::Lists => self.listed.find(text).map(|_| Heard::Listed),
        };
        first.unwrap_or_else(|| self.tell_slowly(text))
    }

    #[cold]
    fn tell_slowly(&self, text: &[u8]) -> Heard {
        let other = self.others.iter().find(|(finder, _)| finder.find(text).is_some());
        let presence = || {
            let lists = self.listed.find(text).map(|_| Heard::Listed);
            let joins = || self.joined.find(text).map(|_| Heard::Joined);
            lists.or_else(joins).or_else(|| self.left.find(text).map(|_| Heard::Left))
        };
        let heard = other.map(|(_, heard)| *heard).or_else(|| self.published(text));
        heard.or_else(presence).unwrap_or(Heard::Other)
    }

    /// The number of the member that an event is about.
    pub(crate) fn member(&self, text: &[u8]) -> Option<u32> {
        let digits = text.get(self.member.find(text)? + self.member.needle().len()..)?;
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        number(digits.get(..length)?).and_then(|number| u32::try_from(number).ok())
    }

    fn published(&self, text: &[u8]) -> Option<Heard> {
        let start = self.stamp.find(text)? + STAMP.len();
        number(text.get(start..start + STAMP_DIGITS)?).map(Heard::Published)
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
                Heard::Published(42),
            ),
            (presence(r#"{"type":"join","id":"m-7","info":{"name":"User 7"}}"#), Heard::Joined),
            (presence(r#"{"id":"m-7","info":{"name":"User 7"},"type":"join"}"#), Heard::Joined),
            (presence(r#"{"type":"leave","id":"m-7"}"#), Heard::Left),
            (presence(r#"{"type":"info","total":1,"records":[{"id":"m-7"}]}"#), Heard::Listed),
            (presence(r#"{"type":"error","reason":"no"}"#), Heard::Refused),
            (r#"{"type":"ping","message":1795398657}"#.to_owned(), Heard::Ping),
            (r#"{"type":"welcome","sid":"a"}"#.to_owned(), Heard::Welcome),
            (
                format!(r#"{{"identifier":"{IDENTIFIER}","type":"confirm_subscription"}}"#),
                Heard::Confirmed,
            ),
            (
                format!(r#"{{"type":"reject_subscription","identifier":"{IDENTIFIER}"}}"#),
                Heard::Rejected,
            ),
            (r#"{"type":"disconnect","reason":"x"}"#.to_owned(), Heard::Disconnect),
            (r#"{"type":"history"}"#.to_owned(), Heard::Other),
            (r#"{"message":"bench:12"}"#.to_owned(), Heard::Other),
        ];
        let mut ears = Ears::new();
        for expected in [Expected::Publications, Expected::Joins, Expected::Leaves, Expected::Lists]
        {
            ears.expected = expected;
            for (text, heard) in &cases {
                assert_eq!(ears.tell(text.as_bytes()), *heard, "{text}, expecting {expected:?}");
            }
        }
    }

    #[test]
    fn an_event_says_whose_it_is() {
        let ears = Ears::new();
        assert_eq!(ears.member(br#"{"type":"join","id":"m-4711","info":null}"#), Some(4711));
        assert_eq!(ears.member(br#"{"type":"join","id":"somebody"}"#), None);
        assert_eq!(ears.member(br#"{"type":"join","id":"m-"}"#), None);
        assert_eq!(ears.member(br#"{"type":"join","id":"m-99999999999"}"#), None);
    }
}
