//! What the protocols' words cost: a client's command read, and what a stream says written.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use broker::protocol;
use broker::protocol::sse::Asked;
use broker::protocol::{action_cable, chat, phoenix, sse, typed};
use broker::types::{
    CachedList, Codec, Epoch, GroupKey, Identifier, Member, MemberChange, Offset, PresenceChange,
    Publication, RecordChange, ServerMessage, StreamName, StreamPosition,
};

use super::work::Work;

/// A protocol, and what its clients send.
pub(crate) struct Spoken {
    pub(crate) name: &'static str,
    codec: Codec,
    /// Its name for a subscription, as on the wire.
    identifier: &'static str,
    /// What a client typically asks, each with what it is called here.
    commands: &'static [(&'static str, &'static str)],
}

/// How many messages a run has.
const RUN: u64 = 10;

/// How many are present in a room whose protocol repeats them with each change.
const MEMBERS: u64 = 10;

/// Every protocol. Events have no commands: what their clients want stands in a query.
pub(crate) const SPOKEN: [Spoken; 5] = [
    Spoken {
        name: "action_cable",
        codec: action_cable::CODEC,
        identifier: r#""{\"channel\":\"$pubsub\",\"stream_name\":\"room/1\"}""#,
        commands: &[
            (
                "base: subscribe",
                r#"{"command":"subscribe","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"room/1\"}"}"#,
            ),
            (
                "base: message",
                r#"{"command":"message","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"room/1\"}","data":"{\"action\":\"speak\",\"text\":\"The quick brown fox\"}"}"#,
            ),
            (
                "extended: join",
                r#"{"command":"join","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"room/1\"}","presence":{"id":"member-1","info":{"name":"Ann","color":"blue"}}}"#,
            ),
            (
                "extended: history",
                r#"{"command":"history","identifier":"{\"channel\":\"$pubsub\",\"stream_name\":\"room/1\"}","history":{"since":1700000000,"streams":{"room/1":{"epoch":"AbC1","offset":17}}}}"#,
            ),
        ],
    },
    Spoken {
        name: "phoenix",
        codec: phoenix::CODEC,
        identifier: r#""room:1""#,
        commands: &[
            (
                "phx_join",
                r#"["3","3","room:1","phx_join",{"presence_id":"member-1","meta":{"name":"Ann"}}]"#,
            ),
            (
                "an event",
                r#"["3","7","room:1","new_message",{"text":"The quick brown fox jumps over the lazy dog"}]"#,
            ),
        ],
    },
    Spoken {
        name: "typed",
        codec: typed::CODEC,
        identifier: r#""room""#,
        commands: &[
            (
                "presence.join",
                r#"{"type":"presence.join","payload":{"user":"member-1","room":"room"}}"#,
            ),
            ("presence.list", r#"{"type":"presence.list"}"#),
        ],
    },
    Spoken {
        name: "chat",
        codec: chat::CODEC,
        identifier: r#""room""#,
        commands: &[
            ("join", r#"{"type":"join","room":"room","username":"member-1"}"#),
            (
                "message",
                r#"{"type":"message","room":"room","username":"member-1","content":"The quick brown fox jumps over the lazy dog"}"#,
            ),
        ],
    },
    Spoken {
        name: "sse",
        codec: sse::CODEC,
        identifier: r#""{\"channel\":\"$pubsub\",\"stream_name\":\"room/1\"}""#,
        commands: &[],
    },
];

/// What the clients of events ask for with their request.
const QUERY: &str = "stream=room%2F1&presence_id=member-1&history_since=1700000000";

/// Reads what a protocol's clients typically say, a piece of work each.
pub(crate) fn decode(spoken: &'static Spoken) -> Vec<Work> {
    let works = spoken.commands.iter().map(|(command, text)| {
        Work::again(("decode", format!("{}, {command}", spoken.name)), 1, move || {
            assert!(read(spoken.codec, text), "{text} should be a command");
            || {
                black_box(read(spoken.codec, black_box(text)));
            }
        })
    });
    let mut works: Vec<Work> = works.collect();
    if spoken.codec == sse::CODEC {
        works.push(Work::again(("decode", "sse, a query"), 1, || {
            assert!(read_query(QUERY), "{QUERY} should be good");
            || {
                black_box(read_query(black_box(QUERY)));
            }
        }));
    }
    works
}

/// Writes what a stream says in a protocol's words.
pub(crate) fn encode(spoken: &'static Spoken) -> Vec<Work> {
    let kinds = [
        ("a publication", 1, publication as fn(u64) -> ServerMessage),
        ("a run of publications", RUN, publication),
        ("a join", 1, joined),
        ("a run of joins", RUN, joined),
    ];
    let work = |(name, count, message): (&str, u64, fn(u64) -> ServerMessage)| {
        Work::again(("encode", format!("{}, {name}", spoken.name)), count, move || {
            let group = GroupKey::new(spoken.codec, Identifier::from(spoken.identifier));
            let messages: Vec<ServerMessage> = (0..count).map(message).collect();
            let mut out = Vec::new();
            protocol::encode_run(&group, &messages, None, &mut out);
            assert!(!out.is_empty(), "{} should say it", spoken.name);
            move || {
                out.clear();
                protocol::encode_run(&group, black_box(&messages), None, &mut out);
                black_box(&out);
            }
        })
    };
    kinds.map(work).into()
}

/// Whether a text is a command that can be followed.
fn read(codec: Codec, text: &str) -> bool {
    let now = || Duration::from_secs(1_700_000_000);
    black_box(protocol::decode(codec, text, None, now)).command.is_ok()
}

/// Whether a query asks for something.
fn read_query(query: &str) -> bool {
    let asked = Asked::read(query, Some(b"AbC1:17"));
    asked.is_ok_and(|asked| black_box(asked.command(None)).identifier().is_some())
}

fn publication(number: u64) -> ServerMessage {
    ServerMessage::Publication(Arc::new(Publication {
        stream: StreamName::from("room/1"),
        data: r#"{"author":"ann","text":"The quick brown fox jumps over the lazy dog","number":1234567}"#
            .into(),
        labels: None,
        at: 1_700_000_000_000,
        position: Some(StreamPosition { epoch: Epoch::from("AbC1"), offset: Offset(number + 1) }),
    }))
}

fn joined(number: u64) -> ServerMessage {
    let info = || r#"{"name":"Ann","color":"blue"}"#.into();
    let member =
        |number| Member { id: format!("member-{number}").into(), info: info(), extra: None };
    ServerMessage::Presence(Arc::new(PresenceChange {
        id: format!("member-{number}").into(),
        reference: number,
        record: RecordChange::Added { info: info() },
        member: MemberChange::Joined { info: info() },
        extra: None,
        members: Some(Arc::new(CachedList::new(
            (0..MEMBERS).map(|number| member(number).id).collect(),
        ))),
    }))
}
