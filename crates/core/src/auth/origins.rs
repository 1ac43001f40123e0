//! Allowed origins: the `Origin` header against a list of hosts.
//!
//! Browsers send the header and pages can't change it, so the list keeps other sites' pages from
//! using a visitor's cookies and network. It stops no program other than a browser.

use std::fmt;
use std::str::FromStr;

/// A list of origins as people write it: comma-separated hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Vec<Pattern>);

/// An invalid entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no origin: write a host (`app.example.io`, `*.example.io`, `localhost:3000`), with https:// in front if only that is meant"
)]
pub struct BadOrigin(String);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    scheme: Option<String>,
    hosts: Hosts,
}

/// Hosts, with a port unless it is the scheme's default.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// `example.io`
    One(String),
    /// `*.example.io`: its subdomains.
    Below(String),
    /// `*example.io`: the host and its subdomains.
    With(String),
}

impl Origins {
    /// Whether a request with this `Origin` may connect. A request without one comes from no
    /// browser, and only `*` allows it.
    pub fn allow(&self, origin: Option<&str>) -> bool {
        let origin = origin.map(str::to_ascii_lowercase);
        let parts = origin.as_deref().and_then(|origin| origin.split_once("://"));
        let parts = parts.filter(|(scheme, host)| is_scheme(scheme) && is_host(host));
        self.0.iter().any(|pattern| match (&pattern.hosts, parts) {
            (Hosts::All, _) if pattern.scheme.is_none() => true,
            (_, None) => false,
            (hosts, Some((scheme, host))) => {
                pattern.scheme.as_ref().is_none_or(|wanted| wanted == scheme) && hosts.have(host)
            }
        })
    }

    /// Whether pages of this host, as in a request's `Host`, are allowed with some scheme.
    pub fn allow_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        is_host(&host) && self.0.iter().any(|pattern| pattern.hosts.have(&host))
    }
}

/// Whether it is a URL scheme (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Whether it is an origin's host: a name or address, with or without a port, and no other parts of
/// a URL (`evil.io#.example.io`).
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (text, None),
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let numbered = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.contains(':') && address.bytes().all(numbered),
        None => !host.is_empty() && host.bytes().all(named),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

impl Hosts {
    fn have(&self, host: &str) -> bool {
        let below = |parent: &str| {
            host.strip_suffix(parent)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty())
        };
        match self {
            Self::All => true,
            Self::One(wanted) => wanted == host,
            Self::Below(parent) => below(parent),
            Self::With(parent) => host == parent || below(parent),
        }
    }
}

