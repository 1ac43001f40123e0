//! A client's parameters, from the headers and query of its handshake.

use std::borrow::Cow;

use warp::http::{HeaderMap, HeaderValue, header};

use super::refusal::Refusal;
use crate::net::context::TokenName;
use crate::protocol::action_cable::{self, SESSION_HEADER, SESSION_PARAMETER};
use crate::protocol::phoenix;
use crate::protocol::query::parameter;
use crate::types::{Codec, PresenceId, Repeat, SessionId};

/// A handshake's parameters.
pub(in crate::net) struct HandshakeParams<'a> {
    /// The negotiated subprotocol.
    pub(in crate::net) subprotocol: Option<&'static str>,
    /// The token.
    pub(in crate::net) token: Option<Cow<'a, str>>,
    /// The session to resume.
    pub(in crate::net) resume: Option<SessionId>,
    /// When repeated subscribes are confirmed.
    pub(in crate::net) repeat: Repeat,
    /// The presence id to use, unless the token sets one.
    pub(in crate::net) called: Option<PresenceId>,
}

impl<'a> HandshakeParams<'a> {
    /// Reads them from a request.
    pub(in crate::net) fn read(
        codec: Codec,
        name: &TokenName,
        headers: &'a HeaderMap,
        query: &'a str,
    ) -> Result<Self, Refusal> {
        let header = name.header.as_ref().and_then(|name| token_in(headers.get(name)?));
        let params = match codec {
            Codec::ActionCable => {
                let subprotocol = action_cable::choose_subprotocol(offered(headers))
                    .map_err(|error| Refusal::Subprotocol(error.to_string()))?;
                Self {
                    subprotocol,
                    token: header.or_else(|| {
                        action_cable::token_in_subprotocols(offered(headers)).map(Cow::Borrowed)
                    }),
                    resume: session_to_resume(headers, query),
                    repeat: action_cable::repeat(subprotocol, offered(headers)),
                    called: None,
                }
            }
            Codec::Phoenix => {
                let version = parameter(query, phoenix::VERSION_PARAMETER);
                if version.is_none_or(|version| !version.starts_with("2.")) {
                    return Err(Refusal::Serializer);
                }
                Self {
                    subprotocol: phoenix::choose_subprotocol(offered(headers)),
                    // the places where this protocol's clients send a token
                    token: header
                        .or_else(|| {
                            phoenix::token_in_subprotocols(offered(headers)).map(Cow::Owned)
                        })
                        .or_else(|| token_in(headers.get(phoenix::TOKEN_HEADER)?)),
                    resume: None,
                    repeat: Repeat::Always,
                    called: parameter(query, phoenix::USER_PARAMETER)
                        .filter(|id| !id.is_empty())
                        .map(|id| PresenceId::from(&*id)),
                }
            }
            Codec::Typed | Codec::Chat | Codec::Sse { .. } => Self {
                subprotocol: None,
                token: header,
                resume: None,
                repeat: Repeat::Always,
                called: None,
            },
        };
        let token = params.token.or_else(|| parameter(query, &name.parameter));
        Ok(Self { token, ..params })
    }
}

/// A header's token. Bytes that aren't text still count as a token, an invalid one.
fn token_in(header: &HeaderValue) -> Option<Cow<'_, str>> {
    Some(String::from_utf8_lossy(header.as_bytes())).filter(|token| !token.is_empty())
}

/// The subprotocols a client offers, from all header lines.
fn offered(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    lists.filter_map(|value| value.to_str().ok())
}

/// The session to resume, from the header or the query.
fn session_to_resume(headers: &HeaderMap, query: &str) -> Option<SessionId> {
    let header = headers.get(SESSION_HEADER).and_then(|sid| sid.to_str().ok());
    header
        .and_then(SessionId::parse)
        .or_else(|| SessionId::parse(&parameter(query, SESSION_PARAMETER)?))
}
