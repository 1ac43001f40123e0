//! What every setting is when nobody sets it, and why. The bounds of what clients send have
//! theirs in [`Limits`](crate::types::Limits).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::settings::{LogFormat, TimestampPrecision};

/// This machine alone: without keys and tokens nobody else may be served unasked.
pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where the Action Cable servers people know listen.
pub const PORT: u16 = 8080;

/// Only loopback, until it is said that everyone is meant.
pub const PUBLIC: bool = false;

/// As many as the process may open files: the operating system's limit is the one that is real.
pub const MAX_CONNECTIONS: Option<usize> = None;

/// No limit: behind a proxy that isn't among the trusted ones all clients have one address, and
/// so have all in an office.
pub const MAX_CONNECTIONS_PER_ADDRESS: Option<usize> = None;

/// No limit: a restart brings everyone back at once, and each one turned away comes again.
pub const MAX_HANDSHAKES_PER_SECOND: Option<usize> = None;

/// Enough to tell every client that a restart is coming; below the 10 s after which container
/// runtimes kill.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than a reload, a change of network or the clients' own reconnect delay; short enough
/// that someone who has gone is seen to have gone.
pub const PRESENCE_TTL: Duration = Duration::from_secs(15);

/// As long as somebody looks at a page that doesn't show them yet.
pub const PRESENCE_FETCH_TIMEOUT: Duration = Duration::from_secs(1);

/// A number that changes more often is read by nobody.
pub const OCCUPANCY_INTERVAL: Duration = Duration::from_secs(1);

/// What a page shows of a conversation; a client that missed more does better to load it anew.
pub const HISTORY_LIMIT: usize = 100;

/// A tunnel, a lift or a laptop's lid; who is away for longer comes back to a page that loads.
pub const HISTORY_TTL: Duration = Duration::from_secs(5 * 60);

/// A quarter of a million messages of 1 KiB; what a small machine can spare.
pub const HISTORY_MAX_BYTES: usize = 256 * 1024 * 1024;

/// As long as what was missed can be told: [`HISTORY_TTL`].
pub const SESSIONS_TTL: Duration = HISTORY_TTL;

/// What databases that sync in the background commonly do; far more often than power is lost.
pub const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// What Action Cable clients expect: they reconnect when they hear nothing for 6 s.
pub const PING_INTERVAL: Option<Duration> = Some(Duration::from_secs(3));

/// What Rails sends.
pub const PING_TIMESTAMP_PRECISION: TimestampPrecision = TimestampPrecision::Seconds;

/// Below the 30 to 60 s after which proxies and NATs forget a silent connection.
pub const LIVENESS_INTERVAL: Option<Duration> = Some(Duration::from_secs(20));

/// A phone on a bad network answers within seconds, a vanished peer never.
pub const LIVENESS_TIMEOUT: Duration = Duration::from_secs(10);

/// A request's head is one packet; only a stalled or hostile peer needs longer.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Commands are small: room for the largest presence info and a generous message.
pub const MAX_MESSAGE_SIZE: usize = 64 * 1024;

/// A few seconds of a busy stream for a slow reader; ten thousand of them still fit in memory.
pub const MAX_OUTBOX_SIZE: usize = 1024 * 1024;

/// Beyond it, all of them arriving would be ten billion messages: each is told to each.
pub const MAX_MEMBERS: Option<usize> = Some(100_000);

/// Histories of long messages, lists of tens of thousands of members; as much as a client that reads
/// nothing may make the broker hold besides its outbox.
pub const MAX_ANSWER_SIZE: usize = 8 * 1024 * 1024;

/// A batch of a thousand publications of 1 KiB.
pub const MAX_BODY_SIZE: usize = 1024 * 1024;

/// A token and a page's cookies fit; what HTTP servers commonly allow.
pub const MAX_HEADER_SIZE: usize = 16 * 1024;

/// An example is for trying the broker out, not for where it serves.
pub const EXAMPLES: bool = false;

/// What shows everyone who is present is there when it is asked for.
pub const DASHBOARD: bool = false;

/// The start, the end and what needs attention; never a line per frame.
pub const LOG_LEVEL: &str = "info";

/// For people; collectors ask for JSON.
pub const LOG_FORMAT: LogFormat = LogFormat::Text;
