//! One history that uses everything, stopped at every single file operation.

use super::model::{Harness, Step, run};
use super::{DIR, append, entry, open, small};
use crate::file::{Cut, Fault, Files, SimulatedFiles};
use holdfast_wire::id::GroupId;
use std::path::Path;

fn history() -> Vec<Step> {
    let mut steps = vec![Step::Ballot(1), Step::Ballot(2)];
    for round in 0..6 {
        steps.extend([
            Step::Append(1, 3, 2000),
            Step::Append(2, 1, 500),
            Step::Ballot(1),
            Step::Truncate(1, 2),
            Step::Append(1, 2, 3000),
            Step::Committed(1, 1),
            Step::Yield,
            Step::Append(2, 2, 100),
            Step::Flush(2),
            Step::Purge(1, 2),
            Step::Purge(2, 1 - round % 3),
            Step::Yield,
        ]);
    }
    steps.extend([
        Step::Idle,
        Step::Forget(2),
        Step::Append(1, 1, 10),
        Step::Reopen,
        Step::Append(1, 1, 10),
        Step::Idle,
    ]);
    steps
}

#[test]
fn a_crash_after_every_file_operation_loses_nothing_that_was_done() {
    for cut in [Cut::Clean, Cut::Torn] {
        for seed in 0..if cut == Cut::Torn { 4 } else { 1 } {
            for count in 0.. {
                let finished = run(async {
                    let files = SimulatedFiles::new(seed);
                    let mut harness = Harness::new(files.clone(), 4000).await;
                    harness.step(Step::CrashAfter(count)).await;
                    for step in history() {
                        if matches!(step, Step::Reopen) && files.has_crashed() {
                            break;
                        }
                        harness.step(step).await;
                    }
                    let finished = !files.has_crashed();
                    harness.cut(cut).await;
                    // And once more, behind the torn tail.
                    harness.step(Step::Append(1, 2, 1000)).await;
                    harness.step(Step::Flush(1)).await;
                    harness.cut(Cut::Torn).await;
                    finished
                });
                if finished {
                    assert!(count > 60, "the history has only {count} operations");
                    break;
                }
            }
        }
    }
}

#[test]
fn opening_can_be_stopped_anywhere() {
    run(async {
        let files = SimulatedFiles::new(3);
        for round in 0..40 {
            files.crash_after(round % 10);
            let opened = open(&files, small(0)).await;
            if let Ok(log) = opened {
                let group = log.group(GroupId(1));
                let next = group.state().last.map_or(1, |last| last.index + 1);
                let _ = append(&group, vec![entry(1, next, &[1; 5000])]).await;
                tokio::task::yield_now().await;
                drop((group, log));
            }
            files.power_cut(Cut::Torn);
        }
        let log = open(&files, small(0)).await.unwrap();
        assert!(log.group(GroupId(1)).state().last.is_some());
        log.close().await;
    });
}

#[test]
fn the_first_failed_sync_ends_everything() {
    for fault in [Fault::Sync, Fault::Write] {
        run(async {
            let files = SimulatedFiles::new(1);
            let log = open(&files, small(0)).await.unwrap();
            let (one, two) = (log.group(GroupId(1)), log.group(GroupId(2)));
            append(&one, vec![entry(1, 1, b"done")]).await.unwrap();
            files.fail_after(fault, 0);
            let (told, mut results) = tokio::sync::mpsc::unbounded_channel();
            for (group, index) in [(&one, 2), (&two, 1), (&one, 3)] {
                let told = told.clone();
                let id = group.id();
                group.append(vec![entry(1, index, b"lost")], move |result| told.send((id, index, result)).unwrap());
            }
            for expected in [(GroupId(1), 2), (GroupId(2), 1), (GroupId(1), 3)] {
                let (id, index, result) = results.recv().await.unwrap();
                assert_eq!((id, index), expected);
                assert!(result.is_err());
            }
            assert_eq!(log.failed().await.kind(), two.flushed().await.unwrap_err().kind());
            // A disk that is well again changes nothing: what the kernel dropped is gone.
            files.heal();
            let operations = files.operations();
            assert!(append(&two, vec![entry(1, 2, b"late")]).await.is_err());
            assert!(one.save_ballot(Default::default()).await.is_err());
            assert_eq!(files.operations(), operations);
            files.power_cut(Cut::Torn);
            let log = open(&files, small(0)).await.unwrap();
            assert_eq!(log.group(GroupId(1)).read(1, 2, None).unwrap(), [entry(1, 1, b"done")]);
        });
    }
}

#[test]
fn a_full_disk_is_told_before_entries_are_accepted() {
    run(async {
        let files = SimulatedFiles::new(1);
        // Never so much that it is believed for a while.
        files.set_capacity(1 << 30);
        let mut options = small(0);
        options.reserve_bytes = 10 << 10;
        let log = open(&files, options).await.unwrap();
        let group = log.group(GroupId(1));
        append(&group, vec![entry(1, 1, &[1; 3000])]).await.unwrap();
        assert!(log.has_room(1000));
        files.set_capacity(files.used() + (9 << 10));
        assert!(!log.has_room(1000));
        // Votes, membership changes and deletes still fit, beyond the end of the current segment.
        for index in 2..6 {
            append(&group, vec![entry(1, index, &[2; 3000])]).await.unwrap();
        }
        group.save_ballot(Default::default()).await.unwrap();
        // Then writing waits, without failing, until a purge or somebody else makes room.
        for index in 6..12 {
            group.append(vec![entry(1, index, &[2; 3000])], |result| result.unwrap());
        }
        assert!(tokio::time::timeout(std::time::Duration::from_secs(5), group.flushed()).await.is_err());
        files.set_capacity(1 << 30);
        group.flushed().await.unwrap();
        assert!(log.has_room(1000));
        assert_eq!(group.state().last, Some(super::at(1, 11)));
        assert!(files.read_dir(Path::new(DIR)).unwrap().len() > 2);
        log.close().await;
    });
}

#[test]
fn a_full_disk_lets_a_log_open_again_and_again() {
    run(async {
        let files = SimulatedFiles::new(1);
        let log = open(&files, small(0)).await.unwrap();
        append(&log.group(GroupId(1)), vec![entry(1, 1, b"there")]).await.unwrap();
        log.close().await;
        files.set_capacity(files.used());
        for _ in 0..4 {
            let log = open(&files, small(0)).await.unwrap();
            assert_eq!(log.group(GroupId(1)).read(1, 2, None).unwrap().len(), 1);
            log.close().await;
        }
    });
}
