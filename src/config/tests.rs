//! Defaults, bounds, conflicts, keys and the way back, one sentence per refusal; and what the tests of
//! other files here share.

use std::path::Path;
use std::time::Duration;

use clap::{Args as _, Command, FromArgMatches as _};
use proptest::prelude::*;

use super::*;
use crate::protocol::action_cable;
use crate::types::Pace;

fn command() -> Command {
    Settings::augment_args(Command::new("broker")).mut_args(|arg| arg.env(None::<&'static str>))
}

pub(super) fn flags(flags: &[&str]) -> Settings {
    let args = std::iter::once(&"broker").chain(flags);
    Settings::from_arg_matches(&command().try_get_matches_from(args).unwrap()).unwrap()
}

pub(super) fn config(given: &[&str]) -> Result<Config, String> {
    Config::from_settings(flags(given)).map_err(|e| e.to_string())
}

pub(super) fn refusal(given: &[&str]) -> String {
    config(given).unwrap_err()
}

pub(super) fn file(text: &str) -> Result<Settings, String> {
    Settings::from_toml(Path::new("broker.toml"), text).map_err(|e| e.to_string())
}

/// A path for a file of this test's own.
pub(super) fn temporary(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("broker-config-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(config(&[]), Ok(Config::default()));
}

#[test]
fn the_defaults_told_in_the_help_are_the_defaults() {
    let without = [
        "api-port",
        "metrics-port",
        "tls-cert",
        "tls-key",
        "trusted-proxies",
        "presence-fetch-url",
        "secret",
        "jwt-secret",
        "jwt-audience",
        "jwt-issuer",
        "enforce-jwt",
        "presence-id-claim",
        "streams-secret",
        "turbo-streams-secret",
        "cable-ready-secret",
        "allowed-origins",
        "broadcast-key",
        "api-key",
        "metrics-key",
        "redis-url",
        "redis-sentinels",
        "redis-tls-ca-cert-path",
        "redis-tls-client-cert-path",
        "redis-tls-client-key-path",
        "nats-servers",
        "nats-creds",
        "nats-tls-ca-cert-path",
        "nats-tls-client-cert-path",
        "nats-tls-client-key-path",
        "cluster-secret",
        "rpc-host",
        "rpc-impl",
        "http-rpc-secret",
        "rpc-max-call-recv-size",
        "rpc-max-call-send-size",
        "rpc-tls-root-ca",
        "proxy-cookies",
        "disconnect-delay",
        "state-dir",
        "config",
        "print-config",
    ];
    let full = toml::Table::try_from(Config::default().to_settings()).unwrap();
    for arg in command().get_arguments() {
        let name = arg.get_long().unwrap();
        let help = arg.get_help().unwrap().to_string();
        let told = help.split_once("[default: ").map(|(_, rest)| rest.trim_end_matches(']'));
        let is_without = without.contains(&name) || name.ends_with("-file");
        assert_eq!(told.is_none(), is_without, "--{name}");
        let Some(told) = told else { continue };
        let given = flags(&[&format!("--{name}={told}")]);
        let alone = toml::Table::try_from(&given).unwrap();
        assert_eq!(alone.get(name), full.get(name), "--{name}");
        assert_eq!(Config::from_settings(given).unwrap(), Config::default(), "--{name}");
    }
}

#[test]
fn every_setting_has_its_variable_and_a_heading() {
    for arg in Settings::augment_args(Command::new("broker")).get_arguments() {
        let name = arg.get_long().unwrap();
        let variable = format!("BROKER_{}", name.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env(), Some(variable.as_ref()));
        assert!(arg.get_help_heading().is_some(), "--{name}");
    }
}

#[test]
fn only_loopback_is_served_unasked() {
    for host in ["127.0.0.1", "127.9.9.9", "localhost", "::1", "::ffff:127.0.0.1"] {
        assert!(config(&["--host", host]).is_ok(), "{host}");
    }
    for host in ["0.0.0.0", "::", "10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"] {
        let sentence = refusal(&["--host", host]);
        assert!(sentence.contains("--secret") && sentence.contains("--public"), "{sentence}");
        assert!(refusal(&["--host", host, "--public=false"]).contains(host));
        assert!(config(&["--host", host, "--public"]).is_ok(), "{host}");
        assert!(config(&["--host", host, "--secret=s"]).is_ok(), "{host}");
        let missing = refusal(&["--host", host, "--jwt-secret=s"]);
        let named = ["--broadcast-key", "--api-key"].map(|key| missing.contains(key));
        assert!(missing.contains(host) && named == [true; 2], "{missing}");
        let missing = refusal(&["--host", host, "--jwt-secret=s", "--broadcast-key=b"]);
        let named = ["--broadcast-key", "--api-key"].map(|key| missing.contains(key));
        assert_eq!(named, [false, true], "{missing}");
        assert!(refusal(&["--host", host, "--streams-secret=s"]).contains(host));
        let keys = ["--host", host, "--jwt-secret=s", "--broadcast-key=b", "--api-key=a"];
        assert!(config(&keys).is_ok(), "{host}");
    }
}

#[test]
fn a_rate_has_a_burst() {
    let pace = |given: &[&str]| config(given).unwrap().limits.pace;
    let is = |per_second, burst| Some(Pace { per_second, burst });
    assert_eq!(pace(&[]), None);
    assert_eq!(pace(&["--max-commands-per-second=0", "--max-commands-burst=0"]), None);
    assert_eq!(pace(&["--max-commands-per-second=50"]), is(50, 200));
    assert_eq!(pace(&["--max-commands-per-second=50", "--max-commands-burst=50"]), is(50, 50));
    assert_eq!(pace(&["--max-commands-per-second=1000000"]), is(1_000_000, 4_000_000));
    let below = refusal(&["--max-commands-per-second=50", "--max-commands-burst=49"]);
    assert!(below.contains("--max-commands-burst 49 is below"), "{below}");
    let alone = refusal(&["--max-commands-burst=49"]);
    assert!(alone.contains("without --max-commands-per-second"), "{alone}");
    assert!(refusal(&["--max-commands-per-second=1000001"]).contains("above 1000000"));
    assert!(refusal(&["--max-commands-per-second=99999999999"]).contains("above 1000000"));
}

#[test]
fn members_may_be_any_number() {
    assert_eq!(config(&["--max-members=0"]).unwrap().max_members, None);
    assert_eq!(config(&["--max-members=5"]).unwrap().max_members, Some(5));
}

#[test]
fn the_dashboard_is_for_this_machine_or_for_who_has_the_key() {
    for given in [
        &["--dashboard"][..],
        &["--dashboard", "--host=::1", "--public"],
        &["--dashboard", "--host=0.0.0.0", "--secret=s"],
        &["--dashboard", "--host=0.0.0.0", "--public", "--api-key=k"],
    ] {
        assert!(config(given).unwrap().dashboard, "{given:?}");
    }
    let sentence = refusal(&["--dashboard", "--host=0.0.0.0", "--public"]);
    assert!(sentence.contains("--dashboard") && sentence.contains("--api-key"), "{sentence}");
    assert!(!config(&["--dashboard=false", "--host=0.0.0.0", "--public"]).unwrap().dashboard);
    assert!(!config(&[]).unwrap().dashboard && !config(&[]).unwrap().examples);
}

#[test]
fn an_open_door_is_warned_about() {
    let short = |warning: &String| warning.contains("fewer than 16 bytes");
    let warnings = |given: &[&str]| {
        config(given).unwrap().warnings().iter().filter(|warning| !short(warning)).count()
    };
    assert_eq!(warnings(&["--public"]), 0);
    assert_eq!(warnings(&["--public", "--host=0.0.0.0"]), 2);
    assert_eq!(warnings(&["--public", "--host=0.0.0.0", "--broadcast-key=k", "--api-key=k"]), 0);
    assert_eq!(warnings(&["--secret=s", "--host=0.0.0.0"]), 0);
    assert_eq!(warnings(&["--secret=s", "--host=0.0.0.0", "--public"]), 1);
    let no_stream = config(&["--jwt-secret=s"]).unwrap().warnings().join("\n");
    assert!(no_stream.contains("--streams-secret"), "{no_stream}");
}

#[test]
fn a_short_secret_is_warned_about() {
    let warnings = |given: &[&str]| config(given).unwrap().warnings().join("\n");
    for setting in [
        "secret",
        "jwt-secret",
        "streams-secret",
        "turbo-streams-secret",
        "cable-ready-secret",
        "broadcast-key",
        "api-key",
        "metrics-key",
    ] {
        let warning = format!("--{setting} has fewer than 16 bytes");
        for (given, is_short) in [
            ("x", true),
            ("fifteen-bytes-x", true),
            ("sixteen-bytes-xy", false),
            ("sixteen-bytes-xy,old", true),
            ("sixteen-bytes-xy,sixteen-bytes-yz", false),
        ] {
            let given = format!("--{setting}={given}");
            let told = warnings(
                &["--streams-secret=sixteen-bytes-xy", &given]
                    [usize::from(setting == "streams-secret")..],
            );
            assert_eq!(told.contains(&warning), is_short, "{given}: {told}");
            assert!(is_short || told.is_empty(), "{given}: {told}");
        }
    }
}

#[test]
fn secrets_are_in_no_print() {
    let config = config(&[
        "--secret=hidden1",
        "--jwt-secret=hidden2",
        "--streams-secret=hidden3",
        "--turbo-streams-secret=hidden4",
        "--cable-ready-secret=hidden5",
        "--broadcast-key=hidden6",
        "--api-key=hidden7",
        "--metrics-key=hidden8",
    ])
    .unwrap();
    let text = format!(
        "{}{config:?}{:?}{:?}",
        config.to_toml(),
        config.to_settings(),
        config.access.rules()
    );
    assert!(!text.contains("hidden"), "{text}");
    assert_eq!(text.matches(" is set and not shown").count(), 8);
}

#[test]
fn a_directory_has_a_name() {
    let empty = Config::from_settings(file("state-dir = ''").unwrap()).unwrap_err();
    assert_eq!(empty.to_string(), "--state-dir is empty: write a name, or leave it out");
    assert_eq!(config(&["--state-dir=s"]).unwrap().state_dir, Some("s".into()));
}

#[test]
fn bounds_hold() {
    let beyond: [&[&str]; 26] = [
        &["--sessions-ttl=86401"],
        &["--state-interval=99ms"],
        &["--state-interval=2h"],
        &["--max-connections-per-address=9999999999"],
        &["--max-handshakes-per-second=9999999999"],
        &["--presence-ttl=86401"],
        &["--ping-interval=99ms"],
        &["--ping-interval=2h"],
        &["--liveness-interval=1ms"],
        &["--liveness-timeout=0"],
        &["--liveness-timeout=2h"],
        &["--handshake-timeout=0"],
        &["--shutdown-timeout=2h"],
        &["--shutdown-drain=16s"],
        &["--shutdown-drain=2h", "--presence-ttl=1day"],
        &["--max-message-size=127"],
        &["--max-message-size=1GiB"],
        &["--max-outbox-size=0"],
        &["--max-body-size=1023"],
        &["--max-header-size=8191"],
        &["--max-header-size=2MiB"],
        &["--max-presence-id-length=0"],
        &["--max-stream-name-size=0"],
        &["--max-subscriptions=0"],
        &["--max-records=0"],
        &["--max-answer-size=127"],
    ];
    for given in beyond {
        let sentence = refusal(given);
        let setting = given[0].split('=').next().unwrap();
        assert!(sentence.starts_with(setting), "{sentence}");
        assert!(sentence.contains(" is below ") || sentence.contains(" is above "), "{sentence}");
    }
    let within: [&[&str]; 11] = [
        &["--sessions-ttl=1day"],
        &["--sessions-ttl=0"],
        &["--state-interval=100ms"],
        &["--presence-ttl=1day"],
        &["--shutdown-timeout=0"],
        &["--shutdown-drain=0", "--presence-ttl=0"],
        &["--shutdown-drain=1h", "--redis-url=redis://localhost"],
        &["--max-message-size=128"],
        &["--max-header-size=8KiB"],
        &["--liveness-timeout=100ms"],
        &["--max-connections=1"],
    ];
    for given in within {
        assert!(config(given).is_ok(), "{given:?}");
    }
}

#[test]
fn zero_is_none_where_it_may_be() {
    let config = config(&[
        "--ping-interval=0",
        "--liveness-interval=0s",
        "--max-connections=0",
        "--max-connections-per-address=0",
        "--max-handshakes-per-second=0",
        "--presence-ttl=0",
    ])
    .unwrap();
    assert_eq!(config.ping_interval, None);
    assert_eq!(config.liveness_interval, None);
    assert_eq!(config.max_connections, None);
    assert_eq!(config.max_connections_per_address, None);
    assert_eq!(config.max_handshakes_per_second, None);
    assert_eq!(config.presence_ttl, Duration::ZERO);
}

#[test]
fn listeners_may_share_a_port() {
    let shared = config(&["--port=9", "--api-port=10", "--metrics-port=10"]).unwrap();
    assert_eq!(shared.api_address(), shared.metrics_address());
}

#[test]
fn a_message_fits_the_outbox() {
    assert!(refusal(&["--max-message-size=2MiB"]).contains("--max-outbox-size 1MiB"));
    assert!(config(&["--max-message-size=2MiB", "--max-outbox-size=2MiB"]).is_ok());
}

#[test]
fn the_cable_has_a_plain_path_of_its_own() {
    for path in ["/cable", "/", "/a/b", "/apis", "/~x/cable.v1"] {
        assert_eq!(
            config(&["--protocols=action-cable", "--cable-path", path])
                .unwrap()
                .protocols
                .path(&action_cable::PROTOCOL),
            Some(path)
        );
    }
    for path in [
        "",
        "cable",
        "/cable/",
        "//",
        "/a//b",
        "/a/../b",
        "/c?x",
        "/c#x",
        "/ü",
        "/c%20",
        "/a,/b",
        "/health",
        "/api",
        "/api/x",
        "/metrics",
        "/_broadcast",
    ] {
        assert!(refusal(&["--cable-path", path]).starts_with("--cable-path"), "{path}");
    }
}

#[test]
fn log_levels_are_filters() {
    for level in ["info", "DEBUG", "off", "info,broker::http=debug", "broker[span{a=1}]=trace"] {
        assert!(config(&["--log-level", level]).is_ok(), "{level}");
    }
    for level in ["", " ", "inof", "broker", "broker=loud", "info,inof"] {
        assert!(refusal(&["--log-level", level]).starts_with("--log-level"), "{level}");
    }
}

#[test]
fn keys_come_from_flags_or_files() {
    let path = temporary("key", "s3cret\r\n");
    let config = config(&["--broadcast-key=abc", "--api-key-file", &path]).unwrap();
    assert!(config.access.broadcast_key.as_ref().unwrap().matches(b"abc"));
    assert!(config.access.api_key.as_ref().unwrap().matches(b"s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
    let back = config.to_settings();
    assert_eq!((back.api_key.is_some(), back.api_key_file), (false, Some(path.clone().into())));
    assert_eq!((back.broadcast_key.is_some(), back.broadcast_key_file), (true, None));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn bad_keys_are_refused() {
    assert!(refusal(&["--api-key=a", "--api-key-file=b"]).contains("both given"));
    assert!(refusal(&["--broadcast-key="]).contains("is empty"));
    assert!(refusal(&["--broadcast-key=a b"]).contains("Authorization"));
    assert!(refusal(&["--broadcast-key-file=/nowhere"]).contains("no such file"));
    for (name, text) in [("empty", "\n"), ("lines", "a\n\nb\n"), ("large", &"k".repeat(5000))] {
        let path = temporary(name, text);
        let sentence = refusal(&["--broadcast-key-file", &path]);
        assert!(sentence.starts_with("--broadcast-key-file") && sentence.contains(&path));
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_is_printed_can_be_read() {
    let path = temporary("printed-key", "s3cret");
    let config = Config {
        max_message_size: 1000,
        ping_interval: None,
        metrics_port: Some(1),
        state_dir: Some("/var/lib/a broker".into()),
        access: Access {
            api_key: Some(Secret::read_from("s3cret", path.clone().into())),
            ..Access::default()
        },
        ..Config::default()
    };
    let again = Config::from_settings(file(&config.to_toml()).unwrap()).unwrap();
    assert_eq!(again, config);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn keys_are_not_printed() {
    let text = config(&["--broadcast-key=s3cret"]).unwrap().to_toml();
    assert!(text.contains("# broadcast-key is set and not shown") && !text.contains("s3cret"));
    assert_eq!(Config::from_settings(file(&text).unwrap()).unwrap(), Config::default());
}

#[test]
fn the_way_back_names_every_setting() {
    let access = Access {
        jwt_audience: Some("a".into()),
        jwt_issuer: Some("i".into()),
        enforce_jwt: Some(true),
        presence_id_claim: Some("sub".into()),
        allowed_origins: Some("a.b".parse().unwrap()),
        ..Access::default()
    };
    let with = |cluster, application| Config {
        application: Some(application),
        api_port: Some(1),
        metrics_port: Some(2),
        tls: Some(TlsFiles { cert: "c".into(), key: "k".into() }),
        cluster: Some(cluster),
        trusted_proxies: "::1".parse().unwrap(),
        presence_fetch_url: Some("http://app/who".parse().unwrap()),
        access: access.clone(),
        state_dir: Some("s".into()),
        ..Config::default()
    };
    let full = cluster::full().into_iter().zip(application::full());
    let settings = full.map(|(cluster, application)| with(cluster, application).to_settings());
    let settings: Vec<_> = settings.collect();
    let is_named = |name: &str| {
        settings.iter().any(|settings| toml::Table::try_from(settings).unwrap().contains_key(name))
    };
    let mut secrets = Settings::default();
    let keys: Vec<String> = secrets
        .secrets()
        .into_iter()
        .flat_map(|(name, ..)| [name.to_owned(), format!("{name}-file")])
        .collect();
    for arg in command().get_arguments() {
        let name = arg.get_long().unwrap();
        let elsewhere =
            keys.iter().any(|key| key == name) || ["config", "print-config"].contains(&name);
        assert_eq!(is_named(name), !elsewhere, "{name}");
    }
}

proptest! {
    #[test]
    fn any_sound_configuration_survives_the_way_back(
        port in any::<u16>(),
        ttl in 0u64..86_400_000,
        ping in prop_oneof![Just(0u64), 100u64..3_600_000],
        message in 128usize..1_048_576,
        connections in 0usize..1_000_000,
        rate in 0usize..=1_000_000,
    ) {
        let settings = Settings {
            port: Some(port),
            presence_ttl: Some(HumanDuration(Duration::from_millis(ttl))),
            ping_interval: Some(HumanDuration(Duration::from_millis(ping))),
            max_message_size: Some(ByteSize(message)),
            max_connections: Some(connections),
            max_commands_per_second: Some(rate),
            ..Settings::default()
        };
        let config = Config::from_settings(settings).unwrap();
        prop_assert_eq!(&Config::from_settings(config.to_settings()).unwrap(), &config);
        prop_assert_eq!(&Config::from_settings(file(&config.to_toml()).unwrap()).unwrap(), &config);
    }
}
