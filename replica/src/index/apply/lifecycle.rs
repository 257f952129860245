//! What lifecycle rules make go, and when: the expiry table follows every write, so that nothing is ever searched for.
//!
//! A row of the table is a promise to look again at its time, no verdict: what is found then is judged by the rules and
//! the state of then. So a row too many does no harm. Rules that change have the bucket's rows made anew, in pages.

use std::collections::BTreeSet;

use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::configuration::Versioning;
use holdfast_wire::deleted::Why;
use holdfast_wire::id::{BucketId, ObjectKey, Seq, UploadId};
use holdfast_wire::lifecycle::Lifecycle;
use holdfast_wire::lock::DAY_MS;
use holdfast_wire::object::{Object, Upload};

use super::draft::Draft;
use super::version::{self, Found};
use super::{lock, multipart};
use crate::index::IndexError;
use crate::index::command::{Expired, Outcome};
use crate::index::engine::{Space, behind};
use crate::index::key::{self, Expiry, Suffix, Table, What};
use crate::index::record::{self, Reindex, UploadPlace};
use crate::index::rows::read;

/// What a bucket that is being deleted, or a version under a hold, has to wait until it is looked at again.
const LATER_MS: u64 = 60_000;

/// The tables that hold what may go, in the order in which they are gone through.
const TABLES: [Table; 3] = [Table::Objects, Table::Versions, Table::Uploads];

fn rules(draft: &Draft<'_>, bucket: BucketId) -> Option<std::sync::Arc<Bucket>> {
    draft.bucket(bucket).filter(|bucket| bucket.configuration.lifecycle.is_some())
}

/// When a version is to be looked at.
pub fn due(lifecycle: &Lifecycle, key: &ObjectKey, object: &Object) -> Option<u64> {
    let (summary, tags) = (&object.summary, &object.detail.tags);
    match object.detail.noncurrent_ms {
        Some(since_ms) => lifecycle.noncurrent(key.as_str(), summary, tags, since_ms).map(|(due_ms, _)| due_ms).min(),
        None if summary.marker => lifecycle.marker(key.as_str(), summary),
        None => lifecycle.current(key.as_str(), summary, tags).map(|(due_ms, _)| due_ms),
    }
}

fn row(draft: &Draft<'_>, bucket: BucketId, key: &ObjectKey, object: &Object) -> Option<Suffix> {
    let home = rules(draft, bucket)?;
    let due_ms = due(home.configuration.lifecycle.as_ref()?, key, object)?;
    Some(key::expiry(due_ms, bucket, &What::Version(key.as_str().as_bytes().to_vec(), object.summary.seq)))
}

/// A version has come to where it stands.
pub fn schedule(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey, object: &Object) {
    if let Some(row) = row(draft, bucket, key, object) {
        draft.mark(row);
    }
}

/// A version leaves where it stands.
pub fn unschedule(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey, object: &Object) {
    if let Some(row) = row(draft, bucket, key, object) {
        draft.remove(row);
    }
}

fn upload_row(draft: &Draft<'_>, id: UploadId, place: &UploadPlace) -> Option<Suffix> {
    let home = rules(draft, place.bucket)?;
    let due_ms = home.configuration.lifecycle.as_ref()?.upload(place.key.as_str(), place.initiated_ms)?;
    Some(key::expiry(due_ms, place.bucket, &What::Upload(id)))
}

/// An upload was begun.
pub fn schedule_upload(draft: &mut Draft<'_>, id: UploadId, place: &UploadPlace) {
    if let Some(row) = upload_row(draft, id, place) {
        draft.mark(row);
    }
}

/// An upload has ended.
pub fn unschedule_upload(draft: &mut Draft<'_>, id: UploadId, place: &UploadPlace) {
    if let Some(row) = upload_row(draft, id, place) {
        draft.remove(row);
    }
}

/// One more version of the key is not current: those that were kept for being among the newest may be no longer.
pub fn overtaken(draft: &mut Draft<'_>, bucket: BucketId, key: &ObjectKey) -> Result<(), IndexError> {
    let Some(home) = rules(draft, bucket) else { return Ok(()) };
    let Some(lifecycle) = &home.configuration.lifecycle else { return Ok(()) };
    let keeping = lifecycle.rules.iter().filter(|rule| rule.enabled && key.as_str().starts_with(&rule.filter.prefix));
    let kept: BTreeSet<usize> = keeping
        .filter_map(|rule| rule.noncurrent.map(|noncurrent| noncurrent.newer as usize))
        .filter(|newer| *newer > 0)
        .collect();
    let Some(last) = kept.last() else { return Ok(()) };
    let behind = versions_behind(draft, bucket, key, last + 1)?;
    for at in kept {
        if let Some(object) = behind.get(at) {
            schedule(draft, bucket, key, object);
        }
    }
    Ok(())
}

