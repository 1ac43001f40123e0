//! [`Settings`] → [`Config`]: applies defaults, checks bounds and conflicts, reads files with keys.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::access::Access;
use super::application::ApplicationConfig;
use super::bounds::bounded;
use super::cluster::ClusterConfig;
use super::config::Config;
use super::defaults;
use super::error::ConfigError;
use super::protocols::Protocols;
use super::proxies::Proxies;
use super::settings::Settings;
use super::tls::TlsFiles;
use super::value::{ByteSize, HumanDuration};
use crate::types::{Limits, Pace};

/// Minimum of intervals and timeouts: less would be a busy loop over all connections.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Minimum of a node's lease: it is five beats.
const MIN_LEASE: Duration = Duration::from_secs(1);
/// Maximum of intervals and timeouts: beyond it, 0 (none) is meant.
const MAX_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Minimum time for an answer over a network.
const MIN_FETCH_TIMEOUT: Duration = Duration::from_millis(10);
/// Maximum time a join may wait.
const MAX_FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum TTL: each ended session is kept that long.
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Minimum message size: a subscribe with a short stream name must fit.
const MIN_MESSAGE_SIZE: usize = 128;
/// Minimum body size: a small publication must fit.
const MIN_BODY_SIZE: usize = 1024;
/// Minimum buffer of the HTTP parser.
const MIN_HEADER_SIZE: usize = 8 * 1024;
/// Maximum size of a head: each connection may hold one before it is authenticated.
const MAX_HEADER_SIZE: usize = 1024 * 1024;
/// Maximum of the other sizes: a buffer of that size may be allocated at once.
const MAX_SIZE: usize = 256 * 1024 * 1024;
/// Maximum memory of histories.
const MAX_HISTORY_SIZE: usize = 1 << 42;
/// Maximum of counts; more is a typing error.
const MAX_COUNT: usize = 1_000_000_000;
/// Maximum rate of commands; more is a typing error.
const MAX_COMMAND_RATE: u32 = 1_000_000;

const TOO_SHORT: &str = "so short that it would only waste CPU time";
const TOO_SHORT_BUT_ZERO: &str = "so short that it would only waste CPU time; 0 turns it off";
const ZERO_TURNS_OFF: &str = "use 0 to turn it off";

impl Config {
    /// Applies the defaults, checks everything and reads the files with keys.
    ///
    /// ```
    /// use broker::config::{Config, Settings};
    /// let config = Config::from_settings(Settings { port: Some(0), ..Settings::default() })?;
    /// assert_eq!(config, Config { port: 0, ..Config::default() });
    /// # Ok::<(), broker::config::ConfigError>(())
    /// ```
    pub fn from_settings(settings: Settings) -> Result<Self, ConfigError> {
        config(settings)
    }
}

