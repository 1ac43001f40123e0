//! AnyCable's flags and variables, so that a deployment can switch by replacing the binary.
//!
//! All our flags may be spelled with underscores. An AnyCable flag maps to one of ours, or asks for
//! what the broker does anyway, or is refused with a reason: a protection that it would have set
//! must not be dropped silently. The same holds for its variables. [`FLAGS`] has the flags of
//! AnyCable 1.6.

use std::borrow::Cow;
use std::ffi::OsString;
use std::iter::Peekable;

use super::command::command;
use super::engine_choice::{Engine, EngineChoice};
use super::refusal::Refusal;

/// Meaning of an AnyCable flag here.
#[derive(Clone, Copy)]
enum Meaning {
    /// The setting of this name.
    Same(&'static str),
    /// A switch that sets this setting to this value.
    Sets(&'static str, &'static str),
    /// A switch. This position is what the broker does anyway; the other is refused.
    Switch(&'static [bool], &'static str),
    /// One of these values, `none` or an empty value is what the broker does anyway; others are
    /// refused.
    Value(&'static [&'static str], &'static str),
    /// A number. From this one on, or `none` or an empty value, is what the broker does anyway; others are refused.
    AtLeast(u32, &'static str),
    /// The setting of this name, in milliseconds.
    Milliseconds(&'static str),
    /// An engine. `none` or an empty value says nothing.
    Chooses,
}

/// Meaning of a flag or variable with its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// A setting of this name, with the given value or with this one.
    Setting(String, Option<Cow<'static, str>>),
    /// What the broker does anyway.
    NothingNew,
    /// An engine, which has to be the one that the settings have.
    Engine(Engine),
    /// Something the broker doesn't do, with the reason.
    Meaningless(&'static str),
}

use Meaning::{AtLeast, Chooses, Milliseconds, Same, Sets, Switch, Value};

const ADAPTIVE: &str =
    "it is found out, between 5 and 100, unless --rpc-concurrency says one, so leave it out";
const NO_BACKLOG: &str = "ends of sessions wait until the application hears them, see --disconnect-rate, so leave it out";
const OVER_HTTP: &str = "publications are taken over HTTP, so leave it out and set the application's \
                         broadcast adapter to http";
const ENGINES: &str = "it is memory, redis with --redis-url, or nats with --nats-servers";
const NATS_BY_ADDRESS: &str =
    "NATS is a server of its own, reached as --nats-servers says, so leave it out";
const LOOKED_AT: &str = "Sentinels are asked every 5 s, so leave it out, or ask for 5 or more";
const ALIVE: &str =
    "Redis is asked for a sign of life each second, so leave it out, or ask for 1 or more";
const SCRAPED: &str = "metrics are scraped from /metrics, see --metrics-port, so leave it out";
const NO_PUSHER: &str = "Pusher's protocol is not spoken, see --protocols for those that are, so \
                         leave it out";
const NO_DURABLE_STREAMS: &str = "durable streams are not served, see --sse-path and \
                                  --history-limit for what is, so leave it out";
const CLEARTEXT: &str = "names have to be signed, so leave it out";
const RENAMED_TURBO: &str = "write --turbo-streams and --turbo-streams-secret instead";
const RENAMED_CABLE_READY: &str = "write --cable-ready and --cable-ready-secret instead";
const NO_KNOB: &str = "the broker has nothing of the kind to tune, so leave it out";

/// AnyCable's flags, with dashes for underscores.
const FLAGS: &[(&[&str], Meaning)] = &[
    (&["path"], Same("cable-path")),
    (&["max-conn"], Same("max-connections")),
    (&["http-broadcast-port"], Same("api-port")),
    (&["http-broadcast-secret"], Same("broadcast-key")),
    (&["api-secret"], Same("api-key")),
    (&["jwt-id-key"], Same("jwt-secret")),
    (&["jwt-id-param"], Same("jwt-param")),
    (&["jwt-id-enforce"], Same("enforce-jwt")),
    (&["ws-max-pending-size"], Same("max-outbox-size")),
    (&["pong-timeout"], Same("liveness-timeout")),
    (&["ssl-cert"], Same("tls-cert")),
    (&["ssl-key"], Same("tls-key")),
    (&["redis-url"], Same("redis-url")),
    (&["redis-sentinels"], Same("redis-sentinels")),
    (&["redis-tls-ca-cert-path"], Same("redis-tls-ca-cert-path")),
    (&["redis-tls-client-cert-path"], Same("redis-tls-client-cert-path")),
    (&["redis-tls-client-key-path"], Same("redis-tls-client-key-path")),
    (&["redis-tls-verify"], Same("redis-tls-verify")),
    (&["nats-servers"], Same("nats-servers")),
    (&["nats-dont-randomize-servers"], Same("nats-dont-randomize-servers")),
    (&["debug"], Sets("log-level", "debug")),
    (&["noauth"], Sets("enforce-jwt", "false")),
    (&["norpc"], Sets("rpc-impl", "none")),
    (&["disable-disconnect"], Sets("disconnect-mode", "never")),
    (&["rpc-request-timeout", "http-rpc-timeout"], Milliseconds("rpc-request-timeout")),
    (&["rpc-command-timeout"], Milliseconds("rpc-command-timeout")),
    // Said anyway, as long as it says what is.
    (&["broadcast-adapter"], Value(&["http"], OVER_HTTP)),
    (&["broker", "pubsub"], Chooses),
    (&["presets"], Value(&["none", "broker"], "there are no presets, so set the flags you need")),
    (&["health-path"], Value(&["/health"], "it is served at /health, so leave it out")),
    (
        &["http-broadcast-path"],
        Value(&["/_broadcast"], "publishing is served at /_broadcast, so leave it out"),
    ),
    (&["api-path"], Value(&["/api"], "the API is served at /api, so leave it out")),
    (&["metrics-http"], Value(&["/metrics"], SCRAPED)),
    (
        &["streams-presence"],
        Switch(&[true], "a signed name without the right to join turns it off, so leave it out"),
    ),
    (
        &["enable-native-pings"],
        Switch(&[true], "liveness rests on them; --liveness-interval 0 turns them off"),
    ),
    (
        &["sse"],
        Switch(
            &[true, false],
            "events are served at --sse-path; leave sse out of --protocols to \
                                turn them off",
        ),
    ),
    (&[IGNORE_FILES], Switch(&[true], "a file is read only when --config names it")),
    (&["redis-sentinel-discovery-interval"], AtLeast(5, LOOKED_AT)),
    (&["redis-keepalive-interval"], AtLeast(1, ALIVE)),
    // Without meaning.
    (
        &["config-path"],
        Value(&[], "its file has other keys, so write one for --config as --print-config shows it"),
    ),
    (&["metrics-host"], Value(&[], "every port listens on --host, so leave it out")),
    (&["node-id"], Value(&[], NO_KNOB)),
    (&["redis-channel", "nats-channel"], Value(&[], OVER_HTTP)),
    (&["redisx-stream", "redisx-group", "redisx-read-block-milliseconds"], Value(&[], OVER_HTTP)),
    (&["redis-disable-cache"], Switch(&[true, false], NO_KNOB)),
    (
        &[
            "enats-addr",
            "enats-cluster",
            "enats-cluster-name",
            "enats-cluster-routes",
            "enats-gateway",
            "enats-gateways",
            "enats-gateway-advertise",
            "enats-store-dir",
            "enats-server-name",
            "enats-max-payload",
        ],
        Value(&[], NATS_BY_ADDRESS),
    ),
    (&["embed-nats", "enats-debug", "enats-trace"], Switch(&[false], NATS_BY_ADDRESS)),
    (
        &["rpc-concurrency-initial", "rpc-concurrency-min", "rpc-concurrency-max"],
        Value(&[], ADAPTIVE),
    ),
    (&["disconnect-backlog-size", "disconnect-timeout"], Value(&[], NO_BACKLOG)),
    (&["turbo-rails-cleartext", "cable-ready-cleartext"], Switch(&[false], CLEARTEXT)),
    (&["turbo-rails-key"], Value(&[], RENAMED_TURBO)),
    (&["cable-ready-key"], Value(&[], RENAMED_CABLE_READY)),
    (&["ds", "ds-skip-auth"], Switch(&[false], NO_DURABLE_STREAMS)),
    (&["ds-path", "ds-poll-interval", "ds-sse-ttl"], Value(&[], NO_DURABLE_STREAMS)),
    (
        &["pusher-app-id", "pusher-secret", "pusher-app-key", "pusher-api-port"],
        Value(&[], NO_PUSHER),
    ),
    (
        &["http-broadcast-cors"],
        Switch(&[false], "publishing is for servers, not for pages, so leave it out"),
    ),
    (&["metrics-log"], Switch(&[false], SCRAPED)),
    (
        &[
            "metrics-rotate-interval",
            "metrics-log-interval",
            "metrics-log-filter",
            "metrics-log-formatter",
            "metrics-tags",
            "stats-refresh-interval",
            "statsd-host",
            "statsd-prefix",
            "statsd-max-packet-size",
            "statsd-tags-format",
        ],
        Value(&[], SCRAPED),
    ),
    (
        &["enable-ws-compression"],
        Switch(
            &[false],
            "a message is encoded once and shared by all its receivers, so leave it out",
        ),
    ),
    (
        &["ws-write-timeout"],
        Value(&[], "a client that reads too slowly is ended by --max-outbox-size, so leave it out"),
    ),
    (
        &["shutdown-delay"],
        Value(&[], "it stops when it is told to, so delay the signal, or see --shutdown-drain"),
    ),
    (
        &["read-buffer-size", "write-buffer-size", "hub-gopool-size", "shutdown-pool-size"],
        Value(&[], NO_KNOB),
    ),
];

/// Files that AnyCable reads by default; it takes the first that exists.
const FILES: [&str; 2] = ["./anycable.toml", "/etc/anycable/anycable.toml"];

/// AnyCable's flag to read neither.
const IGNORE_FILES: &str = "ignore-config-path";

/// Values with which AnyCable leaves a setting unset.
const UNSET: &[(&str, &str)] = &[
    ("api-port", "0"),
    ("metrics-port", "0"),
    ("liveness-timeout", "0"),
    ("broadcast-key", "none"),
    ("api-key", "none"),
    ("secret", "none"),
    ("jwt-secret", "none"),
    ("streams-secret", "none"),
    ("rpc-host", "none"),
    ("http-rpc-secret", "none"),
    ("rpc-max-call-recv-size", "0"),
    ("rpc-max-call-send-size", "0"),
    ("redis-url", "none"),
    ("nats-servers", "none"),
    // in AnyCable the application decides about clients without a token; here only the token does
    ("enforce-jwt", "false"),
    ("enforce-jwt", "0"),
    ("enforce-jwt", "f"),
];

/// Meaning of AnyCable's flag `name` (with dashes for underscores) with its value; `None` for
/// unknown flags.
pub(super) fn given(name: &str, value: Option<&str>) -> Option<Given> {
    if let Some(Milliseconds(setting)) = meaning(name) {
        return Some(milliseconds(setting, value));
    }
    if is_own(name) {
        return Some(same(name, value));
    }
    Some(match meaning(name)? {
        Same(setting) => same(setting, value),
        Milliseconds(setting) => milliseconds(setting, value),
        Sets(setting, to) => match value.and_then(boolean) {
            Some(false) => Given::NothingNew,
            Some(true) | None => Given::Setting(setting.to_owned(), Some(to.into())),
        },
        Switch(positions, reason) => match value.and_then(boolean) {
            Some(position) if positions.contains(&position) => Given::NothingNew,
            Some(_) | None => Given::Meaningless(reason),
        },
        Value(values, reason) => match value {
            Some("" | "none") => Given::NothingNew,
            Some(value) if values.contains(&value) => Given::NothingNew,
            Some(_) | None => Given::Meaningless(reason),
        },
        AtLeast(least, reason) => match value {
            Some("" | "none") => Given::NothingNew,
            Some(value) if value.parse().is_ok_and(|number: u32| number >= least) => {
                Given::NothingNew
            }
            Some(_) | None => Given::Meaningless(reason),
        },
        Chooses => match value {
            Some("" | "none") => Given::NothingNew,
            Some("memory") => Given::Engine(Engine::Memory),
            Some("redis") => Given::Engine(Engine::Redis),
            Some("nats") => Given::Engine(Engine::Nats),
            Some(_) | None => Given::Meaningless(ENGINES),
        },
    })
}

/// A bare number is one of milliseconds, and 0 leaves the setting unset; other values are left to the parser.
fn milliseconds(setting: &str, value: Option<&str>) -> Given {
    match value.map(str::trim) {
        Some("0") => Given::NothingNew,
        Some(value) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
            Given::Setting(setting.to_owned(), Some(format!("{value}ms").into()))
        }
        Some(_) | None => Given::Setting(setting.to_owned(), None),
    }
}

fn same(setting: &str, value: Option<&str>) -> Given {
    match value {
        Some(value) if UNSET.contains(&(setting, value)) => Given::NothingNew,
        Some(_) | None => Given::Setting(setting.to_owned(), None),
    }
}

/// Refuses to start beside a file that AnyCable would read, unless `args` say to ignore it: it
/// could hold a secret that kept clients out.
pub(super) fn check_files(
    args: &[OsString],
    is_there: impl Fn(&str) -> bool,
) -> Result<(), Refusal> {
    let ignores = |arg: &OsString| {
        let spelled = arg.to_str().and_then(Spelled::read);
        spelled
            .is_some_and(|it| it.name == IGNORE_FILES && it.value.and_then(boolean) != Some(false))
    };
    match FILES.into_iter().find(|file| is_there(file)) {
        Some(file) if !args.iter().any(ignores) => Err(Refusal(format!(
            "{file} is AnyCable's, whose keys are others, and would not be read: write a file for \
             --config as --print-config shows it, or say --{IGNORE_FILES}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Rewrites AnyCable's flags to ours. Unknown ones are left to the parser, and those that name an engine are for
/// later.
pub(super) fn arguments(
    args: Vec<OsString>,
) -> Result<(Vec<OsString>, Vec<EngineChoice>), Refusal> {
    let mut args = args.into_iter().peekable();
    let mut ours: Vec<OsString> = args.next().into_iter().collect();
    let mut choices = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--" {
            ours.push(arg);
            break;
        }
        match arg.to_str().and_then(Spelled::read) {
            Some(spelled) => ours.extend(argument(&spelled, &arg, &mut args, &mut choices)?),
            None => ours.push(arg),
        }
    }
    ours.extend(args);
    Ok((ours, choices))
}

/// A flag as given.
struct Spelled<'a> {
    /// With dashes in front, without its value.
    flag: &'a str,
    /// Without dashes in front, with dashes for underscores.
    name: String,
    /// The value after `=`.
    value: Option<&'a str>,
}

impl<'a> Spelled<'a> {
    /// Splits `--presence_ttl=15`. Go's flags may start with one dash.
    fn read(arg: &'a str) -> Option<Self> {
        let (flag, value) = match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (arg, None),
        };
        let name = flag.strip_prefix("--").or_else(|| flag.strip_prefix('-'))?.replace('_', "-");
        let known = is_own(&name) || meaning(&name).is_some();
        known.then_some(Self { flag, name, value })
    }

    fn is_ours(&self) -> bool {
        // the same name in both, and AnyCable's value for none
        let unset = self.name == "secret" && self.value == Some("none");
        !unset && self.flag.strip_prefix("--") == Some(self.name.as_str()) && is_own(&self.name)
    }

    /// Whether it is a switch, without a value in the next argument.
    fn is_switch(&self) -> bool {
        let own = |arg: &clap::Arg| {
            arg.get_long() == Some(self.name.as_str()) && arg.get_num_args() == Some((0..=1).into())
        };
        self.name == "jwt-id-enforce"
            || command().get_arguments().any(own)
            || matches!(meaning(&self.name), Some(Sets(..) | Switch(..)))
    }
}

/// The arguments that replace `spelled`.
fn argument(
    spelled: &Spelled<'_>,
    arg: &OsString,
    rest: &mut Peekable<impl Iterator<Item = OsString>>,
    choices: &mut Vec<EngineChoice>,
) -> Result<Option<OsString>, Refusal> {
    if spelled.is_ours() {
        return Ok(Some(arg.clone()));
    }
    let flag = spelled.flag;
    let value = match spelled.value {
        Some(value) => Some(OsString::from(value)),
        None if spelled.is_switch() => Some(OsString::from("true")),
        None => rest.next_if(|next| !next.to_string_lossy().starts_with('-')),
    };
    let text = value.as_ref().map(|v| v.to_string_lossy().into_owned());
    match given(&spelled.name, text.as_deref()) {
        Some(Given::Setting(setting, to)) => {
            let mut ours = OsString::from(format!("--{setting}"));
            if let Some(value) = to.map(|to| OsString::from(to.into_owned())).or(value) {
                ours.push("=");
                ours.push(value);
            }
            Ok(Some(ours))
        }
        Some(Given::NothingNew) => Ok(None),
        Some(Given::Engine(engine)) => {
            choices.push(EngineChoice::new(flag, text.as_deref().unwrap_or_default(), engine));
            Ok(None)
        }
        Some(Given::Meaningless(reason)) => {
            let told = spelled.value.is_some() || !spelled.is_switch();
            let value = text.as_deref().filter(|_| told);
            Err(meaningless(flag, &spelled.name, value, reason))
        }
        None => Ok(Some(arg.clone())),
    }
}

/// The refusal of `given`, a flag or variable as it was spelled.
pub(super) fn meaningless(given: &str, name: &str, value: Option<&str>, reason: &str) -> Refusal {
    Refusal(match value.filter(|_| is_choice(name)) {
        Some(value) => format!("{given}={value} has no meaning here: {reason}"),
        None => format!("{given} has no meaning here: {reason}"),
    })
}

/// Whether the error repeats the value. Others aren't repeated, since they may be secrets.
fn is_choice(name: &str) -> bool {
    match meaning(name) {
        Some(Value(values, _)) => !values.is_empty(),
        Some(Switch(positions, _)) => !positions.is_empty(),
        Some(AtLeast(..) | Chooses) => true,
        Some(Same(_) | Sets(..) | Milliseconds(_)) | None => false,
    }
}

/// Whether it is one of our settings. `config` isn't: AnyCable's file has other keys.
fn is_own(name: &str) -> bool {
    name != "config" && command().get_arguments().any(|arg| arg.get_long() == Some(name))
}

fn meaning(name: &str) -> Option<Meaning> {
    FLAGS.iter().find(|(names, _)| names.contains(&name)).map(|(_, meaning)| *meaning)
}

/// Parses Go's booleans.
fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Some(true),
        "0" | "f" | "false" => Some(false),
        _ => None,
    }
}
