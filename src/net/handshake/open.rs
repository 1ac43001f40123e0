//! The part of a handshake that all transports share: admission and access.

use std::net::IpAddr;

use warp::http::HeaderMap;

use super::refusal::Refusal;
use crate::cors;
use crate::net::connections::{Asked, Opening};
use crate::net::context::Context;
use crate::protocol::{self, HandshakeParams};
use crate::types::Codec;

/// Admits a client, if there is room. Whether its token is valid shows in the connection, which may
/// be refused later. The page's origin has been checked. `asked` is what the application has a say in.
pub(in crate::net) fn open(
    context: &Context,
    codec: Codec,
    client: IpAddr,
    query: &str,
    params: HandshakeParams,
    asked: Option<Asked>,
) -> Result<Opening, Refusal> {
    if context.is_stopping() {
        return Err(Refusal::Stopping);
    }
    if !context.is_current() {
        return Err(Refusal::Behind);
    }
    let permit = context.admit(client)?;
    let sid = context.new_session(params.resume).ok_or(Refusal::NoRandomness)?;
    let now = context.clock.unix().as_secs();
    let admitted = match &asked {
        Some(asked) if asked.connects => Ok(context.access.nobody()),
        Some(_) | None => context.access.admit(params.token.as_deref(), now),
    };
    let is_public = context.access.streams.public;
    Ok(Opening {
        codec,
        permit,
        sid,
        admitted: admitted.map(|client| client.with_default_presence_id(params.presence_id)),
        asked,
        resume: params.resume,
        repeat: params.repeat,
        ping: context.settings.ping.with_query(query),
        first: is_public.then(|| protocol::decode_connecting(codec)).flatten(),
    })
}

/// Checks the origin of a plain HTTP request, if a page made it.
pub(in crate::net) fn check_origin(context: &Context, headers: &HeaderMap) -> Result<(), Refusal> {
    if cors::may_ask(&context.access, headers) { Ok(()) } else { Err(Refusal::Origin) }
}
