//! TLS: the current certificate, its reload, and the handshake before any request.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;

use crate::config::{ConfigError, TlsFiles, TlsPair};
use crate::outbound::{Socket as _, TlsSocket};
use crate::telemetry::Instruments;
use crate::types::HandshakeFailure;

/// How often the files are read. Content that is the same twice in a row counts as complete.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Time for a plain HTTP client to receive the answer that asks for TLS.
const CLOSE_NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// Body of that answer.
const USE_TLS: &str = "this port speaks TLS: write https:// or wss://\n";

/// The certificate and key in use.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    current: Mutex<Arc<ServerConfig>>,
}

/// Reloads the certificate when its files change.
#[derive(Debug)]
pub(super) struct Reloader {
    certificate: Arc<Certificate>,
    instruments: Arc<Instruments>,
    before: Found,
    /// The content last acted upon.
    known: Found,
}

/// The files' content, or why it can't be used.
type Found = Result<TlsPair, String>;

impl Certificate {
    /// Reads the files for the first time.
    pub(super) fn load(
        files: TlsFiles,
        instruments: Arc<Instruments>,
    ) -> Result<(Arc<Self>, Reloader), ConfigError> {
        let pair = files.read()?;
        let current = Mutex::new(pair.server(&files)?);
        let certificate = Arc::new(Self { files, current });
        let reloader = Reloader {
            certificate: Arc::clone(&certificate),
            instruments,
            before: Ok(pair.clone()),
            known: Ok(pair),
        };
        Ok((certificate, reloader))
    }

    /// Does the TLS handshake; `begins` is called at the client's first byte. `None` if the client
    /// closed the connection without sending any.
    pub(super) async fn accept(
        &self,
        socket: TcpStream,
        begins: impl FnOnce(),
    ) -> Result<Option<TlsSocket>, HandshakeFailure> {
        let mut first = [0];
        match socket.peek(&mut first).await {
            Ok(0) => return Ok(None),
            Ok(_) if first[0].is_ascii_uppercase() => {
                tracing::debug!("plain HTTP on a TLS port");
                say_use_tls(&socket).await;
                return Err(HandshakeFailure::Tls);
            }
            Ok(_) => begins(),
            Err(_) => return Err(HandshakeFailure::Incomplete),
        }
        let server = Arc::clone(&self.current.lock());
        TlsSocket::accept(socket, server).await.map(Some).map_err(|error| {
            tracing::debug!(%error, "TLS handshake failed");
            if error.kind() == std::io::ErrorKind::InvalidData {
                HandshakeFailure::Tls
            } else {
                HandshakeFailure::Incomplete
            }
        })
    }
}

/// Answers in plain HTTP, the only thing such a client understands.
async fn say_use_tls(socket: &TcpStream) {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{USE_TLS}",
        USE_TLS.len()
    );
    let say = async {
        socket.writable().await?;
        socket.try_write(answer.as_bytes())?;
        socket.shutdown(std::net::Shutdown::Write);
        // closing with unread input would reset the connection and lose the answer
        let mut rest = [0; 1024];
        loop {
            socket.readable().await?;
            match socket.try_read(&mut rest) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    };
    if let Ok(Err(error)) = tokio::time::timeout(CLOSE_NOTIFY_TIMEOUT, say).await {
        tracing::debug!(%error, "failed to answer a plain HTTP client");
    }
}

impl Reloader {
    /// Checks the files periodically, and on SIGHUP.
    pub(super) async fn run(mut self, mut asked: Signal) {
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                _ = checks.tick() => false,
                _ = asked.recv() => true,
            };
            let files = self.certificate.files.clone();
            let look = tokio::task::spawn_blocking(move || files.read());
            if let Ok(found) = look.await {
                self.look(found.map_err(|error| error.to_string()), is_asked);
            }
        }
    }

    fn look(&mut self, found: Found, is_asked: bool) {
        let is_new = found == self.before && found != self.known;
        self.before.clone_from(&found);
        if !is_new && !is_asked {
            return;
        }
        let files = &self.certificate.files;
        let server = match &found {
            Ok(pair) => pair.server(files).map_err(|error| error.to_string()),
            Err(reason) => Err(reason.clone()),
        };
        match server {
            Ok(server) => {
                *self.certificate.current.lock() = server;
                self.instruments.tls_reloads_ok.increment(1);
                tracing::info!(file = %files.cert.display(), "certificate reloaded");
            }
            Err(reason) => {
                self.instruments.tls_reloads_failed.increment(1);
                tracing::warn!(
                    reason,
                    "failed to reload the certificate: the current one stays in use"
                );
            }
        }
        self.known = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reloader, and what it has loaded. What it finds from now on is up to the test.
    fn reloader(name: &str) -> (Reloader, TlsPair) {
        let path = |kind| {
            std::env::temp_dir().join(format!("broker-tls-{}-{name}-{kind}", std::process::id()))
        };
        let files = TlsFiles { cert: path("cert"), key: path("key") };
        let pair = pair(&files);
        let (_, reloader) = Certificate::load(files, Arc::new(Instruments::new())).unwrap();
        (reloader, pair)
    }

    /// What is in the files with a new certificate in them.
    fn pair(files: &TlsFiles) -> TlsPair {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files.read().unwrap()
    }

    impl Reloader {
        /// Whether a look replaces the certificate.
        fn replaces(&mut self, found: Found, is_asked: bool) -> bool {
            let before = Arc::clone(&self.certificate.current.lock());
            self.look(found, is_asked);
            !Arc::ptr_eq(&before, &self.certificate.current.lock())
        }
    }

    impl Drop for Reloader {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.certificate.files.cert));
            drop(std::fs::remove_file(&self.certificate.files.key));
        }
    }

    #[test]
    fn what_is_the_same_twice_is_taken_once() {
        let (mut reloader, _) = reloader("twice");
        let new = pair(&reloader.certificate.files);
        assert!(!reloader.replaces(Ok(new.clone()), false), "it may be half of a change");
        assert!(reloader.replaces(Ok(new.clone()), false));
        assert!(!reloader.replaces(Ok(new.clone()), false));
        assert!(reloader.replaces(Ok(new), true), "who asks gets it at once, in any case");
    }

    #[test]
    fn a_change_one_file_at_a_time_is_one_change() {
        let (mut reloader, old) = reloader("halves");
        let new = pair(&reloader.certificate.files);
        let gone = || Err("no such file".to_owned());
        for found in [gone(), Ok(new.clone()), gone(), Ok(old.clone()), Ok(new.clone())] {
            assert!(!reloader.replaces(found, false));
        }
        assert!(reloader.known == Ok(old), "nothing was acted upon");
        assert!(reloader.replaces(Ok(new), false));
    }

    #[test]
    fn what_cannot_be_used_is_remembered_and_so_is_the_way_back() {
        let (mut reloader, old) = reloader("back");
        let gone = || Err("no such file".to_owned());
        assert!(!reloader.replaces(gone(), false) && !reloader.replaces(gone(), false));
        assert!(reloader.known == gone());
        assert!(!reloader.replaces(Ok(old.clone()), false));
        assert!(reloader.replaces(Ok(old), false));
    }
}
