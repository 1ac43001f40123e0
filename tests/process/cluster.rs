//! What a node of a cluster says of itself when it starts.

use crate::redis::Redis;
use crate::support::Broker;

#[test]
fn a_node_says_what_it_has_read() {
    let redis = Redis::start();
    let url = redis.url();
    let start = || Broker::start(&["--redis-url", &url, "--cluster-name", "shop"]);
    let is_current = |broker: &mut Broker| broker.log().contains("up to date");
    let says = |broker: &mut Broker, fields: &[&str]| {
        let log = broker.log();
        let line = log.lines().find(|line| line.contains("up to date")).unwrap().to_owned();
        for field in fields {
            assert!(line.contains(field), "not in the line: {field}\n{line}");
        }
    };
    let mut first = start();
    first.until("up to date", is_current);
    let common = ["engine=\"redis\"", "cluster=\"shop\"", "node=", "partitions=64", "took="];
    says(&mut first, &common);
    says(&mut first, &["members=1", "snapshots=0", "batches=0", "bytes=0"]);
    first.until("a member", |broker| broker.get("/metrics").1.contains("broker_cluster_members 1"));
    let mut second = start();
    second.until("up to date", is_current);
    says(&mut second, &common);
    says(&mut second, &["members=2", "snapshots=0"]);
    assert!(!second.log().contains("batches=0"), "{}", second.log());
    first.until("two members", |broker| {
        broker.get("/metrics").1.contains("broker_cluster_members 2")
    });
}

#[test]
fn a_node_that_waits_for_redis_lives_and_takes_nobody() {
    let mut broker = Broker::start(&["--redis-url", "redis://127.0.0.1:1"]);
    assert_eq!(broker.get("/health"), (503, r#"{"status":"catching_up"}"#.to_owned()));
    assert_eq!(broker.status("/live"), 200);
    broker.until("counted", |broker| {
        let (_, metrics) = broker.get("/metrics");
        let faults = "broker_engine_reconnects_total{reason=\"unreachable\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(faults));
        count.is_some_and(|count| count != "0")
    });
    let (_, metrics) = broker.get("/metrics");
    for line in ["broker_engine_connected 0", "broker_cluster_state{state=\"catching_up\"} 1"] {
        assert!(metrics.lines().any(|it| it == line), "{line}");
    }
}
