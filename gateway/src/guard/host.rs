//! Virtual-host style: which bucket a host name carries. Path style always works, under any name.

use std::net::{IpAddr, SocketAddr};

use s3s::host::{S3Host, VirtualHost};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::refusal::{Cause, Refusal};

/// Why a configured domain is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Not a host name.
    #[error("{0:?} is not a host name")]
    NotAHostName(String),
    /// One domain lies within another, so that a host name would mean two things.
    #[error("the domains {0:?} and {1:?} overlap")]
    Overlap(String, String),
}

/// The domains under which `bucket.domain` names a bucket. Ports do not matter.
#[derive(Clone, Debug, Default)]
pub struct Domains(Vec<String>);

impl Domains {
    /// Checks and takes the domains; none is fine.
    pub fn new(domains: &[String]) -> Result<Self, DomainError> {
        let mut accepted: Vec<String> = Vec::new();
        for domain in domains {
            let domain = domain.to_ascii_lowercase();
            if !is_host_name(&domain) {
                return Err(DomainError::NotAHostName(domain));
            }
            if let Some(other) = accepted.iter().find(|other| within(&domain, other) || within(other, &domain)) {
                return Err(DomainError::Overlap(other.clone(), domain));
            }
            accepted.push(domain);
        }
        Ok(Self(accepted))
    }

    /// The bucket that `host` (perhaps with a port) carries; an error when `host` is no host name.
    pub fn bucket<'a>(&self, host: &'a str) -> Result<Option<&'a str>, Refusal> {
        let name = without_port(host);
        if is_address(host) || is_address(name) {
            return Ok(None);
        }
        for domain in &self.0 {
            if let Some(bucket) = prefix_of(name, domain) {
                return Ok(Some(bucket).filter(|bucket| !bucket.is_empty()));
            }
        }
        if is_host_name(name) {
            return Ok(None);
        }
        Err(Refusal::invalid_request("Invalid host header", Cause::Head))
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        match self.bucket(host) {
            Ok(Some(bucket)) => Ok(VirtualHost::new(host).with_bucket(bucket)),
            Ok(None) => Ok(VirtualHost::new(host)),
            Err(refusal) => Err(S3Error::with_message(S3ErrorCode::InvalidRequest, refusal.message)),
        }
    }
}

/// What stands before `.domain` in `name` (any case), empty when `name` is the domain.
fn prefix_of<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    let split = name.len().checked_sub(domain.len())?;
    let (front, back) = (name.get(..split)?, name.get(split..)?);
    if !back.eq_ignore_ascii_case(domain) {
        return None;
    }
    if front.is_empty() { Some(front) } else { front.strip_suffix('.') }
}

fn within(inner: &str, outer: &str) -> bool {
    prefix_of(inner, outer).is_some()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') && port.parse::<u16>().is_ok() => name,
        _ => host,
    }
}

fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<SocketAddr>().is_ok() || bare.parse::<IpAddr>().is_ok()
}

/// Labels of letters, digits, `-` and `_` (container names have them), none empty but a last one (`name.`).
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.split('.').all(|label| !label.is_empty() && label.bytes().all(legal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(names: &[&str]) -> Result<Domains, DomainError> {
        Domains::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_bucket_stands_before_a_domain() {
        let domains = domains(&["s3.example.com", "localhost"]).unwrap();
        for (host, expected) in [
            ("s3.example.com", None),
            ("photos.s3.example.com", Some("photos")),
            ("a.b.S3.Example.Com:9000", Some("a.b")),
            ("photos.localhost:80", Some("photos")),
            ("other.org", None),
            ("xs3.example.com", None),
            ("holdfast_gateway:9000", None),
            ("127.0.0.1", None),
            ("127.0.0.1:9000", None),
            ("[::1]:9000", None),
            ("[::1]", None),
        ] {
            assert_eq!(domains.bucket(host).unwrap(), expected, "{host}");
        }
        for host in ["", "a b", "..", "a..b", "exa/mple", "a:b:c"] {
            assert!(domains.bucket(host).is_err(), "{host:?}");
        }
    }

    #[test]
    fn domains_must_be_names_and_lie_apart() {
        assert!(matches!(domains(&["a b"]), Err(DomainError::NotAHostName(_))));
        assert!(matches!(domains(&["example.com", "s3.example.com"]), Err(DomainError::Overlap(..))));
        assert!(domains(&["example.com", "s3-example.com"]).is_ok());
        assert!(domains(&[]).is_ok());
    }
}
