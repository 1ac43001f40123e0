//! What can't be measured is refused with what to do about it.

use std::process::Command;

use super::support::{Broker, bench};

#[test]
fn a_server_that_is_not_there() {
    let run = bench(&["idle", "--url=ws://127.0.0.1:1/cable", "--connections=3"]);
    assert_eq!(
        run.complaint(1).lines().skip(1).collect::<Vec<_>>(),
        [
            "broker-bench: 127.0.0.1:1 can't be reached: Connection refused (os error 111)",
            "Is the server running, and is this its port?",
        ]
    );
}

#[test]
fn a_process_that_is_not_there() {
    assert_eq!(
        bench(&["idle", "--pid=4294967295"]).complaint(1),
        "broker-bench: there is no process 4294967295: --pid is the server's, and it runs on this \
         machine\n"
    );
}

#[test]
fn a_handshake_that_is_refused() {
    let broker = Broker::start(&["--secret", "a secret that is long enough for anyone"]);
    let (url, pid) = (broker.url(), broker.pid());
    let elsewhere = url.replace("/cable", "/elsewhere");
    let idle = |flags: &[&str]| {
        let all = [&["idle", "--connections=3", "--pid", &pid], flags].concat();
        bench(&all).complaint(1).to_owned()
    };
    assert_eq!(
        idle(&["--url", &elsewhere]),
        "broker-bench: the handshake was refused: HTTP/1.1 404 Not Found: {\"error\":\"not found: \
         see docs/HTTP.md for the paths\"}\n\
         Is the path in --url the one of the WebSocket? Rails says so, too, if it doesn't allow the \
         --origin.\n"
    );
    assert_eq!(
        idle(&["--url", &url, "--protocol=nonsense"]),
        "broker-bench: the handshake was refused: HTTP/1.1 400 Bad Request: none of the offered \
         subprotocols is spoken here: offer actioncable-v1-json or actioncable-v1-ext-json\n\
         Does the server speak this --protocol?\n"
    );
    assert_eq!(
        idle(&["--url", &url]),
        "broker-bench: the server ended a connection: {\"type\":\"disconnect\",\"reason\":\
         \"unauthorized\",\"reconnect\":false}\n\
         The server wants to know who connects: see --token, --origin and --header\n"
    );
}

#[test]
fn a_subscription_that_is_rejected() {
    let broker = Broker::start(&[]);
    let run = bench(&[
        "idle",
        "--connections=1",
        "--streams=1",
        "--url",
        &broker.url(),
        "--pid",
        &broker.pid(),
        r#"--identifier={"channel":"ChatChannel","room":"{stream}"}"#,
    ]);
    let mut lines = run.complaint(1).lines();
    let first = lines.next().unwrap();
    let start =
        r#"broker-bench: the subscription was rejected: {"channel":"ChatChannel","room":"bench-"#;
    assert!(first.starts_with(start), "{first}");
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "Are plain stream names allowed (a server with a secret wants signed ones; AnyCable wants \
             --public_streams)?",
            "Else write the identifier of a channel that this server has, with --identifier.",
        ]
    );
}

#[test]
fn publications_that_are_refused() {
    let broker = Broker::start(&["--broadcast-key", "open-sesame-for-benchmarks"]);
    let (url, pid) = (broker.url(), broker.pid());
    let fanout = |flags: &[&str]| {
        let all = ["fanout", "--connections=3", "--warmup=0.1", "--seconds=0.1", "--json"];
        bench(&[&all[..], &["--url", &url, "--pid", &pid], flags].concat())
    };
    let run = fanout(&[]);
    let complaint = run.complaint(1);
    assert!(complaint.contains("/_broadcast was refused with 401: "), "{complaint}");
    assert!(complaint.ends_with("The server wants a key for publications: see --publish-key\n"));
    let run = fanout(&["--publish-url", &broker.http("/elsewhere")]);
    let complaint = run.complaint(1);
    assert!(complaint.contains("/elsewhere was refused with 404: "), "{complaint}");
    assert!(complaint.ends_with("Is --publish-url where the server takes publications?\n"));
    let run = fanout(&["--publish-url=http://127.0.0.1:1/"]);
    let complaint = run.complaint(1);
    assert!(complaint.contains("publications to 127.0.0.1:1/ can't be sent"), "{complaint}");
    assert!(complaint.contains("Connection refused"), "{complaint}");
    fanout(&["--publish-key=open-sesame-for-benchmarks"]).figures();
}

#[test]
fn records_where_there_is_no_presence_api() {
    let broker = Broker::start(&["--api-key", "open-sesame-for-benchmarks"]);
    let (url, pid) = (broker.url(), broker.pid());
    let records = |flags: &[&str]| {
        let all = ["records", "--count=10", "--settle=0", "--json", "--url", &url, "--pid", &pid];
        bench(&[&all[..], flags].concat())
    };
    assert!(records(&[]).complaint(1).ends_with(" wants a key: see --api-key\n"));
    let run = records(&["--api-url", &broker.http("/elsewhere")]);
    assert!(run.complaint(1).contains("/elsewhere takes no records"), "{run:?}");
    records(&["--api-key=open-sesame-for-benchmarks"]).figures();
}

#[test]
fn too_few_open_files() {
    let limited = "ulimit -n 100 && exec \"$0\" idle --connections 1000";
    let binary = env!("CARGO_BIN_EXE_broker-bench");
    let output = Command::new("sh").args(["-c", limited, binary]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let sentence = "1000 connections take 1064 open files, and only 100 are allowed here: raise the \
                    hard limit (`ulimit -Hn`), or open fewer with --connections.";
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn flags_that_make_no_sense() {
    for (flags, complaint) in [
        (&["idle", "--url=wss://a/cable"][..], "TLS isn't measured: name the server's plain port"),
        (&["idle", "--url=127.0.0.1:8080"], "write it as ws://HOST:PORT/PATH"),
        (&["idle", "--seconds=-1"], "a number from 0 to 86400 is needed"),
        (&["fanout", "--rate=0"], "a number from 0.001 to 1000000 is needed"),
        (&["storm", "--connections=0"], "invalid value '0' for '--connections"),
        (&["dance"], "unrecognized subcommand 'dance'"),
    ] {
        let run = bench(flags);
        assert!(run.complaint(2).contains(complaint), "{flags:?}: {}", run.stderr);
    }
    let run = bench(&["idle", "--identifier=chat"]);
    assert!(run.complaint(1).contains("--identifier is not a JSON object: chat"), "{run:?}");
}
