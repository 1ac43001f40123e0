//! Calls to a server of HTTP/2 by h2, and to one that writes its frames by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::Reason;
use h2::server::SendResponse;
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use parking_lot::Mutex;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::support::{
    IDENTIFIER, PATIENCE, application, call, caller, command, disconnect, until, with,
};
use super::proto::{CommandMessage, CommandResponse, ConnectionRequest, DisconnectRequest};
use crate::config::ApplicationSettings;
use crate::types::{About, Call, CallFailure, ReplyStatus, SessionId};

/// A call as it came.
#[derive(Clone, Debug)]
struct Seen {
    connection: usize,
    path: String,
    headers: HeaderMap,
    /// The message without its prefix.
    message: Bytes,
}

/// What a server does with a call.
#[derive(Clone, Copy)]
enum Answer {
    /// Replies, after a while.
    Good(Duration),
    /// A status, without a message.
    Status(&'static str),
    Reset(Reason),
    Hang,
    /// So many bytes of text.
    Large(usize),
    /// The end of the connection.
    Cut,
}

type Script = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

const GOOD: Answer = Answer::Good(Duration::ZERO);

impl Server {
    /// Answers each call, the first of which is 0. After `age` calls a connection says that it takes no more.
    async fn start(age: usize, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, age, answer)
    }

    fn on(
        listener: TcpListener,
        age: usize,
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let server = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let (seen, answer): (_, Script) = (Arc::clone(&server.seen), Arc::new(answer));
        tokio::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(
                    socket,
                    connection,
                    age,
                    Arc::clone(&seen),
                    Arc::clone(&answer),
                ));
            }
        });
        server
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    fn count(&self) -> usize {
        self.seen.lock().len()
    }
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    connection: usize,
    age: usize,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Script,
) {
    let Ok(mut served) = h2::server::handshake(socket).await else { return };
    let (cut, mut cuts) = tokio::sync::mpsc::channel(1);
    let mut count = 0;
    loop {
        let accepted = tokio::select! {
            accepted = served.accept() => accepted,
            _ = cuts.recv() => return,
        };
        let Some(Ok((request, respond))) = accepted else { return };
        tokio::spawn(exchange(
            request,
            respond,
            connection,
            Arc::clone(&seen),
            Arc::clone(&answer),
            cut.clone(),
        ));
        count += 1;
        if count == age {
            served.graceful_shutdown();
        }
    }
}

async fn exchange(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Script,
    cut: tokio::sync::mpsc::Sender<()>,
) {
    let (head, mut body) = request.into_parts();
    let mut message = BytesMut::new();
    while let Some(Ok(data)) = body.data().await {
        drop(body.flow_control().release_capacity(data.len()));
        message.extend_from_slice(&data);
    }
    let number = {
        let mut seen = seen.lock();
        let message = message.freeze().slice(5..);
        let path = head.uri.path().to_owned();
        seen.push(Seen { connection, path, headers: head.headers, message });
        seen.len() - 1
    };
    let text = match answer(number) {
        Answer::Good(after) => {
            tokio::time::sleep(after).await;
            "t".to_owned()
        }
        Answer::Large(length) => "t".repeat(length),
        Answer::Status(status) => {
            let response = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status)
                .body(());
            drop(respond.send_response(response.unwrap(), true));
            return;
        }
        Answer::Reset(reason) => return respond.send_reset(reason),
        Answer::Hang => return std::future::pending().await,
        Answer::Cut => {
            cut.send(()).await.unwrap();
            return;
        }
    };
    let reply =
        CommandResponse { status: 1, transmissions: vec![text], ..CommandResponse::default() };
    // in either answer the transmissions are at different numbers, and the status at the same
    let reply =
        if head.uri.path().ends_with("Command") { reply.encode_to_vec() } else { vec![8, 1] };
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(reply.len()).unwrap());
    framed.put_slice(&reply);
    let response = Response::builder().header("content-type", "application/grpc+proto").body(());
    let Ok(mut stream) = respond.send_response(response.unwrap(), false) else { return };
    drop(stream.send_data(framed.freeze(), false));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    drop(stream.send_trailers(trailers));
}

