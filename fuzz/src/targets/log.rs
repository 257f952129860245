//! A log on a simulated disk, damaged, and opened again: what is read back is what was written, up to a batch behind which
//! nothing intact stands; anything else is refused as corrupt. Damage in what a later segment has restated may go unnoticed:
//! then nothing is missing, and every entry is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbitrary::Unstructured;
use bytes::Bytes;
use holdfast_replica::file::{Cut, Files, SimulatedFiles};
use holdfast_replica::log::{Log, LogEntry, LogError, LogOptions};
use holdfast_replica::position::{Ballot, Position};
use holdfast_wire::id::{GroupId, NodeId};

use super::{one, wait};
use crate::bounds::measured;
use crate::second::log::batches;

const DIR: &str = "/log";
const OPTIONS: LogOptions = LogOptions { segment_bytes: 16 << 10, cache_bytes: 0, reserve_bytes: 0, salt: 7 };
/// Bytes that opening may hold: the window in which files are read, and what the writer prepares.
const MEMORY: usize = 16 << 20;

/// What is asked of a log, each waited for.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append { group: u32, len: usize },
    Vote { group: u32 },
    Truncate { group: u32, back: u64 },
    Purge { group: u32, ahead: u64 },
    Reopen,
}

/// What the disk does afterwards.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip { file: usize, at: usize, by: u8 },
    Zero { file: usize, at: usize, len: usize },
    Misplace { file: usize, from: usize, to: usize },
}

/// What a group has: votes, marks and entries.
type State = Vec<(Option<Ballot>, Option<Position>, Vec<LogEntry>)>;

fn step(u: &mut Unstructured<'_>) -> arbitrary::Result<Step> {
    let group = u.int_in_range(1..=2)?;
    Ok(match u.int_in_range(0..=9)? {
        0 => Step::Vote { group },
        1 => Step::Truncate { group, back: u.int_in_range(0..=3)? },
        2 => Step::Purge { group, ahead: u.int_in_range(0..=3)? },
        3 => Step::Reopen,
        _ => Step::Append { group, len: *one(u, &[0, 1, 40, 4000, 5000, 9000])? },
    })
}

fn damage(u: &mut Unstructured<'_>) -> arbitrary::Result<Damage> {
    let (file, at) = (u.int_in_range(0..=5)?, u.int_in_range(0..=16_383)?);
    // Near the front of a block is where heads are.
    let at = if u.ratio(2, 3)? { at / 4096 * 4096 + at % 64 } else { at };
    Ok(match u.int_in_range(0..=5)? {
        0 => Damage::Zero { file, at, len: *one(u, &[1, 16, 512, 4096])? },
        1 => Damage::Misplace { file, from: at / 4096, to: u.int_in_range(0..=3)? },
        _ => Damage::Flip { file, at, by: u.int_in_range(1..=255)? },
    })
}

fn bytes(files: &SimulatedFiles, path: &Path) -> Vec<u8> {
    holdfast_replica::file::read(files, path).expect("the disk is sound").unwrap_or_default()
}

fn segments(files: &SimulatedFiles) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> = files
        .read_dir(Path::new(DIR))
        .expect("the disk is sound")
        .into_iter()
        .map(|entry| Path::new(DIR).join(entry.name))
        .collect();
    names.sort();
    names
}

async fn open(files: &SimulatedFiles) -> Result<Log, LogError> {
    Log::open(Arc::new(files.process()), PathBuf::from(DIR), OPTIONS).await
}

fn state(log: &Log) -> Option<State> {
    let one = |group| {
        let log = log.group(GroupId(group));
        Some((log.ballot(), log.state().purged, log.read(0, u64::MAX, None).ok()?))
    };
    [1, 2].into_iter().map(one).collect()
}

