//! Parsers and types of settings' values.
//!
//! The same types serve all three sources: flags and environment come in by [`FromStr`], the
//! file by [`Deserialize`], and `--print-config` writes them back in a form both read.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// Why a value isn't accepted. Completes a sentence that starts with the setting and the value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// Not a duration.
    #[error("not a duration; write `15s`, `500ms`, `2m 30s` or a bare number of seconds")]
    Duration,
    /// Not a size.
    #[error("not a size; write `64KiB`, `1MiB` or a bare number of bytes")]
    Size,
    /// Not a port.
    #[error("not a port; write a whole number from 0 to 65535")]
    Port,
    /// Not a count.
    #[error("not a whole number; write one without sign or unit")]
    Count,
    /// Not a host.
    #[error("not an IP address of this machine; write one, or `localhost`")]
    Host,
    /// Not a yes or no.
    #[error("neither true nor false; write one of them")]
    Switch,
}

/// A length of time: `15s`, `2m 30s`, `500ms`, or a bare number of seconds (`15`, `0.5`).
///
/// ```
/// use broker::config::HumanDuration;
/// use std::time::Duration;
/// assert_eq!("1m 30s".parse(), Ok(HumanDuration(Duration::from_secs(90))));
/// assert_eq!("90".parse(), Ok(HumanDuration(Duration::from_secs(90))));
/// assert_eq!(HumanDuration(Duration::from_secs(90)).to_string(), "1m 30s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A number of bytes: `64KiB`, `1MiB`, or bare. `k`, `KB` and `KiB` all mean 1024.
///
/// ```
/// use broker::config::ByteSize;
/// assert_eq!("64KiB".parse(), Ok(ByteSize(65_536)));
/// assert_eq!("64kb".parse(), Ok(ByteSize(65_536)));
/// assert_eq!(ByteSize(65_536).to_string(), "64KiB");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub usize);

/// The address to listen on: an IP address, or `localhost`, which is 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(pub IpAddr);

impl FromStr for HumanDuration {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let bare = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let duration = if bare {
            let seconds = text.parse::<f64>().map_err(|_| ValueError::Duration)?;
            Duration::try_from_secs_f64(seconds).map_err(|_| ValueError::Duration)?
        } else {
            sum(text).ok_or(ValueError::Duration)?
        };
        Ok(Self(duration))
    }
}

/// `2m 30s`, part by part: where its own sum overflows, humantime panics
/// (<https://github.com/chronotope/humantime/issues/66>).
fn sum(text: &str) -> Option<Duration> {
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let unit = rest.find(char::is_alphabetic)?;
        let length = rest.get(unit..)?.find(|c: char| c.is_ascii_digit());
        let (part, after) = rest.split_at_checked(unit + length.unwrap_or(rest.len() - unit))?;
        total = total.checked_add(humantime::parse_duration(part).ok()?)?;
        rest = after;
    }
    Some(total)
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(ValueError::Size)?;
        let unit = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => KIB,
            "m" | "mb" | "mib" => MIB,
            "g" | "gb" | "gib" => GIB,
            _ => return Err(ValueError::Size),
        };
        let number = number.parse::<usize>().map_err(|_| ValueError::Size)?;
        number.checked_mul(unit).map(Self).ok_or(ValueError::Size)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0;
        for (unit, name) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
            if bytes >= unit && bytes.is_multiple_of(unit) {
                return write!(f, "{}{name}", bytes / unit);
            }
        }
        write!(f, "{bytes}")
    }
}

impl FromStr for Host {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("localhost") {
            return Ok(Self(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        bare.parse().map(Self).map_err(|_| ValueError::Host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Reads a port.
pub(super) fn port(text: &str) -> Result<u16, ValueError> {
    text.trim().parse().map_err(|_| ValueError::Port)
}

/// Reads a whole number.
pub(super) fn count(text: &str) -> Result<usize, ValueError> {
    text.trim().parse().map_err(|_| ValueError::Count)
}

/// Reads a yes or no: `true`, `1`, `yes`, `on` and their opposites.
pub(super) fn switch(text: &str) -> Result<bool, ValueError> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "on" => Ok(true),
        "false" | "f" | "0" | "no" | "off" => Ok(false),
        _ => Err(ValueError::Switch),
    }
}

/// In the file a duration or size is a string, or a bare number; a host is a string.
macro_rules! in_files {
    ($name:ident, $expected:literal $(, $number:ident)*) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|e| E::custom(format_args!("`{text}`: {e}")))
                    }

