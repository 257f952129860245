//! Real processes and file systems: runs end-to-end tests with many rounds and collects what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::Command;

use super::{HarnessError, output, text};
use crate::failure::HARNESS;
use crate::fault;

/// A file of tests that installs faults.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// What it does.
    pub what: &'static str,
    /// Its file in `tests/tests`.
    pub file: &'static str,
    /// Rows of the fault table that it must have installed.
    pub rows: &'static [u8],
    /// Rounds for one of ours.
    pub scale: f64,
    /// Whether it does everything once: more rounds only make what it does larger.
    pub once: bool,
    /// Whether its servers are as optimized as this program: where they read everything again and again.
    pub optimized: bool,
}

const fn suite(what: &'static str, file: &'static str, rows: &'static [u8]) -> Suite {
    Suite { what, file, rows, scale: 1.0, once: false, optimized: false }
}

const fn once(what: &'static str, file: &'static str, rows: &'static [u8]) -> Suite {
    Suite { once: true, ..suite(what, file, rows) }
}

/// All of them.
pub const SUITES: [Suite; 15] = [
    suite("kills and pauses", "e2e_faults", &[1, 2, 21, 27]),
    Suite { scale: 0.5, ..suite("partitions, slow and torn connections", "e2e_network", &[16, 17, 18, 19, 20, 42]) },
    suite("lost packets, pulled cables", "e2e_packets", &[16, 17, 19, 20]),
    suite("power cuts on real file systems", "e2e_power", &[4, 5]),
    Suite { optimized: true, ..suite("crash images at any flush", "e2e_images", &[6]) },
    Suite { scale: 0.5, ..suite("full and rotten disks", "e2e_disk", &[9, 12, 13, 14]) },
    suite("failing and slow system calls", "e2e_syscalls", &[3, 10, 11, 15, 35]),
    suite("clocks that jump, scarce memory", "e2e_hosts", &[22, 23, 32]),
    suite("clients and gateways that die or crawl", "e2e_clients", &[24, 25, 33]),
    once("nodes that come and go", "e2e_members", &[26, 30]),
    once("scrub and repair", "e2e_scrub", &[12]),
    once("faults that testers plant", "e2e_fault_api", &[15, 16]),
    once("thousands of connections", "e2e_crowd", &[32, 33]),
    once("a Redis that forgets", "e2e_redis", &[29]),
    once("releases beside each other", "e2e_upgrade", &[28]),
];

/// Whether the tests of a suite passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of them.
    Passed,
    /// Not all.
    Failed,
    /// The tests themselves did not work: neither of both.
    HarnessError,
}

/// How often a fault was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// How often that was said.
    pub times: u64,
    /// What was counted, all in all.
    pub counted: u64,
    /// What that is; with other evidence than a number, that.
    pub unit: String,
}

impl Installed {
    fn add(&mut self, evidence: &str) {
        let numbered = evidence.split_once(' ').and_then(|(count, unit)| Some((count.parse::<u64>().ok()?, unit)));
        let (count, unit) = numbered.unwrap_or((0, evidence));
        self.times += 1;
        self.counted += count;
        unit.clone_into(&mut self.unit);
    }
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.times > 1 {
            write!(f, "{} times, ", self.times)?;
        }
        match self.counted {
            0 => f.write_str(&self.unit),
            count => write!(f, "{count} {}", self.unit),
        }
    }
}

/// What a suite came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub suite: Suite,
    /// How many rounds it had.
    pub rounds: u64,
    /// Whether its tests passed.
    pub verdict: Verdict,
    /// Faults that were there.
    pub installed: BTreeMap<String, Installed>,
    /// Rows of the fault table that these are of.
    pub rows: BTreeSet<u8>,
    /// Faults that were not: what they would prove is not proven.
    pub missing: Vec<String>,
    /// Acknowledged writes that were read again.
    pub acknowledged: u64,
    /// Lines of figures.
    pub figures: Vec<String>,
}

