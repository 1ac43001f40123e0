//! The client's address: the peer's, or the one a trusted proxy reports.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use warp::http::{HeaderMap, HeaderName};

use crate::config::Proxies;

/// The peer's address, in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Every proxy appends the address of its own peer.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address behind `peer`: the last in `X-Forwarded-For` that isn't a trusted proxy's.
///
/// Anyone could have written what stands before it. An entry that is no address ends the search,
/// and the proxy that forwarded it counts as the client.
pub(in crate::net) fn client(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> IpAddr {
    let mut address = peer.to_canonical();
    if !proxies.contain(address) {
        return address;
    }
    let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
    for hop in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
        match parse(hop) {
            Some(hop) => address = hop.to_canonical(),
            None => break,
        }
        if !proxies.contain(address) {
            break;
        }
    }
    address
}

/// The network that counts as one client: an IPv4 address, or an IPv6 /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// Parses an address, with or without a port.
fn parse(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok();
    address.or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The client as seen by one who trusts `10.0.0.0/8` and `fd00::/8`.
    fn seen(peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        client(ip(peer), &headers, &"10.0.0.0/8,fd00::/8".parse().unwrap()).to_string()
    }

    #[test]
    fn from_a_stranger_the_header_is_ignored() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(seen("2001:db8::1", &["10.0.0.1"]), "2001:db8::1");
    }

    #[test]
    fn from_a_proxy_it_is_the_last_that_is_no_proxy() {
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["192.0.2.1", "10.0.0.3,10.0.0.2"]), "192.0.2.1");
        assert_eq!(seen("fd00::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(seen("::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn what_the_client_wrote_itself_does_not_count() {
        assert_eq!(seen("10.0.0.1", &["127.0.0.1, 192.0.2.1"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["10.9.9.9", "192.0.2.1, 10.0.0.2"]), "192.0.2.1");
    }

    #[test]
    fn a_client_among_the_proxies_is_the_first() {
        assert_eq!(seen("10.0.0.1", &["10.0.0.4, 10.0.0.2"]), "10.0.0.4");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_eq!(seen("10.0.0.1", &["192.0.2.1, unknown, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(seen("10.0.0.1", &["192.0.2.1,"]), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &[""]), "10.0.0.1");
    }

    #[test]
    fn ports_and_brackets_are_left_off() {
        assert_eq!(seen("10.0.0.1", &["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(seen("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(seen("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn an_ipv6_client_is_its_64() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_eq!(network(ip("192.0.2.1")), ip("192.0.2.1"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(line in "[0-9a-f:.,\\[\\] x]{0,40}") {
            seen("10.0.0.1", &[&line]);
        }
    }
}
