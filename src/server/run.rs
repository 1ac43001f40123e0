//! Runs the process: start, serve, stop.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::again::Before;
use super::broker::Broker;
use super::error::Error;
use super::listener::Serving;
use super::room::Room;
use super::routes::Routes;
use super::tls::Certificate;
use super::{announce, metrics, signals};
use crate::config::{Config, TlsFiles};
use crate::telemetry::Instruments;

/// Maximum time for the stop of a node that begins again.
const QUICKLY: Duration = Duration::from_secs(5);

/// How the broker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop.
    Stopped,
    /// It is lost, and has to begin again.
    Lost(Before),
}

/// Serves until a signal stops the process, or it has to begin again. Call it within a runtime.
pub async fn run(config: Config) -> Result<Ending, Error> {
    let before = Before::read();
    let open_files = raise_open_file_limit();
    let prometheus = metrics::install(open_files)?;
    let room = Room::new(open_files, Routes::count(&config));
    let broker = Broker::start(&config, &room, before)?;
    let context = &broker.context;
    let routes = Routes::open(&config, context, prometheus.clone())?;
    let mut signals = signals::Signals::new()?;
    let certificate = config.tls.clone().map(|files| load(files, &context.instruments));
    let liveness = config.liveness_interval.map(|interval| interval + config.liveness_timeout);
    let serving = Serving {
        user_timeout: liveness,
        handshake_timeout: config.handshake_timeout,
        max_header: config.max_header_size,
        instruments: Arc::clone(&context.instruments),
        certificate: certificate.transpose()?,
        requests: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    // The ports are open, so whoever comes now waits; no connection is logged before the start.
    let connections = (context.settings.connection_limits.connections, room.connections());
    announce::ready(&config, &routes.addresses, open_files, connections);
    routes.serve(&room, &context.clock, &serving);
    tokio::spawn(metrics::upkeep(prometheus));

    let signal = tokio::select! {
        name = signals.recv() => name,
        () = broker.ends.failed.cancelled() => return Err(broker.failure()),
        () = broker.ends.lost.cancelled() => {
            return Ok(begin_again(broker, before, &mut signals, &serving).await);
        }
    };
    tracing::info!(signal, connections = context.connections(), "stopping");
    signals.exit_on_next();
    tokio::select! {
        () = broker.drain(config.shutdown_drain) => {}
        () = broker.ends.failed.cancelled() => return Err(broker.failure()),
        () = broker.ends.lost.cancelled() => broker.abandon().await,
    }
    broker.stop(&serving, config.shutdown_timeout).await;
    Ok(Ending::Stopped)
}

/// Stops a node that is lost, unless a signal comes first.
async fn begin_again(
    broker: Broker,
    before: Before,
    signals: &mut signals::Signals,
    serving: &Serving,
) -> Ending {
    let next = before.next(broker.node(), broker.served());
    let wait = humantime::format_duration(next.wait());
    let connections = broker.context.connections();
    tracing::warn!(connections, %wait, "this node closes its connections and begins again as a new one");
    let stop = async {
        broker.abandon().await;
        tokio::time::sleep(next.wait()).await;
        broker.stop(serving, QUICKLY).await;
    };
    tokio::select! {
        signal = signals.recv() => {
            tracing::info!(signal, "stopped");
            Ending::Stopped
        }
        () = stop => Ending::Lost(next),
    }
}

/// Loads the certificate and starts its reloader.
fn load(files: TlsFiles, instruments: &Arc<Instruments>) -> Result<Arc<Certificate>, Error> {
    let (certificate, reloader) = Certificate::load(files, Arc::clone(instruments))?;
    tokio::spawn(reloader.run(signals::hangup()?));
    Ok(certificate)
}

/// Raises the limit to the hard limit, and returns it.
fn raise_open_file_limit() -> u64 {
    let raised = rlimit::increase_nofile_limit(u64::MAX);
    raised.unwrap_or_else(|error| {
        tracing::warn!(%error, "failed to raise the open-file limit");
        rlimit::Resource::NOFILE.get().map_or(1024, |(soft, _)| soft)
    })
}
