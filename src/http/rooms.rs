//! `GET /api/rooms/{room}/messages`: a chat room's kept messages.
//!
//! Both pages and the application may read them: with a client's credentials for the room, or with
//! the key of `/api`.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use super::reply::{Refusal, answer, authorize, json};
use crate::auth::Access;
use crate::clock::Clock;
use crate::config::Secret;
use crate::cors;
use crate::filters;
use crate::node::Router;
use crate::protocol::chat::encode_history;
use crate::protocol::query::parameter;
use crate::types::{StreamName, Target};

/// Query parameter of a signed stream name.
const SIGNED: &str = "signed_stream_name";

/// What the endpoint needs.
#[derive(Debug)]
pub struct Rooms {
    /// The time.
    pub clock: Arc<Clock>,
    /// Queries the streams.
    pub router: Arc<Router>,
    /// Access rules of clients.
    pub access: Access,
    /// Query parameter of a client's token; the header of that name is prefixed with `x-`.
    pub token: String,
    /// The key of `/api`.
    pub api_key: Option<Secret>,
}

/// The path's methods.
const METHODS: &str = "GET, OPTIONS";

/// The endpoint's routes.
pub fn rooms(rooms: Rooms) -> BoxedFilter<(Response,)> {
    let rooms = Arc::new(rooms);
    let path = warp::path!("api" / "rooms" / String / "messages");
    let asked = Arc::clone(&rooms);
    let preflight = path
        .and(filters::method("OPTIONS", METHODS))
        .and(warp::header::headers_cloned())
        .map(move |_room, headers: HeaderMap| {
            let origins = asked.access.origins.as_ref();
            answer("rooms", Ok(cors::preflight(origins, &headers, "GET")))
        });
    path.and(filters::method("GET", METHODS))
        .and(warp::header::headers_cloned())
        .and(filters::query())
        .then(move |room: String, headers: HeaderMap, query: String| {
            let rooms = Arc::clone(&rooms);
            async move {
                let mut response = answer("rooms", rooms.messages(&room, &headers, &query).await);
                cors::expose(rooms.access.origins.as_ref(), &headers, &mut response);
                response
            }
        })
        .or(preflight)
        .unify()
        .boxed()
}

impl Rooms {
    async fn messages(
        &self,
        room: &str,
        headers: &HeaderMap,
        query: &str,
    ) -> Result<Response, Refusal> {
        let room = percent_decode_str(room).decode_utf8();
        let room =
            room.map_err(|_| Refusal::Malformed("the room's name is not UTF-8".to_owned()))?;
        let room = StreamName::from(&*room);
        let knows_key = self.api_key.is_some() && authorize(self.api_key.as_ref(), headers).is_ok();
        if !knows_key {
            if !cors::may_ask(&self.access, headers) {
                return Err(Refusal::Origin);
            }
            self.check_client(&room, headers, query)?;
        }
        let history = self.router.history(room).await?;
        let mut body = Vec::new();
        encode_history(history.iter().map(|publication| &**publication), &mut body);
        Ok(json(StatusCode::OK, body))
    }

    /// Whether a client with these credentials could subscribe to the room.
    fn check_client(
        &self,
        room: &StreamName,
        headers: &HeaderMap,
        query: &str,
    ) -> Result<(), Refusal> {
        let header = headers.get(format!("x-{}", self.token));
        let header = header.map(|token| String::from_utf8_lossy(token.as_bytes()));
        let token = header.filter(|it| !it.is_empty()).or_else(|| parameter(query, &self.token));
        let now = self.clock.unix().as_secs();
        let client = self.access.admit(token.as_deref(), now);
        client.map_err(|refused| Refusal::Unauthorized(refused.to_string()))?;
        let name = room.clone();
        let target = match parameter(query, SIGNED) {
            Some(signed) => Target::SignedFor { name, signed: signed.into_owned() },
            None => Target::Public(name),
        };
        let found = self.access.streams.resolve(target);
        found.map_err(|error| Refusal::Unauthorized(error.to_string()))?;
        Ok(())
    }
}
