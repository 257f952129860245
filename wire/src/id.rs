//! Names and numbers, parsed once at the boundary.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

macro_rules! hex128 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(transparent)]
        pub struct $name(pub u128);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(NotAnId);
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| NotAnId)
            }
        }
    };
}

/// Text that is not 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 lower-case hexadecimal digits")]
pub struct NotAnId;

number! {
    /// A replica process with its data directory. Given out by the root group, never reused.
    NodeId(u64)
}
number! {
    /// A Raft group: 0 is root, all others are shards.
    GroupId(u32)
}
number! {
    /// A bucket, immutable over its life; given out by root, never reused.
    BucketId(u64)
}
number! {
    /// The generation of the shard map, or of one shard's entry in it.
    Epoch(u64)
}
hex128! {
    /// A cluster, from its first start on.
    ClusterId
}
hex128! {
    /// Immutable bytes of one object or part.
    BlobId
}
hex128! {
    /// One logical request. A repetition carries the same id and is applied at most once.
    RequestId
}
hex128! {
    /// A multipart upload.
    UploadId
}

impl GroupId {
    /// The group that knows nodes, shards and buckets.
    pub const ROOT: GroupId = GroupId(0);
}

/// The version number of a write: shard and log index. Never repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq {
    /// The group in whose log the write stands.
    pub group: GroupId,
    /// Its log index there.
    pub index: u64,
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.group, self.index)
    }
}

impl FromStr for Seq {
    type Err = NotASeq;
    fn from_str(text: &str) -> Result<Self, NotASeq> {
        let (group, index) = text.split_once('-').ok_or(NotASeq)?;
        Ok(Self { group: group.parse().map_err(|_| NotASeq)?, index: index.parse().map_err(|_| NotASeq)? })
    }
}

/// Text that is not `GROUP-INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected GROUP-INDEX, two decimal numbers")]
pub struct NotASeq;

/// The name of one version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VersionId {
    /// `null`: written while versioning was not enabled. A key has at most one.
    Null,
    /// The version number of the write that made it, as 24 hexadecimal digits.
    Of(Seq),
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Of(seq) => write!(f, "{:08x}{:016x}", seq.group.0, seq.index),
        }
    }
}

impl FromStr for VersionId {
    type Err = NotAVersionId;
    fn from_str(text: &str) -> Result<Self, NotAVersionId> {
        if text == "null" {
            return Ok(Self::Null);
        }
        if text.len() != 24 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NotAVersionId);
        }
        let (group, index) = text.split_at(8);
        let group = u32::from_str_radix(group, 16).map_err(|_| NotAVersionId)?;
        let index = u64::from_str_radix(index, 16).map_err(|_| NotAVersionId)?;
        Ok(Self::Of(Seq { group: GroupId(group), index }))
    }
}

/// Text that is neither `null` nor 24 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected null or 24 lower-case hexadecimal digits")]
pub struct NotAVersionId;

/// A bucket's name, valid by the S3 rules for general-purpose buckets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

/// Why a text is no bucket name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "bucket names have 3 to 63 characters of a-z, 0-9, '.' and '-', start and end with a letter or digit, \
     have no two dots in a row and are not IP addresses"
)]
pub struct NotABucketName;

impl BucketName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BucketName {
    type Error = NotABucketName;
    /// The rules of the S3 user guide, "General purpose bucket naming rules".
    fn try_from(text: String) -> Result<Self, NotABucketName> {
        let bytes = text.as_bytes();
        let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let sound = (3..=63).contains(&bytes.len())
            && edge(bytes[0])
            && edge(bytes[bytes.len() - 1])
            && bytes.iter().all(|&b| edge(b) || b == b'-' || b == b'.')
            && !text.contains("..")
            && text.parse::<std::net::Ipv4Addr>().is_err()
            && !["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|reserved| text.starts_with(reserved))
            && !["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|end| text.ends_with(end));
        if sound { Ok(Self(text)) } else { Err(NotABucketName) }
    }
}

impl FromStr for BucketName {
    type Err = NotABucketName;
    fn from_str(text: &str) -> Result<Self, NotABucketName> {
        text.to_owned().try_into()
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> String {
        name.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object's key: 1 to 1,024 bytes of UTF-8, kept and ordered byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

/// The longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 1024;

/// Why a text is no object key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAKey {
    /// No bytes at all.
    #[error("an object key must not be empty")]
    Empty,
    /// More than [`KEY_BYTES_MAX`] bytes.
    #[error("an object key has at most 1024 bytes of UTF-8")]
    TooLong,
}

impl ObjectKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `/`, or the whole key: what the placement hash sees.
    pub fn root_directory(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(root, _)| root)
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = NotAKey;
    fn try_from(text: String) -> Result<Self, NotAKey> {
        match text.len() {
            0 => Err(NotAKey::Empty),
            1..=KEY_BYTES_MAX => Ok(Self(text)),
            _ => Err(NotAKey::TooLong),
        }
    }
}

impl FromStr for ObjectKey {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        text.to_owned().try_into()
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> String {
        key.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
