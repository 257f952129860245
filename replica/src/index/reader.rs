//! Reading one group: a frozen view, so that several reads speak of one moment.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::deleted::{DeletedPage, ListDeleted};
use holdfast_wire::due::Due;
use holdfast_wire::id::{BlobId, BucketId, ObjectKey, UploadId};
use holdfast_wire::object::{Object, Part, Upload};
use holdfast_wire::request::{GetObject, ListObjects, ListPage, ListUploads, ListVersions, NotRead, VersionPage};
use holdfast_wire::usage::Share;

use super::IndexError;
use super::apply::AT_ONCE;
use super::deleted;
use super::due;
use super::engine::{Space, View, behind};
use super::key::{self, PREFIX, Table};
use super::page::{self, UploadPage};
use super::record::{self, Allowance, BlobRow, Progress};
use super::rows::{Rows, read};
use super::sound;
use super::versions;

/// One group as it was when the reader was made. An object's inline body is there as long as the reader.
#[derive(Clone)]
pub struct Reader {
    view: Arc<dyn View>,
    prefix: [u8; PREFIX],
}

impl Reader {
    pub(super) fn new(view: Arc<dyn View>, prefix: [u8; PREFIX]) -> Self {
        Self { view, prefix }
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        Rows::new(&*self.view, self.prefix)
    }

    /// An object.
    pub fn object(&self, bucket: BucketId, key: &ObjectKey) -> Result<Option<Object>, IndexError> {
        let suffix = key::object(bucket, key.as_str().as_bytes());
        self.rows().get(&suffix)?.map(|value| read(&suffix, record::decode_object(&value))).transpose()
    }

    /// The version that a read asks for, or how it ends without one.
    pub fn find(&self, get: &GetObject) -> Result<Result<Object, NotRead>, IndexError> {
        versions::find(self.rows(), get)
    }

    /// The log index up to which this view goes; 0 for an empty group.
    pub fn applied(&self) -> Result<u64, IndexError> {
        let progress: Option<Progress> = self.rows().record(&key::table(Table::Applied))?;
        Ok(progress.and_then(|progress| progress.position).map_or(0, |position| position.index))
    }

    /// The inline body of that number ([`Source::Inline`](holdfast_wire::object::Source)). Numbers are never reused.
    pub fn inline_body(&self, number: u64) -> Result<Option<Bytes>, IndexError> {
        self.rows().body(number)
    }

    /// A page of objects.
    pub fn list(&self, list: &ListObjects) -> Result<ListPage, IndexError> {
        page::objects(self.rows(), list)
    }

    /// A page of versions.
    pub fn list_versions(&self, list: &ListVersions) -> Result<VersionPage, IndexError> {
        versions::page(self.rows(), list)
    }

    /// A page of open uploads.
    pub fn list_uploads(&self, list: &ListUploads) -> Result<UploadPage, IndexError> {
        page::uploads(self.rows(), list)
    }

    /// An open upload, at most `limit` of its parts above number `after`, and whether there are more.
    pub fn list_parts(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        after: u16,
        limit: u32,
    ) -> Result<Option<(Upload, Vec<Part>, bool)>, IndexError> {
        page::parts(self.rows(), bucket, key, upload, after, limit)
    }

    /// Whether lifecycle rules are to look at something at `now_ms`.
    pub fn is_due(&self, now_ms: u64) -> Result<bool, IndexError> {
        let to = key::expiry_from(now_ms.saturating_add(1));
        let first = self.rows().range(Space::Records, &key::table(Table::Expiry), &to).next();
        Ok(first.transpose()?.is_some())
    }

    /// What a bucket's rules will make go, in the order of their times, at most `limit`; and whether there is more.
    pub fn due(&self, bucket: &Bucket, limit: u32) -> Result<(Vec<Due>, bool), IndexError> {
        due::page(self.rows(), bucket, limit)
    }

    /// Objects that are gone and kept.
    pub fn deleted(&self, list: &ListDeleted) -> Result<DeletedPage, IndexError> {
        deleted::page(self.rows(), list)
    }

