//! Resolves identifiers to streams, and the rights there.
//!
//! A signed name is `BASE64--HEX`: the base64 of JSON, and the hexadecimal HMAC-SHA256 of that
//! base64, as written by Rails' `MessageVerifier` and AnyCable (its Ruby SDK uses the URL-safe
//! alphabet, in which the base64 may contain dashes). The JSON is the stream's name, or an object
//! with the name and its rights.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::Deserialize;

use super::Keys;
use crate::types::{Rights, StreamName, Target};

/// The streams that clients may subscribe to.
#[derive(Clone, Debug)]
pub struct Streams {
    /// Whether unsigned names are allowed.
    pub public: bool,
    /// Whether signed names without explicit rights allow whispers.
    pub whisper: bool,
    /// Secrets of signed names.
    pub signed: Option<Keys>,
    /// Secrets of Turbo's names.
    pub turbo: Option<Keys>,
    /// Secrets of CableReady's names.
    pub cable_ready: Option<Keys>,
}

/// Subscription denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The name is not signed.
    #[error("the stream's name has to be signed")]
    Unsigned,
    /// No secret for this kind of name.
    #[error("there is no secret to check the signature with")]
    NoKey,
    /// Signed with another secret, or changed since.
    #[error("the stream name's signature is wrong")]
    Signature,
    /// The signed content is not a name.
    #[error("what is signed is no stream name")]
    Malformed,
    /// The signed name is another stream's.
    #[error("the signed name is not the name of this stream")]
    OtherName,
    /// The name lacks the right to subscribe.
    #[error("the signed name doesn't allow to subscribe")]
    NoRight,
    /// An application channel, which can't be resolved.
    #[error("there is no backend that knows the channel")]
    Channel,
    /// The identifier has no stream.
    #[error("the identifier names no stream")]
    Invalid,
}

/// The signed content.
enum Signed {
    Name(String),
    WithRights(WithRights),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)] // an unknown field may be a restriction
struct WithRights {
    stream: String,
    rights: Vec<Right>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Right {
    Subscribe,
    Join,
    Whisper,
}

impl Default for Streams {
    /// All streams are public, as there is no secret.
    fn default() -> Self {
        Self { public: true, whisper: false, signed: None, turbo: None, cable_ready: None }
    }
}

impl Streams {
    /// The stream an identifier resolves to, and the subscriber's rights.
    pub fn resolve(&self, target: Target) -> Result<(StreamName, Rights), StreamError> {
        match target {
            Target::Public(stream) if self.public => {
                Ok((stream, Rights { join: true, whisper: true }))
            }
            Target::Public(_) => Err(StreamError::Unsigned),
            Target::Signed(name) => self.signed(&name),
            Target::SignedFor { name, signed } => {
                let found = self.signed(&signed)?;
                if found.0 == name { Ok(found) } else { Err(StreamError::OtherName) }
            }
            Target::Turbo(name) => listen_only(self.turbo.as_ref(), &name),
            Target::CableReady(name) => listen_only(self.cable_ready.as_ref(), &name),
            Target::Channel(_) => Err(StreamError::Channel),
            Target::Invalid(_) => Err(StreamError::Invalid),
        }
    }

