//! What only this engine promises: bounded buffers, prefixes after a crash, views of whole batches.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;

fn small(directory: &Path) -> Lsm {
    Lsm::open(directory, LsmOptions { buffer_bytes: 256 << 10, ..LsmOptions::default() }).unwrap()
}

fn put(space: Space, key: u32, value: Vec<u8>) -> Mutation {
    Mutation::Put(space, key.to_be_bytes().to_vec(), Bytes::from(value))
}

#[test]
fn write_buffers_stay_bounded_however_fast_the_writer() {
    let directory = tempfile::tempdir().unwrap();
    let engine = small(directory.path());
    for key in 0..40_000u32 {
        engine.write(vec![put(Space::Records, key, vec![7; 200])], Durability::Buffered).unwrap();
        let buffered = engine.shared.buffered.load(Ordering::Acquire);
        // One that is written to, three that wait, three that were flushed and are being released.
        assert!(buffered < 7 * (256 << 10) + (128 << 10), "{buffered} bytes wait");
    }
    assert_eq!(engine.range(Space::Records, b"", b"").count(), 40_000);
}

/// What is left after the process dies at this moment: the files as they are.
fn killed(directory: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => copy(&entry.path(), &to),
                false => drop(std::fs::copy(entry.path(), to).unwrap()),
            }
        }
    }
    let left = tempfile::tempdir().unwrap();
    copy(directory, left.path());
    left
}

#[test]
fn after_a_crash_both_spaces_hold_the_same_prefix_of_the_batches() {
    let directory = tempfile::tempdir().unwrap();
    let engine = small(directory.path());
    for key in 0..3000u32 {
        let batch = vec![put(Space::Records, key, vec![1; 100]), put(Space::Bodies, key, vec![2; 2000])];
        engine.write(batch, Durability::Buffered).unwrap();
    }
    // What was flushed stays; the active buffer dies. Nobody is between two files.
    engine.upkeep.stop();
    let left = killed(directory.path());
    let again = small(left.path());
    let keys = |space| again.range(space, b"", b"").map(|row| row.unwrap().0).collect::<Vec<_>>();
    let records = keys(Space::Records);
    assert!(!records.is_empty() && records.len() < 3000, "{} records", records.len());
    assert_eq!(records, keys(Space::Bodies));
    assert_eq!(records, (0..records.len() as u32).map(|key| key.to_be_bytes().to_vec()).collect::<Vec<_>>());

    again.write(vec![put(Space::Records, 5000, vec![1])], Durability::Buffered).unwrap();
    again.write(Vec::new(), Durability::Synced).unwrap();
    again.upkeep.stop();
    let left = killed(left.path());
    let count = small(left.path()).range(Space::Records, b"", b"").count();
    assert_eq!(count, records.len() + 1, "a synced batch brings all before it");
}

#[test]
fn a_view_shows_whole_batches_while_buffers_are_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let engine = small(directory.path());
    let done = AtomicBool::new(false);
    let pair = |number: u32| {
        vec![
            put(Space::Records, 1, number.to_be_bytes().to_vec()),
            put(Space::Records, 2, number.to_be_bytes().to_vec()),
        ]
    };
    engine.write(pair(0), Durability::Buffered).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..30_000u32 {
                let mut batch = pair(number);
                batch.insert(1, put(Space::Bodies, number, vec![3; 300]));
                engine.write(batch, Durability::Buffered).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut views = 0;
        while !done.load(Ordering::Acquire) {
            let view = engine.snapshot();
            let value = |key: u32| view.get(Space::Records, &key.to_be_bytes()).unwrap().unwrap();
            let first = value(1);
            assert_eq!(first, value(2));
            let rows: Vec<_> = view.range(Space::Records, b"", b"").map(|row| row.unwrap().1).collect();
            assert_eq!(rows, [first.clone(), first]);
            views += 1;
        }
        assert!(views > 10, "{views} views");
    });
}

#[test]
fn an_open_view_keeps_what_it_sees_through_flushing_and_merging() {
    let directory = tempfile::tempdir().unwrap();
    let engine = small(directory.path());
    for key in 0..1000u32 {
        engine.write(vec![put(Space::Bodies, key, vec![1; 1500])], Durability::Buffered).unwrap();
    }
    let view = engine.snapshot();
    for round in 0..6u8 {
        for key in 0..1000u32 {
            let change = match round {
                5 => Mutation::Remove(Space::Bodies, key.to_be_bytes().to_vec()),
                _ => put(Space::Bodies, key, vec![round + 2; 1500]),
            };
            engine.write(vec![change], Durability::Buffered).unwrap();
        }
        engine.write(Vec::new(), Durability::Synced).unwrap();
    }
    assert_eq!(engine.range(Space::Bodies, b"", b"").count(), 0);
    let seen: Vec<_> = view.range(Space::Bodies, b"", b"").map(|row| row.unwrap().1).collect();
    assert_eq!(seen.len(), 1000);
    assert!(seen.iter().all(|value| value[..] == [1; 1500]));
}

/// A tree with several tables and value files on disk; the rows that it has.
fn filled(directory: &Path) -> Vec<(Bytes, Bytes)> {
    let engine = small(directory);
    for key in 0..600u32 {
        let batch = vec![put(Space::Records, key, vec![key as u8; 300]), put(Space::Bodies, key, vec![9; 1500])];
        engine.write(batch, Durability::Buffered).unwrap();
    }
    engine.write(Vec::new(), Durability::Synced).unwrap();
    rows_of(&engine).unwrap()
}

fn rows_of(engine: &Lsm) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
    Space::ALL.into_iter().flat_map(|space| engine.range(space, b"", b"")).collect()
}

fn files_under(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_under(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn every_stored_file_verifies_until_a_bit_of_it_flips() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let engine = small(directory.path());
    let stored = engine.stored();
    assert!(stored.len() >= 2 && stored.iter().all(|file| file.len > 0), "tables and values");
    for file in stored {
        let path = file.name.clone();
        assert_eq!((file.verify)(), Ok(()), "{path}");
    }
    let broken = engine.stored().remove(0).name;
    let mut bytes = std::fs::read(&broken).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&broken, bytes).unwrap();
    for file in engine.stored() {
        let path = file.name.clone();
        assert_eq!((file.verify)().is_err(), path == broken, "{path}");
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_changes_nothing_but_never_another_row() {
    let directory = tempfile::tempdir().unwrap();
    let rows = filled(directory.path());
    let (mut refused, mut failed, mut harmless) = (0, 0, 0);
    for (number, file) in files_under(&directory.path().join("tree")).into_iter().enumerate() {
        let good = std::fs::read(&file).unwrap();
        // Some places of every file, its ends among them.
        let places: BTreeSet<usize> = (0..10)
            .map(|n| n * good.len() / 10)
            .chain([good.len().saturating_sub(1)])
            .filter(|at| *at < good.len())
            .collect();
        for at in places {
            let mut bad = good.clone();
            bad[at] ^= 1 << ((at + number) % 8);
            let left = killed(directory.path());
            let path = left.path().join(file.strip_prefix(directory.path()).unwrap());
            std::fs::write(path, bad).unwrap();
            match Lsm::open(left.path(), LsmOptions::default()) {
                Err(_) => refused += 1,
                Ok(engine) => match rows_of(&engine) {
                    Err(_) => failed += 1,
                    Ok(found) => {
                        assert!(found == rows, "{} at byte {at}: other rows", file.display());
                        harmless += 1;
                    }
                },
            }
        }
    }
    assert!(refused + failed > harmless, "{refused} refused, {failed} failed, {harmless} harmless");
}
