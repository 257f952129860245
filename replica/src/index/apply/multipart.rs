//! Multipart uploads.

use std::collections::BTreeMap;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Versioning;
use holdfast_wire::id::{BucketId, ObjectKey, UploadId};
use holdfast_wire::lock::ObjectLock;
use holdfast_wire::object::{Detail, Object, ObjectPart, Part, Summary, Upload};
use holdfast_wire::request::{CompleteUpload, Deleted, PutPart, Refusal, WriteOutcome};

use super::draft::Draft;
use super::object::{modified_ms, plain_size, stored, take_body};
use super::{Stop, held, lifecycle, lock, version};
use crate::index::IndexError;
use crate::index::key::{self, Table};
use crate::index::record::{self, Finished, UploadPlace};
use crate::index::rows::read;

/// The least bytes of a part that is not the last (S3 API reference, "Amazon S3 multipart upload limits").
pub const PART_MIN: u64 = 5 << 20;

pub fn create(draft: &mut Draft<'_>, bucket: &Bucket, mut upload: Upload) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &upload.key)?;
    upload.initiated_ms = draft.place.now_ms;
    lock::of_new(bucket, upload.attributes.lock, upload.initiated_ms)?;
    let place = UploadPlace { bucket: bucket.id, key: upload.key.clone(), initiated_ms: upload.initiated_ms };
    // Ids are random and fresh: one that is known is this very upload, asked for again.
    let known = draft.record::<UploadPlace>(&key::by_upload(Table::UploadIds, upload.id))?;
    let modified_ms = known.as_ref().map_or(upload.initiated_ms, |known| known.initiated_ms);
    if known.is_none() {
        draft.put(key::by_upload(Table::UploadIds, upload.id), &place);
        draft.put(key::upload(bucket.id, upload.key.as_str(), upload.initiated_ms, upload.id), &upload);
        lifecycle::schedule_upload(draft, upload.id, &place);
        draft.recount(bucket.id, |usage| usage.uploads += 1);
    }
    Ok(WriteOutcome::Stored { seq: draft.place.seq(), etag: String::new(), modified_ms, checksum: None, version: None })
}

pub fn put_part(draft: &mut Draft<'_>, bucket: &Bucket, put: PutPart) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &put.key)?;
    open(draft, bucket, &put.key, put.upload)?;
    let suffix = key::part(put.upload, put.number);
    let replaced = draft.record::<Part>(&suffix)?;
    let part = Part {
        number: put.number,
        seq: draft.place.seq(),
        size: plain_size(&put.body, put.salt.is_some()),
        modified_ms: draft.place.now_ms,
        etag: put.etag,
        checksum: put.checksum,
        pieces: take_body(draft, put.body)?,
        salt: put.salt,
    };
    keep_part(draft, bucket.id, suffix, &part, replaced)?;
    Ok(part_stored(part))
}

/// Puts a part in the place of the one that had its number.
pub fn keep_part(
    draft: &mut Draft<'_>,
    bucket: BucketId,
    suffix: key::Suffix,
    part: &Part,
    replaced: Option<Part>,
) -> Result<(), IndexError> {
    draft.put(suffix, part);
    draft.recount(bucket, |usage| usage.part_bytes += part.size);
    if let Some(replaced) = replaced {
        draft.recount(bucket, |usage| usage.part_bytes -= replaced.size);
        draft.release(&replaced.pieces)?;
    }
    Ok(())
}

/// The answer that a part was stored.
pub fn part_stored(part: Part) -> WriteOutcome {
    WriteOutcome::Stored {
        seq: part.seq,
        etag: part.etag,
        modified_ms: part.modified_ms,
        checksum: part.checksum,
        version: None,
    }
}

