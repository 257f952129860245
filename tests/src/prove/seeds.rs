//! Many simulated clusters, and what they come to per scenario.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::{HarnessError, cpu_seconds, output, text};
use crate::sim::scenario::Scenario;

/// What the runs of one scenario came to.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Runs.
    pub runs: u64,
    /// Simulated seconds.
    pub simulated: f64,
    /// Faults that were there.
    pub faults: u64,
    /// Operations of clients.
    pub operations: u64,
    /// Acknowledged writes among them.
    pub acknowledged: u64,
    /// Runs that broke a promise, with the first line of how.
    pub violations: Vec<String>,
    /// CPU seconds.
    pub cpu: f64,
}

impl Sum {
    fn add(&mut self, line: &str) -> Option<()> {
        let (_, figures) = line.split_once(": ")?;
        let mut numbers = figures.split(", ").map(|part| part.split_whitespace().next()?.parse::<f64>().ok());
        let mut next = || numbers.next().flatten();
        let (simulated, faults, operations, acknowledged) = (next()?, next()?, next()?, next()?);
        self.runs += 1;
        self.simulated += simulated;
        self.faults += faults as u64;
        self.operations += operations as u64;
        self.acknowledged += acknowledged as u64;
        Some(())
    }
}

/// What a process dies of that has used the CPU seconds that it may: the simulator's limit on itself.
const SIGXCPU: i32 = 24;

/// One run of the simulator in a process of its own; its output, and whether it passed.
pub fn simulate(
    sim: &Path,
    scenario: Scenario,
    seed: u64,
    safety: u64,
    planted: &str,
) -> Result<(bool, String), HarnessError> {
    let mut command = Command::new(sim);
    command.args([&scenario.to_string(), "--seed", &seed.to_string(), "--safety", &safety.to_string()]);
    command.args(["--planted", planted]);
    let done = output(&mut command)?;
    let stood_still = done.status.signal() == Some(SIGXCPU);
    let verdict = if stood_still { "VIOLATED: it stands still: its CPU time ran out\n" } else { "" };
    Ok((done.status.success(), format!("{verdict}{}", text(&done))))
}

/// That a seed means something: two processes do exactly the same.
pub fn prove_determinism(sim: &Path) -> Result<(), HarnessError> {
    let first = simulate(sim, Scenario::Mixed, 7, 4, "")?;
    if first == simulate(sim, Scenario::Mixed, 7, 4, "")? { Ok(()) } else { Err(HarnessError::NotDeterministic) }
}

/// What one run came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Run {
    /// The simulator's line of figures; none where it died.
    line: String,
    /// How it broke a promise, if it did.
    violation: Option<String>,
    /// CPU seconds.
    cpu: f64,
}

/// How much to run.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The first seed.
    pub first: u64,
    /// Length of the safety phase, seconds.
    pub safety: u64,
    /// Runs, over all scenarios; those of before are counted.
    pub runs: u64,
    /// CPU seconds that may be spent now.
    pub budget: f64,
}

/// All scenarios with seeds from the first on, every scenario as often, until there are runs enough or the budget is
/// spent. Runs that the ledger has are not repeated. `shown` is told after every seed.
pub fn spend(
    sim: &Path,
    wanted: Wanted,
    ledger: &mut Ledger,
    mut shown: impl FnMut(&BTreeMap<String, Sum>) -> Result<(), HarnessError>,
) -> Result<BTreeMap<String, Sum>, HarnessError> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let (began, mut runs) = (cpu_seconds(), 0);
    for seed in wanted.first.. {
        let mut fresh = false;
        for scenario in Scenario::ALL {
            let what = format!("seeds/{}/{scenario}/{seed}", wanted.safety);
            let run = match ledger.result::<Run>(&what) {
                Some(run) => run,
                None if cpu_seconds() - began >= wanted.budget => continue,
                None => {
                    fresh = true;
                    let run = one(sim, scenario, seed, wanted.safety)?;
                    ledger.keep(what, &run)?;
                    run
                }
            };
            runs += 1;
            let sum = sums.entry(scenario.to_string()).or_default();
            if sum.add(&run.line).is_none() {
                // It died: a failure of the product, without figures.
                sum.runs += 1;
            }
            sum.cpu += run.cpu;
            sum.violations.extend(run.violation);
        }
        if fresh {
            shown(&sums)?;
        }
        if runs >= wanted.runs || cpu_seconds() - began >= wanted.budget {
            return Ok(sums);
        }
    }
    Ok(sums)
}

/// How many of the wanted runs are not there, since the budget was spent before.
pub fn missing(sums: &BTreeMap<String, Sum>, wanted: u64) -> u64 {
    wanted.saturating_sub(sums.values().map(|sum| sum.runs).sum())
}

fn one(sim: &Path, scenario: Scenario, seed: u64, safety: u64) -> Result<Run, HarnessError> {
    let before = cpu_seconds();
    let (sound, said) = simulate(sim, scenario, seed, safety, "")?;
    let line = said.lines().find(|line| line.contains(" simulated, ")).unwrap_or_default().to_owned();
    let broken = said.lines().find(|line| line.starts_with("VIOLATED") || line.contains("panicked at"));
    let violation = match (sound, broken) {
        (true, _) if line.is_empty() => return Err(HarnessError::NoFigures(said)),
        (true, _) => None,
        (false, Some(why)) => Some(format!("{scenario} seed {seed}: {why}")),
        // Neither a verdict nor a panic: killed from outside, or never begun.
        (false, None) => return Err(HarnessError::NoFigures(said)),
    };
    if let Some(why) = &violation {
        println!("{why}");
    }
    Ok(Run { line, violation, cpu: cpu_seconds() - before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_simulator_says() {
        let mut sum = Sum::default();
        let line = "kill seed 3 trace 00ff: 9.5 s simulated, 4 faults, 700 operations, 300 acknowledged writes, 9 looks at \
                    a group";
        assert_eq!(sum.add(line), Some(()));
        assert_eq!((sum.runs, sum.faults, sum.operations, sum.acknowledged), (1, 4, 700, 300));
        assert_eq!(sum.add("no figures"), None);
    }

    #[test]
    fn what_the_budget_leaves_out_is_missing_until_the_ledger_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, program) = (dir.path().join("ledger"), dir.path().join("sim"));
        std::fs::write(&program, "never run").unwrap();
        let mut ledger = Ledger::open(&path, &program).unwrap();
        let left_out = |ledger: &mut Ledger, runs| {
            let wanted = Wanted { first: 1, safety: 8, runs, budget: 0.0 };
            missing(&spend(&program, wanted, ledger, |_| Ok(())).unwrap(), runs)
        };
        assert_eq!(left_out(&mut ledger, 30), 30);
        let all = Scenario::ALL.len() as u64;
        for scenario in Scenario::ALL {
            let line = format!("{scenario} seed 1: 9.5 s simulated, 4 faults, 700 operations, 300 acknowledged writes");
            ledger.keep(format!("seeds/8/{scenario}/1"), &Run { line, violation: None, cpu: 1.0 }).unwrap();
        }
        assert_eq!(left_out(&mut ledger, all + 10), 10);
        assert_eq!(left_out(&mut ledger, all), 0);
    }
}
