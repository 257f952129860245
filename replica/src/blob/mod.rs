//! Immutable bytes of objects and parts, one file each, checksummed block by block.
//!
//! What this module promises:
//! - a blob that [`BlobWriter::finish`] reported is on disk, name and bytes; one that was not finished is not there;
//! - no byte leaves a [`BlobReader`] before the checksum of its block was found right, for this very blob and block;
//! - an upload that [`fanout::receive`] reported is on disk on a majority, this node included; one that failed or was
//!   aborted is nowhere, save on nodes that could not be told any more (collected as unreferenced later).
//!
//! From the bottom up: [`format`] (bytes of a file), [`store`] (names, [`writer`], [`reader`]), [`peer`] (node to
//! node), [`fanout`] (the leader's side of an upload).

mod buffer;
#[cfg(test)]
mod crash_tests;
mod error;
pub mod fanout;
pub mod format;
mod lanes;
#[cfg(test)]
mod measure;
pub mod peer;
pub mod reader;
pub mod stats;
pub mod store;
pub mod writer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use error::{BlobError, Damage};
pub use reader::BlobReader;
pub use stats::BlobStats;
pub use store::{BlobOptions, BlobStore, Held};
pub use writer::BlobWriter;
