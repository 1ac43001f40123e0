//! Phoenix clients over long polling.

use broker::auth::{Access, Keys, Tokens};
use broker::net::{HttpIo, Liveness, Peer, long_polling};
use broker::protocol::phoenix;
use hyper::body::Body as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::pin::Pin;
use std::time::Duration;
use warp::filters::BoxedFilter;
use warp::http::{Method, Request, StatusCode};
use warp::reply::Response;

use crate::client::{pass, settle};
use crate::parts::{NOBODY, Options, Parts, SECOND};

/// A client, and the route that it polls.
#[derive(Clone)]
struct Poller {
    route: BoxedFilter<(Response,)>,
    http: HttpIo,
    query: String,
    token: String,
}

impl Poller {
    /// A client that knows nothing yet.
    fn new(broker: &Parts, query: &str) -> Self {
        let route = long_polling(broker.context.clone(), &phoenix::PROTOCOL);
        let query = format!("vsn=2.0.0&{query}");
        Self { route, http: HttpIo::new(), query, token: String::new() }
    }

    /// One with a connection, under a name.
    async fn connect(broker: &Parts, name: &str) -> Self {
        let mut poller = Self::new(broker, &format!("user_id={name}"));
        let answer = poller.poll().await;
        assert_eq!(answer["status"], 410);
        answer["token"].as_str().unwrap().clone_into(&mut poller.token);
        poller
    }

    async fn request(&self, method: Method, lines: &[String]) -> (StatusCode, Value) {
        let Self { query, token, .. } = self;
        let request = Request::builder()
            .method(method)
            .uri(format!("/socket/longpoll?{query}&token={token}"))
            .header("content-type", "application/x-ndjson");
        let mut request = request.body(lines.join("\n")).unwrap();
        request.extensions_mut().insert(Peer(NOBODY));
        request.extensions_mut().insert(self.http.clone());
        let route = TowerToHyperService::new(warp::service(self.route.clone()));
        let mut response = route.call(request).await.unwrap();
        let body = std::future::poll_fn(|task| Pin::new(response.body_mut()).poll_frame(task));
        let body = body.await.unwrap().unwrap().into_data().unwrap();
        (response.status(), serde_json::from_slice(&body).unwrap())
    }

    async fn poll(&self) -> Value {
        let (status, answer) = self.request(Method::GET, &[]).await;
        assert_eq!(status, StatusCode::OK);
        answer
    }

