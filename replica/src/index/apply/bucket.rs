//! A shard's copies of buckets, and its range.

use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::id::{BucketId, Epoch};
use holdfast_wire::object::Upload;
use holdfast_wire::placement::HashRange;

use super::draft::Draft;
use super::{lifecycle, multipart, quota};
use crate::index::IndexError;
use crate::index::command::Outcome;
use crate::index::key::{self, Table};
use crate::index::record::{self, Shard, UploadPlace};
use crate::index::rows::read;

pub fn install(draft: &mut Draft<'_>, bucket: Bucket) -> Result<Outcome, IndexError> {
    let id = bucket.id;
    let newer = draft.bucket(id).is_none_or(|known| known.revision < bucket.revision);
    // A copy that was sent before the bucket went, and comes after, must not bring it back.
    if newer && !draft.has(&key::bucket(Table::Gone, id))? {
        let rules = |bucket: &Bucket| bucket.configuration.lifecycle.clone();
        let changed = draft.bucket(id).and_then(|known| rules(&known)) != rules(&bucket);
        if changed {
            lifecycle::rules_changed(draft, &bucket);
        }
        if bucket.configuration.quota.is_none() {
            quota::forget(draft, id)?;
        }
        draft.put_bucket(bucket);
    }
    Ok(Outcome::BucketInstalled { empty: draft.usage(id).is_empty() })
}

pub fn remove(draft: &mut Draft<'_>, id: BucketId) -> Result<Outcome, IndexError> {
    // One that is in use again, or was never frozen, stays: its deletion was given up meanwhile.
    let in_use = draft.bucket(id).is_some_and(|bucket| bucket.state != BucketState::Deleting);
    if in_use || !draft.usage(id).is_empty() {
        return Ok(Outcome::BucketInstalled { empty: false });
    }
    let uploads: Vec<Upload> = draft
        .before()
        .under(&key::bucket(Table::Uploads, id))
        .map(|row| {
            let (suffix, value) = row?;
            read(&suffix, record::decode(&value))
        })
        .collect::<Result<_, _>>()?;
    for upload in uploads {
        let place = UploadPlace { bucket: id, key: upload.key, initiated_ms: upload.initiated_ms };
        multipart::abandon(draft, upload.id, &place)?;
    }
    quota::forget(draft, id)?;
    if draft.bucket(id).is_some() {
        draft.remove_bucket(id);
    }
    draft.mark(key::bucket(Table::Gone, id));
    Ok(Outcome::BucketInstalled { empty: true })
}

pub fn set_range(draft: &mut Draft<'_>, range: HashRange, epoch: Epoch) -> Outcome {
    if draft.shard().is_none_or(|shard| shard.epoch < epoch) {
        draft.put_shard(Shard { range, epoch });
    }
    Outcome::Done
}
