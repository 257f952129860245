//! The checksum algorithms of S3: their names, hashing while bytes pass, and the text form of a value.
//!
//! What the client says about its body and how it is held to it: [`claim`]. Checksums of whole multipart objects out
//! of those of their parts: [`combine`].

pub mod claim;
pub mod combine;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_wire::object::{Checksum, ChecksumAlgorithm, ChecksumKind};
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256, Sha512, XxHash3, XxHash64, XxHash128};

/// Every algorithm.
pub const ALL: [ChecksumAlgorithm; 10] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
    ChecksumAlgorithm::Sha512,
    ChecksumAlgorithm::Md5,
    ChecksumAlgorithm::XxHash64,
    ChecksumAlgorithm::XxHash3,
    ChecksumAlgorithm::XxHash128,
];

/// The algorithm that is computed and kept when the client names none, as S3 does.
pub const DEFAULT: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

/// The name in S3's documents and headers' values: `CRC32`, …
pub fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "CRC32",
        ChecksumAlgorithm::Crc32c => "CRC32C",
        ChecksumAlgorithm::Crc64Nvme => "CRC64NVME",
        ChecksumAlgorithm::Sha1 => "SHA1",
        ChecksumAlgorithm::Sha256 => "SHA256",
        ChecksumAlgorithm::Sha512 => "SHA512",
        ChecksumAlgorithm::Md5 => "MD5",
        ChecksumAlgorithm::XxHash64 => "XXHASH64",
        ChecksumAlgorithm::XxHash3 => "XXHASH3",
        ChecksumAlgorithm::XxHash128 => "XXHASH128",
    }
}

/// The header or trailer that carries a value: `x-amz-checksum-crc32`, …
pub fn header(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
        ChecksumAlgorithm::Sha512 => "x-amz-checksum-sha512",
        ChecksumAlgorithm::Md5 => "x-amz-checksum-md5",
        ChecksumAlgorithm::XxHash64 => "x-amz-checksum-xxhash64",
        ChecksumAlgorithm::XxHash3 => "x-amz-checksum-xxhash3",
        ChecksumAlgorithm::XxHash128 => "x-amz-checksum-xxhash128",
    }
}

/// The algorithm of this name, in any case.
pub fn by_name(text: &str) -> Option<ChecksumAlgorithm> {
    ALL.into_iter().find(|&algorithm| name(algorithm).eq_ignore_ascii_case(text))
}

/// The algorithm whose value travels in this header or trailer.
pub fn by_header(text: &str) -> Option<ChecksumAlgorithm> {
    ALL.into_iter().find(|&algorithm| header(algorithm).eq_ignore_ascii_case(text))
}

/// Bytes of a value.
pub fn len(algorithm: ChecksumAlgorithm) -> usize {
    match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme | ChecksumAlgorithm::XxHash64 | ChecksumAlgorithm::XxHash3 => 8,
        ChecksumAlgorithm::Md5 | ChecksumAlgorithm::XxHash128 => 16,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
        ChecksumAlgorithm::Sha512 => 64,
    }
}

/// A value's bytes from base64; `None` unless it has exactly the algorithm's length.
pub fn decode(algorithm: ChecksumAlgorithm, text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| bytes.len() == len(algorithm))
}

/// A value as S3 writes it.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The checksum of an object's bytes.
pub fn full(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
    Checksum { algorithm, kind: ChecksumKind::FullObject, value: encode(bytes) }
}

/// One checksum being computed.
pub enum Hasher {
    #[doc(hidden)]
    Crc32(Crc32),
    #[doc(hidden)]
    Crc32c(Crc32c),
    #[doc(hidden)]
    Crc64Nvme(Crc64Nvme),
    #[doc(hidden)]
    Sha1(Box<Sha1>),
    #[doc(hidden)]
    Sha256(Box<Sha256>),
    #[doc(hidden)]
    Sha512(Box<Sha512>),
    #[doc(hidden)]
    Md5(Box<Md5>),
    #[doc(hidden)]
    XxHash64(Box<XxHash64>),
    #[doc(hidden)]
    XxHash3(Box<XxHash3>),
    #[doc(hidden)]
    XxHash128(Box<XxHash128>),
}

impl Hasher {
    /// Of no bytes yet.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc32 => Self::Crc32(Crc32::new()),
            ChecksumAlgorithm::Crc32c => Self::Crc32c(Crc32c::new()),
            ChecksumAlgorithm::Crc64Nvme => Self::Crc64Nvme(Crc64Nvme::new()),
            ChecksumAlgorithm::Sha1 => Self::Sha1(Box::new(Sha1::new())),
            ChecksumAlgorithm::Sha256 => Self::Sha256(Box::new(Sha256::new())),
            ChecksumAlgorithm::Sha512 => Self::Sha512(Box::new(Sha512::new())),
            ChecksumAlgorithm::Md5 => Self::Md5(Box::new(Md5::new())),
            ChecksumAlgorithm::XxHash64 => Self::XxHash64(Box::new(XxHash64::new())),
            ChecksumAlgorithm::XxHash3 => Self::XxHash3(Box::new(XxHash3::new())),
            ChecksumAlgorithm::XxHash128 => Self::XxHash128(Box::new(XxHash128::new())),
        }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(hasher) => hasher.update(bytes),
            Self::Crc32c(hasher) => hasher.update(bytes),
            Self::Crc64Nvme(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
            Self::XxHash64(hasher) => hasher.update(bytes),
            Self::XxHash3(hasher) => hasher.update(bytes),
            Self::XxHash128(hasher) => hasher.update(bytes),
        }
    }

    /// The value, big-endian.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc32(hasher) => hasher.finalize().to_vec(),
            Self::Crc32c(hasher) => hasher.finalize().to_vec(),
            Self::Crc64Nvme(hasher) => hasher.finalize().to_vec(),
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::XxHash64(hasher) => hasher.finalize().to_vec(),
            Self::XxHash3(hasher) => hasher.finalize().to_vec(),
            Self::XxHash128(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// The value of `bytes`.
pub fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_headers_and_lengths_agree() {
        for algorithm in ALL {
            assert_eq!(by_name(name(algorithm)), Some(algorithm));
            assert_eq!(by_header(header(algorithm)), Some(algorithm));
            assert_eq!(header(algorithm), format!("x-amz-checksum-{}", name(algorithm).to_ascii_lowercase()));
            let value = of(algorithm, b"123456789");
            assert_eq!(value.len(), len(algorithm), "{algorithm:?}");
            assert_eq!(decode(algorithm, &encode(&value)), Some(value));
        }
        assert_eq!(by_name("CRC16"), None);
    }

    /// Check values of the CRC catalogue and of the hashes' documents.
    #[test]
    fn known_values() {
        let hex = |algorithm| hex::encode(of(algorithm, b"123456789"));
        assert_eq!(hex(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(hex(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(hex(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(ChecksumAlgorithm::Md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(hex(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
    }

    #[test]
    fn a_value_of_another_length_or_alphabet_is_none() {
        assert_eq!(decode(ChecksumAlgorithm::Crc32, "AAAA"), None);
        assert_eq!(decode(ChecksumAlgorithm::Crc32, "AAAAAA=="), Some(vec![0; 4]));
        assert_eq!(decode(ChecksumAlgorithm::Crc32, "AAAAAA"), None);
        assert_eq!(decode(ChecksumAlgorithm::Crc32, "AAAA-A=="), None);
    }
}
