//! A working connection, as followers use it.

use std::sync::{Arc, OnceLock};

use async_nats::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::fault::Fault;

/// Largest part of what is written in several messages, in bytes.
const MAX_PART: usize = 512 * 1024;

/// A connection that works. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    /// Numbers links from 1.
    number: u64,
    client: Client,
    end: Arc<End>,
}

/// The link that works at the moment, if any.
pub(super) type Links = watch::Receiver<Option<Link>>;

/// The end of a connection: its first fault.
#[derive(Debug, Default)]
pub(super) struct End {
    fault: OnceLock<Fault>,
    is_there: CancellationToken,
}

impl End {
    pub(super) fn report(&self, fault: Fault) {
        self.fault.set(fault).ok(); // the first one counts
        self.is_there.cancel();
    }

    async fn fault(&self) -> Fault {
        self.is_there.cancelled().await;
        self.fault.get().cloned().unwrap_or(Fault::Closed)
    }
}

impl Link {
    pub(super) fn new(number: u64, client: Client, end: Arc<End>) -> Self {
        Self(Arc::new(Connection { number, client, end }))
    }

    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Largest part of what is written in several messages, in bytes. JetStream gives messages back in base64, in one
    /// message: that has to fit, too.
    pub(super) fn max_part(&self) -> usize {
        (self.0.client.max_payload() / 2).min(MAX_PART)
    }

    /// Ends this link: another one is made.
    pub(super) fn report(&self, fault: Fault) {
        self.0.end.report(fault);
    }

    /// Waits for its end.
    pub(super) async fn fault(&self) -> Fault {
        self.0.end.fault().await
    }

    /// Does something, until the link ends.
    pub(super) async fn during<T>(
        &self,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        tokio::select! {
            biased;
            done = work => done,
            fault = self.fault() => Err(fault),
        }
    }
}
