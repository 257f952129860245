//! Server-side encryption: what requests ask for, what buckets ask for, and the keys that follow from it.
//!
//! SSE-S3 wraps an object's key with the cluster's key ring, SSE-C with the key that the request brings. SSE-KMS is
//! refused: nothing here asks a key management service.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Document;
use holdfast_wire::object::Object;
use holdfast_wire::sealed::{Salt, Seal, SealedBy};
use http::{Extensions, StatusCode};
use s3s::dto::{ServerSideEncryption, ServerSideEncryptionConfiguration};
use s3s::{S3Error, S3Result, s3_error};

use super::S3Service;
use super::request::not_implemented;
use crate::auth::Origin;
use crate::error::custom;
use crate::seal::{BadCustomerKey, CustomerKey, ObjectKey, SegmentKey, Unsealable};

/// The name of the only algorithm.
const AES256: &str = "AES256";

/// The headers about a new object's encryption.
pub struct Headers<'a> {
    pub method: Option<&'a str>,
    pub kms: bool,
    pub algorithm: Option<&'a str>,
    pub key: Option<&'a str>,
    pub md5: Option<&'a str>,
}

/// Takes [`Headers`] out of an input of PutObject, CopyObject or CreateMultipartUpload.
macro_rules! new_object {
    ($input:expr) => {
        $crate::s3::encryption::Headers {
            method: $input.server_side_encryption.as_ref().map(s3s::dto::ServerSideEncryption::as_str),
            kms: $input.ssekms_key_id.is_some() || $input.ssekms_encryption_context.is_some(),
            algorithm: $input.sse_customer_algorithm.as_deref(),
            key: $input.sse_customer_key.as_deref(),
            md5: $input.sse_customer_key_md5.as_deref(),
        }
    };
}

/// The customer's key that an input carries.
macro_rules! customer {
    ($s3:expr, $req:expr) => {
        $s3.customer(
            [
                $req.input.sse_customer_algorithm.as_deref(),
                $req.input.sse_customer_key.as_deref(),
                $req.input.sse_customer_key_md5.as_deref(),
            ],
            &$req.extensions,
        )
    };
}

/// The customer's key that an input carries for the source of a copy.
macro_rules! source_customer {
    ($s3:expr, $req:expr) => {
        $s3.customer(
            [
                $req.input.copy_source_sse_customer_algorithm.as_deref(),
                $req.input.copy_source_sse_customer_key.as_deref(),
                $req.input.copy_source_sse_customer_key_md5.as_deref(),
            ],
            &$req.extensions,
        )
    };
}

/// Says in an output how the object is encrypted.
macro_rules! tell {
    ($output:expr, $seal:expr, $customer:expr) => {
        match ($seal.map(|seal| &seal.by), $customer) {
            (Some(holdfast_wire::sealed::SealedBy::Ring(_)), _) => {
                $output.server_side_encryption = Some($crate::s3::encryption::aes256());
            }
            (Some(holdfast_wire::sealed::SealedBy::Customer), Some(customer)) => {
                let customer: &$crate::seal::CustomerKey = customer;
                $output.sse_customer_algorithm = Some($crate::s3::encryption::aes256().as_str().to_owned());
                $output.sse_customer_key_md5 = Some(customer.md5.clone());
            }
            (Some(holdfast_wire::sealed::SealedBy::Customer), None) | (None, _) => {}
        }
    };
}

pub(super) use {customer, new_object, source_customer, tell};

/// The method that answers name.
pub fn aes256() -> ServerSideEncryption {
    ServerSideEncryption::from_static(AES256)
}

/// What a request asks of a new object.
pub enum Wanted {
    /// Nothing: as the bucket says.
    AsBucketSays,
    /// SSE-S3.
    Cluster,
    /// SSE-C.
    Customer(Box<CustomerKey>),
}

impl Wanted {
    /// The customer's key.
    pub fn customer(&self) -> Option<&CustomerKey> {
        match self {
            Self::Customer(key) => Some(key),
            Self::AsBucketSays | Self::Cluster => None,
        }
    }

    /// Whether the request itself says how.
    pub fn is_said(&self) -> bool {
        !matches!(self, Self::AsBucketSays)
    }
}

/// How a new object is to be encrypted.
pub enum Wrapping<'a> {
    Cluster,
    Customer(&'a CustomerKey),
}

impl Wrapping<'_> {
    /// Whether it is of the same kind.
    pub fn is_like(&self, by: &SealedBy) -> bool {
        matches!((self, by), (Self::Cluster, SealedBy::Ring(_)) | (Self::Customer(_), SealedBy::Customer))
    }
}

/// A new object's key.
pub struct NewKey {
    key: ObjectKey,
    pub seal: Seal,
}

