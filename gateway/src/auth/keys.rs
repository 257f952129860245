//! Secrets, and the root key.

use std::fmt;

use s3s::auth::SecretKey;

/// A secret: never printed, wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(SecretKey);

impl Secret {
    /// Takes a secret.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(SecretKey::from(text.into()))
    }

    /// The secret as the signature check takes it.
    pub fn key(&self) -> SecretKey {
        self.0.clone()
    }

    /// The secret itself, for whoever must compute with it or store it.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a key is refused at start-up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The access key cannot stand in a credential scope.
    #[error(
        "the root access key must have 3 to 128 characters, none of them a space, a comma, an equals sign or a slash"
    )]
    AccessKey,
    /// The secret is too short to resist guessing.
    #[error("the root secret key must have at least 8 characters")]
    SecretKey,
}

/// The key that may do everything.
#[derive(Clone, Debug)]
pub struct RootKey {
    access_key: String,
    secret_key: Secret,
}

impl RootKey {
    /// Checks and takes a key pair.
    pub fn new(access_key: impl Into<String>, secret_key: Secret) -> Result<Self, KeyError> {
        let access_key = access_key.into();
        let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'=' | b'/' | b';');
        if !(3..=128).contains(&access_key.len()) || !access_key.bytes().all(legal) {
            return Err(KeyError::AccessKey);
        }
        if secret_key.expose().len() < 8 {
            return Err(KeyError::SecretKey);
        }
        Ok(Self { access_key, secret_key })
    }

    /// The public half.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The secret half.
    pub fn secret_key(&self) -> &Secret {
        &self.secret_key
    }

    /// Whether `access_key` is this one, in a time that depends on its length alone.
    pub fn is(&self, access_key: &str) -> bool {
        same(self.access_key.as_bytes(), access_key.as_bytes())
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |sum, (a, b)| sum | std::hint::black_box(a ^ b));
    one.len() == other.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let key = RootKey::new("AKIAHOLDFAST", Secret::new("very-secret-words")).unwrap();
        assert!(!format!("{key:?}").contains("very"));
        assert_eq!(key.secret_key().expose(), "very-secret-words");
    }

    #[test]
    fn unusable_keys_are_refused() {
        for access_key in ["", "ab", "a b c", "a/b/c", "a,b=c", "schlüssel"] {
            assert_eq!(RootKey::new(access_key, Secret::new("12345678")).unwrap_err(), KeyError::AccessKey);
        }
        assert_eq!(RootKey::new("access", Secret::new("1234567")).unwrap_err(), KeyError::SecretKey);
    }
}
