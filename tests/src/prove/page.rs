//! The figures as a page shows them, between two markers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::fuzz::Fuzzed;
use super::real::{Outcome, Verdict};
use super::seeds::Sum;
use super::teeth::{Bite, Finder};
use super::{Bound, HarnessError};

/// Stands before a part of the page that is written.
fn begin(part: &str) -> String {
    format!("<!-- prove:{part} -->")
}

/// Stands behind every such part.
const END: &str = "<!-- prove:end -->";

/// The simulated clusters, as a table.
pub fn seeds(sums: &BTreeMap<String, Sum>, safety: u64) -> String {
    let mut text = format!(
        "Optimized, with a debug build's assertions; safety phases of {safety} s. A bound is that of 95 % confidence.\n\n\
         | scenario | runs | simulated | CPU | faults | operations | acknowledged writes | runs that broke a promise |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    let mut all = Sum::default();
    let mut row = |name: &str, sum: &Sum| {
        let failed = Bound { failed: sum.violations.len() as u64, of: sum.runs };
        let Sum { runs, simulated, cpu, faults, operations, acknowledged, .. } = sum;
        let _ = writeln!(
            text,
            "| {name} | {runs} | {:.1} min | {cpu:.0} s | {faults} | {operations} | {acknowledged} | {failed} |",
            simulated / 60.0
        );
    };
    for (name, sum) in sums {
        row(&format!("`{name}`"), sum);
        all.runs += sum.runs;
        all.simulated += sum.simulated;
        all.cpu += sum.cpu;
        all.faults += sum.faults;
        all.operations += sum.operations;
        all.acknowledged += sum.acknowledged;
        all.violations.extend(sum.violations.iter().cloned());
    }
    row("**all**", &all);
    for violation in &all.violations {
        let _ = writeln!(text, "\n- {violation}");
    }
    text
}

/// The planted bugs, as a table.
pub fn teeth(bites: &[Bite]) -> String {
    let found = bites.iter().filter(|bite| bite.found.is_some()).count();
    let mut times: Vec<f64> = bites.iter().filter(|bite| bite.found.is_some()).map(|bite| bite.cpu).collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or(0.0);
    let mut text = format!(
        "Caught: {found} of {}, median {median:.1} s of CPU.\n\n| fault | by | seeds | CPU | as |\n|---|---|---|---|---|\n",
        bites.len()
    );
    for bite in bites {
        let by = match bite.finder {
            Finder::Seeds(scenario) => format!("`sim {scenario}`"),
            Finder::Test(test) => format!("`{test}`"),
        };
        let (seeds, why) = match &bite.found {
            Some((0, why)) => ("–".to_owned(), why.clone()),
            Some((seed, why)) => (seed.to_string(), short(why)),
            None => ("**not caught**".to_owned(), String::new()),
        };
        let _ = writeln!(text, "| `{}` | {by} | {seeds} | {:.1} s | {why} |", bite.fault, bite.cpu);
    }
    text
}

/// The name of what was broken, and the beginning of how.
fn short(why: &str) -> String {
    let why = why.split_once(": ").map_or(why, |(_, why)| why);
    let cut: String = why.chars().take(90).collect();
    cut.replace('|', "/")
}

/// Real processes, as a table.
pub fn real(outcomes: &[Outcome]) -> String {
    let mut text = "| what | rounds | tests | acknowledged writes, all there at the end | faults (rows) | figures |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for outcome in outcomes {
        let passed = match outcome.verdict {
            Verdict::Passed if outcome.proven() => "passed".to_owned(),
            Verdict::Passed => format!("**no pass**: {}", cell(&lacking(outcome))),
            Verdict::Failed => "**failed**".to_owned(),
            Verdict::HarnessError => "**harness error**: neither passed nor failed".to_owned(),
        };
        let acknowledged = match (outcome.verdict, outcome.acknowledged) {
            (_, 0) => "–".to_owned(),
            (Verdict::Passed, of) => Bound { failed: 0, of }.to_string(),
            (_, of) => format!("of {of}"),
        };
        let faults: Vec<_> = outcome.installed.iter().map(|(fault, times)| format!("{fault}: {times}")).collect();
        let _ = writeln!(
            text,
            "| {} (`{}`) | {} | {passed} | {acknowledged} | {} | {} |",
            outcome.suite.what,
            outcome.suite.file,
            outcome.rounds,
            cell(&faults),
            cell(&outcome.figures)
        );
    }
    text
}

