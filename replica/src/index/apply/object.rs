//! Put, delete, and changes of what is kept beside the bytes.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Versioning;
use holdfast_wire::deleted::Why;
use holdfast_wire::object::{Detail, NewBody, Object, Piece, Summary};
use holdfast_wire::request::{Amend, Amendment, DeleteKey, Deleted, PutObject, Refusal, WriteOutcome};
use holdfast_wire::sealed;

use super::draft::Draft;
use super::version::{self, Found};
use super::{Stop, held, lock};
use crate::index::IndexError;

pub fn put(draft: &mut Draft<'_>, bucket: &Bucket, put: PutObject) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &put.key)?;
    let current = draft.object(bucket.id, &put.key)?;
    put.condition.judge(current.as_ref().map(|object| &object.summary)).map_err(Refusal::Condition)?;
    let lock = lock::of_new(bucket, put.attributes.lock, draft.place.now_ms)?;
    let size = plain_size(&put.body, put.attributes.seal.is_some());
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
            ..Summary::default()
        },
        detail: Detail {
            headers: put.attributes.headers,
            metadata: put.attributes.metadata,
            tags: put.attributes.tags,
            checksum: put.checksum.map(|checksum| checksum.value),
            pieces,
            lock,
            seal: put.attributes.seal,
            acl: put.attributes.acl,
            ..Detail::default()
        },
    };
    let object = version::put(draft, bucket, &put.key, object, current)?;
    Ok(stored(bucket, object))
}

pub fn delete(
    draft: &mut Draft<'_>,
    bucket: &Bucket,
    keys: Vec<DeleteKey>,
    bypass: bool,
) -> Result<WriteOutcome, Stop> {
    let mut outcomes = Vec::with_capacity(keys.len());
    for key in keys {
        outcomes.push(match delete_one(draft, bucket, &key, bypass) {
            Ok(deleted) => Ok(deleted),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(error)) => return Err(error.into()),
        });
    }
    Ok(WriteOutcome::Deleted { seq: draft.place.seq(), keys: outcomes })
}

fn delete_one(draft: &mut Draft<'_>, bucket: &Bucket, delete: &DeleteKey, bypass: bool) -> Result<Deleted, Stop> {
    let DeleteKey { key, version, condition } = delete;
    held(draft, bucket, key)?;
    if let Some(id) = *version {
        let found = version::find(draft, bucket.id, key, id)?;
        let object = found.as_ref().map(|found| &found.object.summary).filter(|summary| !summary.marker);
        condition.judge(object).map_err(Refusal::Condition)?;
        let marker = found.as_ref().is_some_and(|found| found.object.summary.marker);
        if let Some(found) = found {
            lock::may_go(&found.object, draft.place.now_ms, bypass)?;
            version::remove(draft, bucket.id, key, &found)?;
        }
        return Ok(Deleted { version: Some(id), marker });
    }
    let current = draft.object(bucket.id, key)?;
    condition.judge(current.as_ref().map(|object| &object.summary)).map_err(Refusal::Condition)?;
    if bucket.versioning() == Versioning::Off {
        if let Some(object) = current {
            version::let_go(draft, bucket.id, key, &object, Why::Deleted);
        }
        return Ok(Deleted::default());
    }
    // Named twice in one request: one marker, for there is one number.
    let marker = match version::newest_behind(draft, bucket.id, key)? {
        Some(newest) if current.is_none() && newest.summary.seq == draft.place.seq() => newest.summary,
        _ => version::cover(draft, bucket, key, current, Why::Deleted)?,
    };
    Ok(Deleted { version: Some(marker.version()), marker: true })
}

pub fn amend(draft: &mut Draft<'_>, bucket: &Bucket, amend: Amend) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &amend.key)?;
    let found = match amend.version {
        Some(id) => version::find(draft, bucket.id, &amend.key, id)?.ok_or(Refusal::NoSuchVersion)?,
        None => Found { object: draft.object(bucket.id, &amend.key)?.ok_or(Refusal::NoSuchKey)?, current: true },
    };
    let Found { object: before, current } = found;
    let mut object = before.clone();
    if object.summary.marker {
        return Err(Refusal::IsMarker.into());
    }
    let (now_ms, protection) = (draft.place.now_ms, object.detail.lock);
    match amend.change {
        Amendment::Tags(tags) => object.detail.tags = tags,
        Amendment::Acl(acl) => object.detail.acl = acl,
        Amendment::Retention { retention, bypass_governance } => {
            object.detail.lock = lock::with_retention(bucket, protection, retention, now_ms, bypass_governance)?;
        }
        Amendment::LegalHold(hold) => object.detail.lock = lock::with_hold(bucket, protection, hold)?,
    }
    version::replace(draft, bucket.id, &amend.key, &before, &object, current);
    Ok(stored(bucket, object))
}

/// The bytes of a body as the client sent them.
pub fn plain_size(body: &NewBody, sealed: bool) -> u64 {
    if sealed { sealed::plain_len(body.len()) } else { body.len() }
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
pub fn stored(bucket: &Bucket, object: Object) -> WriteOutcome {
    let checksum = object.checksum();
    WriteOutcome::Stored {
        seq: object.summary.seq,
        modified_ms: object.summary.modified_ms,
        checksum,
        version: (bucket.versioning() != Versioning::Off).then(|| object.summary.version()),
        etag: object.summary.etag,
    }
}