#[tokio::test]
async fn a_call_is_sent_as_the_contract_has_it() {
    let server = Server::start(usize::MAX, |_| GOOD).await;
    let caller = caller(application(&server.address.to_string()));
    for about in [call(About::Connect), command("{}"), disconnect()] {
        let reply = Arc::clone(&caller).call(about, PATIENCE).await.unwrap();
        assert_eq!(reply.status, ReplyStatus::Success);
    }
    let seen = server.seen();
    let paths: Vec<_> = seen.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["Connect", "Command", "Disconnect"].map(|it| format!("/anycable.RPC/{it}")));
    let sid = |number| format!("{number:032x}");
    for call in &seen {
        let text =
            |name: &str| call.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(text("sid"), Some(sid(1)));
        assert_eq!(text("protov").as_deref(), Some("v1"));
        assert_eq!(text("te").as_deref(), Some("trailers"));
        assert_eq!(text("content-type").as_deref(), Some("application/grpc"));
        assert_eq!(text("authorization").as_deref(), Some("Bearer k3y"));
        let is_command = call.path.ends_with("Command");
        assert_eq!(text("command-id"), is_command.then(|| format!("{}/7", sid(1))));
        let is_disconnect = call.path.ends_with("Disconnect");
        assert_eq!(text("disconnect-id"), is_disconnect.then(|| sid(2)));
        let timeout: u32 =
            text("grpc-timeout").unwrap().strip_suffix('m').unwrap().parse().unwrap();
        assert!((2500..=3000).contains(&timeout), "{timeout}");
    }
    let connect = ConnectionRequest::decode(seen[0].message.clone()).unwrap().env.unwrap();
    assert_eq!(
        (connect.url.as_str(), connect.headers["Cookie"].as_str()),
        ("http://h/cable?x=1", "a=b")
    );
    let command = CommandMessage::decode(seen[1].message.clone()).unwrap();
    assert_eq!((command.command.as_str(), command.identifier.as_str()), ("message", IDENTIFIER));
    assert_eq!((command.connection_identifiers.as_str(), command.data.as_str()), ("me", "{}"));
    let env = command.env.unwrap();
    assert_eq!((env.cstate["_s_"].as_str(), env.istate["$p"].as_str()), ("s", "room"));
    let end = DisconnectRequest::decode(seen[2].message.clone()).unwrap();
    assert_eq!(
        (end.identifiers.as_str(), end.subscriptions.as_slice()),
        ("me", &[IDENTIFIER.to_owned()][..])
    );
    assert_eq!(end.env.unwrap().istate[IDENTIFIER], r#"{"a":"1"}"#);
}

#[tokio::test]
async fn a_server_that_ends_connections_loses_no_call_and_gets_none_twice() {
    let server = Server::start(20, |at| Answer::Good(Duration::from_millis(at as u64 % 30))).await;
    let caller = caller(application(&server.address.to_string()));
    let calls = (0..1000).map(|number| {
        let caller = Arc::clone(&caller);
        let call = Call { session: SessionId::from_bits(number), ..command(&number.to_string()) };
        tokio::spawn(async move { caller.call(call, PATIENCE * 4).await })
    });
    let calls: Vec<_> = calls.collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let data = |seen: &Seen| CommandMessage::decode(seen.message.clone()).unwrap().data;
    let mut run: Vec<usize> = server.seen().iter().map(|it| data(it).parse().unwrap()).collect();
    run.sort_unstable();
    assert_eq!(run, (0..1000).collect::<Vec<_>>());
    let connections = server.seen().iter().map(|it| it.connection).max().unwrap() + 1;
    assert!(connections >= 10, "{connections}");
}

