//! Many simulated clusters, and what they come to per scenario.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

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
    Ok((done.status.success(), text(&done)))
}

/// That a seed means something: two processes do exactly the same.
pub fn prove_determinism(sim: &Path) -> Result<(), HarnessError> {
    let first = simulate(sim, Scenario::Mixed, 7, 4, "")?;
    if first == simulate(sim, Scenario::Mixed, 7, 4, "")? { Ok(()) } else { Err(HarnessError::NotDeterministic) }
}

/// All scenarios with seeds from `first` on, until `budget` CPU seconds are spent; every scenario has as many runs.
pub fn spend(sim: &Path, first: u64, safety: u64, budget: f64) -> Result<BTreeMap<String, Sum>, HarnessError> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let began = cpu_seconds();
    for seed in first.. {
        for scenario in Scenario::ALL {
            let before = cpu_seconds();
            let (sound, said) = simulate(sim, scenario, seed, safety, "")?;
            let sum = sums.entry(scenario.to_string()).or_default();
            let line = said.lines().find(|line| line.contains(" simulated, ")).unwrap_or_default();
            // A run that says nothing has not run.
            sum.add(line).ok_or_else(|| HarnessError::NoFigures(said.clone()))?;
            sum.cpu += cpu_seconds() - before;
            if !sound {
                let why = said.lines().find(|line| line.starts_with("VIOLATED")).unwrap_or("it failed without a word");
                println!("{why}");
                sum.violations.push(why.to_owned());
            }
        }
        if cpu_seconds() - began >= budget {
            break;
        }
    }
    Ok(sums)
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
}
