//! Everything that a process does with TLS, and the watch over its files: whoever rotates them (cert-manager, OpenShift,
//! `holdfast certs`, a person) tells nobody. A pair that cannot be used, or not yet (a key is replaced a moment after
//! its certificate), leaves the old one in place.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use holdfast_replica::file;
use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::SingleCertAndKey;
use tokio::time::sleep;
use xxhash_rust::xxh3::Xxh3;

use super::accept::Acceptor;
use super::dial::{Dialer, client_config};
use super::trust::{PeerVerifier, authorities};
use super::{Material, Pair, PeerTls, Port, Sources, TlsConfig, TlsError, server_builder};

/// Between looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);

const S3_ALPN: &[&str] = &["h2", "http/1.1"];
const HTTP1_ALPN: &[&str] = &["http/1.1"];

/// TLS of one process.
pub struct Tls {
    sources: Sources,
    server: Option<Server>,
    peers: Option<Peers>,
}

struct Server {
    pair: Pair,
    /// HTTP/2 and HTTP/1.1.
    s3: Arc<Acceptor>,
    /// HTTP/1.1 alone: all that the admin API and the ops listener speak.
    http1: Arc<Acceptor>,
    tickets: Arc<dyn ProducesTickets>,
    not_after: AtomicI64,
}

struct Peers {
    tls: PeerTls,
    acceptor: Arc<Acceptor>,
    dialer: Arc<Dialer>,
    not_after: AtomicI64,
}

/// Until when a certificate in use is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// `server` or `peers`.
    pub purpose: &'static str,
    /// Unix time, seconds.
    pub not_after: i64,
}

impl Tls {
    /// Loads what `config` names.
    pub fn load(config: &TlsConfig, sources: Sources) -> Result<Tls, TlsError> {
        let server = config.server.as_ref().map(|pair| {
            let tickets = Ticketer::new().map_err(|_| TlsError::BadKey(pair.key.clone()))?;
            let material = Material::load(&sources, pair)?;
            let acceptor =
                |alpn| Arc::new(Acceptor::new("clients", false, server_config(&sources, &material, &tickets, alpn)));
            let (s3, http1) = (acceptor(S3_ALPN), acceptor(HTTP1_ALPN));
            let not_after = AtomicI64::new(material.not_after);
            Ok(Server { pair: pair.clone(), s3, http1, tickets, not_after })
        });
        let peers = config.peers.as_ref().map(|tls| {
            let (material, roots) = (Material::load(&sources, &tls.pair)?, authorities(&sources, &tls.ca)?);
            let acceptor = Acceptor::new("peers", true, peer_config(&sources, tls, &material)?);
            let dialer = Dialer::new(&sources.clock, roots, Some(&material));
            let not_after = AtomicI64::new(material.not_after);
            Ok(Peers { tls: tls.clone(), acceptor: Arc::new(acceptor), dialer: Arc::new(dialer), not_after })
        });
        Ok(Tls { server: server.transpose()?, peers: peers.transpose()?, sources })
    }

    /// For one of the listeners of clients.
    pub fn server(&self, port: Port) -> Option<Arc<Acceptor>> {
        let server = self.server.as_ref()?;
        Some(if port == Port::S3 { &server.s3 } else { &server.http1 }.clone())
    }

    /// For the peer port.
    pub fn peers(&self) -> Option<Arc<Acceptor>> {
        self.peers.as_ref().map(|peers| peers.acceptor.clone())
    }

    /// For connections to peers.
    pub fn dialer(&self) -> Option<Arc<Dialer>> {
        self.peers.as_ref().map(|peers| peers.dialer.clone())
    }

    /// Until when the certificates in use are valid.
    pub fn expiries(&self) -> Vec<Expiry> {
        let of = |purpose, not_after: &AtomicI64| Expiry { purpose, not_after: not_after.load(Ordering::Relaxed) };
        let server = self.server.iter().map(|server| of("server", &server.not_after));
        server.chain(self.peers.iter().map(|peers| of("peers", &peers.not_after))).collect()
    }

