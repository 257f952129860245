//! Text that must not be printed.

use std::fmt;

use sha2::{Digest, Sha256};

/// A secret. Its `Debug` form shows only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The root user's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootKey {
    /// Access key id.
    pub access: String,
    /// Secret key.
    pub secret: Secret,
}

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for those who need it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the secret. Takes time that does not depend on where the two differ: hashes are compared.
    pub fn is(&self, given: &[u8]) -> bool {
        Sha256::digest(self.0.as_bytes()) == Sha256::digest(given)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_knows_itself_and_does_not_show_itself() {
        let secret = Secret::new("open sesame");
        assert!(secret.is(b"open sesame") && !secret.is(b"open sesam") && !secret.is(b""));
        assert!(!format!("{secret:?}").contains("sesame"));
    }
}
