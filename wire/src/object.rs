//! Objects, parts and uploads as they are stored, listed and sent.
//!
//! A record is a [`Summary`] (all that a listing shows) followed by a [`Detail`]: listings decode the first alone.

use serde::{Deserialize, Serialize};

use crate::acl::Acl;
use crate::id::{BlobId, ObjectKey, Seq, UploadId, VersionId};
use crate::lock::ObjectLock;
use crate::sealed::{Salt, Seal};

/// The checksum algorithms of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
    Sha512,
    Md5,
    XxHash64,
    XxHash3,
    XxHash128,
}

/// Whether a multipart object's checksum covers its bytes or its parts' checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// Of the object's bytes.
    FullObject,
    /// Of the concatenated checksums of its parts; the value ends in `-PARTS`.
    Composite,
}

/// A checksum kept with an object or part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// The algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// What it covers.
    pub kind: ChecksumKind,
    /// As S3 writes it: base64, with `-PARTS` behind it when composite.
    pub value: String,
}

/// What a listing shows of an object, or of a version of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The version number of the write that made it.
    pub seq: Seq,
    /// Whether that number is its version id; otherwise it is the version `null`.
    pub versioned: bool,
    /// Whether it is a delete marker: no object, and nothing but the fields above, the time and the owner.
    pub marker: bool,
    /// Bytes.
    pub size: u64,
    /// Unix milliseconds of the leader's clock when the write was proposed.
    pub modified_ms: u64,
    /// Without quotes: MD5 in hex, or `md5-of-md5s-N`.
    pub etag: String,
    /// The checksum's algorithm and kind.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// As the client named it; `None` is STANDARD.
    pub storage_class: Option<String>,
    /// Access-key id of the owner.
    pub owner: String,
}

impl Summary {
    /// The version's id.
    pub fn version(&self) -> VersionId {
        if self.versioned { VersionId::Of(self.seq) } else { VersionId::Null }
    }
}

/// System headers that are stored and given back verbatim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the headers are")]
pub struct Headers {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_disposition: Option<String>,
    pub cache_control: Option<String>,
    pub expires: Option<String>,
    pub website_redirect_location: Option<String>,
}

/// Everything about an object beyond its [`Summary`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// System headers.
    pub headers: Headers,
    /// User metadata, names in lower case without `x-amz-meta-`.
    pub metadata: Vec<(String, String)>,
    /// Object tags.
    pub tags: Vec<(String, String)>,
    /// The value of the checksum that the summary announces.
    pub checksum: Option<String>,
    /// The parts of a multipart object, ascending; empty for a simple one.
    pub parts: Vec<ObjectPart>,
    /// Where the bytes are, in order; their lengths sum to the size, or to what [`crate::sealed`] makes of it.
    pub pieces: Vec<Piece>,
    /// What protects it.
    pub lock: ObjectLock,
    /// Since when it is not the newest version of its key, Unix milliseconds.
    pub noncurrent_ms: Option<u64>,
    /// If it is encrypted.
    pub seal: Option<Seal>,
    /// Its access control list; `None`: its owner's full control.
    pub acl: Option<Acl>,
}

/// One part of a finished multipart object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPart {
    /// 1 to 10,000.
    pub number: u16,
    /// Bytes.
    pub size: u64,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// If it is encrypted.
    pub salt: Option<Salt>,
}

/// An object, or a version of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// What a listing shows.
    pub summary: Summary,
    /// The rest.
    pub detail: Detail,
}

impl Object {
    /// The checksum kept with the object.
    pub fn checksum(&self) -> Option<Checksum> {
        let (algorithm, kind) = self.summary.checksum?;
        Some(Checksum { algorithm, kind, value: self.detail.checksum.clone()? })
    }
}

/// A run of bytes in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where.
    pub source: Source,
    /// Bytes, from the start of the source.
    pub len: u64,
}

/// Where bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// In the index, under this number (the log index of the write that brought it).
    Inline(u64),
    /// In a blob file.
    Blob(BlobId),
}

/// Where the bytes of a write are, when it is proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NewBody {
    /// Travels in the log entry itself. Empty for an empty object.
    Inline(bytes::Bytes),
    /// On disk already, on a majority of the group's voters.
    Blob {
        /// The blob.
        id: BlobId,
        /// Bytes.
        len: u64,
    },
}

impl NewBody {
    /// Bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a client sets on a new object besides its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// System headers.
    pub headers: Headers,
    /// User metadata, names in lower case without `x-amz-meta-`.
    pub metadata: Vec<(String, String)>,
    /// Object tags.
    pub tags: Vec<(String, String)>,
    /// As the client named it; `None` is STANDARD.
    pub storage_class: Option<String>,
    /// What is to protect the new version; where it says nothing of a retention, the bucket's default is taken.
    pub lock: ObjectLock,
    /// How the bytes are encrypted.
    pub seal: Option<Seal>,
    /// Its access control list; `None`: its owner's full control.
    pub acl: Option<Acl>,
}

/// An open multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its key.
    pub key: ObjectKey,
    /// Its id.
    pub id: UploadId,
    /// Unix milliseconds.
    pub initiated_ms: u64,
    /// Access-key id of who started it.
    pub owner: String,
    /// What the finished object gets.
    pub attributes: Attributes,
    /// The checksum that Create named.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// An uploaded part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// 1 to 10,000.
    pub number: u16,
    /// The version number of the write that brought it.
    pub seq: Seq,
    /// Bytes.
    pub size: u64,
    /// Unix milliseconds.
    pub modified_ms: u64,
    /// MD5 in hex, without quotes.
    pub etag: String,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// Where its bytes are.
    pub pieces: Vec<Piece>,
    /// If it is encrypted.
    pub salt: Option<Salt>,
}
