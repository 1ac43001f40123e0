//! NATS servers that can't be used yet: what the log says, and that they are used once they can be.
//!
//! One thread each, so that a test gets only its own log.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use broker::engine::{Engine, EngineError, EngineSettings, NatsSettings, NatsStorage};
use serde_json::json;

use crate::access::{waits, works};
use crate::log::Log;
use crate::nats_server::{JETSTREAM, NatsServer};
use crate::node::{Client, settings};
use crate::server::free_port;

#[tokio::test]
async fn it_is_not_there_at_first() {
    let port = free_port();
    let mut server = None;
    let settings = settings(&format!("nats://127.0.0.1:{port}"), 1);
    let address = format!("127.0.0.1:{port} can't be reached");
    let says = [&*address, "start it"];
    let started = || server = Some(NatsServer::start_at(port, JETSTREAM));
    let (_, mut client) = waits(&settings, &says, started).await;
    works(&mut client).await;
}

#[tokio::test]
async fn one_of_several_is_there() {
    let server = NatsServer::start("");
    let addresses = [format!("nats://127.0.0.1:{}", free_port()), server.url()];
    let nats = NatsSettings::new(addresses.iter().map(|it| &**it), NatsStorage::Memory);
    let engine = Engine::Nats(nats.unwrap());
    let settings = EngineSettings { engine, ..settings(&server.url(), 1) };
    works(&mut Client::with(&settings).await.unwrap()).await;
}

#[tokio::test]
async fn the_password_is_wrong_or_missing() {
    let server = NatsServer::start("authorization { user: me, password: right }");
    for (user, remedy) in [
        ("me:s3cret", "authorization { user: me, password: s3cret }"),
        ("s3cret", "authorization { token: s3cret }"),
        ("", ""),
    ] {
        let url = server.url_of(user).replace("//@", "//");
        let remedy = || {
            server.configure_more(remedy);
            server.signal("HUP");
        };
        let says = ["refuses the user, the password or the token"];
        let (log, mut client) = waits(&settings(&url, 1), &says, remedy).await;
        assert!(!log.text().contains("s3cret"), "{}", log.text());
        works(&mut client).await;
    }
}

/// Users and their permissions: all that the broker needs, but for what is denied.
fn users(denied: &str) -> String {
    let permitted = "publish: { allow: [\"$JS.API.>\", \"test.>\"]DENIED }, subscribe: [\"_INBOX.>\", \"test.bids.*\"]";
    let permitted = permitted.replace("DENIED", denied);
    format!(
        "authorization {{ users: [{{ user: half, password: pw, permissions: {{ {permitted} }} }}] }}"
    )
}

#[tokio::test]
async fn a_user_with_just_what_is_needed_can_do_all() {
    let server = NatsServer::start(&users(""));
    let (log, _guard) = Log::capture();
    let mut client = Client::connect(&server.url_of("half:pw"), 2).await.unwrap();
    works(&mut client).await;
    let partition = client.take_log();
    for _ in 0..3 {
        partition.write_snapshot(broker::engine::Cursor(0), vec!["x".into()]).await.unwrap();
    }
    assert!(!log.text().contains("WARN"), "{}", log.text());
}

#[tokio::test]
async fn a_user_may_lack_a_permission() {
    let server = NatsServer::start("");
    for denied in ["$JS.API.STREAM.>", "$JS.API.CONSUMER.>", "test.log.>"] {
        server.configure_more(&users(&format!(", deny: \"{denied}\"")));
        server.signal("HUP");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (log, _guard) = Log::capture();
        let permitted = async {
            log.until("allow it to publish to `$JS.API.>` and `test.>`").await;
            server.configure_more(&users(""));
            server.signal("HUP");
        };
        let used = async {
            let mut client = Client::connect(&server.url_of("half:pw"), 1).await.unwrap();
            works(&mut client).await;
        };
        tokio::join!(permitted, used);
    }
}

#[tokio::test]
async fn it_has_no_jetstream() {
    let port = free_port();
    let mut server = NatsServer::start_at(port, "");
    let remedy = || {
        server.configure_more("");
        server.restart(Duration::ZERO);
    };
    let settings = settings(&format!("nats://127.0.0.1:{port}"), 1);
    let (_, mut client) =
        waits(&settings, &["has no JetStream", "start it with `-js`"], remedy).await;
    works(&mut client).await;
}

#[tokio::test]
async fn it_has_no_connection_left() {
    let server = NatsServer::start("max_connections: 1");
    let held = server.client().await;
    let says = ["raise its `max_connections`"];
    let (_, mut client) = waits(&settings(&server.url(), 1), &says, || drop(held)).await;
    works(&mut client).await;
}

#[tokio::test]
async fn it_takes_only_small_messages() {
    let server = NatsServer::start("max_payload: 65535");
    let remedy = || {
        server.configure_more("max_payload: 65536");
        server.signal("HUP");
    };
    let says = ["no messages of more than 65535 bytes", "`max_payload` of 64 KiB"];
    let (_, mut client) = waits(&settings(&server.url(), 1), &says, remedy).await;
    works(&mut client).await;
}

#[tokio::test]
async fn it_is_out_of_memory() {
    let server = NatsServer::start("");
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let (log, _guard) = Log::capture();
    let bytes = server.stream("test-0").await["state"]["bytes"].clone();
    server.update("test-0", "max_bytes", bytes).await; // with less, it would remove what is there
    let freed = async {
        log.until("refuses a request").await;
        server.update("test-0", "max_bytes", json!(-1)).await;
    };
    tokio::join!(freed, works(&mut client));
}

/// Streams that aren't a broker's are never touched.
#[tokio::test]
async fn streams_of_others_are_in_the_way() {
    for (config, says) in [
        (json!({ "name": "test-0", "subjects": ["orders"] }), "has a stream test-0 that isn't"),
        (
            json!({ "name": "test-snapshots", "subjects": ["orders"] }),
            "has a stream test-snapshots",
        ),
    ] {
        let server = NatsServer::start("");
        let call = format!("STREAM.CREATE.{}", config["name"].as_str().unwrap());
        server.ask(&call, config).await;
        let Err(EngineError::Failed(refusal)) = Client::connect(&server.url(), 1).await.map(|_| ())
        else {
            panic!("not refused")
        };
        assert!(refusal.contains(says) && refusal.contains("another cluster's name"), "{refusal}");
    }
    let server = NatsServer::start("");
    server.ask("STREAM.CREATE.all", json!({ "name": "all", "subjects": ["test.>"] })).await;
    let (log, _guard) = Log::capture();
    let settings = settings(&server.url(), 1);
    tokio::select! {
        _ = Client::with(&settings) => panic!("connected"),
        () = log.until("another stream has subjects that begin with `test.`") => {}
    }
}

/// Something else listens on the port.
#[tokio::test]
async fn it_is_not_nats() {
    for (answer, says) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "doesn't answer as NATS does"),
        ("", "doesn't answer as NATS does"),
        ("wait", "doesn't answer within 1s"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                if answer == "wait" {
                    drop(socket.read(&mut [0; 1000]));
                } else {
                    drop(socket.write_all(answer.as_bytes()));
                }
            }
        });
        let (log, _guard) = Log::capture();
        let settings = settings(&format!("nats://127.0.0.1:{port}"), 1);
        tokio::select! {
            _ = Client::with(&settings) => panic!("connected to what isn't NATS"),
            () = log.until(says) => {}
        }
    }
}