/// Versions that are not the newest, newest first, at most `limit`.
fn versions_behind(
    draft: &Draft<'_>,
    bucket: BucketId,
    key: &ObjectKey,
    limit: usize,
) -> Result<Vec<Object>, IndexError> {
    let mut behind = Vec::new();
    for row in draft.under(&key::versions_of(bucket, key.as_str().as_bytes())) {
        let (suffix, value) = row?;
        let object = read(&suffix, record::decode_object(&value))?;
        if object.detail.noncurrent_ms.is_some() {
            behind.push(object);
        }
        if behind.len() == limit {
            break;
        }
    }
    Ok(behind)
}

/// Looks at what is due, at most `limit` rows.
pub fn expire(draft: &mut Draft<'_>, limit: u32) -> Result<Outcome, IndexError> {
    let to = key::expiry_from(draft.place.now_ms.saturating_add(1));
    let rows = draft.before().range(Space::Records, &key::table(Table::Expiry), &to).take(limit as usize);
    let rows = rows.map(|row| Ok(row?.0)).collect::<Result<Vec<_>, IndexError>>()?;
    let mut done = Expired { more: rows.len() == limit as usize, ..Expired::default() };
    for suffix in rows {
        draft.remove(suffix.to_vec());
        let corrupt = IndexError::Corrupt { table: Table::Expiry as u8 };
        let Expiry { bucket, what, .. } = key::read_expiry(&suffix).ok_or(corrupt)?;
        let Some(home) = rules(draft, bucket) else { continue };
        if home.state == BucketState::Deleting {
            draft.mark(key::expiry(draft.place.now_ms + LATER_MS, bucket, &what));
            continue;
        }
        match what {
            What::Version(name, seq) => expire_version(draft, &home, name, seq, &mut done)?,
            What::Upload(id) => expire_upload(draft, &home, id, &mut done)?,
        }
    }
    Ok(Outcome::Expired(done))
}

fn expire_version(
    draft: &mut Draft<'_>,
    home: &Bucket,
    name: Vec<u8>,
    seq: Seq,
    done: &mut Expired,
) -> Result<(), IndexError> {
    let corrupt = || IndexError::Corrupt { table: Table::Expiry as u8 };
    let key: ObjectKey = String::from_utf8(name).ok().and_then(|name| name.try_into().ok()).ok_or_else(corrupt)?;
    let Some(lifecycle) = &home.configuration.lifecycle else { return Ok(()) };
    let now_ms = draft.place.now_ms;
    let current = draft.object(home.id, &key)?;
    if let Some(object) = current.as_ref().filter(|object| object.summary.seq == seq) {
        match due(lifecycle, &key, object) {
            Some(due_ms) if due_ms > now_ms => schedule(draft, home.id, &key, object),
            None => {}
            Some(_) => {
                done.objects += 1;
                if home.versioning() == Versioning::Off {
                    version::let_go(draft, home.id, &key, object, Why::Expired);
                } else {
                    version::cover(draft, home, &key, current, Why::Expired)?;
                }
            }
        }
        return Ok(());
    }
    let suffix = key::version(home.id, key.as_str().as_bytes(), seq);
    let Some(object) = draft.object_at(&suffix)? else { return Ok(()) };
    let Some(since_ms) = object.detail.noncurrent_ms else {
        let alone = draft.under(&key::versions_of(home.id, key.as_str().as_bytes())).take(2).count() == 1;
        match due(lifecycle, &key, &object) {
            Some(due_ms) if due_ms > now_ms => schedule(draft, home.id, &key, &object),
            Some(_) if alone => {
                version::remove(draft, home.id, &key, &Found { object, current: false })?;
                done.markers += 1;
            }
            _ => {}
        }
        return Ok(());
    };
    let mut newer = 0;
    for row in draft.under(&key::versions_of(home.id, key.as_str().as_bytes())) {
        let (found, value) = row?;
        if found[..] == suffix[..] {
            break;
        }
        let above = read(&found, record::decode_object(&value))?;
        newer += u32::from(above.detail.noncurrent_ms.is_some());
    }
    let (mut goes, mut next_ms) = (false, None::<u64>);
    for (due_ms, keep) in lifecycle.noncurrent(key.as_str(), &object.summary, &object.detail.tags, since_ms) {
        if due_ms > now_ms {
            next_ms = Some(next_ms.map_or(due_ms, |next_ms| next_ms.min(due_ms)));
        } else {
            // Where too few are newer yet, the next that is overtaken brings this one back.
            goes |= newer >= keep;
        }
    }
    if goes && lock::may_go(&object, now_ms, false).is_err() {
        let until_ms = object.detail.lock.retention.map_or(0, |retention| retention.until_ms);
        next_ms = Some(until_ms.max(now_ms + if object.detail.lock.is_held() { DAY_MS } else { 1 }));
    } else if goes {
        version::remove(draft, home.id, &key, &Found { object, current: false })?;
        done.versions += 1;
        return Ok(());
    }
    if let Some(next_ms) = next_ms {
        draft.mark(key::expiry(next_ms, home.id, &What::Version(key.as_str().as_bytes().to_vec(), seq)));
    }
    Ok(())
}

