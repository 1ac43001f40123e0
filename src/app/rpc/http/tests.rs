//! Calls to a server that reads and writes raw HTTP/1.1, so that it can do what no sound one does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::support::{
    IDENTIFIER, PATIENCE, application, call, caller, command, disconnect, until, with,
};
use crate::config::ApplicationSettings;
use crate::types::{About, CallFailure, ReplyStatus};

const GOOD: &str = r#"{"status":1,"transmissions":["t"]}"#;

/// A request as it came.
#[derive(Clone, Debug)]
struct Request {
    /// Number of its connection.
    connection: usize,
    head: String,
    body: String,
}

/// What a server does with a request.
enum Answer {
    /// A status line with headers, and a body.
    Send(&'static str, String),
    /// These bytes, and the end of the connection.
    Last(String),
    /// Nothing.
    Hang,
}

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

fn good() -> Answer {
    Answer::Send("200 OK", GOOD.to_owned())
}

fn status(line: &'static str) -> Answer {
    Answer::Send(line, String::new())
}

impl Server {
    /// Answers each request, the first of which is 0.
    async fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answer)
    }

    fn on(listener: TcpListener, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let server = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let (requests, answer) = (Arc::clone(&server.requests), Arc::new(answer));
        tokio::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                tokio::spawn(serve(socket, connection, requests, answer));
            }
        });
        server
    }

    fn url(&self) -> String {
        format!("http://{}/_anycable/", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().clone()
    }

    fn count(&self) -> usize {
        self.requests.lock().len()
    }
}

/// Serves a connection.
async fn serve(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    requests: Arc<Mutex<Vec<Request>>>,
    answer: Arc<impl Fn(usize) -> Answer>,
) {
    let mut read = Vec::new();
    while let Some((head, body)) = request(&mut socket, &mut read).await {
        let number = {
            let mut requests = requests.lock();
            requests.push(Request { connection, head, body });
            requests.len() - 1
        };
        match answer(number) {
            Answer::Send(line, body) => {
                let length = body.len();
                let text = format!("HTTP/1.1 {line}\r\nContent-Length: {length}\r\n\r\n{body}");
                socket.write_all(text.as_bytes()).await.unwrap();
            }
            Answer::Last(text) => {
                socket.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Answer::Hang => std::future::pending().await,
        }
    }
}

/// The head and body of the next request.
async fn request(
    socket: &mut (impl AsyncRead + Unpin),
    read: &mut Vec<u8>,
) -> Option<(String, String)> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.unwrap().parse().unwrap();
            if rest.len() >= length {
                let body = rest.get(..length).unwrap().to_owned();
                read.drain(..head.len() + 4 + length);
                return Some((head.to_owned(), body));
            }
        }
        if socket.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