    /// [`expiries`](Self::expiries) for Prometheus.
    pub fn metrics(&self) -> String {
        const NAME: &str = "holdfast_certificate_expiry_timestamp_seconds";
        let mut page = String::new();
        for (at, Expiry { purpose, not_after }) in self.expiries().into_iter().enumerate() {
            if at == 0 {
                page += &format!("# HELP {NAME} Until when a certificate in use is valid.\n# TYPE {NAME} gauge\n");
            }
            page += &format!("{NAME}{{purpose=\"{purpose}\"}} {not_after}\n");
        }
        page
    }

    /// Takes over rotated files, for ever.
    pub async fn watch(&self) {
        let mut seen = (self.server_print(), self.peers_print());
        loop {
            sleep(LOOK_EVERY).await;
            let now = (self.server_print(), self.peers_print());
            if now.0 != seen.0
                && let Some(server) = &self.server
            {
                took_over("clients", server.reload(&self.sources));
            }
            if now.1 != seen.1
                && let Some(peers) = &self.peers
            {
                took_over("peers", peers.reload(&self.sources));
            }
            seen = now;
        }
    }

    fn server_print(&self) -> Option<u64> {
        self.server.as_ref().map(|Server { pair, .. }| print(&self.sources, &[&pair.cert, &pair.key]))
    }

    fn peers_print(&self) -> Option<u64> {
        self.peers.as_ref().map(|Peers { tls, .. }| print(&self.sources, &[&tls.pair.cert, &tls.pair.key, &tls.ca]))
    }
}

impl Server {
    fn reload(&self, sources: &Sources) -> Result<i64, TlsError> {
        let material = Material::load(sources, &self.pair)?;
        self.s3.replace(server_config(sources, &material, &self.tickets, S3_ALPN));
        self.http1.replace(server_config(sources, &material, &self.tickets, HTTP1_ALPN));
        self.not_after.store(material.not_after, Ordering::Relaxed);
        Ok(material.not_after)
    }
}

impl Peers {
    fn reload(&self, sources: &Sources) -> Result<i64, TlsError> {
        let (material, roots) = (Material::load(sources, &self.tls.pair)?, authorities(sources, &self.tls.ca)?);
        self.acceptor.replace(peer_config(sources, &self.tls, &material)?);
        self.dialer.replace(client_config(&sources.clock, roots, Some(&material)));
        self.not_after.store(material.not_after, Ordering::Relaxed);
        Ok(material.not_after)
    }
}

fn took_over(purpose: &'static str, result: Result<i64, TlsError>) {
    match result {
        Ok(not_after) => {
            tracing::info!(purpose, valid_until = super::date(not_after), "took over rotated certificates")
        }
        Err(error) => {
            tracing::warn!(purpose, %error, "rotated certificates cannot be used: the old ones stay in use");
        }
    }
}

fn server_config(
    sources: &Sources,
    material: &Material,
    tickets: &Arc<dyn ProducesTickets>,
    alpn: &[&str],
) -> ServerConfig {
    let resolver = Arc::new(SingleCertAndKey::from((*material.key).clone()));
    let mut config = server_builder(&sources.clock).with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config.ticketer = tickets.clone();
    config
}

fn peer_config(sources: &Sources, tls: &PeerTls, material: &Material) -> Result<ServerConfig, TlsError> {
    let verifier = PeerVerifier::new(authorities(sources, &tls.ca)?, &tls.ca)?;
    let resolver = Arc::new(SingleCertAndKey::from((*material.key).clone()));
    let builder = server_builder(&sources.clock).with_client_cert_verifier(Arc::new(verifier));
    let mut config = builder.with_cert_resolver(resolver);
    // Whoever has lost the authority's trust does not come back on an old session.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Changes when any of the files does; a file that cannot be read has a print, too.
fn print(sources: &Sources, paths: &[&std::path::PathBuf]) -> u64 {
    let mut print = Xxh3::new();
    for path in paths {
        match file::read(&*sources.files, path) {
            Ok(Some(bytes)) => {
                print.update(&(bytes.len() as u64).to_le_bytes());
                print.update(&bytes);
            }
            Ok(None) | Err(_) => print.update(&u64::MAX.to_le_bytes()),
        }
    }
    print.digest()
}
