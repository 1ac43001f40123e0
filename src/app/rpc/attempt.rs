//! What comes of one attempt to get an answer.

use std::time::Duration;

use strum::VariantArray;

use crate::types::{CallFailure, Reply};

/// Number of characters of an application's text that are logged.
pub(super) const MAX_TEXT: usize = 200;

/// The application's answer, or what is wrong.
pub(super) type Attempt = Result<Box<Reply>, Fault>;

/// Why an attempt has no answer.
#[derive(Debug)]
pub(super) struct Fault {
    /// What it is.
    pub(super) kind: FaultKind,
    /// Whether the application surely hasn't run the call.
    pub(super) has_not_run: bool,
    /// Time after which the application wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    /// What happened, for the log.
    pub(super) text: String,
}

/// What kinds of faults there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub(super) enum FaultKind {
    /// No connection.
    Unreachable,
    /// The connection ended before the answer.
    Cut,
    /// The application has too much to do.
    Busy,
    /// No answer in time.
    Late,
    /// It takes the broker for a stranger.
    Unauthorized,
    /// It sends the broker elsewhere.
    Redirected,
    /// It has no callbacks there.
    Missing,
    /// It can't read the call.
    Misread,
    /// It failed.
    Failed,
    /// The answer is larger than allowed.
    TooLarge,
    /// The call is larger than allowed.
    CallTooLarge,
    /// The answer isn't of the contract.
    Unreadable,
}

impl Fault {
    /// A call that may have run.
    pub(super) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { kind, has_not_run: false, retry_after: None, text: text.into() }
    }

    /// A call that surely hasn't run.
    pub(super) fn not_run(kind: FaultKind, text: impl Into<String>) -> Self {
        Self { has_not_run: true, ..Self::new(kind, text) }
    }

    /// No answer came in time.
    pub(super) fn late(timeout: Duration) -> Self {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let within = humantime::format_duration(Duration::from_millis(millis));
        Self::new(FaultKind::Late, format!("it doesn't answer within {within}"))
    }

    /// The application answered that it failed.
    pub(super) fn told(error: &str) -> Self {
        let start: String = error.chars().take(MAX_TEXT).collect();
        Self::new(FaultKind::Failed, format!("it answers ERROR: {}", start.escape_debug()))
    }

    /// Whether it is worth another attempt.
    pub(super) fn is_retried(&self) -> bool {
        self.has_not_run && self.kind != FaultKind::CallTooLarge
    }

    /// What a session is told.
    pub(super) fn failure(&self) -> CallFailure {
        match self.kind {
            _ if self.is_retried() => CallFailure::Unreachable,
            FaultKind::Late => CallFailure::Late,
            FaultKind::Unreachable
            | FaultKind::Cut
            | FaultKind::Busy
            | FaultKind::Unauthorized
            | FaultKind::Redirected
            | FaultKind::Missing
            | FaultKind::Misread
            | FaultKind::Failed
            | FaultKind::TooLarge
            | FaultKind::CallTooLarge
            | FaultKind::Unreadable => CallFailure::Broken,
        }
    }
}

impl FaultKind {
    /// What to do, for the log.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "check the --rpc-host, and that the application runs",
            Self::Busy => {
                "give the application more threads or processes, or lower --rpc-concurrency"
            }
            Self::Late => {
                "see what takes so long in the application, or raise --rpc-request-timeout"
            }
            Self::Unauthorized => {
                "give the application and the broker the same --secret, or the same --http-rpc-secret"
            }
            Self::Redirected => {
                "redirects aren't followed: name the final address in --rpc-host, and exempt it from force_ssl"
            }
            Self::Missing => "check the path in --rpc-host, such as /_anycable",
            Self::Misread => "check that the application speaks AnyCable's protocol v1",
            Self::Cut | Self::Failed => "see the application's own log",
            Self::TooLarge => "send less in an answer, or raise --rpc-max-answer",
            Self::CallTooLarge => "raise --rpc-max-call-send-size",
            Self::Unreadable => "check that the --rpc-host is the address of AnyCable's callbacks",
        }
    }
}
