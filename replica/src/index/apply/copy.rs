//! Copies and renames within the shard: no bytes move, blobs get another name.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::condition::{ReadCondition, Unmet};
use holdfast_wire::configuration::Versioning;
use holdfast_wire::deleted::Why;
use holdfast_wire::id::{BucketId, ObjectKey, Seq, VersionId};
use holdfast_wire::lock::ObjectLock;
use holdfast_wire::object::{ChecksumKind, Detail, Object, Part, Piece, Source, Summary};
use holdfast_wire::request::{CopyObject, CopyPart, Refusal, RenameObject, WriteOutcome};

use super::draft::Draft;
use super::object::{modified_ms, stored};
use super::version::{self, Found};
use super::{Stop, held, lock, multipart};
use crate::index::IndexError;
use crate::index::key;

pub fn object(draft: &mut Draft<'_>, bucket: &Bucket, copy: CopyObject) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &copy.key)?;
    let source = source(draft, copy.from_bucket, &copy.from_key, copy.from_version, copy.from_seq)?;
    let current = draft.object(bucket.id, &copy.key)?;
    copy.condition.judge(current.as_ref().map(|object| &object.summary)).map_err(Refusal::Condition)?;
    let lock = lock::of_new(bucket, copy.attributes.lock, draft.place.now_ms)?;
    let pieces = share(draft, &source.detail.pieces)?;
    let object = Object {
        summary: Summary {
            seq: draft.place.seq(),
            modified_ms: modified_ms(draft, current.as_ref()),
            storage_class: copy.attributes.storage_class,
            owner: copy.owner,
            ..source.summary
        },
        detail: Detail {
            headers: copy.attributes.headers,
            metadata: copy.attributes.metadata,
            tags: copy.attributes.tags,
            pieces,
            lock,
            noncurrent_ms: None,
            seal: copy.attributes.seal,
            acl: copy.attributes.acl,
            ..source.detail
        },
    };
    let object = version::put(draft, bucket, &copy.key, object, current)?;
    Ok(stored(bucket, object))
}

pub fn part(draft: &mut Draft<'_>, bucket: &Bucket, copy: CopyPart) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &copy.key)?;
    multipart::open(draft, bucket, &copy.key, copy.upload)?;
    let source = source_of_seq(draft, copy.from_bucket, &copy.from_key, copy.from_seq)?;
    let whole = source.checksum().filter(|checksum| checksum.kind == ChecksumKind::FullObject);
    let part = Part {
        number: copy.number,
        seq: draft.place.seq(),
        size: source.summary.size,
        modified_ms: draft.place.now_ms,
        etag: source.summary.etag,
        checksum: whole,
        pieces: share(draft, &source.detail.pieces)?,
        // Gateways copy what is encrypted by reading it.
        salt: None,
    };
    let suffix = key::part(copy.upload, copy.number);
    let replaced = draft.record::<Part>(&suffix)?;
    multipart::keep_part(draft, bucket.id, suffix, &part, replaced)?;
    Ok(multipart::part_stored(part))
}

pub fn rename(draft: &mut Draft<'_>, bucket: &Bucket, rename: RenameObject) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &rename.key)?;
    held(draft, bucket, &rename.from_key)?;
    let source = draft.object(bucket.id, &rename.from_key)?.ok_or(Refusal::NoSuchKey)?;
    judge(&rename.from_condition, Some(&source.summary))?;
    if rename.key == rename.from_key {
        return Err(Refusal::SameKey.into());
    }
    let current = draft.object(bucket.id, &rename.key)?;
    judge(&rename.condition, current.as_ref().map(|object| &object.summary))?;
    let lock = lock::of_new(bucket, ObjectLock::default(), draft.place.now_ms)?;
    let pieces = share(draft, &source.detail.pieces)?;
    let object = Object {
        summary: Summary { seq: draft.place.seq(), ..source.summary.clone() },
        detail: Detail { pieces, lock, noncurrent_ms: None, ..source.detail.clone() },
    };
    let object = version::put(draft, bucket, &rename.key, object, current)?;
    match bucket.versioning() {
        Versioning::Off => {
            version::remove(draft, bucket.id, &rename.from_key, &Found { object: source, current: true })?;
        }
        // The version stays under its old key, with what protects it; a marker covers it.
        Versioning::Enabled | Versioning::Suspended => {
            version::cover(draft, bucket, &rename.from_key, Some(source), Why::Deleted)?;
        }
    }
    Ok(stored(bucket, object))
}

/// The conditions of RenameObject are those of reads, and what is not met is always a failed precondition.
fn judge(condition: &ReadCondition, object: Option<&Summary>) -> Result<(), Refusal> {
    let met = match object {
        Some(object) => condition.judge(object).is_ok(),
        None => condition.if_match.is_none(),
    };
    if met { Ok(()) } else { Err(Refusal::Condition(Unmet::Different)) }
}

/// The source of a copy, if it is still the one that the gateway saw.
fn source(
    draft: &Draft<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    version: Option<VersionId>,
    seq: Seq,
) -> Result<Object, Stop> {
    let bucket = draft.bucket(bucket).ok_or(Refusal::NoSuchBucket)?;
    held(draft, &bucket, key)?;
    let source = match version {
        None => draft.object(bucket.id, key)?.ok_or(Refusal::NoSuchKey)?,
        Some(id) => version::find(draft, bucket.id, key, id)?.ok_or(Refusal::NoSuchVersion)?.object,
    };
    if source.summary.seq != seq || source.summary.marker {
        return Err(Refusal::SourceChanged.into());
    }
    Ok(source)
}

/// The version with this number, current or not.
fn source_of_seq(draft: &Draft<'_>, bucket: BucketId, key: &ObjectKey, seq: Seq) -> Result<Object, Stop> {
    let bucket = draft.bucket(bucket).ok_or(Refusal::NoSuchBucket)?;
    held(draft, &bucket, key)?;
    if let Some(object) = draft.object(bucket.id, key)?
        && object.summary.seq == seq
    {
        return Ok(object);
    }
    let behind = draft.object_at(&key::version(bucket.id, key.as_str().as_bytes(), seq))?;
    Ok(behind.filter(|object| !object.summary.marker).ok_or(Refusal::SourceChanged)?)
}

/// The same bytes under one more name.
fn share(draft: &mut Draft<'_>, pieces: &[Piece]) -> Result<Vec<Piece>, IndexError> {
    let mut shared = Vec::with_capacity(pieces.len());
    for piece in pieces {
        shared.push(match piece.source {
            Source::Blob(blob) => draft.retain_blob(blob, piece.len)?,
            Source::Inline(number) => {
                let body = draft.body(number)?;
                draft.add_body(body)
            }
        });
    }
    Ok(shared)
}
