//! Precedence of sources, AnyCable's spellings, refusals and warnings.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;

use std::ffi::OsString;

use super::refusal::Refusal;
use super::*;
use crate::config::{
    Access, Config, LogFormat, NatsConfig, NatsStorage, Protocols, Secret, TimestampPrecision,
};

mod application;

fn told(args: &[&str], env: &[(&str, &str)]) -> Outcome {
    let args = std::iter::once(&"broker").chain(args).map(OsString::from);
    run(args, env.iter().map(|(name, value)| (name.into(), value.into())))
}

fn start(args: &[&str], env: &[(&str, &str)]) -> (Config, Vec<String>) {
    match told(args, env) {
        Outcome::Start(config, warnings) => (*config, warnings),
        Outcome::Print(text) | Outcome::Refuse(text) => panic!("{args:?} {env:?}: {text}"),
    }
}

fn config(args: &[&str], env: &[(&str, &str)]) -> Config {
    let (config, mut warnings) = start(args, env);
    warnings.retain(|warning| !warning.contains("fewer than 16 bytes")); // as keys here are
    assert_eq!(warnings, [] as [&str; 0], "{args:?} {env:?}");
    config
}

fn refusal(args: &[&str], env: &[(&str, &str)]) -> String {
    match told(args, env) {
        Outcome::Refuse(sentence) => sentence,
        Outcome::Start(..) | Outcome::Print(_) => panic!("{args:?} {env:?} is not refused"),
    }
}

/// A configuration file of the test's own, removed when it is dropped.
struct File(String);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("broker-cli-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path.to_str().unwrap().to_owned())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(config(&[], &[]), Config::default());
    assert_eq!(config(&[], &[("HOME", "/root"), ("PORT", "1")]), Config::default());
}

#[test]
fn flags_win_over_environment_over_anycable_over_file() {
    let file = File::new("precedence.toml", "port = 1");
    let path = file.0.as_str();
    let anycable = ("ANYCABLE_PORT", "2");
    let broker = ("BROKER_PORT", "3");
    let at = ("BROKER_CONFIG", path);
    assert_eq!(config(&["--config", path], &[]).port, 1);
    assert_eq!(config(&[], &[at]).port, 1);
    assert_eq!(config(&[], &[at, anycable]).port, 2);
    assert_eq!(config(&[], &[at, anycable, broker]).port, 3);
    assert_eq!(config(&["--port=4"], &[at, anycable, broker]).port, 4);
}

#[test]
fn layers_fill_each_other_in() {
    let file = File::new("layers.toml", "presence-ttl = 1\nping-interval = 1");
    let config = config(
        &["--config", &file.0, "--port=5"],
        &[("BROKER_PING_INTERVAL", "2"), ("ANYCABLE_MAX_CONN", "6")],
    );
    assert_eq!(config.presence_ttl, Duration::from_secs(1));
    assert_eq!(config.ping_interval, Some(Duration::from_secs(2)));
    assert_eq!((config.port, config.max_connections), (5, Some(6)));
}

#[test]
fn a_key_displaces_the_file_of_a_lower_layer() {
    let env = [("BROKER_BROADCAST_KEY_FILE", "/nowhere"), ("ANYCABLE_API_SECRET", "low")];
    let config = config(&["--broadcast-key=high", "--api-key=high"], &env);
    assert_eq!(config.access.broadcast_key, Some(Secret::from("high")));
    assert_eq!(config.access.api_key, Some(Secret::from("high")));
    let both = [("BROKER_API_KEY", "k"), ("BROKER_API_KEY_FILE", "/nowhere")];
    assert!(refusal(&[], &both).contains("both given"));
}

#[test]
fn an_empty_variable_is_unset() {
    assert_eq!(config(&[], &[("BROKER_PORT", ""), ("ANYCABLE_SECRET", "")]), Config::default());
}

#[test]
fn switches_can_be_turned_off_above() {
    let env = [("BROKER_PUBLIC", "1"), ("BROKER_HOST", "::")];
    assert!(start(&[], &env).0.access.public);
    assert!(refusal(&["--public=false"], &env).contains("--host ::"));
    assert!(!config(&["--public=0", "--host=::1"], &env).access.public);
}