impl Outcome {
    /// Whether everything that it is about is proven.
    pub fn proven(&self) -> bool {
        self.verdict == Verdict::Passed && self.missing.is_empty() && self.absent().is_empty()
    }

    /// Rows of the fault table that it must have installed, and that nothing says were.
    pub fn absent(&self) -> Vec<u8> {
        self.suite.rows.iter().copied().filter(|row| !self.rows.contains(row)).collect()
    }
}

/// Runs the suites with so many rounds; all of them, or those of these files. What there is so far is shown after each.
pub fn run(
    rounds: u64,
    files: &[String],
    mut show: impl FnMut(&[Outcome]) -> Result<(), HarnessError>,
) -> Result<Vec<Outcome>, HarnessError> {
    let wanted = |suite: &Suite| files.is_empty() || files.iter().any(|file| file == suite.file);
    let mut outcomes = Vec::new();
    for suite in SUITES.into_iter().filter(wanted) {
        outcomes.push(one(suite, rounds)?);
        show(&outcomes)?;
    }
    Ok(outcomes)
}

fn one(suite: Suite, rounds: u64) -> Result<Outcome, HarnessError> {
    let rounds = ((rounds as f64 * suite.scale) as u64).max(1);
    let mut command = Command::new("cargo");
    command.args(["test", "--workspace", "--locked"]);
    if cfg!(feature = "planted-faults") {
        // As this program was built, so that nothing is built twice.
        command.args(["--features", "holdfast-tests/planted-faults"]);
    }
    command.args(["--test", suite.file, "--", "--nocapture", "--test-threads", "1"]);
    command.env("TEST_ROUNDS", rounds.to_string());
    if suite.optimized {
        command.env("TEST_BINARY", std::env::current_exe().unwrap_or_default().with_file_name("holdfast"));
    }
    let done = output(&mut command)?;
    let said = text(&done);
    if !said.contains("test result:") {
        return Err(HarnessError::NoFigures(said));
    }
    let outcome = read(suite, if suite.once { 1 } else { rounds }, done.status.success(), &said);
    println!("{}: {:?}, {} acknowledged writes", suite.what, outcome.verdict, outcome.acknowledged);
    if outcome.verdict != Verdict::Passed {
        println!("{said}");
    }
    Ok(outcome)
}

