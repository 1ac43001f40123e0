//! Clients beyond a limit: too many commands, and too large answers.

use broker::protocol::action_cable;
use broker::shard::{End, GroupKey, Input, SubscriberKey};
use broker::types::{Grant, Identifier, Join, Pace, StreamCommand, Subscribe, SubscribeOptions};
use serde_json::{Value, json};

use crate::client::{Client, Frame, identifier, masked, pass, settle, text};
use crate::parts::{Options, Parts, SECOND};
use crate::pipe::pipe;

const PACE: Pace = Pace { per_second: 10, burst: 20 };

fn start() -> Parts {
    Parts::start(&Options { pace: Some(PACE), ..Options::default() })
}

/// Sends a command about a subscription so many times.
fn send(client: &Client, times: usize, command: &Value) {
    for _ in 0..times {
        client.far.send(&text(command));
    }
}

/// What came, as `type` and `reason` (of the message, if it has them).
async fn heard(client: &mut Client) -> Vec<(String, String)> {
    settle().await;
    let word = |message: &Value, key| message[key].as_str().unwrap_or_default().to_owned();
    let inner = |message: &Value| {
        if message["message"].is_object() { message["message"].clone() } else { message.clone() }
    };
    let messages = client.messages().into_iter();
    messages.map(|it| (word(&it, "type"), word(&inner(&it), "reason"))).collect()
}

fn count(heard: &[(String, String)], kind: &str, reason: &str) -> usize {
    heard.iter().filter(|(k, r)| k == kind && r == reason).count()
}

const EXCESS: &str = "too many commands: send fewer, or wait";

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_refused_until_time_has_passed() {
    let broker = start();
    let mut client = broker.connect();
    let ping = json!({"command": "ping"});
    send(&client, 25, &ping);
    let first = heard(&mut client).await;
    assert_eq!((count(&first, "pong", ""), count(&first, "error", EXCESS)), (20, 5));
    assert_eq!(broker.metric("broker_limit_refusals_total{limit=\"commands_per_second\"}"), 5);
    let refused = "broker_commands_total{command=\"ping\",outcome=\"refused\"}";
    assert_eq!(broker.metric(refused), 5);
    pass(1000).await;
    send(&client, 15, &ping);
    let second = heard(&mut client).await;
    let pongs = count(&second, "pong", "");
    assert!((9..=11).contains(&pongs), "{pongs} in a second");
    assert_eq!(count(&second, "error", EXCESS), 15 - pongs);
}

