//! A group's rows on their way through a backup into another cluster: carried as they are, whatever tables there are,
//! but for the rows that say whose they are: who the members are, what the cluster is, how far was applied; and for
//! shares of quotas, which the new cluster hands out itself.

use bytes::Bytes;
use holdfast_wire::id::BlobId;

use super::chunk::{self, Row};
use super::engine::Space;
use super::key::{self, Table};
use super::record::{self, BlobRow, Progress, Root};
use super::rows::read;
use super::{Index, IndexError, Installer};
use crate::position::Position;

/// The blobs that rows of a chunk name, with their bytes.
pub fn blobs(chunk: &Bytes) -> Result<Vec<(BlobId, u64)>, IndexError> {
    let mut blobs = Vec::new();
    for row in chunk::rows(chunk.clone())? {
        let (space, suffix, value) = row?;
        if space == Space::Records && suffix[0] == Table::Blobs as u8 {
            let id = key::read_id(&suffix).ok_or(IndexError::Corrupt { table: Table::Blobs as u8 })?;
            let row: BlobRow = read(&suffix, record::decode(&value))?;
            if row.references > 0 {
                blobs.push((BlobId(id), row.len));
            }
        }
    }
    Ok(blobs)
}

/// Rows on their way into an empty index.
pub struct Transplant {
    installer: Installer,
    position: Option<Position>,
    applied: Option<Bytes>,
}

impl Transplant {
    /// Into `index`, which nobody uses yet.
    pub fn new(index: &Index) -> Self {
        Self { installer: index.install(), position: None, applied: None }
    }

    /// Takes a chunk; `change` alters root's own state, where it comes by.
    pub fn push(&mut self, chunk: Bytes, change: &mut dyn FnMut(&mut Root)) -> Result<(), IndexError> {
        let mut kept = chunk::begin(chunk.len());
        for row in chunk::rows(chunk)? {
            let (space, suffix, value): Row = row?;
            let is = |table| space == Space::Records && suffix[..] == key::table(table)[..];
            if is(Table::Applied) {
                let progress: Progress = read(&suffix, record::decode(&value))?;
                self.position = Some(progress.position.ok_or(IndexError::BrokenSnapshot)?);
                self.applied = Some(value);
            } else if is(Table::Root) {
                let mut root: Root = read(&suffix, record::decode(&value))?;
                change(&mut root);
                chunk::put_row(&mut kept, space, &suffix, &record::encode(&root));
            } else if !is(Table::Membership) && !(space == Space::Records && suffix[0] == Table::Allowances as u8) {
                chunk::put_row(&mut kept, space, &suffix, &value);
            }
        }
        self.installer.push(kept.freeze())
    }

    /// Puts the rows in force, on disk when this returns, with the membership that `members` encodes for the position
    /// of the cut; that position.
    ///
    /// # Errors
    /// [`IndexError::BrokenSnapshot`] when the rows have no end.
    pub fn finish(mut self, members: impl FnOnce(Position) -> Bytes) -> Result<Position, IndexError> {
        let (Some(position), Some(applied)) = (self.position, self.applied) else {
            return Err(IndexError::BrokenSnapshot);
        };
        let mut last = chunk::begin(applied.len());
        let membership = record::encode_opaque(&members(position));
        chunk::put_row(&mut last, Space::Records, &key::table(Table::Membership), &membership);
        chunk::put_row(&mut last, Space::Records, &key::table(Table::Applied), &applied);
        self.installer.push(last.freeze())?;
        self.installer.finish()?;
        Ok(position)
    }
}
