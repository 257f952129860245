//! Real processes and file systems: runs end-to-end tests with many rounds and collects what they say.

use std::process::Command;

use super::{HarnessError, output, text};

/// A file of tests that installs faults.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// What it does.
    pub what: &'static str,
    /// Its file in `tests/tests`.
    pub file: &'static str,
    /// Rounds for one of ours.
    pub scale: f64,
}

/// All of them.
pub const SUITES: [Suite; 4] = [
    Suite { what: "kills and pauses", file: "e2e_faults", scale: 1.0 },
    Suite { what: "power cuts on real file systems", file: "e2e_power", scale: 1.0 },
    Suite { what: "full and rotten disks", file: "e2e_disk", scale: 1.0 },
    Suite { what: "nodes that come and go", file: "e2e_members", scale: 1.0 },
];

/// What a suite came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub suite: Suite,
    /// Whether all of its tests passed.
    pub passed: bool,
    /// Faults that this machine cannot have: what they would prove is not proven.
    pub missing: Vec<String>,
    /// Acknowledged writes that were read again.
    pub acknowledged: u64,
    /// Lines of figures.
    pub figures: Vec<String>,
}

/// Runs the suites with so many rounds.
pub fn run(rounds: u64) -> Result<Vec<Outcome>, HarnessError> {
    SUITES.into_iter().map(|suite| one(suite, rounds)).collect()
}

fn one(suite: Suite, rounds: u64) -> Result<Outcome, HarnessError> {
    let rounds = ((rounds as f64 * suite.scale) as u64).max(1);
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--features", "holdfast-tests/planted-faults", "--locked"]);
    command.args(["--test", suite.file, "--", "--nocapture", "--test-threads", "1"]);
    command.env("HOLDFAST_TEST_ROUNDS", rounds.to_string());
    let done = output(&mut command)?;
    let said = text(&done);
    if !said.contains("test result:") {
        return Err(HarnessError::NoFigures(said));
    }
    let outcome = read(suite, done.status.success(), &said);
    println!("{}: passed {}, {} acknowledged writes", suite.what, outcome.passed, outcome.acknowledged);
    Ok(outcome)
}

fn read(suite: Suite, passed: bool, said: &str) -> Outcome {
    let after = |line: &str, mark: &str| line.find(mark).map(|at| line[at + mark.len()..].to_owned());
    let missing = said.lines().filter_map(|line| after(line, "NOT INSTALLED: ")).collect();
    let figures = said.lines().filter(|line| line.contains(", write gap p50 ")).map(str::to_owned).collect();
    let acknowledged = said.lines().filter_map(|line| {
        let (before, _) = line.split_once(" acknowledged writes")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    Outcome { suite, passed, missing, acknowledged: acknowledged.sum(), figures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_figures_and_what_is_missing() {
        let said = "NOT INSTALLED: power cuts on Xfs: no\n9 operations, 5 acknowledged writes, 0 unknown\nleader killed: 6 \
                    times, write gap p50 400 ms, p99 600 ms\ntest result: ok";
        let outcome = read(SUITES[1], true, said);
        assert_eq!((outcome.acknowledged, outcome.figures.len()), (5, 1));
        assert_eq!(outcome.missing, ["power cuts on Xfs: no"]);
    }
}
