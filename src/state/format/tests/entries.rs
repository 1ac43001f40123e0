//! Entries of every kind.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::log::{
    Change, ChannelState, Entry, ExpiryReason, Known, NodeId, Origin, Owner, Parked, Parking,
    Position, SessionChange, SessionState, Subscription,
};
use crate::protocol::{action_cable, chat, phoenix, sse, typed};
use crate::types::{
    Codec, Epoch, Extra, Grant, Identifier, Identity, JoinCause, Label, Labels, MemberEvent,
    Offset, Origin as ClientOrigin, PresenceId, RawJson, Rights, SessionId, State, StateValue,
    StreamName, Watch, Whisper,
};

fn json() -> impl Strategy<Value = RawJson> {
    prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<f32>().prop_map(|number| serde_json::to_string(&number).unwrap()),
        Just(r#"{ "a" : [9007199254740993, null, {}] } "#.to_owned()),
    ]
    .prop_map(RawJson::from)
}

fn extra() -> impl Strategy<Value = Extra> {
    let object = "[a-z]{0,9}".prop_map(|text| RawJson::from(format!("{{\"a\":\"{text}\"}}")));
    prop::option::of(object.prop_map(Box::new))
}

fn identifier() -> impl Strategy<Value = Identifier> {
    any::<String>().prop_map(|text| Identifier::from(serde_json::to_string(&text).unwrap()))
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<u128>().prop_map(SessionId::from_bits)
}

fn subscription() -> impl Strategy<Value = Subscription> {
    (session(), identifier()).prop_map(|(session, identifier)| Subscription { session, identifier })
}

fn author() -> impl Strategy<Value = Option<Subscription>> {
    prop::option::of(subscription())
}

fn stream() -> impl Strategy<Value = StreamName> {
    "\\PC{1,9}".prop_map(StreamName::from)
}

fn id() -> impl Strategy<Value = PresenceId> {
    "\\PC{1,9}".prop_map(PresenceId::from)
}

fn position() -> impl Strategy<Value = Position> {
    any::<u64>().prop_map(Position)
}

fn labels() -> impl Strategy<Value = Labels> {
    let name = || prop::option::of("\\PC{1,9}".prop_map(Arc::from));
    (name(), name()).prop_map(|(event, frame_type)| Label::new(event, frame_type))
}

fn group() -> impl Strategy<Value = (Codec, Watch)> {
    let codec = prop_oneof![
        Just(action_cable::CODEC),
        Just(phoenix::CODEC),
        Just(typed::CODEC),
        Just(chat::CODEC),
        Just(sse::CODEC),
        Just(sse::RAW),
    ];
    (codec, prop_oneof![Just(Watch::Members), Just(Watch::Occupancy)])
}

fn grant() -> impl Strategy<Value = Grant> {
    any::<(bool, bool, u64, u64)>().prop_map(|(join, whisper, identifier, presence_id)| Grant {
        rights: Rights { join, whisper },
        identity: Identity { identifier, presence_id },
    })
}

fn known() -> impl Strategy<Value = Known> {
    (position(), position())
        .prop_map(|(confirmed_before, sent_before)| Known { confirmed_before, sent_before })
}

fn parking() -> impl Strategy<Value = Option<Box<Parking>>> {
    let parking = (group(), known(), any::<Duration>())
        .prop_map(|((codec, watch), known, ttl)| Parking { codec, watch, known, ttl });
    prop::option::of(parking.prop_map(Box::new))
}

fn parked() -> impl Strategy<Value = Option<Parked>> {
    prop::option::of((position(), known()).prop_map(|(at, known)| Parked { at, known }))
}

fn cause() -> impl Strategy<Value = JoinCause> {
    prop_oneof![Just(JoinCause::Joined), Just(JoinCause::Subscribed), Just(JoinCause::Put)]
}

fn expiry_reason() -> impl Strategy<Value = ExpiryReason> {
    use ExpiryReason::{Ended, Until};
    prop_oneof![position().prop_map(Ended), any::<u64>().prop_map(Until)]
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![
        (subscription(), prop::option::of(position()))
            .prop_map(|(by, ended)| Owner::Subscription { by, ended }),
        position().prop_map(|ended| Owner::Orphan { ended }),
        prop::option::of(1..u64::MAX).prop_map(|until| Owner::Application { until }),
    ]
}

fn event() -> impl Strategy<Value = MemberEvent> {
    prop_oneof![Just(MemberEvent::Joined), Just(MemberEvent::Updated), Just(MemberEvent::Left)]
}

/// What happens to a stream as a whole, and what is said there.
fn of_streams() -> impl Strategy<Value = Change> {
    let epoch = || "[!#-\\[\\]-~]{1,9}".prop_map(|text| Epoch::from(&*text));
    prop_oneof![
        any::<u64>().prop_map(|lost| Change::Began { lost }),
        (epoch(), any::<(u64, u64)>()).prop_map(|(epoch, (head, lost))| Change::Forgotten {
            epoch,
            head: Offset(head),
            lost
        }),
        (epoch(), any::<u64>())
            .prop_map(|(epoch, head)| Change::Idle { epoch, head: Offset(head) }),
        any::<Option<u64>>().prop_map(|by| Change::Used { by: by.map(NodeId) }),
        (position(), any::<u64>()).prop_map(|(idle, lost)| Change::ForgottenByAll { idle, lost }),
        Just(Change::Forked),
        (epoch(), any::<(u64, u64)>(), position()).prop_map(|(epoch, (head, lost), journal)| {
            Change::Snapshot { epoch, head: Offset(head), lost, journal }
        }),
        (json(), labels(), any::<(u64, bool)>(), prop::option::of(session()), author()).prop_map(
            |(data, labels, (at, is_kept), except, author)| {
                Change::Published { data, labels, at, except, is_kept, author }
            }
        ),
        (prop::option::of("\\PC{1,9}"), json(), session(), author()).prop_map(
            |(event, data, from, author)| {
                let whisper = Whisper { event: event.map(Into::into), data };
                Change::Whispered { whisper, from, author }
            }
        ),
        Just(Change::Arrived),
        (json(), labels(), any::<u64>()).prop_map(|(data, labels, at)| Change::Kept {
            data,
            labels,
            at
        }),
    ]
}

