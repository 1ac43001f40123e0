//! JSON Web Tokens (RFC 7519) signed with HMAC; no other algorithm is supported.
//!
//! The algorithm in a token's header only picks the hash function. A token with `none`, RSA or an
//! unknown algorithm is refused before its signature is checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::keys::Hash;
use super::{Client, Keys, PresenceIdPolicy, canonical};
use crate::types::PresenceId;

/// The claim with a connection's identifiers, a JSON object as a string.
const IDENTIFIERS: &str = "ext";

/// The rules by which tokens are checked.
#[derive(Clone, Debug)]
pub struct Tokens {
    keys: Keys,
    audience: Option<Box<str>>,
    issuer: Option<Box<str>>,
    presence_id: Option<Box<str>>,
}

/// Why a token is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64 with JSON.
    #[error("the token is malformed")]
    Malformed,
    /// The algorithm is not HMAC.
    #[error("the token's algorithm is none of HS256, HS384 and HS512")]
    Algorithm,
    /// Another type of token, or one with critical extensions.
    #[error("the token is of another type than JWT, or has critical extensions")]
    Type,
    /// Signed with another secret, or changed since.
    #[error("the token's signature is wrong")]
    Signature,
    /// Expired.
    #[error("the token has expired")]
    Expired,
    /// Not valid yet.
    #[error("the token is not valid yet")]
    NotYet,
    /// Issued for another audience.
    #[error("the token is for another audience")]
    Audience,
    /// Issued by another issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// A required claim is missing or malformed.
    #[error("the token has no claim with the client's identity")]
    Nobody,
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    typ: Option<std::borrow::Cow<'a, str>>,
    crit: Option<IgnoredAny>,
}

impl Tokens {
    /// Rules for tokens signed with one of these keys.
    pub const fn new(keys: Keys) -> Self {
        Self { keys, audience: None, issuer: None, presence_id: None }
    }

    /// Requires this audience, the claim `aud`.
    #[must_use]
    pub fn with_audience(mut self, audience: &str) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Requires this issuer, the claim `iss`.
    #[must_use]
    pub fn with_issuer(mut self, issuer: &str) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Takes the client's presence id from this claim, or for `ext.NAME` from this identifier.
    #[must_use]
    pub fn with_presence_id(mut self, claim: &str) -> Self {
        self.presence_id = Some(claim.into());
        self
    }

    /// A client without a token.
    pub(super) fn nobody(&self) -> Client {
        let presence_ids =
            if self.presence_id.is_some() { PresenceIdPolicy::None } else { PresenceIdPolicy::Any };
        Client { identifier: None, presence_ids }
    }

    /// Checks a token at `now`, in seconds of the Unix epoch, and returns its client.
    pub fn verify(&self, token: &str, now: u64) -> Result<Client, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let hash = algorithm(&decoded(header)?)?;
        let signature = decoded(signature)?;
        if !self.keys.verify(hash, message.as_bytes(), &signature) {
            return Err(TokenError::Signature);
        }
        let claims: Map<String, Value> =
            serde_json::from_slice(&decoded(claims)?).map_err(|_| TokenError::Malformed)?;
        self.check_parties(&claims)?;
        check_time(&claims, now)?;
        self.client(&claims)
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let is = |claim: &Value, wanted: &str| claim.as_str() == Some(wanted);
        if let Some(wanted) = &self.audience {
            let meant = claims.get("aud").is_some_and(|claim| match claim.as_array() {
                Some(several) => several.iter().any(|one| is(one, wanted)),
                None => is(claim, wanted),
            });
            if !meant {
                return Err(TokenError::Audience);
            }
        }
        if let Some(wanted) = &self.issuer
            && !claims.get("iss").is_some_and(|claim| is(claim, wanted))
        {
            return Err(TokenError::Issuer);
        }
        Ok(())
    }

    /// A token must identify the client, in `ext` or in the presence id's claim: tokens signed for
    /// other purposes with the same secret are refused.
    fn client(&self, claims: &Map<String, Value>) -> Result<Client, TokenError> {
        let identifier = match claims.get(IDENTIFIERS) {
            Some(Value::String(text)) => Some(text.as_str()),
            Some(_) => return Err(TokenError::Nobody),
            None => None,
        };
        let Some(claim) = &self.presence_id else {
            let identifier = Some(canonical(identifier.ok_or(TokenError::Nobody)?));
            return Ok(Client { identifier, presence_ids: PresenceIdPolicy::Any });
        };
        let id = match (claim.split_once('.'), identifier) {
            (Some((IDENTIFIERS, name)), Some(identifiers)) => {
                let identifiers: Option<Map<String, Value>> =
                    serde_json::from_str(identifiers).ok();
                identifiers.as_ref().and_then(|all| presence_id(all.get(name)?))
            }
            (Some((IDENTIFIERS, _)), None) => None,
            (Some(_) | None, _) => claims.get(&**claim).and_then(presence_id),
        };
        if identifier.is_none() && id.is_none() {
            return Err(TokenError::Nobody);
        }
        let identifier = identifier.map(canonical);
        Ok(Client {
            identifier,
            presence_ids: id.map_or(PresenceIdPolicy::None, PresenceIdPolicy::Only),
        })
    }
}

