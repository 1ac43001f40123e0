//! Handles of the metrics, looked up once so that counting is one atomic addition.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use strum::VariantArray;

use super::metrics as names;
use crate::types::{
    CloseReason, CommandKind, DropCause, FetchOutcome, HandshakeFailure, JoinCause, LeaveCause,
    Limit, ResumeOutcome, UpdateCause,
};

/// All metrics that are counted per connection, frame or request.
#[derive(Debug)]
pub struct Instruments {
    /// See [`names::CONNECTIONS`].
    pub connections: Gauge,
    /// See [`names::CONNECTIONS_OPENED`].
    pub connections_opened: Counter,
    /// See [`names::SESSIONS`].
    pub sessions: Gauge,
    /// See [`names::SESSIONS_PARKED`].
    pub sessions_parked: Gauge,
    /// See [`names::RESUMES`].
    pub resumes: Labelled<ResumeOutcome>,
    /// See [`names::STREAMS`].
    pub streams: Gauge,
    /// See [`names::SUBSCRIPTIONS`].
    pub subscriptions: Gauge,
    /// See [`names::PUBLICATIONS`].
    pub publications: Counter,
    /// See [`names::DELIVERIES`].
    pub deliveries: Counter,
    /// See [`names::RECEIVED_BYTES`].
    pub received_bytes: Counter,
    /// See [`names::SENT_BYTES`].
    pub sent_bytes: Counter,
    /// See [`names::PRESENCE_MEMBERS`].
    pub members: Gauge,
    /// See [`names::PRESENCE_RECORDS`].
    pub records: Gauge,
    /// See [`names::PRESENCE_FETCHES`].
    pub fetches: Labelled<FetchOutcome>,
    /// See [`names::HISTORY_PUBLICATIONS`].
    pub history_publications: Gauge,
    /// See [`names::HISTORY_BYTES`].
    pub history_bytes: Gauge,
    /// See [`names::HISTORY_DROPPED`].
    pub history_dropped: Labelled<DropCause>,
    /// See [`names::HISTORY_REQUESTS`]: answered in full.
    pub histories_ok: Counter,
    /// See [`names::HISTORY_REQUESTS`]: refused.
    pub histories_refused: Counter,
    /// See [`names::STATE_BYTES`].
    pub state_bytes: Gauge,
    /// See [`names::STATE_FAILING`].
    pub state_failing: Gauge,
    /// See [`names::STATE_FAILURES`].
    pub state_failures: Counter,
    /// See [`names::EXPIRY_LAG`].
    pub expiry_lag: Histogram,
    /// See [`names::FANOUT_DURATION`].
    pub fanout_duration: Histogram,
    /// See [`names::OUTBOX_OVERFLOWS`].
    pub outbox_overflows: Counter,
    /// See [`names::CONNECTIONS_CLOSED`].
    pub closed: Labelled<CloseReason>,
    /// See [`names::HANDSHAKE_FAILURES`].
    pub handshake_failures: Labelled<HandshakeFailure>,
    /// See [`names::TLS_RELOADS`]: successful ones.
    pub tls_reloads_ok: Counter,
    /// See [`names::TLS_RELOADS`]: failed ones.
    pub tls_reloads_failed: Counter,
    /// See [`names::COMMANDS`]: accepted ones.
    pub commands_ok: Labelled<CommandKind>,
    /// See [`names::COMMANDS`]: refused ones.
    pub commands_refused: Labelled<CommandKind>,
    /// See [`names::LIMIT_REFUSALS`].
    pub limits: Labelled<Limit>,
    /// See [`names::PRESENCE_JOINS`].
    pub joins: Labelled<JoinCause>,
    /// See [`names::PRESENCE_LEAVES`].
    pub leaves: Labelled<LeaveCause>,
    /// See [`names::PRESENCE_UPDATES`].
    pub updates: Labelled<UpdateCause>,
}

/// One counter per value of a label.
#[derive(Debug)]
pub struct Labelled<K>(Vec<(K, Counter)>);

