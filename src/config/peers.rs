//! Addresses and lists of peers, parsed once.

use std::net::IpAddr;

/// A node as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// `host:port`
    pub address: String,
}

/// Why a text is no list of peers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPeers {
    /// An entry without `=`.
    #[error("expected NAME=HOST:PORT,… but found {0:?}")]
    Entry(String),
    /// An entry with a bad name.
    #[error("{0:?} is no node name (1 to 63 letters, digits, '-', '_' and '.')")]
    Name(String),
    /// An entry with a bad address.
    #[error("{0:?} is no address (HOST:PORT)")]
    Address(String),
    /// A name or an address that stands twice.
    #[error("{0:?} stands twice")]
    Twice(String),
}

/// `name=host:port,…`
pub fn parse(text: &str) -> Result<Vec<Peer>, BadPeers> {
    let mut peers: Vec<Peer> = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, address) = entry.split_once('=').ok_or_else(|| BadPeers::Entry(entry.to_owned()))?;
        let (name, address) = (name.trim(), address.trim());
        if !is_name(name) {
            return Err(BadPeers::Name(name.to_owned()));
        }
        if !is_address(address) {
            return Err(BadPeers::Address(address.to_owned()));
        }
        for taken in &peers {
            if taken.name == name {
                return Err(BadPeers::Twice(name.to_owned()));
            }
            if taken.address == address {
                return Err(BadPeers::Twice(address.to_owned()));
            }
        }
        peers.push(Peer { name: name.to_owned(), address: address.to_owned() });
    }
    Ok(peers)
}

/// Whether a text can be a node's name.
pub fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether a text is `host:port`.
pub fn is_address(text: &str) -> bool {
    split(text).is_some_and(|(host, _)| !host.is_empty())
}

/// The port of `host:port`.
pub fn port(address: &str) -> Option<u16> {
    split(address).map(|(_, port)| port)
}

/// Whether only this machine can reach the address.
pub fn is_loopback(address: &str) -> bool {
    let Some((host, _)) = split(address) else { return false };
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn split(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|inner| inner.contains(':'))?,
        None if host.contains(':') => return None,
        None => host,
    };
    let sound = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'%'));
    // No signs, as `u16::parse` would allow.
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    (sound && digits).then(|| Some((host, port.parse().ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_peers_is_names_and_addresses() {
        let peers = parse("n1=10.0.0.1:9003, holdfast-1=holdfast-1.holdfast.svc:9003,n3=[::1]:9003,").unwrap();
        assert_eq!(peers.len(), 3);
        assert_eq!(
            peers[1],
            Peer { name: "holdfast-1".to_owned(), address: "holdfast-1.holdfast.svc:9003".to_owned() }
        );
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn bad_peers_are_refused_with_the_part_that_is_bad() {
        for (text, error) in [
            ("n1", BadPeers::Entry("n1".to_owned())),
            ("=h:1", BadPeers::Name(String::new())),
            ("a b=h:1", BadPeers::Name("a b".to_owned())),
            ("n1=h", BadPeers::Address("h".to_owned())),
            ("n1=:1", BadPeers::Address(":1".to_owned())),
            ("n1=h:99999", BadPeers::Address("h:99999".to_owned())),
            ("n1=h:+1", BadPeers::Address("h:+1".to_owned())),
            ("n1=::1:9003", BadPeers::Address("::1:9003".to_owned())),
            ("n1=http://h:1", BadPeers::Address("http://h:1".to_owned())),
            ("n1=h:1,n1=h:2", BadPeers::Twice("n1".to_owned())),
            ("n1=h:1,n2=h:1", BadPeers::Twice("h:1".to_owned())),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn loopback_is_told_from_what_others_can_reach() {
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "localhost.example.com:1", "n1:1", "nonsense"] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
