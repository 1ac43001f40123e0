//! NATS in operator mode: users are who has a JWT and its seed.
//!
//! One thread each, so that a test gets only its own log.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::engine::{Engine, EngineSettings, NatsSettings, NatsStorage};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::access::{waits, works};
use crate::log::Log;
use crate::nats_server::NatsServer;
use crate::node::{Client, settings};

/// An operator with an account for the broker, and one that NATS needs for itself.
struct Operator {
    key: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    fn new() -> Self {
        let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
        Self { key: KeyPair::new_operator(), account, system }
    }

    /// What a server is configured with.
    fn config(&self) -> String {
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let mut limited = unlimited.clone();
        for limit in ["mem_storage", "disk_storage", "streams", "consumer"] {
            limited.as_object_mut().unwrap().insert(limit.to_owned(), json!(0)); // the system's has no JetStream
        }
        let of = |account: &KeyPair, limits: &Value| {
            let claims = json!({ "type": "account", "version": 2, "limits": limits });
            format!("{}: \"{}\"", account.public_key(), jwt(&self.key, account, &claims, None))
        };
        let operator =
            jwt(&self.key, &self.key, &json!({ "type": "operator", "version": 2 }), None);
        format!(
            "operator: \"{operator}\"\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}\n{}\n}}",
            self.system.public_key(),
            of(&self.account, &unlimited),
            of(&self.system, &limited),
        )
    }

    /// A credentials file of a new user, who may expire.
    fn credentials(&self, expires: Option<Duration>) -> String {
        let user = KeyPair::new_user();
        let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let (jwt, seed) = (jwt(&self.account, &user, &claims, expires), user.seed().unwrap());
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// What `issuer` says of `subject`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, claims: &Value, expires: Option<Duration>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut body = json!({
        "jti": "1", "iat": now.as_secs(), "iss": issuer.public_key(), "sub": subject.public_key(), "name": "n",
        "nats": claims,
    });
    if let Some(expires) = expires {
        body.as_object_mut().unwrap().insert("exp".to_owned(), json!((now + expires).as_secs()));
    }
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let signed = [header, body].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// A server, the file with the credentials, and settings of a node that reads it.
fn start(operator: &Operator, credentials: &str) -> (NatsServer, PathBuf, EngineSettings) {
    let server = NatsServer::start(&operator.config());
    let file = server.folder.path().join("node.creds");
    std::fs::write(&file, credentials).unwrap();
    let mut nats = NatsSettings::new([&*server.url()], NatsStorage::Memory).unwrap();
    (nats.credentials, nats.patience) = (Some(file.clone()), Duration::ZERO);
    let settings = EngineSettings { engine: Engine::Nats(nats), ..settings(&server.url(), 1) };
    (server, file, settings)
}

#[tokio::test]
async fn a_refused_user_is_replaced_by_another() {
    let operator = Operator::new();
    let stranger = Operator::new().credentials(None);
    let (_server, file, settings) = start(&operator, &stranger);
    let renewed = || std::fs::write(&file, operator.credentials(None)).unwrap();
    let says = ["refuses the user in --nats-creds", "write new credentials to the file"];
    let (log, mut client) = waits(&settings, &says, renewed).await;
    let seed = stranger.lines().find(|line| line.starts_with("SU")).unwrap();
    assert!(!log.text().contains(seed), "{}", log.text());
    works(&mut client).await;
}

#[tokio::test]
async fn a_file_that_is_gone_is_waited_for() {
    let operator = Operator::new();
    let (_server, file, settings) = start(&operator, "");
    std::fs::remove_file(&file).unwrap();
    let restored = || std::fs::write(&file, operator.credentials(None)).unwrap();
    let (_, mut client) =
        waits(&settings, &["--nats-creds can't be read any more"], restored).await;
    works(&mut client).await;
}

#[tokio::test]
async fn a_user_who_expires_is_replaced_without_a_restart() {
    let operator = Operator::new();
    let lifetime = Duration::from_secs(10); // of which it needs one or two to connect, on a busy machine more
    let (_server, file, settings) = start(&operator, &operator.credentials(Some(lifetime)));
    let (log, _guard) = Log::capture();
    let mut client = Client::with(&settings).await.unwrap();
    log.until("connected to the engine").await;
    std::fs::write(&file, operator.credentials(None)).unwrap();
    log.until("ended the connection").await;
    works(&mut client).await;
}
