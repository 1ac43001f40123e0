//! Trusted proxies.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

/// The trusted proxies: addresses and networks.
///
/// ```
/// use broker::config::Proxies;
/// let proxies: Proxies = "10.0.0.0/8, 192.0.2.7".parse()?;
/// assert!(proxies.contain("10.1.2.3".parse().unwrap()));
/// assert!(!proxies.contain("192.0.2.8".parse().unwrap()));
/// assert_eq!(proxies.to_string(), "10.0.0.0/8,192.0.2.7/32");
/// # Ok::<(), broker::config::BadProxy>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

/// An invalid entry in a list of proxies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is neither an address nor a network: write them like 10.0.0.0/8,192.0.2.7, with commas \
     between them"
)]
pub struct BadProxy(String);

impl Proxies {
    /// Whether an address is a trusted proxy's.
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Proxies {
    type Err = BadProxy;

    fn from_str(text: &str) -> Result<Self, BadProxy> {
        let network = |text: &str| {
            let text = text.trim();
            let network = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            network.or_else(|_| text.parse()).map_err(|_| BadProxy(text.to_owned()))
        };
        text.split(',').map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&networks.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contain(proxies: &str, address: &str) -> bool {
        proxies.parse::<Proxies>().unwrap().contain(address.parse().unwrap())
    }

    #[test]
    fn addresses_and_networks_of_both_kinds() {
        assert!(contain("127.0.0.1", "127.0.0.1"));
        assert!(!contain("127.0.0.1", "127.0.0.2"));
        assert!(contain("::1,10.0.0.0/8", "10.255.0.1"));
        assert!(contain("::1,10.0.0.0/8", "::1"));
        assert!(contain("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!contain("2001:db8::/32", "2001:db9::1"));
        assert!(!contain("0.0.0.0/0", "::1"));
    }

    #[test]
    fn an_ipv4_address_in_ipv6_is_that_address() {
        assert!(contain("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(contain("::ffff:192.0.2.7", "192.0.2.7"));
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for text in
            ["", "10.0.0.0/33", "10.0.0", "proxy.local", "10.0.0.1,,10.0.0.2", "10.0.0.1 ::1"]
        {
            assert!(text.parse::<Proxies>().is_err(), "{text}");
        }
        let error = "10.0.0.1, nonsense".parse::<Proxies>().unwrap_err();
        assert!(error.to_string().starts_with("`nonsense` is neither"));
    }

    #[test]
    fn nobody_is_trusted_unless_named() {
        assert!(!Proxies::default().contain("127.0.0.1".parse().unwrap()));
    }
}
