//! Every damaged byte: refused where it was proven to be synced, cut only where it may be a torn tail, never served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_wire::id::GroupId;

use super::model::run;
use super::{DIR, append, entry, open, small};
use crate::file::{Cut, Files, SimulatedFiles};
use crate::log::record::{BLOCK, HEADER, Header};
use crate::log::{Corruption, LogEntry, LogError};

const ENTRIES: u64 = 12;

fn expected() -> Vec<LogEntry> {
    (1..=ENTRIES).map(|index| entry(1, index, format!("this is entry number {index}").as_bytes())).collect()
}

/// A log over several segments, one entry a batch. Cleanly closed, its last batch is proven by a mark.
async fn written(proven: bool) -> SimulatedFiles {
    let files = SimulatedFiles::new(1);
    let log = open(&files, small(0)).await.unwrap();
    let group = log.group(GroupId(1));
    for entry in expected() {
        append(&group, vec![entry]).await.unwrap();
    }
    if proven {
        drop(group);
        log.close().await;
    } else {
        files.power_cut(Cut::Clean);
    }
    files
}

/// Bytes of each record of each batch: path, first byte, end, in the order of the log.
fn batches(files: &SimulatedFiles) -> Vec<(PathBuf, u64, u64)> {
    let mut found = Vec::new();
    for name in files.read_dir(Path::new(DIR)).unwrap() {
        let path = Path::new(DIR).join(name.name);
        let bytes = crate::file::read(files, &path).unwrap().unwrap();
        let mut offset = 0;
        while let Some(mut header) = bytes.get(offset..).and_then(Header::peek) {
            let from = offset;
            while !header.last {
                offset += HEADER + header.len;
                header = Header::peek(&bytes[offset..]).unwrap();
            }
            offset += HEADER + header.len;
            found.push((path.clone(), from as u64, offset as u64));
            offset = offset.next_multiple_of(BLOCK as usize);
        }
    }
    found
}

/// What opening says after `change`.
async fn after(files: &SimulatedFiles, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Result<usize, LogError> {
    let files = files.fork();
    files.corrupt(path, change).unwrap();
    let log = open(&files, small(0)).await?;
    let entries = log.group(GroupId(1)).read(0, 100, None).unwrap();
    assert_eq!(entries, expected()[..entries.len()]);
    Ok(entries.len())
}

fn is_corrupt(outcome: &Result<usize, LogError>) -> bool {
    matches!(outcome, Err(LogError::Corrupt { .. }))
}

#[test]
fn a_flipped_byte_that_was_proven_is_corruption() {
    run(async {
        let files = written(true).await;
        let batches = batches(&files);
        let segments = batches.iter().map(|(path, ..)| path).collect::<std::collections::BTreeSet<_>>();
        assert!(segments.len() > 2, "{segments:?}");
        let (_, proven) = batches.split_last().unwrap();
        for (path, from, to) in proven {
            for offset in *from..*to {
                let outcome = after(&files, path, |bytes| bytes[offset as usize] ^= 0x10).await;
                assert!(is_corrupt(&outcome), "{} at {offset}: {outcome:?}", path.display());
            }
        }
    });
}

#[test]
fn the_last_batch_alone_may_be_cut() {
    run(async {
        let files = written(false).await;
        let (path, from, to) = batches(&files).pop().unwrap();
        for offset in from..to {
            for flip in [0x01, 0x80] {
                let outcome = after(&files, &path, |bytes| bytes[offset as usize] ^= flip).await.unwrap();
                assert_eq!(outcome as u64, ENTRIES - 1, "flipped at {offset}");
            }
            let zeroed = after(&files, &path, |bytes| bytes[offset as usize..].fill(0)).await.unwrap();
            assert!(zeroed as u64 >= ENTRIES - 1, "zeroed from {offset}");
        }
    });
}

#[test]
fn a_file_that_was_cut_short_or_is_gone_is_corruption() {
    run(async {
        let files = written(true).await;
        let batches = batches(&files);
        let mut ends = BTreeMap::new();
        for (path, _, to) in &batches {
            ends.insert(path.clone(), *to);
        }
        for (path, end) in &ends {
            for len in [0, 1, 100, 4096, end - 1, *end] {
                let outcome = after(&files, path, |bytes| bytes.truncate(len as usize)).await;
                let last = Some(path) == ends.keys().next_back();
                // Without its first batch, the last segment looks as if it had never been started.
                assert!(is_corrupt(&outcome) || (last && len < 4096), "{} at {len}: {outcome:?}", path.display());
            }
        }
        let (first, _) = ends.first_key_value().unwrap();
        let fork = files.fork();
        fork.remove_file(first).unwrap();
        let error = open(&fork, small(0)).await.err().unwrap();
        let LogError::Corrupt { what: Corruption::Missing { group, index }, .. } = error else { panic!("{error}") };
        assert_eq!((group, index), (GroupId(1), 1));
    });
}

#[test]
fn what_it_says_tells_what_to_do() {
    run(async {
        let files = written(true).await;
        let (path, from, _) = batches(&files).swap_remove(3);
        let error = after(&files, &path, |bytes| bytes[from as usize + 30] ^= 1).await.unwrap_err().to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
        assert!(error.contains("empty its data directory"), "{error}");
    });
}

#[test]
fn a_damaged_entry_is_never_served() {
    run(async {
        let files = written(true).await;
        let log = open(&files, small(0)).await.unwrap();
        let group = log.group(GroupId(1));
        assert_eq!(group.read(1, 3, None).unwrap(), expected()[..2]);
        let (path, from, to) = batches(&files).swap_remove(2);
        assert!(to - from < BLOCK);
        files.corrupt(&path, |bytes| bytes[to as usize - 1] ^= 1).unwrap();
        let error = group.read(0, 100, None).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    });
}