#[tokio::test(start_paused = true)]
async fn each_command_is_refused_in_the_form_its_client_waits_for() {
    let broker = start();
    let mut client = broker.connect();
    client.join("room", "ann");
    send(&client, 19, &json!({"command": "ping"}));
    heard(&mut client).await;
    let presence = json!({"id": "bob"});
    for (command, kind) in [
        ("subscribe", "error"),
        ("join", "presence"),
        ("leave", "presence"),
        ("presence", "presence"),
        ("whisper", "error"),
        ("message", "error"),
        ("ping", "error"),
        ("dance", "error"),
    ] {
        let identifier = identifier("room");
        let command = json!({
            "command": command, "identifier": identifier, "presence": presence, "data": "{}",
        });
        send(&client, 1, &command);
        assert_eq!(heard(&mut client).await, [(kind.to_owned(), EXCESS.to_owned())], "{command}");
    }
    send(&client, 1, &json!({"command": "history", "identifier": identifier("room")}));
    assert_eq!(heard(&mut client).await, [("reject_history".to_owned(), String::new())]);
    assert_eq!(broker.presence("room").await, ["ann"], "nothing of it was followed");
    // what gives something up is followed, and pongs have no answer
    send(&client, 1, &json!({"command": "pong"}));
    client.command("unsubscribe", "room");
    assert_eq!(heard(&mut client).await, []);
    assert_eq!(broker.metric("broker_subscriptions"), 0);
    assert_eq!(broker.metric("broker_limit_refusals_total{limit=\"commands_per_second\"}"), 9);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_on_is_closed() {
    let broker = start();
    let (mut client, _task) = broker.connect_with(1 << 20);
    send(&client, 1000, &json!({"command": "ping"}));
    settle().await;
    let frames = client.frames();
    let texts = |part: &str| {
        frames.iter().filter(|f| matches!(f, Frame::Text(text) if text.contains(part))).count()
    };
    assert_eq!((texts("\"pong\""), texts(EXCESS)), (20, 20));
    let [.., Frame::Text(last), close] = &*frames else { panic!("{frames:?}") };
    assert_eq!(last, r#"{"type":"disconnect","reason":"too_fast","reconnect":true}"#);
    assert_eq!(*close, Frame::Close(1008, "too_fast".to_owned()));
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"too_fast\"}"), 1);
    client.close(1008);
    client.far.end();
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn control_frames_count_and_pings_are_answered() {
    let broker = start();
    let mut client = broker.connect();
    settle().await;
    client.frames();
    for number in 0..41 {
        client.far.send(&masked(if number % 2 == 0 { 0x89 } else { 0x8A }, b""));
    }
    settle().await;
    let frames = client.frames();
    let pongs = frames.iter().filter(|frame| matches!(frame, Frame::Pong(_))).count();
    assert_eq!(pongs, 20, "of twenty-one, up to the close");
    assert!(matches!(frames.last(), Some(Frame::Close(1008, _))), "{frames:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_anything_goes() {
    let broker = Parts::start(&Options::default());
    let mut client = broker.connect();
    send(&client, 5000, &json!({"command": "ping"}));
    for _ in 0..100 {
        settle().await;
    }
    assert_eq!(count(&heard(&mut client).await, "pong", ""), 5000);
}

/// Members of a room whose connections have ended, so that no client gets their events.
async fn populate(broker: &Parts, room: &str, members: usize, info: &str) {
    for number in 0..members {
        let group = GroupKey::new(action_cable::CODEC, Identifier::from("\"\""));
        let key = SubscriberKey { session: broker.next_session(), group };
        let join = Join { id: format!("user-{number}").into(), info: info.into(), extra: None };
        let command = StreamCommand::from(Subscribe {
            join: Some(Ok(join)),
            history: None,
            grant: Grant::OPEN,
            options: SubscribeOptions::default(),
        });
        let recipient = broker.recipient(pipe(1 << 20).0);
        let input = Input::Command { key: key.clone(), recipient, command, reference: None };
        broker.send(room, input).await;
        let at = broker.context.clock.now();
        broker.send(room, Input::Ended { key, end: End::at(at) }).await;
    }
}

#[test]
fn one_clients_questions_do_not_stand_before_everyone_elses() {
    // the test looks after each turn of a task, not only when those that can run have run
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().event_interval(1).start_paused(true).build().unwrap();
    runtime.block_on(ask_seven_hundred_times());
}

async fn ask_seven_hundred_times() {
    let broker = Parts::start(&Options { ttl: 3600 * SECOND, ..Options::default() });
    populate(&broker, "room", 1000, "{}").await;
    let (mut curious, _task) = broker.connect_with(64 << 20);
    let mut other = broker.connect();
    curious.join("room", "curious");
    other.command("subscribe", "room");
    settle().await;
    curious.frames();
    other.frames();
    let question = |number: usize| {
        let identifier = identifier("room");
        let info = json!({"id": "curious", "info": number});
        let join = json!({"command": "join", "identifier": identifier, "presence": info});
        let list = json!({"command": "presence", "identifier": identifier});
        [text(&join), text(&list)].concat()
    };
    let questions: Vec<u8> = (0..700).flat_map(question).collect();
    assert!(questions.len() > 140_000, "{}", questions.len());
    curious.far.send(&questions);
    tokio::task::yield_now().await;
    other.command("presence", "room");
    let is_list = |message: &Value| message["message"]["type"] == "info";
    let (mut lists, mut before) = (0, None);
    for _ in 0..100_000 {
        lists += curious.messages().into_iter().filter(|it| is_list(it)).count();
        if before.is_none() && other.messages().iter().any(is_list) {
            before = Some(lists);
        }
        if lists == 700 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(lists, 700, "all are told in the end");
    assert!(before.is_some_and(|before| before < 20), "{before:?} of them were told first");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_too_long_is_refused_and_its_number_is_not() {
    let info = format!("\"{}\"", "x".repeat(82));
    let options = Options { ttl: 3600 * SECOND, max_answer: 10_000, ..Options::default() };
    let broker = Parts::start(&options);
    populate(&broker, "room", 100, &info).await;
    let mut client = broker.connect();
    client.command("subscribe", "room");
    client.command("presence", "room");
    let heard = heard(&mut client).await;
    let [_, _, (_, reason)] = &*heard else { panic!("{heard:?}") };
    assert!(reason.contains("at most 10000 are allowed: ask for the number alone"), "{reason}");
    let count = json!({"command": "presence", "identifier": identifier("room"),
        "data": {"return_records": false}});
    client.far.send(&text(&count));
    settle().await;
    assert_eq!(client.messages()[0]["message"]["total"], 100);
    assert_eq!(broker.metric("broker_limit_refusals_total{limit=\"answer_size\"}"), 1);
    assert_eq!(broker.presence("room").await.len(), 100, "the application is told all");
}

#[tokio::test(start_paused = true)]
async fn one_answer_may_wait_whole_whatever_waits_before_it() {
    let options = Options { ttl: 3600 * SECOND, max_outbox: 10_000, ..Options::default() };
    let broker = Parts::start(&options);
    populate(&broker, "room", 1000, "\"something to make it long\"").await;
    let (mut client, _task) = broker.connect_with(1000);
    client.command("subscribe", "room");
    settle().await;
    client.frames();
    broker.publish("room", &json!("x".repeat(5000)).to_string()).await;
    client.command("presence", "room");
    settle().await;
    broker.publish("room", &json!("x".repeat(4000)).to_string()).await;
    settle().await;
    let mut messages = Vec::new();
    for _ in 0..500 {
        messages.extend(client.messages());
        settle().await;
    }
    let [_, list, _] = &*messages else { panic!("{} messages", messages.len()) };
    assert!(list.to_string().len() > 5 * 10_000 && list["message"]["total"] == 1000);

    // but not several; two may have been one write
    for _ in 0..4 {
        client.command("presence", "room");
    }
    settle().await;
    assert_eq!(broker.metric("broker_outbox_overflows_total"), 1);
}
