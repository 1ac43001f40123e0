//! The scripts, in a real Redis, beside what the model says that they do.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use redis::{Cmd, Connection, Value, cmd};

use super::super::bids;
use super::super::entry::bytes;
use super::super::keys::{ClusterKeys, PartitionKeys};
use super::super::meta::Meta;
use super::super::scripts::{self, Settled, Settling};
use super::server::{Answer, Has, Server};
use super::steps::bid;
use crate::engine::bids::Bids;
use crate::engine::recent::Entry;
use crate::engine::settings::ClusterName;
use crate::log::{LogId, NodeId};

const LOG: LogId = LogId(7);

/// A Redis that lives as long as this.
struct Redis {
    child: Child,
    connection: Connection,
    keys: PartitionKeys,
    _folder: tempfile::TempDir,
}

#[derive(Clone, Debug)]
enum Step {
    Append { run: u8 },
    Bid { run: u8, node: u8, has: Has },
    Confirm { run: u8, cursor: u8, is_known: bool, by: By },
    Restore { run: u8, length: u8, base: u8, by: By },
    Doubt { is_late: bool },
    Flush,
}

/// How a log is settled: by the bids there are, or by earlier ones, and with a fork or without one.
#[derive(Clone, Copy, Debug)]
struct By {
    is_late: bool,
    forks: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let run = || 1..3_u8;
    let is_late = || prop::bool::weighted(0.2);
    let by = || (is_late(), any::<bool>()).prop_map(|(is_late, forks)| By { is_late, forks });
    let has = (0..9_u64, 0..5_u8, 0..5_u8).prop_map(|(round, cursor, nonce)| Has {
        round,
        cursor,
        nonce,
    });
    let step = prop_oneof![
        6 => run().prop_map(|run| Step::Append { run }),
        4 => (run(), 1..4_u8, has).prop_map(|(run, node, has)| Step::Bid { run, node, has }),
        3 => (run(), 0..6_u8, any::<bool>(), by())
            .prop_map(|(run, cursor, is_known, by)| Step::Confirm { run, cursor, is_known, by }),
        3 => (run(), 0..6_u8, 0..6_u8, by())
            .prop_map(|(run, length, base, by)| Step::Restore { run, length, base, by }),
        2 => is_late().prop_map(|is_late| Step::Doubt { is_late }),
        1 => Just(Step::Flush),
    ];
    prop::collection::vec(step, 0..40)
}