#[test]
fn a_variable_is_refused_by_its_own_name() {
    for (name, value, sentence) in [
        ("BROKER_PORT", "x", "BROKER_PORT=x: not a port"),
        ("BROKER_PUBLIC", "maybe", "BROKER_PUBLIC=maybe: neither true nor false"),
        ("BROKER_LOG_FORMAT", "xml", "BROKER_LOG_FORMAT=xml: not one of text, json"),
        ("ANYCABLE_PRESENCE_TTL", "soon", "ANYCABLE_PRESENCE_TTL=soon: not a duration"),
        ("ANYCABLE_MAX_CONN", "-1", "ANYCABLE_MAX_CONN=-1: not a whole number"),
        ("BROKER_STATE_INTERVAL", "0", "--state-interval 0s is below"),
        ("BROKER_SECRET", "none", "--secret is `none`"),
        ("ANYCABLE_ENFORCE_JWT", "true", "--enforce-jwt has no effect"),
    ] {
        let refusal = refusal(&[], &[(name, value)]);
        assert!(refusal.starts_with(sentence), "{refusal}");
    }
}

#[test]
fn whatever_is_no_number_is_refused_in_the_same_words() {
    let command = command::command();
    let counts: Vec<_> = command
        .get_arguments()
        .filter(|arg| arg.get_value_names().is_some_and(|names| names == ["COUNT"]))
        .filter_map(|arg| arg.get_long())
        .collect();
    assert!(counts.contains(&"history-limit"), "{counts:?}");
    for (name, value) in
        counts.iter().flat_map(|name| ["", "many", "-1", "1.5"].map(|it| (name, it)))
    {
        let refusal = refusal(&[&format!("--{name}={value}")], &[]);
        assert!(refusal.contains(": not a whole number; write one"), "{refusal}");
    }
}

#[test]
fn a_variable_nobody_knows_is_told() {
    let warning = |name, value| start(&[], &[(name, value)]).1.join("\n");
    assert!(warning("BROKER_PRESENCE_TLL", "1").contains("did you mean BROKER_PRESENCE_TTL?"));
    assert!(warning("BROKER_URL", "amqp://").starts_with("BROKER_URL is not a setting"));
    assert!(warning("ANYCABLE_WEBSOCKET_URL", "x").contains("has no meaning here and is ignored"));
}

