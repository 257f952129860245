//! From the wire's records to s3s's outputs.

use holdfast_wire::bucket::{AckMode, Bucket};
use holdfast_wire::configuration::Versioning;
use holdfast_wire::id::Seq;
use holdfast_wire::object::{ChecksumKind, Summary};
use http::{HeaderMap, HeaderValue};
use s3s::S3Response;
use s3s::dto::{ETag, Owner, Timestamp};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::request::{ACK, SEQ};

/// RFC 9110 §5.6.7.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// A moment, in whole seconds so that listings and headers agree.
pub fn timestamp(unix_ms: u64) -> Timestamp {
    moment(unix_ms).into()
}

/// A moment as HTTP writes it.
pub fn http_date(unix_ms: u64) -> String {
    moment(unix_ms).format(HTTP_DATE).unwrap_or_default()
}

fn moment(unix_ms: u64) -> OffsetDateTime {
    i64::try_from(unix_ms / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// An entity tag.
pub fn etag(text: &str) -> ETag {
    ETag::Strong(text.to_owned())
}

/// An owner: access keys stand for accounts.
pub fn owner(id: &str) -> Owner {
    Owner { id: Some(id.to_owned()), display_name: Some(id.to_owned()) }
}

/// The version id that an answer shows: none where the bucket never had versions.
pub fn version_id(bucket: &Bucket, summary: &Summary) -> Option<String> {
    let shown = summary.versioned || bucket.versioning() != Versioning::Off;
    shown.then(|| summary.version().to_string())
}

/// A count or size as s3s types it.
pub fn int<N: TryFrom<u64>>(number: u64) -> Option<N> {
    N::try_from(number).ok()
}

/// The kind's name.
pub fn kind(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => "FULL_OBJECT",
        ChecksumKind::Composite => "COMPOSITE",
    }
}

/// Sets the one of an output's ten checksum fields that a `&Checksum` is for.
macro_rules! set_checksum {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let value = Some(checksum.value.clone());
            match checksum.algorithm {
                holdfast_wire::object::ChecksumAlgorithm::Crc32 => $output.checksum_crc32 = value,
                holdfast_wire::object::ChecksumAlgorithm::Crc32c => $output.checksum_crc32c = value,
                holdfast_wire::object::ChecksumAlgorithm::Crc64Nvme => $output.checksum_crc64nvme = value,
                holdfast_wire::object::ChecksumAlgorithm::Sha1 => $output.checksum_sha1 = value,
                holdfast_wire::object::ChecksumAlgorithm::Sha256 => $output.checksum_sha256 = value,
                holdfast_wire::object::ChecksumAlgorithm::Sha512 => $output.checksum_sha512 = value,
                holdfast_wire::object::ChecksumAlgorithm::Md5 => $output.checksum_md5 = value,
                holdfast_wire::object::ChecksumAlgorithm::XxHash64 => $output.checksum_xxhash64 = value,
                holdfast_wire::object::ChecksumAlgorithm::XxHash3 => $output.checksum_xxhash3 = value,
                holdfast_wire::object::ChecksumAlgorithm::XxHash128 => $output.checksum_xxhash128 = value,
            }
        }
    };
}

/// As [`set_checksum`], and the kind beside it.
macro_rules! set_checksum_and_kind {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            $crate::s3::answer::set_checksum!($output, Some(checksum));
            let kind = $crate::s3::answer::kind(checksum.kind);
            $output.checksum_type = Some(s3s::dto::ChecksumType::from_static(kind));
        }
    };
}

/// The checksums that an input carries, as algorithm and text.
macro_rules! claimed_checksums {
    ($input:expr) => {{
        use holdfast_wire::object::ChecksumAlgorithm;
        let fields = [
            (ChecksumAlgorithm::Crc32, &$input.checksum_crc32),
            (ChecksumAlgorithm::Crc32c, &$input.checksum_crc32c),
            (ChecksumAlgorithm::Crc64Nvme, &$input.checksum_crc64nvme),
            (ChecksumAlgorithm::Sha1, &$input.checksum_sha1),
            (ChecksumAlgorithm::Sha256, &$input.checksum_sha256),
            (ChecksumAlgorithm::Sha512, &$input.checksum_sha512),
            (ChecksumAlgorithm::Md5, &$input.checksum_md5),
            (ChecksumAlgorithm::XxHash64, &$input.checksum_xxhash64),
            (ChecksumAlgorithm::XxHash3, &$input.checksum_xxhash3),
            (ChecksumAlgorithm::XxHash128, &$input.checksum_xxhash128),
        ];
        fields
            .into_iter()
            .filter_map(|(algorithm, value)| Some((algorithm, value.as_deref()?)))
            .collect::<Vec<(ChecksumAlgorithm, &str)>>()
    }};
}

pub(super) use {claimed_checksums, set_checksum, set_checksum_and_kind};

/// An answer to a write: its version and the mode that answered.
pub fn written<T>(output: T, seq: Seq, ack: AckMode) -> S3Response<T> {
    let mut headers = version(seq);
    headers.insert(ACK, HeaderValue::from_static(ack.as_str()));
    S3Response::with_headers(output, headers)
}

/// An answer to a read: how far the replica had applied.
pub fn read<T>(output: T, seq: Seq) -> S3Response<T> {
    S3Response::with_headers(output, version(seq))
}

fn version(seq: Seq) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(SEQ, HeaderValue::try_from(seq.to_string()).expect("digits make a header value"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_http_and_in_whole_seconds() {
        assert_eq!(http_date(784_111_777_999), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(timestamp(784_111_777_999), timestamp(784_111_777_000));
        assert_eq!(http_date(u64::MAX), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