    fn signed(&self, name: &str) -> Result<(StreamName, Rights), StreamError> {
        match verified(self.signed.as_ref(), name)? {
            Signed::Name(stream) => named(stream, Rights { join: true, whisper: self.whisper }),
            Signed::WithRights(WithRights { stream, rights }) => {
                let has = |right| rights.contains(&right);
                if !has(Right::Subscribe) {
                    return Err(StreamError::NoRight);
                }
                let whisper = self.whisper && has(Right::Whisper);
                named(stream, Rights { join: has(Right::Join), whisper })
            }
        }
    }
}

/// Turbo's and CableReady's streams update pages; they have neither presence nor whispers.
fn listen_only(keys: Option<&Keys>, name: &str) -> Result<(StreamName, Rights), StreamError> {
    match verified(keys, name)? {
        Signed::Name(stream) => named(stream, Rights { join: false, whisper: false }),
        Signed::WithRights(_) => Err(StreamError::Malformed),
    }
}

fn verified(keys: Option<&Keys>, name: &str) -> Result<Signed, StreamError> {
    let keys = keys.ok_or(StreamError::NoKey)?;
    let (encoded, tag) = name.rsplit_once("--").ok_or(StreamError::Malformed)?;
    if !keys.is_signed(encoded, tag) {
        return Err(StreamError::Signature);
    }
    let json = STANDARD.decode(encoded).or_else(|_| URL_SAFE.decode(encoded));
    let json = json.map_err(|_| StreamError::Malformed)?;
    // decided by the first character: serde would accept an array for an object, and applications
    // sign arrays, too
    let signed = match json.trim_ascii_start().first() {
        Some(b'"') => serde_json::from_slice(&json).map(Signed::Name),
        Some(b'{') => serde_json::from_slice(&json).map(Signed::WithRights),
        Some(_) | None => return Err(StreamError::Malformed),
    };
    signed.map_err(|_| StreamError::Malformed)
}

fn named(stream: String, rights: Rights) -> Result<(StreamName, Rights), StreamError> {
    if stream.is_empty() { Err(StreamError::Malformed) } else { Ok((stream.into(), rights)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// By Rails: `Turbo.signed_stream_verifier_key = 's3Krit'`,
    /// `Turbo::StreamsChannel.signed_stream_name([:chat, "2021"])`.
    const BY_RAILS: &str =
        "ImNoYXQ6MjAyMSI=--f9ee45dbccb1da04d8ceb99cc820207804370ba0d06b46fc3b8b373af1315628";

    const ALL: Rights = Rights { join: true, whisper: true };
    const NONE: Rights = Rights { join: false, whisper: false };

    fn keys() -> Option<Keys> {
        Keys::new(["s3Krit"])
    }

    fn closed() -> Streams {
        Streams {
            public: false,
            whisper: false,
            signed: keys(),
            turbo: keys(),
            cable_ready: keys(),
        }
    }

    fn sign(content: &Value) -> String {
        let encoded = STANDARD.encode(content.to_string());
        format!("{encoded}--{}", keys().unwrap().sign(&encoded))
    }

    fn signed(streams: &Streams, content: &Value) -> Result<(StreamName, Rights), StreamError> {
        streams.resolve(Target::Signed(sign(content)))
    }

    #[test]
    fn what_rails_signs_is_read() {
        let chat = StreamName::from("chat:2021");
        let name = || BY_RAILS.to_owned();
        let join = Rights { join: true, whisper: false };
        assert_eq!(closed().resolve(Target::Signed(name())), Ok((chat.clone(), join)));
        assert_eq!(closed().resolve(Target::Turbo(name())), Ok((chat.clone(), NONE)));
        assert_eq!(closed().resolve(Target::CableReady(name())), Ok((chat, NONE)));
        let open = Streams::default();
        for target in [Target::Signed(name()), Target::Turbo(name()), Target::CableReady(name())] {
            assert_eq!(open.resolve(target), Err(StreamError::NoKey));
        }
    }

    #[test]
    fn what_the_ruby_sdk_signs_is_read() {
        let content = r#""ûï¾ö>>>""#;
        let encoded = URL_SAFE.encode(content);
        assert!(encoded.contains(['-', '_']), "{encoded}");
        let name = format!("{encoded}--{}", keys().unwrap().sign(&encoded));
        assert_eq!(closed().resolve(Target::Signed(name)).unwrap().0, "ûï¾ö>>>".into());
        let dashes = URL_SAFE.encode(r#""aaû>ûï¾ï¾¾>>>""#);
        let name = format!("{dashes}--{}", keys().unwrap().sign(&dashes));
        assert!(closed().resolve(Target::Signed(name)).is_ok(), "{dashes}");
    }

    #[test]
    fn a_signed_name_is_good_for_its_own_stream() {
        let target = |name: &str, signed| Target::SignedFor { name: name.into(), signed };
        let join = Rights { join: true, whisper: false };
        let good = || BY_RAILS.to_owned();
        let expected = Ok(("chat:2021".into(), join));
        assert_eq!(closed().resolve(target("chat:2021", good())), expected);
        let other = closed().resolve(target("chat:2022", good()));
        assert_eq!(other, Err(StreamError::OtherName));
        let wrong = closed().resolve(target("chat:2021", format!("{}0", good())));
        assert_eq!(wrong, Err(StreamError::Signature));
        let rights = sign(&json!({ "stream": "a", "rights": ["subscribe"] }));
        assert_eq!(closed().resolve(target("a", rights)), Ok(("a".into(), NONE)));
    }

    #[test]
    fn plain_names_are_for_public_streams() {
        let target = || Target::Public("a".into());
        assert_eq!(closed().resolve(target()), Err(StreamError::Unsigned));
        assert_eq!(Streams::default().resolve(target()), Ok(("a".into(), ALL)));
        let both = Streams { public: true, ..closed() };
        assert_eq!(both.resolve(target()), Ok(("a".into(), ALL)));
        assert!(signed(&both, &json!("a")).is_ok());
    }

    #[test]
    fn rights_narrow_what_the_settings_allow() {
        let whispering = Streams { whisper: true, ..closed() };
        let rights = |streams: &Streams, rights: Value| {
            signed(streams, &json!({ "stream": "a", "rights": rights })).map(|(_, rights)| rights)
        };
        assert_eq!(signed(&whispering, &json!("a")).unwrap().1, ALL);
        assert_eq!(rights(&whispering, json!(["subscribe"])), Ok(NONE));
        assert_eq!(rights(&whispering, json!(["subscribe", "join", "whisper"])), Ok(ALL));
        let join = Rights { join: true, whisper: false };
        assert_eq!(rights(&closed(), json!(["whisper", "join", "subscribe"])), Ok(join));
        assert_eq!(rights(&whispering, json!(["join", "whisper"])), Err(StreamError::NoRight));
        assert_eq!(rights(&whispering, json!([])), Err(StreamError::NoRight));
        for nonsense in [json!(["subscribe", "fly"]), json!("subscribe"), json!(null)] {
            assert_eq!(rights(&whispering, nonsense), Err(StreamError::Malformed));
        }
    }

    #[test]
    fn what_is_signed_is_a_name() {
        for content in [
            json!(""),
            json!(5),
            json!(null),
            json!(["a"]),
            json!(["a", ["subscribe", "join"]]), // the fields of an object without their names
            json!([["a", ["subscribe"]]]),
            json!({ "stream": "a" }),
        ] {
            assert_eq!(signed(&closed(), &content), Err(StreamError::Malformed), "{content}");
        }
        let more = json!({ "stream": "a", "rights": ["subscribe"], "until": 5 });
        assert_eq!(signed(&closed(), &more), Err(StreamError::Malformed));
        let encoded = "not base64";
        let name = format!("{encoded}--{}", keys().unwrap().sign(encoded));
        assert_eq!(closed().resolve(Target::Signed(name)), Err(StreamError::Malformed));
    }

    #[test]
    fn names_are_signed_by_their_own_secret() {
        let keys = |key| Keys::new([key]);
        let streams = Streams { signed: keys("a"), turbo: keys("b"), ..closed() };
        let name = || BY_RAILS.to_owned();
        assert_eq!(streams.resolve(Target::Signed(name())), Err(StreamError::Signature));
        assert_eq!(streams.resolve(Target::Turbo(name())), Err(StreamError::Signature));
        assert!(streams.resolve(Target::CableReady(name())).is_ok());
    }

    proptest! {
        #[test]
        fn nothing_but_the_signed_text_is_good(at in 0usize..200, byte in 33u8..127) {
            let mut changed = BY_RAILS.as_bytes().to_vec();
            let at = at % changed.len();
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            let same = changed == BY_RAILS;
            prop_assert_eq!(closed().resolve(Target::Signed(changed)).is_ok(), same);
        }

        #[test]
        fn nothing_panics(name in ".{0,80}") {
            drop(closed().resolve(Target::Signed(name)));
        }
    }
}
