//! Every metric's name, kind and meaning, in one place.
//!
//! `docs/METRICS.md` lists the same; `tests/process/` holds the two together.

use metrics::Unit;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A metric's name and meaning.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name Prometheus shows.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// What it means.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($konst:ident = $kind:ident $name:literal $unit:ident $help:literal;)*) => {
        $(#[doc = $help] pub const $konst: &str = $name;)*

        /// All of them, in the order of `docs/METRICS.md`.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help },)*
        ];
    };
}

metrics! {
    BUILD_INFO = Gauge "broker_build_info" Count "Always 1; the label `version` says which broker this is.";
    CONNECTIONS = Gauge "broker_connections" Count "WebSocket connections open now.";
    CONNECTIONS_OPENED = Counter "broker_connections_opened_total" Count "WebSocket connections opened.";
    CONNECTIONS_CLOSED = Counter "broker_connections_closed_total" Count "WebSocket connections ended, by `reason`.";
    HANDSHAKE_FAILURES = Counter "broker_handshake_failures_total" Count "Connections that never became a WebSocket, by `reason`.";
    TLS_RELOADS = Counter "broker_tls_reloads_total" Count "Times the TLS certificate was read again, by `outcome` (ok, failed).";
    SESSIONS = Gauge "broker_sessions" Count "Sessions that have a connection now.";
    SESSIONS_PARKED = Gauge "broker_sessions_parked" Count "Sessions whose connection has ended and that can be resumed now.";
    RESUMES = Counter "broker_resumes_total" Count "Connections that asked for an earlier session, by `outcome` (resumed, partly, unknown, denied).";
    STREAMS = Gauge "broker_streams" Count "Streams with subscribers, members or history now.";
    SUBSCRIPTIONS = Gauge "broker_subscriptions" Count "Subscriptions of open connections now.";
    COMMANDS = Counter "broker_commands_total" Count "Commands from clients, by `command` and `outcome` (ok, refused).";
    LIMIT_REFUSALS = Counter "broker_limit_refusals_total" Count "Commands refused for a limit, by `limit`.";
    HTTP_REQUESTS = Counter "broker_http_requests_total" Count "HTTP requests answered, by `endpoint` and `status`.";
    PUBLICATIONS = Counter "broker_publications_total" Count "Messages accepted from the application for a stream.";
    DELIVERIES = Counter "broker_deliveries_total" Count "Messages for a subscriber (publications, whispers, presence changes, answers): one to ten subscribers counts ten.";
    RECEIVED_BYTES = Counter "broker_received_bytes_total" Bytes "Bytes read from WebSockets.";
    SENT_BYTES = Counter "broker_sent_bytes_total" Bytes "Bytes written to WebSockets.";
    PRESENCE_MEMBERS = Gauge "broker_presence_members" Count "Members present now, over all streams.";
    PRESENCE_RECORDS = Gauge "broker_presence_records" Count "Presence records now: one for each session a member has in a stream.";
    PRESENCE_JOINS = Counter "broker_presence_joins_total" Count "Members that arrived, by `cause` (joined, subscribed, put).";
    PRESENCE_LEAVES = Counter "broker_presence_leaves_total" Count "Members that left, by `cause` (left, unsubscribed, expired, kicked).";
    PRESENCE_UPDATES = Counter "broker_presence_updates_total" Count "Members whose info changed, by `cause` (changed, departed).";
    PRESENCE_FETCHES = Counter "broker_presence_fetches_total" Count "Joins for which the application was asked what it knows of them, by `outcome` (fetched, cached, timeout, failed, invalid).";
    HISTORY_PUBLICATIONS = Gauge "broker_history_publications" Count "Publications kept for clients that were away.";
    HISTORY_BYTES = Gauge "broker_history_bytes" Bytes "Memory that kept publications take.";
    HISTORY_DROPPED = Counter "broker_history_dropped_total" Count "Publications no longer kept, by `cause` (limit, expired, memory).";
    HISTORY_REQUESTS = Counter "broker_history_requests_total" Count "Requests for what was missed, by `outcome` (ok, refused).";
    STATE_BYTES = Gauge "broker_state_bytes" Bytes "Size of the files in `--state-dir` that are in use.";
    STATE_FAILING = Gauge "broker_state_failing" Count "Shards whose state isn't on disk, as it can't be written now.";
    STATE_FAILURES = Counter "broker_state_failures_total" Count "Failures to write state to disk.";
    EXPIRY_LAG = Histogram "broker_expiry_lag_seconds" Seconds "How much later than its TTL a record was removed.";
    FANOUT_DURATION = Histogram "broker_fanout_duration_seconds" Seconds "From the start to the end of telling all of a stream's subscribers what is new.";
    OUTBOX_OVERFLOWS = Counter "broker_outbox_overflows_total" Count "Connections ended because their client read too slowly.";
    SHARD_QUEUE_DEPTH = Gauge "broker_shard_queue_depth" Count "Inputs waiting for a shard, by `shard`.";
    TASKS = Gauge "broker_tasks" Count "Tasks of the runtime now: one for each connection and some for the broker itself.";
    PAUSED_SECONDS = Counter "broker_paused_seconds_total" Seconds "Time in which the process did not run (stopped, suspended, starved). It counts against no TTL and no timeout.";
    LOG_LINES_LOST = Counter "broker_log_lines_lost_total" Count "Log lines that could not be written to standard error, or not fast enough.";
    START_TIME = Gauge "broker_start_time_seconds" Seconds "When the broker started, in seconds of the Unix epoch.";
    OPEN_FILE_LIMIT = Gauge "broker_open_file_limit" Count "Most files the process may have open; each connection is one.";
}

/// Tells the recorder what each metric means.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}
