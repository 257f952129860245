//! `fsck` of a data directory whose node does not run: log, index and blobs, each by itself and against one another.
//!
//! It opens everything as a start does (so a torn tail of the log is cut off, as it would be), talks to nobody and
//! repairs nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::seam::Clock;

use crate::blob::BlobStore;
use crate::file::{self, Files};
use crate::index::Index;
use crate::index::engine::Engine;
use crate::log::{Log, LogEntry, LogOptions};
use crate::position::Position;

/// Blobs looked up in one go.
const PAGE: usize = 1000;

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
    /// Groups of which the directory holds a member.
    pub groups: u64,
    /// Log entries read.
    pub entries: u64,
    /// Blobs read to their ends.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Blobs that nothing names: collected by a running node in time, no harm.
    pub orphans: u64,
    /// What each group's member has applied.
    pub states: Vec<State>,
}

/// The state of a group's member: members that have applied as much have the same hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The group.
    pub group: GroupId,
    /// Index of the last entry applied.
    pub applied: u64,
    /// Of all that the index has then.
    pub hash: u64,
}

/// Checks the directory `data` with the index in `engine`.
pub async fn verify(files: Arc<dyn Files>, data: &Path, engine: Arc<dyn Engine>, clock: Arc<dyn Clock>) -> Report {
    let mut report = Report::default();
    let salt = match file::read(&*files, &data.join("log.salt")) {
        Ok(Some(bytes)) => <[u8; 8]>::try_from(&bytes[..]).ok().map(u64::from_le_bytes),
        Ok(None) | Err(_) => None,
    };
    let Some(salt) = salt else {
        report.problems.push("log.salt is missing or damaged: the log cannot be read".to_owned());
        return report;
    };
    let log = match Log::open(files.clone(), data.join("log"), LogOptions { salt, ..LogOptions::default() }).await {
        Ok(log) => log,
        Err(error) => {
            report.problems.push(format!("the log: {error}"));
            return report;
        }
    };
    let blobs = match BlobStore::open(files, data.join("blobs"), clock).await {
        Ok(blobs) => blobs,
        Err(error) => {
            report.problems.push(format!("the blobs: {error}"));
            log.close().await;
            return report;
        }
    };
    for id in log.groups() {
        report.groups += 1;
        let index = match Index::open(engine.clone(), id) {
            Ok(index) => index,
            Err(error) => {
                report.problems.push(format!("group {id}: the index: {error}"));
                continue;
            }
        };
        report.states.extend(index.digest().map(|(applied, hash)| State { group: id, applied, hash }));
        check_log(&log.group(id), &index, &mut report);
        match index.reader().unsound() {
            Ok(problems) => {
                report.problems.extend(problems.iter().map(|problem| format!("group {id}: the index: {problem}")))
            }
            Err(error) => report.problems.push(format!("group {id}: the index: {error}")),
        }
        if let Err(error) = check_blobs(&blobs, &index, &mut report).await {
            report.problems.push(format!("group {id}: {error}"));
        }
    }
    log.close().await;
    report
}

/// A group's log as it lies on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The group.
    pub group: GroupId,
    /// Index of the last entry, purged or not.
    pub last: u64,
    /// Term and node of the leader that wrote it.
    pub leader: (u64, u64),
    /// The term of the vote.
    pub term: u64,
    /// Its entries in order, purged ones excepted: where each stands, and a hash of what it says.
    pub entries: Vec<(Position, u64)>,
}

/// What the log in `data` would tell of its groups at a start.
///
/// # Errors
/// When it cannot be opened, or an entry cannot be read.
pub async fn marks(files: Arc<dyn Files>, data: &Path) -> Result<Vec<Marks>, String> {
    let salt = file::read(&*files, &data.join("log.salt")).map_err(|error| error.to_string())?;
    let Some(salt) = salt.and_then(|bytes| <[u8; 8]>::try_from(&bytes[..]).ok()).map(u64::from_le_bytes) else {
        return Ok(Vec::new());
    };
    let options = LogOptions { salt, ..LogOptions::default() };
    let log = Log::open(files, data.join("log"), options).await.map_err(|error| error.to_string())?;
    let marks = log.groups().into_iter().map(|group| {
        let entries = log.group(group);
        let (state, ballot) = (entries.state(), entries.ballot());
        let read = entries.read(entries.first_index(), state.last.map_or(0, |last| last.index) + 1, None);
        let hashed = |entry: LogEntry| (entry.position, xxhash_rust::xxh3::xxh3_64(&entry.payload));
        Ok(Marks {
            group,
            last: state.last.map_or(0, |last| last.index),
            leader: state.last.map_or((0, 0), |last| (last.term, last.node.0)),
            term: ballot.map_or(0, |ballot| ballot.term),
            entries: read.map_err(|error| format!("group {group}: {error}"))?.into_iter().map(hashed).collect(),
        })
    });
    let marks = marks.collect();
    log.close().await;
    marks
}

/// No hole, and the marks in order: purged ≤ applied ≤ last.
fn check_log(log: &crate::log::GroupLog, index: &Index, report: &mut Report) {
    let id = index.group();
    let state = log.state();
    let applied = index.applied().position.map_or(0, |position| position.index);
    let purged = state.purged.map_or(0, |position| position.index);
    let last = state.last.map_or(purged, |position| position.index);
    if purged > applied {
        report.problems.push(format!("group {id}: entries up to {purged} are gone, but only {applied} are applied"));
    }
    if applied > last {
        report.problems.push(format!("group {id}: {applied} is applied, but the log ends at {last}"));
    }
    if let (Some(ballot), Some(last)) = (log.ballot(), state.last)
        && ballot.term < last.term
    {
        report.problems.push(format!("group {id}: the vote is of term {}, an entry of {}", ballot.term, last.term));
    }
    let mut next = purged + 1;
    while next <= last {
        match log.read(next, (next + PAGE as u64).min(last + 1), None) {
            Ok(entries) if entries.is_empty() => {
                report.problems.push(format!("group {id}: the log has a hole at {next}"));
                return;
            }
            Ok(entries) => {
                for entry in entries {
                    if entry.position.index != next {
                        report.problems.push(format!("group {id}: the log has a hole at {next}"));
                        return;
                    }
                    next += 1;
                    report.entries += 1;
                }
            }
            Err(error) => {
                report.problems.push(format!("group {id}: the log cannot be read at {next}: {error}"));
                return;
            }
        }
    }
}

async fn check_blobs(blobs: &BlobStore, index: &Index, report: &mut Report) -> Result<(), String> {
    let (id, mut named, mut after) = (index.group(), BTreeSet::new(), None);
    loop {
        let page = index.blobs(after, PAGE).map_err(|error| format!("the index: {error}"))?;
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        for (blob, len) in page {
            named.insert(blob);
            match blobs.verify(id, blob).await {
                Ok(Some(held)) if held == len => {
                    report.blobs += 1;
                    report.bytes += len;
                }
                Ok(Some(held)) => {
                    report.problems.push(format!("group {id}: blob {blob} has {held} bytes instead of {len}"));
                }
                Ok(None) => report.problems.push(format!("group {id}: blob {blob} is not here")),
                Err(error) => report.problems.push(error.to_string()),
            }
        }
    }
    let mut after: Option<BlobId> = None;
    loop {
        let page = blobs.list(id, after, PAGE).await.map_err(|error| error.to_string())?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        report.orphans += page.iter().filter(|held| !named.contains(&held.id)).count() as u64;
    }
}
