//! Keys: every table of the index, its stable id, and the one pair of functions that makes and reads its keys.
//!
//! ```text
//! group u32 BE | generation u32 BE | table u8 | rest by table
//!
//! generation 0 holds one row, table 00: which generation is in force. A snapshot's rows arrive under the next one.
//!
//! id  table        rest                                            value (see `record`)
//! 01  Applied      –                                               position, state hash
//! 02  Membership   –                                               the newest membership, opaque
//! 03  Shard        –                                               hash range and epoch
//! 04  Root         –                                               cluster, counters, layout
//! 05  Buckets      bucket u64                                      bucket
//! 06  Gone         bucket u64                                      (removed buckets; empty)
//! 07  Usage        bucket u64                                      objects, versions, bytes, uploads, bytes of parts
//! 08  Requests     log index u64                                   request id, time, outcome
//! 09  Identities   –                                               users, groups, roles, policies, keys (root)
//! 0a  Allowances   bucket u64                                      round, the shard's share of the bucket's quota
//! 0b  Kept         –                                               objects and bytes in Deleted
//! 10  Objects      bucket u64 | key                                summary, detail
//! 11  Versions     bucket u64 | key escaped | ~group u32 | ~index u64   summary, detail (newest first)
//! 12  Uploads      bucket u64 | key escaped | time u64 | upload    upload
//! 13  UploadIds    upload u128                                     bucket, key, time
//! 14  Parts        upload u128 | number u16                        part
//! 15  Finished     upload u128                                     bucket, key, what Complete answered
//! 16  FinishedAt   time u64 | upload u128                          (empty)
//! 17  Nulls        bucket u64 | key                                seq of the version `null` in Versions
//! 20  Blobs        blob u128                                       references, bytes, since when in the trash
//! 21  Trash        time u64 | blob u128                            (empty)
//! 22  Deleted      bucket u64 | key escaped | ~group u32 | ~index u64   since when and why, summary, detail (newest first)
//! 23  DeletedAt    time u64 | bucket u64 | 00 | key escaped | group u32 | index u64   (empty)
//! 30  Expiry       time u64 | bucket u64 | 00 | key escaped | group u32 | index u64   (empty)
//!                  time u64 | bucket u64 | 01 | upload u128                           (empty)
//! 31  Reindex      bucket u64                                      how far the rows of new rules are made
//! 40  Bodies       number u64   (the other key space)              the bytes themselves: this id is their version
//! ```
//! Numbers are big-endian, so that byte order is their order. A key that ends a row key stands there as it is: byte order
//! is S3's UTF-8 order. Where something follows it, it is escaped: `00` → `00 ff`, then `00 00` ends it, which keeps the
//! order, NULs included.

use holdfast_wire::id::{BlobId, BucketId, GroupId, Seq, UploadId};

/// A table of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// How far the group has applied.
    Applied = 0x01,
    /// The newest membership.
    Membership = 0x02,
    /// What the shard holds.
    Shard = 0x03,
    /// Root's own state.
    Root = 0x04,
    /// Buckets.
    Buckets = 0x05,
    /// Buckets that were removed.
    Gone = 0x06,
    /// Usage counters.
    Usage = 0x07,
    /// Requests seen, by log index.
    Requests = 0x08,
    /// Whom the cluster knows.
    Identities = 0x09,
    /// Shares of quotas.
    Allowances = 0x0a,
    /// How much is kept of what is gone.
    Kept = 0x0b,
    /// Current objects.
    Objects = 0x10,
    /// Versions that are not the current object: older ones, and delete markers.
    Versions = 0x11,
    /// Open uploads in listing order.
    Uploads = 0x12,
    /// Open uploads by id.
    UploadIds = 0x13,
    /// Parts of open uploads.
    Parts = 0x14,
    /// Completed uploads by id.
    Finished = 0x15,
    /// Completed uploads by time.
    FinishedAt = 0x16,
    /// Which of them is `null`.
    Nulls = 0x17,
    /// Blob references.
    Blobs = 0x20,
    /// Blobs without references, by time.
    Trash = 0x21,
    /// Objects that are gone and can be brought back.
    Deleted = 0x22,
    /// The same by time.
    DeletedAt = 0x23,
    /// What lifecycle rules make go, by time.
    Expiry = 0x30,
    /// Buckets whose rules have changed.
    Reindex = 0x31,
    /// Inline bodies.
    Bodies = 0x40,
}

/// Bytes before the table id.
pub const PREFIX: usize = 8;

/// The first bytes of all keys of a group.
pub fn group(group: GroupId) -> [u8; 4] {
    group.0.to_be_bytes()
}

