//! The quick gate of the simulation: first that it is deterministic, then as many seeds as thirty seconds of CPU time hold;
//! `make test` runs 300 beside the tests.
//! `SIM_CPU_SECONDS=600` makes it longer; `make prove` runs the long gate, with planted bugs.
#![allow(clippy::disallowed_methods, reason = "it runs the simulator as processes of their own")]

use std::path::Path;
use std::process::Command;

fn sim(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("the simulator is built");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn trace(dir: &Path, name: &str, seed: &str) -> String {
    let path = dir.join(name);
    let (sound, text) = sim(&["mixed", "--seed", seed, "--safety", "4", "--trace", &path.display().to_string()]);
    assert!(sound, "{text}");
    std::fs::read_to_string(path).expect("a trace was written")
}

/// Without this, no seed of the other test means anything.
#[test]
fn the_same_seed_gives_the_same_trace_in_every_process() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (first, again) = (trace(dir.path(), "first", "7"), trace(dir.path(), "again", "7"));
    let differs = first.lines().zip(again.lines()).find(|(a, b)| a != b);
    assert!(first == again, "two processes of one seed differ, first in {differs:?}");
    assert!(first.lines().count() > 100, "a trace of nothing");
    assert!(trace(dir.path(), "other", "8") != first, "the seed changes nothing");
}

#[test]
fn no_seed_of_the_quick_gate_breaks_a_promise() {
    let budget = std::env::var("SIM_CPU_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    // Side by side: a simulation has one thread.
    let half = u64::max(budget / 2, 1).to_string();
    let run = |first| sim(&["all", "--seed", first, "--seeds", "100000", "--safety", "5", "--budget", &half]);
    std::thread::scope(|scope| {
        for side in ["100", "200100"].map(|first| scope.spawn(move || run(first))) {
            let (sound, text) = side.join().expect("the run does not panic");
            println!("{text}");
            assert!(sound, "{text}");
        }
    });
}
