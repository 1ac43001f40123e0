//! Where the application is asked about those who join.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::header::HeaderValue;
use thiserror::Error;

/// An address that can be asked: plain HTTP.
///
/// ```
/// use broker::config::FetchUrl;
/// let url: FetchUrl = "http://app.internal:3000/presence?v=1".parse()?;
/// assert_eq!((url.host(), url.port()), ("app.internal", 3000));
/// assert_eq!(url.path(), "/presence?v=1");
/// # Ok::<(), broker::config::BadFetchUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchUrl {
    text: String,
    host: String,
    port: u16,
    path: Uri,
    authority: HeaderValue,
}

/// Why an address can't be asked. Completes a sentence that starts with the setting.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadFetchUrl {
    /// Something else than an address.
    #[error("`{0}` is no address: write it like http://127.0.0.1:3000/presence")]
    NotOne(String),
    /// TLS is asked for.
    #[error(
        "`{0}` needs TLS, which the broker doesn't speak as a client: give the http:// address of \
         the application, or of a proxy beside the broker that speaks TLS for it"
    )]
    Tls(String),
    /// A name and a password.
    #[error(
        "it has a name or a password in it, which wouldn't be sent: the application knows the \
         broker by the key derived from the --secret"
    )]
    UserInfo,
}

impl FetchUrl {
    /// A name or an address, which is all that is needed to connect, with the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, with a query if it has one.
    pub fn path(&self) -> &Uri {
        &self.path
    }

    /// Host and port as they were written, for the header of that name.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }
}

impl FromStr for FetchUrl {
    type Err = BadFetchUrl;

    fn from_str(text: &str) -> Result<Self, BadFetchUrl> {
        let text = text.trim();
        let bad = || BadFetchUrl::NotOne(text.to_owned());
        let url: Uri = text.parse().map_err(|_| bad())?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(BadFetchUrl::Tls(text.to_owned())),
            Some(_) | None => return Err(bad()),
        }
        let authority = url.authority().ok_or_else(bad)?;
        if authority.as_str().contains('@') {
            return Err(BadFetchUrl::UserInfo);
        }
        let host = authority.host();
        let has_port = authority.as_str().len() > host.len();
        let port = if has_port { authority.port_u16().ok_or_else(bad)? } else { 80 };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || port == 0 {
            return Err(bad());
        }
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let path = path.parse().map_err(|_| bad())?;
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|_| bad())?;
        Ok(Self { text: text.to_owned(), host, port, path, authority })
    }
}

impl fmt::Display for FetchUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_all_it_takes_to_ask() {
        for (text, host, port, path, authority) in [
            ("http://localhost", "localhost", 80, "/", "localhost"),
            ("http://a.example:81/x?y=z", "a.example", 81, "/x?y=z", "a.example:81"),
            ("http://[::1]:3000/x", "::1", 3000, "/x", "[::1]:3000"),
            (" http://127.0.0.1/x/#z ", "127.0.0.1", 80, "/x/", "127.0.0.1"),
        ] {
            let url: FetchUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
            assert_eq!(
                (url.path().to_string().as_str(), url.authority()),
                (path, &HeaderValue::from_static(authority))
            );
            assert_eq!(url.to_string(), text.trim());
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        let refused = |text: &str| text.parse::<FetchUrl>().unwrap_err();
        for text in [
            "",
            "app",
            "/x",
            "app:3000/x",
            "ftp://app/x",
            "http://",
            "http:///x",
            "http://a:x/",
            "http://a:0/",
            "http://a:99999/",
            "http://a b/",
        ] {
            assert_eq!(refused(text), BadFetchUrl::NotOne(text.to_owned()), "{text}");
        }
        assert!(matches!(refused("https://app/x"), BadFetchUrl::Tls(_)));
        assert_eq!(refused("http://me:secret@app/x"), BadFetchUrl::UserInfo);
        assert!(!refused("http://me:secret@app/x").to_string().contains("secret@"));
    }
}
