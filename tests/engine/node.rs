//! A node of a test's own: it appends batches one after the other, and notes what it is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use broker::engine::{
    ClusterName, Cursor, Engine, EngineError, EngineSettings, Event, Forks, LostReason,
    NatsSettings, NatsStorage, Nodes, Opened, PartitionLog, RedisSettings, connect,
};
use broker::log::NodeId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Time for an answer, in these tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// Time that a node waits for others which have something that the engine has lost.
const LEASE: Duration = Duration::from_secs(3);

/// What is appended where something may be lost.
pub(crate) const FORK: &str = "fork";

/// Number of the next node.
static NODES: AtomicU64 = AtomicU64::new(1);

/// What is larger was appended by another node than those that are to agree.
const MAX_BATCH: usize = 100;

/// A test waits no longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Access to an engine; its tasks end when this is dropped.
pub(crate) struct Client {
    pub(crate) opened: Opened,
    _stop: DropGuard,
}

pub(crate) fn settings(url: &str, partitions: u16) -> EngineSettings {
    EngineSettings {
        cluster: ClusterName::new("test").unwrap(),
        partitions,
        timeout: TIMEOUT,
        nodes: Nodes::new(NodeId(NODES.fetch_add(1, Ordering::Relaxed)), LEASE),
        secret: None,
        forks: Forks::new(|_, _, _| FORK.into()),
        engine: engine(url),
    }
}

/// The engine of a URL, or of several with commas. With `file+` before it, NATS keeps streams in files.
fn engine(url: &str) -> Engine {
    let (storage, url) = match url.strip_prefix("file+") {
        Some(url) => (NatsStorage::File, url),
        None => (NatsStorage::Memory, url),
    };
    if url.starts_with("redis") {
        let mut urls = url.split(',');
        let redis = RedisSettings::new(urls.next().unwrap(), None).unwrap();
        Engine::Redis(redis.with_seeds(urls).unwrap())
    } else {
        let mut nats = NatsSettings::new([url], storage).unwrap();
        nats.patience = Duration::ZERO;
        Engine::Nats(nats)
    }
}

impl Client {
    pub(crate) async fn connect(url: &str, partitions: u16) -> Result<Self, EngineError> {
        Self::with(&settings(url, partitions)).await
    }

    pub(crate) async fn with(settings: &EngineSettings) -> Result<Self, EngineError> {
        let stop = CancellationToken::new();
        let opened = connect(settings, &TaskTracker::new(), &stop).await?;
        Ok(Self { opened, _stop: stop.drop_guard() })
    }

    pub(crate) fn take_log(&mut self) -> PartitionLog {
        self.opened.logs.remove(0)
    }
}

/// A node on a partition.
pub(crate) struct Node {
    told: Arc<Told>,
    _client: Arc<Client>,
}

#[derive(Default)]
struct Told {
    state: Mutex<State>,
    changed: Notify,
}

/// What a node was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// All batches, in order.
    pub(crate) log: Vec<String>,
    /// The last one's cursor.
    pub(crate) cursor: u64,
    /// Whether cursors may be left out.
    may_skip: bool,
    /// How many of its own have come back.
    pub(crate) own: usize,
    /// How many appends have failed.
    pub(crate) failed: usize,
    pub(crate) times_caught_up: usize,
    /// How often it was asked for its state.
    pub(crate) put_back: usize,
    pub(crate) lost: Option<LostReason>,
}

impl Node {
    /// Starts a node that appends this many batches, each with its name and a number from 0.
    pub(crate) async fn start(url: &str, name: &'static str, count: usize) -> Self {
        Self::start_work(url, Work { name, count, size: 0, pause: Duration::ZERO }).await
    }

    /// The same, with batches of at least some bytes.
    pub(crate) async fn start_large(
        url: &str,
        name: &'static str,
        count: usize,
        size: usize,
    ) -> Self {
        Self::start_work(url, Work { name, count, size, pause: Duration::ZERO }).await
    }

    /// The same, taking some time for each event.
    pub(crate) async fn start_slow(
        url: &str,
        name: &'static str,
        count: usize,
        pause: Duration,
    ) -> Self {
        Self::start_work(url, Work { name, count, size: 0, pause }).await
    }

    async fn start_work(url: &str, work: Work) -> Self {
        let settings = settings(url, 1);
        introduce(url, &settings.nodes);
        Self::start_with(&settings, work).await
    }

    /// Starts a node with settings of its own.
    pub(crate) async fn start_with(settings: &EngineSettings, work: Work) -> Self {
        Self::start_at(settings, &[0], work).await.remove(0)
    }

    /// Starts a node with settings of its own, and gives it for each of some partitions.
    pub(crate) async fn start_at(
        settings: &EngineSettings,
        partitions: &[usize],
        work: Work,
    ) -> Vec<Self> {
        let mut client = Client::with(settings).await.unwrap();
        let logs: Vec<_> = client.opened.logs.drain(..).collect();
        let client = Arc::new(client);
        let mut nodes = Vec::new();
        for (partition, log) in logs.into_iter().enumerate() {
            if partitions.contains(&partition) {
                let told = Arc::<Told>::default();
                told.state.lock().may_skip = matches!(settings.engine, Engine::Nats(_));
                tokio::spawn(work.run(log, Arc::clone(&told)));
                nodes.push(Self { told, _client: Arc::clone(&client) });
            }
        }
        nodes
    }

