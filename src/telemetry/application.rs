//! Handles of the metrics that only a broker with an application has, which it calls. One without doesn't look them up, so it
//! exports none.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use strum::VariantArray;

use super::metrics as names;

/// What the application is called about, as it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Called {
    /// Somebody connects.
    Connect,
    /// A channel is subscribed to.
    Subscribe,
    /// A channel is unsubscribed from.
    Unsubscribe,
    /// An action of a channel.
    Message,
    /// A session is over.
    Disconnect,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CallOutcome {
    /// The application accepted it.
    Success,
    /// The application refused it.
    Failure,
    /// The application said that it failed.
    Error,
    /// The application couldn't be reached in time.
    Unreachable,
    /// It was never sent, since too many waited.
    Overloaded,
    /// No answer came in time.
    Late,
    /// The answer couldn't be used, or the connection was cut.
    Broken,
    /// Nobody waited for the answer any more.
    Abandoned,
}

/// The metrics of calls to the application.
#[derive(Debug)]
pub struct ApplicationInstruments {
    /// See [`names::RPC_CALLS`].
    calls: Vec<(Called, CallOutcome, Counter)>,
    /// See [`names::RPC_CALL_DURATION`].
    pub duration: Histogram,
    /// See [`names::RPC_RETRIES`].
    pub retries: Counter,
    /// See [`names::RPC_WAITING`].
    pub waiting: Gauge,
    /// See [`names::RPC_RUNNING`].
    pub running: Gauge,
    /// See [`names::RPC_LIMIT`].
    pub limit: Gauge,
    /// See [`names::RPC_BREAKER_OPEN`].
    pub breaker_open: Gauge,
    /// See [`names::RPC_DISCONNECTS_WAITING`].
    pub disconnects_waiting: Gauge,
    /// See [`names::RPC_DISCONNECTS_LOST`].
    pub disconnects_lost: Counter,
}

impl ApplicationInstruments {
    /// Describes and looks all of them up, which also exports them at zero.
    pub fn new() -> Self {
        names::describe(names::APPLICATION);
        let each = Called::VARIANTS.iter().flat_map(|called| {
            CallOutcome::VARIANTS.iter().map(move |outcome| (*called, *outcome))
        });
        let calls = each.map(|(called, outcome)| {
            let (command, told): (&'static str, &'static str) = (called.into(), outcome.into());
            (called, outcome, counter!(names::RPC_CALLS, "command" => command, "outcome" => told))
        });
        Self {
            calls: calls.collect(),
            duration: histogram!(names::RPC_CALL_DURATION),
            retries: counter!(names::RPC_RETRIES),
            waiting: gauge!(names::RPC_WAITING),
            running: gauge!(names::RPC_RUNNING),
            limit: gauge!(names::RPC_LIMIT),
            breaker_open: gauge!(names::RPC_BREAKER_OPEN),
            disconnects_waiting: gauge!(names::RPC_DISCONNECTS_WAITING),
            disconnects_lost: counter!(names::RPC_DISCONNECTS_LOST),
        }
    }

    /// Counts a call.
    pub fn count(&self, called: Called, outcome: CallOutcome) {
        let is_it =
            |(one, other, _): &&(Called, CallOutcome, Counter)| *one == called && *other == outcome;
        if let Some((.., counter)) = self.calls.iter().find(is_it) {
            counter.increment(1);
        }
    }
}

impl Default for ApplicationInstruments {
    fn default() -> Self {
        Self::new()
    }
}
