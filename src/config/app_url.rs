//! A URL of the application.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use thiserror::Error;

/// An `http` or `https` URL.
///
/// ```
/// use broker::config::AppUrl;
/// let url: AppUrl = "http://app.internal:3000/presence?v=1".parse()?;
/// assert_eq!(url.uri().port_u16(), Some(3000));
/// assert!(!url.is_https());
/// # Ok::<(), broker::config::BadAppUrl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppUrl {
    text: String,
    uri: Uri,
}

/// Why a URL isn't accepted. Completes a sentence that starts with the setting.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadAppUrl {
    /// Not a URL.
    #[error("`{0}` is not a URL: write it like http://127.0.0.1:3000/presence")]
    NotOne(String),
    /// It has a user name or password.
    #[error(
        "it has a name or a password in it, which wouldn't be sent: the application knows the \
         broker by the key derived from the --secret"
    )]
    UserInfo,
}

impl AppUrl {
    /// The whole URL, without its fragment.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }
}

impl FromStr for AppUrl {
    type Err = BadAppUrl;

    fn from_str(text: &str) -> Result<Self, BadAppUrl> {
        let text = text.trim();
        let bad = || BadAppUrl::NotOne(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?;
        if authority.as_str().contains('@') {
            return Err(BadAppUrl::UserInfo);
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let is_port = authority.port_u16().is_some_and(|port| port != 0);
        let is_host = !authority.host().trim_matches(['[', ']']).is_empty();
        let is_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        if is_scheme && is_host && (is_port || !has_port) {
            Ok(Self { text: text.to_owned(), uri })
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for AppUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_all_it_takes_to_ask() {
        for (text, uri) in [
            ("http://localhost", "http://localhost/"),
            ("http://a.example:81/x?y=z", "http://a.example:81/x?y=z"),
            ("https://a.example/x", "https://a.example/x"),
            ("http://[::1]:3000/x", "http://[::1]:3000/x"),
            (" http://127.0.0.1/x/#z ", "http://127.0.0.1/x/"),
        ] {
            let url: AppUrl = text.parse().unwrap();
            assert_eq!(url.uri(), &uri.parse::<Uri>().unwrap(), "{text}");
            assert_eq!(url.to_string(), text.trim());
            assert_eq!(url.is_https(), text.starts_with("https"));
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        let refused = |text: &str| text.parse::<AppUrl>().unwrap_err();
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
            assert_eq!(refused(text), BadAppUrl::NotOne(text.to_owned()), "{text}");
        }
        assert_eq!(refused("http://me:secret@app/x"), BadAppUrl::UserInfo);
        assert!(!refused("http://me:secret@app/x").to_string().contains("secret@"));
    }
}
