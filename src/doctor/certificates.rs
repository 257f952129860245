//! Certificates and keys that the configuration names: whole, fitting, in time, and good for those who will look at them.

use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;

use super::{Check, Verdict, check};
use crate::config::Config;
use crate::tls::{self, Material, Pair, PeerTls, Sources};

/// A certificate that ends within so many days should be renewed.
const DAYS_LEFT: i64 = 30;
const DAY: i64 = 86_400;
const WHAT: &str = "certs";

/// Looks at the pairs for clients and for peers, and at whom peers are believed by.
pub fn examine(config: &Config, sources: &Sources) -> Vec<Check> {
    let mut found = Vec::new();
    if let Some(pair) = &config.tls.server {
        let (verdict, material) = pair_check(pair, "clients", sources);
        found.push(verdict);
        if let Some(material) = material {
            found.extend(domains(config, pair, &material));
        }
    }
    if let Some(PeerTls { pair, ca }) = &config.tls.peers {
        let (verdict, material) = pair_check(pair, "peers", sources);
        found.push(verdict);
        match (tls::authorities(sources, ca), material) {
            (Err(error), _) => found.push(check(WHAT, Verdict::Fail, error.to_string())),
            (Ok(_), None) => {}
            (Ok(roots), Some(material)) => found.push(believed(config, pair, &roots, &material, sources)),
        }
    }
    found
}

fn pair_check(pair: &Pair, whom: &str, sources: &Sources) -> (Check, Option<Material>) {
    match Material::load(sources, pair) {
        Err(error) => (check(WHAT, Verdict::Fail, error.to_string()), None),
        Ok(material) => {
            let days = (material.not_after - (sources.clock.unix_millis() / 1000) as i64) / DAY;
            let text = format!("{}: for {whom}, valid for {days} days", pair.cert.display());
            let checked = match days < DAYS_LEFT {
                true => check(WHAT, Verdict::Warn, format!("{text}: renew it; it is taken over while running")),
                false => check(WHAT, Verdict::Ok, text),
            };
            (checked, Some(material))
        }
    }
}

/// Whether peers will take it: signed by the authority they know, for the name they dial.
fn believed(config: &Config, pair: &Pair, roots: &RootCertStore, material: &Material, sources: &Sources) -> Check {
    let shown = pair.cert.display();
    let address = if config.role.has_replica() { config.peer_address.as_str() } else { "" };
    // Nobody dials a gateway: there the chain alone counts, and any name that the certificate has.
    let name = match address {
        "" => None,
        address => match tls::server_name(address) {
            Ok(name) => Some(name),
            Err(_) => return check(WHAT, Verdict::Fail, format!("{address}: not an address that TLS can check")),
        },
    };
    let now = UnixTime::since_unix_epoch(Duration::from_millis(sources.clock.unix_millis()));
    match verify(&material.key.cert, roots, name.as_ref(), now) {
        Ok(()) if name.is_none() => check(WHAT, Verdict::Ok, format!("{shown}: signed by the peers' authority")),
        Ok(()) => check(WHAT, Verdict::Ok, format!("{shown}: signed by the peers' authority, for {address}")),
        Err(why) => check(WHAT, Verdict::Fail, format!("{shown}: peers will refuse it: {why}")),
    }
}

fn verify(
    chain: &[CertificateDer<'_>],
    roots: &RootCertStore,
    name: Option<&ServerName<'_>>,
    now: UnixTime,
) -> Result<(), String> {
    let (own, rest) = chain.split_first().ok_or("there is no certificate")?;
    let wrong = |error: rustls::Error| match &error {
        rustls::Error::InvalidCertificate(why) => tls::certificate(why),
        other => other.to_string(),
    };
    let parsed = ParsedCertificate::try_from(own).map_err(wrong)?;
    let algorithms = tls::provider().signature_verification_algorithms.all;
    rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, roots, rest, now, algorithms).map_err(wrong)?;
    name.map_or(Ok(()), |name| verify_server_name(&parsed, name).map_err(wrong))
}

/// Names of buckets stand before these domains: the certificate must be for all of them.
fn domains(config: &Config, pair: &Pair, material: &Material) -> Vec<Check> {
    let Some(Ok(parsed)) = material.key.cert.first().map(ParsedCertificate::try_from) else { return Vec::new() };
    let missing = config.s3_domains.iter().filter(|domain| {
        let host = format!("a-bucket.{domain}");
        ServerName::try_from(host.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_err())
    });
    missing
        .map(|domain| {
            let text = format!("{}: not for *.{domain}, under which clients name buckets", pair.cert.display());
            check(WHAT, Verdict::Warn, text)
        })
        .collect()
}
