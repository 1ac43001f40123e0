//! A client's parameters, from the headers and query of its handshake.

use std::borrow::Cow;

use warp::http::{HeaderMap, header};

use super::refusal::Refusal;
use crate::net::context::TokenName;
use crate::protocol::query::parameter;
use crate::protocol::{HandshakeParams, Offer, Protocol};

/// Reads a handshake's parameters. Its token may stand in the places that the configuration names,
/// whatever the protocol.
pub(in crate::net) fn read_params(
    protocol: &Protocol,
    name: &TokenName,
    headers: &HeaderMap,
    query: &str,
) -> Result<HandshakeParams, Refusal> {
    let header =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let subprotocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let subprotocols: Vec<&str> = subprotocols.filter_map(|list| list.to_str().ok()).collect();
    let offer = Offer { query, subprotocols: &subprotocols, header: &header };
    let params = protocol.handshake.map(|read| read(&offer));
    let params = params.transpose()?.unwrap_or_default();
    let token = name.header.as_ref().and_then(|name| header(name.as_str()));
    let token = token.map(Cow::into_owned).filter(|token| !token.is_empty());
    let token = token.or(params.token);
    let token = token.or_else(|| parameter(query, &name.parameter).map(Cow::into_owned));
    Ok(HandshakeParams { token, ..params })
}
