//! Phoenix from frame to frame, against a naive list of records and the client's own algorithms.
//!
//! Every page's list of members equals the shard's, in whatever pieces the events are sent. Every request
//! gets one reply. A device that comes back is the same device.

mod cases;
mod page;
mod steps;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::auth::{Client, Streams};
use broker::clock::Clock;
use broker::protocol;
use broker::protocol::phoenix;
use broker::session::{Action, Session};
use broker::shard::{
    Delivery, End, FanOut, GroupKey, Input, Publish, Put, ResumeSettings, Settings, Shard,
    SubscriberKey, Totals,
};
use broker::types::{Grant, Join, Limits, PresenceId, SessionId, StreamName};
use proptest::prelude::*;

use self::page::Page;
use self::steps::{Step, What, steps};
use crate::door::Door as _;
use crate::presence::{Presence, references};
use crate::shard_settings::without_history;
use crate::subscriber::{key, subscribe};

const CLIENTS: usize = 5;
const USERS: [Option<&str>; 4] = [Some("ann"), Some("b\"b"), Some("__proto__"), None];
const METAS: [&str; 4] = ["", r#""n":1"#, r#""n":2"#, r#""phx_ref":"x","n":9007199254740993"#];
/// Infos of members that joined over Action Cable or were put by the application.
const INFOS: [&str; 4] = ["null", "{}", "[1]", r#"{"n":1}"#];
const TTL: u64 = 300;
/// TTL of an Action Cable session; no session is resumed here.
const SESSION_TTL: u64 = 150;
const INTERVAL: u64 = 1000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn clients_see_who_is_there(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
            world.check_records();
        }
        world.deliver(usize::MAX, 2);
        world.check_clients();
        world.close();
    }
}