/// What happens to members.
fn of_members() -> impl Strategy<Value = Change> {
    prop_oneof![
        (subscription(), id(), json(), extra(), cause(), any::<(bool, usize)>()).prop_map(
            |(by, id, info, extra, cause, (is_update, max_members))| {
                Change::Joined { by, id, info, extra, cause, is_update, max_members }
            }
        ),
        (subscription(), prop::option::of(id())).prop_map(|(by, id)| Change::Left { by, id }),
        (id(), json(), extra(), any::<(Option<u64>, usize)>()).prop_map(
            |(id, info, extra, (until, max_members))| {
                Change::Put { id, info, extra, until, max_members }
            }
        ),
        id().prop_map(|id| Change::Kicked { id }),
        (id(), position(), expiry_reason()).prop_map(|(id, record, reason)| Change::Expired {
            id,
            record,
            reason
        }),
        (owner(), any::<Duration>(), id(), json(), extra(), any::<u64>()).prop_map(
            |(owner, ttl, id, info, extra, arrived)| {
                Change::Record { owner, ttl, id, info, extra, arrived }
            }
        ),
        (id(), event()).prop_map(|(id, event)| Change::Noted { id, event }),
    ]
}

/// What happens to subscriptions.
fn of_subscriptions() -> impl Strategy<Value = Change> {
    prop_oneof![
        (subscription(), group(), grant()).prop_map(|(by, (codec, watch), grant)| {
            Change::Subscribed { by, codec, watch, grant }
        }),
        subscription().prop_map(|by| Change::Unsubscribed { by }),
        (subscription(), any::<Duration>(), parking())
            .prop_map(|(by, ttl, parking)| Change::Ended { by, ttl, parking }),
        (subscription(), position()).prop_map(|(by, parked)| Change::Lapsed { by, parked }),
        (subscription(), session()).prop_map(|(from, to)| Change::Resumed { from, to }),
        any::<(Duration, Option<Duration>)>()
            .prop_map(|(ttl, resumable)| Change::Restarted { ttl, resumable }),
        (subscription(), group(), prop::option::of(grant()), parked(), any::<Duration>()).prop_map(
            |(by, (codec, watch), grant, parked, ttl)| {
                Change::Resumable { by, codec, watch, grant, parked, ttl }
            }
        ),
    ]
}

/// Any entry.
pub(super) fn entry() -> impl Strategy<Value = Entry> {
    let change = prop_oneof![of_streams(), of_members(), of_subscriptions()];
    (position(), any::<u64>(), any::<(u64, u64)>(), stream(), change).prop_map(
        |(position, at, (node, request), stream, change)| {
            let origin = Origin { node: NodeId(node), request };
            Entry { position, at, origin, stream, change }
        },
    )
}

fn state() -> impl Strategy<Value = State> {
    let value = prop_oneof![
        any::<String>().prop_map(|text| StateValue::Text(text.into())),
        json().prop_map(StateValue::Json),
    ];
    let entries = prop::collection::vec(("\\PC{0,5}".prop_map(Box::<str>::from), value), 0..4);
    entries.prop_map(|entries| {
        let mut state = State::default();
        state.merge(entries);
        state
    })
}

fn channel() -> impl Strategy<Value = ChannelState> {
    let rights = any::<(bool, bool)>().prop_map(|(join, whisper)| Rights { join, whisper });
    let streams = prop::collection::vec((stream(), rights), 0..3);
    (identifier(), state(), any::<Option<std::num::NonZero<u32>>>(), streams).prop_map(
        |(identifier, state, ttl, streams)| {
            let watch = Watch::Members;
            ChannelState { identifier, watch, state, ttl, streams }
        },
    )
}

/// A change of a session, of every kind.
pub(super) fn session_change() -> impl Strategy<Value = SessionChange> {
    let headers = prop::collection::vec(any::<(String, String)>(), 0..3);
    let origin = (any::<String>(), headers).prop_map(|(url, headers)| ClientOrigin {
        url: url.into(),
        headers: headers.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
    });
    let known =
        (session(), origin, any::<String>(), state(), prop::collection::vec(channel(), 0..3));
    let flags = any::<(bool, bool, bool)>();
    let state =
        (known, flags).prop_map(|((first, origin, identifiers, connection, channels), flags)| {
            let (resumes, is_known, is_told) = flags;
            SessionState {
                first,
                identity: Identity::BEARER,
                resumes,
                is_known,
                is_told,
                origin,
                identifiers: identifiers.into(),
                connection,
                channels,
            }
        });
    let left = prop::option::of(position()).boxed();
    prop_oneof![
        (session(), state, left.clone()).prop_map(|(sid, state, left)| {
            SessionChange::Known { sid, state: Arc::new(state), left }
        }),
        (session(), session(), left).prop_map(|(from, to, left)| SessionChange::Moved {
            from,
            to,
            left
        }),
        session().prop_map(|sid| SessionChange::Told { sid }),
    ]
}
