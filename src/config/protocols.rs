//! Which protocols are spoken, and at which paths.

use std::fmt;
use std::str::FromStr;

use strum::VariantArray as _;
use thiserror::Error;

use super::defaults;
use super::error::ConfigError;
use super::settings::Settings;
use crate::protocol::phoenix;

/// A protocol clients can speak.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
pub enum Protocol {
    /// Action Cable over WebSocket.
    ActionCable,
    /// Phoenix Channels over WebSocket and long polling.
    Phoenix,
    /// Typed JSON over WebSocket.
    Typed,
    /// The chat room over WebSocket.
    Chat,
    /// Server-sent events.
    Sse,
}

impl Protocol {
    /// The setting of its path.
    const fn path_setting(self) -> &'static str {
        match self {
            Self::ActionCable => "cable-path",
            Self::Phoenix => "phoenix-path",
            Self::Typed => "typed-path",
            Self::Chat => "chat-path",
            Self::Sse => "sse-path",
        }
    }
}

/// The protocols that are spoken, each with its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// Which ones; never none.
    pub spoken: Spoken,
    /// The Action Cable WebSocket's path. Starts with a slash, as all do.
    pub cable_path: String,
    /// What Phoenix's `Socket` is given; below it are `/websocket` and `/longpoll`.
    pub phoenix_path: String,
    /// The typed JSON WebSocket's path.
    pub typed_path: String,
    /// The chat room WebSocket's path.
    pub chat_path: String,
    /// The event stream's path.
    pub sse_path: String,
}

impl Default for Protocols {
    fn default() -> Self {
        Self {
            spoken: Spoken(Protocol::VARIANTS.to_vec()),
            cable_path: defaults::CABLE_PATH.to_owned(),
            phoenix_path: defaults::PHOENIX_PATH.to_owned(),
            typed_path: defaults::TYPED_PATH.to_owned(),
            chat_path: defaults::CHAT_PATH.to_owned(),
            sse_path: defaults::SSE_PATH.to_owned(),
        }
    }
}

impl Protocols {
    /// A protocol's path, if it is spoken.
    pub fn path(&self, protocol: Protocol) -> Option<&str> {
        self.spoken.0.contains(&protocol).then(|| match protocol {
            Protocol::ActionCable => self.cable_path.as_str(),
            Protocol::Phoenix => &self.phoenix_path,
            Protocol::Typed => &self.typed_path,
            Protocol::Chat => &self.chat_path,
            Protocol::Sse => &self.sse_path,
        })
    }

    /// Presence ids that clients of one of these fail over.
    pub fn reserved_presence_ids(&self) -> &'static [&'static str] {
        self.path(Protocol::Phoenix).map_or(&[], |_| phoenix::RESERVED_PRESENCE_IDS)
    }

    /// Takes what was set, and checks it.
    pub(super) fn from_settings(settings: &mut Settings) -> Result<Self, ConfigError> {
        let mut protocols = Self::default();
        if let Some(list) = settings.protocols.take() {
            protocols.spoken = list.parse()?;
        }
        let paths = [
            (Protocol::ActionCable, &mut settings.cable_path, &mut protocols.cable_path),
            (Protocol::Phoenix, &mut settings.phoenix_path, &mut protocols.phoenix_path),
            (Protocol::Typed, &mut settings.typed_path, &mut protocols.typed_path),
            (Protocol::Chat, &mut settings.chat_path, &mut protocols.chat_path),
            (Protocol::Sse, &mut settings.sse_path, &mut protocols.sse_path),
        ];
        for (protocol, given, place) in paths {
            let Some(path) = given.take() else { continue };
            if let Err(problem) = check(&path) {
                return Err(ConfigError::Path { setting: protocol.path_setting(), path, problem });
            }
            *place = path;
        }
        for (number, one) in Protocol::VARIANTS.iter().copied().enumerate() {
            for other in Protocol::VARIANTS.iter().copied().skip(number + 1) {
                let path = protocols.path(one);
                if path.is_some() && path == protocols.path(other) {
                    let (one, other) = (one.path_setting(), other.path_setting());
                    return Err(ConfigError::SamePath { one, other });
                }
            }
        }
        Ok(protocols)
    }
}

/// Endpoints of the broker's own, which no protocol can take.
const TAKEN: [&str; 6] = ["/_broadcast", "/api", "/dashboard", "/examples", "/health", "/metrics"];

fn check(path: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    Err(if path.contains(',') {
        "names several paths: one is served, so keep one"
    } else if !path.starts_with('/') {
        "doesn't start with a slash: write it like /cable"
    } else if !path.bytes().all(plain) {
        "has characters a path can't have unescaped: use letters, digits, - . _ ~ and /"
    } else if path.len() > 1 && path.split('/').skip(1).any(|s| matches!(s, "" | "." | "..")) {
        "has an empty or dotted segment, which clients rewrite: write it like /cable"
    } else if TAKEN.iter().any(|taken| {
        path.strip_prefix(taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }) {
        "is an endpoint of the broker's own: choose another"
    } else {
        return Ok(());
    })
}

/// A choice of protocols, in the order of [`Protocol::VARIANTS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken(Vec<Protocol>);

/// Something in a list of protocols that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no protocol: choose among action-cable, phoenix, typed, chat and sse, with commas \
     between them"
)]
pub struct BadProtocol(String);

impl FromStr for Spoken {
    type Err = BadProtocol;

    fn from_str(text: &str) -> Result<Self, BadProtocol> {
        let known = |name: &str| Protocol::VARIANTS.iter().copied().find(|it| it.as_ref() == name);
        let named = text
            .split(',')
            .map(str::trim)
            .map(|name| known(name).ok_or_else(|| BadProtocol(name.to_owned())));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Protocol::VARIANTS.iter().copied().filter(|it| named.contains(it)).collect()))
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(AsRef::as_ref).collect();
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
        assert_eq!(chosen.spoken.to_string(), "action-cable,chat");
        assert_eq!(chosen.path(Protocol::Chat), Some("/chat"));
        assert_eq!(chosen.path(Protocol::Phoenix), None);
        let all = from(Settings::default()).unwrap();
        assert!(Protocol::VARIANTS.iter().copied().all(|protocol| all.path(protocol).is_some()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let names = |protocols: &str| {
            from(Settings { protocols: Some(protocols.to_owned()), ..Settings::default() })
        };
        assert!(names("").unwrap_err().contains("`` is no protocol"));
        assert!(names("chat,pusher").unwrap_err().contains("`pusher` is no protocol"));
        let chat_path = Some("/cable".to_owned());
        let same = Settings { chat_path: chat_path.clone(), ..Settings::default() };
        assert!(from(same).unwrap_err().contains("--cable-path and --chat-path"));
        let protocols = Some("chat".to_owned());
        assert!(from(Settings { protocols, chat_path, ..Settings::default() }).is_ok());
    }
}
