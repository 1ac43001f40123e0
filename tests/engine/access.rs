//! Servers that can't be used yet: what the log says, and that they are used once they can be.
//!
//! One thread each, so that a test gets only its own log.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use broker::engine::{Cursor, EngineSettings, Event};
use bytes::Bytes;

use crate::log::Log;
use crate::node::{Client, PATIENCE, next, settings};
use crate::server::{Server, free_port};

/// What the broker's user is permitted, as the log says it.
const COMMANDS: &str = "+evalsha +eval +hset +hsetnx +hget +hmget +hgetall +hincrby +xadd +xrange +xtrim +time \
                        +publish +subscribe +ping +info +unlink +rpush +lrange +llen +expire +persist +select";

/// Connects, while the log must say something, until a remedy.
pub(crate) async fn waits(
    settings: &EngineSettings,
    says: &[&str],
    remedy: impl FnOnce(),
) -> (Log, Client) {
    let (log, _guard) = Log::capture();
    let connecting = Client::with(settings);
    tokio::pin!(connecting);
    let waited = tokio::time::timeout(Duration::from_secs(3), &mut connecting).await;
    assert!(waited.is_err(), "it could connect");
    for part in says {
        assert!(log.text().contains(part), "not in the log: {part}\n{}", log.text());
    }
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
    remedy();
    let connected = tokio::time::timeout(Duration::from_secs(20), connecting).await;
    (log, connected.unwrap().unwrap())
}

/// Appends a batch and is told it.
pub(crate) async fn works(client: &mut Client) {
    let batch = Bytes::from_static(b"a");
    let mut log = client.take_log();
    log.follow(Cursor(0));
    while next(&mut log).await != Event::CaughtUp {}
    log.append(batch.clone());
    loop {
        match next(&mut log).await {
            Event::Batch { .. } => return,
            Event::AppendFailed => log.append(batch.clone()),
            Event::CaughtUp => panic!("caught up twice"),
            Event::StateWanted => panic!("nothing was lost"),
            Event::Lost(reason) => panic!("{reason}"),
        }
    }
}

#[tokio::test]
async fn it_is_not_there_at_first() {
    let port = free_port();
    let mut redis = None;
    let settings = settings(&format!("redis://127.0.0.1:{port}"), 1);
    let says = [&format!("127.0.0.1:{port} can't be reached"), "start it"];
    let started = || redis = Some(Server::start_at(port, &[]));
    let (_, mut client) = waits(&settings, &says, started).await;
    works(&mut client).await;
}

#[tokio::test]
async fn the_password_is_wrong_or_missing() {
    let redis = Server::start(&["--requirepass", "right"]);
    for (password, says, remedy) in [
        ("s3cret", "refuses the user or the password", ">s3cret"),
        ("", "wants a password", "nopass"),
    ] {
        let settings = settings(&redis.url_of("", password), 1);
        let remedy = || redis.tell(&format!("ACL SETUSER default {remedy}"));
        let (log, mut client) = waits(&settings, &[says], remedy).await;
        assert!(!log.text().contains("s3cret"), "{}", log.text());
        works(&mut client).await;
    }
}

#[tokio::test]
async fn a_user_with_just_what_is_needed_can_do_all() {
    let redis = Server::start(&[]);
    redis.tell(&format!("ACL SETUSER just on >pw ~test:* &test:* {COMMANDS}"));
    let (log, _guard) = Log::capture();
    let mut client = Client::connect(&redis.url_of("just", "pw"), 2).await.unwrap();
    works(&mut client).await;
    let mut partition = client.take_log();
    partition.follow(Cursor(0));
    assert_eq!(next(&mut partition).await, Event::CaughtUp);
    let snapshot = vec![Bytes::from_static(b"x")];
    for _ in 0..2 {
        redis.tell("HSET test:{1}:meta snap_time 1700000000");
        partition.write_snapshot(Cursor(0), snapshot.clone()).await.unwrap();
    }
    assert_eq!(partition.read_snapshot().await, Ok(Some((Cursor(0), snapshot))));
    assert!(!log.text().contains("WARN"), "{}", log.text());
}

