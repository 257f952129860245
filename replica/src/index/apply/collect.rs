//! Housekeeping.

use holdfast_wire::id::{BlobId, UploadId};

use super::draft::Draft;
use crate::index::IndexError;
use crate::index::command::Outcome;
use crate::index::engine::Space;
use crate::index::key::{self, Table};

/// Rows of each kind that one command forgets.
pub const AT_ONCE: usize = 1000;

pub fn collect(draft: &mut Draft<'_>, before_ms: u64) -> Result<Outcome, IndexError> {
    for (at_ms, id) in older(draft, Table::Trash, before_ms)? {
        draft.remove(key::timed(Table::Trash, at_ms, id));
        draft.remove(key::blob(BlobId(id)));
    }
    for (at_ms, id) in older(draft, Table::FinishedAt, before_ms)? {
        draft.remove(key::timed(Table::FinishedAt, at_ms, id));
        draft.remove(key::by_upload(Table::Finished, UploadId(id)));
    }
    Ok(Outcome::Done)
}

fn older(draft: &Draft<'_>, table: Table, before_ms: u64) -> Result<Vec<(u64, u128)>, IndexError> {
    draft
        .before()
        .range(Space::Records, &key::table(table), &key::timed_from(table, before_ms))
        .take(AT_ONCE)
        .map(|row| key::read_timed(&row?.0).ok_or(IndexError::Corrupt { table: table as u8 }))
        .collect()
}
