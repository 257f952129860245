//! Fuzz targets, two at a time, each from the kept corpus on; what they find besides is thrown away, but for what breaks.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use super::{HarnessError, output, text};

/// Inputs are kept here, a directory for each target.
const CORPUS: &str = "fuzz/corpus";
/// So many run at once.
const AT_ONCE: usize = 2;
/// The longest input, bytes.
const INPUT_MAX: usize = 2048;
/// An input that takes longer hangs, seconds of a machine that may be busy. Their own bounds on CPU time are far below.
const HANG: u64 = 120;
/// A program that grows beyond this leaks, MiB.
const MEMORY_MIB: u64 = 1024;

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fuzzed {
    /// Its name.
    pub target: String,
    /// Inputs that it was given.
    pub executions: u64,
    /// Edges that were reached.
    pub edges: u64,
    /// How its promise was broken, if it was.
    pub broken: Option<String>,
}

/// Runs every target that has a corpus for so many seconds.
pub fn run(program: &Path, seconds: u64) -> Result<Vec<Fuzzed>, HarnessError> {
    let file = |source| HarnessError::File { path: CORPUS.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(CORPUS).map_err(file)? {
        names.push(entry.map_err(file)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let (queue, done) = (Mutex::new(VecDeque::from(names)), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = queue.lock().expect("nobody panics").pop_front() {
                    let outcome = one(program, &name, seconds);
                    done.lock().expect("nobody panics").push(outcome);
                }
            });
        }
    });
    let mut all = done.into_inner().expect("nobody panics").into_iter().collect::<Result<Vec<_>, _>>()?;
    all.sort_by(|one, other| one.target.cmp(&other.target));
    Ok(all)
}

fn one(program: &Path, target: &str, seconds: u64) -> Result<Fuzzed, HarnessError> {
    let made =
        tempfile::tempdir().map_err(|source| HarnessError::File { path: "a new directory".to_owned(), source })?;
    let found = program.with_file_name("found");
    std::fs::create_dir_all(&found)
        .map_err(|source| HarnessError::File { path: found.display().to_string(), source })?;
    let mut command = Command::new(program);
    command.env("HOLDFAST_FUZZ_TARGET", target).arg(made.path()).arg(Path::new(CORPUS).join(target));
    command.args([format!("-max_total_time={seconds}"), format!("-max_len={INPUT_MAX}"), format!("-timeout={HANG}")]);
    command.arg(format!("-rss_limit_mb={MEMORY_MIB}")).arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/{target}-", found.display()));
    let done = output(&mut command)?;
    let outcome = read(target, done.status.success(), &text(&done))?;
    println!("{target}: {} executions, {} edges", outcome.executions, outcome.edges);
    if let Some(why) = &outcome.broken {
        println!("{target} is broken: {why}\nthe input is in {}: it belongs into fuzz/found/{target}", found.display());
    }
    Ok(outcome)
}

/// What libFuzzer says.
fn read(target: &str, sound: bool, said: &str) -> Result<Fuzzed, HarnessError> {
    let number = |text: Option<&str>| text.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    let executions = number(said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")));
    let edges = said.lines().filter_map(|line| number(line.split_once(" cov: ").map(|(_, rest)| rest))).next_back();
    let why = || {
        let mut lines = said.lines().skip_while(|line| !line.contains("panicked at"));
        let panicked = lines.by_ref().skip(1).take(1).next();
        let error = said.lines().find(|line| line.contains("ERROR: libFuzzer"));
        let why = panicked.or(error).unwrap_or("it ended without a word");
        why.chars().take(300).collect()
    };
    let broken = (!sound).then(why);
    match (executions, &broken) {
        (Some(executions), _) => {
            Ok(Fuzzed { target: target.to_owned(), executions, edges: edges.unwrap_or(0), broken })
        }
        (None, Some(_)) => Ok(Fuzzed { target: target.to_owned(), executions: 0, edges: 0, broken }),
        (None, None) => Err(HarnessError::NoFigures(said.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_libfuzzer_says() {
        let said =
            "#8\tNEW    cov: 70 ft: 9 corp: 2/2b\n#99\tDONE   cov: 71 ft: 12\nstat::number_of_executed_units: 99";
        let sound = Fuzzed { target: "t".to_owned(), executions: 99, edges: 71, broken: None };
        assert_eq!(read("t", true, said).unwrap(), sound);
        let said = format!("thread panicked at a.rs:1:1:\nit is wrong\n{said}");
        assert_eq!(read("t", false, &said).unwrap().broken.as_deref(), Some("it is wrong"));
        assert!(read("t", true, "").is_err(), "who says nothing has not run");
    }
}