                    $(in_files!(@$number $name);)*
                }

                deserializer.deserialize_any(Text)
            }
        }
    };
    (@integer $name:ident) => {
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<$name, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<$name, E> {
            self.visit_str(&number.to_string())
        }
    };
    (@float $name:ident) => {
        fn visit_f64<E: de::Error>(self, number: f64) -> Result<$name, E> {
            self.visit_str(&number.to_string())
        }
    };
}

in_files!(HumanDuration, "a duration such as \"15s\", or a number of seconds", integer, float);
in_files!(ByteSize, "a size such as \"64KiB\", or a number of bytes", integer);
in_files!(Host, "an IP address or localhost, in quotes");

/// Unit of the timestamp in an Action Cable ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum TimestampPrecision {
    /// Whole seconds, as Rails sends them.
    #[value(name = "s")]
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[value(name = "ms")]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Nanoseconds.
    #[value(name = "ns")]
    #[serde(rename = "ns")]
    Nanoseconds,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// A JSON object per line, for collectors.
    Json,
}

/// Where NATS keeps streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NatsStorage {
    /// In memory.
    Memory,
    /// In files.
    File,
}

/// Protocol of the application's callbacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RpcProtocol {
    /// HTTP with JSON.
    Http,
    /// gRPC.
    Grpc,
    /// The application isn't asked.
    None,
}

/// Whose end the application is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisconnectMode {
    /// That of sessions that the application was asked about.
    #[default]
    Auto,
    /// Everyone's.
    Always,
    /// Nobody's.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn duration(text: &str) -> Result<Duration, ValueError> {
        text.parse::<HumanDuration>().map(|d| d.0)
    }

    fn size(text: &str) -> Result<usize, ValueError> {
        text.parse::<ByteSize>().map(|s| s.0)
    }

    #[test]
    fn durations_are_humantime_or_bare_seconds() {
        assert_eq!(duration("15s"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("15"), Ok(Duration::from_secs(15)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration(" 2m 30s "), Ok(Duration::from_secs(150)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", ".", "-1", "soon", "15 parsecs", "1e9", "inf", "nan", "1.2.3"] {
            assert_eq!(duration(text), Err(ValueError::Duration), "{text}");
        }
        assert_eq!(duration(&"9".repeat(400)), Err(ValueError::Duration));
        assert_eq!(duration("18446744073709551615s 1000ms"), Err(ValueError::Duration));
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("65536B"), Ok(65_536));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("64 kb"), Ok(65_536));
        assert_eq!(size("64k"), Ok(65_536));
        assert_eq!(size("1MiB"), Ok(1_048_576));
        assert_eq!(size("1G"), Ok(1_073_741_824));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "KiB", "-1", "1.5MiB", "1 TiB", "ü", "99999999999999999999", "1e3"] {
            assert_eq!(size(text), Err(ValueError::Size), "{text}");
        }
        assert_eq!(size("18446744073709551615GiB"), Err(ValueError::Size));
    }

    #[test]
    fn hosts_are_addresses_or_localhost() {
        assert_eq!("localhost".parse(), Ok(Host(IpAddr::V4(Ipv4Addr::LOCALHOST))));
        assert_eq!("0.0.0.0".parse(), Ok(Host(IpAddr::V4(Ipv4Addr::UNSPECIFIED))));
        assert_eq!("[::1]".parse::<Host>(), "::1".parse::<Host>());
        assert_eq!("example.com".parse::<Host>(), Err(ValueError::Host));
        assert_eq!("".parse::<Host>(), Err(ValueError::Host));
    }

    #[test]
    fn switches_take_the_usual_words() {
        for text in ["true", "1", "TRUE", "yes", "on", "t"] {
            assert_eq!(switch(text), Ok(true));
        }
        for text in ["false", "0", "False", "no", "off", "f"] {
            assert_eq!(switch(text), Ok(false));
        }
        assert_eq!(switch("2"), Err(ValueError::Switch));
        assert_eq!(switch(""), Err(ValueError::Switch));
    }

    proptest! {
        #[test]
        fn a_duration_reads_what_it_writes(millis in 0u64..10_000_000_000) {
            let written = HumanDuration(Duration::from_millis(millis));
            prop_assert_eq!(written.to_string().parse(), Ok(written));
        }

        #[test]
        fn a_size_reads_what_it_writes(bytes in any::<usize>()) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn nothing_written_panics(text in ".{0,12}") {
            drop((duration(&text), size(&text), text.parse::<Host>(), switch(&text)));
        }
    }
}