impl<K: Copy + Into<&'static str>> Labelled<K> {
    /// One counter for each variant.
    pub(super) fn new(counter: impl Fn(&'static str) -> Counter) -> Self
    where
        K: VariantArray,
    {
        Self::of(K::VARIANTS.iter().copied(), counter)
    }

    fn of(values: impl IntoIterator<Item = K>, counter: impl Fn(&'static str) -> Counter) -> Self {
        Self(values.into_iter().map(|value| (value, counter(value.into()))).collect())
    }
}

impl<K: Copy + PartialEq> Labelled<K> {
    /// Adds one.
    pub fn increment(&self, value: K) {
        self.add(value, 1);
    }

    /// Adds `count`.
    pub fn add(&self, value: K, count: u64) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == value) {
            counter.increment(count);
        }
    }
}

impl Instruments {
    /// Looks all of them up, which also exports them at zero.
    pub fn new() -> Self {
        let command =
            |kind, outcome| counter!(names::COMMANDS, "command" => kind, "outcome" => outcome);
        Self {
            connections: gauge!(names::CONNECTIONS),
            connections_opened: counter!(names::CONNECTIONS_OPENED),
            sessions: gauge!(names::SESSIONS),
            sessions_parked: gauge!(names::SESSIONS_PARKED),
            resumes: Labelled::new(|outcome| counter!(names::RESUMES, "outcome" => outcome)),
            streams: gauge!(names::STREAMS),
            subscriptions: gauge!(names::SUBSCRIPTIONS),
            publications: counter!(names::PUBLICATIONS),
            deliveries: counter!(names::DELIVERIES),
            received_bytes: counter!(names::RECEIVED_BYTES),
            sent_bytes: counter!(names::SENT_BYTES),
            members: gauge!(names::PRESENCE_MEMBERS),
            records: gauge!(names::PRESENCE_RECORDS),
            fetches: Labelled::new(
                |outcome| counter!(names::PRESENCE_FETCHES, "outcome" => outcome),
            ),
            history_publications: gauge!(names::HISTORY_PUBLICATIONS),
            history_bytes: gauge!(names::HISTORY_BYTES),
            history_dropped: Labelled::new(
                |cause| counter!(names::HISTORY_DROPPED, "cause" => cause),
            ),
            histories_ok: counter!(names::HISTORY_REQUESTS, "outcome" => "ok"),
            histories_refused: counter!(names::HISTORY_REQUESTS, "outcome" => "refused"),
            state_bytes: gauge!(names::STATE_BYTES),
            state_failing: gauge!(names::STATE_FAILING),
            state_failures: counter!(names::STATE_FAILURES),
            expiry_lag: histogram!(names::EXPIRY_LAG),
            fanout_duration: histogram!(names::FANOUT_DURATION),
            outbox_overflows: counter!(names::OUTBOX_OVERFLOWS),
            closed: Labelled::of(
                CloseReason::all(),
                |reason| counter!(names::CONNECTIONS_CLOSED, "reason" => reason),
            ),
            handshake_failures: Labelled::new(
                |failure| counter!(names::HANDSHAKE_FAILURES, "reason" => failure),
            ),
            tls_reloads_ok: counter!(names::TLS_RELOADS, "outcome" => "ok"),
            tls_reloads_failed: counter!(names::TLS_RELOADS, "outcome" => "failed"),
            commands_ok: Labelled::new(|kind| command(kind, "ok")),
            commands_refused: Labelled::new(|kind| command(kind, "refused")),
            limits: Labelled::new(|limit| counter!(names::LIMIT_REFUSALS, "limit" => limit)),
            joins: Labelled::new(|cause| counter!(names::PRESENCE_JOINS, "cause" => cause)),
            leaves: Labelled::new(|cause| counter!(names::PRESENCE_LEAVES, "cause" => cause)),
            updates: Labelled::new(|cause| counter!(names::PRESENCE_UPDATES, "cause" => cause)),
        }
    }
}

impl Default for Instruments {
    fn default() -> Self {
        Self::new()
    }
}
