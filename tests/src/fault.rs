//! What became of a fault that a test wanted: it was installed, this machine cannot have it, or nobody can tell. The
//! lines printed here are what `prove` reads; a run without a fault that it needs is no pass there.

use std::fmt;

use crate::failure::Failure;

/// Begins every line about a fault.
pub const MARK: &str = "FAULT ";

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was there, by this evidence.
    Installed(String),
    /// It cannot be had here, for this reason.
    Skipped(String),
    /// It was asked for, and nothing shows that it was there.
    Indeterminate(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed(evidence) => write!(f, "installed: {evidence}"),
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
            Self::Indeterminate(reason) => write!(f, "indeterminate: {reason}"),
        }
    }
}

/// Says what became of a fault of these rows of the fault table.
///
/// # Errors
/// If nobody can tell whether it was there: then nothing else about the run counts.
#[track_caller]
pub fn state(rows: &str, what: &str, outcome: &Outcome) -> Result<(), Failure> {
    println!("{MARK}{rows} | {what} | {outcome}");
    match outcome {
        Outcome::Indeterminate(reason) => {
            Err(Failure::harness(format!("{what}: it cannot be told whether it was there: {reason}")))
        }
        Outcome::Installed(_) | Outcome::Skipped(_) => Ok(()),
    }
}

/// A fault that was there if it happened at least once, as counted.
#[track_caller]
pub fn counted(rows: &str, what: &str, times: u64, unit: &str) -> Result<(), Failure> {
    let outcome = match times {
        0 => Outcome::Indeterminate(format!("no {unit}")),
        times => Outcome::Installed(format!("{times} {unit}")),
    };
    state(rows, what, &outcome)
}

/// A fault that this machine cannot have.
pub fn skipped(rows: &str, what: &str, reason: &dyn fmt::Display) {
    println!("{MARK}{rows} | {what} | {}", Outcome::Skipped(reason.to_string()));
}
