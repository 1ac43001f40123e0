//! A subscription: a client's key, and the streams it leads to.

use std::hash::BuildHasher;
use std::slice;
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;
use thin_vec::{ThinVec, thin_vec};

use super::action::Action;
use crate::auth::Rights;
use crate::types::{
    Codec, CommandKind, Grant, GroupKey, Identifier, Reference, StreamCommand, StreamName,
    Subscribe, SubscribeOptions, Watch,
};

/// A session's subscription: its identifier, and the streams it leads to. That is one stream; a channel of
/// the application can lead to any number.
#[derive(Debug)]
pub struct Subscription {
    /// The client's key for it.
    pub identifier: Identifier,
    /// Which presence messages it gets.
    pub watch: Watch,
    streams: StreamNames,
    /// The client's reference, in protocols where subscribing again makes another subscription.
    pub(super) reference: Option<Arc<Reference>>,
    /// Rights in the stream, if there is one stream.
    rights: Rights,
    /// [`digest`] of the identifier.
    pub(super) digest: u16,
}

// Every connection has one or more of them.
const _: () = assert!(size_of::<Subscription>() <= 48);

/// The streams of a subscription.
#[derive(Debug)]
enum StreamNames {
    One(StreamName),
    /// Any number, each with the rights in it.
    Many(ThinVec<(StreamName, Rights)>),
}

const _: () = assert!(size_of::<StreamNames>() == size_of::<StreamName>());

impl Subscription {
    pub(super) fn new(
        identifier: Identifier,
        stream: StreamName,
        watch: Watch,
        rights: Rights,
    ) -> Self {
        let (streams, digest) = (StreamNames::One(stream), digest(identifier.as_str()));
        Self { identifier, watch, streams, reference: None, rights, digest }
    }

    /// A channel of the application, without streams yet.
    pub(super) fn of_channel(identifier: Identifier, watch: Watch) -> Self {
        let digest = digest(identifier.as_str());
        let streams = StreamNames::Many(ThinVec::new());
        let rights = Rights { join: false, whisper: false };
        Self { identifier, watch, streams, reference: None, rights, digest }
    }

    /// Replaces its streams.
    pub(super) fn set_streams(
        &mut self,
        streams: impl ExactSizeIterator<Item = (StreamName, Rights)>,
    ) {
        let mut streams: ThinVec<_> = streams.collect();
        let only = if streams.len() == 1 { streams.pop() } else { None };
        self.streams = match only {
            Some((stream, rights)) => {
                self.rights = rights;
                StreamNames::One(stream)
            }
            None => StreamNames::Many(streams),
        };
    }

    /// Its group among the subscribers of a stream.
    pub fn group(&self, codec: Codec) -> GroupKey {
        GroupKey { codec, watch: self.watch, identifier: self.identifier.clone() }
    }

    /// Whether it is of the usual kind, with one stream.
    pub(super) fn has_one_stream(&self) -> bool {
        matches!(self.streams, StreamNames::One(_))
    }

    /// Its streams.
    pub fn streams(&self) -> impl Iterator<Item = &StreamName> {
        let (one, many) = match &self.streams {
            StreamNames::One(stream) => (slice::from_ref(stream), &[][..]),
            StreamNames::Many(streams) => (&[][..], streams.as_slice()),
        };
        one.iter().chain(many.iter().map(|(stream, _)| stream))
    }

    /// Its streams, each with the rights in it.
    pub fn rights(&self) -> impl Iterator<Item = (&StreamName, Rights)> {
        let (one, many) = match &self.streams {
            StreamNames::One(stream) => (Some((stream, self.rights)), &[][..]),
            StreamNames::Many(streams) => (None, streams.as_slice()),
        };
        one.into_iter().chain(many.iter().map(|(stream, rights)| (stream, *rights)))
    }

