//! Snapshots, and what is trimmed.

use broker::engine::{Cursor, EngineError, Event, LostReason, PartitionLog};
use bytes::Bytes;

use crate::engines::{EngineServer, for_each_engine};
use crate::node::{Client, next};
use crate::server::Server;

for_each_engine!(one_of_those_written_together_is_whole, a_snapshot_ends_the_count_of_bytes);

pub(crate) fn chunks(text: &str, count: usize) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(format!("{text} {number}"))).collect()
}

/// A log with batches.
pub(crate) async fn log_of(client: &mut Client, count: u64) -> PartitionLog {
    let mut log = client.take_log();
    log.follow(Cursor(0));
    assert_eq!(next(&mut log).await, Event::CaughtUp);
    for number in 1..=count {
        log.append(Bytes::from(format!("{number}")));
        assert!(matches!(next(&mut log).await, Event::Batch { cursor, .. } if cursor.0 == number));
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_is_read() {
    let redis = Server::start(&[]);
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let log = log_of(&mut client, 30).await;
    assert_eq!(log.read_snapshot().await, Ok(None));
    for (at, count) in [(10, 3), (20, 100), (30, 1)] {
        let chunks = chunks("x", count);
        log.write_snapshot(Cursor(at), chunks.clone()).await.unwrap();
        assert_eq!(log.read_snapshot().await, Ok(Some((Cursor(at), chunks))));
    }
    // who was slower doesn't replace it
    log.write_snapshot(Cursor(25), chunks("late", 3)).await.unwrap();
    assert_eq!(log.read_snapshot().await, Ok(Some((Cursor(30), chunks("x", 1)))));
    // and leaves nothing behind; those before are kept for who is reading them, for a time
    let kept: Vec<String> = redis.ask("KEYS test:{0.1967}:snap:*");
    assert_eq!(kept.len(), 3);
    let times: Vec<i64> = kept.iter().map(|key| redis.ask(&format!("TTL {key}"))).collect();
    assert_eq!(times.iter().filter(|&&time| time > 0).count(), 2, "{times:?}");
}

async fn one_of_those_written_together_is_whole<S: EngineServer>() {
    let server = S::launch();
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let mut other = Client::connect(&server.url(), 1).await.unwrap();
    let log = log_of(&mut client, 1).await;
    let mut other = other.take_log();
    other.follow(Cursor(0));
    while next(&mut other).await != Event::CaughtUp {}
    for _ in 0..20 {
        let (one, two) = (chunks("one", 40), chunks("two", 30));
        let written = tokio::join!(
            log.write_snapshot(Cursor(1), one.clone()),
            other.write_snapshot(Cursor(1), two.clone()),
        );
        assert_eq!(written, (Ok(()), Ok(())));
        let (_, read) = other.read_snapshot().await.unwrap().unwrap();
        assert!(read == one || read == two, "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_trimmed_up_to_the_one_before() {
    let redis = Server::start(&[]);
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 30).await;
    let length = || redis.ask::<u64>("XLEN test:{0.1967}:log");
    log.write_snapshot(Cursor(10), chunks("x", 1)).await.unwrap();
    log.write_snapshot(Cursor(20), chunks("x", 1)).await.unwrap();
    assert_eq!(length(), 30, "a snapshot that was replaced at once may still be in use");
    redis.tell("HSET test:{0.1967}:meta snap_time 1700000000"); // long ago
    log.write_snapshot(Cursor(30), chunks("x", 1)).await.unwrap();
    assert_eq!(length(), 11);
    for after in [30, 20] {
        log.follow(Cursor(after));
        for number in after + 1..=30 {
            let event = next(&mut log).await;
            assert!(
                matches!(event, Event::Batch { cursor, .. } if cursor.0 == number),
                "{event:?}"
            );
        }
        assert_eq!(next(&mut log).await, Event::CaughtUp);
    }
    log.follow(Cursor(0));
    assert_eq!(next(&mut log).await, Event::Lost(LostReason::Trimmed));
}

async fn a_snapshot_ends_the_count_of_bytes<S: EngineServer>() {
    let server = S::launch();
    let mut client = Client::connect(&server.url(), 1).await.unwrap();
    let log = log_of(&mut client, 5).await;
    assert_eq!(log.bytes_since_snapshot(), 5);
    log.write_snapshot(Cursor(5), chunks("x", 1)).await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if log.bytes_since_snapshot() == 0 {
            return;
        }
    }
    panic!("the snapshot isn't known: {}", log.bytes_since_snapshot());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_has_none() {
    let redis = Server::start(&[]);
    let mut client = Client::connect(&redis.url(), 1).await.unwrap();
    let log = log_of(&mut client, 5).await;
    redis.tell("FLUSHALL");
    assert_eq!(log.read_snapshot().await, Err(EngineError::Lost));
    assert_eq!(log.write_snapshot(Cursor(5), chunks("x", 1)).await, Err(EngineError::Lost));
}

/// A snapshot of a node that was told what the log hasn't would be nobody's state.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_lost_writes_none() {
    let old = Server::start(&[]);
    let mut client = Client::connect(&old.url(), 1).await.unwrap();
    let mut log = log_of(&mut client, 10).await;
    log.write_snapshot(Cursor(5), chunks("x", 1)).await.unwrap();
    let id: String = old.ask("HGET test:{0.1967}:meta id");
    let port = old.port;
    drop(old);
    let new = Server::start_at(port, &[]);
    // where the others have gone on with less
    let info: String = new.ask("INFO server");
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap();
    new.tell(&format!("HSET test:{{0.1967}}:meta id {id} run {run} head 7 round 3"));
    assert_eq!(next(&mut log).await, Event::Lost(LostReason::Shorter));
    let written = log.write_snapshot(Cursor(10), chunks("x", 1)).await;
    assert_eq!(written, Err(EngineError::Lost));
    assert_eq!(new.ask::<Option<String>>("HGET test:{0.1967}:meta snap"), None);
}
