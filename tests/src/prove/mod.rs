//! The long gate: runs everything that proves something and writes the figures down, with what they are worth.
//!
//! [`seeds`] (simulated clusters), [`teeth`] (planted bugs, each of which must be found), [`real`] (processes and file
//! systems), [`fuzz`] (inputs guided by coverage), [`ledger`] (what was run already), [`page`] (the table in
//! `docs/reliability.md`).

use std::fmt;
use std::process::{Command, Output};

pub mod fuzz;
pub mod ledger;
pub mod page;
pub mod real;
pub mod seeds;
pub mod teeth;

/// Why nothing was proven: neither a pass nor a failure of the product.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A program of ours does not start.
    #[error("{program} cannot be run: {source}")]
    Program {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file of ours.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The page has no place for the figures.
    #[error("{0} lacks the markers between which the figures go")]
    Markers(String),
    /// There is nothing to fuzz with.
    #[error("no program of fuzz targets: `.ci/fuzz build` makes one and says where it is")]
    NoFuzzProgram,
    /// The simulator does not do the same twice.
    #[error("two processes of one seed differ: no seed means anything")]
    NotDeterministic,
    /// A run that said nothing that could be counted.
    #[error("no figures in: {0}")]
    NoFigures(String),
}

/// Of `failed` in `of` independent runs, with 95 % confidence: the rule of three where none failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Failures.
    pub failed: u64,
    /// Runs.
    pub of: u64,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.failed, self.of) {
            (_, 0) => f.write_str("not measured"),
            (0, of) => write!(f, "0 of {of} (at most {:.1e})", 3.0 / of as f64),
            (failed, of) => write!(f, "**{failed}** of {of}"),
        }
    }
}

/// Runs a program to its end.
fn output(command: &mut Command) -> Result<Output, HarnessError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|source| HarnessError::Program { program, source })
}

/// Standard output and error, one behind the other.
fn text(output: &Output) -> String {
    let bytes = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// CPU seconds of all processes that this one has waited for: `cutime` and `cstime` of proc(5), in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(13) + ticks(14)) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_failures_have_a_bound_and_failures_stand_out() {
        assert_eq!(Bound { failed: 0, of: 3000 }.to_string(), "0 of 3000 (at most 1.0e-3)");
        assert_eq!(Bound { failed: 2, of: 9 }.to_string(), "**2** of 9");
        assert_eq!(Bound { failed: 0, of: 0 }.to_string(), "not measured");
    }
}
