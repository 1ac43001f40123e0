//! Handles of the metrics that only a node of a cluster has. A broker alone doesn't look them up, so it exports none.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use strum::VariantArray;

use super::instruments::Labelled;
use super::metrics as names;

/// Why the engine is connected to anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EngineFault {
    /// Nothing answers at its address, or TLS fails.
    Unreachable,
    /// An answer took too long.
    Timeout,
    /// It ended a connection.
    Closed,
    /// The subscribed connection brought nothing, although there was something.
    Silent,
    /// It refused a command: permissions, memory, a replica.
    Refused,
    /// It is something else than the broker can use.
    Unusable,
}

/// What a node of a cluster does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum NodeState {
    /// It starts, and has yet to read what the others know.
    CatchingUp,
    /// It serves.
    Current,
    /// It hasn't heard of the engine for its lease.
    Behind,
    /// A newer version has written what it doesn't understand.
    Outdated,
    /// It stops.
    Stopping,
}

/// How another node has left the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Departure {
    /// It said so.
    Stopped,
    /// Its beats stayed out for its lease.
    Dead,
}

/// What came of comparing another node's digest with this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Comparison {
    /// Both nodes have the same.
    Equal,
    /// They differ.
    Different,
}

/// Why every node skips a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum BatchRefusal {
    /// Its node was believed dead by then.
    Gone,
    /// It was applied before.
    Again,
    /// One that came before it was lost.
    Missing,
    /// It was written by other rules than those in force.
    Rules,
    /// It can't be decoded.
    Unreadable,
    /// No node with the cluster's secret has written it there.
    Forged,
}

/// The metrics of the connections to an engine.
#[derive(Debug)]
pub struct EngineInstruments {
    /// See [`names::ENGINE_CONNECTED`].
    pub connected: Gauge,
    /// See [`names::ENGINE_RECONNECTS`].
    pub reconnects: Labelled<EngineFault>,
    /// See [`names::ENGINE_RESTORED_LOGS`].
    pub restored_logs: Counter,
}

impl EngineInstruments {
    /// Looks all of them up, which also exports them at zero.
    pub fn new() -> Self {
        let connected = gauge!(names::ENGINE_CONNECTED);
        connected.set(0.0);
        Self {
            connected,
            reconnects: Labelled::new(
                |reason| counter!(names::ENGINE_RECONNECTS, "reason" => reason),
            ),
            restored_logs: counter!(names::ENGINE_RESTORED_LOGS),
        }
    }
}

impl Default for EngineInstruments {
    fn default() -> Self {
        Self::new()
    }
}

/// The metrics of a node among others, and of the logs.
#[derive(Debug)]
pub struct ClusterInstruments {
    /// See [`names::ENGINE_APPEND`].
    pub append: Histogram,
    /// See [`names::ENGINE_BATCH_ENTRIES`].
    pub batch_entries: Histogram,
    /// See [`names::ENGINE_BATCH_BYTES`].
    pub batch_bytes: Histogram,
    /// See [`names::ENGINE_TAIL_LAG`].
    pub tail_lag: Histogram,
    /// See [`names::ENGINE_LOG_BYTES`].
    pub log_bytes: Gauge,
    /// See [`names::ENGINE_SNAPSHOT_DURATION`].
    pub snapshot_duration: Histogram,
    /// See [`names::ENGINE_SNAPSHOT_TIME`].
    pub snapshot_time: Gauge,
    /// See [`names::ENGINE_SNAPSHOT_BYTES`].
    pub snapshot_bytes: Gauge,
    /// See [`names::ENGINE_SNAPSHOT_FAILURES`].
    pub snapshot_failures: Counter,
    /// See [`names::CLUSTER_MEMBERS`].
    pub members: Gauge,
    /// See [`names::CLUSTER_RULES`].
    pub rules: Gauge,
    /// See [`names::CLUSTER_STATE`]: one for each state.
    states: Vec<(NodeState, Gauge)>,
    /// See [`names::CLUSTER_DEPARTURES`].
    pub departures: Labelled<Departure>,
    /// See [`names::CLUSTER_EXCLUSIONS`].
    pub exclusions: Counter,
    /// See [`names::CLUSTER_FORKS`].
    pub forks: Counter,
    /// See [`names::CLUSTER_DIVERGENCES`].
    pub divergences: Counter,
    /// See [`names::CLUSTER_DIGESTS`].
    pub digests: Labelled<Comparison>,
    /// See [`names::CLUSTER_REFUSED_BATCHES`].
    pub refused_batches: Labelled<BatchRefusal>,
}

impl ClusterInstruments {
    /// Describes the metrics of a cluster, and looks these up, which also exports them at zero.
    pub fn new() -> Self {
        names::describe(names::CLUSTER);
        let states = NodeState::VARIANTS.iter().map(|state| {
            let label: &'static str = state.into();
            (*state, gauge!(names::CLUSTER_STATE, "state" => label))
        });
        let instruments = Self {
            append: histogram!(names::ENGINE_APPEND),
            batch_entries: histogram!(names::ENGINE_BATCH_ENTRIES),
            batch_bytes: histogram!(names::ENGINE_BATCH_BYTES),
            tail_lag: histogram!(names::ENGINE_TAIL_LAG),
            log_bytes: gauge!(names::ENGINE_LOG_BYTES),
            snapshot_duration: histogram!(names::ENGINE_SNAPSHOT_DURATION),
            snapshot_time: gauge!(names::ENGINE_SNAPSHOT_TIME),
            snapshot_bytes: gauge!(names::ENGINE_SNAPSHOT_BYTES),
            snapshot_failures: counter!(names::ENGINE_SNAPSHOT_FAILURES),
            members: gauge!(names::CLUSTER_MEMBERS),
            rules: gauge!(names::CLUSTER_RULES),
            states: states.collect(),
            departures: Labelled::new(
                |cause| counter!(names::CLUSTER_DEPARTURES, "cause" => cause),
            ),
            exclusions: counter!(names::CLUSTER_EXCLUSIONS),
            forks: counter!(names::CLUSTER_FORKS),
            divergences: counter!(names::CLUSTER_DIVERGENCES),
            digests: Labelled::new(
                |outcome| counter!(names::CLUSTER_DIGESTS, "outcome" => outcome),
            ),
            refused_batches: Labelled::new(
                |reason| counter!(names::CLUSTER_REFUSED_BATCHES, "reason" => reason),
            ),
        };
        instruments.set_state(NodeState::CatchingUp);
        instruments
    }

    /// Exports the state that the node is in.
    pub fn set_state(&self, is: NodeState) {
        for (state, gauge) in &self.states {
            gauge.set(if *state == is { 1.0 } else { 0.0 });
        }
    }
}

impl Default for ClusterInstruments {
    fn default() -> Self {
        Self::new()
    }
}