impl Redis {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket);
        command.stdout(Stdio::null()).stdin(Stdio::null()).current_dir(folder.path());
        let child = command.spawn().unwrap();
        let client = redis::Client::open(format!("redis+unix://{}", socket.display())).unwrap();
        let connection = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(20));
            client.get_connection().ok()
        });
        let keys = ClusterKeys::new(&ClusterName::new("model").unwrap()).partition(0);
        Self { child, connection: connection.unwrap(), keys, _folder: folder }
    }

    fn ask(&mut self, ask: &Cmd) -> Value {
        ask.query(&mut self.connection).unwrap()
    }

    /// Compares an answer.
    fn expect(&mut self, ask: &Cmd, expected: &Answer, step: &Step) {
        let answer = self.ask(ask);
        if let Value::Array(fields) = answer {
            let Answer::Bids(ballot) = expected else { panic!("{expected:?}, not {fields:?}") };
            let mut bids = Bids::default();
            ballot
                .all
                .iter()
                .for_each(|(node, has)| bids.insert(NodeId((*node).into()), bid(*has)));
            assert_eq!(bids::read(fields), Some((bids, ballot.number.into())));
            return;
        }
        let text = match expected {
            Answer::Ok => "ok",
            Answer::Other => "other",
            Answer::Incomplete => "incomplete",
            Answer::Settled => "settled",
            Answer::Bids(_) => "bids",
        };
        assert_eq!(String::from_utf8(bytes(answer).unwrap()).unwrap(), text, "{step:?}");
    }

    /// What both do, by the same step; `nonce` is a new one.
    fn step(&mut self, server: &mut Server, step: &Step, nonce: u8) {
        let keys = self.keys.clone();
        let runs = ["", "r1", "r2"];
        let of = |run: u8| Settled { log: LOG, run: runs[usize::from(run)] };
        let batch = |nonce: u8| vec![nonce];
        let number = server.bids.as_ref().map_or(0, |ballot| ballot.number);
        let settling = |by: By| Settling {
            ballot: if by.is_late { 255 } else { number.into() },
            round: nonce.into(),
        };
        let (expected, ask) = match *step {
            Step::Append { run } => {
                let (of, nonce_) = (of(run), nonce.into());
                let ask =
                    scripts::append(scripts::By::Text, &keys, of, nonce_, &batch(nonce), "PUBLISH");
                (server.append(run, nonce), ask)
            }
            Step::Bid { run, node, has } => {
                let ours = (NodeId(node.into()), bid(has));
                (
                    server.bid(run, (node, has), nonce),
                    scripts::bid(&keys, of(run), ours, nonce.into()),
                )
            }
            Step::Confirm { run, cursor, is_known, by } => {
                let found = server.log.as_ref().and_then(|log| log.at(cursor.into()));
                let nonce_ = if is_known { found.unwrap_or(200) } else { 0 };
                let has = Has { round: 0, cursor, nonce: nonce_ };
                let fork = by.forks.then_some(nonce);
                let behind = fork.map(batch).unwrap_or_default();
                let behind = (nonce.into(), &behind[..]);
                let ask = scripts::confirm(&keys, of(run), bid(has), settling(by), behind);
                (server.confirm(run, has, settling(by), fork), ask)
            }
            Step::Restore { run, length, base, by } => {
                let entries: Vec<u8> = (100..100 + length).collect();
                let base = usize::from(base).min(entries.len());
                let fork = by.forks.then_some(nonce);
                let behind = fork.map(batch).unwrap_or_default();
                let behind = (nonce.into(), &behind[..]);
                let name = nonce.to_string();
                let mut push = cmd("RPUSH");
                push.arg(format!("{}{name}", keys.snapshots)).arg("state");
                self.ask(&push);
                let entry = |(cursor, nonce): (u64, &u8)| Entry {
                    cursor,
                    nonce: (*nonce).into(),
                    at: 1,
                    batch: batch(*nonce).into(),
                };
                let put: Vec<_> = (1_u64..).zip(&entries).skip(base).map(entry).collect();
                let (of, at, put) = (of(run), length.into(), put.iter());
                let ask = scripts::restore(&keys, of, (&name, 1), at, settling(by), put, behind);
                (server.restore(run, (&entries, base), settling(by), fork), ask)
            }
            Step::Doubt { is_late } => {
                let round = server.log.as_ref().map_or(0, |log| log.round);
                let round = if is_late { 255 } else { round };
                server.doubt(round);
                (Answer::Ok, scripts::doubt(&keys, LOG, round))
            }
            Step::Flush => {
                *server = Server::default();
                self.ask(&cmd("FLUSHALL"));
                return;
            }
        };
        self.expect(&ask, &expected, step);
    }

    /// Compares all that is there.
    fn check(&mut self, server: &Server) {
        let runs = ["", "r1", "r2"];
        let keys = self.keys.clone();
        let meta = Meta::read(self.ask(&Meta::ask(&keys))).unwrap();
        let Some(log) = &server.log else {
            assert_eq!(meta, Meta::default());
            return;
        };
        let found = (meta.id, meta.head, meta.run.as_str(), meta.round);
        let head = log.entries.len() as u64;
        assert_eq!(found, (Some(LOG), head, runs[usize::from(log.run)], log.round));
        let mut range = cmd("XRANGE");
        range.arg(&keys.log).arg("-").arg("+");
        let entries = Entry::all_from_stream(self.ask(&range)).unwrap();
        let entries: Vec<_> = entries.iter().map(|entry| (entry.cursor, entry.nonce)).collect();
        let expected = (1_u64..).zip(log.entries.iter().copied().map(u64::from)).skip(log.base);
        assert_eq!(entries, expected.collect::<Vec<_>>());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn scripts_do_what_the_model_does() {
    let redis = std::cell::RefCell::new(Redis::start());
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&steps(), |steps| {
        let (mut redis, mut server) = (redis.borrow_mut(), Server::default());
        redis.ask(&cmd("FLUSHALL"));
        for (step, nonce) in steps.iter().zip(1..) {
            redis.step(&mut server, step, nonce);
            redis.check(&server);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
