//! The small tables, kept in memory as well: what every entry and every read needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::{BucketId, BucketName};
use holdfast_wire::identity::Identities;

use super::IndexError;
use super::key::{self, Table};
use super::record::{self, Kept, Root, Shard, Usage};
use super::rows::{Rows, read};

/// Buckets, usage, and what the group is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// Buckets by id.
    pub buckets: BTreeMap<BucketId, Arc<Bucket>>,
    /// Bucket ids by name.
    pub names: BTreeMap<BucketName, BucketId>,
    /// Usage by bucket.
    pub usage: BTreeMap<BucketId, Usage>,
    /// What is kept of objects that are gone.
    pub kept: Kept,
    /// What the shard holds; `None`: whatever it is asked for.
    pub shard: Option<Shard>,
    /// Root's own state; `None` before genesis and in shards.
    pub root: Option<Arc<Root>>,
    /// Whom the cluster knows; nobody in shards.
    pub identities: Arc<Identities>,
}

/// What an entry changes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResidentChanges {
    /// Buckets set or removed.
    pub buckets: BTreeMap<BucketId, Option<Arc<Bucket>>>,
    /// Usage set or removed.
    pub usage: BTreeMap<BucketId, Option<Usage>>,
    /// What is kept now of objects that are gone.
    pub kept: Option<Kept>,
    /// The shard's new range.
    pub shard: Option<Shard>,
    /// Root's new state.
    pub root: Option<Arc<Root>>,
    /// Whom the cluster knows now.
    pub identities: Option<Arc<Identities>>,
}

impl Resident {
    /// Reads it from the tables.
    pub fn load(rows: Rows<'_>) -> Result<Self, IndexError> {
        let mut changes = ResidentChanges {
            kept: rows.record(&key::table(Table::Kept))?,
            shard: rows.record(&key::table(Table::Shard))?,
            root: rows.record(&key::table(Table::Root))?.map(Arc::new),
            identities: rows.record(&key::table(Table::Identities))?.map(Arc::new),
            ..ResidentChanges::default()
        };
        for row in rows.under(&key::table(Table::Buckets)) {
            let (suffix, value) = row?;
            let bucket: Bucket = read(&suffix, record::decode(&value))?;
            changes.buckets.insert(bucket.id, Some(Arc::new(bucket)));
        }
        for row in rows.under(&key::table(Table::Usage)) {
            let (suffix, value) = row?;
            let bucket = key::read_number(&suffix).ok_or(IndexError::Corrupt { table: Table::Usage as u8 })?;
            changes.usage.insert(BucketId(bucket), Some(read(&suffix, record::decode(&value))?));
        }
        let mut resident = Self::default();
        resident.adopt(changes);
        Ok(resident)
    }

    /// Takes over what an entry changed.
    pub fn adopt(&mut self, changes: ResidentChanges) {
        for (id, bucket) in changes.buckets {
            if let Some(old) = self.buckets.remove(&id) {
                self.names.remove(&old.name);
            }
            if let Some(bucket) = bucket {
                self.names.insert(bucket.name.clone(), id);
                self.buckets.insert(id, bucket);
            }
        }
        for (id, usage) in changes.usage {
            match usage {
                Some(usage) => self.usage.insert(id, usage),
                None => self.usage.remove(&id),
            };
        }
        self.kept = changes.kept.unwrap_or(self.kept);
        self.shard = changes.shard.or(self.shard);
        self.root = changes.root.or(self.root.take());
        if let Some(identities) = changes.identities {
            self.identities = identities;
        }
    }
}