    /// What does not fit together, a sentence each, at most a few; nothing in a sound index. Reads all rows.
    pub fn unsound(&self) -> Result<Vec<String>, IndexError> {
        sound::problems(self.rows())
    }

    /// Whether something is kept that went before that time, Unix milliseconds.
    pub fn is_forgettable(&self, before_ms: u64) -> Result<bool, IndexError> {
        let to = key::timed_from(Table::DeletedAt, before_ms);
        let first = self.rows().range(Space::Records, &key::table(Table::DeletedAt), &to).next();
        Ok(first.transpose()?.is_some())
    }

    /// The time before which objects went that must be forgotten for `bytes` to become free, oldest first; of as many
    /// as one command forgets.
    pub fn crowding(&self, bytes: u64) -> Result<Option<u64>, IndexError> {
        deleted::crowding(self.rows(), bytes, AT_ONCE)
    }

    /// Whether not all that a bucket held before its rules is in the expiry index yet.
    pub fn indexing(&self, bucket: BucketId) -> Result<bool, IndexError> {
        Ok(self.rows().get(&key::bucket(Table::Reindex, bucket))?.is_some())
    }

    /// How far a bucket may grow in this shard; nothing before its quota has been shared out.
    pub fn share(&self, bucket: BucketId) -> Result<Share, IndexError> {
        let allowance: Option<Allowance> = self.rows().record(&key::bucket(Table::Allowances, bucket))?;
        Ok(allowance.unwrap_or_default().share)
    }

    /// A bucket whose lifecycle rules have changed and do not see yet all that it holds.
    pub fn unindexed(&self) -> Result<Option<BucketId>, IndexError> {
        let Some(row) = self.rows().under(&key::table(Table::Reindex)).next() else { return Ok(None) };
        let bucket = key::read_number(&row?.0).ok_or(IndexError::Corrupt { table: Table::Reindex as u8 })?;
        Ok(Some(BucketId(bucket)))
    }

    /// Blobs that something names, with their bytes, in order of their ids behind `after`.
    pub fn blobs(&self, after: Option<BlobId>, limit: usize) -> Result<Vec<(BlobId, u64)>, IndexError> {
        let from = after.map_or_else(
            || key::table(Table::Blobs),
            |after| {
                let mut from = key::blob(after);
                from.push(0);
                from
            },
        );
        let mut blobs = Vec::new();
        for row in self.rows().range(Space::Records, &from, &behind(&key::table(Table::Blobs))) {
            if blobs.len() == limit {
                break;
            }
            let (suffix, value) = row?;
            let found: BlobRow = read(&suffix, record::decode(&value))?;
            let id = key::read_id(&suffix).ok_or(IndexError::Corrupt { table: Table::Blobs as u8 })?;
            if found.references > 0 {
                blobs.push((BlobId(id), found.len));
            }
        }
        Ok(blobs)
    }

    /// How many objects and parts name a blob.
    pub fn references(&self, blob: BlobId) -> Result<u64, IndexError> {
        let row: Option<BlobRow> = self.rows().record(&key::blob(blob))?;
        Ok(row.map_or(0, |row| row.references))
    }

    /// Blobs that nothing has named since before that time (Unix milliseconds), oldest first, each with the time since
    /// when; those behind `after`.
    pub fn trash(
        &self,
        after: Option<(u64, BlobId)>,
        before_ms: u64,
        limit: usize,
    ) -> Result<Vec<(u64, BlobId)>, IndexError> {
        let from = after.map_or(key::table(Table::Trash), |(ms, id)| key::timed(Table::Trash, ms, id.0));
        self.rows()
            .range(Space::Records, &from, &key::timed_from(Table::Trash, before_ms))
            .map(|row| {
                let (ms, id) = key::read_timed(&row?.0).ok_or(IndexError::Corrupt { table: Table::Trash as u8 })?;
                Ok((ms, BlobId(id)))
            })
            .filter(|row| row.as_ref().ok().is_none_or(|row| Some(*row) != after))
            .take(limit)
            .collect()
    }
}
