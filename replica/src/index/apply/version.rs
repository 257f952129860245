//! The versions of a key: which one is current, which ones are behind it, and what covers them.
//!
//! The newest version stands in [`Objects`](key::Table::Objects) if it is an object; every other one, and every delete marker, in
//! [`Versions`](key::Table::Versions). So a key whose newest version is a delete marker has no row in `Objects`, and listings and reads
//! of objects never meet a marker. [`Nulls`](key::Table::Nulls) says which row of `Versions` is the version `null`.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Versioning;
use holdfast_wire::deleted::Why;
use holdfast_wire::id::{BucketId, ObjectKey, Seq, VersionId};
use holdfast_wire::object::{Object, Summary};

use super::draft::Draft;
use super::{lifecycle, undelete};
use crate::index::IndexError;
use crate::index::key;
use crate::index::record;
use crate::index::rows::read;

/// A version and where it stands.
pub struct Found {
    /// The version.
    pub object: Object,
    /// Whether it is the current object.
    pub current: bool,
}

/// The version of that id.
pub fn find(
    draft: &Draft<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    version: VersionId,
) -> Result<Option<Found>, IndexError> {
    if let Some(object) = draft.object(bucket, key)?
        && object.summary.version() == version
    {
        return Ok(Some(Found { object, current: true }));
    }
    let bytes = key.as_str().as_bytes();
    let seq = match version {
        VersionId::Of(seq) => Some(seq),
        VersionId::Null => draft.record::<Seq>(&key::null(bucket, bytes))?,
    };
    let Some(seq) = seq else { return Ok(None) };
    let object = draft.object_at(&key::version(bucket, bytes, seq))?;
    // The number of a version `null` is not its id.
    Ok(object.filter(|object| object.summary.version() == version).map(|object| Found { object, current: false }))
}

/// Makes `object` the newest version of the key, as the bucket's versioning has it: what was the newest is replaced, or
/// goes behind it.
pub fn put(
    draft: &mut Draft<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    mut object: Object,
    current: Option<Object>,
) -> Result<Object, IndexError> {
    object.summary.versioned = bucket.versioning() == Versioning::Enabled;
    make_way(draft, bucket, key, current, Why::Overwritten)?;
    insert(draft, bucket.id, key, &object, true);
    Ok(object)
}

/// Puts a delete marker in the place of the newest version.
pub fn cover(
    draft: &mut Draft<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    current: Option<Object>,
    why: Why,
) -> Result<Summary, IndexError> {
    make_way(draft, bucket, key, current, why)?;
    let summary = Summary {
        seq: draft.place.seq(),
        versioned: bucket.versioning() == Versioning::Enabled,
        marker: true,
        modified_ms: draft.place.now_ms,
        owner: bucket.owner.clone(),
        ..Summary::default()
    };
    let marker = Object { summary, ..Object::default() };
    insert(draft, bucket.id, key, &marker, false);
    Ok(marker.summary)
}

/// Removes the current object of a bucket that has no versions. It can be brought back for a while.
pub fn let_go(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey, object: &Object, why: Why) {
    take(draft, bucket, key, object, true);
    undelete::keep(draft, bucket, key, object, why);
}

/// Removes a version for good. When it was the newest, the one below is the newest again.
pub fn remove(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey, found: &Found) -> Result<(), IndexError> {
    take(draft, bucket, key, &found.object, found.current);
    draft.release(&found.object.detail.pieces)?;
    if draft.object(bucket, key)?.is_none()
        && let Some(mut next) = newest_behind(draft, bucket, key)?
    {
        // A marker that was the newest all along may be all that is left now: the rules look at it again.
        take(draft, bucket, key, &next, false);
        next.detail.noncurrent_ms = None;
        insert(draft, bucket, key, &next, !next.summary.marker);
    }
    Ok(())
}