fn config(mut settings: Settings) -> Result<Config, ConfigError> {
    let default = Config::default();
    let host = settings.host.map_or(default.host, |h| h.0);
    let cluster = cluster(&mut settings)?;
    let application = ApplicationConfig::from_settings(&mut settings.application)?;
    let access = Access::from_settings(&mut settings)?;
    if !host.to_canonical().is_loopback() {
        access.check_reached_at(host)?;
    }
    let is_guarded = access.reading_key().is_some() || host.to_canonical().is_loopback();
    let tls = TlsFiles::from_settings(&mut settings)?;
    let protocols = Protocols::from_settings(&mut settings)?;
    let port = settings.port.unwrap_or(default.port);
    let limits = limits(&settings, &protocols, default.limits)?;
    let [max_connections, max_connections_per_address, max_handshakes_per_second] =
        admission(&settings, &default)?;
    let (max_message_size, max_outbox_size) = message_and_outbox(&settings, &default)?;
    let presence_ttl = session_ttl("presence-ttl", settings.presence_ttl, default.presence_ttl)?;
    let (shutdown_drain, shutdown_timeout) =
        shutdown(&settings, &default, presence_ttl, cluster.is_some())?;

    Ok(Config {
        host,
        port,
        api_port: settings.api_port,
        metrics_port: settings.metrics_port,
        protocols,
        tls,
        trusted_proxies: proxies(settings.trusted_proxies)?,
        access,
        application,
        cluster,
        presence_ttl,
        occupancy_interval: timeout(
            "occupancy-interval",
            settings.occupancy_interval,
            default.occupancy_interval,
            (MIN_INTERVAL, TOO_SHORT),
        )?,
        presence_fetch_url: settings.presence_fetch_url.map(|url| url.parse()).transpose()?,
        presence_fetch_timeout: fetch_timeout(
            settings.presence_fetch_timeout,
            default.presence_fetch_timeout,
        )?,
        max_members: count_or_any("max-members", settings.max_members, default.max_members)?,
        history_limit: history_limit(settings.history_limit, default.history_limit)?,
        history_ttl: history_ttl(settings.history_ttl, default.history_ttl)?,
        history_max_bytes: history_max_bytes(
            settings.history_max_bytes,
            default.history_max_bytes,
        )?,
        sessions_ttl: session_ttl("sessions-ttl", settings.sessions_ttl, default.sessions_ttl)?,
        state_dir: settings.state_dir.map(state_dir).transpose()?,
        state_interval: timeout(
            "state-interval",
            settings.state_interval,
            default.state_interval,
            (MIN_INTERVAL, TOO_SHORT),
        )?,
        limits,
        ping_interval: interval("ping-interval", settings.ping_interval, default.ping_interval)?,
        ping_timestamp_precision: settings
            .ping_timestamp_precision
            .unwrap_or(default.ping_timestamp_precision),
        liveness_interval: interval(
            "liveness-interval",
            settings.liveness_interval,
            default.liveness_interval,
        )?,
        liveness_timeout: liveness_timeout(settings.liveness_timeout, default.liveness_timeout)?,
        handshake_timeout: timeout(
            "handshake-timeout",
            settings.handshake_timeout,
            default.handshake_timeout,
            (MIN_INTERVAL, "no request could arrive in time"),
        )?,
        shutdown_drain,
        shutdown_timeout,
        max_connections,
        max_connections_per_address,
        max_handshakes_per_second,
        max_message_size,
        max_outbox_size,
        max_answer_size: size(
            "max-answer-size",
            settings.max_answer_size,
            default.max_answer_size,
            MIN_MESSAGE_SIZE,
        )?,
        max_body_size: size(
            "max-body-size",
            settings.max_body_size,
            default.max_body_size,
            MIN_BODY_SIZE,
        )?,
        max_header_size: header_size(settings.max_header_size, default.max_header_size)?,
        examples: settings.examples.unwrap_or(default.examples),
        dashboard: dashboard(settings.dashboard.unwrap_or(default.dashboard), is_guarded)?,
        log_level: settings.log_level.map_or(Ok(default.log_level), log_level)?,
        log_format: settings.log_format.unwrap_or(default.log_format),
    })
}

fn proxies(given: Option<String>) -> Result<Proxies, ConfigError> {
    Ok(given.map(|given| given.parse()).transpose()?.unwrap_or_default())
}

/// The sizes of a message and of an outbox, which must hold one.
fn message_and_outbox(
    settings: &Settings,
    default: &Config,
) -> Result<(usize, usize), ConfigError> {
    let max_message_size = size(
        "max-message-size",
        settings.max_message_size,
        default.max_message_size,
        MIN_MESSAGE_SIZE,
    )?;
    let max_outbox_size = size(
        "max-outbox-size",
        settings.max_outbox_size,
        default.max_outbox_size,
        MIN_MESSAGE_SIZE,
    )?;
    if max_outbox_size < max_message_size {
        return Err(ConfigError::OutboxBelowMessage {
            outbox: ByteSize(max_outbox_size),
            message: ByteSize(max_message_size),
        });
    }
    Ok((max_message_size, max_outbox_size))
}

fn limits(
    settings: &Settings,
    protocols: &Protocols,
    default: Limits,
) -> Result<Limits, ConfigError> {
    Ok(Limits {
        presence_id_length: count(
            "max-presence-id-length",
            settings.max_presence_id_length,
            default.presence_id_length,
        )?,
        reserved_presence_ids: protocols.reserved_presence_ids(),
        info_size: size(
            "max-presence-info-size",
            settings.max_presence_info_size,
            default.info_size,
            1,
        )?,
        stream_name_size: size(
            "max-stream-name-size",
            settings.max_stream_name_size,
            default.stream_name_size,
            1,
        )?,
        identifier_size: size(
            "max-identifier-size",
            settings.max_identifier_size,
            default.identifier_size,
            1,
        )?,
        subscriptions: count(
            "max-subscriptions",
            settings.max_subscriptions,
            default.subscriptions,
        )?,
        records: count("max-records", settings.max_records, default.records)?,
        pace: pace(settings.max_commands_per_second, settings.max_commands_burst, default.pace)?,
    })
}

