//! Connections of clients, whatever carries them: WebSockets, streams of events, and long polling.
//!
//! ```text
//! application   the one that is asked about clients and channels
//! admission     where a client is, and whether there is room for it
//! handshake     a request: what it asks for, a refusal or an opening; the route of WebSockets
//! event_stream, longpoll    the routes of the other two
//! connections   a task each, from the welcome to the end
//! heartbeat     one task that pings them all
//! known         what the application knows of sessions, and that they are over
//! http_io       the connection below a request, taken out of hyper
//! ```

mod admission;
mod application;
mod connections;
mod context;
mod event_stream;
mod handshake;
mod heartbeat;
mod http_io;
mod known;
mod longpoll;

pub use admission::{AdmissionError, ConnectionLimits, Peer, Permit, network};
pub use application::Application;
pub use connections::{Connection, Greeting};
pub use context::{Context, Settings, TokenName};
pub use event_stream::route as event_stream;
pub use handshake::{OriginRules, route as websocket};
pub use heartbeat::{Heartbeat, Liveness};
pub use http_io::{HttpIo, Watch, Watched};
pub use longpoll::route as long_polling;
