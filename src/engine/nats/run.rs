//! Runs of the server that has a log.
//!
//! Only NATS knows whether a server has restarted that has a stream, but not the streams' clients: they may be connected to
//! another server, and what was restored from files looks like what was there. So each run in which a log was found
//! whole has a consumer, which is only in memory and has delivered the settlement that says so. Where that consumer isn't,
//! or has delivered nothing, the log may have lost something.

use std::time::Duration;

use super::fault::Fault;
use super::link::Link;
use super::tail::{Pulled, Start, Tail};

/// Time in which a message comes that is there. It may have been purged since it was stored.
const WAIT: Duration = Duration::from_secs(1);

fn name(run: u64) -> String {
    format!("run-{run:016x}")
}

/// The log is whole as long as this run lasts. Its settlement was stored by this node; returns whether that is there.
pub(super) async fn begin(
    link: &Link,
    stream: &str,
    (run, sequence): (u64, u64),
    timeout: Duration,
) -> Result<bool, Fault> {
    let name = name(run);
    let start = Start::Named(&name, sequence);
    let mut tail = Tail::open(link, stream, start, (WAIT, timeout)).await?;
    let first = tail.next().await?;
    Ok(matches!(first, Pulled::Message(message) if message.sequence == sequence))
}

/// Whether a run still lasts.
pub(super) async fn lasts(link: &Link, stream: &str, run: u64) -> Result<bool, Fault> {
    Ok(link.delivered(stream, &name(run)).await?.is_some_and(|count| count > 0))
}

/// Another run has begun.
pub(super) async fn end(link: &Link, stream: &str, run: u64) -> Result<(), Fault> {
    link.end_consumer(stream, &name(run)).await
}
