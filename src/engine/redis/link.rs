//! A working pair of connections, as followers use it.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, mpsc, watch};

use super::fault::Fault;
use super::run::Run;

/// The connection for commands, and who to tell when it fails. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Numbers links from 1.
    pub(super) number: u64,
    /// The run of the server: another one may have lost data.
    pub(super) run: Arc<str>,
    /// How batches are published and subscribed to.
    pub(super) channels: &'static Channels,
    look: Arc<Notify>,
    commands: MultiplexedConnection,
    faults: Faults,
}

/// How batches are published and subscribed to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Channels {
    pub(super) publish: &'static str,
    pub(super) subscribe: &'static str,
}

/// In a Redis Cluster, messages go to all its servers.
const EVERYWHERE: Channels = Channels { publish: "PUBLISH", subscribe: "SUBSCRIBE" };

/// Messages stay at the master of their slot.
const SHARDED: Channels = Channels { publish: "SPUBLISH", subscribe: "SSUBSCRIBE" };

/// Takes a link's faults: the first one ends it.
#[derive(Clone, Debug)]
pub(super) struct Faults(mpsc::Sender<(u64, Fault)>);

/// The link that works at the moment, if any.
pub(super) type Links = watch::Receiver<Option<Link>>;

/// Faults that wait for the supervisor, at most. The first one is enough.
const MAX_FAULTS: usize = 4;

impl Faults {
    pub(super) fn new() -> (Self, mpsc::Receiver<(u64, Fault)>) {
        let (sender, receiver) = mpsc::channel(MAX_FAULTS);
        (Self(sender), receiver)
    }

    pub(super) fn report(&self, link: u64, fault: Fault) {
        self.0.try_send((link, fault)).ok(); // if the queue is full, the link is being ended
    }
}

impl Link {
    pub(super) fn new(
        number: u64,
        run: Run,
        commands: MultiplexedConnection,
        faults: Faults,
        look: Arc<Notify>,
    ) -> Self {
        let channels = if run.has_shard_channels { &SHARDED } else { &EVERYWHERE };
        Self { number, run: run.id, channels, look, commands, faults }
    }

    /// Has it looked which server has which partitions.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// Ends this link: both connections are made anew.
    pub(super) fn report(&self, fault: Fault) {
        self.faults.report(self.number, fault);
    }

    /// Sends a command.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Fault> {
        ask(&self.commands, command).await
    }

    /// Sends commands together. Each may fail for itself.
    pub(super) async fn ask_each(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        ask_each(&self.commands, commands).await
    }

    /// Sends commands together.
    pub(super) async fn ask_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        ask_all(&self.commands, commands).await
    }
}

/// Sends a command.
pub(super) async fn ask(connection: &MultiplexedConnection, command: &Cmd) -> Result<Value, Fault> {
    refused(connection.clone().send_packed_command(command).await?)
}

/// Sends commands together.
pub(super) async fn ask_all(
    connection: &MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Vec<Value>, Fault> {
    ask_each(connection, commands).await?.into_iter().collect()
}

/// Sends commands together. Each may fail for itself.
pub(super) async fn ask_each(
    connection: &MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Vec<Result<Value, Fault>>, Fault> {
    let answers = connection.clone().send_packed_commands(commands, 0, commands.len()).await?;
    Ok(answers.into_iter().map(refused).collect())
}

fn refused(answer: Value) -> Result<Value, Fault> {
    if let Value::ServerError(error) = answer {
        Err(Fault::Redis(error.into()))
    } else {
        Ok(answer)
    }
}