#[test]
fn what_kubernetes_sets_for_a_service_is_no_setting() {
    let env = [
        ("BROKER_PORT", "tcp://10.0.0.1:8080"),
        ("BROKER_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("BROKER_PORT_8080_TCP_PORT", "8080"),
        ("BROKER_SERVICE_HOST", "10.0.0.1"),
        ("BROKER_SERVICE_PORT", "8080"),
        ("BROKER_API_PORT", "tcp://10.0.0.2:8080"), // of one named `broker-api`
    ];
    assert_eq!(config(&[], &env), Config::default());
}

#[test]
fn underscores_are_dashes() {
    let dashes = config(&["--presence-ttl=30s", "--log-level=debug", "--api-port", "9"], &[]);
    let underscores = config(&["--presence_ttl=30", "--log_level", "debug", "--api_port=9"], &[]);
    assert_eq!(dashes, underscores);
    assert_eq!(config(&["-port=9", "--max_message_size", "1kb"], &[]).port, 9);
}

#[test]
fn anycables_flags_are_ours() {
    let config = config(
        &[
            "--host=127.0.0.1",
            "--port=8081",
            "--path=/ws",
            "--max-conn=10",
            "--http_broadcast_port=8090",
            "--metrics_port=8091",
            "--shutdown_timeout=30",
            "--presence_ttl=20",
            "--sessions_ttl=600",
            "--ping_interval=5",
            "--ping_timestamp_precision=ms",
            "--pong_timeout=6",
            "--ws_max_pending_size=2097152",
            "--broadcast_key=k",
            "--api_secret",
            "a",
            "--log_format=json",
            "--debug",
            "--public",
            "--broadcast_adapter=http",
            "--broker",
            "memory",
            "--norpc",
            "--noauth",
            "--presets=broker",
            "--health-path=/health",
            "--streams_presence",
            "--embed_nats=false",
            "--disconnect_mode=never",
            "--pubsub=none",
            "--rpc_host=none",
            "--redis_url=",
            "--nats_dont_randomize_servers=false",
            "--redis_keepalive_interval=30",
            "--redis_sentinel_discovery_interval=30",
            "--sse",
            "--secret=none",
        ],
        &[],
    );
    let expected = Config {
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 8081,
        protocols: Protocols::default().with_path("action-cable", "/ws"),
        max_connections: Some(10),
        api_port: Some(8090),
        metrics_port: Some(8091),
        shutdown_timeout: Duration::from_secs(30),
        presence_ttl: Duration::from_secs(20),
        sessions_ttl: Duration::from_secs(600),
        ping_interval: Some(Duration::from_secs(5)),
        ping_timestamp_precision: TimestampPrecision::Milliseconds,
        liveness_timeout: Duration::from_secs(6),
        max_outbox_size: 2 * 1024 * 1024,
        access: Access {
            public: true,
            broadcast_key: Some("k".into()),
            api_key: Some("a".into()),
            enforce_jwt: Some(false),
            ..Access::default()
        },
        log_format: LogFormat::Json,
        log_level: "debug".to_owned(),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn anycables_variables_are_ours() {
    let config = config(
        &[],
        &[
            ("ANYCABLE_PATH", "/ws"),
            ("ANYCABLE_PRESENCE_TTL", "20"),
            ("ANYCABLE_SESSIONS_TTL", "0"),
            ("ANYCABLE_HTTP_BROADCAST_PORT", "8090"),
            ("ANYCABLE_HTTP_BROADCAST_SECRET", "k"),
            ("ANYCABLE_DEBUG", "1"),
            ("ANYCABLE_BROADCAST_ADAPTER", "http"),
            ("ANYCABLE_SECRET", "none"),
            ("ANYCABLE_ENFORCE_JWT", "false"),
            ("ANYCABLE_SSE", "false"),
            ("ANYCABLE_RPC_HOST", ""),
            ("ANYCABLE_NORPC", "true"),
            ("ANYCABLE_BROKER", "memory"),
            ("ANYCABLE_PUBSUB", "none"),
            ("REDIS_URL", ""),
            ("NATS_SERVERS", "none"),
        ],
    );
    let expected = Config {
        protocols: Protocols::default().with_path("action-cable", "/ws"),
        presence_ttl: Duration::from_secs(20),
        sessions_ttl: Duration::ZERO,
        api_port: Some(8090),
        access: Access { broadcast_key: Some("k".into()), ..Access::default() },
        log_level: "debug".to_owned(),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn anycables_protection_is_ours() {
    let protected = config(
        &["--secret=s", "--jwt_id_key=j", "--jwt_param=token", "--enforce_jwt", "--turbo_streams"],
        &[
            ("ANYCABLE_STREAMS_SECRET", "t"),
            ("ANYCABLE_STREAMS_WHISPER", "true"),
            ("ANYCABLE_PUBLIC_STREAMS", "1"),
            ("ANYCABLE_CABLE_READY", "true"),
            ("ANYCABLE_CABLE_READY_SECRET", "c"),
            ("ANYCABLE_TURBO_STREAMS_SECRET", "u"),
            ("ANYCABLE_ALLOWED_ORIGINS", "a.b,*.c"),
        ],
    );
    let secret = |text: &str| Some(Secret::from(text));
    let expected = Access {
        secret: secret("s"),
        jwt_secret: secret("j"),
        jwt_param: "token".to_owned(),
        enforce_jwt: Some(true),
        streams_secret: secret("t"),
        streams_whisper: true,
        public_streams: true,
        turbo_streams: true,
        turbo_streams_secret: secret("u"),
        cable_ready: true,
        cable_ready_secret: secret("c"),
        allowed_origins: Some("a.b,*.c".parse().unwrap()),
        ..Access::default()
    };
    assert_eq!(protected.access, expected);
}

#[test]
fn anycables_way_of_requiring_no_token_is_not_ours() {
    // there it leaves the decision to the application
    let env = [("ANYCABLE_SECRET", "s"), ("ANYCABLE_ENFORCE_JWT", "false")];
    assert!(config(&[], &env).access.is_token_required());
    assert!(config(&["--enforce_jwt=false"], &env).access.is_token_required());
    assert!(!config(&["--noauth"], &env).access.is_token_required());
    assert!(!config(&["--enforce-jwt=false"], &env).access.is_token_required());
}

#[test]
fn what_is_unset_to_anycable_is_unset_here() {
    let args = ["--api_port=0", "--metrics_port", "0", "--pong_timeout=0", "--broadcast_key=none"];
    assert_eq!(config(&args, &[]), Config::default());
    assert_eq!(config(&["--api-port=0"], &[]).api_port, Some(0));
}

#[test]
fn two_variables_of_one_meaning_must_agree() {
    let env = |other| [("ANYCABLE_API_PORT", "9"), ("ANYCABLE_HTTP_BROADCAST_PORT", other)];
    assert_eq!(config(&[], &env("9")).api_port, Some(9));
    assert!(refusal(&[], &env("8")).contains("are both --api-port here and differ"));
}

#[test]
fn a_cluster_has_one_secret_and_an_engine() {
    let redis = "--redis-url=redis://localhost";
    let secret = |args: &[&str]| config(args, &[]).cluster.and_then(|cluster| cluster.secret);
    assert_eq!(secret(&[redis, "--cluster-secret=s"]), Some(Secret::from("s")));
    assert_eq!(secret(&[redis]), None);
    let (_, warnings) = start(&[redis, "--cluster-secret=s"], &[]);
    assert!(warnings.join("\n").contains("--cluster-secret has fewer than 16 bytes"));
    for (args, sentence) in [
        (&["--cluster-secret=s"][..], "needs a --redis-url or --nats-servers"),
        (&[redis, "--cluster-secret=a,b"], "can't be several"),
        (&[redis, "--cluster-secret="], "is empty"),
    ] {
        assert!(refusal(args, &[]).contains(sentence), "{args:?}");
    }
}

#[test]
fn anycables_flags_without_meaning_are_refused() {
    for (args, sentence) in [
        (
            &["--rpc_concurrency_max=40"][..],
            "--rpc_concurrency_max has no meaning here: it is found",
        ),
        (&["--disconnect_backlog_size", "9"], "--disconnect_backlog_size has no meaning here: "),
        (&["--http_rpc_secret= hidden"], "--http-rpc-secret begins or ends with a space"),
        (
            &["--redis_sentinel_discovery_interval=4"],
            "--redis_sentinel_discovery_interval=4 has no meaning here: ",
        ),
        (&["--redis_sentinels=h:1"], "--redis-sentinels needs a --redis-url"),
        (&["--embed_nats"], "--embed_nats has no meaning here: "),
        (&["--pusher_app_id=1"], "--pusher_app_id has no meaning here: Pusher's protocol"),
        (&["--ds"], "--ds has no meaning here: durable streams"),
        (&["--pubsub=redis"], "--pubsub=redis needs the address of Redis: add --redis-url"),
        (&["--broker=redis"], "--broker=redis needs the address of Redis: add --redis-url"),
        (
            &["--broker", "memory", "--redis-url=redis://h"],
            "--broker=memory and --redis-url (or REDIS_URL) exclude each other",
        ),
        (&["--redis_keepalive_interval=0"], "--redis_keepalive_interval=0 has no meaning here: "),
        (
            &["--redis_url=redis://h", "--redis_tls_ca_cert_path=k"],
            "--redis-tls-ca-cert-path needs TLS",
        ),
        (&["--pubsub=x"], "--pubsub=x has no meaning here: it is memory, redis"),
        (&["--broadcast_adapter=redisx"], "--broadcast_adapter=redisx has no meaning here: "),
        (&["--broker", "nats"], "--broker=nats needs the address of NATS: add --nats-servers"),
        (&["--streams_presence=false"], "--streams_presence=false has no meaning here: "),
        (&["--ssl_cert=/c"], "--tls-cert needs --tls-key"),
        (&["--secret"], "--secret needs a value"),
        (&["--enforce_jwt"], "--enforce-jwt has no effect without a secret"),
        (
            &["--turbo_rails_key=hidden"],
            "--turbo_rails_key has no meaning here: write --turbo-streams",
        ),
        (&["--allowed_origins=a/b"], "--allowed-origins: `a/b` is no origin"),
    ] {
        let refusal = refusal(args, &[]);
        assert!(refusal.starts_with(sentence), "{refusal}");
        assert!(!refusal.contains("hidden"), "{refusal}");
    }
}

#[test]
fn anycables_variables_without_meaning_are_refused_as_its_flags() {
    for (variable, value, sentence) in [
        ("ANYCABLE_DISCONNECT_TIMEOUT", "30", "ANYCABLE_DISCONNECT_TIMEOUT has no meaning here: "),
        ("ANYCABLE_RPC_CONCURRENCY_MIN", "3", "ANYCABLE_RPC_CONCURRENCY_MIN has no meaning here: "),
        ("ANYCABLE_BROADCAST_ADAPTER", "redisx", "ANYCABLE_BROADCAST_ADAPTER=redisx has no "),
        ("ANYCABLE_BROADCAST_ADAPTER", "http,nats", "ANYCABLE_BROADCAST_ADAPTER=http,nats has "),
        ("ANYCABLE_PUBSUB", "x", "ANYCABLE_PUBSUB=x has no meaning here: "),
        ("ANYCABLE_EMBED_NATS", "true", "ANYCABLE_EMBED_NATS=true has no meaning here: "),
        ("ANYCABLE_METRICS_HOST", "10.0.0.1", "ANYCABLE_METRICS_HOST has no meaning here: "),
        ("ANYCABLE_TURBO_RAILS_KEY", "hidden", "ANYCABLE_TURBO_RAILS_KEY has no meaning here: "),
        ("ANYCABLE_CONFIG_PATH", "anycable.toml", "ANYCABLE_CONFIG_PATH has no meaning here: "),
        ("BROKER_BROADCAST_ADAPTER", "nats", "BROKER_BROADCAST_ADAPTER=nats has no meaning here: "),
    ] {
        let refusal = refusal(&[], &[(variable, value)]);
        assert!(refusal.starts_with(sentence), "{refusal}");
        assert!(refusal.contains(&format!("{variable}= (empty)")), "{refusal}");
        assert!(!refusal.contains("hidden"), "{refusal}");
    }
}

#[test]
fn a_file_that_anycable_would_read_is_not_passed_over() {
    let check = |args: &[&str], there: &[&str]| {
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        anycable::check_files(&args, |file| there.contains(&file)).map_err(|Refusal(text)| text)
    };
    let files = ["./anycable.toml", "/etc/anycable/anycable.toml"];
    for file in files {
        let refusal = check(&["broker"], &[file]).unwrap_err();
        assert!(refusal.starts_with(file) && refusal.contains("--config"), "{refusal}");
        assert_eq!(check(&["broker", "--ignore_config_path"], &[file]), Ok(()));
        assert_eq!(check(&["broker", "--ignore-config-path=true"], &[file]), Ok(()));
        assert!(check(&["broker", "--ignore-config-path=false"], &[file]).is_err());
    }
    assert_eq!(check(&["broker"], &["anycable.yml"]), Ok(()));
}

#[test]
fn what_clap_refuses_is_one_sentence() {
    for (args, sentence) in [
        (&["--port=x"][..], "--port x: not a port"),
        (&["--port"], "--port needs a value"),
        (&["--porrt=1"], "--porrt is not a flag: did you mean --port?"),
        (&["--presense_ttl=1"], "--presense_ttl is not a flag: did you mean --presence-ttl?"),
        (&["--zzz"], "--zzz is not a flag: see"),
        (&["-x"], "-x is not a flag"),
        (&["serve"], "`serve` is not expected here"),
        (&["--port=1", "--port=2"], "--port is given more than once"),
        (&["--log-format=xml"], "--log-format xml: not one of text, json"),
        (&["--help=1"], "--help takes no value"),
    ] {
        let refusal = refusal(args, &[]);
        assert!(refusal.starts_with(sentence), "{refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}

#[test]
fn what_is_printed_starts_the_same() {
    let args = ["--port=9", "--presence-ttl=1m", "--public", "--host=::"];
    let Outcome::Print(text) = told(&[&args[..], &["--print-config"]].concat(), &[]) else {
        panic!("not printed")
    };
    let file = File::new("printed.toml", &text);
    assert_eq!(start(&["--config", &file.0], &[]), start(&args, &[]));
}

#[test]
fn help_is_the_same_in_any_environment() {
    let Outcome::Print(help) = told(&["--help"], &[("BROKER_BROADCAST_KEY", "s3cret")]) else {
        panic!("no help")
    };
    assert!(help.contains("[env: BROKER_BROADCAST_KEY]") && !help.contains("s3cret"));
    assert!(matches!(told(&["--version"], &[]), Outcome::Print(v) if v == "broker 0.1.0\n"));
}

proptest! {
    #[test]
    fn no_command_line_panics(args in prop::collection::vec("-{0,2}[a-z_-]{0,9}=?[0-9a-zü]{0,4}", 0..4)) {
        drop(run(args.into_iter().map(OsString::from), []));
    }
}

#[test]
fn redis_is_named_by_any_of_its_variables() {
    for variable in ["BROKER_REDIS_URL", "ANYCABLE_REDIS_URL", "REDIS_URL"] {
        let config = config(&[], &[(variable, "redis://u:hidden@h:1/2")]);
        let cluster = config.cluster.clone().unwrap();
        let url = cluster.redis().unwrap().url.each().next();
        assert_eq!(url, Some("redis://u:hidden@h:1/2"), "{variable}");
        assert!(!format!("{config:?}").contains("hidden"));
    }
    let unverified = [("ANYCABLE_REDIS_TLS_VERIFY", "false"), ("REDIS_URL", "rediss://h")];
    assert!(!config(&[], &unverified).cluster.unwrap().redis().unwrap().tls.verify);
    let config = config(&["--cluster-name=a", "--node-lease=3s"], &[("REDIS_URL", "")]);
    assert_eq!(config.cluster, None, "without an engine they say nothing");
    let refused = refusal(&["--redis-url=redis://h", "--state-dir=d"], &[]);
    assert!(refused.starts_with("--state-dir is for one node alone"), "{refused}");
}

#[test]
fn an_engine_that_is_named_has_to_be_the_one_that_there_is() {
    let flags =
        ["--broker=redis", "--pubsub", "redis", "--redis_tls_verify", "--redis_url=redis://h"];
    assert!(config(&flags, &[]).cluster.is_some());
    let env =
        [("ANYCABLE_BROKER", "redis"), ("ANYCABLE_PUBSUB", "redis"), ("REDIS_URL", "redis://h")];
    assert!(config(&[], &env).cluster.is_some());
    let refused = refusal(&[], &[("ANYCABLE_BROKER", "redis")]);
    assert!(refused.starts_with("ANYCABLE_BROKER=redis needs the address of Redis"), "{refused}");
    let refused = refusal(&[], &[("ANYCABLE_BROKER", "memory"), ("REDIS_URL", "redis://h")]);
    assert!(
        refused.starts_with("ANYCABLE_BROKER=memory and --redis-url (or REDIS_URL)"),
        "{refused}"
    );
    let nats = [("ANYCABLE_BROKER", "nats"), ("NATS_SERVERS", "nats://h")];
    assert!(config(&["--pubsub=nats"], &nats).cluster.is_some());
    for engine in ["memory", "redis"] {
        let refused = refusal(&[], &[("ANYCABLE_PUBSUB", engine), ("NATS_SERVERS", "nats://h")]);
        assert!(
            refused.contains(&format!("{engine} and --nats-servers (or NATS_SERVERS)")),
            "{refused}"
        );
    }
    let refused = refusal(&["--broker=nats"], &[("REDIS_URL", "redis://h")]);
    assert!(refused.starts_with("--broker=nats and --redis-url (or REDIS_URL)"), "{refused}");
}

#[test]
fn nats_is_named_by_any_of_its_variables() {
    for variable in ["BROKER_NATS_SERVERS", "ANYCABLE_NATS_SERVERS", "NATS_SERVERS"] {
        let config = config(&[], &[(variable, "nats://u:hidden@h,nats://u:hidden@i:1")]);
        let cluster = config.cluster.clone().unwrap();
        let NatsConfig { servers, storage, .. } = cluster.nats().unwrap();
        let servers: Vec<_> = servers.each().collect();
        assert_eq!(servers, ["nats://u:hidden@h", "nats://u:hidden@i:1"], "{variable}");
        assert_eq!(*storage, NatsStorage::Memory);
        assert!(!format!("{config:?}").contains("hidden"));
    }
    let on_disk = config(&["--nats-servers=nats://h", "--nats-storage=file"], &[]);
    assert_eq!(on_disk.cluster.unwrap().nats().unwrap().storage, NatsStorage::File);
    assert_eq!(config(&["--nats-storage=file"], &[("NATS_SERVERS", "")]).cluster, None);
    for (args, sentence) in [
        (["--nats-servers=nats://h", "--state-dir=d"], "--state-dir is for one node alone"),
        (
            ["--nats-servers=nats://h", "--redis-url=redis://h"],
            "--redis-url and --nats-servers are both",
        ),
        (
            ["--nats-servers=nats://h", "--nats-storage=x"],
            "--nats-storage x: not one of memory, file",
        ),
    ] {
        let refusal = refusal(&args, &[]);
        assert!(refusal.starts_with(sentence), "{refusal}");
    }
}