/// Replaces a version's record by one with the same number and bytes.
pub fn replace(
    draft: &mut Draft<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    before: &Object,
    object: &Object,
    current: bool,
) {
    lifecycle::unschedule(draft, bucket, key, before);
    draft.put_object_at(row(bucket, key, object.summary.seq, current), object);
    lifecycle::schedule(draft, bucket, key, object);
}

/// The newest version in [`Versions`](key::Table::Versions).
pub fn newest_behind(draft: &Draft<'_>, bucket: BucketId, key: &ObjectKey) -> Result<Option<Object>, IndexError> {
    let first = draft.under(&key::versions_of(bucket, key.as_str().as_bytes())).next();
    first
        .map(|row| {
            let (suffix, value) = row?;
            read(&suffix, record::decode_object(&value))
        })
        .transpose()
}

/// Takes the newest version out of the place of the newest: for good where the new one is of the same id (there is one
/// `null`), to those behind otherwise. An object that goes for good can be brought back for a while.
fn make_way(
    draft: &mut Draft<'_>,
    bucket: &Bucket,
    key: &ObjectKey,
    current: Option<Object>,
    why: Why,
) -> Result<(), IndexError> {
    let versioning = bucket.versioning();
    let null_goes = versioning != Versioning::Enabled;
    let mut null_is_current = false;
    if current.is_none()
        && versioning != Versioning::Off
        && let Some(before) = newest_behind(draft, bucket.id, key)?
        && before.detail.noncurrent_ms.is_none()
    {
        let mut marker = before.clone();
        marker.detail.noncurrent_ms = Some(draft.place.now_ms);
        replace(draft, bucket.id, key, &before, &marker, false);
        lifecycle::overtaken(draft, bucket.id, key)?;
    }
    if let Some(mut current) = current {
        take(draft, bucket.id, key, &current, true);
        if null_goes && !current.summary.versioned {
            null_is_current = true;
            undelete::keep(draft, bucket.id, key, &current, why);
        } else {
            current.detail.noncurrent_ms = Some(draft.place.now_ms);
            insert(draft, bucket.id, key, &current, false);
            lifecycle::overtaken(draft, bucket.id, key)?;
        }
    }
    if versioning == Versioning::Suspended
        && !null_is_current
        && let Some(found) = find(draft, bucket.id, key, VersionId::Null)?
    {
        take(draft, bucket.id, key, &found.object, found.current);
        // It was overwritten when the newer ones were; a marker has nothing to keep.
        if !found.object.summary.marker {
            undelete::keep(draft, bucket.id, key, &found.object, Why::Overwritten);
        }
    }
    Ok(())
}

fn row(bucket: BucketId, key: &ObjectKey, seq: Seq, current: bool) -> key::Suffix {
    let bytes = key.as_str().as_bytes();
    if current { key::object(bucket, bytes) } else { key::version(bucket, bytes, seq) }
}

/// Puts a version where it belongs, and counts it.
fn insert(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey, object: &Object, current: bool) {
    let Summary { seq, size, versioned, .. } = object.summary;
    draft.put_object_at(row(bucket, key, seq, current), object);
    lifecycle::schedule(draft, bucket, key, object);
    if !current && !versioned {
        draft.put(key::null(bucket, key.as_str().as_bytes()), &seq);
    }
    draft.recount(bucket, |usage| {
        *(if current { &mut usage.objects } else { &mut usage.versions }) += 1;
        usage.bytes += size;
    });
}

/// The inverse of [`insert`]. Its bytes stay.
fn take(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey, object: &Object, current: bool) {
    let Summary { seq, size, versioned, .. } = object.summary;
    draft.remove(row(bucket, key, seq, current));
    lifecycle::unschedule(draft, bucket, key, object);
    if !current && !versioned {
        draft.remove(key::null(bucket, key.as_str().as_bytes()));
    }
    draft.recount(bucket, |usage| {
        *(if current { &mut usage.objects } else { &mut usage.versions }) -= 1;
        usage.bytes -= size;
    });
}
