//! Where the application's callbacks are.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::app_url::{AppUrl, BadAppUrl};

/// Port of gRPC where an address names none, as AnyCable's server has it.
const GRPC_PORT: u16 = 50051;

/// The application's address, and the protocol that it implies.
///
/// ```
/// use broker::config::RpcHost;
/// let host: RpcHost = "http://127.0.0.1:3000/_anycable".parse()?;
/// assert_eq!(host.protocol(), "HTTP");
/// let host: RpcHost = "grpc-list://a:50051,b:50051".parse()?;
/// assert!(matches!(host, RpcHost::Grpc(servers) if servers.len() == 2));
/// # Ok::<(), broker::config::BadRpcHost>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcHost {
    /// HTTP, below this URL.
    Http(AppUrl),
    /// gRPC, at each of these.
    Grpc(Vec<RpcServer>),
}

/// A server of gRPC: a name or an address, with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcServer {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Why an address isn't accepted. Completes a sentence that starts with the setting.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadRpcHost {
    /// Neither an address nor a URL.
    #[error(
        "`{0}` is no address: write it like http://127.0.0.1:3000/_anycable, or 127.0.0.1:50051 for gRPC"
    )]
    NotOne(String),
    /// A URL that HTTP can't have.
    #[error("{0}")]
    Url(#[from] BadAppUrl),
    /// A URL with a query.
    #[error("`{0}` has a query, and paths are added to it: leave the query out")]
    Query(String),
    /// Several URLs of HTTP.
    #[error("`{0}` is several URLs, and over HTTP there is one: put a proxy before the servers")]
    Several(String),
}

impl RpcHost {
    /// What is spoken.
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Http(_) => "HTTP",
            Self::Grpc(_) => "gRPC",
        }
    }
}

impl FromStr for RpcHost {
    type Err = BadRpcHost;

    fn from_str(text: &str) -> Result<Self, BadRpcHost> {
        let text = text.trim();
        if text.starts_with("http://") || text.starts_with("https://") {
            if text.contains(',') {
                return Err(BadRpcHost::Several(text.to_owned()));
            }
            let url: AppUrl = text.parse()?;
            if url.uri().query().is_some() {
                return Err(BadRpcHost::Query(text.to_owned()));
            }
            return Ok(Self::Http(url));
        }
        let list = text.strip_prefix("grpc-list://").unwrap_or(text);
        let servers: Result<Vec<_>, _> = list.split(',').map(|part| part.trim().parse()).collect();
        Ok(Self::Grpc(servers?))
    }
}

impl FromStr for RpcServer {
    type Err = BadRpcHost;

    fn from_str(text: &str) -> Result<Self, BadRpcHost> {
        let bad = || BadRpcHost::NotOne(text.to_owned());
        let schemes = ["grpc://", "dns:///", "dns://", "passthrough:///", "dns:"];
        let bare = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
        let (host, port) = match bare.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(bad)?)),
            None => match bare.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (bare, None),
            },
        };
        let port = port.map_or(Ok(GRPC_PORT), str::parse).map_err(|_| bad())?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        let is_name = !host.is_empty() && host.chars().all(is_host);
        let has_brackets = bare.starts_with('[');
        if is_name && port != 0 && host.contains(':') == has_brackets {
            Ok(Self { host: host.to_owned(), port })
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for RpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for RpcHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::Grpc(servers) => {
                let each: Vec<_> = servers.iter().map(ToString::to_string).collect();
                f.write_str(&each.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_says_its_protocol() {
        for (text, servers) in [
            ("localhost:50051", &["localhost:50051"][..]),
            ("localhost", &["localhost:50051"]),
            ("grpc://10.0.0.1:1", &["10.0.0.1:1"]),
            ("dns:///app.internal:2", &["app.internal:2"]),
            ("dns:app:2", &["app:2"]),
            ("[::1]:3", &["[::1]:3"]),
            ("[::1]", &["[::1]:50051"]),
            ("grpc-list://a:1,b:2", &["a:1", "b:2"]),
            ("a:1, grpc://b:2", &["a:1", "b:2"]),
        ] {
            let host: RpcHost = text.parse().unwrap();
            assert_eq!(host.to_string(), servers.join(","), "{text}");
            assert_eq!(host.to_string().parse(), Ok(host.clone()));
            assert_eq!(host.protocol(), "gRPC");
        }
        for text in ["http://app:3000/_anycable", "https://app", "http://[::1]:1/x/"] {
            let host: RpcHost = text.parse().unwrap();
            assert_eq!((host.to_string(), host.protocol()), (text.to_owned(), "HTTP"));
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let refused = |text: &str| text.parse::<RpcHost>().unwrap_err();
        for text in
            ["", "a:0", "a:x", "a:99999", ":1", "a b:1", "::1", "[::1]x", "a/b:1", "ftp://a"]
        {
            assert_eq!(refused(text), BadRpcHost::NotOne(text.to_owned()), "{text}");
        }
        assert_eq!(refused("a:1,"), BadRpcHost::NotOne(String::new()));
        assert!(matches!(refused("http://a/?b"), BadRpcHost::Query(_)));
        assert!(matches!(refused("http://a,http://b"), BadRpcHost::Several(_)));
        assert!(matches!(refused("http://u:p@a"), BadRpcHost::Url(BadAppUrl::UserInfo)));
    }
}