#[tokio::test]
async fn a_call_is_written_as_the_contract_has_it() {
    let server = Server::start(|_| good()).await;
    let caller = caller(application(&server.url()));
    for about in [call(About::Connect), command("{\"x\":1}"), disconnect()] {
        let reply = Arc::clone(&caller).call(about, PATIENCE).await.unwrap();
        assert_eq!(
            (reply.status, &*reply.transmissions),
            (ReplyStatus::Success, &["t".into()][..])
        );
    }
    let sid = |number| format!("{number:032x}");
    let common = |path: &str, length: usize| {
        format!(
            "POST /_anycable/{path} HTTP/1.1\r\nhost: {}\r\nuser-agent: broker/{}\r\naccept: application/json\r\n\
             content-type: application/json\r\nauthorization: Bearer k3y\r\nx-anycable-meta-protov: v1\r\n{}\
             x-anycable-meta-sid: {}\r\ncontent-length: {length}",
            server.address,
            env!("CARGO_PKG_VERSION"),
            match path {
                "command" => format!("x-anycable-meta-command-id: {}/7\r\n", sid(1)),
                "disconnect" => format!("x-anycable-meta-disconnect-id: {}\r\n", sid(2)),
                _ => String::new(),
            },
            sid(1),
        )
    };
    let env = r#"{"url":"http://h/cable?x=1","headers":{"Cookie":"a=b","REMOTE_ADDR":"10.0.0.7"},"cstate":{"_s_":"s"}"#;
    let token = serde_json::to_string(IDENTIFIER).unwrap();
    let bodies = [
        format!("{{\"env\":{env}}}}}"),
        format!(
            "{{\"command\":\"message\",\"identifier\":{token},\"connection_identifiers\":\"me\",\
             \"data\":\"{{\\\"x\\\":1}}\",\"env\":{env},\"istate\":{{\"$p\":\"room\"}}}}}}"
        ),
        format!(
            "{{\"identifiers\":\"me\",\"subscriptions\":[{token}],\"env\":{env},\
             \"istate\":{{{token}:\"{{\\\"a\\\":\\\"1\\\"}}\"}}}}}}"
        ),
    ];
    let paths = ["connect", "command", "disconnect"];
    for ((request, body), path) in server.requests().iter().zip(&bodies).zip(paths) {
        assert_eq!(&request.body, body);
        assert_eq!(request.head, common(path, body.len()));
        assert_eq!(request.connection, 0, "the connection is kept");
    }
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn a_call_that_may_have_run_is_never_sent_again() {
    type Script = fn(usize) -> Answer;
    let cases: [(&str, Script, CallFailure); 12] = [
        (
            "a kept connection that ends",
            |at| if at == 1 { Answer::Last(String::new()) } else { good() },
            CallFailure::Broken,
        ),
        (
            "half a head",
            |at| if at == 1 { Answer::Last("HTTP/1.1 200 O".into()) } else { good() },
            CallFailure::Broken,
        ),
        (
            "half an answer",
            |at| {
                let half = "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"status\":1";
                if at == 1 { Answer::Last(half.into()) } else { good() }
            },
            CallFailure::Broken,
        ),
        (
            "no HTTP",
            |at| if at == 1 { Answer::Last("SSH-2.0\r\n".into()) } else { good() },
            CallFailure::Broken,
        ),
        ("no answer in time", |at| if at == 1 { Answer::Hang } else { good() }, CallFailure::Late),
        (
            "not JSON",
            |at| if at == 1 { Answer::Send("200 OK", "<p>".into()) } else { good() },
            CallFailure::Broken,
        ),
        (
            "too much",
            |at| if at == 1 { Answer::Send("200 OK", " ".repeat(5000)) } else { good() },
            CallFailure::Broken,
        ),
        (
            "a failure",
            |at| if at == 1 { status("500 Internal Server Error") } else { good() },
            CallFailure::Broken,
        ),
        (
            "a wrong key",
            |at| if at == 1 { status("401 Unauthorized") } else { good() },
            CallFailure::Broken,
        ),
        (
            "a redirect",
            |at| {
                if at == 1 {
                    status("307 Temporary Redirect\r\nLocation: /elsewhere")
                } else {
                    good()
                }
            },
            CallFailure::Broken,
        ),
        (
            "503",
            |at| if at == 1 { status("503 Service Unavailable") } else { good() },
            CallFailure::Broken,
        ),
        (
            "201",
            |at| if at == 1 { Answer::Send("201 Created", GOOD.into()) } else { good() },
            CallFailure::Broken,
        ),
    ];
    for (what, script, failure) in cases {
        let server = Server::start(script).await;
        let caller = caller(with(ApplicationSettings {
            rpc_host: Some(server.url()),
            rpc_max_answer: Some("4096".parse().unwrap()),
            rpc_request_timeout: Some("300ms".parse().unwrap()),
            ..ApplicationSettings::default()
        }));
        for (data, expected) in [("0", Ok(())), ("1", Err(failure)), ("2", Ok(()))] {
            let result = Arc::clone(&caller).call(command(data), PATIENCE).await;
            assert_eq!(result.map(drop), expected, "{what}: {data}");
        }
        let paths = server.requests().into_iter().map(|request| request.head);
        let elsewhere = paths.filter(|head| !head.starts_with("POST /_anycable/command "));
        assert_eq!((server.count(), elsewhere.count()), (3, 0), "{what}");
    }
}

#[tokio::test]
async fn a_call_that_surely_has_not_run_is_repeated_until_it_has() {
    for line in [
        "429 Too Many Requests",
        "429 Too Many Requests\r\nRetry-After: 0",
        "503 Service Unavailable\r\nRetry-After: 0",
    ] {
        let server = Server::start(move |at| if at < 3 { status(line) } else { good() }).await;
        let caller = caller(application(&server.url()));
        assert!(caller.call(command(""), PATIENCE).await.is_ok(), "{line}");
        assert_eq!(server.count(), 4, "{line}");
    }
    // as long as somebody waits
    for after in ["1", "999999999", "Wed, 21 Oct 2026 07:28:00 GMT"] {
        let line = format!("429 Too Many Requests\r\nRetry-After: {after}");
        let line: &'static str = line.leak();
        let server = Server::start(move |_| status(line)).await;
        let caller = caller(application(&server.url()));
        let patience = Duration::from_millis(500);
        let result = tokio::time::timeout(PATIENCE, caller.call(command(""), patience)).await;
        assert_eq!(result.unwrap(), Err(CallFailure::Unreachable), "{after}");
        assert_eq!(server.count(), 1, "{after}");
    }
}

#[tokio::test]
async fn a_connection_that_ended_while_it_was_kept_is_not_used() {
    let last =
        || Answer::Last(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{GOOD}", GOOD.len()));
    let server = Server::start(move |_| last()).await;
    let caller = caller(application(&server.url()));
    for _ in 0..10 {
        assert!(Arc::clone(&caller).call(command(""), PATIENCE).await.is_ok());
        tokio::time::sleep(Duration::from_millis(20)).await; // until the end has come
    }
    let connections: Vec<_> = server.requests().iter().map(|it| it.connection).collect();
    assert_eq!(connections, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_application_that_comes_back_gets_the_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let caller = caller(application(&format!("http://{address}")));
    let patience = Duration::from_millis(200);
    let result = Arc::clone(&caller).call(command(""), patience).await;
    assert_eq!(result, Err(CallFailure::Unreachable));
    let waiting = tokio::spawn(Arc::clone(&caller).call(command("back"), PATIENCE));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let server = Server::on(TcpListener::bind(address).await.unwrap(), |_| good());
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn who_leaves_the_queue_is_not_sent() {
    let server = Server::start(|at| if at == 0 { Answer::Hang } else { good() }).await;
    let caller = caller(with(ApplicationSettings {
        rpc_host: Some(server.url()),
        rpc_concurrency: Some(1),
        rpc_backlog: Some(2),
        rpc_request_timeout: Some("500ms".parse().unwrap()),
        ..ApplicationSettings::default()
    }));
    let sent = tokio::spawn(Arc::clone(&caller).call(command("sent"), PATIENCE));
    until("sent", || server.count() == 1).await;
    assert!(caller.has_room());
    let waits = tokio::spawn(Arc::clone(&caller).call(command("waits"), PATIENCE));
    let connects = tokio::spawn(Arc::clone(&caller).call(call(About::Connect), PATIENCE));
    until("full", || !caller.has_room()).await;
    for _ in 0..2 {
        let full = Arc::clone(&caller).call(call(About::Connect), PATIENCE).await;
        assert_eq!(full, Err(CallFailure::Overloaded));
    }
    waits.abort();
    assert!(waits.await.unwrap_err().is_cancelled());
    assert_eq!(sent.await.unwrap(), Err(CallFailure::Late));
    assert!(connects.await.unwrap().is_ok());
    let bodies = server.requests();
    assert!(bodies.iter().all(|request| !request.body.contains("waits")), "{bodies:?}");
    assert_eq!(bodies.len(), 2);
}

#[tokio::test]
async fn who_leaves_while_the_call_is_sent_frees_its_place_only_when_it_ends() {
    let server = Server::start(|_| Answer::Hang).await;
    let caller = caller(with(ApplicationSettings {
        rpc_host: Some(server.url()),
        rpc_concurrency: Some(1),
        rpc_request_timeout: Some("300ms".parse().unwrap()),
        ..ApplicationSettings::default()
    }));
    let leaves = tokio::spawn(Arc::clone(&caller).call(command("leaves"), PATIENCE));
    until("sent", || server.count() == 1).await;
    leaves.abort();
    let next = tokio::spawn(Arc::clone(&caller).call(command("next"), PATIENCE));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.count(), 1, "the application still has the first");
    until("sent", || server.count() == 2).await;
    assert_eq!(next.await.unwrap(), Err(CallFailure::Late));
}

#[tokio::test]
async fn ends_of_sessions_are_told_until_the_application_has_heard_of_them() {
    let server = Server::start(|at| match at {
        0 => status("503 Service Unavailable"),
        1 => Answer::Last(String::new()),
        _ => good(),
    })
    .await;
    let caller = caller(application(&server.url()));
    caller.tell(disconnect(), || ());
    tokio::time::timeout(PATIENCE, caller.all_told()).await.unwrap();
    assert_eq!(server.count(), 3);
    for _ in 0..20 {
        caller.tell(disconnect(), || ());
    }
    tokio::time::timeout(PATIENCE, caller.all_told()).await.unwrap();
    assert_eq!(server.count(), 23);
}

#[tokio::test]
async fn a_certificate_is_verified_against_the_authorities() {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let tls = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::default());
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                if let Ok(socket) = acceptor.accept(socket).await {
                    serve(socket, 0, seen, Arc::new(|_| good())).await;
                }
            });
        }
    });
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let of = |root: Option<String>, verify| ApplicationSettings {
        rpc_host: Some(format!("https://localhost:{port}/")),
        rpc_tls_root_ca: root,
        rpc_tls_verify: Some(verify),
        ..ApplicationSettings::default()
    };
    for (settings, is_good) in [
        (of(Some(pair.cert.pem()), true), true),
        (of(None, false), true),
        (of(Some(other.cert.pem()), true), false),
    ] {
        let result = caller(with(settings)).call(command(""), Duration::from_millis(500)).await;
        let expected = if is_good { Ok(()) } else { Err(CallFailure::Unreachable) };
        assert_eq!(result.map(drop), expected);
    }
    assert_eq!(requests.lock().len(), 2);
}
