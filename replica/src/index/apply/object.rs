//! Put, delete and copy.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::condition::WriteCondition;
use holdfast_wire::id::ObjectKey;
use holdfast_wire::object::{Detail, NewBody, Object, Piece, Source, Summary};
use holdfast_wire::request::{CopyObject, PutObject, Refusal, WriteOutcome};

use super::draft::Draft;
use super::{Stop, held};
use crate::index::IndexError;

pub fn put(draft: &mut Draft<'_>, bucket: &Bucket, put: PutObject) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &put.key)?;
    let current = draft.object(bucket.id, &put.key)?;
    put.condition.judge(current.as_ref().map(|object| &object.summary)).map_err(Refusal::Condition)?;
    let size = put.body.len();
    let pieces = take_body(draft, put.body)?;
    let object = Object {
        summary: Summary {
            seq: draft.place.seq(),
            size,
            modified_ms: modified_ms(draft, current.as_ref()),
            etag: put.etag,
            checksum: put.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)),
            storage_class: put.attributes.storage_class,
            owner: put.owner,
        },
        detail: Detail {
            headers: put.attributes.headers,
            metadata: put.attributes.metadata,
            tags: put.attributes.tags,
            checksum: put.checksum.map(|checksum| checksum.value),
            parts: Vec::new(),
            pieces,
        },
    };
    draft.put_object(bucket.id, &put.key, &object, current.as_ref())?;
    Ok(stored(object))
}

pub fn delete(
    draft: &mut Draft<'_>,
    bucket: &Bucket,
    keys: Vec<(ObjectKey, WriteCondition)>,
) -> Result<WriteOutcome, Stop> {
    let mut outcomes = Vec::with_capacity(keys.len());
    for (key, condition) in keys {
        outcomes.push(match delete_one(draft, bucket, &key, &condition) {
            Ok(()) => Ok(()),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(error)) => return Err(error.into()),
        });
    }
    Ok(WriteOutcome::Deleted { seq: draft.place.seq(), keys: outcomes })
}

fn delete_one(draft: &mut Draft<'_>, bucket: &Bucket, key: &ObjectKey, condition: &WriteCondition) -> Result<(), Stop> {
    held(draft, bucket, key)?;
    let current = draft.object(bucket.id, key)?;
    condition.judge(current.as_ref().map(|object| &object.summary)).map_err(Refusal::Condition)?;
    if let Some(current) = current {
        draft.remove_object(bucket.id, key, &current)?;
    }
    Ok(())
}

pub fn copy(draft: &mut Draft<'_>, bucket: &Bucket, copy: CopyObject) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &copy.key)?;
    let from_bucket = draft.bucket(copy.from_bucket).ok_or(Refusal::NoSuchBucket)?;
    held(draft, &from_bucket, &copy.from_key)?;
    let source = draft.object(from_bucket.id, &copy.from_key)?.ok_or(Refusal::NoSuchKey)?;
    if source.summary.seq != copy.from_seq {
        return Err(Refusal::SourceChanged.into());
    }
    let current = draft.object(bucket.id, &copy.key)?;
    copy.condition.judge(current.as_ref().map(|object| &object.summary)).map_err(Refusal::Condition)?;
    let mut pieces = Vec::with_capacity(source.detail.pieces.len());
    for piece in &source.detail.pieces {
        pieces.push(match piece.source {
            Source::Blob(blob) => draft.retain_blob(blob, piece.len)?,
            Source::Inline(number) => {
                let body = draft.body(number)?;
                draft.add_body(body)
            }
        });
    }
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
            ..source.detail
        },
    };
    draft.put_object(bucket.id, &copy.key, &object, current.as_ref())?;
    Ok(stored(object))
}

/// Keeps the bytes that a write brings.
pub fn take_body(draft: &mut Draft<'_>, body: NewBody) -> Result<Vec<Piece>, IndexError> {
    Ok(match body {
        NewBody::Inline(bytes) if bytes.is_empty() => Vec::new(),
        NewBody::Inline(bytes) => vec![draft.add_body(bytes)],
        NewBody::Blob { id, len } => vec![draft.retain_blob(id, len)?],
    })
}

/// The leader's clock, but never before the object that is replaced: Last-Modified of a key does not go back.
pub fn modified_ms(draft: &Draft<'_>, current: Option<&Object>) -> u64 {
    current.map_or(0, |object| object.summary.modified_ms).max(draft.place.now_ms)
}

/// The answer that an object was stored.
pub fn stored(object: Object) -> WriteOutcome {
    let checksum = object.checksum();
    WriteOutcome::Stored {
        seq: object.summary.seq,
        etag: object.summary.etag,
        modified_ms: object.summary.modified_ms,
        checksum,
    }
}