/// The first bytes of all keys of a group in one generation.
pub fn generation(group: GroupId, generation: u32) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&group.0.to_be_bytes());
    prefix[4..].copy_from_slice(&generation.to_be_bytes());
    prefix
}

/// The generation of a whole key.
pub fn generation_of(key: &[u8]) -> Option<u32> {
    key.get(4..PREFIX).map(|bytes| u32::from_be_bytes(bytes.try_into().expect("4 bytes")))
}

/// The whole key of the row that says which generation is in force.
pub fn pointer(group: GroupId) -> Vec<u8> {
    let mut key = generation(group, 0).to_vec();
    key.push(0);
    key
}

/// A key without group and generation: table id and what follows it.
pub type Suffix = Vec<u8>;

fn suffix(table: Table, parts: &[&[u8]]) -> Suffix {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(table as u8);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// The key of a table's only row, or the beginning of all its keys.
pub fn table(table: Table) -> Suffix {
    vec![table as u8]
}

/// A key of [`Table::Buckets`], [`Table::Gone`], [`Table::Usage`] or [`Table::Allowances`]; the beginning of all keys of one bucket in
/// [`Table::Objects`], [`Table::Versions`] and [`Table::Uploads`].
pub fn bucket(table: Table, bucket: BucketId) -> Suffix {
    suffix(table, &[&bucket.0.to_be_bytes()])
}

/// A key of [`Table::Objects`], or the beginning of the keys with a prefix.
pub fn object(bucket: BucketId, key: &[u8]) -> Suffix {
    suffix(Table::Objects, &[&bucket.0.to_be_bytes(), key])
}

/// A key of [`Table::Nulls`].
pub fn null(bucket: BucketId, key: &[u8]) -> Suffix {
    suffix(Table::Nulls, &[&bucket.0.to_be_bytes(), key])
}

/// A key of [`Table::Versions`].
pub fn version(bucket: BucketId, key: &[u8], seq: Seq) -> Suffix {
    newest_first(versions_of(bucket, key), seq)
}

fn newest_first(mut suffix: Suffix, seq: Seq) -> Suffix {
    suffix.extend_from_slice(&(!seq.group.0).to_be_bytes());
    suffix.extend_from_slice(&(!seq.index).to_be_bytes());
    suffix
}

/// A key of [`Table::Deleted`].
pub fn deleted(bucket: BucketId, key: &[u8], seq: Seq) -> Suffix {
    newest_first(deleted_of(bucket, key), seq)
}

/// The beginning of the keys of all that is kept of one object key.
pub fn deleted_of(bucket: BucketId, key: &[u8]) -> Suffix {
    suffix(Table::Deleted, &[&bucket.0.to_be_bytes(), &escape(key), &[0, 0]])
}

/// The beginning of the keys of all that is kept of object keys with a prefix.
pub fn deleted_with(bucket: BucketId, prefix: &[u8]) -> Suffix {
    suffix(Table::Deleted, &[&bucket.0.to_be_bytes(), &escape(prefix)])
}

/// A key of [`Table::DeletedAt`].
pub fn deleted_at(time_ms: u64, bucket: BucketId, key: &[u8], seq: Seq) -> Suffix {
    at_time(Table::DeletedAt, time_ms, bucket, &What::Version(key.to_vec(), seq))
}

/// The beginning of the keys of all versions of one object key.
pub fn versions_of(bucket: BucketId, key: &[u8]) -> Suffix {
    suffix(Table::Versions, &[&bucket.0.to_be_bytes(), &escape(key), &[0, 0]])
}

/// The beginning of the version keys of all object keys with a prefix.
pub fn versions(bucket: BucketId, prefix: &[u8]) -> Suffix {
    suffix(Table::Versions, &[&bucket.0.to_be_bytes(), &escape(prefix)])
}

/// The object key in a key that [`version`] or [`deleted`] made.
pub fn read_version_key(suffix: &[u8]) -> Option<Vec<u8>> {
    unescape(suffix.get(BEFORE_KEY..suffix.len().checked_sub(VERSION_TAIL)?)?)
}

fn unescape(escaped: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        key.push(byte);
        if byte == 0 && bytes.next() != Some(&0xff) {
            return None;
        }
    }
    Some(key)
}

/// What a row of [`Table::Expiry`] or [`Table::DeletedAt`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A version: its key and number.
    Version(Vec<u8>, Seq),
    /// An open upload.
    Upload(UploadId),
}

/// A row of [`Table::Expiry`] or [`Table::DeletedAt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// When it is looked at, Unix milliseconds.
    pub time_ms: u64,
    /// The bucket.
    pub bucket: BucketId,
    /// What in it.
    pub what: What,
}

