//! Whom a process believes.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::material::{TlsError, certificates};
use super::{Sources, provider};

/// The authorities of a PEM file.
pub fn authorities(sources: &Sources, path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(sources, path)? {
        roots.add(certificate).map_err(|_| TlsError::BadCertificate(path.to_owned()))?;
    }
    Ok(Arc::new(roots))
}

/// Where distributions keep the authorities that programs believe: Debian, Red Hat, and openSUSE.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// The system's authorities; `None` where it has none. Those that cannot be read are left out.
pub fn system_authorities(sources: &Sources) -> Option<Arc<RootCertStore>> {
    let found = SYSTEM.iter().find_map(|path| certificates(sources, Path::new(path)).ok())?;
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found);
    (good > 0).then(|| Arc::new(roots))
}

/// Believes peers whose certificate the authorities have signed. Authorities that issue for services (OpenShift's
/// service CA) mark their certificates for servers only; a node dials with the certificate that it serves with, so such
/// a mark is good enough: that it is a node, and of this cluster, the proof of the secret shows.
#[derive(Debug)]
pub struct PeerVerifier {
    clients: Arc<dyn ClientCertVerifier>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl PeerVerifier {
    /// Over authorities.
    pub fn new(roots: Arc<RootCertStore>, path: &Path) -> Result<Self, TlsError> {
        let provider = provider();
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|_| TlsError::NoCertificate(path.to_owned()))?;
        Ok(Self { clients, roots, provider })
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.clients.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            )) => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let algorithms = self.provider.signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
                Ok(ClientCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}
