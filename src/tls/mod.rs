//! TLS for every port: what a listener presents, what nodes demand of one another, and files that are rotated while
//! the process runs. The other crates see plain [`Connection`](holdfast_wire::seam::Connection)s.
//!
//! ```text
//! tls-cert, tls-key              S3, admin and ops listeners; `tls-plain` names those that stay plain
//! peer-cert, peer-key, peer-ca   between nodes and from gateways to nodes: both sides show a certificate of the CA.
//!                                The proof of the cluster's secret goes on inside.
//! ```
//! TLS 1.2 and 1.3 only. Certificates are judged by the clock seam; randomness is the crypto library's own.

mod accept;
mod der;
mod dial;
mod explain;
mod material;
mod reload;
mod trust;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_replica::file::Files;
use holdfast_wire::seam::Clock;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, SupportedProtocolVersion, WantsVerifier};

pub use accept::{Acceptor, TlsListener};
pub use der::date;
pub use dial::{Dialer, TlsNet, server_name, unverified};
pub use explain::certificate;
pub use material::{Material, TlsError, certificates, facts};
pub use reload::Tls;
pub use trust::{authorities, system_authorities};

const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chain, the listener's own certificate first.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// What nodes show each other, and whom they believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    /// This process's certificate.
    pub pair: Pair,
    /// The authorities.
    pub ca: PathBuf,
}

/// Listeners that clients and people use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// S3.
    S3,
    /// The admin API.
    Admin,
    /// Metrics and health.
    Ops,
}

impl Port {
    /// Every port, as `tls-plain` names it.
    pub const ALL: [(&'static str, Port); 3] = [("s3", Port::S3), ("admin", Port::Admin), ("ops", Port::Ops)];
}

/// What a process is told about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// For S3, admin and ops.
    pub server: Option<Pair>,
    /// Listeners that stay plain although there is a certificate.
    pub plain: Vec<Port>,
    /// Between nodes.
    pub peers: Option<PeerTls>,
}

impl TlsConfig {
    /// Whether this listener speaks TLS.
    pub fn covers(&self, port: Port) -> bool {
        self.server.is_some() && !self.plain.contains(&port)
    }
}

/// What does the arithmetic.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The clock seam as the TLS library asks for it.
struct SeamTime(Arc<dyn Clock>);

impl fmt::Debug for SeamTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeamTime")
    }
}

impl TimeProvider for SeamTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.unix_millis())))
    }
}

fn server_builder(clock: &Arc<dyn Clock>) -> ConfigBuilder<ServerConfig, WantsVerifier> {
    ServerConfig::builder_with_details(provider(), Arc::new(SeamTime(clock.clone())))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has suites for both versions")
}

fn client_builder(clock: &Arc<dyn Clock>) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_details(provider(), Arc::new(SeamTime(clock.clone())))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has suites for both versions")
}

/// What everything here reads and judges by.
#[derive(Clone)]
pub struct Sources {
    /// Where certificates are.
    pub files: Arc<dyn Files>,
    /// When it is.
    pub clock: Arc<dyn Clock>,
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it rotates real files")]
mod tests;
