//! The seam to the ordered key-value engine: eight functions, several implementations, one conformance suite.

pub mod dump;
mod lsm;
mod memory;
mod redis;

#[cfg(test)]
mod conformance;

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use lsm::{Lsm, LsmOptions};
pub use memory::Memory;
#[cfg(test)]
pub use redis::tests as in_redis;
pub use redis::{BadUrl, Found, Patience, Redis, RedisOptions, check_url, dump_path, look};

/// Why an engine failed. Never a reason to go on: the process ends and the index is verified or rebuilt.
#[derive(Debug, thiserror::Error)]
#[error("index engine: {0}")]
pub struct EngineError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Which of the engine's two key spaces. Both are written in one atomic batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Space {
    /// Records: small values, scanned in order.
    Records,
    /// Inline bodies: larger values, read by key.
    Bodies,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Sets a key.
    Put(Space, Vec<u8>, Bytes),
    /// Removes a key, if it is there.
    Remove(Space, Vec<u8>),
}

/// Whether a batch must survive a power cut when `write` returns. Buffered batches survive as a prefix: a later one
/// never without the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Perhaps in memory only: the raft log has it, and a lost tail is applied again.
    Buffered,
    /// This batch and all before it.
    Synced,
}

impl Space {
    /// Both.
    pub const ALL: [Space; 2] = [Space::Records, Space::Bodies];
}

/// The end of the range of all keys with `prefix`: the first key behind them. Empty when there is no such key.
pub fn behind(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|&byte| byte != 0xff).map_or(0, |last| last + 1);
    let mut end = prefix[..kept].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// What an engine tells about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Bytes on this node's disk.
    pub disk_bytes: u64,
    /// Bytes buffered in memory.
    pub memory_bytes: u64,
}

/// One row of a range: key and value.
pub type Row = Result<(Bytes, Bytes), EngineError>;

/// Reading: an engine as it is now, or frozen.
pub trait View: Send + Sync {
    /// The value of `key`.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, EngineError>;
    /// Rows with `from <= key < to` in byte order; an empty `to` has no upper end. Rows come lazily.
    fn range<'a>(&'a self, space: Space, from: &[u8], to: &[u8]) -> Box<dyn Iterator<Item = Row> + Send + 'a>;
}

/// An ordered key-value engine.
pub trait Engine: View + 'static {
    /// Applies all mutations, or none.
    fn write(&self, batch: Vec<Mutation>, durability: Durability) -> Result<(), EngineError>;
    /// A frozen view: later writes do not show in it. Cheap.
    fn snapshot(&self) -> Box<dyn View>;
    /// Removes every key with this prefix in both spaces. Not atomic: may be interrupted and repeated.
    fn clear(&self, prefix: &[u8]) -> Result<(), EngineError>;
    /// What the engine tells about itself.
    fn stats(&self) -> EngineStats;
    /// The files that it has now, each to be read again and compared with its checksum. They stay as long as this.
    fn stored(&self) -> Vec<Stored>;
    /// What keeps it from answering, when it lives outside of this process.
    fn trouble(&self) -> Option<Trouble> {
        None
    }
}

/// A file of an engine.
pub struct Stored {
    /// Its path.
    pub name: String,
    /// Its bytes.
    pub len: u64,
    /// Reads it; what is wrong with it. Blocks.
    pub verify: Box<dyn FnOnce() -> Result<(), String> + Send>,
}

/// What keeps an engine from answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is silent, perhaps for a moment: reads fail and writes wait.
    Silent {
        /// For how long.
        since: Duration,
        /// Why.
        reason: String,
    },
    /// It holds something else than was written: this process cannot go on with it.
    Lost(String),
}
