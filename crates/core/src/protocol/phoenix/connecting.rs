//! Parameters of a client's handshake.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::protocol::handshake::{BadOffer, HandshakeParams, Offer};
use crate::protocol::query::parameter;
use crate::types::PresenceId;

/// Parameter with the version of the serializer.
const VERSION_PARAMETER: &str = "vsn";

/// Parameter with the client's presence id, unless that comes from a token.
const USER_PARAMETER: &str = "user_id";

/// Header in which a long-polling client sends its `authToken`.
const TOKEN_HEADER: &str = "x-phoenix-authtoken";

/// The subprotocol a client offers along with its token.
const SUBPROTOCOL: &str = "phoenix";

/// Prefix of a pseudo-subprotocol that carries the token.
const TOKEN_SUBPROTOCOL: &str = "base64url.bearer.phx.";

/// Reads a handshake.
pub(super) fn handshake(offer: &Offer<'_>) -> Result<HandshakeParams, BadOffer> {
    let version = parameter(offer.query, VERSION_PARAMETER);
    if version.is_none_or(|version| !version.starts_with("2.")) {
        let bad = "only version 2 of the Phoenix serializer is supported: connect with vsn=2.0.0";
        return Err(BadOffer(bad.to_owned()));
    }
    let subprotocols = || offer.subprotocols.iter().copied();
    let user_id = parameter(offer.query, USER_PARAMETER).filter(|id| !id.is_empty());
    Ok(HandshakeParams {
        subprotocol: choose_subprotocol(subprotocols()),
        // the client has a token in one of these, by how it connects
        token: token_in_subprotocols(subprotocols()).or_else(|| {
            let token = (offer.header)(TOKEN_HEADER)?.into_owned();
            Some(token).filter(|token| !token.is_empty())
        }),
        presence_id: user_id.map(|id| PresenceId::from(&*id)),
        ..HandshakeParams::default()
    })
}

/// The subprotocol for a connection from what its client offers; a client without a token offers
/// none, and others are left unanswered.
fn choose_subprotocol<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    names(offered).any(|name| name == SUBPROTOCOL).then_some(SUBPROTOCOL)
}

/// The token among the subprotocols that a client offers. The client calls it base64url, and writes
/// the other alphabet.
fn token_in_subprotocols<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let encoded = names(offered).find_map(|name| name.strip_prefix(TOKEN_SUBPROTOCOL))?;
    let encoded = encoded.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(encoded).or_else(|_| URL_SAFE_NO_PAD.decode(encoded));
    // what can't be read is no good token, but it is one
    Some(
        bytes.map_or_else(
            |_| encoded.to_owned(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        ),
    )
}

fn names<'a>(offered: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    offered.into_iter().flat_map(|list| list.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_with_the_subprotocol() {
        // btoa("a?>.b~") without its padding
        let offered = ["phoenix, base64url.bearer.phx.YT8+LmJ+"];
        assert_eq!(choose_subprotocol(offered), Some("phoenix"));
        assert_eq!(token_in_subprotocols(offered).as_deref(), Some("a?>.b~"));
        let url_safe = ["phoenix", "base64url.bearer.phx.YT8-LmJ-"];
        assert_eq!(token_in_subprotocols(url_safe).as_deref(), Some("a?>.b~"));
        assert_eq!(token_in_subprotocols(["base64url.bearer.phx.!"]).as_deref(), Some("!"));
        assert_eq!(choose_subprotocol([]), None);
        assert_eq!(choose_subprotocol(["other"]), None);
        assert_eq!(token_in_subprotocols(["phoenix"]), None);
    }
}
