//! A stream's name: a byte for its kind and for the treatment of the rest. That is signed with a known key, so
//! that the code behind the signature is reached, or left as it is.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use broker::auth::{Keys, StreamError, Streams};
use broker::types::Target;
use serde_json::Value;

pub fn run(data: &[u8]) {
    let Some((&kind, content)) = data.split_first() else { return };
    let keys = Keys::new(["s3Krit", "older"]).expect("two keys");
    let whisper = kind & 0x80 != 0;
    let streams = Streams {
        public: false,
        whisper,
        signed: Some(keys.clone()),
        turbo: Some(keys.clone()),
        cable_ready: Some(keys.clone()),
    };
    let target = |name: String| match kind % 3 {
        0 => Target::Signed(name),
        1 => Target::Turbo(name),
        _ => Target::CableReady(name),
    };
    let sign = |encoded: &str| format!("{encoded}--{}", keys.sign(encoded));

    for encoded in [STANDARD.encode(content), URL_SAFE.encode(content)] {
        let resolved = streams.resolve(target(sign(&encoded)));
        match &resolved {
            Ok((stream, rights)) => {
                let json: Value = serde_json::from_slice(content).expect("what is signed is JSON");
                let name = json.as_str().or_else(|| json["stream"].as_str());
                assert_eq!(name, Some(stream.as_str()));
                assert!(!stream.as_str().is_empty());
                let says = |right: &str| match json["rights"].as_array() {
                    Some(rights) => rights.iter().any(|one| one == right),
                    None => json.is_string(),
                };
                assert!(says("subscribe"));
                assert_eq!(rights.join, kind % 3 == 0 && says("join"));
                assert_eq!(rights.whisper, kind % 3 == 0 && whisper && says("whisper"));
            }
            Err(error) => {
                assert!(matches!(error, StreamError::Malformed | StreamError::NoRight));
                let is_name = serde_json::from_slice::<String>(content);
                assert!(!is_name.is_ok_and(|name| !name.is_empty()), "{error}");
            }
        }
        let other = Keys::new(["other"]).expect("a key");
        let forged = format!("{encoded}--{}", other.sign(&encoded));
        assert_eq!(streams.resolve(target(forged)), Err(StreamError::Signature));
    }

    let Some(text) = super::text(content) else { return };
    drop(streams.resolve(target(sign(text)))); // signed, but perhaps not base64
    let is_signed = text.rsplit_once("--").is_some_and(|(name, tag)| keys.is_signed(name, tag));
    assert!(is_signed || streams.resolve(target(text.to_owned())).is_err());
    assert_eq!(streams.resolve(Target::Public(text.into())), Err(StreamError::Unsigned));
}