    /// What it was told so far.
    pub(crate) fn state(&self) -> State {
        self.told.state.lock().clone()
    }

    /// How many of its own have come back.
    pub(crate) fn own(&self) -> usize {
        self.told.state.lock().own
    }

    /// Waits until something is so.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&State) -> bool) -> State {
        let begun = Instant::now();
        loop {
            {
                let state = self.told.state.lock();
                if so(&state) {
                    return state.clone();
                }
                let State { own, failed, lost, .. } = &*state;
                let count = state.log.len();
                assert!(
                    begun.elapsed() < PATIENCE,
                    "not {what}: {count} told, {own} of its own, {failed} failed, lost: {lost:?}"
                );
            }
            drop(
                tokio::time::timeout(Duration::from_millis(50), self.told.changed.notified()).await,
            );
        }
    }
}

/// The nodes of each server.
static KNOWN: Mutex<BTreeMap<String, Vec<Arc<Nodes>>>> = Mutex::new(BTreeMap::new());

/// Each node of a server knows all of them.
pub(crate) fn introduce(url: &str, nodes: &Arc<Nodes>) {
    let mut known = KNOWN.lock();
    let known = known.entry(url.to_owned()).or_default();
    known.push(Arc::clone(nodes));
    let members = Arc::new(known.iter().map(|nodes| nodes.own).collect());
    for nodes in known {
        nodes.set_members(&members);
    }
}

/// What a node does.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    /// What its batches begin with.
    pub(crate) name: &'static str,
    /// Number of its batches.
    pub(crate) count: usize,
    /// Bytes of a batch, at least.
    pub(crate) size: usize,
    /// Time that it takes for an event.
    pub(crate) pause: Duration,
}

impl Work {
    fn batch(&self, number: usize) -> String {
        format!("{} {number}{}", self.name, ".".repeat(self.size))
    }

    async fn run(self, mut log: PartitionLog, told: Arc<Told>) {
        log.follow(Cursor(0));
        if self.count > 0 {
            log.append(self.batch(0).into());
        }
        while let Some(event) = log.events.recv().await {
            if event == Event::StateWanted {
                let (state, cursor) = told.state.lock().snapshot();
                log.give_state(cursor, vec![state.into()]);
            }
            told.state.lock().note(event, &self, |batch| log.append(batch.into()));
            told.changed.notify_one();
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
    }
}

impl State {
    fn snapshot(&self) -> (String, Cursor) {
        (self.log.join("\n"), Cursor(self.cursor))
    }

    fn note(&mut self, event: Event, work: &Work, mut append: impl FnMut(String)) {
        match event {
            Event::Batch { cursor, at, batch } => {
                assert!(at > 1_600_000_000_000, "the engine's time is {at}");
                let is_next = cursor.0 == self.cursor + 1;
                let is_later = self.may_skip && cursor.0 > self.cursor;
                let (name, before) = (work.name, self.cursor);
                assert!(is_next || is_later, "{name}: {cursor:?} behind {before}");
                self.cursor = cursor.0;
                let batch = String::from_utf8(batch.to_vec()).unwrap();
                if self.own < work.count && batch == work.batch(self.own) {
                    self.own += 1;
                    if self.own < work.count {
                        append(work.batch(self.own));
                    }
                }
                self.log.push(batch);
            }
            Event::CaughtUp => self.times_caught_up += 1,
            Event::AppendFailed => {
                self.failed += 1;
                append(work.batch(self.own));
            }
            Event::StateWanted => self.put_back += 1,
            Event::Lost(reason) => self.lost = Some(reason),
        }
    }
}

/// Waits until all nodes have appended everything; then they must have been told the same.
pub(crate) async fn agree(nodes: &[Node], count: usize) -> Vec<State> {
    let own = |state: &State| state.own == count && state.lost.is_none();
    let mut longest = 0;
    for node in nodes {
        longest = longest.max(node.until("all of its own", own).await.log.len());
    }
    let mut states = Vec::new();
    for node in nodes {
        let state = node.until("told all", |state| state.log.len() >= longest).await;
        longest = longest.max(state.log.len());
        states.push(state);
    }
    let all = &states.first().unwrap().log;
    for state in &states {
        let common = all.len().min(state.log.len());
        assert_eq!(all.get(..common), state.log.get(..common), "nodes were told different orders");
        assert_eq!(state.times_caught_up, 1);
    }
    // every batch of every node, and again only what a failed append may have left there
    let failed: usize = states.iter().map(|state| state.failed).sum();
    let is_small = |batch: &&String| batch.len() < MAX_BATCH && *batch != FORK;
    let mut unique: Vec<_> = all.iter().filter(is_small).collect();
    let total = unique.len();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), nodes.len() * count);
    assert!(total <= unique.len() + failed, "{} of {total} are repeated", total - unique.len());
    states
}

/// The next event.
pub(crate) async fn next(log: &mut PartitionLog) -> Event {
    tokio::time::timeout(PATIENCE, log.events.recv()).await.unwrap().unwrap()
}
