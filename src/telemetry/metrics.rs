//! Names, kinds and help texts of all metrics.
//!
//! `docs/METRICS.md` lists the same; a test compares the two.

use metrics::Unit;

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Grows and shrinks.
    Gauge,
    /// Distribution of values.
    Histogram,
}

/// A metric's name, kind, unit and help.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name in Prometheus.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Unit.
    pub unit: Unit,
    /// Help text.
    pub help: &'static str,
}

macro_rules! metrics {
    ($(#[$about:meta])* $all:ident: $($konst:ident = $kind:ident $name:literal $unit:ident $help:literal;)*) => {
        $(#[doc = $help] pub const $konst: &str = $name;)*

        $(#[$about])*
        pub const $all: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help },)*
        ];
    };
}

metrics! {
    /// The metrics of every broker, in the order of `docs/METRICS.md`.
    ALL:
    BUILD_INFO = Gauge "broker_build_info" Count "Always 1; the label `version` is the broker's version.";
    CONNECTIONS = Gauge "broker_connections" Count "Client connections open now: WebSockets, event streams and long-polling clients.";
    CONNECTIONS_OPENED = Counter "broker_connections_opened_total" Count "Client connections opened: WebSockets, event streams and long-polling clients.";
    CONNECTIONS_CLOSED = Counter "broker_connections_closed_total" Count "Client connections closed, by `reason`.";
    HANDSHAKE_FAILURES = Counter "broker_handshake_failures_total" Count "Connection attempts refused or broken off before the handshake was complete, by `reason`.";
    TLS_RELOADS = Counter "broker_tls_reloads_total" Count "Reloads of the TLS certificate, by `outcome` (ok, failed).";
    SESSIONS = Gauge "broker_sessions" Count "Sessions with a connection now.";
    SESSIONS_PARKED = Gauge "broker_sessions_parked" Count "Sessions without a connection that can be resumed now.";
    RESUMES = Counter "broker_resumes_total" Count "Attempts to resume a session, by `outcome` (resumed, partly, unknown, denied).";
    STREAMS = Gauge "broker_streams" Count "Streams with subscribers, members, history or parked sessions now.";
    SUBSCRIPTIONS = Gauge "broker_subscriptions" Count "Subscriptions of open connections now.";
    COMMANDS = Counter "broker_commands_total" Count "Client commands, by `command` and `outcome` (ok, refused).";
    LIMIT_REFUSALS = Counter "broker_limit_refusals_total" Count "Client commands, and records put by the application, refused because of a limit, by `limit`.";
    HTTP_REQUESTS = Counter "broker_http_requests_total" Count "HTTP requests answered, by `endpoint` and `status`.";
    PUBLICATIONS = Counter "broker_publications_total" Count "Publications accepted, from the application and from clients.";
    DELIVERIES = Counter "broker_deliveries_total" Count "Messages sent to subscribers (publications, whispers, presence events, replies): one message to ten subscribers counts ten.";
    RECEIVED_BYTES = Counter "broker_received_bytes_total" Bytes "Bytes read from client connections.";
    SENT_BYTES = Counter "broker_sent_bytes_total" Bytes "Bytes written to client connections.";
    PRESENCE_MEMBERS = Gauge "broker_presence_members" Count "Members present now, summed over all streams.";
    PRESENCE_RECORDS = Gauge "broker_presence_records" Count "Presence records now: one per session (or application record) of a member in a stream.";
    PRESENCE_JOINS = Counter "broker_presence_joins_total" Count "Members that joined, by `cause` (joined, subscribed, put).";
    PRESENCE_LEAVES = Counter "broker_presence_leaves_total" Count "Members that left, by `cause` (left, unsubscribed, expired, kicked).";
    PRESENCE_UPDATES = Counter "broker_presence_updates_total" Count "Members whose info changed, by `cause` (changed, departed).";
    PRESENCE_FETCHES = Counter "broker_presence_fetches_total" Count "Presence lookups at the application for joins, by `outcome` (fetched, cached, timeout, failed, invalid).";
    HISTORY_PUBLICATIONS = Gauge "broker_history_publications" Count "Publications kept in histories.";
    HISTORY_BYTES = Gauge "broker_history_bytes" Bytes "Memory of the publications kept in histories.";
    HISTORY_DROPPED = Counter "broker_history_dropped_total" Count "Publications dropped from histories, by `cause` (limit, expired, memory).";
    HISTORY_REQUESTS = Counter "broker_history_requests_total" Count "History requests of clients, by `outcome` (ok, refused).";
    STATE_BYTES = Gauge "broker_state_bytes" Bytes "Size of the state files in use in `--state-dir`.";
    STATE_FAILING = Gauge "broker_state_failing" Count "Shards that can't write their state to disk now.";
    STATE_FAILURES = Counter "broker_state_failures_total" Count "Failed writes of state to disk.";
    EXPIRY_LAG = Histogram "broker_expiry_lag_seconds" Seconds "Delay between the end of a record's TTL and its removal.";
    FANOUT_DURATION = Histogram "broker_fanout_duration_seconds" Seconds "Duration of a fan-out: from a stream's first unsent message until all its subscribers have been sent it. Includes deliberate waits of up to 50 ms.";
    OUTBOX_OVERFLOWS = Counter "broker_outbox_overflows_total" Count "Connections closed because their outbox overflowed: the client read too slowly.";
    SHARD_QUEUE_DEPTH = Gauge "broker_shard_queue_depth" Count "Inputs in a shard's queue, by `shard`.";
    TASKS = Gauge "broker_tasks" Count "Runtime tasks now: one per connection, plus the broker's own.";
    PAUSED_SECONDS = Counter "broker_paused_seconds_total" Seconds "Time in which the process was paused (stopped, suspended, starved). TTLs and timeouts don't include it.";
    LOG_LINES_LOST = Counter "broker_log_lines_lost_total" Count "Log lines lost because standard error failed or was too slow.";
    START_TIME = Gauge "broker_start_time_seconds" Seconds "Start time of the broker, in seconds of the Unix epoch.";
    OPEN_FILE_LIMIT = Gauge "broker_open_file_limit" Count "Open-file limit of the process. Each connection needs a file.";
}

