//! Enabled protocols and their paths.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::error::ConfigError;
use super::settings::Settings;
use crate::protocol::{PROTOCOLS, Protocol, action_cable, chat, phoenix, sse, typed};
use crate::types::ReservedIds;

/// The enabled protocols, each with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols {
    chosen: Spoken,
    /// The path of each of [`PROTOCOLS`]. Starts with a slash.
    paths: Vec<String>,
}

impl Default for Protocols {
    fn default() -> Self {
        Self {
            chosen: Spoken(PROTOCOLS.to_vec()),
            paths: PROTOCOLS.iter().map(|protocol| protocol.path.to_owned()).collect(),
        }
    }
}

impl Protocols {
    /// The enabled protocols, each with its path.
    pub fn spoken(&self) -> impl Iterator<Item = (&'static Protocol, &str)> {
        let all = PROTOCOLS.iter().copied().zip(&self.paths);
        all.filter(|(protocol, _)| self.chosen.0.contains(protocol))
            .map(|(protocol, path)| (protocol, path.as_str()))
    }

    /// A protocol's path, if it is enabled.
    pub fn path(&self, protocol: &Protocol) -> Option<&str> {
        self.spoken().find(|(spoken, _)| *spoken == protocol).map(|(_, path)| path)
    }

    /// Replaces the path of the protocol with this name.
    #[must_use]
    pub fn with_path(mut self, name: &str, path: &str) -> Self {
        for (protocol, place) in PROTOCOLS.iter().copied().zip(&mut self.paths) {
            if protocol.name == name {
                path.clone_into(place);
            }
        }
        self
    }

    /// Presence ids that break clients of an enabled protocol.
    pub fn reserved_presence_ids(&self) -> &'static [ReservedIds] {
        let all = self.spoken().filter_map(|(protocol, _)| protocol.reserved_presence_ids);
        all.collect::<Vec<_>>().leak() // few, and once a process
    }

    /// Validates the settings.
    pub(super) fn from_settings(settings: &mut Settings) -> Result<Self, ConfigError> {
        let mut protocols = Self::default();
        if let Some(list) = settings.protocols.take() {
            protocols.chosen = list.parse()?;
        }
        for (protocol, setting, given) in path_settings(settings) {
            let Some(path) = given.take() else { continue };
            if let Err(problem) = check(&path) {
                return Err(ConfigError::Path { setting, path, problem });
            }
            protocols = protocols.with_path(protocol.name, &path);
        }
        for (number, (one, path)) in protocols.spoken().enumerate() {
            let mut others = protocols.spoken().skip(number + 1);
            if let Some((other, _)) = others.find(|(_, other)| *other == path) {
                let [one, other] = [one, other].map(path_setting);
                return Err(ConfigError::SamePath { one, other });
            }
        }
        Ok(protocols)
    }

    /// The settings that result in these.
    pub(super) fn to_settings(&self, settings: &mut Settings) {
        settings.protocols = Some(self.chosen.to_string());
        for (protocol, _, place) in path_settings(settings) {
            let mut all = PROTOCOLS.iter().copied().zip(&self.paths);
            *place = all.find(|(one, _)| *one == protocol).map(|(_, path)| path.clone());
        }
    }
}

/// The settings of paths. A protocol without one is served at its default path.
fn path_settings(
    settings: &mut Settings,
) -> [(&'static Protocol, &'static str, &mut Option<String>); 5] {
    [
        (&action_cable::PROTOCOL, "cable-path", &mut settings.cable_path),
        (&phoenix::PROTOCOL, "phoenix-path", &mut settings.phoenix_path),
        (&typed::PROTOCOL, "typed-path", &mut settings.typed_path),
        (&chat::PROTOCOL, "chat-path", &mut settings.chat_path),
        (&sse::PROTOCOL, "sse-path", &mut settings.sse_path),
    ]
}

/// The name of a protocol's path in errors.
fn path_setting(protocol: &Protocol) -> String {
    let mut settings = Settings::default();
    let mut all = path_settings(&mut settings).into_iter();
    all.find(|(one, ..)| *one == protocol).map_or_else(
        || format!("the path of {}", protocol.name),
        |(_, setting, _)| format!("--{setting}"),
    )
}

/// The broker's own endpoints, which can't be protocols' paths.
const TAKEN: [&str; 6] = ["/_broadcast", "/api", "/dashboard", "/examples", "/health", "/metrics"];

fn check(path: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    Err(if path.contains(',') {
        "names several paths: only one can be served, so keep one"
    } else if !path.starts_with('/') {
        "doesn't start with a slash: write it like /cable"
    } else if !path.bytes().all(plain) {
        "has characters a path can't have unescaped: use letters, digits, - . _ ~ and /"
    } else if path.len() > 1 && path.split('/').skip(1).any(|s| matches!(s, "" | "." | "..")) {
        "has an empty or dotted segment, which clients rewrite: write it like /cable"
    } else if TAKEN.iter().any(|taken| {
        path.strip_prefix(taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }) {
        "is one of the broker's own endpoints: choose another"
    } else {
        return Ok(());
    })
}

/// A set of protocols, in the order of [`PROTOCOLS`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spoken(Vec<&'static Protocol>);

/// An unknown name in a list of protocols.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a protocol: choose among {names}, separated by commas", names = names())]
pub struct BadProtocol(String);

fn names() -> String {
    let names: Vec<_> = PROTOCOLS.iter().map(|protocol| protocol.name).collect();
    let (last, first) = names.split_last().unwrap_or((&"", &[]));
    format!("{} and {last}", first.join(", "))
}

impl FromStr for Spoken {
    type Err = BadProtocol;

    fn from_str(text: &str) -> Result<Self, BadProtocol> {
        let known = |name: &str| PROTOCOLS.iter().copied().find(|protocol| protocol.name == name);
        let named = text
            .split(',')
            .map(str::trim)
            .map(|name| known(name).ok_or_else(|| BadProtocol(name.to_owned())));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        Ok(Self(PROTOCOLS.iter().copied().filter(|protocol| named.contains(protocol)).collect()))
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|protocol| protocol.name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(mut settings: Settings) -> Result<Protocols, String> {
        Protocols::from_settings(&mut settings).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_off_has_no_path() {
        let protocols = Some("chat, action-cable".to_owned());
        let chosen = from(Settings { protocols, ..Settings::default() }).unwrap();
        assert_eq!(chosen.chosen.to_string(), "action-cable,chat");
        assert_eq!(chosen.path(&chat::PROTOCOL), Some("/chat"));
        assert_eq!(chosen.path(&phoenix::PROTOCOL), None);
        let all = from(Settings::default()).unwrap();
        assert!(PROTOCOLS.iter().copied().all(|protocol| all.path(protocol).is_some()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let names = |protocols: &str| {
            from(Settings { protocols: Some(protocols.to_owned()), ..Settings::default() })
        };
        assert!(names("").unwrap_err().contains("`` is not a protocol"));
        assert!(names("chat,pusher").unwrap_err().contains("`pusher` is not a protocol"));
        let chat_path = Some("/cable".to_owned());
        let same = Settings { chat_path: chat_path.clone(), ..Settings::default() };
        assert!(from(same).unwrap_err().contains("--cable-path and --chat-path"));
        let protocols = Some("chat".to_owned());
        assert!(from(Settings { protocols, chat_path, ..Settings::default() }).is_ok());
    }
}
