//! Every input that is kept goes through its target: seeds, what coverage found, and what broke a promise once.

#![expect(clippy::disallowed_methods, reason = "tests read files")]

use std::path::{Path, PathBuf};

use holdfast_fuzz::TARGETS;

/// Bytes of all inputs together.
const MOST: u64 = 2 << 20;

fn inputs(of: &str, target: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(of).join(target);
    let Ok(entries) = std::fs::read_dir(&dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable directory").path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_kept_input_holds() {
    let mut threads = Vec::new();
    for target in TARGETS {
        let corpus = inputs("corpus", target.name);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        #[expect(clippy::disallowed_methods, reason = "targets keep what they need per thread")]
        threads.push(std::thread::spawn(move || {
            for path in inputs("found", target.name).into_iter().chain(corpus) {
                let input = std::fs::read(&path).expect("a readable file");
                if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
                    panic!("{} breaks {}", path.display(), target.name);
                }
            }
        }));
    }
    let broken = threads.into_iter().filter_map(|thread| thread.join().err()).count();
    assert_eq!(broken, 0, "what is said above names the inputs");
}

#[test]
fn the_corpus_is_small_and_all_of_it_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut bytes = 0;
    for of in ["corpus", "found"] {
        for entry in std::fs::read_dir(root.join(of)).expect("it is there") {
            let name = entry.expect("a readable directory").file_name().to_string_lossy().into_owned();
            assert!(holdfast_fuzz::target(&name).is_some(), "{of}/{name} belongs to no target");
            bytes += inputs(of, &name).iter().map(|path| path.metadata().map_or(0, |known| known.len())).sum::<u64>();
        }
    }
    assert!(bytes <= MOST, "{bytes} bytes: minimise it (make fuzz-corpus)");
}