/// A key of [`Table::Expiry`].
pub fn expiry(time_ms: u64, bucket: BucketId, what: &What) -> Suffix {
    at_time(Table::Expiry, time_ms, bucket, what)
}

fn at_time(table: Table, time_ms: u64, bucket: BucketId, what: &What) -> Suffix {
    let mut suffix = suffix(table, &[&time_ms.to_be_bytes(), &bucket.0.to_be_bytes()]);
    match what {
        What::Version(key, seq) => {
            suffix.push(0);
            suffix.extend_from_slice(&escape(key));
            suffix.extend_from_slice(&[0, 0]);
            suffix.extend_from_slice(&seq.group.0.to_be_bytes());
            suffix.extend_from_slice(&seq.index.to_be_bytes());
        }
        What::Upload(id) => {
            suffix.push(1);
            suffix.extend_from_slice(&id.0.to_be_bytes());
        }
    }
    suffix
}

/// The first key of [`Table::Expiry`] that is not before this time.
pub fn expiry_from(time_ms: u64) -> Suffix {
    suffix(Table::Expiry, &[&time_ms.to_be_bytes()])
}

/// The inverse of [`expiry`] and [`deleted_at`].
pub fn read_expiry(suffix: &[u8]) -> Option<Expiry> {
    let (time, rest) = suffix.get(1..)?.split_first_chunk::<8>()?;
    let (bucket, rest) = rest.split_first_chunk::<8>()?;
    let what = match rest.split_first()? {
        (0, rest) => {
            let (rest, index) = rest.split_last_chunk::<8>()?;
            let (rest, group) = rest.split_last_chunk::<4>()?;
            let key = unescape(rest.strip_suffix(&[0, 0])?)?;
            What::Version(key, Seq { group: GroupId(u32::from_be_bytes(*group)), index: u64::from_be_bytes(*index) })
        }
        (1, rest) => What::Upload(UploadId(u128::from_be_bytes(rest.try_into().ok()?))),
        _ => return None,
    };
    Some(Expiry { time_ms: u64::from_be_bytes(*time), bucket: BucketId(u64::from_be_bytes(*bucket)), what })
}

/// What ends a version's row key: the two bytes that end the key, group and index.
const VERSION_TAIL: usize = 2 + 4 + 8;

/// Bytes of an object's row key before the object's key: table and bucket.
pub const BEFORE_KEY: usize = 9;

/// A key of [`Table::Requests`].
pub fn request(index: u64) -> Suffix {
    suffix(Table::Requests, &[&index.to_be_bytes()])
}

/// A key of [`Table::Uploads`].
pub fn upload(bucket: BucketId, key: &str, initiated_ms: u64, upload: UploadId) -> Suffix {
    suffix(
        Table::Uploads,
        &[
            &bucket.0.to_be_bytes(),
            &escape(key.as_bytes()),
            &[0, 0],
            &initiated_ms.to_be_bytes(),
            &upload.0.to_be_bytes(),
        ],
    )
}

/// The beginning of the upload keys of all object keys with a prefix.
pub fn uploads(bucket: BucketId, prefix: &[u8]) -> Suffix {
    suffix(Table::Uploads, &[&bucket.0.to_be_bytes(), &escape(prefix)])
}

/// The beginning of the upload keys of one object key.
pub fn uploads_of(bucket: BucketId, key: &[u8]) -> Suffix {
    suffix(Table::Uploads, &[&bucket.0.to_be_bytes(), &escape(key), &[0, 0]])
}

/// A key of [`Table::UploadIds`] or [`Table::Finished`]; the beginning of an upload's keys in [`Table::Parts`].
pub fn by_upload(table: Table, upload: UploadId) -> Suffix {
    suffix(table, &[&upload.0.to_be_bytes()])
}

/// A key of [`Table::Parts`].
pub fn part(upload: UploadId, number: u16) -> Suffix {
    suffix(Table::Parts, &[&upload.0.to_be_bytes(), &number.to_be_bytes()])
}

/// A key of [`Table::Blobs`].
pub fn blob(blob: BlobId) -> Suffix {
    suffix(Table::Blobs, &[&blob.0.to_be_bytes()])
}

/// A key of [`Table::Trash`] or [`Table::FinishedAt`].
pub fn timed(table: Table, time_ms: u64, id: u128) -> Suffix {
    suffix(table, &[&time_ms.to_be_bytes(), &id.to_be_bytes()])
}

/// The first key of [`Table::Trash`], [`Table::FinishedAt`] or [`Table::DeletedAt`] that is not older than this.
pub fn timed_from(table: Table, time_ms: u64) -> Suffix {
    suffix(table, &[&time_ms.to_be_bytes()])
}

/// A key of [`Table::Bodies`].
pub fn body(number: u64) -> Suffix {
    suffix(Table::Bodies, &[&number.to_be_bytes()])
}

