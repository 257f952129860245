//! Objects without versions that are gone stay for a while, out of everybody's sight: in
//! [`Deleted`](key::Table::Deleted), with their bytes still theirs, until the leader's collector has them forgotten.
//!
//! They count for nothing in the bucket's usage and quota. Bringing one back is a write like any other: it gets a number
//! of its own, has to fit into the quota, and is protected as a new object would be.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::deleted::{Undelete, Why};
use holdfast_wire::id::{BucketId, ObjectKey};
use holdfast_wire::lock::ObjectLock;
use holdfast_wire::object::{Detail, Object, Summary};
use holdfast_wire::request::{Refusal, WriteOutcome};

use super::draft::Draft;
use super::object::{modified_ms, stored};
use super::{Stop, held, lock, version};
use crate::index::IndexError;
use crate::index::command::Outcome;
use crate::index::engine::Space;
use crate::index::key::{self, Expiry, Table, What};
use crate::index::record::{self, Leaving};
use crate::index::rows::read;

/// Rows that one command forgets.
pub const AT_ONCE: usize = 1000;

/// Keeps an object that has just left its place; its bytes stay its.
pub fn keep(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey, object: &Object, why: Why) {
    let (bytes, seq, since_ms) = (key.as_str().as_bytes(), object.summary.seq, draft.place.now_ms);
    draft.put_deleted_at(key::deleted(bucket, bytes, seq), Leaving { since_ms, why }, object);
    draft.mark(key::deleted_at(since_ms, bucket, bytes, seq));
    draft.recount_kept(|kept| {
        kept.objects += 1;
        kept.bytes += len(object);
    });
}

/// Brings one back.
pub fn undelete(draft: &mut Draft<'_>, bucket: &Bucket, wish: Undelete) -> Result<WriteOutcome, Stop> {
    let Undelete { key, seq, replace, .. } = wish;
    held(draft, bucket, &key)?;
    let bytes = key.as_str().as_bytes();
    let found = match seq {
        Some(seq) => draft.deleted_at(&key::deleted(bucket.id, bytes, seq))?,
        None => match draft.under(&key::deleted_of(bucket.id, bytes)).next().transpose().map_err(Stop::Failed)? {
            Some((suffix, value)) => Some(read(&suffix, record::decode_deleted(&value))?),
            None => None,
        },
    };
    let (leaving, object) = found.ok_or(Refusal::NotKept)?;
    let current = draft.object(bucket.id, &key)?;
    if current.is_some() && !replace {
        return Err(Refusal::InTheWay.into());
    }
    let lock = lock::of_new(bucket, ObjectLock::default(), draft.place.now_ms)?;
    remove(draft, bucket.id, &key, leaving, &object);
    let seq = draft.place.seq();
    let object = Object {
        // A rule that made it go shall not find it as old as it was.
        summary: Summary { seq, modified_ms: modified_ms(draft, current.as_ref()), ..object.summary },
        detail: Detail { lock, noncurrent_ms: None, ..object.detail },
    };
    let object = version::put(draft, bucket, &key, object, current)?;
    Ok(stored(bucket, object))
}

/// Lets go of what went before that time.
pub fn forget(draft: &mut Draft<'_>, before_ms: u64) -> Result<Outcome, IndexError> {
    let corrupt = || IndexError::Corrupt { table: Table::DeletedAt as u8 };
    let to = key::timed_from(Table::DeletedAt, before_ms);
    let rows = draft.before().range(Space::Records, &key::table(Table::DeletedAt), &to).take(AT_ONCE);
    for row in rows {
        let Expiry { bucket, what, .. } = key::read_expiry(&row?.0).ok_or_else(corrupt)?;
        let What::Version(name, seq) = what else { return Err(corrupt()) };
        let key: ObjectKey = String::from_utf8(name).ok().and_then(|name| name.try_into().ok()).ok_or_else(corrupt)?;
        let found = draft.deleted_at(&key::deleted(bucket, key.as_str().as_bytes(), seq))?;
        let (leaving, object) = found.ok_or(IndexError::Corrupt { table: Table::Deleted as u8 })?;
        remove(draft, bucket, &key, leaving, &object);
        draft.release(&object.detail.pieces)?;
    }
    Ok(Outcome::Done)
}

/// The inverse of [`keep`].
fn remove(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey, leaving: Leaving, object: &Object) {
    let (bytes, seq) = (key.as_str().as_bytes(), object.summary.seq);
    draft.remove(key::deleted(bucket, bytes, seq));
    draft.remove(key::deleted_at(leaving.since_ms, bucket, bytes, seq));
    draft.recount_kept(|kept| {
        kept.objects -= 1;
        kept.bytes -= len(object);
    });
}

/// Bytes that are kept of an object.
pub fn len(object: &Object) -> u64 {
    object.detail.pieces.iter().map(|piece| piece.len).sum()
}
