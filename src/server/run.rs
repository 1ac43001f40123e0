//! Runs the process: start, serve, stop.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::broker::Broker;
use super::error::Error;
use super::listener::Serving;
use super::room::Room;
use super::routes::Routes;
use super::tls::Certificate;
use super::{announce, metrics, signals};
use crate::config::{Config, TlsFiles};
use crate::telemetry::Instruments;

/// Serves until a signal stops the process. Call it within a runtime.
pub async fn run(config: Config) -> Result<(), Error> {
    let open_files = raise_open_file_limit();
    let prometheus = metrics::install(open_files)?;
    let room = Room::new(open_files, Routes::count(&config));
    let broker = Broker::start(&config, &room)?;
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
        () = broker.shard_failed.cancelled() => return Err(broker.failure()),
    };
    tracing::info!(signal, connections = context.connections(), "stopping");
    signals.exit_on_next();
    tokio::select! {
        () = broker.drain(config.shutdown_drain) => {}
        () = broker.shard_failed.cancelled() => return Err(Error::Shard),
    }
    broker.stop(&serving, config.shutdown_timeout).await;
    Ok(())
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