/// The rate and size of the token bucket of commands.
fn pace(
    rate: Option<usize>,
    burst: Option<usize>,
    default: Option<Pace>,
) -> Result<Option<Pace>, ConfigError> {
    let burst = burst.filter(|burst| *burst > 0);
    let rate = match rate {
        None => default.map(|pace| pace.per_second),
        Some(0) => None,
        Some(rate) => Some(commands("max-commands-per-second", rate, MAX_COMMAND_RATE)?),
    };
    match (rate, burst) {
        (None, None) => Ok(None),
        (None, Some(burst)) => Err(ConfigError::BurstWithoutRate { burst }),
        (Some(per_second), None) => {
            Ok(Some(Pace { per_second, burst: per_second * Limits::BURST_SECONDS }))
        }
        (Some(per_second), Some(burst)) => {
            let burst =
                commands("max-commands-burst", burst, MAX_COMMAND_RATE * Limits::BURST_SECONDS)?;
            if burst < per_second {
                return Err(ConfigError::BurstBelowRate { burst, per_second });
            }
            Ok(Some(Pace { per_second, burst }))
        }
    }
}

fn commands(setting: &'static str, given: usize, max: u32) -> Result<u32, ConfigError> {
    let given = u32::try_from(given).unwrap_or(u32::MAX);
    let max = (max, "no client sends that many; use 0 for any number");
    bounded(setting, given, (1, ZERO_TURNS_OFF), max)
}

/// A TTL after the end of a connection.
fn session_ttl(
    setting: &'static str,
    given: Option<HumanDuration>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let given = given.unwrap_or(HumanDuration(default));
    let min = (HumanDuration(Duration::ZERO), "time doesn't run backwards");
    let max = (HumanDuration(MAX_TTL), "every ended session is kept that long, so lower it");
    bounded(setting, given, min, max).map(|d| d.0)
}

/// The drain and the timeout of a stop. Without other nodes nobody comes back before the end, and nobody is to hear of a
/// leave.
fn shutdown(
    settings: &Settings,
    default: &Config,
    presence_ttl: Duration,
    has_others: bool,
) -> Result<(Duration, Duration), ConfigError> {
    let min = (Duration::ZERO, TOO_SHORT);
    let drain = timeout("shutdown-drain", settings.shutdown_drain, default.shutdown_drain, min)?;
    if drain > presence_ttl && !has_others {
        let (drain, presence_ttl) = (HumanDuration(drain), HumanDuration(presence_ttl));
        return Err(ConfigError::DrainAboveTtl { drain, presence_ttl });
    }
    let (given, default) = (settings.shutdown_timeout, default.shutdown_timeout);
    Ok((drain, timeout("shutdown-timeout", given, default, min)?))
}

fn history_limit(given: Option<usize>, default: usize) -> Result<usize, ConfigError> {
    let max = (MAX_COUNT, "no machine holds that many");
    bounded("history-limit", given.unwrap_or(default), (0, "none is the least"), max)
}

fn history_ttl(given: Option<HumanDuration>, default: Duration) -> Result<Duration, ConfigError> {
    let given = given.unwrap_or(HumanDuration(default));
    let min =
        (HumanDuration(MIN_INTERVAL), "nobody could ask in time; --history-limit 0 keeps none");
    let max = (HumanDuration(MAX_TTL), "each publication is kept that long, so lower it");
    bounded("history-ttl", given, min, max).map(|d| d.0)
}

fn history_max_bytes(given: Option<ByteSize>, default: usize) -> Result<usize, ConfigError> {
    let given = given.unwrap_or(ByteSize(default));
    let min =
        (ByteSize(MIN_BODY_SIZE), "not one publication would fit; --history-limit 0 keeps none");
    let max = (ByteSize(MAX_HISTORY_SIZE), "no machine has that much memory");
    bounded("history-max-bytes", given, min, max).map(|s| s.0)
}

fn state_dir(dir: PathBuf) -> Result<PathBuf, ConfigError> {
    let setting = "state-dir";
    if dir.as_os_str().is_empty() { Err(ConfigError::EmptyName { setting }) } else { Ok(dir) }
}

fn header_size(given: Option<ByteSize>, default: usize) -> Result<usize, ConfigError> {
    let given = given.unwrap_or(ByteSize(default));
    let min = (ByteSize(MIN_HEADER_SIZE), "the HTTP parser needs that much");
    let max = (ByteSize(MAX_HEADER_SIZE), "every new connection may take that much memory");
    bounded("max-header-size", given, min, max).map(|s| s.0)
}

