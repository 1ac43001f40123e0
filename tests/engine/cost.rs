//! What an append costs: CPU time of the engine and of the nodes. Not a check:
//! `cargo test --release --test engine cost -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use broker::engine::{Cursor, Event, PartitionLog};
use bytes::Bytes;

use crate::engines::EngineServer;
use crate::nats_server::NatsServer;
use crate::node::{Client, next};
use crate::server::Server;

/// Bytes of an entry.
const ENTRY: usize = 200;

const PARTITIONS: u16 = 64;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn cost() {
    cost_of::<Server>("Redis").await;
    cost_of::<NatsServer>("NATS").await;
}

#[expect(clippy::print_stdout, reason = "what is measured is to be read")]
async fn cost_of<S: EngineServer>(engine: &str) {
    for nodes in [1, 3] {
        for (entries, appends) in [(1, 200), (16, 200), (256, 40)] {
            let server = S::launch();
            let mut clients = Vec::new();
            for _ in 0..nodes {
                clients.push(Client::connect(&server.url(), PARTITIONS).await.unwrap());
            }
            let (server_before, own_before, begun) = (cpu(server.pid()), own_cpu(), Instant::now());
            let mut work = Vec::new();
            for (number, client) in clients.iter_mut().enumerate() {
                for log in std::mem::take(&mut client.opened.logs) {
                    let batch = (number == 0).then(|| Bytes::from(vec![b'x'; entries * ENTRY]));
                    work.push(tokio::spawn(follow(log, batch, appends)));
                }
            }
            for work in work {
                work.await.unwrap();
            }
            let count = u128::from(appends * u64::from(PARTITIONS));
            let each =
                |before: Duration, after: Duration| after.saturating_sub(before).as_nanos() / count;
            println!(
                "{nodes} nodes, {entries} entries: {engine} {} ns, all nodes {} ns an append, {} appends/s",
                each(server_before, cpu(server.pid())),
                each(own_before, own_cpu()),
                count * 1000 / begun.elapsed().as_millis(),
            );
        }
    }
}

/// Takes as many batches as are appended, which is done here if there is a batch.
async fn follow(mut log: PartitionLog, batch: Option<Bytes>, appends: u64) {
    log.follow(Cursor(0));
    let append = |log: &mut PartitionLog| {
        if let Some(batch) = &batch {
            log.append(batch.clone());
        }
    };
    append(&mut log);
    loop {
        match next(&mut log).await {
            Event::Batch { cursor, .. } if cursor.0 == appends => return,
            Event::Batch { .. } | Event::AppendFailed => append(&mut log),
            Event::CaughtUp => {}
            Event::StateWanted => panic!("nothing was lost"),
            Event::Lost(reason) => panic!("{reason}"),
        }
    }
}

fn own_cpu() -> Duration {
    cpu(std::process::id())
}

/// CPU time that a process has used.
fn cpu(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10) // 100 a second
}
