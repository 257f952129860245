//! `sim SCENARIO --seed N`: one simulated run, or many. Prints one line a run; with `--trace FILE` everything that
//! happened. The same seed gives the same trace in every process: the tests prove it.
#![allow(clippy::disallowed_methods, reason = "the runs are simulated, not what starts and counts them")]

use std::process::{ExitCode, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use holdfast_tests::sim::run::{Options, run};
use holdfast_tests::sim::scenario::Scenario;
use holdfast_wire::planted::Fault;
use rustix::process::{Resource, Rlimit, setrlimit};

/// CPU seconds after which a run stands still: no time passes in it for a loop that waits for nothing. The longest that
/// ever ended took 55, as a debug build.
const STANDS_STILL: u64 = 300;

/// State of [`getrandom`].
static ENTROPY: AtomicU64 = AtomicU64::new(0);

/// Stands for the system call in this program: the seeds of hash maps, of the order in which `select!` looks at its
/// branches, and of Raft's election timeouts come from here, and hence from the seed.
///
/// # Safety
/// `buffer` must be writable for `len` bytes, as for the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, len: usize, _flags: u32) -> isize {
    for at in 0..len {
        let mut word = ENTROPY.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // SAFETY: the caller promises that `len` bytes may be written.
        unsafe { buffer.add(at).write((word ^ (word >> 31)) as u8) };
    }
    len as isize
}

#[derive(Parser)]
#[command(about = "Runs whole clusters in simulated time")]
struct Arguments {
    /// mixed, kill, power, partition, pause, weather, disk, rot, transfer, election, early, collect, members, logrot,
    /// wipe, calm; or all
    scenario: String,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many seeds from there; each run is a process of its own
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Length of the safety phase, simulated seconds
    #[arg(long, default_value_t = 12)]
    safety: u64,
    /// Replicas
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Begin no further run after so many seconds of CPU time
    #[arg(long)]
    budget: Option<u64>,
    /// A bug to plant, in a build with the feature `planted-faults`
    #[arg(long, default_value = "")]
    planted: String,
    /// Where to write the trace
    #[arg(long)]
    trace: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.planted.is_empty() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("HOLDFAST_PLANTED", &arguments.planted) };
        if !Fault::ALL.iter().any(|(name, fault)| *name == arguments.planted && fault.is_planted()) {
            eprintln!("sim: this build has no bug {:?}", arguments.planted);
            return ExitCode::from(2);
        }
    }
    let scenarios: Vec<Scenario> = match arguments.scenario.as_str() {
        "all" => Scenario::ALL.to_vec(),
        one => Scenario::of(one).into_iter().collect(),
    };
    if scenarios.is_empty() {
        eprintln!("sim: there is no scenario {}", arguments.scenario);
        return ExitCode::from(2);
    }
    if scenarios.len() > 1 || arguments.seeds > 1 {
        return many(&arguments, &scenarios);
    }
    let limit = Rlimit { current: Some(STANDS_STILL), maximum: Some(STANDS_STILL + 1) };
    if let Err(error) = setrlimit(Resource::Cpu, limit) {
        eprintln!("sim: no limit of CPU time: {error}");
    }
    ENTROPY.store(arguments.seed, Ordering::Relaxed);
    let options = Options {
        scenario: scenarios[0],
        seed: arguments.seed,
        safety: Duration::from_secs(arguments.safety),
        nodes: arguments.nodes,
        shards: 2,
    };
    let run = run(&options);
    if let Some(path) = &arguments.trace
        && let Err(error) = std::fs::write(path, run.trace.join("\n") + "\n")
    {
        eprintln!("sim: {}: {error}", path.display());
        return ExitCode::from(2);
    }
    println!("{} seed {} trace {}: {}", options.scenario, options.seed, run.digest(), run.figures);
    match run.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("VIOLATED by {} seed {}: {violation}", options.scenario, options.seed);
            ExitCode::FAILURE
        }
    }
}

/// Runs of their own processes, one after the other, until the budget is spent.
fn many(arguments: &Arguments, scenarios: &[Scenario]) -> ExitCode {
    let began = Instant::now();
    let (mut runs, mut failed) = (0, 0);
    'all: for seed in arguments.seed..arguments.seed + arguments.seeds {
        for scenario in scenarios {
            if arguments.budget.is_some_and(|budget| cpu_seconds() >= budget) {
                break 'all;
            }
            let program = std::env::current_exe().unwrap_or_default();
            let status = std::process::Command::new(program)
                .args([&scenario.to_string(), "--seed", &seed.to_string()])
                .args(["--planted", &arguments.planted])
                .args(["--safety", &arguments.safety.to_string(), "--nodes", &arguments.nodes.to_string()])
                .status();
            runs += 1;
            if !status.as_ref().is_ok_and(ExitStatus::success) {
                failed += 1;
                println!("{scenario} seed {seed} failed: {status:?}");
            }
        }
    }
    println!(
        "{runs} runs, {failed} failed, {} s of CPU, {:.0?}; at most {:.4} of runs fail, with 95 % confidence",
        cpu_seconds(),
        began.elapsed(),
        3.0 / runs as f64
    );
    if failed == 0 && runs > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// CPU time of the runs so far: `cutime` and `cstime` of proc(5), in ticks of a hundredth.
fn cpu_seconds() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(u64::MAX / 4);
    (ticks(13) + ticks(14)) / 100
}
