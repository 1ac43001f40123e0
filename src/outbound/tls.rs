//! A TLS connection as a [`Socket`]: rustls under a lock, in front of a `TcpStream`.
//!
//! A record is encrypted only when everything encrypted before has been written. So a client that
//! doesn't read leaves at most one record (16 KiB) here, and the rest is queued in its outbox,
//! which is bounded.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::socket::Socket;

/// Maximum size of a record's content (RFC 8446, section 5.1).
const RECORD: usize = 16 * 1024;

/// A TLS connection after its handshake.
///
/// HTTP uses it as an async stream; a WebSocket uses it as a [`Socket`].
#[derive(Debug)]
pub struct TlsSocket {
    tcp: TcpStream,
    tls: Mutex<ServerConnection>,
    /// Decrypted bytes, or the client's close, are waiting: the TCP socket's readiness doesn't show
    /// those.
    held: AtomicBool,
}

impl TlsSocket {
    /// The server's side of the handshake, without a time limit.
    ///
    /// `InvalidData` is a TLS error; `UnexpectedEof` is a client that closed the connection.
    pub async fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(RECORD));
        loop {
            if until_blocked(flush(&mut tls, &tcp)).transpose()?.is_none() {
                std::future::poll_fn(|task| tcp.poll_write_ready(task)).await?;
            } else if !tls.is_handshaking() {
                let held = AtomicBool::new(!tls.wants_read());
                return Ok(Self { tcp, tls: Mutex::new(tls), held });
            } else {
                match until_blocked(take_in(&mut tls, &tcp)).transpose()? {
                    Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Some(_) => {}
                    None => std::future::poll_fn(|task| tcp.poll_read_ready(task)).await?,
                }
            }
        }
    }

    /// The TCP socket below.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn read(&self, tls: &mut ServerConnection, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(read) = until_blocked(decrypted(tls, buffer)) {
            return read;
        }
        take_in(tls, &self.tcp)?;
        // a TLS reply such as a key update; what doesn't fit goes out with the next frame
        if let Some(flushed) = until_blocked(flush(tls, &self.tcp)) {
            flushed?;
        }
        decrypted(tls, buffer)
    }
}

/// Reads once from the system and decrypts complete records; returns the number of bytes read.
fn take_in(tls: &mut ServerConnection, tcp: &TcpStream) -> io::Result<usize> {
    let read = tls.read_tls(&mut Raw(tcp))?;
    if let Err(error) = tls.process_new_packets() {
        drop(tls.write_tls(&mut Raw(tcp))); // the alert for the client, if it fits
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(read)
}

/// Takes decrypted bytes. An end of the stream without a close alert is a normal end: frames and
/// bodies show themselves whether they are complete.
fn decrypted(tls: &mut ServerConnection, buffer: &mut [u8]) -> io::Result<usize> {
    match tls.reader().read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        result => result,
    }
}

/// Writes encrypted bytes; `WouldBlock` if the system doesn't accept all of them.
fn flush(tls: &mut ServerConnection, tcp: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut Raw(tcp))?;
    }
    Ok(())
}

/// The result; `None` for `WouldBlock`.
fn until_blocked<T>(result: io::Result<T>) -> Option<io::Result<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

