//! Checksums of multipart objects, out of their parts' checksums alone.

use crc_fast::{CrcAlgorithm, checksum_combine};
use holdfast_wire::object::{Checksum, ChecksumAlgorithm, ChecksumKind};

use super::{decode, encode, full, len, of};

/// The kind that S3 takes when Create names an algorithm alone.
pub fn default_kind(algorithm: ChecksumAlgorithm) -> ChecksumKind {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
        _ => ChecksumKind::Composite,
    }
}

/// Whether S3 allows this kind for multipart objects: only CRCs can be combined, CRC-64 is never composite.
pub fn allowed(algorithm: ChecksumAlgorithm, kind: ChecksumKind) -> bool {
    match kind {
        ChecksumKind::FullObject => crc(algorithm).is_some(),
        ChecksumKind::Composite => algorithm != ChecksumAlgorithm::Crc64Nvme,
    }
}

fn crc(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Sha1
        | ChecksumAlgorithm::Sha256
        | ChecksumAlgorithm::Sha512
        | ChecksumAlgorithm::Md5
        | ChecksumAlgorithm::XxHash64
        | ChecksumAlgorithm::XxHash3
        | ChecksumAlgorithm::XxHash128 => None,
    }
}

/// The whole object's checksum out of its parts' sizes and checksums, in order. `None` when a part has none of this
/// algorithm, when there are no parts, or when the algorithm cannot be combined in this way.
pub fn whole<'a>(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: impl IntoIterator<Item = (u64, Option<&'a Checksum>)>,
) -> Option<Checksum> {
    let mut values = Vec::new();
    for (size, checksum) in parts {
        let checksum = checksum.filter(|checksum| checksum.algorithm == algorithm)?;
        values.push((size, decode(algorithm, &checksum.value)?));
    }
    match kind {
        ChecksumKind::FullObject => {
            let crc = crc(algorithm)?;
            let number = |value: &[u8]| value.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            let combined = values
                .iter()
                .map(|(size, value)| (*size, number(value)))
                .reduce(|(before, sum), (size, value)| (before + size, checksum_combine(crc, sum, value, size)))?;
            Some(full(algorithm, &combined.1.to_be_bytes()[8 - len(algorithm)..]))
        }
        ChecksumKind::Composite => {
            if values.is_empty() {
                return None;
            }
            let bytes: Vec<u8> = values.iter().flat_map(|(_, value)| value).copied().collect();
            let value = format!("{}-{}", encode(&of(algorithm, &bytes)), values.len());
            Some(Checksum { algorithm, kind, value })
        }
    }
}

/// `md5-of-md5s-N` out of the parts' entity tags, in order. `None` when one of them is no MD5 in hex.
pub fn etag<'a>(parts: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut md5s = Vec::new();
    let mut count = 0;
    for part in parts {
        let md5: [u8; 16] = hex::decode(part).ok()?.try_into().ok()?;
        md5s.extend_from_slice(&md5);
        count += 1;
    }
    Some(format!("{}-{count}", hex::encode(of(ChecksumAlgorithm::Md5, &md5s))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CRCS: [ChecksumAlgorithm; 3] =
        [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme];

    proptest! {
        #[test]
        fn a_combined_crc_is_that_of_the_whole(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..6)) {
            for algorithm in CRCS {
                let sums: Vec<_> = parts.iter().map(|part| full(algorithm, &of(algorithm, part))).collect();
                let sized = parts.iter().zip(&sums).map(|(part, sum)| (part.len() as u64, Some(sum)));
                let combined = whole(algorithm, ChecksumKind::FullObject, sized);
                prop_assert_eq!(combined, Some(full(algorithm, &of(algorithm, &parts.concat()))));
            }
        }
    }

    #[test]
    fn a_composite_is_the_checksum_of_checksums() {
        let (a, b) = (of(ChecksumAlgorithm::Sha256, b"a"), of(ChecksumAlgorithm::Sha256, b"b"));
        let (one, two) = (full(ChecksumAlgorithm::Sha256, &a), full(ChecksumAlgorithm::Sha256, &b));
        let sums = [(1, Some(&one)), (1, Some(&two))];
        let whole = whole(ChecksumAlgorithm::Sha256, ChecksumKind::Composite, sums).unwrap();
        let expected = of(ChecksumAlgorithm::Sha256, &[a, b].concat());
        assert_eq!(whole.value, format!("{}-2", encode(&expected)));
    }

    #[test]
    fn without_every_part_there_is_no_whole() {
        let crc = full(ChecksumAlgorithm::Crc32, &[1, 2, 3, 4]);
        let kind = ChecksumKind::FullObject;
        assert_eq!(whole(ChecksumAlgorithm::Crc32, kind, [(1, Some(&crc)), (1, None)]), None);
        assert_eq!(whole(ChecksumAlgorithm::Crc32c, kind, [(1, Some(&crc))]), None);
        assert_eq!(whole(ChecksumAlgorithm::Crc32, kind, []), None);
        assert_eq!(whole(ChecksumAlgorithm::Sha1, ChecksumKind::Composite, []), None);
    }

    #[test]
    fn entity_tags_of_parts() {
        let part = hex::encode(of(ChecksumAlgorithm::Md5, b"x"));
        let expected = of(ChecksumAlgorithm::Md5, &of(ChecksumAlgorithm::Md5, b"x").repeat(2));
        assert_eq!(etag([part.as_str(), &part]), Some(format!("{}-2", hex::encode(expected))));
        assert_eq!(etag(["not hex"]), None);
        assert_eq!(etag(["abcd"]), None);
    }
}
