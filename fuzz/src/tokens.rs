//! A token: a byte for the settings and for the treatment of the rest. That is signed with a known key as
//! claims, as a header and claims, or as it is; or not at all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::auth::{Client, Keys, PresenceIdPolicy, TokenError, Tokens, canonical};
use serde_json::Value;

const NOW: u64 = 1_800_000_000;
const HEADER: &str = r#"{"alg":"HS256"}"#;
const PRESENCE_ID: [Option<&str>; 3] = [None, Some("sub"), Some("ext.user")];

pub fn run(data: &[u8]) {
    let Some((&how, content)) = data.split_first() else { return };
    let keys = Keys::new(["s3Krit", "older"]).expect("two keys");
    let mut tokens = Tokens::new(keys.clone());
    let parties = how & 0x80 != 0;
    if parties {
        tokens = tokens.with_audience("chat").with_issuer("app");
    }
    let presence_id = PRESENCE_ID[usize::from(how) % 3];
    if let Some(claim) = presence_id {
        tokens = tokens.with_presence_id(claim);
    }

    let claims = URL_SAFE_NO_PAD.encode(content);
    let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(HEADER));
    let good = sign(&keys, &message);
    match tokens.verify(&good, NOW) {
        Ok(client) => check_client(content, &client, parties, presence_id),
        Err(error) => {
            assert_ne!(error, TokenError::Signature);
            assert_ne!(error, TokenError::Algorithm);
        }
    }
    let other = Keys::new(["other"]).expect("a key");
    assert_eq!(tokens.verify(&sign(&other, &message), NOW), Err(TokenError::Signature));

    if let Some(end) = content.iter().position(|byte| *byte == b'\n') {
        let (header, claims) = (&content[..end], &content[end + 1..]);
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let verified = tokens.verify(&sign(&keys, &format!("{header}.{claims}")), NOW);
        if verified.is_ok() {
            let header: Value = serde_json::from_slice(&content[..end]).expect("a header");
            assert_eq!(header["alg"], "HS256", "the only one it is signed by");
        }
    }
    let Some(text) = super::text(content) else { return };
    drop(tokens.verify(&sign(&keys, text), NOW)); // signed, but perhaps not base64
    let unsigned = tokens.verify(text, NOW);
    assert!(unsigned.is_err() || text == sign(&keys, text.rsplit_once('.').unwrap_or_default().0));
}

fn sign(keys: &Keys, message: &str) -> String {
    let tag: Vec<u8> = keys.sign(message).as_bytes().chunks(2).map(byte).collect();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn byte(hexadecimal: &[u8]) -> u8 {
    let digits = super::text(hexadecimal).expect("digits");
    u8::from_str_radix(digits, 16).expect("a byte")
}

/// A good token says all that is made of it.
fn check_client(claims: &[u8], client: &Client, parties: bool, presence_id: Option<&str>) {
    let claims: Value = serde_json::from_slice(claims).expect("claims");
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 285 million years")]
    let now = NOW as f64;
    assert!(claims.get("exp").is_none_or(|exp| exp.as_f64().is_some_and(|exp| exp > now)));
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().is_some_and(|nbf| nbf <= now)));
    if parties {
        assert_eq!(claims["iss"], "app");
        let several = claims["aud"].as_array().is_some_and(|all| all.iter().any(|a| a == "chat"));
        assert!(several || claims["aud"] == "chat");
    }
    assert_eq!(client.identifier, claims["ext"].as_str().map(canonical));
    assert_eq!(client.identifier, client.identifier.as_deref().map(canonical), "it stays so");
    let id = match presence_id {
        None => {
            assert_eq!(client.presence_ids, PresenceIdPolicy::Any);
            return assert!(client.identifier.is_some());
        }
        Some("sub") => claims["sub"].clone(),
        Some(_) => {
            let identifiers: Option<Value> =
                claims["ext"].as_str().and_then(|ext| serde_json::from_str(ext).ok());
            identifiers.map_or(Value::Null, |identifiers| identifiers["user"].clone())
        }
    };
    match &client.presence_ids {
        PresenceIdPolicy::Only(only) => {
            assert!(!only.as_str().is_empty());
            assert_eq!(id.as_str().map_or_else(|| id.to_string(), str::to_owned), only.as_str());
        }
        PresenceIdPolicy::None => {
            assert!(id.as_str().is_none_or(str::is_empty) && !id.is_u64() && !id.is_i64());
        }
        PresenceIdPolicy::Any | PresenceIdPolicy::Default(_) => panic!("ids come from tokens"),
    }
}
