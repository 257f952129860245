//! What one entry changes, while it is being decided: rows as they are with the changes so far on top.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::{BlobId, BucketId, GroupId, ObjectKey, Seq};
use holdfast_wire::identity::Identities;
use holdfast_wire::object::{Object, Piece, Source};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::index::IndexError;
use crate::index::key::{self, Suffix, Table};
use crate::index::record::{self, BlobRow, Kept, Leaving, MARK, Root, Shard, Usage};
use crate::index::resident::{Resident, ResidentChanges};
use crate::index::rows::{Row, Rows, read};
use crate::position::Position;

/// An entry's place: all that `apply` knows besides the state and the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The group.
    pub group: GroupId,
    /// The entry's place in its log.
    pub position: Position,
    /// The leader's clock, Unix milliseconds.
    pub now_ms: u64,
}

impl Place {
    /// The version number of the entry's write.
    pub fn seq(&self) -> Seq {
        Seq { group: self.group, index: self.position.index }
    }
}

/// What an applied entry changed outside the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Blobs that something names now and nothing named before.
    pub referenced: Vec<BlobId>,
    /// Blobs that nothing names any more, or that a refused or repeated write named in vain.
    pub released: Vec<BlobId>,
    /// Nodes or map have changed.
    pub layout: bool,
    /// Anything may have changed: a snapshot was installed.
    pub everything: bool,
}

impl Effects {
    /// Those of a snapshot.
    pub fn everything() -> Self {
        Self { layout: true, everything: true, ..Self::default() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What one entry changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Records set or removed.
    pub records: BTreeMap<Suffix, Option<Bytes>>,
    /// Inline bodies set or removed.
    pub bodies: BTreeMap<u64, Option<Bytes>>,
    /// The same, of the small tables, as values.
    pub resident: ResidentChanges,
    /// What it changes elsewhere.
    pub effects: Effects,
}

/// Changes in the making.
pub struct Draft<'a> {
    /// The entry's place.
    pub place: Place,
    rows: Rows<'a>,
    resident: &'a Resident,
    changes: Changes,
    /// Per blob: its row before the entry, and how many names it has now.
    blobs: BTreeMap<BlobId, (Option<BlobRow>, BlobRow)>,
    named: BTreeSet<BlobId>,
    new_bodies: u64,
}

impl<'a> Draft<'a> {
    /// No changes yet.
    pub fn new(place: Place, rows: Rows<'a>, resident: &'a Resident) -> Self {
        Self {
            place,
            rows,
            resident,
            changes: Changes::default(),
            blobs: BTreeMap::new(),
            named: BTreeSet::new(),
            new_bodies: 0,
        }
    }

    /// Forgets all changes.
    pub fn start_over(&mut self) {
        *self = Self::new(self.place, self.rows, self.resident);
    }

    /// The rows as they were before the entry.
    pub fn before(&self) -> Rows<'a> {
        self.rows
    }

    fn get(&self, suffix: &[u8]) -> Result<Option<Bytes>, IndexError> {
        match self.changes.records.get(suffix) {
            Some(changed) => Ok(changed.clone()),
            None => self.rows.get(suffix),
        }
    }

    /// A record.
    pub fn record<T: DeserializeOwned>(&self, suffix: &[u8]) -> Result<Option<T>, IndexError> {
        self.get(suffix)?.map(|value| read(suffix, record::decode(&value))).transpose()
    }

    /// Whether there is such a row.
    pub fn has(&self, suffix: &[u8]) -> Result<bool, IndexError> {
        Ok(self.get(suffix)?.is_some())
    }

    /// Sets a record.
    pub fn put<T: Serialize>(&mut self, suffix: Suffix, record: &T) {
        self.changes.records.insert(suffix, Some(record::encode(record)));
    }

    /// Sets a row whose key says everything.
    pub fn mark(&mut self, suffix: Suffix) {
        self.changes.records.insert(suffix, Some(MARK));
    }

    /// Removes a row.
    pub fn remove(&mut self, suffix: Suffix) {
        self.changes.records.insert(suffix, None);
    }

    /// A bucket.
    pub fn bucket(&self, id: BucketId) -> Option<Arc<Bucket>> {
        match self.changes.resident.buckets.get(&id) {
            Some(changed) => changed.clone(),
            None => self.resident.buckets.get(&id).cloned(),
        }
    }

    /// A bucket by its name, as it was before the entry.
    pub fn bucket_named(&self, name: &holdfast_wire::id::BucketName) -> Option<Arc<Bucket>> {
        self.resident.names.get(name).and_then(|id| self.resident.buckets.get(id)).cloned()
    }

    /// Sets a bucket.
    pub fn put_bucket(&mut self, bucket: Bucket) {
        self.put(key::bucket(Table::Buckets, bucket.id), &bucket);
        self.changes.resident.buckets.insert(bucket.id, Some(Arc::new(bucket)));
    }