/// Time and id of a key that [`timed`] made.
pub fn read_timed(suffix: &[u8]) -> Option<(u64, u128)> {
    let (time, id) = suffix.get(1..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), u128::from_be_bytes(id.try_into().ok()?)))
}

/// The id of a key that [`blob`] or [`by_upload`] made.
pub fn read_id(suffix: &[u8]) -> Option<u128> {
    Some(u128::from_be_bytes(suffix.get(1..)?.try_into().ok()?))
}

/// The number of a key that [`bucket`] or [`request`] made.
pub fn read_number(suffix: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(suffix.get(1..)?.try_into().ok()?))
}

fn escape(key: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(key.len() + 2);
    for &byte in key {
        escaped.push(byte);
        if byte == 0 {
            escaped.push(0xff);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::engine::behind;

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(
            prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), Just('/'), Just('ÿ'), any::<char>()],
            1..6,
        )
        .prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn upload_keys_are_ordered_by_key_then_time_then_id(
            a in (text(), 0..3u64, 0..3u128), b in (text(), 0..3u64, 0..3u128)
        ) {
            let key = |(key, time, id): &(String, u64, u128)| upload(BucketId(1), key, *time, UploadId(*id));
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn a_prefix_of_keys_is_a_range_of_uploads(key in text(), prefix in text()) {
            let row = upload(BucketId(1), &key, 7, UploadId(9));
            let from = uploads(BucketId(1), prefix.as_bytes());
            let inside = from <= row && row < behind(&from);
            prop_assert_eq!(inside, key.starts_with(&prefix));
            let from = uploads_of(BucketId(1), prefix.as_bytes());
            let inside = from <= row && row < behind(&from);
            prop_assert_eq!(inside, key == prefix);
        }

        #[test]
        fn versions_are_ordered_by_key_then_newest_first(
            a in (text(), 0..3u32, 0..3u64), b in (text(), 0..3u32, 0..3u64)
        ) {
            let seq = |group, index| Seq { group: GroupId(group), index };
            let key = |(key, group, index): &(String, u32, u64)| {
                version(BucketId(1), key.as_bytes(), seq(*group, *index))
            };
            let order = a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2));
            prop_assert_eq!(key(&a).cmp(&key(&b)), order);
            prop_assert_eq!(read_version_key(&key(&a)).unwrap(), a.0.as_bytes());
            let from = versions_of(BucketId(1), b.0.as_bytes());
            prop_assert_eq!(from <= key(&a) && key(&a) < behind(&from), a.0 == b.0);
            let from = versions(BucketId(1), b.0.as_bytes());
            prop_assert_eq!(from <= key(&a) && key(&a) < behind(&from), a.0.starts_with(&b.0));
        }

        #[test]
        fn expiry_rows_come_back(time_ms: u64, bucket: u64, key in text(), group: u32, index: u64, upload: u128) {
            let version = What::Version(key.into_bytes(), Seq { group: GroupId(group), index });
            for what in [version, What::Upload(UploadId(upload))] {
                let row = Expiry { time_ms, bucket: BucketId(bucket), what };
                prop_assert_eq!(read_expiry(&expiry(time_ms, row.bucket, &row.what)), Some(row));
            }
        }

        #[test]
        fn object_keys_are_ordered_by_bucket_then_key(a in (0..3u64, text()), b in (0..3u64, text())) {
            let key = |(bucket, key): &(u64, String)| object(BucketId(*bucket), key.as_bytes());
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }
    }

    #[test]
    fn keys_are_these_bytes() {
        assert_eq!(pointer(GroupId(3)), [0, 0, 0, 3, 0, 0, 0, 0, 0]);
        assert_eq!(generation(GroupId(3), 5), [0, 0, 0, 3, 0, 0, 0, 5]);
        assert_eq!(object(BucketId(2), b"a\0b"), [0x10, 0, 0, 0, 0, 0, 0, 0, 2, b'a', 0, b'b']);
        assert_eq!(
            upload(BucketId(2), "a\0", 0x0102, UploadId(9)),
            [
                0x12, 0, 0, 0, 0, 0, 0, 0, 2, b'a', 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0, 0, 9
            ]
        );
        assert_eq!(part(UploadId(1), 258)[15..], [0, 1, 1, 2]);
        assert_eq!(body(1), [0x40, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(read_timed(&timed(Table::Trash, 5, 6)), Some((5, 6)));
        assert_eq!(read_id(&blob(BlobId(7))), Some(7));
        assert_eq!(read_number(&request(8)), Some(8));
        assert_eq!(generation_of(&generation(GroupId(1), 4)), Some(4));
    }
}