pub fn complete(draft: &mut Draft<'_>, bucket: &Bucket, complete: CompleteUpload) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, &complete.key)?;
    let finished_key = key::by_upload(Table::Finished, complete.upload);
    if let Some(finished) = draft.record::<Finished>(&finished_key)?
        && finished.bucket == bucket.id
        && finished.key == complete.key
    {
        return Ok(WriteOutcome::Stored {
            seq: finished.seq,
            etag: finished.etag,
            modified_ms: finished.modified_ms,
            checksum: finished.checksum,
            version: finished.version,
        });
    }
    let place = open(draft, bucket, &complete.key, complete.upload)?;
    let mut parts = parts(draft, complete.upload)?;
    let chosen = choose(&mut parts, &complete.parts)?;
    let current = draft.object(bucket.id, &complete.key)?;
    complete.condition.judge(current.as_ref().map(|object| &object.summary)).map_err(Refusal::Condition)?;

    let upload = drop_upload(draft, complete.upload, &place)?;
    let lock = lock_of(bucket, &upload, draft.place.now_ms);
    let part_bytes: u64 = chosen.iter().chain(parts.values()).map(|part| part.size).sum();
    draft.recount(bucket.id, |usage| usage.part_bytes -= part_bytes);
    for part in &chosen {
        draft.remove(key::part(complete.upload, part.number));
    }
    for part in parts.into_values() {
        draft.remove(key::part(complete.upload, part.number));
        draft.release(&part.pieces)?;
    }
    let object = Object {
        summary: Summary {
            seq: draft.place.seq(),
            size: chosen.iter().map(|part| part.size).sum(),
            modified_ms: modified_ms(draft, current.as_ref()),
            etag: complete.etag,
            checksum: complete.checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)),
            storage_class: upload.attributes.storage_class,
            owner: upload.owner,
            ..Summary::default()
        },
        detail: Detail {
            headers: upload.attributes.headers,
            metadata: upload.attributes.metadata,
            tags: upload.attributes.tags,
            checksum: complete.checksum.map(|checksum| checksum.value),
            parts: chosen
                .iter()
                .map(|part| ObjectPart {
                    number: part.number,
                    size: part.size,
                    checksum: part.checksum.clone(),
                    salt: part.salt,
                })
                .collect(),
            pieces: chosen.into_iter().flat_map(|part| part.pieces).collect(),
            lock,
            noncurrent_ms: None,
            seal: upload.attributes.seal,
            acl: upload.attributes.acl,
        },
    };
    let object = version::put(draft, bucket, &complete.key, object, current)?;
    let finished = Finished {
        bucket: bucket.id,
        key: complete.key,
        seq: object.summary.seq,
        etag: object.summary.etag.clone(),
        modified_ms: object.summary.modified_ms,
        checksum: object.checksum(),
        version: (bucket.versioning() != Versioning::Off).then(|| object.summary.version()),
    };
    draft.put(finished_key, &finished);
    draft.mark(key::timed(Table::FinishedAt, draft.place.now_ms, complete.upload.0));
    Ok(stored(bucket, object))
}

/// What protects the new version. What Create asked for was judged then; a retention that is over since protects from
/// nothing.
fn lock_of(bucket: &Bucket, upload: &Upload, now_ms: u64) -> ObjectLock {
    lock::of_new(bucket, upload.attributes.lock, now_ms).unwrap_or(upload.attributes.lock)
}

/// Takes the named parts out of those uploaded.
fn choose(parts: &mut BTreeMap<u16, Part>, named: &[(u16, String)]) -> Result<Vec<Part>, Refusal> {
    if named.is_empty() || !named.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(Refusal::InvalidPartOrder);
    }
    for (number, etag) in named {
        if parts.get(number).is_none_or(|part| part.etag != *etag) {
            return Err(Refusal::InvalidPart { number: *number });
        }
    }
    for (number, _) in &named[..named.len() - 1] {
        let size = parts[number].size;
        if size < PART_MIN {
            return Err(Refusal::PartTooSmall { number: *number, size });
        }
    }
    Ok(named.iter().filter_map(|(number, _)| parts.remove(number)).collect())
}

pub fn abort(draft: &mut Draft<'_>, bucket: &Bucket, key: &ObjectKey, upload: UploadId) -> Result<WriteOutcome, Stop> {
    held(draft, bucket, key)?;
    let place = open(draft, bucket, key, upload)?;
    abandon(draft, upload, &place)?;
    Ok(WriteOutcome::Deleted { seq: draft.place.seq(), keys: vec![Ok(Deleted::default())] })
}

/// Drops an upload and its parts.
pub fn abandon(draft: &mut Draft<'_>, upload: UploadId, place: &UploadPlace) -> Result<(), IndexError> {
    for part in parts(draft, upload)?.into_values() {
        draft.remove(key::part(upload, part.number));
        draft.recount(place.bucket, |usage| usage.part_bytes -= part.size);
        draft.release(&part.pieces)?;
    }
    drop_upload(draft, upload, place).map(drop)
}

/// Where an open upload stands.
pub fn open(draft: &Draft<'_>, bucket: &Bucket, key: &ObjectKey, upload: UploadId) -> Result<UploadPlace, Stop> {
    match draft.record::<UploadPlace>(&key::by_upload(Table::UploadIds, upload))? {
        Some(place) if place.bucket == bucket.id && place.key == *key => Ok(place),
        Some(_) | None => Err(Refusal::NoSuchUpload.into()),
    }
}

/// An upload's parts, as they were before the entry.
fn parts(draft: &Draft<'_>, upload: UploadId) -> Result<BTreeMap<u16, Part>, IndexError> {
    draft
        .before()
        .under(&key::by_upload(Table::Parts, upload))
        .map(|row| {
            let (suffix, value) = row?;
            let part: Part = read(&suffix, record::decode(&value))?;
            Ok((part.number, part))
        })
        .collect()
}

/// Removes an upload's own rows.
fn drop_upload(draft: &mut Draft<'_>, id: UploadId, place: &UploadPlace) -> Result<Upload, IndexError> {
    let suffix = key::upload(place.bucket, place.key.as_str(), place.initiated_ms, id);
    let upload = draft.record(&suffix)?.ok_or(IndexError::Corrupt { table: Table::Uploads as u8 })?;
    draft.remove(suffix);
    draft.remove(key::by_upload(Table::UploadIds, id));
    lifecycle::unschedule_upload(draft, id, place);
    draft.recount(place.bucket, |usage| usage.uploads -= 1);
    Ok(upload)
}