impl NewKey {
    /// The key of a simple object's bytes.
    pub fn segment(&self) -> SegmentKey {
        self.key.segment(self.seal.salt)
    }

    /// The object's entity tag.
    pub fn etag(&self, md5: String) -> String {
        etag(&self.key, &self.seal.by, md5)
    }
}

/// The key of a part's bytes.
pub struct PartKey {
    key: ObjectKey,
    by: SealedBy,
    /// Drawn for this very request.
    pub salt: Salt,
}

impl PartKey {
    /// The key of the part's bytes.
    pub fn segment(&self) -> SegmentKey {
        self.key.segment(self.salt)
    }

    /// The part's entity tag.
    pub fn etag(key: Option<&Self>, md5: String) -> String {
        match key {
            Some(Self { key, by, .. }) => etag(key, by, md5),
            None => md5,
        }
    }
}

/// The entity tag of bytes with this MD5: that itself, unless a customer's key hides it.
pub fn etag(key: &ObjectKey, by: &SealedBy, md5: String) -> String {
    match by {
        SealedBy::Ring(_) => md5,
        SealedBy::Customer => key.etag(&md5),
    }
}

impl From<BadCustomerKey> for S3Error {
    fn from(error: BadCustomerKey) -> Self {
        let message = error.to_string();
        match error {
            BadCustomerKey::Algorithm => custom("InvalidEncryptionAlgorithmError", StatusCode::BAD_REQUEST, message),
            BadCustomerKey::Incomplete | BadCustomerKey::Key | BadCustomerKey::NoMd5 | BadCustomerKey::Md5 => {
                s3_error!(InvalidArgument, "{message}")
            }
        }
    }
}

/// What a bucket's configuration asks for.
pub struct BucketRules {
    pub by_default: bool,
    pub customer_keys_blocked: bool,
}

impl BucketRules {
    pub fn of(bucket: &Bucket) -> S3Result<Self> {
        let none = Self { by_default: false, customer_keys_blocked: false };
        let Some(text) = bucket.document(Document::Encryption) else { return Ok(none) };
        let configuration: ServerSideEncryptionConfiguration = super::document::read(text)?;
        Ok(configuration.rules.iter().fold(none, |rules, rule| Self {
            by_default: rules.by_default || rule.apply_server_side_encryption_by_default.is_some(),
            customer_keys_blocked: rules.customer_keys_blocked
                || rule
                    .blocked_encryption_types
                    .as_ref()
                    .and_then(|blocked| blocked.encryption_type.as_ref())
                    .is_some_and(|types| types.iter().any(|kind| kind.as_str() == "SSE-C")),
        }))
    }
}

impl S3Service {
    /// A customer's key, if the request carries one, and over a connection that keeps it secret.
    pub(super) fn customer(
        &self,
        [algorithm, key, md5]: [Option<&str>; 3],
        extensions: &Extensions,
    ) -> S3Result<Option<CustomerKey>> {
        let key = CustomerKey::of_headers(algorithm, key, md5)?;
        let secure =
            extensions.get::<Origin>().is_some_and(|origin| origin.secure) || self.config.customer_keys_over_http;
        if key.is_some() && !secure {
            return Err(s3_error!(
                InvalidRequest,
                "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure \
                 connection."
            ));
        }
        Ok(key)
    }

    /// What a request asks of a new object.
    pub(super) fn wanted(&self, headers: &Headers<'_>, extensions: &Extensions) -> S3Result<Wanted> {
        let customer = self.customer([headers.algorithm, headers.key, headers.md5], extensions)?;
        match (headers.method, customer) {
            (Some(_), Some(_)) => Err(s3_error!(
                InvalidArgument,
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
            )),
            (Some(AES256), None) | (None, Some(_)) if headers.kms => Err(s3_error!(
                InvalidArgument,
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : \
                 aws:kms"
            )),
            (Some(AES256), None) => Ok(Wanted::Cluster),
            (Some("aws:kms" | "aws:kms:dsse" | "aws:fsx"), None) => Err(not_implemented("Encryption with KMS keys")),
            (Some(_), None) => Err(s3_error!(InvalidArgument, "The encryption method specified is not supported")),
            (None, Some(key)) => Ok(Wanted::Customer(Box::new(key))),
            (None, None) if headers.kms => Err(s3_error!(
                InvalidArgument,
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : \
                 aws:kms"
            )),
            (None, None) => Ok(Wanted::AsBucketSays),
        }
    }

