//! A look at what is kept of objects that are gone.

use holdfast_wire::deleted::{DeletedObject, DeletedPage, ListDeleted};

use super::IndexError;
use super::engine::{Space, behind};
use super::key::{self, Table};
use super::record;
use super::rows::{Rows, read};

/// A page of them.
pub fn page(rows: Rows<'_>, list: &ListDeleted) -> Result<DeletedPage, IndexError> {
    let corrupt = || IndexError::Corrupt { table: Table::Deleted as u8 };
    let first = key::deleted_with(list.bucket, list.prefix.as_bytes());
    let from = match &list.after {
        Some((key, seq)) => [&key::deleted(list.bucket, key.as_bytes(), *seq)[..], &[0]].concat().max(first.clone()),
        None => first.clone(),
    };
    let mut page = DeletedPage::default();
    for row in rows.range(Space::Records, &from, &behind(&first)) {
        if page.deleted.len() == list.limit as usize {
            page.more = true;
            break;
        }
        let (suffix, value) = row?;
        let key = key::read_version_key(&suffix).ok_or_else(corrupt)?;
        let (leaving, object) = read(&suffix, record::decode_deleted(&value))?;
        let covered = rows.get(&key::object(list.bucket, &key))?.is_some();
        page.deleted.push(DeletedObject {
            key: String::from_utf8(key).map_err(|_| corrupt())?,
            seq: object.summary.seq,
            size: object.summary.size,
            etag: object.summary.etag,
            modified_ms: object.summary.modified_ms,
            since_ms: leaving.since_ms,
            why: leaving.why,
            covered,
        });
    }
    Ok(page)
}