/// A record of the naive list.
#[derive(Clone, Debug)]
struct Record {
    user: &'static str,
    info: String,
    owner: Owner,
    /// Its expiry, and the number of the step that set it.
    deadline: Option<(u64, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Owner {
    Connection(usize),
    /// The connection has ended; the next join of the member takes it over.
    Nobody,
    /// The connection has ended; its session can be resumed.
    Parked,
    Application,
}

struct World {
    shard: Shard<usize>,
    start: Instant,
    now: u64,
    decisions: usize,
    /// Pages by connection; `None` for connections of Action Cable.
    pages: Vec<Option<Page>>,
    clients: [Option<usize>; CLIENTS],
    cable: Option<usize>,
    /// By their last change.
    records: Vec<Record>,
}

fn topic() -> StreamName {
    "room:\"é\"".into()
}

fn token(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

fn settings() -> Settings {
    let occupancy_interval = Duration::from_millis(INTERVAL);
    let ttl = Duration::from_millis(SESSION_TTL);
    let resume = ResumeSettings { ttl, max_unacked: Duration::ZERO };
    Settings { occupancy_interval, resume, ..without_history(Duration::from_millis(TTL)) }
}

impl World {
    fn new() -> Self {
        let start = Clock::new().now();
        Self {
            shard: Shard::new(settings(), start),
            start,
            now: 0,
            decisions: 0,
            pages: Vec::new(),
            clients: [None; CLIENTS],
            cable: None,
            records: Vec::new(),
        }
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn unix(&self) -> Duration {
        Duration::from_secs(1_700_000_000) + Duration::from_millis(self.now)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Open { client, user } if self.clients[client].is_none() => {
                self.clients[client] = Some(self.open(USERS[user]));
            }
            Step::Do { client, what } => {
                let Some(number) = self.clients[client] else { return };
                if matches!(what, What::Vanish) {
                    self.clients[client] = None;
                    self.vanish(number);
                } else {
                    self.act(number, what);
                }
            }
            Step::Cable { user, info } if self.cable.is_none() => {
                self.pages.push(None);
                let number = self.pages.len() - 1;
                self.cable = Some(number);
                let join = Join { id: id(user).into(), info: INFOS[info].into(), extra: None };
                let (key, recipient) = (key(number as u128), number);
                let command = subscribe(Some(join));
                let input = Input::Command { key, recipient, command, reference: None };
                self.shard.handle(&topic(), input, self.instant());
                self.record(Owner::Connection(number), id(user), INFOS[info].to_owned());
            }
            Step::CableEnds { resumable } => {
                let Some(number) = self.cable.take() else { return };
                self.deliver(0, 1);
                let grant = resumable.then_some(Grant::OPEN);
                let end = End { grant, ..End::at(self.instant()) };
                let input = Input::Ended { key: key(number as u128), end };
                self.shard.handle(&topic(), input, self.instant());
                self.let_go(number, if resumable { Owner::Parked } else { Owner::Nobody });
            }
            Step::Put { user, info } => {
                let join = Join { id: id(user).into(), info: INFOS[info].into(), extra: None };
                let put = Put { join, ttl: None };
                let placed = self.shard.put(&topic(), put, self.instant());
                self.shard.open(placed).unwrap();
                let info = INFOS[info].to_owned();
                let is_there = |it: &Record| it.owner == Owner::Application && it.user == id(user);
                if let Some(at) = self.records.iter().position(is_there) {
                    self.change(at, info);
                } else {
                    let (user, owner) = (id(user), Owner::Application);
                    self.records.push(Record { user, info, owner, deadline: None });
                }
            }
            Step::Kick(user) => {
                let gone = self.shard.kick(&topic(), &id(user).into(), self.instant());
                self.shard.open(gone);
                self.records.retain(|record| record.user != id(user));
            }
            Step::Publish => {
                let input = Input::Publish(Publish {
                    data: "1".into(),
                    labels: None,
                    at: 0,
                    except: None,
                    is_transient: false,
                });
                self.shard.handle(&topic(), input, self.instant());
            }
            Step::Pass(milliseconds) => self.now += milliseconds,
            Step::Expire => self.expire(),
            Step::Deliver { slices, max } => self.deliver(slices, max),
            Step::Open { .. } | Step::Cable { .. } => {}
        }
    }

    fn open(&mut self, user: Option<&'static str>) -> usize {
        let number = self.pages.len();
        let client = Client::default().with_default_presence_id(user.map(PresenceId::from));
        self.pages.push(Some(Page {
            session: Session::new(SessionId::from_bits(number as u128), &client),
            user,
            refs: 0,
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            join_ref: None,
            earlier: Vec::new(),
            is_counting: false,
            total: None,
            presence: Presence::default(),
            shouts: (0, 0),
        }));
        number
    }

    fn page(&mut self, number: usize) -> &mut Page {
        self.pages[number].as_mut().unwrap()
    }

    fn act(&mut self, number: usize, what: What) {
        let unix = self.unix().as_secs();
        // as a meta of one's own is merged over it
        let info = |meta: usize| {
            let separator = if METAS[meta].is_empty() { "" } else { "," };
            format!("{{\"online_at\":\"{unix}\"{separator}{}}}", METAS[meta])
        };
        let payload = |meta: usize| format!("{{\"meta\":{{{}}}}}", METAS[meta]);
        let is_in = self.page(number).join_ref.is_some();
        let user = self.page(number).user;
        let present = self.records.iter().position(|it| it.owner == Owner::Connection(number));
        match what {
            What::Join { meta, counts } => {
                let watch = if counts { r#","presence":"occupancy""# } else { "" };
                let payload = format!("{{\"meta\":{{{}}}{watch}}}", METAS[meta]);
                if self.page(number).is_counting && !counts {
                    // what is under way would be taken for what is told after the state
                    self.deliver(usize::MAX, 3);
                }
                let page = self.page(number);
                let join_ref = (page.refs + 1).to_string();
                page.earlier.extend(page.join_ref.replace(join_ref));
                page.is_counting = counts;
                page.total = None;
                self.ask(number, "phx_join", &payload, "ok");
                if let Some(user) = user {
                    self.record(Owner::Connection(number), user, info(meta));
                }
            }
            What::Leave => {
                self.deliver(usize::MAX, 3); // likewise, if it joins again
                self.ask(number, "phx_leave", "{}", "ok");
                self.records.retain(|record| record.owner != Owner::Connection(number));
                let page = self.page(number);
                page.earlier.extend(page.join_ref.take());
                page.presence = Presence::default();
            }
            What::Track { meta } | What::Update { meta } => {
                let is_update = matches!(what, What::Update { .. });
                let is_good = is_in && user.is_some() && (present.is_some() || !is_update);
                let event = if is_update { "presence:update" } else { "presence:track" };
                self.ask(number, event, &payload(meta), if is_good { "ok" } else { "error" });
                if let (true, Some(user)) = (is_good, user) {
                    self.record(Owner::Connection(number), user, info(meta));
                }
            }
            What::Untrack => {
                let status = if present.is_some() { "ok" } else { "error" };
                self.ask(number, "presence:untrack", "{}", status);
                self.records.retain(|record| record.owner != Owner::Connection(number));
            }
            What::Shout => {
                self.ask(number, "shout", "{}", if is_in { "ok" } else { "error" });
                for (other, page) in self.pages.iter_mut().enumerate() {
                    let Some(page) = page else { continue };
                    page.shouts.0 += usize::from(is_in && other != number && page.is_in());
                }
            }
            What::ShoutLate => {
                let page = self.page(number);
                let Some(earlier) = page.earlier.last().cloned() else { return };
                let now = page.join_ref.replace(earlier);
                self.ask(number, "shout", "{}", "error");
                self.page(number).join_ref = now;
            }
            What::Heartbeat => {
                let page = self.page(number);
                page.refs += 1;
                let (frame, asked) =
                    (format!("[null,\"{}\",\"phoenix\",\"heartbeat\",{{}}]", page.refs), "ok");
                page.asked.insert(page.refs.to_string(), asked);
                self.say(number, &frame);
            }
            What::Vanish => {}
        }
    }

    fn ask(&mut self, number: usize, event: &str, payload: &str, status: &'static str) {
        let page = self.page(number);
        page.refs += 1;
        page.asked.insert(page.refs.to_string(), status);
        let (join_ref, topic) = (page.join_ref.as_deref(), token(topic().as_str()));
        let join_ref = join_ref.map_or("null".to_owned(), token);
        let frame = format!("[{join_ref},\"{}\",{topic},\"{event}\",{payload}]", page.refs);
        self.say(number, &frame);
    }

    /// What a connection's task does about a frame.
    fn say(&mut self, number: usize, frame: &str) {
        let (unix, now) = (self.unix(), self.instant());
        let page = self.pages[number].as_mut().unwrap();
        let request = protocol::decode(phoenix::CODEC, frame, page.session.presence_id(), || unix);
        let reference = request.reference.clone();
        let mut out = Vec::new();
        match page.session.handle(request, &Limits::default(), &Streams::default()) {
            Action::Forward { stream, identifier, watch, command } => {
                let group = GroupKey { codec: phoenix::CODEC, watch, identifier };
                let key = SubscriberKey { session: page.session.id(), group };
                let input = Input::Command { key, recipient: number, command, reference };
                self.shard.handle(&stream, input, now);
            }
            Action::Refuse { identifier, message, .. } => {
                let group = GroupKey::new(phoenix::CODEC, identifier);
                protocol::encode(&group, &message, reference.as_deref(), &mut out);
            }
            Action::Answer { message, .. } => {
                let reference = reference.as_deref();
                protocol::encode_connection(phoenix::CODEC, &message, reference, &mut out);
            }
            other
            @ (Action::Nothing(_) | Action::Ask { .. } | Action::Follow(_) | Action::Wait) => {
                panic!("{other:?}")
            }
        }
        page.receive(&out);
    }

    fn vanish(&mut self, number: usize) {
        self.deliver(0, 1);
        let now = self.instant();
        for (held, stream) in self.page(number).session.end().streams() {
            let group = held.group(phoenix::CODEC);
            let key = SubscriberKey { session: SessionId::from_bits(number as u128), group };
            let input = Input::Ended { key, end: End::at(now) };
            self.shard.handle(stream, input, now);
        }
        let page = self.page(number);
        page.join_ref = None;
        page.shouts.0 = page.shouts.1; // what it hasn't heard by now, it never will
        self.let_go(number, Owner::Nobody);
    }

    /// Updates an owner's record, takes over an orphan, or adds a record.
    fn record(&mut self, owner: Owner, user: &'static str, info: String) {
        let held = self.records.iter().position(|record| record.owner == owner);
        let orphan = |it: &Record| it.owner == Owner::Nobody && it.user == user;
        match held.or_else(|| self.records.iter().rposition(orphan)) {
            // a record that is taken over is the last one, as a new one would be
            Some(at) if held.is_none() && !self.is_last(at) => {
                self.records.remove(at);
                self.records.push(Record { user, info, owner, deadline: None });
            }
            Some(at) => {
                self.records[at].owner = owner;
                self.records[at].deadline = None;
                self.change(at, info);
            }
            None => self.records.push(Record { user, info, owner, deadline: None }),
        }
    }

    /// Whether a record is the user's last one.
    fn is_last(&self, at: usize) -> bool {
        let user = self.records[at].user;
        !self.records[at + 1..].iter().any(|record| record.user == user)
    }

    fn change(&mut self, at: usize, info: String) {
        if self.records[at].info != info {
            let record = self.records.remove(at);
            self.records.push(Record { info, ..record });
        }
    }

    fn let_go(&mut self, number: usize, owner: Owner) {
        for record in &mut self.records {
            if record.owner == Owner::Connection(number) {
                self.decisions += 1;
                record.owner = owner;
                record.deadline = Some((self.now + TTL, self.decisions));
            }
        }
    }

    fn expire(&mut self) {
        self.shard.handle_timeout(self.instant());
        let now = self.now;
        self.records.retain(|record| record.deadline.is_none_or(|(at, _)| at > now));
        for record in &mut self.records {
            let ended = record.deadline.map(|(at, _)| at - TTL);
            if record.owner == Owner::Parked && ended.is_some_and(|at| at + SESSION_TTL <= now) {
                record.owner = Owner::Nobody;
            }
        }
    }

    fn deliver(&mut self, slices: usize, max: usize) {
        while let Some(Delivery { recipient, group, messages, reference, .. }) =
            self.shard.commit(|_| ()).poll_reply()
        {
            let mut out = Vec::new();
            protocol::encode_run(&group, &messages, reference.as_deref(), &mut out);
            self.receive(recipient, &out);
        }
        for _ in 0..slices {
            let now = self.instant();
            let Some(slice) = self.shard.commit(|_| ()).poll_fan_out(max, now) else {
                break;
            };
            let FanOut { group, messages, recipients } = slice;
            for (recipient, has) in recipients {
                let mut out = Vec::new();
                protocol::encode_run(&group, &messages[has..], None, &mut out);
                self.receive(recipient, &out);
            }
        }
    }

    fn receive(&mut self, recipient: usize, frames: &[u8]) {
        if let Some(page) = &mut self.pages[recipient] {
            page.receive(frames);
        }
    }

    /// The shard's list equals the naive list.
    fn check_records(&mut self) {
        let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for record in &self.records {
            expected.entry(record.user).or_default().push(&record.info);
        }
        let listed = self.shard.commit(|_| ()).records(&topic());
        let listed = listed.iter().map(|member| {
            let infos = member.records.iter().map(|record| record.info.as_str());
            (member.id.as_str(), infos.collect::<Vec<_>>())
        });
        assert_eq!(listed.collect::<BTreeMap<_, _>>(), expected);
    }

    /// Once all is sent, every page's list equals the shard's, and every request has its reply.
    fn check_clients(&mut self) {
        self.pass_interval();
        let listed = self.shard.commit(|_| ()).records(&topic());
        let metas = |member: &broker::types::MemberRecords| -> Vec<String> {
            let references = member.records.iter().map(|record| format!("{:x}", record.reference));
            references.collect()
        };
        let there: BTreeMap<String, Vec<String>> =
            listed.iter().map(|member| (member.id.to_string(), metas(member))).collect();
        let total = self.shard.commit(|_| ()).member_count(&topic()) as u64;
        for page in self.pages.iter().flatten() {
            let answered = page.answers.keys().collect::<Vec<_>>();
            if page.is_in() && page.is_counting {
                assert_eq!(page.total, Some(total));
            } else if page.is_in() {
                let Presence { state, pending, join_ref, is_shuffled } = &page.presence;
                assert_eq!(*join_ref, page.join_ref, "it has a state");
                assert!(pending.is_empty());
                let mut seen: BTreeMap<String, Vec<String>> =
                    state.iter().map(|(id, metas)| (id.clone(), references(metas))).collect();
                let mut there = there.clone();
                if *is_shuffled {
                    for metas in seen.values_mut().chain(there.values_mut()) {
                        metas.sort();
                    }
                }
                assert_eq!(seen, there);
            }
            for (reference, status) in &page.asked {
                let told = page.answers.get(reference).map(Vec::as_slice).unwrap_or_default();
                let is_there = page.session.subscriptions().len() <= 1;
                assert!(is_there && told == [*status], "{reference}: {told:?}, not {status}");
            }
            assert_eq!(answered.len(), page.asked.len(), "{answered:?}");
            assert_eq!(page.shouts.0, page.shouts.1);
        }
    }

    /// Occupancy has been sent.
    fn pass_interval(&mut self) {
        let until = self.instant() + Duration::from_millis(TTL + 2 * INTERVAL);
        while let Some(due) = self.shard.poll_timeout().filter(|due| *due <= until) {
            self.now = u64::try_from((due - self.start).as_millis()).unwrap().max(self.now);
            self.expire();
            self.deliver(usize::MAX, 2);
        }
    }

    /// Ends everything; nothing is left.
    fn close(&mut self) {
        for number in std::mem::take(&mut self.clients).into_iter().flatten() {
            self.vanish(number);
        }
        self.step(&Step::CableEnds { resumable: false });
        for user in 0..USERS.len() - 1 {
            self.step(&Step::Kick(user));
        }
        self.now += TTL;
        self.expire();
        self.deliver(usize::MAX, 100);
        assert_eq!(self.shard.totals(), Totals::default());
    }
}

/// The presence id of a user that has one.
fn id(user: usize) -> &'static str {
    USERS[user].unwrap()
}
