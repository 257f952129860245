//! Secrets at rest and in tokens: AES-256-GCM under keys derived from the cluster's secret.
//!
//! ```text
//! sealed   01 | nonce 12 | ciphertext | tag 16
//! ```
//! The context (an access key's public half, for example) is authenticated with it: what was sealed for one thing does not
//! open as another. Nonces are random: good for some four thousand million seals under one key (NIST SP 800-38D, 8.3).

use aes_gcm::aead::{Aead, KeyInit, Nonce, Payload};
use aes_gcm::{Aes256Gcm, Key};

use crate::handshake::ClusterSecret;
use crate::seam::Random;

const VERSION: u8 = 1;
const NONCE: usize = 12;

/// A key for one purpose.
#[derive(Clone)]
pub struct Seal {
    cipher: Aes256Gcm,
}

/// Not sealed with this key and context, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not sealed under this cluster's secret")]
pub struct NotSealed;

impl Seal {
    /// The key for `purpose`, derived from the cluster's secret.
    pub fn new(secret: &ClusterSecret, purpose: &str) -> Self {
        Self { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(secret.derive(purpose))) }
    }

    /// Seals `plain` for `context`.
    pub fn seal(&self, random: &dyn Random, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        random.fill(&mut nonce);
        let payload = Payload { msg: plain, aad: context };
        let sealed = self.cipher.encrypt(&Nonce::<Aes256Gcm>::from(nonce), payload);
        let sealed = sealed.expect("AES-GCM takes messages of up to 64 GiB");
        [&[VERSION], &nonce[..], &sealed].concat()
    }

    /// Opens what was sealed for `context`.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotSealed> {
        let (version, rest) = sealed.split_first().ok_or(NotSealed)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(NotSealed)?;
        if *version != VERSION {
            return Err(NotSealed);
        }
        let payload = Payload { msg: sealed, aad: context };
        self.cipher.decrypt(&Nonce::<Aes256Gcm>::from(*nonce), payload).map_err(|_| NotSealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::OsRandom;

    #[test]
    fn only_the_same_secret_purpose_and_context_open_it() {
        let seal = |secret: &str, purpose| Seal::new(&ClusterSecret::new(secret), purpose);
        let ours = seal("secret", "keys");
        let sealed = ours.seal(&OsRandom, b"AK", b"plain");
        assert_eq!(ours.open(b"AK", &sealed).unwrap(), b"plain");
        assert_ne!(sealed, ours.seal(&OsRandom, b"AK", b"plain"), "nonces differ");
        assert!(!sealed.windows(5).any(|part| part == b"plain"));
        assert_eq!(ours.open(b"BK", &sealed), Err(NotSealed));
        assert_eq!(seal("other", "keys").open(b"AK", &sealed), Err(NotSealed));
        assert_eq!(seal("secret", "tokens").open(b"AK", &sealed), Err(NotSealed));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(ours.open(b"AK", &damaged), Err(NotSealed), "{at}");
        }
        for len in 0..sealed.len() {
            assert_eq!(ours.open(b"AK", &sealed[..len]), Err(NotSealed), "{len}");
        }
    }
}