    /// What a poll brings; nothing if there is nothing.
    async fn frames(&self) -> Vec<Value> {
        let answer = self.poll().await;
        let messages = answer["messages"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let frames = messages.iter().map(|text| serde_json::from_str(text.as_str().unwrap()));
        frames.collect::<Result<_, _>>().unwrap()
    }

    async fn post(&self, frames: &[Value]) -> u64 {
        let lines: Vec<_> = frames.iter().map(Value::to_string).collect();
        self.request(Method::POST, &lines).await.1["status"].as_u64().unwrap()
    }

    /// Joins a room and takes what that brings.
    async fn join(&self, room: &str) {
        assert_eq!(self.post(&[json!(["1", "1", room, "phx_join", {}])]).await, 200);
        settle().await;
        let events: Vec<_> = self.frames().await.iter().map(|frame| frame[3].clone()).collect();
        assert_eq!(events, ["phx_reply", "presence_state", "presence_diff"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_comes_with_the_next_poll() {
    let broker = Parts::start(&Options::default());
    let ann = Poller::connect(&broker, "ann").await;
    assert_eq!(broker.context.connections(), 1);
    ann.join("room").await;
    assert_eq!(broker.presence("room").await, ["ann"]);
    for number in 0..3 {
        broker.publish("room", &json!({"n": number}).to_string()).await;
    }
    settle().await;
    let frames = ann.frames().await;
    let numbers: Vec<_> = frames.iter().map(|frame| frame[4]["n"].clone()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    // and one that waits, at once
    let waiting = tokio::spawn(async move { (ann.frames().await, ann) });
    settle().await;
    assert!(!waiting.is_finished());
    broker.publish("room", "{}").await;
    let (frames, ann) = waiting.await.unwrap();
    assert_eq!(frames, [json!([null, null, "room", "message", {}])]);
    let heartbeat = json!([null, "9", "phoenix", "heartbeat", {}]);
    assert_eq!(ann.post(&[heartbeat]).await, 200);
    assert_eq!(ann.frames().await[0][1], "9");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_brings_nothing_ends_after_a_while() {
    let broker = Parts::start(&Options::default());
    let ann = Poller::connect(&broker, "ann").await;
    let start = broker.context.clock.now();
    assert_eq!(ann.poll().await, json!({"status": 204, "token": ann.token, "messages": []}));
    let waited = broker.context.clock.now() - start;
    assert!((10 * SECOND..11 * SECOND).contains(&waited), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn only_who_waits_is_watched() {
    let broker = Parts::start(&Options::default());
    let ann = Poller::connect(&broker, "ann").await;
    let http = ann.http.clone();
    assert!(!http.is_watched());
    let waiting = tokio::spawn(async move { (ann.poll().await, ann) });
    settle().await;
    assert!(http.is_watched(), "nobody sends it away for being idle");
    let (_, ann) = waiting.await.unwrap();
    assert!(!http.is_watched());
    ann.post(&[]).await;
    assert!(!http.is_watched());
}

#[tokio::test(start_paused = true)]
async fn who_polls_no_more_is_gone() {
    let broker = Parts::start(&Options::default());
    let ann = Poller::connect(&broker, "ann").await;
    ann.join("room").await;
    pass(14_500).await;
    assert_eq!(broker.presence("room").await, ["ann"]);
    assert_eq!(ann.poll().await["status"], 204);
    pass(15_500).await;
    assert_eq!(broker.context.connections(), 0);
    assert_eq!(broker.presence("room").await, ["ann"], "for its TTL");
    assert_eq!(ann.post(&[json!(["1", "2", "room", "phx_leave", {}])]).await, 410);
    pass(2500).await;
    broker.assert_empty().await;
    let again = ann.poll().await;
    assert_eq!(again["status"], 410);
    assert_ne!(again["token"], ann.token);
}

#[tokio::test(start_paused = true)]
async fn who_never_polls_is_gone_too() {
    let broker = Parts::start(&Options::default());
    Poller::connect(&broker, "ann").await;
    assert_eq!(broker.context.connections(), 1);
    pass(15_500).await;
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_cut_off_takes_nothing_with_it() {
    let broker = Parts::start(&Options::default());
    let ann = Poller::connect(&broker, "ann").await;
    ann.join("room").await;
    let waiting = tokio::spawn({
        let ann = ann.clone();
        async move { ann.poll().await }
    });
    settle().await;
    waiting.abort(); // as hyper does when the client's end has come
    settle().await;
    assert!(!ann.http.is_watched());
    broker.publish("room", "1").await;
    settle().await;
    assert_eq!(ann.frames().await.len(), 1);
}

/// That a client polls is its sign of life, whatever others are asked for.
#[tokio::test(start_paused = true)]
async fn who_polls_is_not_pinged() {
    let liveness = Liveness { interval: SECOND, timeout: SECOND };
    let sessions_ttl = Duration::from_secs(60);
    let broker = Parts::start(&Options { sessions_ttl, liveness, ..Options::default() });
    let ann = Poller::connect(&broker, "ann").await;
    ann.join("room").await;
    for round in 0..30 {
        assert_eq!(ann.poll().await["status"], 204, "{round}");
    }
    pass(14_500).await;
    assert_eq!(ann.poll().await["status"], 204);
    assert_eq!(broker.presence("room").await, ["ann"]);
    pass(15_500).await;
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"client_gone\"}"), 1);
    assert_eq!(ann.poll().await["status"], 410);
}

#[tokio::test(start_paused = true)]
async fn who_polls_too_rarely_for_what_is_said_is_ended() {
    let broker = Parts::start(&Options { max_outbox: 50_000, ..Options::default() });
    let ann = Poller::connect(&broker, "ann").await;
    ann.join("room").await;
    for number in 0..200 {
        broker.publish("room", &json!([number, "x".repeat(1000)]).to_string()).await;
    }
    settle().await;
    assert_eq!(broker.metric("broker_outbox_overflows_total"), 1);
    let (mut number, mut rounds) = (0, 0);
    let last = loop {
        let answer = ann.poll().await;
        if answer["status"] != 200 {
            break answer;
        }
        for message in answer["messages"].as_array().unwrap() {
            let frame: Value = serde_json::from_str(message.as_str().unwrap()).unwrap();
            assert_eq!(frame[4][0], number, "{frame}");
            number += 1;
        }
        rounds += 1;
    };
    assert_eq!(last["status"], 410);
    assert!((60..200).contains(&number), "{number} came in {rounds} polls");
    pass(5000).await;
    broker.assert_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_comes_whole() {
    let broker = Parts::start(&Options::default());
    let ann = Poller::connect(&broker, "ann").await;
    ann.join("room").await;
    let large = json!("x".repeat(700_000));
    broker.publish("room", &large.to_string()).await;
    settle().await;
    let frames = ann.frames().await;
    assert_eq!((frames.len(), &frames[0][4]), (1, &large));
}

#[tokio::test(start_paused = true)]
async fn at_the_stop_nobody_waits_for_a_poll_to_end() {
    let broker = Parts::start(&Options::default());
    let ann = Poller::connect(&broker, "ann").await;
    let idle = Poller::connect(&broker, "bob").await;
    ann.join("room").await;
    let waiting = tokio::spawn(async move { ann.poll().await });
    settle().await;
    broker.context.stop();
    broker.stop();
    settle().await;
    assert!(waiting.is_finished());
    assert_eq!(waiting.await.unwrap()["status"], 410);
    pass(3500).await;
    assert_eq!(broker.context.connections(), 0);
    let (status, answer) = idle.request(Method::GET, &[]).await;
    assert_eq!((status, &answer["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(500)));
}

#[tokio::test(start_paused = true)]
async fn a_message_may_be_as_large_as_over_a_websocket() {
    let broker = Parts::start(&Options::default());
    let ann = Poller::connect(&broker, "ann").await;
    let bob = Poller::connect(&broker, "bob").await;
    ann.join("room").await;
    bob.join("room").await;
    ann.frames().await; // bob's coming
    let push = |size: usize| json!(["1", "2", "room", "shout", {"x": "x".repeat(size)}]);
    let frames: Vec<_> = (0..100).map(|_| push(2000)).collect();
    assert_eq!(ann.post(&frames).await, 200);
    assert_eq!(ann.post(&[push(60_000)]).await, 200);
    let mut heard = 0;
    while heard < 101 {
        heard += bob.frames().await.len();
    }
    assert_eq!(ann.post(&[push(90_000)]).await, 413);
    assert_eq!(ann.post(&[push(66_000)]).await, 200, "it might have been base64");
    settle().await;
    assert_eq!(broker.metric("broker_connections_closed_total{reason=\"message_too_big\"}"), 1);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_connect_is_told_so_in_words_the_client_knows() {
    let tokens = Keys::new(["k"]).map(Tokens::new);
    let access = Access { tokens, token_required: true, ..Access::default() };
    let broker = Parts::start(&Options { access, ..Options::default() });
    for query in ["user_id=ann", "jid=nonsense"] {
        let answer = Poller::new(&broker, query).poll().await;
        assert_eq!((&answer["status"], answer.get("token")), (&json!(403), None));
        assert!(answer["error"].is_string());
    }
    assert_eq!(broker.metric("broker_handshake_failures_total{reason=\"unauthorized\"}"), 2);
    broker.assert_empty().await;
    let broker = Parts::start(&Options::default());
    let places: Vec<_> = (0..1000).map(|_| broker.context.admit(NOBODY).unwrap()).collect();
    let (status, answer) = Poller::new(&broker, "").request(Method::GET, &[]).await;
    assert_eq!((status, &answer["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(500)));
    drop(places);
}