/// An interval that 0 disables.
fn interval(
    setting: &'static str,
    given: Option<HumanDuration>,
    default: Option<Duration>,
) -> Result<Option<Duration>, ConfigError> {
    match given {
        None => Ok(default),
        Some(HumanDuration(Duration::ZERO)) => Ok(None),
        Some(given) => {
            let min = (HumanDuration(MIN_INTERVAL), TOO_SHORT_BUT_ZERO);
            let max = (HumanDuration(MAX_INTERVAL), ZERO_TURNS_OFF);
            bounded(setting, given, min, max).map(|d| Some(d.0))
        }
    }
}

fn timeout(
    setting: &'static str,
    given: Option<HumanDuration>,
    default: Duration,
    min: (Duration, &'static str),
) -> Result<Duration, ConfigError> {
    let given = given.unwrap_or(HumanDuration(default));
    let max = (HumanDuration(MAX_INTERVAL), "nobody waits that long");
    bounded(setting, given, (HumanDuration(min.0), min.1), max).map(|d| d.0)
}

fn fetch_timeout(given: Option<HumanDuration>, default: Duration) -> Result<Duration, ConfigError> {
    let given = given.unwrap_or(HumanDuration(default));
    let min = (HumanDuration(MIN_FETCH_TIMEOUT), "no application could answer in time");
    let max =
        (HumanDuration(MAX_FETCH_TIMEOUT), "each join waits that long when it doesn't answer");
    bounded("presence-fetch-timeout", given, min, max).map(|d| d.0)
}

fn cluster(settings: &mut Settings) -> Result<Option<ClusterConfig>, ConfigError> {
    let min = (MIN_LEASE, "a node that is only busy would count as dead");
    let lease = timeout("node-lease", settings.cluster.node_lease, defaults::NODE_LEASE, min)?;
    let (given, min) =
        (settings.cluster.engine_timeout, (MIN_INTERVAL, "no engine could answer in time"));
    let timeout = timeout("engine-timeout", given, defaults::ENGINE_TIMEOUT, min)?;
    ClusterConfig::from_settings(settings, (lease, timeout))
}

fn liveness_timeout(
    given: Option<HumanDuration>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let why = "no client could answer in time; --liveness-interval 0 is what turns it off";
    timeout("liveness-timeout", given, default, (MIN_INTERVAL, why))
}

fn size(
    setting: &'static str,
    given: Option<ByteSize>,
    default: usize,
    min: usize,
) -> Result<usize, ConfigError> {
    let given = given.unwrap_or(ByteSize(default));
    let min = (ByteSize(min), "nothing useful would fit");
    let max = (ByteSize(MAX_SIZE), "one client or request could take that much memory");
    bounded(setting, given, min, max).map(|s| s.0)
}

fn count(
    setting: &'static str,
    given: Option<usize>,
    default: usize,
) -> Result<usize, ConfigError> {
    let max = (MAX_COUNT, "no machine holds that many");
    bounded(setting, given.unwrap_or(default), (1, "nobody could do anything"), max)
}

/// Limits on connections: in all, per address, per second.
fn admission(settings: &Settings, default: &Config) -> Result<[Option<usize>; 3], ConfigError> {
    Ok([
        count_or_any("max-connections", settings.max_connections, default.max_connections)?,
        count_or_any(
            "max-connections-per-address",
            settings.max_connections_per_address,
            default.max_connections_per_address,
        )?,
        count_or_any(
            "max-handshakes-per-second",
            settings.max_handshakes_per_second,
            default.max_handshakes_per_second,
        )?,
    ])
}

/// A count for which 0 is unlimited.
fn count_or_any(
    setting: &'static str,
    given: Option<usize>,
    default: Option<usize>,
) -> Result<Option<usize>, ConfigError> {
    match given {
        None => Ok(default),
        Some(0) => Ok(None),
        given @ Some(_) => count(setting, given, 0).map(Some),
    }
}

/// Refuses a dashboard that is open to other machines without a key.
fn dashboard(wanted: bool, is_guarded: bool) -> Result<bool, ConfigError> {
    if wanted && !is_guarded { Err(ConfigError::OpenDashboard) } else { Ok(wanted) }
}

/// Refuses unknown bare words: as a directive they would name a module, and a typing error (`inof`)
/// would turn everything else off.
fn log_level(level: String) -> Result<String, ConfigError> {
    let spans = level.contains('[');
    let known = |word: &str| word.contains('=') || word.parse::<LevelFilter>().is_ok();
    let readable = EnvFilter::builder().parse(&level).is_ok()
        && !level.trim().is_empty()
        && (spans || level.split(',').all(|word| known(word.trim())));
    if readable { Ok(level) } else { Err(ConfigError::LogLevel { level }) }
}
