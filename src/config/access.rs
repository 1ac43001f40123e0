//! Access control: the secrets, the keys derived from them, and what they protect.

use std::net::IpAddr;

use super::error::ConfigError;
use super::secret::{self, Secret};
use super::settings::Settings;
use crate::auth::{self, Keys, Origins, Streams, Tokens};

/// Purpose of the key for publishing; the same as in AnyCable and its clients.
const PUBLISHING: &str = "broadcast-cable";
/// Purpose of the key for the API.
const READING: &str = "api-cable";
/// Purpose of the key for the metrics.
const SCRAPING: &str = "metrics-cable";

/// Purpose of the key that the broker shows the application with its calls; the same as in AnyCable.
const CALLING: &str = "rpc-cable";

/// Purpose of the key that the broker shows the application with presence lookups.
const ASKING: &str = "presence-fetch";

/// The settings of access control.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Whether the broker is open to everyone.
    pub public: bool,
    /// The secret shared with the application; the default of the more specific ones.
    pub secret: Option<Secret>,
    /// Secret that tokens are signed with.
    pub jwt_secret: Option<Secret>,
    /// Name of the token's parameter.
    pub jwt_param: String,
    /// Required audience of tokens.
    pub jwt_audience: Option<String>,
    /// Required issuer of tokens.
    pub jwt_issuer: Option<String>,
    /// Whether clients need a token; `None` follows from the other settings.
    pub enforce_jwt: Option<bool>,
    /// Claim with the client's presence id.
    pub presence_id_claim: Option<String>,
    /// Secret that stream names are signed with.
    pub streams_secret: Option<Secret>,
    /// Whether unsigned stream names are allowed, too.
    pub public_streams: bool,
    /// Whether whispers are allowed on signed streams.
    pub streams_whisper: bool,
    /// Whether Turbo's stream names are accepted.
    pub turbo_streams: bool,
    /// Secret that Turbo signs with.
    pub turbo_streams_secret: Option<Secret>,
    /// Whether CableReady's stream names are accepted.
    pub cable_ready: bool,
    /// Secret that CableReady signs with.
    pub cable_ready_secret: Option<Secret>,
    /// Origins of pages that may connect.
    pub allowed_origins: Option<Origins>,
    /// Key for publishing, unless derived.
    pub broadcast_key: Option<Secret>,
    /// Key for the API, unless derived.
    pub api_key: Option<Secret>,
    /// Key for the metrics, unless derived.
    pub metrics_key: Option<Secret>,
}

impl Access {
    /// The parameter of AnyCable's clients.
    pub const JWT_PARAM: &str = "jid";

    pub(super) fn from_settings(settings: &mut Settings) -> Result<Self, ConfigError> {
        let mut secrets = Vec::new();
        for (setting, secret, file) in settings.secrets() {
            secrets.push(secret::read(setting, secret.take(), file.take())?);
        }
        let mut secrets = secrets.into_iter();
        let mut next = || secrets.next().flatten();
        let named = |setting, name: &mut Option<String>| match name.take() {
            Some(name) if name.is_empty() => Err(ConfigError::EmptyName { setting }),
            name => Ok(name),
        };
        let access = Self {
            secret: next(),
            jwt_secret: next(),
            streams_secret: next(),
            turbo_streams_secret: next(),
            cable_ready_secret: next(),
            broadcast_key: next(),
            api_key: next(),
            metrics_key: next(),
            public: settings.public.unwrap_or(super::defaults::PUBLIC),
            jwt_param: match settings.jwt_param.take() {
                None => Self::JWT_PARAM.to_owned(),
                Some(param) if is_parameter(&param) => param,
                Some(param) => return Err(ConfigError::JwtParam { param }),
            },
            jwt_audience: named("jwt-audience", &mut settings.jwt_audience)?,
            jwt_issuer: named("jwt-issuer", &mut settings.jwt_issuer)?,
            enforce_jwt: settings.enforce_jwt,
            presence_id_claim: named("presence-id-claim", &mut settings.presence_id_claim)?,
            public_streams: settings.public_streams.unwrap_or_default(),
            streams_whisper: settings.streams_whisper.unwrap_or_default(),
            turbo_streams: settings.turbo_streams.unwrap_or_default(),
            cable_ready: settings.cable_ready.unwrap_or_default(),
            allowed_origins: match settings.allowed_origins.take() {
                None => None,
                Some(origins) => Some(origins.parse()?),
            },
        };
        access.check()?;
        Ok(access)
    }

    /// Refuses settings that ask for protection without a secret.
    fn check(&self) -> Result<(), ConfigError> {
        let tokens = self.token_secret().is_some();
        for (setting, is_set) in [
            ("enforce-jwt", self.enforce_jwt == Some(true)),
            ("jwt-audience", self.jwt_audience.is_some()),
            ("jwt-issuer", self.jwt_issuer.is_some()),
            ("presence-id-claim", self.presence_id_claim.is_some()),
        ] {
            if is_set && !tokens {
                return Err(ConfigError::NoSecret { setting, of: "jwt-secret" });
            }
        }
        if self.turbo_streams && self.turbo_secret().is_none() {
            let (setting, of) = ("turbo-streams", "turbo-streams-secret");
            return Err(ConfigError::NoSecret { setting, of });
        }
        if self.cable_ready && self.cable_ready_secret().is_none() {
            let (setting, of) = ("cable-ready", "cable-ready-secret");
            return Err(ConfigError::NoSecret { setting, of });
        }
        Ok(())
    }