    /// Its first stream.
    pub(super) fn into_first(self) -> Option<StreamName> {
        match self.streams {
            StreamNames::One(stream) => Some(stream),
            StreamNames::Many(streams) => streams.into_iter().next().map(|(stream, _)| stream),
        }
    }

    /// Adds a stream.
    pub(super) fn add(&mut self, stream: StreamName, rights: Rights) {
        if self.streams().any(|held| *held == stream) {
            return;
        }
        match &mut self.streams {
            StreamNames::Many(streams) => streams.push((stream, rights)),
            StreamNames::One(first) => {
                let first = (first.clone(), self.rights);
                self.streams = StreamNames::Many(thin_vec![first, (stream, rights)]);
            }
        }
    }

    /// Whether the client may join in one of its streams.
    pub(super) fn may_join(&self) -> bool {
        self.stream_for(CommandKind::Join).is_some_and(|(_, rights)| rights.join)
    }

    /// The stream that gets a command and answers it. Of several, that is the first in which the client has
    /// the right for it: rights say which stream has the members, and which the whispers.
    pub(super) fn stream_for(&self, kind: CommandKind) -> Option<(&StreamName, Rights)> {
        match &self.streams {
            StreamNames::One(stream) => Some((stream, self.rights)),
            StreamNames::Many(streams) => stream_of_many(streams, kind),
        }
    }

    /// Actions for the other streams about a command that `first` answers.
    pub(super) fn others(&self, first: &StreamName, command: &StreamCommand) -> Vec<Action> {
        let StreamNames::Many(streams) = &self.streams else { return Vec::new() };
        let mut others = Vec::new();
        for (stream, rights) in streams.iter().filter(|(stream, _)| stream != first) {
            let command = match command {
                StreamCommand::Subscribe(subscribe) => {
                    let Subscribe { history, grant, options, .. } = &**subscribe;
                    StreamCommand::from(Subscribe {
                        join: None,
                        history: history.clone(),
                        grant: Grant { rights: *rights, ..*grant },
                        options: SubscribeOptions {
                            repeat: options.repeat,
                            is_quiet: true,
                            ..SubscribeOptions::default()
                        },
                    })
                }
                StreamCommand::History(request) => StreamCommand::History(request.clone()),
                StreamCommand::Unsubscribe => StreamCommand::Unsubscribe,
                StreamCommand::Join(_)
                | StreamCommand::Update(_)
                | StreamCommand::Leave(_)
                | StreamCommand::List(_)
                | StreamCommand::Whisper { .. }
                | StreamCommand::Publish { .. }
                | StreamCommand::RefusePresence(..) => break,
            };
            others.push(Action::Forward {
                stream: stream.clone(),
                identifier: self.identifier.clone(),
                watch: self.watch,
                command,
            });
        }
        others
    }
}

fn stream_of_many(
    streams: &[(StreamName, Rights)],
    kind: CommandKind,
) -> Option<(&StreamName, Rights)> {
    let has_right = |rights: &Rights| match kind {
        CommandKind::Whisper | CommandKind::Publish => rights.whisper,
        CommandKind::Subscribe | CommandKind::Join | CommandKind::Leave | CommandKind::Presence => {
            rights.join
        }
        CommandKind::Unsubscribe
        | CommandKind::History
        | CommandKind::Perform
        | CommandKind::Ping
        | CommandKind::Pong
        | CommandKind::Unknown => true,
    };
    let found = streams.iter().find(|(_, rights)| has_right(rights)).or(streams.first());
    found.map(|(stream, rights)| (stream, *rights))
}

