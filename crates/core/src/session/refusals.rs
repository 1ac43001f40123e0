//! Refusals of commands, each in the form that its client expects.

use std::borrow::Cow;
use std::sync::Arc;

use super::action::Action;
use crate::auth::Rights;
use crate::types::{
    CommandKind, ConnectionMessage, Head, Identifier, Join, Limit, Limits, PresenceId, Reference,
    ServerMessage,
};

pub(super) const NO_SUBSCRIPTION: &str = "there is no such subscription";

/// Refuses a command that exceeds the rate limit, at once rather than in its stream's order.
///
/// A subscription is not rejected, as clients take that as final: stock clients repeat a subscribe that
/// has no answer.
pub fn refuse_excess(head: &Head<'_>) -> Action {
    let reason = "too many commands: send fewer, or wait";
    if head.kind == CommandKind::Subscribe && head.reference.is_none() {
        return error(head.kind, reason);
    }
    refuse(head.kind, head.identifier.as_deref(), head.reference.as_ref(), reason.into())
}

/// Refuses a command about an unknown subscription.
pub(super) fn unknown(
    kind: CommandKind,
    identifier: &str,
    reference: Option<&Arc<Reference>>,
) -> Action {
    match (kind, reference) {
        (CommandKind::Unsubscribe, None) => Action::Nothing(kind),
        (CommandKind::Unsubscribe, Some(_)) => {
            Action::Refuse { kind, identifier: identifier.into(), message: ServerMessage::Done }
        }
        (CommandKind::Join | CommandKind::Leave | CommandKind::Presence, _) | (_, Some(_)) => {
            let message = ServerMessage::NotSubscribed;
            Action::Refuse { kind, identifier: identifier.into(), message }
        }
        (_, None) => refuse(kind, Some(identifier), None, NO_SUBSCRIPTION.into()),
    }
}

/// Answers a command about a subscription without streams.
pub(super) fn nowhere(
    kind: CommandKind,
    identifier: &str,
    reference: Option<&Arc<Reference>>,
) -> Action {
    match kind {
        CommandKind::Subscribe => Action::Refuse {
            kind,
            identifier: identifier.into(),
            message: ServerMessage::Confirmed,
        },
        // nothing is missing
        CommandKind::History => Action::Refuse {
            kind,
            identifier: identifier.into(),
            message: ServerMessage::HistoryConfirmed,
        },
        CommandKind::Unsubscribe => unknown(kind, identifier, reference),
        CommandKind::Join
        | CommandKind::Leave
        | CommandKind::Presence
        | CommandKind::Whisper
        | CommandKind::Publish
        | CommandKind::Perform
        | CommandKind::Ping
        | CommandKind::Pong
        | CommandKind::Unknown => {
            refuse(kind, Some(identifier), reference, "this subscription has no stream".into())
        }
    }
}

/// Refuses a command in the form that its client expects.
pub(super) fn refuse(
    kind: CommandKind,
    identifier: Option<&str>,
    reference: Option<&Arc<Reference>>,
    reason: Cow<'static, str>,
) -> Action {
    let Some(identifier) = identifier.map(Identifier::from) else {
        return error(kind, reason);
    };
    let message = match kind {
        CommandKind::Subscribe => ServerMessage::Rejected(reason),
        _ if reference.is_some() => ServerMessage::Refused(reason),
        CommandKind::Join | CommandKind::Leave | CommandKind::Presence => {
            ServerMessage::Refused(reason)
        }
        CommandKind::History => ServerMessage::HistoryRejected,
        CommandKind::Unsubscribe
        | CommandKind::Whisper
        | CommandKind::Publish
        | CommandKind::Perform
        | CommandKind::Ping
        | CommandKind::Pong
        | CommandKind::Unknown => return error(kind, reason),
    };
    Action::Refuse { kind, identifier, message }
}

pub(super) fn error(kind: CommandKind, reason: impl Into<Cow<'static, str>>) -> Action {
    let reason = reason.into();
    Action::Answer { kind, message: ConnectionMessage::Error { command: kind, reason } }
}

/// Checks the right to whisper and publish.
pub(super) const fn may_speak(rights: Rights) -> Result<(), &'static str> {
    if rights.whisper { Ok(()) } else { Err("this subscription may not whisper") }
}

/// Checks a presence id and info. The error is the limit exceeded, if one is, and the reason.
pub fn check_presence(
    join: &Join,
    limits: &Limits,
) -> Result<(), (Option<Limit>, Cow<'static, str>)> {
    check_id(&join.id, limits)?;
    let (size, max) = (join.info.as_str().len(), limits.info_size);
    if size > max {
        let reason = format!("the presence info has {size} bytes, at most {max} are allowed");
        return Err((Some(Limit::PresenceInfoSize), reason.into()));
    }
    Ok(())
}

/// Checks a presence id.
pub(super) fn check_id(
    id: &PresenceId,
    limits: &Limits,
) -> Result<(), (Option<Limit>, Cow<'static, str>)> {
    if id.as_str().is_empty() {
        return Err((None, "the presence id is empty".into()));
    }
    if let Some(reason) = limits.reserved(id.as_str()) {
        let reason = format!("the presence id {id} is reserved: {reason}; choose another one");
        return Err((None, reason.into()));
    }
    let (length, max) = (id.as_str().chars().count(), limits.presence_id_length);
    if length > max {
        let reason = format!("the presence id has {length} characters, at most {max} are allowed");
        return Err((Some(Limit::PresenceIdLength), reason.into()));
    }
    Ok(())
}