    /// Removes a bucket and its counters.
    pub fn remove_bucket(&mut self, id: BucketId) {
        self.remove(key::bucket(Table::Buckets, id));
        self.changes.resident.buckets.insert(id, None);
        if self.resident.usage.contains_key(&id) {
            self.remove(key::bucket(Table::Usage, id));
            self.changes.resident.usage.insert(id, None);
        }
    }

    /// What a bucket holds.
    pub fn usage(&self, bucket: BucketId) -> Usage {
        match self.changes.resident.usage.get(&bucket) {
            Some(changed) => changed.unwrap_or_default(),
            None => self.resident.usage.get(&bucket).copied().unwrap_or_default(),
        }
    }

    /// Counts what a bucket holds anew.
    pub fn recount(&mut self, bucket: BucketId, change: impl FnOnce(&mut Usage)) {
        let mut usage = self.usage(bucket);
        change(&mut usage);
        self.changes.resident.usage.insert(bucket, Some(usage));
    }

    /// Counts what is kept of objects that are gone anew.
    pub fn recount_kept(&mut self, change: impl FnOnce(&mut Kept)) {
        let kept = self.changes.resident.kept.get_or_insert(self.resident.kept);
        change(kept);
        let row = record::encode(kept);
        self.changes.records.insert(key::table(Table::Kept), Some(row));
    }

    /// What the shard holds.
    pub fn shard(&self) -> Option<Shard> {
        self.changes.resident.shard.or(self.resident.shard)
    }

    /// Sets what the shard holds.
    pub fn put_shard(&mut self, shard: Shard) {
        self.put(key::table(Table::Shard), &shard);
        self.changes.resident.shard = Some(shard);
    }

    /// Root's state.
    pub fn root(&self) -> Root {
        self.changes
            .resident
            .root
            .as_ref()
            .or(self.resident.root.as_ref())
            .map_or_else(Root::default, |r| (**r).clone())
    }

    /// Sets root's state.
    pub fn put_root(&mut self, root: Root) {
        self.put(key::table(Table::Root), &root);
        self.changes.effects.layout |= self.root().layout != root.layout;
        self.changes.resident.root = Some(Arc::new(root));
    }

    /// Whom the cluster knew before the entry.
    pub fn identities(&self) -> &'a Identities {
        &self.resident.identities
    }

    /// Sets whom the cluster knows.
    pub fn put_identities(&mut self, identities: Identities) {
        self.put(key::table(Table::Identities), &identities);
        self.changes.resident.identities = Some(Arc::new(identities));
    }

    /// The object in a row of [`Table::Objects`] or [`Table::Versions`].
    pub fn object_at(&self, suffix: &[u8]) -> Result<Option<Object>, IndexError> {
        self.get(suffix)?.map(|value| read(suffix, record::decode_object(&value))).transpose()
    }

    /// Sets such a row.
    pub fn put_object_at(&mut self, suffix: Suffix, object: &Object) {
        self.changes.records.insert(suffix, Some(record::encode_object(object)));
    }

    /// The object in a row of [`Table::Deleted`], and how it went.
    pub fn deleted_at(&self, suffix: &[u8]) -> Result<Option<(Leaving, Object)>, IndexError> {
        self.get(suffix)?.map(|value| read(suffix, record::decode_deleted(&value))).transpose()
    }

    /// Sets such a row.
    pub fn put_deleted_at(&mut self, suffix: Suffix, leaving: Leaving, object: &Object) {
        self.changes.records.insert(suffix, Some(record::encode_deleted(leaving, object)));
    }

    /// An object.
    pub fn object(&self, bucket: BucketId, key: &ObjectKey) -> Result<Option<Object>, IndexError> {
        self.object_at(&key::object(bucket, key.as_str().as_bytes()))
    }

    /// The records under `prefix`, with the changes so far, in order.
    pub fn under(&self, prefix: &[u8]) -> impl Iterator<Item = Row> + '_ {
        let behind = crate::index::engine::behind(prefix);
        let changed = self.changes.records.range(prefix.to_vec()..behind);
        Overlay { rows: self.rows.under(prefix).peekable(), changed: changed.peekable() }
    }

    /// Keeps an inline body under a fresh number: the log index, for further ones of the same entry with their count in
    /// the highest 16 bits.
    pub fn add_body(&mut self, body: Bytes) -> Piece {
        let number = self.place.position.index | self.new_bodies << 48;
        self.new_bodies += 1;
        let len = body.len() as u64;
        self.changes.bodies.insert(number, Some(body));
        Piece { source: Source::Inline(number), len }
    }

    /// An inline body.
    pub fn body(&self, number: u64) -> Result<Bytes, IndexError> {
        let body = match self.changes.bodies.get(&number) {
            Some(changed) => changed.clone(),
            None => self.rows.body(number)?,
        };
        body.ok_or(IndexError::Corrupt { table: Table::Bodies as u8 })
    }

    /// A write names a blob: unless it is retained, it goes to the trash.
    pub fn name_blob(&mut self, blob: BlobId, len: u64) -> Result<(), IndexError> {
        self.named.insert(blob);
        self.blob(blob, len).map(drop)
    }

    /// One more name for a blob.
    pub fn retain_blob(&mut self, blob: BlobId, len: u64) -> Result<Piece, IndexError> {
        self.blob(blob, len)?.references += 1;
        Ok(Piece { source: Source::Blob(blob), len })
    }

    /// The bytes of an object or part are no longer its.
    pub fn release(&mut self, pieces: &[Piece]) -> Result<(), IndexError> {
        for piece in pieces {
            match piece.source {
                Source::Inline(number) => {
                    self.changes.bodies.insert(number, None);
                }
                Source::Blob(blob) => {
                    let row = self.blob(blob, piece.len)?;
                    row.references =
                        row.references.checked_sub(1).ok_or(IndexError::Corrupt { table: Table::Blobs as u8 })?;
                }
            }
        }
        Ok(())
    }

    fn blob(&mut self, blob: BlobId, len: u64) -> Result<&mut BlobRow, IndexError> {
        if !self.blobs.contains_key(&blob) {
            let before = self.record::<BlobRow>(&key::blob(blob))?;
            self.blobs.insert(blob, (before, before.unwrap_or(BlobRow { references: 0, len, trashed_ms: None })));
        }
        Ok(self.blobs.get_mut(&blob).map(|(_, row)| row).expect("put there above"))
    }

    /// The finished changes.
    pub fn finish(mut self) -> Changes {
        for (blob, (before, mut row)) in std::mem::take(&mut self.blobs) {
            let referenced = before.is_some_and(|before| before.references > 0);
            if row.references > 0 {
                if let Some(trashed_ms) = row.trashed_ms.take() {
                    self.remove(key::timed(Table::Trash, trashed_ms, blob.0));
                }
                if !referenced {
                    self.changes.effects.referenced.push(blob);
                }
            } else {
                if row.trashed_ms.is_none() {
                    row.trashed_ms = Some(self.place.now_ms);
                    self.mark(key::timed(Table::Trash, self.place.now_ms, blob.0));
                }
                if referenced || self.named.contains(&blob) {
                    self.changes.effects.released.push(blob);
                }
            }
            if before != Some(row) {
                self.put(key::blob(blob), &row);
            }
        }
        for (bucket, usage) in &self.changes.resident.usage {
            if let Some(usage) = usage {
                self.changes.records.insert(key::bucket(Table::Usage, *bucket), Some(record::encode(usage)));
            }
        }
        self.changes
    }
}

