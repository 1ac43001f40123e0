//! Redis with TLS.

use broker::engine::{Cursor, Engine, EngineSettings, Event, RedisSettings};
use bytes::Bytes;

use crate::log::Log;
use crate::node::{Client, next, settings};
use crate::server::{Server, free_port};

/// A server with a port for TLS beside its other one, that port, and the certificate in PEM.
struct TlsServer {
    server: Server,
    port: u16,
    certificate: Vec<u8>,
    key: Vec<u8>,
    _folder: tempfile::TempDir,
}

/// Clients need a certificate if `wants_certificates`.
fn start(wants_certificates: bool) -> TlsServer {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let certificate = made.cert.pem().into_bytes();
    std::fs::write(&cert, &certificate).unwrap();
    let key_pem = made.signing_key.serialize_pem().into_bytes();
    std::fs::write(&key, &key_pem).unwrap();
    let port = free_port();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let port_text = port.to_string();
    let server = Server::start(&[
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        cert,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        cert,
        "--tls-auth-clients",
        if wants_certificates { "yes" } else { "no" },
    ]);
    TlsServer { server, port, certificate, key: key_pem, _folder: folder }
}

fn with(url: &str, authorities: Option<Vec<u8>>) -> EngineSettings {
    with_redis(RedisSettings::new(url, authorities).unwrap())
}

fn with_redis(redis: RedisSettings) -> EngineSettings {
    EngineSettings { engine: Engine::Redis(redis), ..settings("redis://localhost", 1) }
}

async fn works(settings: &EngineSettings) {
    let mut client = Client::with(settings).await.unwrap();
    let mut log = client.take_log();
    log.follow(Cursor(0));
    while next(&mut log).await != Event::CaughtUp {}
    log.append(Bytes::from_static(b"a"));
    assert!(matches!(next(&mut log).await, Event::Batch { .. }));
}

#[tokio::test]
async fn it_is_used_with_tls() {
    let redis = start(false);
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    works(&with(&url, Some(redis.certificate))).await;
    let unverified = RedisSettings::new(&url, None).unwrap().without_verification();
    works(&with_redis(unverified)).await;
}

#[tokio::test]
async fn it_is_shown_a_certificate_if_it_wants_one() {
    let redis = start(true);
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let settings = || RedisSettings::new(&url, Some(redis.certificate.clone())).unwrap();
    let shown = || settings().with_client_certificate(redis.certificate.clone(), redis.key.clone());
    works(&with_redis(shown())).await;
    works(&with_redis(shown().without_verification())).await;
    let (log, _guard) = Log::capture();
    let refused = with_redis(settings());
    tokio::select! {
        _ = Client::with(&refused) => panic!("connected"),
        () = log.until("wants a certificate: name one with --redis-tls-client-cert-path") => {}
    }
}

#[tokio::test]
async fn tls_is_used_on_one_side_only_or_not_trusted() {
    let redis = start(false);
    let (plain, tls) = (redis.server.port, redis.port);
    for (url, says) in [
        (
            format!("rediss://127.0.0.1:{plain}"),
            "doesn't answer a TLS handshake within 1s: write `redis://`",
        ),
        (format!("redis://127.0.0.1:{tls}"), "with `rediss://` if it uses TLS"),
        (format!("rediss://127.0.0.1:{tls}"), "certificate of Redis at"),
    ] {
        let (log, _guard) = Log::capture();
        let is_trusted = url.starts_with("rediss") && !says.starts_with("certificate");
        let authorities = is_trusted.then(|| redis.certificate.clone());
        let settings = with(&url, authorities);
        tokio::select! {
            _ = Client::with(&settings) => panic!("connected"),
            () = log.until(says) => {}
        }
    }
}