metrics! {
    /// The metrics that a node of a cluster has besides, likewise.
    CLUSTER:
    ENGINE_CONNECTED = Gauge "broker_engine_connected" Count "1 while all servers of the engine answer, 0 while one is being connected to.";
    ENGINE_RECONNECTS = Counter "broker_engine_reconnects_total" Count "Faults after which the engine was connected to anew, by `reason`.";
    ENGINE_RESTORED_LOGS = Counter "broker_engine_restored_logs_total" Count "Logs that the engine had lost a part of, and that this node has put back.";
    ENGINE_APPEND = Histogram "broker_engine_append_seconds" Seconds "Time from this node's first attempt to append a batch until it came back in the log.";
    ENGINE_BATCH_ENTRIES = Histogram "broker_engine_batch_entries" Count "Items of the batches that this node appended.";
    ENGINE_BATCH_BYTES = Histogram "broker_engine_batch_bytes" Bytes "Size of the batches that this node appended.";
    ENGINE_TAIL_LAG = Histogram "broker_engine_tail_lag_seconds" Seconds "Time from a batch's arrival in the log until this node applied it.";
    ENGINE_LOG_BYTES = Gauge "broker_engine_log_bytes" Bytes "Size of the logs of all partitions since their last snapshots.";
    ENGINE_SNAPSHOT_DURATION = Histogram "broker_engine_snapshot_seconds" Seconds "Time in which this node wrote the snapshot of a partition.";
    ENGINE_SNAPSHOT_TIME = Gauge "broker_engine_snapshot_time_seconds" Seconds "Time of the last snapshot of any partition, by any node, in seconds of the Unix epoch.";
    ENGINE_SNAPSHOT_BYTES = Gauge "broker_engine_snapshot_bytes" Bytes "Size of the snapshots of all partitions, as this node last read or wrote each.";
    ENGINE_SNAPSHOT_FAILURES = Counter "broker_engine_snapshot_failures_total" Count "Snapshots that this node couldn't write.";
    CLUSTER_MEMBERS = Gauge "broker_cluster_members" Count "Nodes of the cluster now, as this one sees it.";
    CLUSTER_STATE = Gauge "broker_cluster_state" Count "1 for the `state` that this node is in, 0 for the others.";
    CLUSTER_DEPARTURES = Counter "broker_cluster_departures_total" Count "Other nodes that have left the cluster, by `cause` (stopped, dead).";
    CLUSTER_EXCLUSIONS = Counter "broker_cluster_exclusions_total" Count "Times that the other nodes believed this one dead.";
    CLUSTER_RULES = Gauge "broker_cluster_rules" Count "The rules by which the nodes understand their logs.";
    CLUSTER_FORKS = Counter "broker_cluster_forks_total" Count "Times that the histories of a partition began again, since the log may lack something.";
    CLUSTER_DIVERGENCES = Counter "broker_cluster_divergences_total" Count "Times that this process began again as a new node, since the log had gone on without what it was told there.";
    CLUSTER_DIGESTS = Counter "broker_cluster_digests_total" Count "Digests of other nodes that were compared with this node's own, by `outcome` (equal, different).";
    CLUSTER_REFUSED_BATCHES = Counter "broker_cluster_refused_batches_total" Count "Batches of any node that every node skips, by `reason` (gone, again, missing, rules, unreadable, forged).";
}

metrics! {
    /// The metrics that a broker with an application has besides, which it calls, likewise.
    APPLICATION:
    RPC_CALLS = Counter "broker_rpc_calls_total" Count "Calls to the application, by `command` and `outcome`.";
    RPC_CALL_DURATION = Histogram "broker_rpc_call_seconds" Seconds "Time until a call has its reply, with its wait and its repeats.";
    RPC_RETRIES = Counter "broker_rpc_retries_total" Count "Repeats of calls that the application surely hadn't run.";
    RPC_WAITING = Gauge "broker_rpc_waiting" Count "Calls that wait for their turn now.";
    RPC_RUNNING = Gauge "broker_rpc_running" Count "Calls that the application has now.";
    RPC_LIMIT = Gauge "broker_rpc_limit" Count "Calls that the application may have at a time, beside those that hang.";
    RPC_BREAKER_OPEN = Gauge "broker_rpc_breaker_open" Count "1 while no call gets through to the application, and only one now and then is sent; else 0.";
    RPC_DISCONNECTS_WAITING = Gauge "broker_rpc_disconnects_waiting" Count "Ends of sessions that the application is yet to be told.";
    RPC_DISCONNECTS_LOST = Counter "broker_rpc_disconnects_lost_total" Count "Ends of sessions that the application wasn't told: too many waited, or it failed again and again.";
}

/// Registers the help texts of metrics with the recorder.
pub fn describe(metrics: &[Metric]) {
    for metric in metrics {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}
