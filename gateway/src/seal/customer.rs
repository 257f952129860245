//! A customer's key: used for one request and forgotten.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::object::ChecksumAlgorithm;
use holdfast_wire::sealed::{Salt, Seal, SealedBy};
use holdfast_wire::seam::Random;
use zeroize::Zeroizing;

use super::key::{KEY_LEN, ObjectKey, Unsealable, WrappingKey};

/// Why a customer's key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCustomerKey {
    /// Another algorithm.
    #[error("The encryption request you specified is not valid. Supported value: AES256.")]
    Algorithm,
    /// A key without an algorithm, or the other way round.
    #[error(
        "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key and a valid encryption algorithm."
    )]
    Incomplete,
    /// Not 32 bytes in base64.
    #[error("The secret key was invalid for the specified algorithm.")]
    Key,
    /// No MD5 of the key.
    #[error(
        "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key."
    )]
    NoMd5,
    /// Another MD5.
    #[error("The calculated MD5 hash of the key did not match the hash that was provided.")]
    Md5,
}

/// A customer's key.
pub struct CustomerKey {
    key: WrappingKey,
    /// MD5 of the key in base64, as the client sent it and gets it back.
    pub md5: String,
}

impl CustomerKey {
    /// From the three headers; `None` if there is none of them.
    pub fn of_headers(
        algorithm: Option<&str>,
        key: Option<&str>,
        md5: Option<&str>,
    ) -> Result<Option<Self>, BadCustomerKey> {
        let (algorithm, key) = match (algorithm, key) {
            (None, None) if md5.is_none() => return Ok(None),
            (Some(algorithm), _) if algorithm != "AES256" => return Err(BadCustomerKey::Algorithm),
            (Some(algorithm), Some(key)) => (algorithm, key),
            _ => return Err(BadCustomerKey::Incomplete),
        };
        debug_assert_eq!(algorithm, "AES256");
        let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| BadCustomerKey::Key)?);
        let bytes = Zeroizing::new(<[u8; KEY_LEN]>::try_from(&bytes[..]).map_err(|_| BadCustomerKey::Key)?);
        let md5 = md5.ok_or(BadCustomerKey::NoMd5)?;
        let computed = STANDARD.encode(crate::checksum::of(ChecksumAlgorithm::Md5, &bytes[..]));
        if computed != md5 {
            return Err(BadCustomerKey::Md5);
        }
        Ok(Some(Self { key: WrappingKey::new(&bytes), md5: computed }))
    }

    /// An object's key, wrapped with this one.
    pub fn seal(&self, key: &ObjectKey, salt: Salt, random: &dyn Random) -> Seal {
        Seal { by: SealedBy::Customer, wrapped: key.wrap(&self.key, random), salt }
    }

    /// The object's key, if this is the key that it is wrapped with.
    pub fn open(&self, seal: &Seal) -> Result<ObjectKey, Unsealable> {
        ObjectKey::unwrap(&seal.wrapped, &self.key)
    }
}