    /// Refuses addresses beyond loopback unless they are protected or meant to be public.
    pub(super) fn check_reached_at(&self, host: IpAddr) -> Result<(), ConfigError> {
        if self.public || self.secret.is_some() {
            return Ok(());
        }
        let (open, missing) = match (&self.jwt_secret, &self.broadcast_key, &self.api_key) {
            (None, _, _) => return Err(ConfigError::NotLoopback { host }),
            (Some(_), Some(_), Some(_)) => return Ok(()),
            (Some(_), None, Some(_)) => ("publish", "a --broadcast-key"),
            (Some(_), Some(_), None) => ("ask who is present", "an --api-key"),
            (Some(_), None, None) => {
                ("publish and ask who is present", "a --broadcast-key and an --api-key")
            }
        };
        Err(ConfigError::NotKeyed { host, open, missing })
    }

    /// Names of the settings whose secrets, or one of several, are short enough to be guessed.
    pub(super) fn guessable(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("secret", &self.secret),
            ("jwt-secret", &self.jwt_secret),
            ("streams-secret", &self.streams_secret),
            ("turbo-streams-secret", &self.turbo_streams_secret),
            ("cable-ready-secret", &self.cable_ready_secret),
            ("broadcast-key", &self.broadcast_key),
            ("api-key", &self.api_key),
            ("metrics-key", &self.metrics_key),
        ];
        all.into_iter()
            .filter(|(_, secret)| secret.as_ref().is_some_and(Secret::is_guessable))
            .map(|(setting, _)| setting)
    }

    /// The rules for connections and subscriptions.
    pub fn rules(&self) -> auth::Access {
        let keys = |secret: Option<&Secret>| Keys::new(secret.into_iter().flat_map(Secret::each));
        let enabled = |on: bool, secret| if on { keys(secret) } else { None };
        let tokens = keys(self.token_secret()).map(|keys| {
            let mut tokens = Tokens::new(keys);
            if let Some(audience) = &self.jwt_audience {
                tokens = tokens.with_audience(audience);
            }
            if let Some(issuer) = &self.jwt_issuer {
                tokens = tokens.with_issuer(issuer);
            }
            match &self.presence_id_claim {
                Some(claim) => tokens.with_presence_id(claim),
                None => tokens,
            }
        });
        let streams = Streams {
            public: self.are_streams_public(),
            whisper: self.streams_whisper,
            signed: keys(self.stream_secret()),
            turbo: enabled(self.turbo_streams, self.turbo_secret()),
            cable_ready: enabled(self.cable_ready, self.cable_ready_secret()),
        };
        let origins = self.allowed_origins.clone();
        auth::Access { tokens, token_required: self.is_token_required(), origins, streams }
    }

    /// Whether clients need a token.
    pub fn is_token_required(&self) -> bool {
        self.token_secret().is_some() && self.enforce_jwt.unwrap_or(!self.public)
    }

    /// Whether unsigned stream names are allowed: by the setting, or because there is no secret.
    pub fn are_streams_public(&self) -> bool {
        let secrets = [&self.secret, &self.jwt_secret, &self.streams_secret];
        self.public || self.public_streams || secrets.iter().all(|secret| secret.is_none())
    }

    /// The key for publishing. As in AnyCable, none is derived in public mode.
    pub fn publishing_key(&self) -> Option<Secret> {
        let derived = || if self.public { None } else { self.derived(PUBLISHING) };
        self.broadcast_key.clone().or_else(derived)
    }

    /// The key for the API.
    pub fn reading_key(&self) -> Option<Secret> {
        self.api_key.clone().or_else(|| self.derived(READING))
    }

    /// The key for the metrics.
    pub fn scraping_key(&self) -> Option<Secret> {
        self.metrics_key.clone().or_else(|| self.derived(SCRAPING))
    }

    /// The key that the broker shows the application with its calls.
    pub fn calling_key(&self) -> Option<Secret> {
        self.derived(CALLING)
    }

    /// The key that the broker shows the application with presence lookups.
    pub fn asking_key(&self) -> Option<Secret> {
        self.derived(ASKING)
    }

    /// The secret of tokens.
    pub fn token_secret(&self) -> Option<&Secret> {
        self.jwt_secret.as_ref().or(self.secret.as_ref())
    }

    /// The secret of stream names.
    pub fn stream_secret(&self) -> Option<&Secret> {
        self.streams_secret.as_ref().or(self.secret.as_ref())
    }

    fn turbo_secret(&self) -> Option<&Secret> {
        self.turbo_streams_secret.as_ref().or(self.stream_secret())
    }

    fn cable_ready_secret(&self) -> Option<&Secret> {
        self.cable_ready_secret.as_ref().or(self.stream_secret())
    }

    fn derived(&self, purpose: &str) -> Option<Secret> {
        self.secret.as_ref().map(|secret| secret.derive(purpose))
    }
}

