//! Planted bugs: each must be found, by seeds of the simulation or by a test that is named.

use std::path::Path;
use std::process::Command;

use holdfast_wire::planted::Fault;

use super::ledger::Ledger;
use super::seeds::simulate;
use super::{HarnessError, cpu_seconds, output, text};
use crate::sim::scenario::Scenario;

/// Who is to find a bug.
#[derive(Clone, Copy, Debug)]
pub enum Finder {
    /// Seeds of this scenario, from 1 on.
    Seeds(Scenario),
    /// The library test with this path.
    Test(&'static str),
}

/// What became of a planted bug.
#[derive(Clone, Debug)]
pub struct Bite {
    /// The bug.
    pub fault: &'static str,
    /// Who was to find it.
    pub finder: Finder,
    /// The seed that found it, and what it said; `None`: nobody did.
    pub found: Option<(u64, String)>,
    /// CPU seconds until then.
    pub cpu: f64,
}

/// Seeds to try before a bug counts as not found.
const SEEDS: u64 = 40;
/// Length of the safety phase.
const SAFETY: u64 = 8;

/// Who is to find which bug.
pub fn finder(fault: Fault) -> Finder {
    match fault {
        Fault::VoteUnsynced => Finder::Seeds(Scenario::Election),
        Fault::EntriesUnsynced | Fault::NameUnsynced | Fault::BlobUnsynced | Fault::AppliedApart => {
            Finder::Seeds(Scenario::Power)
        }
        Fault::OneReplica | Fault::PurgeUnmarked | Fault::AppliedTwice => Finder::Seeds(Scenario::Kill),
        Fault::LeaseUnchecked | Fault::StaleList => Finder::Seeds(Scenario::Partition),
        Fault::CorruptAsTorn => Finder::Seeds(Scenario::LogRot),
        Fault::CollectsUploads => {
            Finder::Test("node::tests::collecting::an_upload_is_nobodys_orphan_before_its_entry_comes")
        }
        Fault::TrailerUnsigned => Finder::Seeds(Scenario::Calm),
        Fault::SyncRetried => Finder::Seeds(Scenario::Disk),
        Fault::CacheUnchecked => {
            Finder::Test("router::tests::bucket::a_deleted_bucket_is_forgotten_even_by_an_answer_under_way")
        }
        Fault::RangeUnchecked => Finder::Test("index::tests::writes::every_write_asks_whether_its_key_lives_here"),
    }
}

/// Plants every bug that `wanted` names (all, if it names none) and looks who finds it.
pub fn bite(
    sim: &Path,
    wanted: &[String],
    ledger: &mut Ledger,
    mut shown: impl FnMut(&[Bite]) -> Result<(), HarnessError>,
) -> Result<Vec<Bite>, HarnessError> {
    let mut bites = Vec::new();
    for (name, fault) in Fault::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let (finder, began) = (finder(fault), cpu_seconds());
        let what = format!("teeth/{name}");
        let (found, cpu) = match ledger.result(&what) {
            Some(known) => known,
            None => {
                let found = match finder {
                    Finder::Seeds(scenario) => by_seeds(sim, scenario, name)?,
                    Finder::Test(test) => by_test(test, name)?,
                };
                let result = (found, cpu_seconds() - began);
                ledger.keep(what, &result)?;
                result
            }
        };
        let bite = Bite { fault: name, finder, found, cpu };
        println!("{name}: {:?} in {:.1} s of CPU", bite.found, bite.cpu);
        bites.push(bite);
        shown(&bites)?;
    }
    Ok(bites)
}

fn by_seeds(sim: &Path, scenario: Scenario, name: &str) -> Result<Option<(u64, String)>, HarnessError> {
    for seed in 1..=SEEDS {
        let (sound, said) = simulate(sim, scenario, seed, SAFETY, name)?;
        if sound {
            continue;
        }
        let why = said.lines().find(|line| line.starts_with("VIOLATED") || line.contains("panicked at"));
        // A simulator that fails without a verdict has found nothing.
        let why = why.ok_or_else(|| HarnessError::NoFigures(said.clone()))?;
        return Ok(Some((seed, why.to_owned())));
    }
    Ok(None)
}

/// The test must pass without the bug and fail with it.
fn by_test(test: &str, name: &str) -> Result<Option<(u64, String)>, HarnessError> {
    let run = |planted: &str| {
        let mut command = Command::new("cargo");
        command.args(["test", "--workspace", "--features", "holdfast-tests/planted-faults", "--lib", "--locked"]);
        command.args(["--", "--exact", test]).env("HOLDFAST_PLANTED", planted);
        output(&mut command)
    };
    let without = run("")?;
    if !without.status.success() || !text(&without).contains("1 passed") {
        return Err(HarnessError::NoFigures(text(&without)));
    }
    let with = run(name)?;
    let failed = text(&with).contains(&format!("test {test} ... FAILED"));
    Ok(failed.then(|| (0, "it fails".to_owned())))
}
