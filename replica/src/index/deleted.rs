//! Looks at what is kept of objects that are gone.

use holdfast_wire::deleted::{DeletedObject, DeletedPage, ListDeleted};

use super::IndexError;
use super::apply;
use super::engine::{Space, behind};
use super::key::{self, Expiry, Table, What};
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

/// The time before which those went that must go for `bytes` to become free, oldest first; of the first `limit` at
/// most. `None` if there are none.
pub fn crowding(rows: Rows<'_>, bytes: u64, limit: usize) -> Result<Option<u64>, IndexError> {
    let corrupt = || IndexError::Corrupt { table: Table::DeletedAt as u8 };
    let times = key::table(Table::DeletedAt);
    let (mut freed, mut before_ms) = (0, None);
    for row in rows.range(Space::Records, &times, &behind(&times)).take(limit) {
        let Expiry { time_ms, bucket, what } = key::read_expiry(&row?.0).ok_or_else(corrupt)?;
        let What::Version(name, seq) = what else { return Err(corrupt()) };
        let suffix = key::deleted(bucket, &name, seq);
        let value = rows.get(&suffix)?.ok_or(IndexError::Corrupt { table: Table::Deleted as u8 })?;
        let (_, object) = read(&suffix, record::decode_deleted(&value))?;
        before_ms = Some(time_ms + 1);
        freed += apply::kept_len(&object);
        if freed >= bytes {
            break;
        }
    }
    Ok(before_ms)
}
