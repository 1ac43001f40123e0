//! NATS with TLS: the authorities that nodes trust, and the certificates that they show.
//!
//! One thread each, so that a test gets only its own log.

use std::path::PathBuf;
use std::time::Duration;

use broker::engine::{Engine, EngineSettings, NatsSettings, NatsStorage};

use crate::access::{waits, works};
use crate::log::Log;
use crate::nats_server::NatsServer;
use crate::node::{Client, settings};

/// Writes a certificate of its own authority and its key beside a server's settings.
fn write_certificate(server: &NatsServer, name: &str) -> (PathBuf, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let path = |what| server.folder.path().join(format!("{name}-{what}.pem"));
    let (cert, key) = (path("cert"), path("key"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (cert, key)
}

/// Settings of a node.
fn trusting(
    server: &NatsServer,
    authorities: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
) -> EngineSettings {
    let address = format!("tls://127.0.0.1:{}", server.port);
    let mut nats = NatsSettings::new([&*address], NatsStorage::Memory).unwrap();
    (nats.authorities, nats.client, nats.patience) = (authorities, client, Duration::ZERO);
    EngineSettings { engine: Engine::Nats(nats), ..settings("nats://localhost", 1) }
}

/// It can't be used, and the log says why.
async fn says(settings: &EngineSettings, sentence: &str) {
    let (log, _guard) = Log::capture();
    tokio::select! {
        _ = Client::with(settings) => panic!("connected"),
        () = log.until(sentence) => {}
    }
}

#[tokio::test]
async fn it_is_used_if_its_certificate_is_trusted() {
    let mut server = NatsServer::start("");
    let (cert, _) = write_certificate(&server, "server");
    let trusted = trusting(&server, Some(cert), None);
    // it doesn't use TLS
    says(&trusted, "`nats://` if it doesn't use TLS").await;
    server.configure_more("tls { cert_file: \"server-cert.pem\", key_file: \"server-key.pem\" }");
    server.restart(Duration::ZERO);
    works(&mut Client::with(&trusted).await.unwrap()).await;
    says(&trusting(&server, None, None), "name its authority with --nats-tls-ca-cert-path").await;
}

#[tokio::test]
async fn it_is_shown_a_certificate_if_it_wants_one() {
    let mut server = NatsServer::start("");
    let (authority, _) = write_certificate(&server, "server");
    let client = write_certificate(&server, "client");
    std::fs::copy(&client.0, server.folder.path().join("trusted.pem")).unwrap();
    let files = "cert_file: \"server-cert.pem\", key_file: \"server-key.pem\"";
    server.configure_more(&format!("tls {{ {files}, ca_file: \"trusted.pem\", verify: true }}"));
    server.restart(Duration::ZERO);
    let shown = trusting(&server, Some(authority.clone()), Some(client.clone()));
    works(&mut Client::with(&shown).await.unwrap()).await;
    says(
        &trusting(&server, Some(authority.clone()), None),
        "wants a certificate: name one with --nats-tls-client-cert-path",
    )
    .await;
    // the files are read for each connection
    let stranger = write_certificate(&server, "stranger");
    let renewed = || {
        std::fs::copy(&client.0, &stranger.0).unwrap();
        std::fs::copy(&client.1, &stranger.1).unwrap();
    };
    let refused = trusting(&server, Some(authority), Some(stranger.clone()));
    let sentence = "doesn't accept the certificate in --nats-tls-client-cert-path";
    let (_, mut client) = waits(&refused, &[sentence], renewed).await;
    works(&mut client).await;
}
