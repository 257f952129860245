//! Whether the tables of a group fit together: everything that is counted or pointed to is counted and looked up anew,
//! from all rows.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_wire::deleted::Kept;
use holdfast_wire::id::{BlobId, BucketId};
use holdfast_wire::object::{Object, Part, Piece, Source};
use holdfast_wire::usage::Usage;

use super::IndexError;
use super::engine::Space;
use super::key::{self, Table};
use super::record::{self, BlobRow, UploadPlace};
use super::rows::{Rows, read};

/// Problems that are told; more would tell no more.
const TOLD: usize = 20;

/// What rows say that others must agree with.
#[derive(Default)]
struct Seen {
    usage: BTreeMap<BucketId, Usage>,
    kept: Kept,
    /// Names of each blob.
    named: BTreeMap<BlobId, u64>,
    /// Numbers of inline bodies, with their bytes.
    inline: BTreeMap<u64, u64>,
    problems: Vec<String>,
}

impl Seen {
    fn tell(&mut self, problem: String) {
        if self.problems.len() < TOLD {
            self.problems.push(problem);
        }
    }

    fn pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            match piece.source {
                Source::Blob(blob) => *self.named.entry(blob).or_default() += 1,
                Source::Inline(number) => {
                    if self.inline.insert(number, piece.len).is_some() {
                        self.tell(format!("body {number} has two names"));
                    }
                }
            }
        }
    }

    fn object(&mut self, table: Table, suffix: &[u8], object: &Object) -> Result<(), IndexError> {
        let usage = self.usage.entry(bucket_of(table, suffix)?).or_default();
        *(if table == Table::Objects { &mut usage.objects } else { &mut usage.versions }) += 1;
        usage.bytes += object.summary.size;
        self.pieces(&object.detail.pieces);
        Ok(())
    }
}

fn bucket_of(table: Table, suffix: &[u8]) -> Result<BucketId, IndexError> {
    let bytes = suffix.get(1..9).ok_or(IndexError::Corrupt { table: table as u8 })?;
    Ok(BucketId(u64::from_be_bytes(bytes.try_into().expect("8 bytes"))))
}

/// What does not fit together.
pub fn problems(rows: Rows<'_>) -> Result<Vec<String>, IndexError> {
    let mut seen = Seen::default();
    for table in [Table::Objects, Table::Versions] {
        for row in rows.under(&key::table(table)) {
            let (suffix, value) = row?;
            seen.object(table, &suffix, &read(&suffix, record::decode_object(&value))?)?;
        }
    }
    uploads(rows, &mut seen)?;
    deleted(rows, &mut seen)?;
    blobs(rows, &mut seen)?;
    bodies(rows, &mut seen)?;
    usage(rows, &mut seen)?;
    Ok(seen.problems)
}

fn uploads(rows: Rows<'_>, seen: &mut Seen) -> Result<(), IndexError> {
    for row in rows.under(&key::table(Table::UploadIds)) {
        let (suffix, value) = row?;
        let id = key::read_id(&suffix).ok_or(IndexError::Corrupt { table: Table::UploadIds as u8 })?;
        let place: UploadPlace = read(&suffix, record::decode(&value))?;
        let upload = holdfast_wire::id::UploadId(id);
        if rows.get(&key::upload(place.bucket, place.key.as_str(), place.initiated_ms, upload))?.is_none() {
            seen.tell(format!("upload {upload} is not where it says"));
        }
        seen.usage.entry(place.bucket).or_default().uploads += 1;
        for row in rows.under(&key::by_upload(Table::Parts, upload)) {
            let (suffix, value) = row?;
            let part: Part = read(&suffix, record::decode(&value))?;
            seen.usage.entry(place.bucket).or_default().part_bytes += part.size;
            seen.pieces(&part.pieces);
        }
    }
    Ok(())
}