/// Writes what the steps say; gives back what the log held after each batch that reached the disk.
async fn write(files: &SimulatedFiles, steps: &[Step]) -> (Log, Vec<State>) {
    let mut log = open(files).await.expect("an empty disk");
    let mut history = vec![state(&log).expect("a sound log")];
    let mut terms = 0;
    // Raft writes another entry to a place only in another term.
    let mut era = 1;
    for step in steps {
        match *step {
            Step::Append { group, len } => {
                let group = log.group(GroupId(group));
                let index = group.state().last.map_or(group.first_index(), |last| last.index + 1);
                let position = Position { term: era, node: NodeId(1), index };
                let payload = Bytes::from(vec![index as u8; len]);
                let (done, result) = futures::channel::oneshot::channel();
                group.append(vec![LogEntry { position, payload }], move |told| drop(done.send(told)));
                result.await.expect("the writer lives").expect("the disk is sound");
            }
            Step::Vote { group } => {
                terms += 1;
                let ballot = Ballot { term: terms, node: NodeId(1), committed: false };
                log.group(GroupId(group)).save_ballot(ballot).await.expect("the disk is sound");
            }
            Step::Truncate { group, back } => {
                era += 1;
                let group = log.group(GroupId(group));
                let first = group.first_index();
                let keep = group.state().last.filter(|last| last.index >= first + back);
                group.truncate_after(keep.and_then(|last| group.position(last.index - back)).or(group.state().purged));
                group.flushed().await.expect("the disk is sound");
            }
            Step::Purge { group, ahead } => {
                let group = log.group(GroupId(group));
                if let Some(upto) = group.position(group.first_index() + ahead) {
                    group.purge(upto);
                }
                group.flushed().await.expect("the disk is sound");
            }
            Step::Reopen => {
                log.close().await;
                log = open(files).await.expect("a log that was closed");
            }
        }
        let now = state(&log).expect("a sound log");
        // What changed nothing may have written nothing.
        if history.last() != Some(&now) {
            history.push(now);
        }
    }
    (log, history)
}

/// The target.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let _ = judge(&mut u);
}

fn judge(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let closed = u.ratio(1, 2)?;
    let count = u.int_in_range(0..=3)?;
    let damages = (0..count).map(|_| damage(u)).collect::<arbitrary::Result<Vec<_>>>()?;
    let count = u.int_in_range(1..=12)?;
    let steps = (0..count).map(|_| step(u)).collect::<arbitrary::Result<Vec<_>>>()?;
    wait(async {
        let files = SimulatedFiles::new(1);
        let (log, history) = write(&files, &steps).await;
        if closed {
            log.close().await;
        } else {
            files.power_cut(Cut::Clean);
            drop(log);
        }
        let paths = segments(&files);
        let before: Vec<Vec<u8>> = paths.iter().map(|path| bytes(&files, path)).collect();
        let intact = batches(&before);
        for damage in &damages {
            strike(&files, &paths, *damage);
        }
        let after: Vec<Vec<u8>> = paths.iter().map(|path| bytes(&files, path)).collect();
        let hurt =
            |(file, from, to): &(usize, usize, usize)| after[*file].get(*from..*to) != before[*file].get(*from..*to);
        // How many batches at the end are damaged, one behind the other: those alone may be taken for what was never written.
        let torn = intact.iter().rev().take_while(|batch| hurt(batch)).count();
        let any = intact.iter().any(hurt);
        let shown = || format!("{steps:?} {damages:?} closed {closed}, batches {intact:?}, torn {torn}");
        // A task of the writer may live on a little; it is not measured.
        let opened = {
            let opening = open(&files);
            let mut opening = std::pin::pin!(opening);
            let mut most = 0;
            let opened = futures::future::poll_fn(|cx| {
                let (polled, held) = measured(|| opening.as_mut().poll(cx));
                most = most.max(held);
                polled
            })
            .await;
            assert!(most <= MEMORY, "{most} bytes: {}", shown());
            opened
        };
        match opened {
            Ok(log) => {
                let Some(found) = state(&log) else { panic!("what was opened cannot be read: {}", shown()) };
                let last = history.last().expect("it began with something");
                assert!(any || found == *last, "nothing is damaged, and something is missing: {}", shown());
                assert!(torn > 0 || found == *last, "something is missing in front of what is intact: {}", shown());
                // Every change takes one batch at least; a start of a segment may come on top. One that is damaged
                // with all behind it takes everything along, for what stood before it is given up.
                let started = intact.iter().rev().take(torn).any(|(_, from, _)| *from == 0);
                let least = if started { 0 } else { history.len().saturating_sub(torn + 1) };
                assert!(history[least..].contains(&found), "it holds what it never held: {}", shown());
                log.close().await;
            }
            Err(LogError::Corrupt { .. } | LogError::Version { .. }) => {
                assert!(any, "nothing is damaged, and it is refused: {}", shown());
            }
            Err(error) => panic!("{error}: {}", shown()),
        }
    });
    Ok(())
}

fn strike(files: &SimulatedFiles, paths: &[PathBuf], damage: Damage) {
    let (Damage::Flip { file, .. } | Damage::Zero { file, .. } | Damage::Misplace { file, .. }) = damage;
    let Some(path) = paths.get(file) else { return };
    let change = |bytes: &mut Vec<u8>| match damage {
        Damage::Flip { at, by, .. } => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= by),
        Damage::Zero { at, len, .. } => bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = 0),
        Damage::Misplace { from, to, .. } => {
            let (from, to) = (from * 4096, to * 4096);
            if bytes.len() >= (from + 4096).max(to + 4096) {
                bytes.copy_within(from..from + 4096, to);
            }
        }
    };
    files.corrupt(path, change).expect("the file is there");
}