/// Which faults were not there, as far as tests said so, and of which rows nobody said anything.
fn lacking(outcome: &Outcome) -> Vec<String> {
    let said = outcome.missing.iter().map(|fault| format!("not installed: {fault}"));
    let rows: Vec<_> = outcome.absent().iter().map(|row| format!("row {row}")).collect();
    said.chain((!rows.is_empty()).then(|| format!("not all faults: {}", rows.join(", ")))).collect()
}

/// Lines in one cell of a table.
fn cell(lines: &[String]) -> String {
    lines.iter().map(|line| line.replace('|', "/")).collect::<Vec<_>>().join("<br>")
}

/// The fuzz targets, as a table.
pub fn fuzz(outcomes: &[Fuzzed], seconds: u64) -> String {
    let mut text = format!(
        "{seconds} s for each target, two at a time. Edges are those of the whole program that were reached, kept corpus \
         included.\n\n| target | executions | a second | edges | broke its promise |\n|---|---|---|---|---|\n"
    );
    for Fuzzed { target, executions, edges, broken } in outcomes {
        let broken =
            broken.as_deref().map_or_else(|| "no".to_owned(), |why| format!("**yes**: {}", why.replace('|', "/")));
        let _ = writeln!(text, "| `{target}` | {executions} | {} | {edges} | {broken} |", executions / seconds.max(1));
    }
    text
}

/// Puts `text` into a part of the page at `path`.
pub fn write(path: &Path, part: &str, text: &str) -> Result<(), HarnessError> {
    let file = |source| HarnessError::File { path: path.display().to_string(), source };
    let page = std::fs::read_to_string(path).map_err(file)?;
    let page = replaced(&page, part, text).ok_or_else(|| HarnessError::Markers(path.display().to_string()))?;
    std::fs::write(path, page).map_err(file)
}

fn replaced(page: &str, part: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(&begin(part))?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{}\n{}\n{END}{after}", begin(part), text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::real::SUITES;

    #[test]
    fn a_part_is_replaced_and_the_rest_stays() {
        let page = "a\n<!-- prove:teeth -->\nold\n<!-- prove:end -->\nb\n<!-- prove:seeds -->\n<!-- prove:end -->\n";
        let new = replaced(page, "teeth", "new\n").unwrap();
        assert_eq!(new, page.replace("old", "new"));
        assert_eq!(replaced(&new, "teeth", "new"), Some(new.clone()), "writing twice changes nothing");
        assert_eq!(replaced(page, "real", "x"), None);
    }

    #[test]
    fn what_was_not_caught_or_not_installed_stands_out() {
        let bite = Bite { fault: "x", finder: Finder::Test("t"), found: None, cpu: 1.0 };
        assert!(teeth(&[bite]).contains("0 of 1") && teeth(&[]).contains("0 of 0"));
        let mut outcome = Outcome {
            suite: SUITES[3],
            rounds: 1,
            verdict: Verdict::Passed,
            installed: BTreeMap::new(),
            rows: [4, 5].into(),
            missing: vec!["5 | cuts on Xfs | skipped: no".to_owned()],
            acknowledged: 0,
            figures: Vec::new(),
        };
        assert!(real(&[outcome.clone()]).contains("| **no pass**: not installed: 5 / cuts on Xfs / skipped: no |"));
        outcome.missing.clear();
        assert!(real(&[outcome.clone()]).contains("| passed |"));
        outcome.rows.clear();
        assert!(real(&[outcome]).contains("| **no pass**: not all faults: row 4, row 5 |"));
    }
}
