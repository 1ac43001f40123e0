//! The first lines of the log: what serves where, for whom, with which settings.

use super::doors::Addresses;
use crate::config::Config;

/// Tells who reads the log what there is to know.
pub(super) fn ready(config: &Config, at: &Addresses, open_files: u64, max_connections: usize) {
    let Addresses { cable, api, metrics } = at;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        engine = "memory",
        presence_ttl = %humantime::format_duration(config.presence_ttl),
        open_files,
        max_connections,
        "broker"
    );
    let reach = if config.public { "everyone who can reach it" } else { "this machine" };
    let keyed = |has_key: bool| if has_key { "protected by key" } else { "open" };
    tracing::info!(
        url = format!("ws://{cable}{}", config.cable_path),
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
    if config.max_connections.is_some_and(|most| most as u64 > open_files) {
        tracing::warn!(
            open_files,
            max_connections,
            "there can't be as many connections as --max-connections: raise the open-file limit"
        );
    }
    tracing::info!(pid = std::process::id(), "ready");
}