/// Whether a name works both as a query parameter and, prefixed with `X-`, as a header.
fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl Default for Access {
    fn default() -> Self {
        Self {
            public: super::defaults::PUBLIC,
            secret: None,
            jwt_secret: None,
            jwt_param: Self::JWT_PARAM.to_owned(),
            jwt_audience: None,
            jwt_issuer: None,
            enforce_jwt: None,
            presence_id_claim: None,
            streams_secret: None,
            public_streams: false,
            streams_whisper: false,
            turbo_streams: false,
            turbo_streams_secret: None,
            cable_ready: false,
            cable_ready_secret: None,
            allowed_origins: None,
            broadcast_key: None,
            api_key: None,
            metrics_key: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(settings: Settings) -> Access {
        Access::from_settings(&mut { settings }).unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as settings have it")]
    fn secret(text: &str) -> Option<Secret> {
        Some(text.into())
    }

    #[test]
    fn one_secret_protects_everything() {
        let access = access(Settings { secret: secret("qwerty"), ..Settings::default() });
        assert!(access.is_token_required() && !access.are_streams_public());
        let rules = access.rules();
        assert!(rules.tokens.is_some() && rules.streams.signed.is_some());
        assert!(rules.streams.turbo.is_none() && rules.streams.cable_ready.is_none());
        let opens = |key: Option<Secret>, with: &str| key.unwrap().matches(with.as_bytes());
        let derived = |purpose| auth::derive("qwerty", purpose);
        assert!(opens(access.publishing_key(), &derived("broadcast-cable")));
        assert!(opens(access.reading_key(), &derived("api-cable")));
        assert!(opens(access.scraping_key(), &derived("metrics-cable")));
        assert!(!opens(access.publishing_key(), &derived("api-cable")));
        assert!(!opens(access.publishing_key(), "qwerty"));
    }

    #[test]
    fn own_secrets_and_keys_come_first() {
        let access = access(Settings {
            secret: secret("qwerty"),
            broadcast_key: secret("b"),
            api_key: secret("a"),
            metrics_key: secret("m"),
            jwt_secret: secret("j"),
            streams_secret: secret("s"),
            ..Settings::default()
        });
        assert_eq!(access.publishing_key(), secret("b"));
        assert_eq!(access.reading_key(), secret("a"));
        assert_eq!(access.scraping_key(), secret("m"));
        assert_eq!(access.token_secret(), secret("j").as_ref());
        assert_eq!(access.turbo_secret(), secret("s").as_ref());
    }

    #[test]
    fn an_old_secret_still_opens() {
        let access = access(Settings { secret: secret("new,old"), ..Settings::default() });
        let key = access.publishing_key().unwrap();
        for secret in ["new", "old"] {
            assert!(key.matches(auth::derive(secret, PUBLISHING).as_bytes()));
        }
        assert!(!key.matches(auth::derive("new,old", PUBLISHING).as_bytes()));
    }

    #[test]
    fn public_opens_what_it_opens_in_anycable() {
        let mut settings =
            Settings { secret: secret("k"), public: Some(true), ..Settings::default() };
        let open = access(settings.clone());
        assert!(!open.is_token_required() && open.are_streams_public());
        assert!(open.publishing_key().is_none());
        assert!(open.reading_key().is_some() && open.scraping_key().is_some());
        settings.broadcast_key = secret("b");
        settings.enforce_jwt = Some(true);
        let closed = access(settings);
        assert_eq!(closed.publishing_key(), secret("b"));
        assert!(closed.is_token_required());
    }

    #[test]
    fn a_protection_without_a_secret_is_refused() {
        let refused = |settings: Settings| {
            let sentence = Access::from_settings(&mut { settings }).unwrap_err().to_string();
            assert!(sentence.contains("--secret"), "{sentence}");
        };
        let none = Settings::default;
        refused(Settings { enforce_jwt: Some(true), ..none() });
        refused(Settings { jwt_audience: Some("a".into()), ..none() });
        refused(Settings { jwt_issuer: Some("a".into()), ..none() });
        refused(Settings { presence_id_claim: Some("sub".into()), ..none() });
        refused(Settings { turbo_streams: Some(true), ..none() });
        refused(Settings { cable_ready: Some(true), ..none() });
        refused(Settings {
            presence_id_claim: Some("sub".into()),
            streams_secret: secret("s"),
            ..none()
        });
        access(Settings { enforce_jwt: Some(false), ..none() });
    }

    #[test]
    fn some_secret_closes_the_streams() {
        assert!(access(Settings::default()).are_streams_public());
        for settings in [
            Settings { jwt_secret: secret("k"), ..Settings::default() },
            Settings { streams_secret: secret("k"), ..Settings::default() },
        ] {
            assert!(!access(settings.clone()).are_streams_public());
            let public = Settings { public_streams: Some(true), ..settings };
            assert!(access(public).are_streams_public());
        }
    }
}
