//! A handshake's parameters: the query in the first line, and subprotocol headers in the others.

use std::time::Duration;

use broker::protocol::action_cable::{SUBPROTOCOLS, choose_subprotocol, token_in_subprotocols};
use broker::protocol::query::parameter;
use broker::protocol::{PingParameters, PingPrecision};

/// The name of the parameter with the token.
const PARAMETER: &str = "jid";

pub fn run(data: &[u8]) {
    let Some(text) = super::text(data) else { return };
    let (query, headers) = text.split_once('\n').unwrap_or((text, ""));
    check_ping(query);
    check_token(query);
    let headers: Vec<&str> = headers.lines().collect();
    check_subprotocols(&headers);
}

fn check_ping(query: &str) {
    let default = PingParameters {
        ping_interval: Duration::from_secs(3),
        ping_precision: PingPrecision::Seconds,
    };
    let asked = default.with_query(query);
    assert!(asked.ping_interval <= Duration::from_secs(3600));
    assert_eq!(asked.with_query(query), asked);
    assert!(query.contains("pi=") || asked.ping_interval == default.ping_interval);
    assert!(query.contains("ptp=") || asked.ping_precision == default.ping_precision);
}

fn check_token(query: &str) {
    if let Some(token) = parameter(query, PARAMETER) {
        assert!(!token.is_empty());
        assert!(query.contains('%') || query.contains(&*token));
    }
    // whatever a token is, it can be said
    let escaped: Vec<String> = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let saying = format!("pi=1&{PARAMETER}={}&x={query}", escaped.concat());
    let said = parameter(&saying, PARAMETER);
    assert_eq!(said.as_deref(), Some(query).filter(|token| !token.is_empty()));
}

/// A list is the same in one header and in several.
fn check_subprotocols(headers: &[&str]) {
    let joined = headers.join(",");
    let offered = || joined.split(',').map(str::trim);
    let is_token = |name: &str| name.starts_with("anycable-token.");
    if !headers.is_empty() {
        assert_eq!(choose_subprotocol([joined.as_str()]), choose_subprotocol(headers.to_vec()));
    }
    match choose_subprotocol(headers.to_vec()) {
        Ok(Some(chosen)) => {
            assert!(SUBPROTOCOLS.contains(&chosen));
            assert!(offered().any(|name| name == chosen));
        }
        Ok(None) => assert!(headers.is_empty() || offered().all(is_token)),
        Err(_) => assert!(offered().all(|name| !SUBPROTOCOLS.contains(&name))),
    }
    let token = token_in_subprotocols(headers.to_vec());
    assert_eq!(token_in_subprotocols([joined.as_str()]), token);
    if let Some(token) = token {
        assert!(offered().any(|name| name.strip_prefix("anycable-token.") == Some(token)));
        assert!(!token.is_empty());
    }
}