impl FromStr for Origins {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(|entry| entry.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Pattern {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadOrigin(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let (scheme, hosts) = match lower.split_once("://") {
            Some((scheme @ ("http" | "https"), hosts)) => (Some(scheme.to_owned()), hosts),
            Some(_) => return Err(bad()),
            None => (None, lower.as_str()),
        };
        let (wild, host) = match hosts.strip_prefix('*') {
            Some(rest) => (true, rest),
            None => (false, hosts),
        };
        if wild && host.is_empty() {
            return Ok(Self { scheme, hosts: Hosts::All });
        }
        let (below, host) = match host.strip_prefix('.') {
            Some(rest) if wild => (true, rest),
            Some(_) => return Err(bad()),
            None => (false, host),
        };
        if host.ends_with('.') || !is_host(host) {
            return Err(bad());
        }
        let host = host.to_owned();
        let hosts = match (wild, below) {
            (true, true) => Hosts::Below(host),
            (true, false) => Hosts::With(host),
            (false, _) => Hosts::One(host),
        };
        Ok(Self { scheme, hosts })
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pattern) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{pattern}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        match &self.hosts {
            Hosts::All => f.write_str("*"),
            Hosts::One(host) => f.write_str(host),
            Hosts::Below(host) => write!(f, "*.{host}"),
            Hosts::With(host) => write!(f, "*{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &str, origin: &str) -> bool {
        list.parse::<Origins>().unwrap().allow(Some(origin))
    }

    #[test]
    fn a_host_is_that_host_and_port() {
        let list = "www.Example.com, localhost:3000,[::1]:3000";
        for origin in [
            "https://www.example.com",
            "http://WWW.example.COM",
            "http://localhost:3000",
            "http://[::1]:3000",
        ] {
            assert!(allowed(list, origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://a.www.example.com",
            "https://www.example.com:8443",
            "https://www.example.com.evil.io",
            "https://evilwww.example.com",
            "http://localhost",
            "null",
            "",
            "www.example.com",
            "https://www.example.com/",
            "://www.example.com",
            "ht tp://www.example.com",
        ] {
            assert!(!allowed(list, origin), "{origin}");
        }
    }

    #[test]
    fn a_star_ends_at_a_dot() {
        assert!(allowed("*.example.io", "https://a.example.io"));
        assert!(allowed("*.example.io", "https://a.b.example.io"));
        assert!(!allowed("*.example.io", "https://example.io"));
        assert!(!allowed("*.example.io", "https://.example.io"));
        assert!(!allowed("*.example.io", "https://evilexample.io"));
        assert!(!allowed("*.example.io", "https://a.example.io:444"));
        assert!(allowed("*example.io", "https://example.io"));
        assert!(allowed("*example.io", "https://a.example.io"));
        assert!(!allowed("*example.io", "https://evilexample.io"));
        assert!(allowed("*", "null") && "*".parse::<Origins>().unwrap().allow(None));
    }

    #[test]
    fn nothing_but_a_host_is_held_against_a_star() {
        for host in [
            "evil.com#",
            "evil.com?",
            "evil.com/",
            "evil.com:",
            "evil.com:80:",
            "user@",
            "evil.com\\",
            "evil.com ",
            "evil.com\t",
            "evil.com%00",
            "[evil.com",
            "[::1]",
            "é",
        ] {
            let origin = format!("https://{host}.example.io");
            assert!(!allowed("*.example.io,*example.io", &origin), "{origin}");
        }
        for port in ["", "x", "-1", "65536", "80#"] {
            let origin = format!("https://a.example.io:{port}");
            assert!(!allowed("*.example.io,https://*", &origin), "{origin}");
        }
        assert!(allowed("*.example.io", "capacitor://a_b-c.example.io"));
    }

    #[test]
    fn a_host_is_one_whose_pages_may_connect() {
        let allow = |list: &str, host| list.parse::<Origins>().unwrap().allow_host(host);
        assert!(allow("https://a.example", "A.example") && allow("*.a:81", "b.a:81"));
        for host in ["", "b.example", "a.example:81", "b.a.example", "a.example#.a.example"] {
            assert!(!allow("a.example", host), "{host}");
        }
        assert!(allow("*", "b.example") && !allow("*", "b/"));
    }

    #[test]
    fn a_scheme_counts_if_it_is_written() {
        assert!(allowed("https://*.example.io", "https://a.example.io"));
        assert!(!allowed("https://*.example.io", "http://a.example.io"));
        assert!(allowed("https://*", "https://a") && !allowed("https://*", "http://a"));
        assert!(!"https://*".parse::<Origins>().unwrap().allow(None));
    }

    #[test]
    fn who_says_no_origin_is_no_page_that_is_allowed() {
        assert!(!"example.io".parse::<Origins>().unwrap().allow(None));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "a,",
            "a b",
            "ftp://a",
            "https://",
            "a/b",
            "https://a/",
            ".a",
            "*.",
            "**",
            "a*b",
            "a?",
            "é",
            "a:",
            "a:x",
            ":80",
            "a:70000",
            "[::1",
            "[a]",
            "::1",
        ] {
            assert!(text.parse::<Origins>().is_err(), "{text}");
        }
        let written = "a.b:1,*.example.io,*c,*,https://*.d";
        assert_eq!(written.parse::<Origins>().unwrap().to_string(), written);
    }
}
