//! Shared parts of the targets of clients' frames: frames, one a line, through a session.

use std::sync::Arc;

use broker::auth::{Client, Keys, Streams};
use broker::protocol::decode_head;
use broker::session::Session;
use broker::types::{
    CachedList, Codec, Head, IdList, Join, Limits, MemberChange, PresenceChange, RecordChange,
    Request, ServerMessage, SessionId,
};

/// Streams that are open, with a secret for signed names.
pub(crate) fn open_streams() -> Streams {
    Streams { public: true, whisper: true, signed: Keys::new(["s3Krit"]), ..Streams::default() }
}

/// Hands each frame to `handle`, which hands it to the session.
pub(crate) fn run(
    data: &[u8],
    client: &Client,
    mut handle: impl FnMut(&str, &mut Session, &Limits),
) {
    let Some(text) = super::text(data) else { return };
    let limits = Limits { subscriptions: 3, ..Limits::default() };
    let mut session = Session::new(SessionId::from_bits(1), client);
    for frame in text.split('\n') {
        handle(frame, &mut session, &limits);
    }
    assert!(session.end().subscriptions().len() <= limits.subscriptions);
}

/// The head of a frame says what the whole of it says.
pub(crate) fn check_head<'a>(codec: Codec, frame: &'a str, request: &Request<'_>) -> Head<'a> {
    let head = decode_head(codec, frame);
    match &request.command {
        Ok(command) => assert_eq!(command.identifier(), head.identifier.as_deref()),
        Err(bad) => {
            assert!(!bad.reason.is_empty());
            assert_eq!(bad.kind, head.kind);
        }
    }
    head
}

/// A change of who joins; `members` is the list that goes with it.
pub(crate) fn change(join: &Join, member: MemberChange, members: Option<&IdList>) -> ServerMessage {
    let Join { id, info, extra } = join.clone();
    let record = RecordChange::Added { info };
    let members = members.map(|members| Arc::new(CachedList::new(members.clone())));
    let change = PresenceChange { id, reference: 1, record, member, extra, members };
    ServerMessage::Presence(Arc::new(change))
}
