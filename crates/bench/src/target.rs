//! Where the server is: its address, and what to ask there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use anyhow::Context as _;
use hyper::Uri;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Source addresses that clients of a server on loopback spread over: each has some 28,000 ports.
const LOOPBACK_SOURCES: u32 = 200;

/// A URL without TLS.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) host: String,
    port: u16,
    pub(crate) path: String,
}

impl Url {
    /// Reads a URL whose scheme is `scheme`.
    fn read(text: &str, scheme: &str) -> Result<Self, String> {
        let uri = Uri::from_str(text).map_err(|error| format!("{error}"))?;
        match uri.scheme_str() {
            Some(found) if found == scheme => {}
            Some("wss" | "https") => {
                return Err(format!(
                    "TLS isn't measured: name the server's plain port, as {scheme}://HOST:PORT/PATH"
                ));
            }
            Some(_) | None => return Err(format!("write it as {scheme}://HOST:PORT/PATH")),
        }
        let host = uri.host().ok_or_else(|| format!("write it as {scheme}://HOST:PORT/PATH"))?;
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    pub(crate) fn websocket(text: &str) -> Result<Self, String> {
        Self::read(text, "ws")
    }

    pub(crate) fn http(text: &str) -> Result<Self, String> {
        Self::read(text, "http")
    }

    /// The same server, asked for something else.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// As it stands in a `Host` header.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    pub(crate) fn resolve(&self) -> anyhow::Result<SocketAddr> {
        let mut found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .with_context(|| format!("{} has no address", self.authority()))?;
        found.next().with_context(|| format!("{} has no address", self.authority()))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.authority(), self.path)
    }
}

/// A socket that begins to connect. `number` chooses the source address where the server is on
/// loopback, so that the ports of one address are no limit.
pub(crate) fn connect(to: SocketAddr, number: u32) -> anyhow::Result<std::net::TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))
        .context("no socket can be opened: raise the limit of open files (ulimit -n)")?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let SocketAddr::V4(address) = to
        && address.ip().is_loopback()
    {
        let last = u8::try_from(number % LOOPBACK_SOURCES).unwrap_or(0).saturating_add(2);
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        socket
            .bind(&SockAddr::from(SocketAddr::new(source, 0)))
            .with_context(|| format!("no port of {source} is free: wait a minute, or two"))?;
    }
    match socket.connect(&SockAddr::from(to)) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
        Err(error) => return Err(unreachable(to, &error)),
    }
    Ok(socket.into())
}

/// `EINPROGRESS`, which has no stable [`std::io::ErrorKind`].
const IN_PROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

/// Nobody is there.
pub(crate) fn unreachable(to: SocketAddr, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("{to} can't be reached: {error}\nIs the server running, and is this its port?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url::websocket("ws://127.0.0.1:8080/cable?a=b").unwrap();
        assert_eq!((url.authority(), url.path.as_str()), ("127.0.0.1:8080".into(), "/cable?a=b"));
        assert_eq!(url.with_path("/x").to_string(), "127.0.0.1:8080/x");
        let url = Url::http("http://[::1]").unwrap();
        assert_eq!((url.authority(), url.path.as_str()), ("[::1]:80".into(), "/"));
        assert_eq!(url.resolve().unwrap(), "[::1]:80".parse().unwrap());
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for text in ["127.0.0.1:8080", "http://127.0.0.1:8080", "/cable", "ws:", ""] {
            assert!(Url::websocket(text).is_err(), "{text}");
        }
        let refusal = Url::websocket("wss://127.0.0.1/cable").unwrap_err();
        assert!(refusal.contains("TLS isn't measured"), "{refusal}");
    }
}
