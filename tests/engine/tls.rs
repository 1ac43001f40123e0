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
    _folder: tempfile::TempDir,
}

fn start() -> TlsServer {
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let certificate = made.cert.pem().into_bytes();
    std::fs::write(&cert, &certificate).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
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
        "no",
    ]);
    TlsServer { server, port, certificate, _folder: folder }
}

fn with(url: &str, authorities: Option<Vec<u8>>) -> EngineSettings {
    let engine = Engine::Redis(RedisSettings::new(url, authorities).unwrap());
    EngineSettings { engine, ..settings("redis://localhost", 1) }
}

#[tokio::test]
async fn it_is_used_with_tls() {
    let redis = start();
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let mut client = Client::with(&with(&url, Some(redis.certificate))).await.unwrap();
    let mut log = client.take_log();
    log.follow(Cursor(0));
    assert_eq!(next(&mut log).await, Event::CaughtUp);
    log.append(Bytes::from_static(b"a"));
    assert!(matches!(next(&mut log).await, Event::Batch { .. }));
}

#[tokio::test]
async fn tls_is_used_on_one_side_only_or_not_trusted() {
    let redis = start();
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