fn expire_upload(draft: &mut Draft<'_>, home: &Bucket, id: UploadId, done: &mut Expired) -> Result<(), IndexError> {
    let place = draft.record::<UploadPlace>(&key::by_upload(Table::UploadIds, id))?;
    let Some(place) = place.filter(|place| place.bucket == home.id) else { return Ok(()) };
    let lifecycle = home.configuration.lifecycle.as_ref();
    match lifecycle.and_then(|lifecycle| lifecycle.upload(place.key.as_str(), place.initiated_ms)) {
        Some(due_ms) if due_ms > draft.place.now_ms => schedule_upload(draft, id, &place),
        Some(_) => {
            multipart::abandon(draft, id, &place)?;
            done.uploads += 1;
        }
        None => {}
    }
    Ok(())
}

/// The rules of a bucket are others now.
pub fn rules_changed(draft: &mut Draft<'_>, bucket: &Bucket) {
    let progress = key::bucket(Table::Reindex, bucket.id);
    match bucket.configuration.lifecycle {
        Some(_) => draft.put(progress, &Reindex::default()),
        None => draft.remove(progress),
    }
}

/// Makes the rows for what was there before the rules, one page of at most `limit`.
pub fn reindex(draft: &mut Draft<'_>, bucket: BucketId, limit: u32) -> Result<Outcome, IndexError> {
    let progress_key = key::bucket(Table::Reindex, bucket);
    let Some(mut progress) = draft.record::<Reindex>(&progress_key)? else { return Ok(Outcome::Done) };
    let Some(table) = TABLES.get(usize::from(progress.table)).copied().filter(|_| rules(draft, bucket).is_some())
    else {
        draft.remove(progress_key);
        return Ok(Outcome::Done);
    };
    let first = key::bucket(table, bucket);
    let from = match progress.after.is_empty() {
        true => first.clone(),
        false => [&progress.after[..], &[0]].concat(),
    };
    let mut count = 0;
    for row in draft.before().range(Space::Records, &from, &behind(&first)).take(limit as usize) {
        let (suffix, value) = row?;
        count += 1;
        progress.after = suffix.to_vec();
        match table {
            Table::Uploads => {
                let upload: Upload = read(&suffix, record::decode(&value))?;
                let place = UploadPlace { bucket, key: upload.key, initiated_ms: upload.initiated_ms };
                schedule_upload(draft, upload.id, &place);
            }
            _ => {
                let key = key_of(table, &suffix).ok_or(IndexError::Corrupt { table: table as u8 })?;
                let object = read(&suffix, record::decode_object(&value))?;
                schedule(draft, bucket, &key, &object);
            }
        }
    }
    if count < limit {
        progress = Reindex { table: progress.table + 1, after: Vec::new() };
    }
    draft.put(progress_key, &progress);
    Ok(Outcome::Done)
}

fn key_of(table: Table, suffix: &[u8]) -> Option<ObjectKey> {
    let bytes = match table {
        Table::Objects => suffix.get(key::BEFORE_KEY..)?.to_vec(),
        _ => key::read_version_key(suffix)?,
    };
    String::from_utf8(bytes).ok()?.try_into().ok()
}
