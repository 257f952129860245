//! The log on real and simulated files.

mod basic;
mod crash;
mod damage;
mod load;
mod model;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_wire::id::NodeId;
use tokio::sync::oneshot;

use super::{GroupLog, Log, LogEntry, LogError, LogOptions};
use crate::file::SimulatedFiles;
use crate::position::Position;

const DIR: &str = "/log";

fn at(term: u64, index: u64) -> Position {
    Position { term, node: NodeId(term % 3), index }
}

fn entry(term: u64, index: u64, payload: &[u8]) -> LogEntry {
    LogEntry { position: at(term, index), payload: Bytes::copy_from_slice(payload) }
}

async fn append(group: &GroupLog, entries: Vec<LogEntry>) -> std::io::Result<()> {
    let (done, result) = oneshot::channel();
    group.append(entries, move |told| done.send(told).unwrap());
    result.await.unwrap()
}

/// Small segments, so that a few entries fill several.
fn small(cache_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes: 16 << 10, cache_bytes, reserve_bytes: 0, salt: 7 }
}

async fn open(files: &SimulatedFiles, options: LogOptions) -> Result<Log, LogError> {
    Log::open(Arc::new(files.process()), Path::new(DIR).to_owned(), options).await
}
