//! The first lines of the log: what serves where, for whom, with which settings.

use std::net::SocketAddr;

use super::Listener;
use crate::config::Config;

/// Where the broker really listens, with port 0 resolved.
pub(super) struct Addresses {
    main: SocketAddr,
    api: SocketAddr,
    metrics: SocketAddr,
}

impl Addresses {
    pub(super) fn of(main: &Listener, api: Option<&Listener>, metrics: Option<&Listener>) -> Self {
        let main = main.address();
        let or_main = |listener: Option<&Listener>| listener.map_or(main, Listener::address);
        Self { main, api: or_main(api), metrics: or_main(metrics) }
    }
}

/// How much the broker can hold.
pub(super) struct Capacity {
    pub(super) open_files: u64,
    pub(super) connections: usize,
}

/// Tells who reads the log what there is to know.
pub(super) fn ready(config: &Config, at: &Addresses, capacity: &Capacity) {
    let Addresses { main, api, metrics } = at;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        engine = "memory",
        presence_ttl = %humantime::format_duration(config.presence_ttl),
        open_files = capacity.open_files,
        max_connections = capacity.connections,
        "broker"
    );
    let reach = if config.public { "everyone who can reach it" } else { "this machine" };
    let keyed = |has_key: bool| if has_key { "protected by key" } else { "open" };
    tracing::info!(
        url = format!("ws://{main}{}", config.cable_path),
        access = "open",
        reach,
        "sockets, public streams"
    );
    tracing::info!(
        url = format!("http://{api}/_broadcast"),
        access = keyed(config.broadcast_key.is_some()),
        "broadcasts"
    );
    tracing::info!(
        url = format!("http://{api}/api"),
        access = keyed(config.api_key.is_some()),
        "publishing and presence"
    );
    tracing::info!(url = format!("http://{metrics}/metrics"), access = "open", "metrics");
    if config.max_connections.is_some_and(|most| most as u64 > capacity.open_files) {
        tracing::warn!(
            open_files = capacity.open_files,
            max_connections = capacity.connections,
            "there can't be as many connections as --max-connections: raise the open-file limit"
        );
    }
    tracing::info!(pid = std::process::id(), "ready");
}
