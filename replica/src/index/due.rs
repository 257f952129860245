//! What lifecycle rules will make go: a walk along the expiry table, which stands in the order of time. Nothing is
//! changed, and nothing else is searched.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::due::{Due, DueKind};
use holdfast_wire::id::{ObjectKey, Seq, UploadId};
use holdfast_wire::lifecycle::Lifecycle;
use holdfast_wire::object::Object;

use super::IndexError;
use super::apply::due_of;
use super::key::{self, Expiry, Table, What};
use super::record::{self, UploadPlace};
use super::rows::{Rows, read};

/// Rows that one look goes through, those of other buckets included.
const ROWS_MAX: usize = 200_000;

/// What of `bucket` goes next, at most `limit`; and whether there is more.
pub fn page(rows: Rows<'_>, bucket: &Bucket, limit: u32) -> Result<(Vec<Due>, bool), IndexError> {
    let mut due = Vec::new();
    let Some(lifecycle) = &bucket.configuration.lifecycle else { return Ok((due, false)) };
    for (number, row) in rows.under(&key::table(Table::Expiry)).enumerate() {
        let suffix = row?.0;
        let corrupt = || IndexError::Corrupt { table: Table::Expiry as u8 };
        let Expiry { time_ms, bucket: of, what } = key::read_expiry(&suffix).ok_or_else(corrupt)?;
        if number == ROWS_MAX || due.len() == limit as usize {
            return Ok((due, true));
        }
        if of != bucket.id {
            continue;
        }
        due.extend(match what {
            What::Version(name, seq) => {
                let name = String::from_utf8(name).map_err(|_| corrupt())?;
                let key = name.try_into().map_err(|_| corrupt())?;
                version(rows, bucket, lifecycle, &key, seq, time_ms)?
            }
            What::Upload(id) => upload(rows, bucket, lifecycle, id, time_ms)?,
        });
    }
    Ok((due, false))
}

fn object(rows: Rows<'_>, suffix: &[u8]) -> Result<Option<Object>, IndexError> {
    rows.get(suffix)?.map(|value| read(suffix, record::decode_object(&value))).transpose()
}

/// What the row of a version promises, unless the rules and the state of now say otherwise.
fn version(
    rows: Rows<'_>,
    bucket: &Bucket,
    lifecycle: &Lifecycle,
    key: &ObjectKey,
    seq: Seq,
    time_ms: u64,
) -> Result<Option<Due>, IndexError> {
    let bytes = key.as_str().as_bytes();
    let current = object(rows, &key::object(bucket.id, bytes))?.filter(|object| object.summary.seq == seq);
    let is_current = current.is_some();
    let Some(found) = (match current {
        Some(found) => Some(found),
        None => object(rows, &key::version(bucket.id, bytes, seq))?,
    }) else {
        return Ok(None);
    };
    let Some(first_ms) = due_of(lifecycle, key, &found) else { return Ok(None) };
    let id = found.summary.version();
    let what = match found.detail.noncurrent_ms {
        _ if is_current => DueKind::Object(id),
        None if rows.under(&key::versions_of(bucket.id, bytes)).take(2).count() == 1 => DueKind::Marker(id),
        None => return Ok(None),
        Some(since_ms) => {
            let newer = newer_than(rows, bucket, bytes, seq)?;
            let tags = &found.detail.tags;
            if !lifecycle.noncurrent(key.as_str(), &found.summary, tags, since_ms).any(|(_, keep)| newer >= keep) {
                return Ok(None);
            }
            DueKind::Version(id)
        }
    };
    let due_ms = time_ms.max(first_ms);
    let held = matches!(what, DueKind::Version(_)) && found.detail.lock.holds(due_ms, false);
    Ok(Some(Due { due_ms, key: key.to_string(), what, size: found.summary.size, held }))
}

/// How many versions of the key are not current and newer.
fn newer_than(rows: Rows<'_>, bucket: &Bucket, key: &[u8], seq: Seq) -> Result<u32, IndexError> {
    let mut newer = 0;
    for row in rows.under(&key::versions_of(bucket.id, key)) {
        let (suffix, value) = row?;
        let above = read(&suffix, record::decode_object(&value))?;
        if above.summary.seq == seq {
            break;
        }
        newer += u32::from(above.detail.noncurrent_ms.is_some());
    }
    Ok(newer)
}

fn upload(
    rows: Rows<'_>,
    bucket: &Bucket,
    lifecycle: &Lifecycle,
    id: UploadId,
    time_ms: u64,
) -> Result<Option<Due>, IndexError> {
    let place: Option<UploadPlace> = rows.record(&key::by_upload(Table::UploadIds, id))?;
    let Some(place) = place.filter(|place| place.bucket == bucket.id) else { return Ok(None) };
    let Some(first_ms) = lifecycle.upload(place.key.as_str(), place.initiated_ms) else { return Ok(None) };
    let mut size = 0;
    for row in rows.under(&key::by_upload(Table::Parts, id)) {
        let (suffix, value) = row?;
        let part: holdfast_wire::object::Part = read(&suffix, record::decode(&value))?;
        size += part.size;
    }
    let due_ms = time_ms.max(first_ms);
    Ok(Some(Due { due_ms, key: place.key.to_string(), what: DueKind::Upload(id), size, held: false }))
}