fn read(suite: Suite, rounds: u64, passed: bool, said: &str) -> Outcome {
    let after = |line: &str, mark: &str| line.find(mark).map(|at| line[at + mark.len()..].to_owned());
    let (mut installed, mut there, mut missing) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for fault in said.lines().filter_map(|line| after(line, fault::MARK)) {
        let parts: Vec<&str> = fault.splitn(3, " | ").collect();
        match parts[..] {
            [rows, what, outcome] => match outcome.strip_prefix("installed: ") {
                Some(evidence) => {
                    there.extend(rows.split(", ").filter_map(|row| row.parse::<u8>().ok()));
                    installed.entry(format!("{what} ({rows})")).or_insert_with(Installed::default).add(evidence)
                }
                None => missing.push(fault),
            },
            _ => missing.push(fault),
        }
    }
    missing.sort();
    missing.dedup();
    let gaps = said.lines().filter(|line| line.contains(", write gap p50 ")).map(str::to_owned);
    let figures = gaps.chain(said.lines().filter_map(|line| after(line, "FIGURE "))).collect();
    let acknowledged = said.lines().filter_map(|line| {
        let (before, _) = line.split_once(" acknowledged writes")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    let verdict = match passed {
        true => Verdict::Passed,
        false if only_the_harness(said) => Verdict::HarnessError,
        false => Verdict::Failed,
    };
    let acknowledged = acknowledged.sum();
    Outcome { suite, rounds, verdict, installed, rows: there, missing, acknowledged, figures }
}

/// Whether every test that failed did so because it did not work itself: that is what its own panic says.
fn only_the_harness(said: &str) -> bool {
    // The last list under this heading has the names alone.
    let names = said.rsplit_once("\nfailures:\n").map_or("", |(_, after)| after);
    let failed: Vec<&str> = names.lines().map_while(|line| line.strip_prefix("    ")).collect();
    let panics = || said.lines().zip(said.lines().skip(1)).filter(|(place, _)| place.contains(" panicked at "));
    let by_itself = |name: &&str| {
        let thread = format!("thread '{name}' ");
        panics().any(|(place, why)| place.contains(&thread) && why.starts_with(HARNESS))
    };
    !failed.is_empty() && failed.iter().all(by_itself)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "test a ... FAULT 4, 5 | power cuts on Xfs | skipped: no\nFAULT 1 | kill | installed: 2 kills\n\
                        FAULT 1 | kill | installed: 3 kills\nFAULT – | a clock | installed: 1986\n\
                        9 operations, 5 acknowledged writes, 0 unknown\nFIGURE p99 5 ms\n\
                        leader killed: 6 times, write gap p50 400 ms, p99 600 ms\ntest result: ok";

    #[test]
    fn reads_figures_and_what_is_missing() {
        let outcome = read(SUITES[3], 7, true, SAID);
        assert_eq!((outcome.acknowledged, outcome.rounds), (5, 7));
        assert_eq!(outcome.figures, ["leader killed: 6 times, write gap p50 400 ms, p99 600 ms", "p99 5 ms"]);
        assert_eq!(outcome.missing, ["4, 5 | power cuts on Xfs | skipped: no"]);
        let installed = outcome.installed.iter().map(|(fault, times)| format!("{fault}: {times}"));
        assert_eq!(installed.collect::<Vec<_>>(), ["a clock (–): 1986", "kill (1): 2 times, 5 kills"]);
        assert!(!outcome.proven(), "a fault was not there");
    }

    #[test]
    fn a_suite_without_one_of_its_faults_has_proven_nothing() {
        for suite in SUITES {
            let outcome = |rows: &[u8]| {
                let faults: String =
                    rows.iter().map(|row| format!("FAULT {row}, 99 | x | installed: 1 time\n")).collect();
                read(suite, 1, true, &(faults + "test result: ok"))
            };
            assert!(outcome(suite.rows).proven(), "{}", suite.file);
            assert_eq!(outcome(&[]).absent(), suite.rows, "{}", suite.file);
            assert!(!outcome(&[]).proven() && !outcome(&suite.rows[1..]).proven(), "{}", suite.file);
        }
    }

    fn failed(why: &[(&str, &str)]) -> Verdict {
        let names: String = why.iter().map(|(name, _)| format!("    {name}\n")).collect();
        let panics = why.iter().map(|(name, why)| format!("\nthread '{name}' (7) panicked at a.rs:2:19:\n{why}\n"));
        let said = format!("failures:\n\nfailures:\n{names}\ntest result: FAILED.\n{}", panics.collect::<String>());
        read(SUITES[0], 1, false, &said).verdict
    }

    #[test]
    fn a_test_that_did_not_work_is_neither_passed_nor_failed() {
        let harness = format!("{HARNESS}no answer (at x)");
        assert_eq!(read(SUITES[0], 1, false, "test result: FAILED").verdict, Verdict::Failed);
        assert_eq!(failed(&[("a", &harness)]), Verdict::HarnessError);
        assert_eq!(failed(&[("a", &harness), ("b", &harness)]), Verdict::HarnessError);
        assert_eq!(read(SUITES[0], 1, true, "test result: ok").verdict, Verdict::Passed);
    }

    #[test]
    fn a_test_that_did_not_work_hides_none_that_failed() {
        let harness = format!("{HARNESS}no answer (at x)");
        assert_eq!(failed(&[("a", &harness), ("b", "a key is lost")]), Verdict::Failed);
        assert_eq!(failed(&[("b", "a key is lost"), ("a", &harness)]), Verdict::Failed);
        assert_eq!(failed(&[("a", &format!("a key is lost, after {harness}"))]), Verdict::Failed);
    }
}
