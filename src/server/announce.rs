//! The first log lines: addresses, their protection and the settings in force.

use super::routes::Addresses;
use crate::config::{Config, Secret};
use crate::http::{dashboard, pages};

/// Logs the addresses, their protection and the settings that matter most.
pub(super) fn ready(
    config: &Config,
    at: &Addresses,
    open_files: u64,
    (max_connections, possible): (usize, usize),
) {
    let Addresses { cable, api, metrics } = at;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        engine = match (&config.cluster, &config.state_dir) {
            (Some(cluster), _) => cluster.engine.name(),
            (None, Some(_)) => "memory and disk",
            (None, None) => "memory",
        },
        presence_ttl = %humantime::format_duration(config.presence_ttl),
        open_files,
        max_connections,
        "starting"
    );
    let access = &config.access;
    let protocols = || config.protocols.spoken();
    let reach = if config.host.to_canonical().is_loopback() {
        "this machine"
    } else {
        "everyone who can reach it"
    };
    let keyed = |key: Option<Secret>| if key.is_some() { "protected by key" } else { "open" };
    let sockets = match (access.token_secret(), access.is_token_required()) {
        (None, _) => "open",
        (Some(_), true) => "protected by token",
        (Some(_), false) => "open, tokens are checked",
    };
    let streams = match (access.are_streams_public(), access.stream_secret()) {
        (true, None) => "public",
        (true, Some(_)) => "public and signed",
        (false, Some(_)) => "signed",
        (false, None) => "none",
    };
    let mut streams = streams.to_owned();
    for (is_on, whose) in
        [(access.turbo_streams, ", Turbo's"), (access.cable_ready, ", CableReady's")]
    {
        if is_on {
            streams.push_str(whose);
        }
    }
    let origins = access.allowed_origins.as_ref().map_or_else(|| "any".into(), ToString::to_string);
    // the path of the first protocol: most clients use it
    let path = protocols().next().map_or("", |(_, path)| path);
    let tls = if config.tls.is_some() { "s" } else { "" };
    tracing::info!(
        url = format!("ws{tls}://{cable}{path}"),
        access = sockets,
        reach,
        streams,
        presence_ids = access.presence_id_claim.as_deref().map_or("any", |_| "from the token"),
        origins,
        "listening for clients"
    );
    let each = protocols().map(|(protocol, path)| format!("{} {path}", protocol.name));
    tracing::info!(at = each.collect::<Vec<_>>().join(", "), "protocols enabled");
    tracing::info!(
        url = format!("http{tls}://{api}/_broadcast"),
        access = keyed(access.publishing_key()),
        "listening for broadcasts"
    );
    tracing::info!(
        url = format!("http{tls}://{api}/api"),
        access = keyed(access.reading_key()),
        "serving the API"
    );
    tracing::info!(
        url = format!("http{tls}://{metrics}/metrics"),
        access = keyed(access.scraping_key()),
        "serving metrics"
    );
    if let Some(application) = &config.application {
        let key = application.secret.clone().or_else(|| config.access.calling_key());
        tracing::info!(
            at = %application.host,
            protocol = application.host.protocol(),
            tls = application.tls.is_some(),
            key = if key.is_some() { "shown" } else { "none" },
            "calling the application about connections and channels"
        );
    }
    if config.dashboard {
        tracing::info!(
            url = format!("http{tls}://{api}{}", dashboard::PAGE),
            access = keyed(access.reading_key()),
            "serving the dashboard"
        );
    }
    if config.examples {
        tracing::info!(url = format!("http{tls}://{cable}{}", pages::CHAT), "serving the examples");
    }
    if max_connections > possible {
        tracing::warn!(
            open_files,
            possible,
            "--max-connections is above what the open-file limit allows: raise the limit"
        );
    }
    tracing::info!(pid = std::process::id(), "ready");
}
