//! Whom a browser takes this machine for.

use std::net::IpAddr;

use warp::http::HeaderValue;

/// Whether a request was made to a name that only ever leads to the machine it is made on. Any other
/// comes through a proxy, for which everyone is local, or from a page elsewhere whose own name was made
/// to lead here.
pub(super) fn is_this_machine(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host else { return true }; // no browser
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        let is = |host| is_this_machine(Some(&HeaderValue::from_static(host)));
        for host in ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:80"]
        {
            assert!(is(host), "{host}");
        }
        for host in ["", "example.io", "localhost.example.io:80", "10.0.0.1", "[::2]:80", "0.0.0.0"]
        {
            assert!(!is(host), "{host}");
        }
        assert!(is_this_machine(None));
    }
}
