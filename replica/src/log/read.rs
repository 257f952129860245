//! Reads entries back from segments, with their checksums.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::memory::Planned;
use super::record::{Body, ENTRY_HEAD, HEADER, entry_bytes, verify};
use super::segment::Segment;
use super::{LogEntry, Place};
use crate::position::Position;

/// Neighbours are read together up to this many bytes,
const SPAN: u64 = 1 << 20;
/// and if no more than this lies between them.
const GAP: u64 = 64 << 10;

/// Turns a plan into entries. Neighbours in a file are fetched by one read, and their payloads share its buffer.
pub fn fetch(planned: Vec<Planned>, segment: impl Fn(u64) -> Option<Arc<Segment>>) -> io::Result<Vec<LogEntry>> {
    let mut entries = Vec::with_capacity(planned.len());
    let mut stored: Vec<(Position, Place)> = Vec::new();
    for one in planned {
        match one {
            Planned::Stored(position, place) => {
                if stored.last().is_some_and(|(_, last)| !near(stored[0].1, *last, place)) {
                    span(&stored, &segment, &mut entries)?;
                    stored.clear();
                }
                stored.push((position, place));
            }
            Planned::Cached(entry) => {
                span(&stored, &segment, &mut entries)?;
                stored.clear();
                entries.push(entry);
            }
        }
    }
    span(&stored, &segment, &mut entries)?;
    Ok(entries)
}

fn end(place: Place) -> u64 {
    u64::from(place.offset) + entry_bytes(place.len as usize)
}

fn near(first: Place, last: Place, next: Place) -> bool {
    next.generation == last.generation
        && u64::from(next.offset) >= end(last)
        && u64::from(next.offset) - end(last) <= GAP
        && end(next) - u64::from(first.offset) <= SPAN
}

fn span(
    stored: &[(Position, Place)],
    segment: &impl Fn(u64) -> Option<Arc<Segment>>,
    entries: &mut Vec<LogEntry>,
) -> io::Result<()> {
    let (Some((_, first)), Some((_, last))) = (stored.first(), stored.last()) else { return Ok(()) };
    let segment = segment(first.generation).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("log segment {:x} is gone", first.generation))
    })?;
    let start = u64::from(first.offset);
    let mut bytes = vec![0; (end(*last) - start) as usize];
    segment.file.read_exact_at(&mut bytes, start)?;
    let bytes = Bytes::from(bytes);
    for (position, place) in stored {
        let from = (u64::from(place.offset) - start) as usize;
        let record = bytes.slice(from..from + entry_bytes(place.len as usize) as usize);
        match verify(&record, segment.mask) {
            Some((_, Body::Entry(found))) if found == *position => {
                entries.push(LogEntry { position: *position, payload: record.slice(HEADER + ENTRY_HEAD..) });
            }
            _ => {
                let text = format!("log segment {} is damaged at byte {}", segment.path.display(), place.offset);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
    Ok(())
}
