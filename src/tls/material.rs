//! Certificates and keys as files have them, judged before anything is served with them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_replica::file;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{Pair, Sources, der, provider};

/// Why certificates cannot be used; one line each.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file without certificates.
    #[error("{}: no certificate in PEM form (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    /// A file without a key.
    #[error("{}: no private key in PEM form (PKCS #8, PKCS #1 or SEC 1, not encrypted)", .0.display())]
    NoKey(PathBuf),
    /// A key of another kind.
    #[error("{}: this kind of private key is not supported (use ECDSA P-256 or P-384, Ed25519, or RSA)", .0.display())]
    BadKey(PathBuf),
    /// Not a certificate.
    #[error("{}: a certificate in it is damaged", .0.display())]
    BadCertificate(PathBuf),
    /// Key and certificate of two pairs.
    #[error("{} is not the key of the certificate in {}", pair.key.display(), pair.cert.display())]
    Mismatch {
        /// Both files.
        pair: Pair,
    },
    /// Its time is over.
    #[error("{}: the certificate expired on {}; renew it", path.display(), der::date(*.on))]
    Expired {
        /// The file.
        path: PathBuf,
        /// When, Unix time.
        on: i64,
    },
    /// Its time has not come.
    #[error("{}: the certificate is valid from {} only; is this machine's clock right?", path.display(), der::date(*.from))]
    NotYet {
        /// The file.
        path: PathBuf,
        /// From when, Unix time.
        from: i64,
    },
}

/// A chain with its key.
#[derive(Clone, Debug)]
pub struct Material {
    /// For the TLS library.
    pub key: Arc<CertifiedKey>,
    /// Last second of the chain's validity, Unix time.
    pub not_after: i64,
}

/// The certificates of a PEM file, at least one.
pub fn certificates(sources: &Sources, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(sources, path)?;
    let certificates: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError::NoCertificate(path.to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(TlsError::BadCertificate(path.to_owned())),
    }
}

fn read(sources: &Sources, path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable { path: path.to_owned(), error };
    let bytes = file::read(&*sources.files, path).map_err(unreadable)?;
    bytes.ok_or_else(|| unreadable(crate::no_such_file()))
}

/// From when until when the first certificate of a file is valid.
pub fn facts(sources: &Sources, path: &Path) -> Result<der::Validity, TlsError> {
    let first = certificates(sources, path)?.into_iter().next();
    first.and_then(|first| der::validity(&first)).ok_or_else(|| TlsError::BadCertificate(path.to_owned()))
}

impl Material {
    /// Reads and judges a pair.
    pub fn load(sources: &Sources, pair: &Pair) -> Result<Material, TlsError> {
        let chain = certificates(sources, &pair.cert)?;
        let bytes = read(sources, &pair.key)?;
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| TlsError::NoKey(pair.key.clone()))?;
        let key = provider().key_provider.load_private_key(key).map_err(|_| TlsError::BadKey(pair.key.clone()))?;
        let mut not_after = i64::MAX;
        let now = (sources.clock.unix_millis() / 1000) as i64;
        for certificate in &chain {
            let bad = || TlsError::BadCertificate(pair.cert.clone());
            let validity = der::validity(certificate).ok_or_else(bad)?;
            if now > validity.not_after {
                return Err(TlsError::Expired { path: pair.cert.clone(), on: validity.not_after });
            }
            if now < validity.not_before {
                return Err(TlsError::NotYet { path: pair.cert.clone(), from: validity.not_before });
            }
            not_after = not_after.min(validity.not_after);
        }
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) => Ok(Material { key: Arc::new(key), not_after }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch { pair: pair.clone() }),
            Err(_) => Err(TlsError::BadCertificate(pair.cert.clone())),
        }
    }
}
