//! What the application learns of a handshake: its URL, some of its headers, and the client's address.

use std::net::IpAddr;

use warp::http::{HeaderMap, HeaderName, header};

use crate::types::Origin;

/// Header in which a proxy says how the client reached it.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What of a handshake is passed on.
#[derive(Clone, Debug, Default)]
pub struct OriginRules {
    /// The headers, each as the application has it spelled.
    pub headers: Vec<(HeaderName, Box<str>)>,
    /// Names of the cookies; `None` is all.
    pub cookies: Option<Vec<String>>,
    /// The header with the token, whose place the subprotocol may take.
    pub token: Option<HeaderName>,
    /// Whether clients speak TLS to this process.
    pub is_tls: bool,
}

/// A handshake, as far as the application may know it.
#[derive(Clone, Copy)]
pub(in crate::net) struct Seen<'a> {
    pub(in crate::net) client: IpAddr,
    pub(in crate::net) path: &'a str,
    pub(in crate::net) query: &'a str,
    pub(in crate::net) headers: &'a HeaderMap,
    /// Whether the peer is a proxy that is trusted.
    pub(in crate::net) by_proxy: bool,
    /// The token, if it came as a header or a subprotocol.
    pub(in crate::net) token: Option<&'a str>,
}

impl OriginRules {
    /// What the application learns of a handshake.
    pub(in crate::net) fn origin(&self, seen: Seen<'_>) -> Origin {
        let Seen { client, path, query, .. } = seen;
        let scheme = if self.is_secure(seen) { "https" } else { "http" };
        let host = seen.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let mut url = format!("{scheme}://{}{path}", host.unwrap_or("localhost"));
        if !query.is_empty() {
            url.push('?');
            url.push_str(query);
        }
        let mut headers: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, spelled) in &self.headers {
            let values = seen.headers.get_all(name).into_iter();
            let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
            let between = if *name == header::COOKIE { "; " } else { ", " };
            let mut value = values.collect::<Vec<_>>().join(between);
            if let (true, Some(kept)) = (*name == header::COOKIE, &self.cookies) {
                value = only(&value, kept);
            }
            if !value.is_empty() {
                headers.push((spelled.clone(), value.into()));
            }
        }
        if let Some(name) = &self.token {
            let value = seen.headers.get(name).and_then(|value| value.to_str().ok());
            let is_sent = self.headers.iter().any(|(sent, _)| sent == name);
            if let (false, Some(token)) = (is_sent, value.or(seen.token)) {
                headers.push((name.as_str().into(), token.into()));
            }
        }
        headers.push(("REMOTE_ADDR".into(), client.to_string().into()));
        Origin { url: url.into(), headers: headers.into_iter().collect() }
    }

    fn is_secure(&self, seen: Seen<'_>) -> bool {
        let said = seen.headers.get(FORWARDED_PROTO).filter(|_| seen.by_proxy);
        match said.and_then(|said| said.to_str().ok()) {
            // the last proxy is the one that is trusted
            Some(said) => {
                let last = said.rsplit(',').next().unwrap_or(said).trim();
                last.eq_ignore_ascii_case("https") || last.eq_ignore_ascii_case("wss")
            }
            None => self.is_tls,
        }
    }
}

/// The cookies of these names, in the order in which they came.
fn only(cookies: &str, names: &[String]) -> String {
    let each = cookies.split(';').map(str::trim);
    let kept = each.filter(|cookie| {
        let name = cookie.split_once('=').map_or(*cookie, |(name, _)| name.trim());
        names.iter().any(|kept| kept == name)
    });
    kept.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(headers: &[&str]) -> OriginRules {
        let name = |spelled: &&str| (spelled.to_lowercase().parse().unwrap(), (*spelled).into());
        OriginRules { headers: headers.iter().map(name).collect(), ..OriginRules::default() }
    }

    fn seen(headers: &HeaderMap, by_proxy: bool) -> Seen<'_> {
        let client = "192.0.2.7".parse().unwrap();
        Seen { client, by_proxy, path: "/cable", query: "a=b", headers, token: Some("t.o.k") }
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn shown(origin: &Origin) -> Vec<String> {
        origin.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn it_learns_what_is_configured() {
        let all = headers(&[
            ("host", "app.test:8080"),
            ("cookie", "a=1"),
            ("x-api", "k"),
            ("x-jid", "j"),
        ]);
        let origin = rules(&["Cookie", "X-Api"]).origin(seen(&all, false));
        assert_eq!(&*origin.url, "http://app.test:8080/cable?a=b");
        assert_eq!(shown(&origin), ["Cookie: a=1", "X-Api: k", "REMOTE_ADDR: 192.0.2.7"]);
        let none = HeaderMap::new();
        let origin = rules(&["cookie"]).origin(Seen { query: "", ..seen(&none, false) });
        assert_eq!(&*origin.url, "http://localhost/cable");
        assert_eq!(shown(&origin), ["REMOTE_ADDR: 192.0.2.7"]);
    }

    #[test]
    fn the_token_counts_as_a_header() {
        let with_token = || OriginRules { token: "x-jid".parse().ok(), ..rules(&[]) };
        let none = HeaderMap::new();
        let address = "REMOTE_ADDR: 192.0.2.7";
        assert_eq!(shown(&with_token().origin(seen(&none, false))), ["x-jid: t.o.k", address]);
        let own = headers(&[("x-jid", "j")]);
        assert_eq!(shown(&with_token().origin(seen(&own, false))), ["x-jid: j", address]);
        let rules = OriginRules { token: "x-jid".parse().ok(), ..rules(&["X-JID"]) };
        assert_eq!(shown(&rules.origin(seen(&own, false))), ["X-JID: j", address]);
    }

    #[test]
    fn cookies_are_chosen_by_name() {
        let kept =
            || OriginRules { cookies: Some(vec!["sid".into(), "b".into()]), ..rules(&["cookie"]) };
        let sent = headers(&[("cookie", "a=1; sid=x=y==;b=2"), ("cookie", " c=3; b = 4")]);
        let origin = kept().origin(seen(&sent, false));
        assert_eq!(shown(&origin)[0], "cookie: sid=x=y==; b=2; b = 4");
        let other = headers(&[("cookie", "a=1; sidx=2")]);
        assert_eq!(shown(&kept().origin(seen(&other, false))), ["REMOTE_ADDR: 192.0.2.7"]);
    }

    #[test]
    fn a_trusted_proxy_says_whether_it_is_tls() {
        let url = |lines: &[_], is_tls, by_proxy| {
            let rules = OriginRules { is_tls, ..OriginRules::default() };
            let headers = headers(lines);
            rules.origin(seen(&headers, by_proxy)).url.split_once(':').unwrap().0.to_owned()
        };
        assert_eq!(url(&[], true, false), "https");
        assert_eq!(url(&[("x-forwarded-proto", "https")], false, true), "https");
        assert_eq!(url(&[("x-forwarded-proto", "http, wss")], false, true), "https");
        assert_eq!(url(&[("x-forwarded-proto", "https, http")], true, true), "http");
        assert_eq!(url(&[("x-forwarded-proto", "https")], false, false), "http", "anyone says so");
    }
}
