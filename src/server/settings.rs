//! The configuration, as the settings of the layers below.

use std::io;

use super::error::Error;
use super::room::Room;
use crate::config::{Config, TimestampPrecision};
use crate::log::LogId;
use crate::net::{ConnectionLimits, Settings};
use crate::protocol::{PingParameters, PingPrecision};
use crate::shard;

/// The shards' settings.
pub(super) fn shards(config: &Config) -> Result<shard::Settings, Error> {
    let mut log = [0; 8];
    getrandom::fill(&mut log).map_err(io::Error::other)?;
    Ok(shard::Settings {
        max_members: config.max_members.unwrap_or(usize::MAX),
        max_records: config.limits.records,
        max_answer: config.max_answer_size,
        presence_ttl: config.presence_ttl,
        occupancy_interval: config.occupancy_interval,
        resume: shard::ResumeSettings {
            ttl: config.sessions_ttl,
            // without liveness checks, only the kernel's own timeouts end a connection
            max_unacked: config
                .liveness_interval
                .map_or(config.sessions_ttl, |interval| interval + config.liveness_timeout),
        },
        history: shard::HistorySettings {
            limit: config.history_limit,
            ttl: config.history_ttl,
            max_bytes: config.history_max_bytes,
        },
        log: LogId(u64::from_ne_bytes(log)),
    })
}

/// The connections' settings.
pub(super) fn connections(config: &Config, room: &Room) -> Settings {
    Settings {
        limits: config.limits,
        max_message: config.max_message_size,
        max_outbox: u32::try_from(config.max_outbox_size).unwrap_or(u32::MAX),
        connection_limits: ConnectionLimits {
            connections: config.max_connections.unwrap_or(room.connections()),
            per_address: config.max_connections_per_address,
            per_second: config.max_handshakes_per_second,
        },
        sessions_ttl: config.sessions_ttl,
        ping: PingParameters {
            ping_interval: config.ping_interval.unwrap_or_default(),
            ping_precision: match config.ping_timestamp_precision {
                TimestampPrecision::Seconds => PingPrecision::Seconds,
                TimestampPrecision::Milliseconds => PingPrecision::Milliseconds,
                TimestampPrecision::Nanoseconds => PingPrecision::Nanoseconds,
            },
        },
    }
}