    /// How a new object in this bucket is encrypted; `None`: not at all.
    pub(super) fn wrapping<'a>(&self, bucket: &Bucket, wanted: &'a Wanted) -> S3Result<Option<Wrapping<'a>>> {
        let rules = BucketRules::of(bucket)?;
        match wanted {
            Wanted::Customer(_) if rules.customer_keys_blocked => {
                Err(s3_error!(AccessDenied, "The bucket blocks encryption with customers' keys (SSE-C)"))
            }
            Wanted::Customer(key) => Ok(Some(Wrapping::Customer(key))),
            Wanted::Cluster => Ok(Some(Wrapping::Cluster)),
            Wanted::AsBucketSays if rules.by_default => Ok(Some(Wrapping::Cluster)),
            Wanted::AsBucketSays => Ok(None),
        }
    }

    /// Wraps an object's key.
    pub(super) fn wrap(&self, wrapping: &Wrapping<'_>, key: &ObjectKey, salt: Salt) -> S3Result<Seal> {
        match wrapping {
            Wrapping::Customer(customer) => Ok(customer.seal(key, salt, self.random.as_ref())),
            Wrapping::Cluster => match &self.config.keys {
                Some(ring) => Ok(ring.seal(key, salt, self.random.as_ref())),
                None => Err(no_keys()),
            },
        }
    }

    /// A new object's key, if it is to be encrypted.
    pub(super) fn new_key(&self, bucket: &Bucket, wanted: &Wanted) -> S3Result<Option<NewKey>> {
        let Some(wrapping) = self.wrapping(bucket, wanted)? else { return Ok(None) };
        let key = ObjectKey::draw(self.random.as_ref());
        let seal = self.wrap(&wrapping, &key, self.draw_salt())?;
        Ok(Some(NewKey { key, seal }))
    }

    /// The key of a part of an upload that is sealed so.
    pub(super) fn part_key(&self, seal: Option<&Seal>, customer: Option<&CustomerKey>) -> S3Result<Option<PartKey>> {
        let key = self.key_behind(seal, customer)?;
        let key = key.zip(seal).map(|(key, seal)| PartKey { key, by: seal.by.clone(), salt: self.draw_salt() });
        Ok(key)
    }

    /// A fresh salt.
    pub(super) fn draw_salt(&self) -> Salt {
        Salt(self.random.next_u128())
    }

    /// The key behind a seal, if the request may have it.
    pub(super) fn unwrap(&self, seal: &Seal, customer: Option<&CustomerKey>) -> S3Result<ObjectKey> {
        match (&seal.by, customer) {
            (SealedBy::Customer, Some(customer)) => customer.open(seal).map_err(|Unsealable| {
                s3_error!(InvalidRequest, "The provided encryption parameters did not match the ones used originally.")
            }),
            (SealedBy::Customer, None) => Err(s3_error!(
                InvalidRequest,
                "The object was stored using a form of Server Side Encryption. The correct parameters must be \
                 provided to retrieve the object."
            )),
            (SealedBy::Ring(_), Some(_)) => Err(not_applicable()),
            (SealedBy::Ring(name), None) => {
                let opened = self.config.keys.as_ref().and_then(|ring| ring.open(name, seal));
                match opened {
                    Some(Ok(key)) => Ok(key),
                    Some(Err(error)) => {
                        tracing::error!(key = name, %error, "an object's key cannot be unwrapped");
                        Err(s3_error!(InternalError, "The object's key cannot be unwrapped"))
                    }
                    None => {
                        tracing::error!(key = name, "an object is encrypted with a key that the key ring has not");
                        Err(s3_error!(InternalError, "The object is encrypted with a key that is not in the key ring"))
                    }
                }
            }
        }
    }

    /// The key of an object that is read; `None` if it is not encrypted.
    pub(super) fn key_of(&self, object: &Object, customer: Option<&CustomerKey>) -> S3Result<Option<ObjectKey>> {
        self.key_behind(object.detail.seal.as_ref(), customer)
    }

    /// The key behind a seal, if there is one; a customer's key where there is none means another object.
    pub(super) fn key_behind(
        &self,
        seal: Option<&Seal>,
        customer: Option<&CustomerKey>,
    ) -> S3Result<Option<ObjectKey>> {
        match seal {
            Some(seal) => self.unwrap(seal, customer).map(Some),
            None if customer.is_some() => Err(not_applicable()),
            None => Ok(None),
        }
    }
}

fn not_applicable() -> S3Error {
    s3_error!(InvalidRequest, "The encryption parameters are not applicable to this object.")
}

/// SSE-S3 was asked for, and the cluster has no keys.
pub fn no_keys() -> S3Error {
    not_implemented("Server-side encryption without keys of the cluster (encryption-keys)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_s3() {
        assert_eq!(S3Error::from(BadCustomerKey::Md5).code().as_str(), "InvalidArgument");
        let algorithm = S3Error::from(BadCustomerKey::Algorithm);
        assert_eq!(algorithm.status_code(), Some(StatusCode::BAD_REQUEST));
        assert_eq!(algorithm.code().as_str(), "InvalidEncryptionAlgorithmError");
    }
}
