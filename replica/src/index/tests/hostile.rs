//! Bytes that nobody meant: altered commands and snapshots. Stronger than "no panic": what can be read reads back the
//! same, gives every replica the same state, and what cannot be taken in leaves the state as it was.

use holdfast_wire::id::RequestId;
use proptest::prelude::*;

use super::support::*;
use super::*;
use crate::index::command::{Envelope, NotAnEnvelope};
use crate::index::engine::Memory;

/// Changes of bytes, each at a place of the whole.
type Edits = Vec<(prop::sample::Index, u8)>;

fn edits(most: usize) -> impl Strategy<Value = Edits> {
    proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..most)
}

fn edited(bytes: &[u8], edits: &Edits, cut: Option<prop::sample::Index>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, byte) in edits {
        let len = bytes.len();
        bytes[at.index(len)] = *byte;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

fn commands(index: &Index) -> Vec<Command> {
    vec![
        put("a/x", inline("hello")),
        put("b", blob(7, 4096)),
        delete(&["a/x", "b"]),
        copy(index, "seed", "c"),
        create_upload("u", 5),
        put_part("u", 5, 1, blob(8, 6 << 20)),
        put_part("u", 5, 2, inline("rest")),
        complete("u", 5, &[(1, 6 << 20), (2, 4)]),
        Command::InstallBucket(bucket(2)),
        Command::RemoveBucket { bucket: BucketId(2) },
        Command::Collect { before_ms: 9 },
        Command::Expire { limit: 10 },
    ]
}

fn begun() -> (Index, Log) {
    let (index, mut log) = (shard(Arc::new(Memory::new())), Log::default());
    log.apply(&index, 1, Command::InstallBucket(bucket(1)));
    log.apply(&index, 2, put("seed", blob(6, 100)));
    (index, log)
}

/// All rows of a group.
fn rows(index: &Index) -> Vec<Bytes> {
    index.snapshot().chunks().map(Result::unwrap).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Every command that can be read has an outcome, the same on every replica, and its bytes say it again.
    #[test]
    fn altered_commands_have_one_outcome_everywhere(
        steps in proptest::collection::vec((any::<prop::sample::Index>(), edits(4), any::<bool>()), 1..12),
    ) {
        let ((one, mut log), (two, _)) = (begun(), begun());
        for (which, edits, repeated) in steps {
            let all = commands(&one);
            let command = all[which.index(all.len())].clone();
            let request = repeated.then_some(RequestId(3));
            let bytes = edited(&Envelope { request, now_ms: 5, command }.encode(), &edits, None);
            let position = log.position();
            match Envelope::decode(&bytes) {
                Ok(envelope) => {
                    prop_assert_eq!(Envelope::peek_request(&bytes), envelope.request);
                    prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope.clone()));
                    let first = one.apply(position, Entry::Command(&bytes));
                    let second = two.apply(position, Entry::Command(&bytes));
                    prop_assert!(first.is_ok(), "{envelope:?}: {first:?}");
                    prop_assert_eq!(first.unwrap().0, second.unwrap().0);
                }
                Err(NotAnEnvelope) => {
                    let before = rows(&one);
                    let refused = one.apply(position, Entry::Command(&bytes));
                    prop_assert!(matches!(refused, Err(IndexError::Undecodable { .. })), "{refused:?}");
                    prop_assert_eq!(rows(&one), before, "what is refused changes nothing");
                    log.index -= 1;
                }
            }
        }
        prop_assert_eq!(one.applied().hash, two.applied().hash);
        prop_assert_eq!(rows(&one), rows(&two));
        // What such commands leave can be read again by whoever opens it, or takes it in as a snapshot.
        let copy = shard(Arc::new(Memory::new()));
        let mut installer = copy.install();
        for chunk in rows(&one) {
            installer.push(chunk).unwrap();
        }
        prop_assert_eq!(installer.finish().unwrap().hash, one.applied().hash);
        prop_assert_eq!(rows(&copy), rows(&one));
    }

    /// A snapshot that was altered or cut is refused, or taken in as what it says; never half, and never with a panic.
    #[test]
    fn an_altered_snapshot_is_taken_in_whole_or_not_at_all(
        edits in edits(3),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (index, mut log) = begun();
        for command in commands(&index) {
            log.apply(&index, 3, command);
        }
        let (other, mut own) = begun();
        own.apply(&other, 3, put("mine", inline("x")));
        let before = rows(&other);
        let mut installer = other.install();
        let pushed = rows(&index).iter().try_for_each(|chunk| installer.push(edited(chunk, &edits, cut).into()));
        let finished = pushed.and_then(|()| installer.finish());
        match finished {
            Ok(_) => prop_assert!(cut.is_none() || rows(&other) == rows(&index), "a cut snapshot lacks its end"),
            Err(_) => prop_assert_eq!(rows(&other), before, "what was refused changes nothing"),
        }
    }

    /// Rows of no snapshot at all.
    #[test]
    fn bytes_of_no_snapshot_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (other, _) = begun();
        let before = rows(&other);
        let mut installer = other.install();
        let taken = installer.push(bytes.into()).and_then(|()| installer.finish());
        prop_assert!(taken.is_err());
        prop_assert_eq!(rows(&other), before);
    }
}