impl Socket for TlsSocket {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut tls = self.tls.lock();
        let result = self.read(&mut tls, buffer);
        self.held.store(!tls.wants_read(), Ordering::Relaxed);
        result
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut tls = self.tls.lock();
        flush(&mut tls, &self.tcp)?;
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match tls.writer().write(rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                more => taken += more,
            }
            match until_blocked(flush(&mut tls, &self.tcp)) {
                Some(flushed) => flushed?,
                None => break,
            }
        }
        Ok(taken)
    }

    fn try_flush(&self) -> io::Result<()> {
        flush(&mut self.tls.lock(), &self.tcp)
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        self.tcp.poll_read_ready(context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(context)
    }

    fn has_input(&self) -> bool {
        self.held.load(Ordering::Relaxed) || self.tcp.has_input()
    }

    fn shutdown(&self, how: Shutdown) {
        if how != Shutdown::Read {
            let mut tls = self.tls.lock();
            tls.send_close_notify();
            drop(flush(&mut tls, &self.tcp)); // best effort: the socket is closing
        }
        self.tcp.shutdown(how);
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(Socket::poll_read_ready(&*self, context))?;
            if let Some(read) = until_blocked(self.try_read(buffer.initialize_unfilled())) {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(Socket::poll_write_ready(&*self, context))?;
            if let Some(written) = until_blocked(self.try_write(bytes)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(flushed) = until_blocked(self.try_flush()) {
                return Poll::Ready(flushed);
            }
            ready!(Socket::poll_write_ready(&*self, context))?;
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.get_mut().send_close_notify();
        ready!(self.as_mut().poll_flush(context))?;
        self.tcp.shutdown(Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

/// Encrypted bytes, as sent over TCP.
struct Raw<'a>(&'a TcpStream);

impl io::Read for Raw<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Raw<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use bytes::Bytes;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{
        ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
        SupportedProtocolVersion,
    };

    use super::*;
    use crate::outbound::Outbox;
    use crate::protocol::action_cable;

    type Client = StreamOwned<ClientConnection, std::net::TcpStream>;

    /// Both ends of a connection whose handshake is done.
    async fn connected(version: &'static SupportedProtocolVersion) -> (TlsSocket, Client) {
        let (server, client) = configs(version);
        let (near, far) = tcp();
        let client = thread::spawn(move || {
            let tls = ClientConnection::new(client, ServerName::try_from("localhost").unwrap());
            let mut client = StreamOwned::new(tls.unwrap(), far);
            client.flush().unwrap();
            client
        });
        let server = TlsSocket::accept(near, server).await.unwrap();
        (server, client.join().unwrap())
    }

    fn tcp() -> (TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        (TcpStream::from_std(near).unwrap(), far)
    }

    fn configs(
        version: &'static SupportedProtocolVersion,
    ) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let cert = pair.cert.der().clone();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    }

    /// Reads exactly so much, as a connection's task does.
    async fn read(socket: &TlsSocket, size: usize) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 700]);
        while all.len() < size {
            std::future::poll_fn(|task| Socket::poll_read_ready(socket, task)).await.unwrap();
            match until_blocked(socket.try_read(&mut buffer)) {
                Some(read) => match read.unwrap() {
                    0 => break,
                    read => all.extend_from_slice(&buffer[..read]),
                },
                None => tokio::task::yield_now().await,
            }
        }
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn both_versions_carry_bytes_both_ways() {
        for version in ALL_VERSIONS {
            let (socket, mut client) = connected(version).await;
            client.write_all(b"hello").unwrap();
            assert_eq!(read(&socket, 5).await, b"hello");
            assert_eq!(socket.try_write(b"welcome").unwrap(), 7);
            let mut answer = [0; 7];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"welcome");
            assert_eq!(client.conn.protocol_version(), Some(version.version));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_decrypted_already_is_readable_though_nothing_arrives() {
        let (socket, mut client) = connected(&rustls::version::TLS13).await;
        client.write_all(&[7; 10_000]).unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        assert_eq!(read(&socket, 10_000).await, [7; 10_000]);
        // the goodbye came with it and is still to be had
        assert!(socket.has_input());
        assert!(read(&socket, 1).await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_reads_nothing_leaves_a_record_here_and_gets_everything_later() {
        let (socket, mut client) = connected(&rustls::version::TLS13).await;
        let outbox = Outbox::new(Box::new(socket), action_cable::CODEC, u32::MAX);
        let mut expected = Vec::new();
        let mut stuck = 0;
        for number in 0u32.. {
            let frame = Bytes::from(number.to_be_bytes().repeat(250));
            expected.extend_from_slice(&frame);
            let sent = outbox.send(&frame, || frame.clone());
            if stuck == 0 && !outbox.is_drained() {
                assert_eq!(sent, frame.len(), "it was taken whole and is not sent");
            }
            assert_eq!(outbox.socket().try_flush().is_err(), !outbox.is_drained());
            stuck += u32::from(!outbox.is_drained());
            if stuck == 1000 {
                break;
            }
        }
        assert!(until_blocked(outbox.socket().try_write(b"more")).is_none());
        let reader = thread::spawn(move || {
            let mut received = vec![0; expected.len()];
            client.read_exact(&mut received).unwrap();
            (received, expected)
        });
        let mut sent = 0;
        std::future::poll_fn(|task| outbox.poll_drain(task, &mut sent)).await.unwrap();
        let (received, expected) = reader.join().unwrap();
        assert!(received == expected, "what arrives is not what was sent");
        assert_eq!(sent, 999 * 1000);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_than_a_record_is_kept_back() {
        let (socket, _client) = connected(&rustls::version::TLS13).await;
        let bytes = vec![0; 1 << 20];
        while until_blocked(socket.try_write(&bytes)).transpose().unwrap().is_some() {}
        let kept = socket.tls.lock().process_new_packets().unwrap().tls_bytes_to_write();
        assert!((1..=RECORD + 256).contains(&kept), "{kept} bytes");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn new_keys_in_the_middle_change_nothing() {
        let (socket, mut client) = connected(&rustls::version::TLS13).await;
        for round in 0..20u8 {
            client.conn.refresh_traffic_keys().unwrap();
            client.write_all(&[round]).unwrap();
            assert_eq!(read(&socket, 1).await, [round]);
            assert_eq!(socket.try_write(&[round]).unwrap(), 1);
            let mut answer = [0];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [round]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_client_hears_a_goodbye() {
        let (socket, mut client) = connected(&rustls::version::TLS13).await;
        socket.try_write(b"last").unwrap();
        Socket::shutdown(&socket, Shutdown::Write);
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).expect("a clean end");
        assert_eq!(rest, b"last");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_goes_without_one_has_gone_too() {
        let (socket, mut client) = connected(&rustls::version::TLS13).await;
        client.write_all(b"last").unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read(&socket, 100).await, b"last");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_handshake_that_is_none_says_what_it_is() {
        for (bytes, kind) in [
            (&b"\x16\x03\x01\x00\x05hello"[..], io::ErrorKind::InvalidData),
            (&b"\x00\x01\x02\x03\x04\x05\x06\x07"[..], io::ErrorKind::InvalidData),
            (&b"\x16\x03\x01"[..], io::ErrorKind::UnexpectedEof),
            (&b""[..], io::ErrorKind::UnexpectedEof),
        ] {
            let (near, mut far) = tcp();
            far.write_all(bytes).unwrap();
            far.shutdown(Shutdown::Write).unwrap();
            let (server, _) = configs(&rustls::version::TLS13);
            let error = TlsSocket::accept(near, server).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{bytes:?}: {error}");
        }
    }
}