#[test]
fn the_manual_permits_the_same() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CLUSTER.md");
    let rules = format!("'~broker:*' '&broker:*' {COMMANDS}\n");
    assert!(std::fs::read_to_string(manual).unwrap().contains(&rules), "{manual} lacks {rules}");
}

#[tokio::test]
async fn a_user_may_lack_a_permission() {
    let redis = Server::start(&[]);
    let rules = format!("~test:* &test:* {COMMANDS}");
    for (lacks, says) in [
        ("resetchannels", "add `&test:*`"),
        ("resetkeys", "add `~test:*`"),
        ("-hsetnx", "'hsetnx'"),
        ("-eval", "'eval'"),
        ("-subscribe", "'subscribe'"),
        ("-hmget", "'hmget'"),
        ("-xadd", "The user executing the script"),
    ] {
        let (log, _guard) = Log::capture();
        redis.tell(&format!("ACL SETUSER half reset on >pw {rules} {lacks}"));
        let permitted = async {
            log.until(says).await;
            redis.tell(&format!("ACL SETUSER half on >pw {rules}"));
        };
        let used = async {
            let mut client = Client::connect(&redis.url_of("half", "pw"), 1).await.unwrap();
            works(&mut client).await;
        };
        let both = Box::pin(async { tokio::join!(permitted, used) });
        tokio::time::timeout(PATIENCE, both).await.unwrap();
        assert!(log.text().contains("ACL rules"), "{}", log.text());
        assert!(!lacks.starts_with('-') || log.text().contains(COMMANDS), "{}", log.text());
        let [head, count] =
            [redis.ask("HGET test:{0.1967}:meta head"), redis.ask("XLEN test:{0.1967}:log")];
        let [head, count]: [u64; 2] = [head, count];
        assert_eq!(head, count, "{lacks}: the head counts what isn't there");
    }
}

#[tokio::test]
async fn it_has_no_connection_left() {
    let redis = Server::start(&[]);
    redis.tell("CONFIG SET maxclients 1");
    let mut held = redis.connection();
    let settings = settings(&redis.url(), 1);
    let remedy =
        || drop(redis::cmd("CONFIG").arg("SET").arg("maxclients").arg(100).exec(&mut held));
    let (_, mut client) = waits(&settings, &["raise its `maxclients`"], remedy).await;
    works(&mut client).await;
}

#[tokio::test]
async fn it_is_a_replica() {
    let redis = Server::start(&[]);
    redis.tell("REPLICAOF 127.0.0.1 1");
    let remedy = || redis.tell("REPLICAOF NO ONE");
    let says = ["is a replica", "name the primary"];
    let (_, mut client) = waits(&settings(&redis.url(), 2), &says, remedy).await;
    works(&mut client).await;
    // or becomes one
    let (log, _guard) = Log::capture();
    redis.tell("REPLICAOF 127.0.0.1 1");
    let promoted = async {
        log.until("is a replica").await;
        redis.tell("REPLICAOF NO ONE");
    };
    tokio::join!(promoted, works(&mut client));
}

#[tokio::test]
async fn it_is_out_of_memory() {
    let redis = Server::start(&[]);
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let (log, _guard) = Log::capture();
    redis.tell("CONFIG SET maxmemory 1");
    let freed = async {
        log.until("raise its `maxmemory`").await;
        redis.tell("CONFIG SET maxmemory 0");
    };
    tokio::join!(freed, works(&mut client));
}

/// Something else listens on the port.
#[tokio::test]
async fn it_is_not_redis() {
    for (answer, says) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "doesn't answer as Redis does"),
        ("", "ended the connection before it was made"),
        ("wait", "doesn't answer within 1s"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let mut socket = socket.unwrap();
                drop(socket.read(&mut [0; 1000]));
                if answer == "wait" {
                    std::thread::sleep(Duration::from_secs(3));
                } else {
                    drop(socket.write_all(answer.as_bytes()));
                }
            }
        });
        let (log, _guard) = Log::capture();
        let settings = settings(&format!("redis://127.0.0.1:{port}"), 1);
        tokio::select! {
            _ = Client::with(&settings) => panic!("connected to what isn't Redis"),
            () = log.until(says) => {}
        }
    }
}
