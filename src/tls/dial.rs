//! The connecting side.

use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_wire::seam::{Clock, Connection, Listener, Net};
use holdfast_wire::transport::Complaints;
use parking_lot::RwLock;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::explain::explain;
use super::{Material, client_builder, provider};

/// Whom this process believes when it connects, and what it shows. Replaced while it runs.
pub struct Dialer {
    current: RwLock<Arc<ClientConfig>>,
    complaints: Complaints,
}

impl Dialer {
    /// Believes `roots`, and shows `own` if asked.
    pub fn new(clock: &Arc<dyn Clock>, roots: Arc<RootCertStore>, own: Option<&Material>) -> Self {
        let current = RwLock::new(Arc::new(client_config(clock, roots, own)));
        Self { current, complaints: Complaints::default() }
    }

    /// New connections are made so from now on.
    pub fn replace(&self, config: ClientConfig) {
        *self.current.write() = Arc::new(config);
    }
}

/// A configuration that believes `roots`, and shows `own` if asked.
pub fn client_config(clock: &Arc<dyn Clock>, roots: Arc<RootCertStore>, own: Option<&Material>) -> ClientConfig {
    let builder = client_builder(clock).with_root_certificates(roots);
    let mut config = match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((*own.key).clone()))),
        None => builder.with_no_client_auth(),
    };
    // Connections are kept; a resumed one would not be judged by the present certificates.
    config.resumption = Resumption::disabled();
    config
}

/// Believes everybody: for asking this machine how it is.
pub fn unverified(clock: &Arc<dyn Clock>) -> Dialer {
    let builder = client_builder(clock).dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider())));
    let current = RwLock::new(Arc::new(builder.with_no_client_auth()));
    Dialer { current, complaints: Complaints::default() }
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A network whose connections are TLS. It listens plainly: listeners are wrapped one by one.
pub struct TlsNet {
    /// The sockets.
    pub inner: Arc<dyn Net>,
    /// How connections are made.
    pub dialer: Arc<Dialer>,
}

impl Net for TlsNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        async move {
            let name = server_name(address)?;
            let stream = self.inner.connect(address).await?;
            let connector = TlsConnector::from(self.dialer.current.read().clone());
            match connector.connect(name, stream).await {
                Ok(stream) => {
                    self.dialer.complaints.settle(address);
                    Ok(Box::new(stream) as Box<dyn Connection>)
                }
                Err(error) => {
                    let Some(reason) = explain(&error) else { return Err(error) };
                    if self.dialer.complaints.is_news(address, &reason) {
                        tracing::warn!(address, reason, "no TLS connection can be made");
                    }
                    Err(io::Error::new(error.kind(), reason))
                }
            }
        }
        .boxed()
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.inner.listen(address)
    }
}

/// The name that the certificate at `host:port` must bear.
pub fn server_name(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a host name"))
}
