//! The application's settings, in both spellings.

use std::time::Duration;

use super::{config, refusal, start};
use crate::config::{ApplicationConfig, DisconnectConfig, DisconnectMode, RpcTls};

#[test]
fn anycables_application_is_ours() {
    let given = [
        "--rpc_host=grpc-list://a:1,b:2",
        "--rpc_impl=grpc",
        "--rpc_concurrency=28",
        "--rpc_request_timeout=900",
        "--rpc_command_timeout",
        "3000",
        "--rpc_enable_tls",
        "--rpc_tls_verify=false",
        "--rpc_max_call_recv_size=65536",
        "--rpc_max_call_send_size=0",
        "--http_rpc_secret=k",
        "--headers=cookie,X-API-Token",
        "--proxy-cookies=a,b",
        "--disconnect_mode=always",
        "--disconnect_rate=7",
        "--shutdown_pool_size=",
    ];
    let expected = ApplicationConfig {
        host: "a:1,b:2".parse().unwrap(),
        secret: Some("k".into()),
        tls: Some(RpcTls { verify: false, authorities: None }),
        concurrency: Some(28),
        backlog: 4096,
        request_timeout: Duration::from_millis(900),
        command_timeout: Duration::from_secs(3),
        max_answer: 1024 * 1024,
        max_receive: Some(65_536),
        max_send: None,
        headers: vec!["cookie".into(), "X-API-Token".into()],
        cookies: Some(vec!["a".into(), "b".into()]),
        disconnect: DisconnectConfig {
            mode: DisconnectMode::Always,
            rate: Some(7),
            at_once: false,
        },
    };
    assert_eq!(config(&given, &[]).application, Some(expected));
    let by_variable = [
        ("ANYCABLE_RPC_HOST", "http://rails/_anycable"),
        ("ANYCABLE_RPC_REQUEST_TIMEOUT", "900"),
        ("ANYCABLE_DISABLE_DISCONNECT", "true"),
        ("ANYCABLE_HTTP_RPC_SECRET", "none"),
    ];
    let application = config(&[], &by_variable).application.unwrap();
    assert_eq!(application.host.to_string(), "http://rails/_anycable");
    assert_eq!(application.request_timeout, Duration::from_millis(900));
    assert_eq!(application.disconnect.mode, DisconnectMode::Never);
    assert_eq!(application.secret, None);
    // ours are durations
    let ours = config(&["--rpc-request-timeout=2", "--rpc-host=a:1"], &[]).application.unwrap();
    assert_eq!(ours.request_timeout, Duration::from_secs(2));
    let ours = [("BROKER_RPC_REQUEST_TIMEOUT", "2"), ("BROKER_RPC_HOST", "a:1")];
    let ours = config(&[], &ours).application.unwrap();
    assert_eq!(ours.request_timeout, Duration::from_secs(2));
    // the request's own time is at most that of the whole
    let short = config(&["--rpc-command-timeout=1s", "--rpc-host=a:1"], &[]).application.unwrap();
    assert_eq!(short.request_timeout, Duration::from_secs(1));
    for given in [
        &["--norpc", "--rpc_host=a:1"][..],
        &["--rpc_impl=none", "--rpc-host=a:1"],
        &["--rpc-host=none"],
        &["--rpc-host="],
        &["--rpc_concurrency=28"],
    ] {
        assert_eq!(config(given, &[]).application, None, "{given:?}");
    }
    assert!(config(&["--norpc=false", "--rpc_host=a:1"], &[]).application.is_some());
    let (_, warnings) = start(&["--rpc_host=a:1", "--http_rpc_secret=x"], &[]);
    assert!(warnings.join("\n").contains("--http-rpc-secret has fewer than 16 bytes"));
}

#[test]
fn an_application_that_cannot_be_is_refused() {
    let (url, grpc) = ("--rpc-host=http://a/_anycable", "--rpc-host=a:1");
    for (args, sentence) in [
        (&["--rpc-host=ftp://a"][..], "--rpc-host: `ftp://a` is no address: write it like http://"),
        (&["--rpc-host=http://a?b"], "--rpc-host: `http://a?b` has a query"),
        (&["--rpc-host=http://a,http://b"], "--rpc-host: `http://a,http://b` is several URLs"),
        (&["--rpc-impl=grpc"], "--rpc-impl needs a --rpc-host"),
        (&[grpc, "--rpc-impl=http"], "--rpc-impl=http needs a --rpc-host that begins with http"),
        (&[url, "--rpc-impl=grpc"], "--rpc-impl=grpc can't be spoken to http://a/_anycable"),
        (&[url, "--rpc-enable-tls"], "--rpc-enable-tls is for gRPC"),
        (&[url, "--rpc-tls-root-ca=/nowhere"], "--rpc-tls-root-ca needs TLS"),
        (
            &[grpc, "--rpc-enable-tls", "--rpc-tls-root-ca=/nowhere"],
            "--rpc-tls-root-ca /nowhere can't",
        ),
        (
            &[grpc, "--rpc-enable-tls", "--rpc-tls-root-ca=-----BEGIN"],
            "--rpc-tls-root-ca holds no certificate",
        ),
        (
            &[grpc, "--rpc-enable-tls", "--rpc-tls-root-ca=/x", "--rpc-tls-verify=false"],
            "--rpc-tls-root-ca has no effect with",
        ),
        (&[url, "--rpc-max-call-recv-size=9MiB"], "--rpc-max-call-recv-size is for gRPC"),
        (
            &[url, "--rpc-request-timeout=6s"],
            "--rpc-request-timeout 6s is above --rpc-command-timeout 5s",
        ),
        (&[url, "--rpc-request-timeout=0"], "--rpc-request-timeout 0s is below 10ms"),
        (&[url, "--rpc-command-timeout=2m"], "--rpc-command-timeout 2m is above 1m"),
        (&[url, "--rpc-backlog=0"], "--rpc-backlog 0 is below 1"),
        (&[url, "--rpc-max-answer=1"], "--rpc-max-answer 1 is below 1KiB"),
        (&[url, "--headers=a b"], "--headers: `a b` is no name of a header"),
        (&[url, "--headers=a,"], "--headers: `` is no name of a header"),
        (&[url, "--proxy-cookies=a;b"], "--proxy-cookies: `a;b` is no name of a cookie"),
        (
            &[url, "--headers=x", "--proxy-cookies=a"],
            "--proxy-cookies has no effect without cookie",
        ),
        (&[url, "--http-rpc-secret=a,b"], "--http-rpc-secret can't be several"),
        (
            &[url, "--http-rpc-secret=é"],
            "--http-rpc-secret has a character an Authorization header",
        ),
        (&[url, "--disconnect-mode=x"], "--disconnect-mode x: not one of auto, always, never"),
        (&[url, "--disconnect-delay=1s"], "--disconnect-delay 1s: it is 0s, which"),
    ] {
        let refusal = refusal(args, &[]);
        assert!(refusal.starts_with(sentence), "{refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}
