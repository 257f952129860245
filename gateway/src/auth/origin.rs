//! Where a request comes from: the connection's other end, or what a trusted proxy says of it.

use std::net::IpAddr;

use http::HeaderMap;

use crate::policy::value::Network;

/// Where a request comes from. In every request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client speaks TLS.
    pub secure: bool,
}

impl Origin {
    /// Of a request over a connection from `peer`, over TLS or not. What the headers `X-Forwarded-For` and
    /// `X-Forwarded-Proto` say counts only if `peer` is one of the `trusted` proxies; then the last address that is not
    /// itself a trusted proxy's is the client's.
    pub fn of(peer: IpAddr, secure: bool, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let direct = Self { address: peer.to_canonical(), secure };
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
        if !is_trusted(peer) {
            return direct;
        }
        let named = |name: &'static str| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).map(str::trim).collect::<Vec<_>>()
        };
        let mut address = direct.address;
        for hop in named("x-forwarded-for").into_iter().rev() {
            // What is no address was not written by a proxy that is to be trusted.
            let Ok(hop) = hop.parse::<IpAddr>() else { break };
            address = hop.to_canonical();
            if !is_trusted(address) {
                break;
            }
        }
        let secure = match named("x-forwarded-proto").last() {
            Some(scheme) => scheme.eq_ignore_ascii_case("https"),
            None => secure,
        };
        Self { address, secure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_speak_for_others() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        let from = |peer: &str, forwarded: &str| {
            let headers = HeaderMap::from_iter([
                ("x-forwarded-for".parse().unwrap(), forwarded.parse().unwrap()),
                ("x-forwarded-proto".parse().unwrap(), "https".parse().unwrap()),
            ]);
            let origin = Origin::of(peer.parse().unwrap(), false, &headers, &trusted);
            (origin.address.to_string(), origin.secure)
        };
        assert_eq!(from("192.0.2.1", "198.51.100.1"), ("192.0.2.1".to_owned(), false));
        assert_eq!(from("10.0.0.1", "198.51.100.1"), ("198.51.100.1".to_owned(), true));
        assert_eq!(from("::ffff:10.0.0.1", "1.1.1.1, 198.51.100.1, 10.2.3.4").0, "198.51.100.1");
        assert_eq!(from("10.0.0.1", "198.51.100.1, nonsense").0, "10.0.0.1");
        assert_eq!(from("10.0.0.1", "10.0.0.2").0, "10.0.0.2");
    }
}