#[tokio::test]
async fn a_call_that_may_have_run_is_never_sent_again() {
    for (what, answer, failure) in [
        ("the connection's end", Answer::Cut, CallFailure::Broken),
        ("a reset", Answer::Reset(Reason::CANCEL), CallFailure::Broken),
        ("UNAVAILABLE", Answer::Status("14"), CallFailure::Broken),
        ("INTERNAL", Answer::Status("13"), CallFailure::Broken),
        ("UNAUTHENTICATED", Answer::Status("16"), CallFailure::Broken),
        ("no answer in time", Answer::Hang, CallFailure::Late),
        ("too much", Answer::Large(5000), CallFailure::Broken),
    ] {
        let server = Server::start(usize::MAX, move |at| if at == 1 { answer } else { GOOD }).await;
        let caller = caller(with(ApplicationSettings {
            rpc_host: Some(format!("grpc://{}", server.address)),
            rpc_max_call_recv_size: Some("4096".parse().unwrap()),
            rpc_request_timeout: Some("300ms".parse().unwrap()),
            ..ApplicationSettings::default()
        }));
        for (data, expected) in [("0", Ok(())), ("1", Err(failure)), ("2", Ok(()))] {
            let result = Arc::clone(&caller).call(command(data), PATIENCE).await;
            assert_eq!(result.map(drop), expected, "{what}: {data}");
        }
        assert_eq!(server.count(), 3, "{what}");
    }
}

#[tokio::test]
async fn a_call_that_surely_has_not_run_is_repeated_until_it_has() {
    for answer in [Answer::Status("8"), Answer::Reset(Reason::REFUSED_STREAM)] {
        let server = Server::start(usize::MAX, move |at| if at < 3 { answer } else { GOOD }).await;
        let caller = caller(application(&format!("dns:///localhost:{}", server.address.port())));
        assert!(Arc::clone(&caller).call(command(""), PATIENCE).await.is_ok());
        assert_eq!(server.count(), 4);
    }
    let server = Server::start(usize::MAX, |_| Answer::Status("8")).await;
    let caller = caller(application(&server.address.to_string()));
    let result = caller.call(command(""), Duration::from_millis(300)).await;
    assert_eq!(result, Err(CallFailure::Unreachable));
}

#[tokio::test]
async fn a_call_that_is_too_large_is_not_sent() {
    let server = Server::start(usize::MAX, |_| GOOD).await;
    let caller = caller(with(ApplicationSettings {
        rpc_host: Some(server.address.to_string()),
        rpc_max_call_send_size: Some("2048".parse().unwrap()),
        ..ApplicationSettings::default()
    }));
    let large = Arc::clone(&caller).call(command(&"x".repeat(3000)), PATIENCE).await;
    assert_eq!(large, Err(CallFailure::Broken));
    assert!(caller.call(command("x"), PATIENCE).await.is_ok());
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn servers_take_turns_and_one_that_is_gone_is_left_out() {
    let first = Server::start(usize::MAX, |_| GOOD).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let gone = listener.local_addr().unwrap().port();
    drop(listener);
    let caller = caller(application(&format!("grpc-list://{},localhost:{gone}", first.address)));
    for _ in 0..10 {
        assert!(Arc::clone(&caller).call(command(""), PATIENCE).await.is_ok());
    }
    assert_eq!(first.count(), 10);
    let second = Server::on(TcpListener::bind(address).await.unwrap(), usize::MAX, |_| GOOD);
    for _ in 0..500 {
        assert!(Arc::clone(&caller).call(command(""), PATIENCE).await.is_ok());
        if second.count() >= 10 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = (first.count(), second.count());
    for _ in 0..20 {
        assert!(Arc::clone(&caller).call(command(""), PATIENCE).await.is_ok());
    }
    assert_eq!((first.count() - before.0, second.count() - before.1), (10, 10));
}

#[tokio::test]
async fn an_application_that_comes_back_gets_the_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let caller = caller(application(&address.to_string()));
    let patience = Duration::from_millis(200);
    let result = Arc::clone(&caller).call(command(""), patience).await;
    assert_eq!(result, Err(CallFailure::Unreachable));
    let waiting = tokio::spawn(Arc::clone(&caller).call(command("back"), PATIENCE));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let server = Server::on(TcpListener::bind(address).await.unwrap(), usize::MAX, |_| GOOD);
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(server.count(), 1);
}

/// What a server by hand does when a call has arrived on its first connection; on others it ends at once.
async fn by_hand(frame: Vec<u8>, ends: bool) -> (SocketAddr, Arc<AtomicUsize>, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (arrived, count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let server = Server { address, seen: Arc::default() };
    let (seen, told) = (Arc::clone(&server.seen), Arc::clone(&arrived));
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            if count.fetch_add(1, Ordering::Relaxed) > 0 {
                tokio::spawn(serve(socket, 1, usize::MAX, Arc::clone(&seen), Arc::new(|_| GOOD)));
                continue;
            }
            let (frame, told) = (frame.clone(), Arc::clone(&told));
            tokio::spawn(async move {
                socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // SETTINGS
                socket.read_exact(&mut [0; 24]).await.unwrap(); // the preface
                let mut head = [0; 9];
                while socket.read_exact(&mut head).await.is_ok() {
                    let length = usize::from(head[1]) << 8 | usize::from(head[2]);
                    socket.read_exact(&mut vec![0; length]).await.unwrap();
                    let is_end_of_call = head[3] == 0 && head[4] & 1 == 1; // DATA with END_STREAM
                    if is_end_of_call {
                        told.fetch_add(1, Ordering::Relaxed);
                        socket.write_all(&frame).await.unwrap();
                        if ends {
                            return;
                        }
                    }
                }
            });
        }
    });
    (address, arrived, server)
}

