//! `prove`: the long gate. Runs what it is told (or everything) and writes the figures into a page.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use holdfast_tests::prove::ledger::Ledger;
use holdfast_tests::prove::seeds::Wanted;
use holdfast_tests::prove::{HarnessError, fuzz, page, real, seeds, teeth};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Seeds,
    Teeth,
    Real,
    Fuzz,
}

#[derive(Parser)]
#[command(about = "Proves what can be proven, and writes the figures down")]
struct Arguments {
    /// What to run; nothing: everything
    parts: Vec<Part>,
    /// Runs of simulated clusters, over all scenarios; those that an earlier call has made are counted
    #[arg(long, default_value_t = 3000)]
    runs: u64,
    /// CPU seconds that this call may spend on them
    #[arg(long, default_value_t = 14400.0, env = "SIM_CPU_SECONDS")]
    cpu_seconds: f64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Length of the safety phase, simulated seconds
    #[arg(long, default_value_t = 8)]
    safety: u64,
    /// Rounds of faults in each test of real processes
    #[arg(long, default_value_t = 12, env = "TEST_ROUNDS")]
    rounds: u64,
    /// Run these files of tests of real processes only
    #[arg(long)]
    suites: Vec<String>,
    /// The fuzz targets, as `.ci/fuzz build` makes them
    #[arg(long)]
    fuzz_program: Option<PathBuf>,
    /// Seconds for each fuzz target
    #[arg(long, default_value_t = 120)]
    fuzz_seconds: u64,
    /// Plant these bugs only
    #[arg(long)]
    planted: Vec<String>,
    /// The page to write into
    #[arg(long)]
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    match prove(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("prove: nothing is proven: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything that was wanted ran and passed, with every fault installed.
fn prove(arguments: &Arguments) -> Result<bool, HarnessError> {
    let wanted = |part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    let sim = std::env::current_exe().unwrap_or_default().with_file_name("sim");
    let write = |part: &str, text: &str| arguments.write.as_ref().map_or(Ok(()), |path| page::write(path, part, text));
    let show = |part: &str, text: String| {
        println!("{text}");
        write(part, &text)
    };
    // Beside the programs: a call that is ended, or whose budget is spent, is gone on with by the next.
    let mut ledger = Ledger::open(&sim.with_file_name("prove-ledger.jsonl"), &sim)?;
    if wanted(Part::Teeth) || wanted(Part::Seeds) {
        seeds::prove_determinism(&sim)?;
    }
    let mut sound = true;
    if wanted(Part::Teeth) {
        let shown = |bites: &[teeth::Bite]| write("teeth", &page::teeth(bites));
        let bites = teeth::bite(&sim, &arguments.planted, &mut ledger, shown)?;
        sound &= bites.iter().all(|bite| bite.found.is_some());
        show("teeth", page::teeth(&bites))?;
    }
    if wanted(Part::Seeds) {
        let Arguments { seed: first, safety, runs, cpu_seconds: budget, .. } = *arguments;
        let shown = |sums: &_| write("seeds", &page::seeds(sums, safety));
        let sums = seeds::spend(&sim, Wanted { first, safety, runs, budget }, &mut ledger, shown)?;
        let missing = seeds::missing(&sums, runs);
        sound &= missing == 0 && sums.values().all(|sum| sum.violations.is_empty());
        show("seeds", page::seeds(&sums, arguments.safety))?;
        if missing > 0 {
            println!("{missing} of {runs} runs are missing: {budget} CPU seconds are spent; call again to go on");
        }
    }
    if wanted(Part::Real) {
        let so_far = |outcomes: &[real::Outcome]| show("real", page::real(outcomes));
        let outcomes = real::run(arguments.rounds, &arguments.suites, so_far)?;
        sound &= outcomes.iter().all(real::Outcome::proven);
    }
    if wanted(Part::Fuzz) {
        let program = arguments.fuzz_program.as_deref().ok_or(HarnessError::NoFuzzProgram)?;
        let outcomes = fuzz::run(program, arguments.fuzz_seconds)?;
        sound &= outcomes.iter().all(|outcome| outcome.broken.is_none());
        show("fuzz", page::fuzz(&outcomes, arguments.fuzz_seconds))?;
    }
    Ok(sound)
}