/// A claim as a presence id: text, or a whole number as text.
fn presence_id(claim: &Value) -> Option<PresenceId> {
    match claim {
        Value::String(text) if !text.is_empty() => Some(text.as_str().into()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string().into()),
        Value::String(_)
        | Value::Number(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Array(_)
        | Value::Object(_) => None,
    }
}

fn algorithm(header: &[u8]) -> Result<Hash, TokenError> {
    // serde skips such values as text without checking them
    let header = std::str::from_utf8(header).map_err(|_| TokenError::Malformed)?;
    let header: Header<'_> = serde_json::from_str(header).map_err(|_| TokenError::Malformed)?;
    let hash = match &*header.alg {
        "HS256" => Hash::Sha256,
        "HS384" => Hash::Sha384,
        "HS512" => Hash::Sha512,
        _ => return Err(TokenError::Algorithm),
    };
    let is_jwt = header.typ.is_none_or(|typ| typ.eq_ignore_ascii_case("JWT"));
    if is_jwt && header.crit.is_none() { Ok(hash) } else { Err(TokenError::Type) }
}

/// `exp` and `nbf` (RFC 7519 sections 4.1.4 and 4.1.5), without leeway.
fn check_time(claims: &Map<String, Value>, now: u64) -> Result<(), TokenError> {
    let date = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(claim) => claim.as_f64().map(Some).ok_or(TokenError::Malformed),
    };
    #[expect(clippy::cast_precision_loss, reason = "exact for the next 285 million years")]
    let now = now as f64;
    if date("exp")?.is_some_and(|expires| now >= expires) {
        return Err(TokenError::Expired);
    }
    if date("nbf")?.is_some_and(|begins| now < begins) {
        return Err(TokenError::NotYet);
    }
    Ok(())
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use hmac::Hmac;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn tag<M: hmac::Mac + hmac::digest::KeyInit>(secret: &str, message: &str) -> Vec<u8> {
        let mac = <M as hmac::Mac>::new_from_slice(secret.as_bytes()).unwrap();
        mac.chain_update(message).finalize().into_bytes().to_vec()
    }

    fn signed(header: &str, claims: &str, secret: &str) -> String {
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let tag = if header.contains("HS384") {
            tag::<Hmac<sha2::Sha384>>(secret, &message)
        } else if header.contains("HS512") {
            tag::<Hmac<sha2::Sha512>>(secret, &message)
        } else {
            tag::<Hmac<sha2::Sha256>>(secret, &message)
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn hs256(claims: &Value) -> String {
        signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), "k")
    }

    fn tokens() -> Tokens {
        Tokens::new(Keys::new(["k"]).unwrap())
    }

    #[test]
    fn the_example_of_the_reference_is_read() {
        // RFC 7515 appendix A.1 with its key, as an independent witness of the signature
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let (message, tag) = token.rsplit_once('.').unwrap();
        let key = URL_SAFE_NO_PAD
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        assert!(super::super::keys::verifies(&key, message.as_bytes(), &decoded(tag).unwrap()));
    }

    #[test]
    fn a_good_token_says_who() {
        let ids = r#"{"user_id":"15"}"#;
        for algorithm in ["HS256", "HS384", "HS512"] {
            for typ in ["", r#","typ":"JWT""#, r#","typ":"jwt""#, r#","typ":null,"kid":"1""#] {
                let header = format!(r#"{{"alg":"{algorithm}"{typ}}}"#);
                let claims = json!({ "ext": ids, "exp": NOW + 1, "nbf": NOW }).to_string();
                let client = tokens().verify(&signed(&header, &claims, "k"), NOW).unwrap();
                assert_eq!(client.identifier.as_deref(), Some(ids), "{header}");
                assert_eq!(client.presence_ids, PresenceIdPolicy::Any);
            }
        }
    }

    #[test]
    fn no_other_algorithm_is_taken() {
        let claims = json!({ "ext": "{}" }).to_string();
        for alg in
            ["none", "None", "", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS1", "HS256 "]
        {
            let token = signed(&format!(r#"{{"alg":"{alg}"}}"#), &claims, "k");
            assert_eq!(tokens().verify(&token, NOW), Err(TokenError::Algorithm), "{alg}");
            let (message, _) = token.rsplit_once('.').unwrap();
            let unsigned = format!("{message}.");
            assert_eq!(tokens().verify(&unsigned, NOW), Err(TokenError::Algorithm), "{alg}");
        }
        for header in [r#"{"alg":"HS256","typ":"at+jwt"}"#, r#"{"alg":"HS256","crit":["b64"]}"#] {
            let token = signed(header, &claims, "k");
            assert_eq!(tokens().verify(&token, NOW), Err(TokenError::Type), "{header}");
        }
        // the tag of one hash function is not that of another
        let token = signed(r#"{"alg":"HS256"}"#, &claims, "k");
        let (_, rest) = token.split_once('.').unwrap();
        let relabelled = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS512"}"#));
        assert_eq!(tokens().verify(&relabelled, NOW), Err(TokenError::Signature));
    }

    #[test]
    fn a_signature_is_by_one_of_the_keys() {
        let token = hs256(&json!({ "ext": "{}" }));
        let with = |keys: &[&str]| {
            Tokens::new(Keys::new(keys.iter().copied()).unwrap()).verify(&token, NOW)
        };
        assert!(with(&["k"]).is_ok() && with(&["new", "k"]).is_ok());
        assert_eq!(with(&["K"]), Err(TokenError::Signature));
        let (message, tag) = token.rsplit_once('.').unwrap();
        let short = URL_SAFE_NO_PAD.encode(&decoded(tag).unwrap()[..16]);
        for cut in ["", &short] {
            let token = format!("{message}.{cut}");
            assert_eq!(tokens().verify(&token, NOW), Err(TokenError::Signature));
        }
    }

    #[test]
    fn time_counts_to_the_second() {
        let at = |claims: Value| {
            let mut claims = claims;
            claims["ext"] = "{}".into();
            tokens().verify(&hs256(&claims), NOW).err()
        };
        assert_eq!(at(json!({ "exp": NOW })), Some(TokenError::Expired));
        assert_eq!(at(json!({ "exp": 0 })), Some(TokenError::Expired));
        assert_eq!(at(json!({ "exp": -1 })), Some(TokenError::Expired));
        assert_eq!(at(json!({ "exp": NOW + 1, "nbf": NOW + 1 })), Some(TokenError::NotYet));
        assert_eq!(at(json!({ "exp": 1_800_000_000.5 })), None);
        assert_eq!(at(json!({})), None);
        for nonsense in [json!("1900000000"), json!(null), json!([NOW + 1])] {
            assert_eq!(at(json!({ "exp": nonsense })), Some(TokenError::Malformed));
            assert_eq!(at(json!({ "nbf": nonsense })), Some(TokenError::Malformed));
        }
    }

    #[test]
    fn audience_and_issuer_count_if_they_are_set() {
        let ours = tokens().with_audience("chat").with_issuer("app");
        let with = |aud: Value, iss: Value| {
            ours.verify(&hs256(&json!({ "ext": "{}", "aud": aud, "iss": iss })), NOW).err()
        };
        assert_eq!(with(json!("chat"), json!("app")), None);
        assert_eq!(with(json!(["mail", "chat"]), json!("app")), None);
        for aud in [json!("mail"), json!([]), json!(null), json!({ "chat": 1 })] {
            assert_eq!(with(aud, json!("app")), Some(TokenError::Audience));
        }
        for iss in [json!("other"), json!(null), json!(["app"])] {
            assert_eq!(with(json!("chat"), iss), Some(TokenError::Issuer));
        }
    }

    #[test]
    fn a_token_says_who_it_is_about() {
        for ext in [json!({ "user": 1 }), json!(1), json!(null)] {
            let token = hs256(&json!({ "ext": ext }));
            assert_eq!(tokens().verify(&token, NOW), Err(TokenError::Nobody));
        }
        let token = hs256(&json!({ "sub": "ann" }));
        assert_eq!(tokens().verify(&token, NOW), Err(TokenError::Nobody));
        let bound = tokens().with_presence_id("sub");
        let presence_ids =
            |claims: Value| bound.verify(&hs256(&claims), NOW).map(|client| client.presence_ids);
        assert_eq!(presence_ids(json!({ "sub": "ann" })), Ok(PresenceIdPolicy::Only("ann".into())));
        assert_eq!(presence_ids(json!({ "sub": 42 })), Ok(PresenceIdPolicy::Only("42".into())));
        assert_eq!(presence_ids(json!({ "ext": "{}" })), Ok(PresenceIdPolicy::None));
        for nobody in [json!(""), json!(4.2), json!(true), json!(null), json!(["ann"])] {
            assert_eq!(
                presence_ids(json!({ "ext": "{}", "sub": nobody })),
                Ok(PresenceIdPolicy::None)
            );
            assert_eq!(presence_ids(json!({ "sub": nobody })), Err(TokenError::Nobody));
        }
    }

    #[test]
    fn a_presence_id_may_be_one_of_the_identifiers() {
        let bound = tokens().with_presence_id("ext.user");
        let presence_ids = |ext: &str| {
            let claims = json!({ "ext": ext, "user": "eve", "ext.user": "eve" });
            bound.verify(&hs256(&claims), NOW).map(|client| client.presence_ids)
        };
        assert_eq!(presence_ids(r#"{"user":"ann"}"#), Ok(PresenceIdPolicy::Only("ann".into())));
        assert_eq!(presence_ids(r#"{"user":42,"n":1}"#), Ok(PresenceIdPolicy::Only("42".into())));
        for none in ["{}", "", "[]", "ann", r#"{"user":{"id":1}}"#, r#"{"user":null}"#] {
            assert_eq!(presence_ids(none), Ok(PresenceIdPolicy::None), "{none}");
        }
        let claims = json!({ "user": "eve", "ext.user": "eve" });
        assert_eq!(bound.verify(&hs256(&claims), NOW), Err(TokenError::Nobody));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let good = hs256(&json!({ "ext": "{}" }));
        for token in [
            "",
            ".",
            "..",
            "...",
            "a.b",
            "a.b.c",
            "é.é.é",
            &format!("{good}.x"),
            &format!(" {good}"),
        ] {
            assert!(tokens().verify(token, NOW).is_err(), "{token}");
        }
        assert_eq!(
            tokens().verify(&signed(r#"{"alg":"HS256"}"#, "[]", "k"), NOW),
            Err(TokenError::Malformed)
        );
    }

    proptest! {
        #[test]
        fn nothing_but_the_signed_text_is_good(at in 0usize..200, byte in 33u8..127) {
            let token = hs256(&json!({ "ext": "{}", "exp": NOW + 60 }));
            let mut changed = token.clone().into_bytes();
            let at = at % changed.len();
            changed[at] = byte;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(tokens().verify(&changed, NOW).is_ok(), changed == token);
        }

        #[test]
        fn nothing_panics(token in ".{0,80}") {
            drop(tokens().verify(&token, NOW));
        }
    }
}
