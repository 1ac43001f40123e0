//! The defaults of all settings, with reasons. Those of limits on clients' commands are in
//! [`Limits`](crate::types::Limits).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::value::{LogFormat, NatsStorage, TimestampPrecision};

/// Loopback only, until keys are configured or the broker is made public.
pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The port of other Action Cable servers.
pub const PORT: u16 = 8080;

/// Open access has to be requested.
pub const PUBLIC: bool = false;

/// As many as the open-file limit allows: that is the real limit.
pub const MAX_CONNECTIONS: Option<usize> = None;

/// No limit: all clients behind an untrusted proxy, or in an office, share an address.
pub const MAX_CONNECTIONS_PER_ADDRESS: Option<usize> = None;

/// No limit: after a restart all clients reconnect at once, and refused ones retry.
pub const MAX_HANDSHAKES_PER_SECOND: Option<usize> = None;

/// Without other nodes, clients can only wait for the next process.
pub const SHUTDOWN_DRAIN: Duration = Duration::ZERO;

/// Enough to close all connections; below the 10 s after which container runtimes kill.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than a page reload, a change of network or the clients' reconnect delay; short enough
/// that the list of members is current.
pub const PRESENCE_TTL: Duration = Duration::from_secs(15);

/// As long as a user may wait to see themselves on a page.
pub const PRESENCE_FETCH_TIMEOUT: Duration = Duration::from_secs(1);

/// People don't read a number that changes more often.
pub const OCCUPANCY_INTERVAL: Duration = Duration::from_secs(1);

/// What a page shows of a conversation; a client that missed more should reload it.
pub const HISTORY_LIMIT: usize = 100;

/// A tunnel, a lift, a closed laptop; after a longer absence the page reloads anyway.
pub const HISTORY_TTL: Duration = Duration::from_secs(5 * 60);

/// A quarter of a million messages of 1 KiB; a small machine can spare it.
pub const HISTORY_MAX_BYTES: usize = 256 * 1024 * 1024;

/// As long as missed publications are kept: [`HISTORY_TTL`].
pub const SESSIONS_TTL: Duration = HISTORY_TTL;

/// Common for databases that sync in the background.
pub const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// What Action Cable clients expect: they reconnect after 6 s without a ping.
pub const PING_INTERVAL: Option<Duration> = Some(Duration::from_secs(3));

/// The same as in Rails.
pub const PING_TIMESTAMP_PRECISION: TimestampPrecision = TimestampPrecision::Seconds;

/// Below the 30 to 60 s after which proxies and NATs drop a silent connection.
pub const LIVENESS_INTERVAL: Option<Duration> = Some(Duration::from_secs(20));

/// A phone on a bad network answers within seconds, a vanished peer never.
pub const LIVENESS_TIMEOUT: Duration = Duration::from_secs(10);

/// A request's head is one packet; only a stalled or hostile client needs longer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands are small: room for the largest presence info and a generous message.
pub const MAX_MESSAGE_SIZE: usize = 64 * 1024;

/// A few seconds of a busy stream; ten thousand full outboxes still fit in memory.
pub const MAX_OUTBOX_SIZE: usize = 1024 * 1024;

/// If that many join, ten billion join events are sent, as every member gets every one.
pub const MAX_MEMBERS: Option<usize> = Some(100_000);

/// Histories of long messages, lists of tens of thousands of members. A client that reads nothing
/// can make the broker hold as much besides its outbox.
pub const MAX_ANSWER_SIZE: usize = 8 * 1024 * 1024;

/// A batch of a thousand publications of 1 KiB.
pub const MAX_BODY_SIZE: usize = 1024 * 1024;

/// A token and a page's cookies fit; what HTTP servers commonly allow.
pub const MAX_HEADER_SIZE: usize = 16 * 1024;

/// The example is for trying the broker out, not for production.
pub const EXAMPLES: bool = false;

/// A page that shows all members has to be requested.
pub const DASHBOARD: bool = false;

/// Start, stop and what needs attention; no line per connection.
pub const LOG_LEVEL: &str = "info";

/// For people; collectors ask for JSON.
pub const LOG_FORMAT: LogFormat = LogFormat::Text;

/// Several clusters on one engine are told apart by their names.
pub const CLUSTER_NAME: &str = "broker";

/// The nodes have everything, too.
pub const NATS_STORAGE: NatsStorage = NatsStorage::Memory;

/// The nodes have everything, and put back what is lost.
pub const NATS_REPLICAS: u8 = 1;

/// Longer than a busy machine stands still, and short enough that nobody sees the dead for long.
pub const NODE_LEASE: Duration = Duration::from_secs(10);

/// What a client or the application waits for at most.
pub const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);

/// Above most applications' 99th percentile, and below the time that a client waits.
pub const RPC_REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// A call may wait and be repeated, and clients give up after 10 s.
pub const RPC_COMMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// What an application answers within [`RPC_COMMAND_TIMEOUT`], many times.
pub const RPC_BACKLOG: usize = 4096;

/// Answers are a few frames; each call in flight may hold one.
pub const RPC_MAX_ANSWER: usize = 1024 * 1024;

/// What sessions are known by.
pub const HEADERS: &str = "cookie";

/// As many as AnyCable tells, which an application bears besides its work.
pub const DISCONNECT_RATE: Option<usize> = Some(100);
