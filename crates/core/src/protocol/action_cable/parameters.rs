//! Parameters of a client's handshake.

use super::names::{
    EXTENDED, SESSION_HEADER, SESSION_PARAMETER, SUBPROTOCOLS, TOKEN_SUBPROTOCOL, UNSUPPORTED,
};
use crate::protocol::handshake::{BadOffer, HandshakeParams, Offer};
use crate::protocol::query::parameter;
use crate::types::{Repeat, SessionId};

/// Reads a handshake.
pub(super) fn handshake(offer: &Offer<'_>) -> Result<HandshakeParams, BadOffer> {
    let subprotocols = || offer.subprotocols.iter().copied();
    let subprotocol =
        choose_subprotocol(subprotocols()).map_err(|error| BadOffer(error.to_string()))?;
    let header = (offer.header)(SESSION_HEADER);
    Ok(HandshakeParams {
        subprotocol,
        token: token_in_subprotocols(subprotocols()).map(str::to_owned),
        resume: header
            .and_then(|sid| SessionId::parse(&sid))
            .or_else(|| SessionId::parse(&parameter(offer.query, SESSION_PARAMETER)?)),
        resumes: subprotocol == Some(EXTENDED),
        repeat: repeat(subprotocol, subprotocols()),
        presence_id: None,
    })
}

/// The subprotocol for a connection from what its client offers, in the client's order; the
/// default if it offers none. `Err` if it offers only others.
pub fn choose_subprotocol<'a>(
    offered: impl IntoIterator<Item = &'a str>,
) -> Result<Option<&'static str>, NoSubprotocol> {
    let mut any = false;
    for name in offered.into_iter().flat_map(|list| list.split(',')).map(str::trim) {
        if name.starts_with(TOKEN_SUBPROTOCOL) {
            continue;
        }
        any = true;
        if let Some(known) = SUBPROTOCOLS.iter().find(|known| **known == name) {
            return Ok(Some(known));
        }
    }
    if any { Err(NoSubprotocol) } else { Ok(None) }
}

/// When a client's repeated subscribes are confirmed, by the negotiated and the offered subprotocols.
///
/// `@anycable/core` repeats a subscribe after 5 s and unsubscribes at a confirmation that it doesn't wait for
/// (`action_cable/index.js`). `@rails/actioncable` repeats it every 500 ms until it is confirmed, also for a second
/// element of a page with the same identifier (`subscription_guarantor.js`).
fn repeat<'a>(chosen: Option<&str>, offered: impl IntoIterator<Item = &'a str>) -> Repeat {
    let [base, _] = SUBPROTOCOLS;
    let mut names = offered.into_iter().flat_map(|list| list.split(',')).map(str::trim);
    let is_rails = chosen == Some(base) && names.any(|name| name == UNSUPPORTED);
    if is_rails { Repeat::Later } else { Repeat::Never }
}

/// The token among the subprotocols that a client offers: `anycable-token.TOKEN`.
pub fn token_in_subprotocols<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut names = offered.into_iter().flat_map(|list| list.split(',')).map(str::trim);
    names.find_map(|name| name.strip_prefix(TOKEN_SUBPROTOCOL)).filter(|token| !token.is_empty())
}

/// The client speaks none of the subprotocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the offered subprotocols is spoken here: offer {} or {}", SUBPROTOCOLS[0], SUBPROTOCOLS[1])]
pub struct NoSubprotocol;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_order_decides() {
        let [base, extended] = SUBPROTOCOLS;
        assert_eq!(choose_subprotocol([]), Ok(None));
        assert_eq!(choose_subprotocol(["x, actioncable-v1-json"]), Ok(Some(base)));
        let both = ["actioncable-v1-ext-json", "actioncable-v1-json"];
        assert_eq!(choose_subprotocol(both), Ok(Some(extended)));
        assert_eq!(choose_subprotocol(["x"]), Err(NoSubprotocol));
    }

    #[test]
    fn a_token_is_no_subprotocol() {
        let [base, _] = SUBPROTOCOLS;
        assert_eq!(choose_subprotocol(["anycable-token.a.b.c", base]), Ok(Some(base)));
        assert_eq!(choose_subprotocol(["anycable-token.a.b.c"]), Ok(None));
        assert_eq!(choose_subprotocol(["x, anycable-token.a"]), Err(NoSubprotocol));
        assert_eq!(token_in_subprotocols(["x, anycable-token.a.b.c", base]), Some("a.b.c"));
        assert_eq!(token_in_subprotocols(["anycable-token."]), None);
        assert_eq!(token_in_subprotocols([]), None);
    }

    #[test]
    fn who_is_confirmed_again() {
        let [base, extended] = SUBPROTOCOLS;
        let rails = || ["actioncable-v1-json, actioncable-unsupported"];
        assert_eq!(repeat(Some(base), rails()), Repeat::Later);
        assert_eq!(repeat(Some(base), [base, "actioncable-unsupported"]), Repeat::Later);
        assert_eq!(repeat(Some(extended), rails()), Repeat::Never);
        assert_eq!(repeat(Some(base), [base]), Repeat::Never);
        assert_eq!(repeat(None, []), Repeat::Never);
    }
}
