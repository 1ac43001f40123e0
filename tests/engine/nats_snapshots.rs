//! Snapshots in NATS, and what is trimmed.

use std::time::Duration;

use broker::engine::{
    Cursor, Engine, EngineError, EngineSettings, Event, LostReason, NatsSettings, NatsStorage,
    PartitionLog,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::nats_server::NatsServer;
use crate::node::{Client, next, settings};
use crate::snapshots::{chunks, log_of};

/// Settings with which a snapshot needn't be the newest for long before the log is trimmed up to it.
fn impatient(server: &NatsServer, storage: NatsStorage) -> EngineSettings {
    let mut nats = NatsSettings::new([&*server.url()], storage).unwrap();
    nats.margin = Duration::ZERO;
    EngineSettings { engine: Engine::Nats(nats), ..settings(&server.url(), 1) }
}

async fn parts(server: &NatsServer) -> Value {
    server.subjects("test-snapshots", "test.parts.0.*").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_is_read() {
    let server = NatsServer::start("max_payload: 65536");
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let log = log_of(&mut client, 30).await;
    assert_eq!(log.read_snapshot().await, Ok(None));
    let large = vec![Bytes::from(vec![b'x'; 200_000]), Bytes::new(), Bytes::from_static(b"y")];
    for (at, chunks) in
        [(10, chunks("x", 3)), (20, large), (30, chunks("x", 100)), (30, chunks("y", 1))]
    {
        log.write_snapshot(Cursor(at), chunks.clone()).await.unwrap();
        assert_eq!(log.read_snapshot().await, Ok(Some((Cursor(at), chunks))));
    }
    // who was slower doesn't replace it
    log.write_snapshot(Cursor(25), chunks("late", 3)).await.unwrap();
    assert_eq!(log.read_snapshot().await, Ok(Some((Cursor(30), chunks("y", 1)))));
    // it and the one before are kept, for who is reading that, and nothing else
    let mut kept: Vec<_> = parts(&server).await.as_object().unwrap().values().cloned().collect();
    kept.sort_by_key(Value::as_u64);
    assert_eq!(kept, [json!(1), json!(100)]);
    let manifests = server.subjects("test-snapshots", "test.snapshots.*").await;
    assert_eq!(manifests, json!({ "test.snapshots.0": 2 }));
    assert_eq!(server.batches().await, 30, "each was replaced at once and may still be in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_trimmed_up_to_the_one_before() {
    for storage in [NatsStorage::Memory, NatsStorage::File] {
        trims(storage).await;
    }
}

async fn trims(storage: NatsStorage) {
    let server = NatsServer::start("max_payload: 65536");
    let mut client = Client::with(&impatient(&server, storage)).await.unwrap();
    let mut log = log_of(&mut client, 30).await;
    for (at, left) in [(1, 30), (10, 30), (20, 21), (30, 11), (30, 1)] {
        log.write_snapshot(Cursor(at), chunks("x", 1)).await.unwrap();
        assert_eq!(server.batches().await, left, "after the snapshot at {at}");
    }
    let mut cursors = vec![30];
    for _ in 31..=40 {
        cursors.push(append(&mut log).await);
    }
    for after in [10, 0] {
        let mut rest = cursors.iter().skip(after);
        log.follow(Cursor(*rest.next().unwrap()));
        for number in rest {
            let event = next(&mut log).await;
            assert!(
                matches!(event, Event::Batch { cursor, .. } if cursor.0 == *number),
                "{event:?}"
            );
        }
        assert_eq!(next(&mut log).await, Event::CaughtUp);
    }
    log.follow(Cursor(28));
    assert_eq!(next(&mut log).await, Event::Lost(LostReason::Trimmed));
}

/// Appends a large batch; returns its cursor.
async fn append(log: &mut PartitionLog) -> u64 {
    log.append(Bytes::from(vec![b'x'; 40_000]));
    let event = next(log).await;
    let Event::Batch { cursor, .. } = event else { panic!("{event:?}") };
    cursor.0
}

/// Parts of batches are kept as long as they may be needed, which is longer than this test.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_batches_outlive_a_trimmed_log() {
    let server = NatsServer::start("max_payload: 65536");
    let mut client = Client::with(&impatient(&server, NatsStorage::Memory)).await.unwrap();
    let mut log = log_of(&mut client, 0).await;
    for _ in 1..=10 {
        let cursor = append(&mut log).await;
        log.write_snapshot(Cursor(cursor), chunks("x", 1)).await.unwrap();
    }
    assert_eq!(server.batches().await, 2);
    let batches = parts(&server).await["test.parts.0.batches"].clone();
    assert_eq!(batches, json!(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_nobody_completed_is_none() {
    let server = NatsServer::start("");
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let log = log_of(&mut client, 5).await;
    let by_hand = server.client().await;
    by_hand.request("test.parts.0.dead", Bytes::from_static(b"x")).await.unwrap();
    by_hand.request("test.snapshots.0", Bytes::from_static(b"not a manifest")).await.unwrap();
    assert_eq!(log.read_snapshot().await, Ok(None));
    log.write_snapshot(Cursor(5), chunks("x", 1)).await.unwrap();
    assert_eq!(log.read_snapshot().await, Ok(Some((Cursor(5), chunks("x", 1)))));
    assert_eq!(
        parts(&server).await.as_object().unwrap().len(),
        1,
        "what nobody completed is removed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_has_none() {
    let server = NatsServer::start("");
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let log = log_of(&mut client, 5).await;
    log.write_snapshot(Cursor(5), chunks("x", 1)).await.unwrap();
    server.ask("STREAM.DELETE.test-0", json!({})).await;
    assert_eq!(log.read_snapshot().await, Err(EngineError::Lost));
    assert_eq!(log.write_snapshot(Cursor(5), chunks("x", 1)).await, Err(EngineError::Lost));
    // and the next one doesn't have that of the one before
    drop((log, client));
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    assert_eq!(client.take_log().read_snapshot().await, Ok(None));
}
