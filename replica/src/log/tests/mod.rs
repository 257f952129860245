//! The log on real and simulated files.

mod basic;

use bytes::Bytes;
use holdfast_wire::id::NodeId;

use super::LogEntry;
use crate::position::Position;

fn at(term: u64, index: u64) -> Position {
    Position { term, node: NodeId(term % 3), index }
}

fn entry(term: u64, index: u64, payload: &[u8]) -> LogEntry {
    LogEntry { position: at(term, index), payload: Bytes::copy_from_slice(payload) }
}