/// Some bits of an identifier's hash, to tell most identifiers apart cheaply: a client may have a thousand
/// long ones that differ at their end. The hash is seeded, so clients can't predict it.
#[expect(clippy::cast_possible_truncation, reason = "any bits of a hash are as good")]
pub(super) fn digest(identifier: &str) -> u16 {
    static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    HASHER.hash_one(identifier) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Client, Streams};
    use crate::session::{Session, Verdict};
    use crate::types::{
        ClientCommand, HistoryRequest, Identity, JoinRequest, Limits, Listing, Reference, Request,
        ServerMessage, SessionId, Target, Whisper,
    };

    const WATCH: Rights = Rights { join: false, whisper: false };
    const JOIN: Rights = Rights { join: true, whisper: false };
    const WHISPER: Rights = Rights { join: false, whisper: true };

    /// A session with one subscription to these streams.
    fn session(streams: &[(&str, Rights)], asks: bool) -> Session {
        let mut session = Session::new(SessionId::from_bits(7), &Client::default()).asking(asks);
        for (stream, rights) in streams {
            session.restore("i".into(), (*stream).into(), Watch::Members, *rights);
        }
        if streams.is_empty() {
            session.restore("i".into(), "room".into(), Watch::Members, JOIN);
            session.subscriptions[0].streams = StreamNames::Many(ThinVec::new());
        }
        session
    }

    fn say(session: &mut Session, command: ClientCommand<'_>) -> Vec<String> {
        named(session, None, command)
    }

    fn named(
        session: &mut Session,
        reference: Option<Arc<Reference>>,
        command: ClientCommand<'_>,
    ) -> Vec<String> {
        let request = Request { reference, command: Ok(command) };
        let action = session.handle(request, &Limits::default(), &Streams::default());
        [short(action)].into_iter().chain(poll(session)).collect()
    }

    fn poll(session: &mut Session) -> Vec<String> {
        let next = || Some(short(session.poll_action(&Limits::default(), &Streams::default())?.0));
        std::iter::from_fn(next).collect()
    }

    fn short(action: Action) -> String {
        if let Action::Forward { stream, command, .. } = action {
            if let StreamCommand::Subscribe(subscribe) = command {
                let Subscribe { join, history, grant, options } = *subscribe;
                let (joins, asks) = (join.is_some(), history.is_some());
                let confirmed = if options.is_quiet { "quiet" } else { "said" };
                return format!(
                    "{stream} subscribe {joins} {asks} {} {confirmed}",
                    grant.rights.join
                );
            }
            let command = format!("{command:?}");
            let name = command.split(|it: char| !it.is_alphabetic()).next();
            return format!("{stream} {}", name.unwrap_or_default());
        }
        if let Action::Refuse { message: ServerMessage::Refused(reason), .. } = action {
            return reason.into_owned();
        }
        if let Action::Refuse { message, .. } = action {
            return format!("{message:?}");
        }
        format!("{action:?}")
    }

    fn subscribe(join: bool) -> ClientCommand<'static> {
        let join = join.then(|| Ok(JoinRequest { id: Some("ann".into()), info: "1".into() }));
        ClientCommand::Subscribe {
            identifier: "i".into(),
            target: Target::Channel("Chat".into()),
            history: Some(HistoryRequest::default()),
            join,
            watch: Watch::Members,
            options: SubscribeOptions::default(),
        }
    }

    fn whisper() -> ClientCommand<'static> {
        let whisper = Whisper { event: None, data: "1".into() };
        ClientCommand::Whisper { identifier: "i".into(), whisper, author: None }
    }

    fn leave() -> ClientCommand<'static> {
        ClientCommand::Leave { identifier: "i".into(), id: None }
    }

    fn list() -> ClientCommand<'static> {
        ClientCommand::Presence { identifier: "i".into(), listing: Listing::Members }
    }

    fn history() -> ClientCommand<'static> {
        ClientCommand::History { identifier: "i".into(), request: HistoryRequest::default() }
    }

    fn unsubscribe() -> ClientCommand<'static> {
        ClientCommand::Unsubscribe { identifier: "i".into() }
    }

    fn join() -> ClientCommand<'static> {
        let join = JoinRequest { id: Some("ann".into()), info: "1".into() };
        ClientCommand::Join { identifier: "i".into(), join }
    }

    #[test]
    fn a_command_goes_to_the_streams_it_is_about() {
        let mut ann = session(&[("a", WATCH), ("b", JOIN), ("c", WHISPER)], false);
        assert_eq!(ann.subscriptions().len(), 1);
        assert_eq!(say(&mut ann, join()), ["b Join"]);
        assert_eq!(say(&mut ann, list()), ["b List"]);
        assert_eq!(say(&mut ann, leave()), ["b Leave"]);
        assert_eq!(say(&mut ann, whisper()), ["c Whisper"]);
        assert_eq!(say(&mut ann, history()), ["a History", "b History", "c History"]);
        let again = [
            "b subscribe true true true said",
            "a subscribe false true false quiet",
            "c subscribe false true false quiet",
        ];
        assert_eq!(say(&mut ann, subscribe(true)), again);
        assert_eq!(
            say(&mut ann, unsubscribe()),
            ["a Unsubscribe", "b Unsubscribe", "c Unsubscribe"]
        );
        assert_eq!(say(&mut ann, unsubscribe()), ["Nothing(Unsubscribe)"]);
        assert!(!ann.is_asking() && ann.subscriptions().is_empty());
    }

    #[test]
    fn where_no_stream_allows_it_one_refuses() {
        let mut ann = session(&[("a", WATCH), ("b", WATCH)], false);
        assert_eq!(say(&mut ann, join()), ["a RefusePresence"]);
        assert!(say(&mut ann, whisper())[0].contains("may not whisper"));
        assert_eq!(say(&mut ann, list()), ["a List"]);
    }

    #[test]
    fn what_waits_for_an_answer_waits_in_all_its_streams() {
        let mut ann = session(&[("a", WATCH), ("b", JOIN)], true);
        let request = Request::unnamed(Ok(subscribe(true)));
        let action = ann.handle(request, &Limits::default(), &Streams::default());
        let Action::Ask { ticket, .. } = action else { panic!("{action:?}") };
        assert_eq!(poll(&mut ann), [""; 0], "the other stream waits, too");
        assert_eq!(say(&mut ann, unsubscribe()), ["Wait"]);
        ann.answer(ticket, Verdict::MemberData(None));
        let done = [
            "b subscribe true true true said",
            "a subscribe false true false quiet",
            "a Unsubscribe",
            "b Unsubscribe",
        ];
        assert_eq!(poll(&mut ann), done);
    }

    #[test]
    fn one_without_streams_is_there_all_the_same() {
        let mut ann = session(&[], false);
        assert_eq!(say(&mut ann, subscribe(false)), ["Confirmed"]);
        for command in [join(), leave(), list()] {
            assert_eq!(say(&mut ann, command), ["this subscription has no stream"]);
        }
        let reference = Some(Arc::new(Reference { subscription: None, request: Some("1".into()) }));
        assert_eq!(
            named(&mut ann, reference.clone(), whisper()),
            ["this subscription has no stream"]
        );
        assert_eq!(named(&mut ann, reference, unsubscribe()), ["Done"]);
        assert!(ann.subscriptions().is_empty());
    }

    #[test]
    fn all_its_streams_are_told_of_and_taken_along() {
        let mut ann = session(&[("a", WATCH), ("b", JOIN), ("a", JOIN)], false);
        ann.restore("j".into(), "c".into(), Watch::Members, JOIN);
        let ended = ann.end();
        let streams: Vec<_> =
            ended.streams().map(|(held, stream)| format!("{} {stream}", held.identifier)).collect();
        assert_eq!(streams, ["i a", "i b", "j c"]);
        let mut next = Session::restored(SessionId::from_bits(8), Identity::ANYONE);
        next.take_over(ended, [true, false]);
        let streams: Vec<_> = next.streams().map(|(_, stream)| stream.as_str()).collect();
        assert_eq!(streams, ["a", "b"]);
        assert_eq!(say(&mut next, list()), ["b List"]);
    }
}