/// A GOAWAY that names the last stream that was taken.
fn goaway(last: u8, code: u8) -> Vec<u8> {
    vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, code]
}

#[tokio::test]
async fn a_goaway_below_a_call_sends_it_over_another_connection() {
    for (code, ends) in [(0, false), (0, true), (11, true)] {
        let (address, arrived, server) = by_hand(goaway(0, code), ends).await;
        let caller = caller(application(&address.to_string()));
        assert!(caller.call(command(""), PATIENCE).await.is_ok(), "{code} {ends}");
        assert_eq!((arrived.load(Ordering::Relaxed), server.count()), (1, 1), "{code} {ends}");
    }
}

#[tokio::test]
async fn a_goaway_above_a_call_leaves_it_where_it_is() {
    for (code, ends, failure) in [
        (0, false, CallFailure::Late),
        (0, true, CallFailure::Broken),
        (2, true, CallFailure::Broken),
    ] {
        let (address, arrived, server) = by_hand(goaway(1, code), ends).await;
        let caller = caller(with(ApplicationSettings {
            rpc_host: Some(address.to_string()),
            rpc_request_timeout: Some("500ms".parse().unwrap()),
            ..ApplicationSettings::default()
        }));
        let first = tokio::spawn(Arc::clone(&caller).call(command("first"), PATIENCE));
        until("sent", || arrived.load(Ordering::Relaxed) == 1).await;
        // the next goes over another connection meanwhile
        assert!(Arc::clone(&caller).call(command("next"), PATIENCE).await.is_ok());
        assert_eq!(first.await.unwrap(), Err(failure), "{code} {ends}");
        assert_eq!((arrived.load(Ordering::Relaxed), server.count()), (1, 1), "{code} {ends}");
    }
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_enabled() {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(socket) = acceptor.accept(socket).await {
                    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
                    serve(socket, 0, usize::MAX, Arc::default(), Arc::new(|_| GOOD)).await;
                }
            });
        }
    });
    let of = |root: Option<String>| ApplicationSettings {
        rpc_host: Some(format!("localhost:{port}")),
        rpc_enable_tls: Some(true),
        rpc_tls_verify: Some(root.is_some()),
        rpc_tls_root_ca: root,
        ..ApplicationSettings::default()
    };
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (settings, expected) in [
        (of(Some(pair.cert.pem())), Ok(())),
        (of(None), Ok(())),
        (of(Some(other.cert.pem())), Err(CallFailure::Unreachable)),
    ] {
        let result = caller(with(settings)).call(command(""), Duration::from_millis(800)).await;
        assert_eq!(result.map(drop), expected);
    }
}