fn deleted(rows: Rows<'_>, seen: &mut Seen) -> Result<(), IndexError> {
    let mut by_time = rows.under(&key::table(Table::DeletedAt)).count() as u64;
    for row in rows.under(&key::table(Table::Deleted)) {
        let (suffix, value) = row?;
        let (leaving, object) = read(&suffix, record::decode_deleted(&value))?;
        let name = key::read_version_key(&suffix).ok_or(IndexError::Corrupt { table: Table::Deleted as u8 })?;
        let bucket = bucket_of(Table::Deleted, &suffix)?;
        if rows.get(&key::deleted_at(leaving.since_ms, bucket, &name, object.summary.seq))?.is_none() {
            seen.tell(format!("{}: gone, but never let go of", object.summary.seq));
        }
        by_time = by_time.saturating_sub(1);
        seen.kept.objects += 1;
        seen.kept.bytes += object.detail.pieces.iter().map(|piece| piece.len).sum::<u64>();
        seen.pieces(&object.detail.pieces);
    }
    if by_time > 0 {
        seen.tell(format!("{by_time} objects are to be let go of that are not kept"));
    }
    let counted: Kept = rows.record(&key::table(Table::Kept))?.unwrap_or_default();
    if counted != seen.kept {
        let kept = seen.kept;
        seen.tell(format!("{counted:?} is counted of what is kept, and {kept:?} is there"));
    }
    Ok(())
}

fn blobs(rows: Rows<'_>, seen: &mut Seen) -> Result<(), IndexError> {
    let mut named = std::mem::take(&mut seen.named);
    for row in rows.under(&key::table(Table::Blobs)) {
        let (suffix, value) = row?;
        let id = BlobId(key::read_id(&suffix).ok_or(IndexError::Corrupt { table: Table::Blobs as u8 })?);
        let row: BlobRow = read(&suffix, record::decode(&value))?;
        let names = named.remove(&id).unwrap_or(0);
        if names != row.references {
            seen.tell(format!("blob {id} has {names} names, {} are counted", row.references));
        }
        let trash = row.trashed_ms.map(|at_ms| rows.get(&key::timed(Table::Trash, at_ms, id.0)));
        let in_trash = trash.transpose()?.flatten().is_some();
        if in_trash != (row.references == 0) {
            seen.tell(format!(
                "blob {id} has {} names and is {}in the trash",
                row.references,
                if in_trash { "" } else { "not " }
            ));
        }
    }
    for blob in named.keys() {
        seen.tell(format!("blob {blob} is named and not known"));
    }
    Ok(())
}

fn bodies(rows: Rows<'_>, seen: &mut Seen) -> Result<(), IndexError> {
    let mut inline = std::mem::take(&mut seen.inline);
    let mut unnamed = BTreeSet::new();
    for row in rows.range(Space::Bodies, &[], &[]) {
        let (suffix, value) = row?;
        let number = key::read_number(&suffix).ok_or(IndexError::Corrupt { table: Table::Bodies as u8 })?;
        match inline.remove(&number) {
            Some(len) if len == value.len() as u64 => {}
            Some(len) => seen.tell(format!("body {number} has {} bytes instead of {len}", value.len())),
            None => drop(unnamed.insert(number)),
        }
    }
    for number in unnamed {
        seen.tell(format!("nothing names body {number}"));
    }
    for number in inline.keys() {
        seen.tell(format!("body {number} is named and not there"));
    }
    Ok(())
}

fn usage(rows: Rows<'_>, seen: &mut Seen) -> Result<(), IndexError> {
    let mut usage = std::mem::take(&mut seen.usage);
    for row in rows.under(&key::table(Table::Usage)) {
        let (suffix, value) = row?;
        let bucket = BucketId(key::read_number(&suffix).ok_or(IndexError::Corrupt { table: Table::Usage as u8 })?);
        let counted: Usage = read(&suffix, record::decode(&value))?;
        let there = usage.remove(&bucket).unwrap_or_default();
        if counted != there {
            seen.tell(format!("bucket {bucket}: {counted:?} is counted, {there:?} is there"));
        }
    }
    for (bucket, there) in usage {
        seen.tell(format!("bucket {bucket}: nothing is counted, {there:?} is there"));
    }
    Ok(())
}
