//! `GET /api/rooms/{room}/messages`: what a chat shows of the time before one came.
//!
//! It is for the page as well as for the application: whoever may follow the room may read what was
//! said there, and so may whoever knows the key of `/api`.

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
use crate::methods::only;
use crate::node::Router;
use crate::protocol::chat::encode_history;
use crate::protocol::query::parameter;
use crate::types::{StreamName, Target};

/// The parameter in which a client sends the name that the application signed.
const SIGNED: &str = "signed_stream_name";

/// What reading takes.
#[derive(Debug)]
pub struct Rooms {
    /// What time it is.
    pub clock: Arc<Clock>,
    /// The way to the streams.
    pub router: Arc<Router>,
    /// Who may follow what.
    pub access: Access,
    /// The parameter in which a client sends its token; the header has `x-` in front.
    pub token: String,
    /// What a caller of `/api` must know.
    pub api_key: Option<Secret>,
}

/// What the path takes.
const METHODS: &str = "GET, OPTIONS";

/// Reading the rooms' messages.
pub fn rooms(rooms: Rooms) -> BoxedFilter<(Response,)> {
    let rooms = Arc::new(rooms);
    let path = warp::path!("api" / "rooms" / String / "messages");
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let asked = Arc::clone(&rooms);
    let preflight = path.and(only("OPTIONS", METHODS)).and(warp::header::headers_cloned()).map(
        move |_room, headers: HeaderMap| {
            let origins = asked.access.origins.as_ref();
            answer("rooms", Ok(cors::preflight(origins, &headers, "GET")))
        },
    );
    path.and(only("GET", METHODS))
        .and(warp::header::headers_cloned())
        .and(query)
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
        let history = self.router.history(room).await.map_err(|_| Refusal::Stopping)?;
        let mut body = Vec::new();
        encode_history(history.iter().map(|publication| &**publication), &mut body);
        Ok(json(StatusCode::OK, body))
    }

    /// Whether a client could connect and follow the room with what it says of itself.
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