/// Rows with changes on top.
struct Overlay<'d, R: Iterator<Item = Row>> {
    rows: std::iter::Peekable<R>,
    changed: std::iter::Peekable<std::collections::btree_map::Range<'d, Suffix, Option<Bytes>>>,
}

impl<R: Iterator<Item = Row>> Iterator for Overlay<'_, R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            let from_rows = match (self.rows.peek(), self.changed.peek()) {
                (Some(Err(_)), _) | (Some(_), None) => true,
                (Some(Ok((row, _))), Some((changed, _))) if row[..] < changed[..] => true,
                (Some(Ok((row, _))), Some((changed, _))) => {
                    if row[..] == changed[..] {
                        self.rows.next();
                    }
                    false
                }
                (None, _) => false,
            };
            if from_rows {
                return self.rows.next();
            }
            let (suffix, value) = self.changed.next()?;
            if let Some(value) = value {
                return Some(Ok((Bytes::copy_from_slice(suffix), value.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What lies on top is what a map has after the changes, in its order.
        #[test]
        fn changes_lie_on_top_of_rows(
            rows in prop::collection::btree_map("[abc]{1,2}", "[xy]", 0..8),
            changed in prop::collection::btree_map("[abc]{1,2}", prop::option::of("[xy]"), 0..8),
        ) {
            let mut whole = rows.clone();
            for (suffix, value) in &changed {
                match value {
                    Some(value) => whole.insert(suffix.clone(), value.clone()),
                    None => whole.remove(suffix),
                };
            }
            let rows = rows.into_iter().map(|(suffix, value)| Ok((Bytes::from(suffix), Bytes::from(value))));
            let changed: BTreeMap<Suffix, Option<Bytes>> =
                changed.into_iter().map(|(suffix, value)| (suffix.into_bytes(), value.map(Bytes::from))).collect();
            let overlay = Overlay { rows: rows.peekable(), changed: changed.range(Suffix::new()..).peekable() };
            let found: Vec<(Bytes, Bytes)> = overlay.map(Result::unwrap).collect();
            let whole: Vec<_> = whole.into_iter().map(|(suffix, value)| (Bytes::from(suffix), Bytes::from(value))).collect();
            prop_assert_eq!(found, whole);
        }
    }
}
