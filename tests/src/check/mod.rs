//! Checkers over a recorded history. Each looks at it from another side; a run passes when all of them do.

use std::fmt;

use crate::history::History;
use crate::history::statuses::Statuses;

pub mod answers;
pub mod durable;
pub mod integrity;
pub mod linear;
pub mod list;
pub mod order;
pub mod page;
pub mod replicas;
pub mod search;
pub mod versions;

/// What a checker found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing against it.
    Passed {
        /// Over so many things looked at.
        checked: u64,
        /// So many more say nothing, or not all that they could.
        undecided: u64,
    },
    /// It could not tell: not a pass.
    Undecided(Vec<String>),
    /// Wrong, and why.
    Violated(Vec<String>),
}

impl Verdict {
    /// From what was found: violations outweigh doubts, doubts outweigh a pass.
    pub(crate) fn of(checked: u64, doubts: Vec<String>, violations: Vec<String>) -> Self {
        match (violations.is_empty(), doubts.is_empty()) {
            (false, _) => Self::Violated(violations),
            (true, false) => Self::Undecided(doubts),
            (true, true) => Self::Passed { checked, undecided: 0 },
        }
    }

    /// The same, with how many things a pass says nothing of.
    pub(crate) fn beside(self, undecided: u64) -> Self {
        match self {
            Self::Passed { checked, .. } => Self::Passed { checked, undecided },
            other => other,
        }
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }
}

/// The verdicts of all checkers, first of those over a history.
#[derive(Clone, Debug)]
pub struct Report(pub Vec<(&'static str, Verdict)>);

impl Report {
    /// Runs them all. `last` are the reads of the scan after healing: every key of the history, read once, after
    /// everything else had ended; they are part of `history` too.
    pub fn of(history: &History) -> Self {
        Self(vec![
            ("C1 durable", durable::check(history)),
            ("C2 linearizable", linear::check(history, search::STEPS)),
            ("C2 versions", versions::check(history, search::STEPS)),
            ("C3 order by index", order::check(history)),
            ("C4 lists", list::check(history)),
            ("C4 pages", page::check(history)),
            ("C5 integrity", integrity::check(history)),
        ])
    }

    /// Adds those that look at the replicas once everything has calmed down.
    pub fn and_replicas(&mut self, replicas: &[replicas::Replica]) {
        self.0.push(("C6 agreement", replicas::agreement(replicas)));
        self.0.push(("C7 sound", replicas::sound(replicas)));
    }

    /// Adds those that look at what clients were told, and at what could not be read `of` so many keys after healing.
    pub fn and_answers(&mut self, statuses: &Statuses, of: u64, unread: &[String]) {
        self.0.push(("C8 liveness", answers::liveness(of, unread)));
        self.0.push(("C9 availability", answers::availability(statuses)));
    }

    /// Whether all passed.
    pub fn passed(&self) -> bool {
        self.0.iter().all(|(_, verdict)| verdict.passed())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, verdict) in &self.0 {
            match verdict {
                Verdict::Passed { checked, undecided: 0 } => writeln!(f, "{name:20} passed ({checked} checked)")?,
                Verdict::Passed { checked, undecided } => {
                    writeln!(f, "{name:20} passed ({checked} checked, {undecided} undecided)")?;
                }
                Verdict::Undecided(doubts) => {
                    writeln!(f, "{name:20} UNDECIDED, {} cases", doubts.len())?;
                    doubts.iter().take(10).try_for_each(|doubt| writeln!(f, "    {doubt}"))?;
                }
                Verdict::Violated(found) => {
                    writeln!(f, "{name:20} VIOLATED, {} times", found.len())?;
                    found.iter().take(10).try_for_each(|violation| writeln!(f, "    {violation}"))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod example {
    //! Short ways to write histories down.
    use holdfast_wire::id::{GroupId, Seq};

    use crate::check::Verdict;
    use crate::history::{Condition, History, NEVER, Op, Outcome, Record, Seen, Written};

    pub fn passed(checked: u64) -> Verdict {
        Verdict::Passed { checked, undecided: 0 }
    }

    pub fn history(records: impl IntoIterator<Item = Record>) -> History {
        History { records: records.into_iter().collect(), ..History::default() }
    }

    fn record(key: &str, op: Op, (start, end): (u64, u64), outcome: Outcome) -> Record {
        Record { client: start as u32, key: key.into(), op, start, end, outcome, seq: None }
    }

    fn write(id: u64, condition: Condition) -> Op {
        Op::Write(Written { write: id, size: 4, etag: Some(format!("e{id}")), condition })
    }

    pub fn put(key: &str, id: u64, at: (u64, u64)) -> Record {
        record(key, write(id, Condition::None), at, Outcome::Done)
    }

    pub fn put_if(key: &str, id: u64, condition: Condition, at: (u64, u64), outcome: Outcome) -> Record {
        record(key, write(id, condition), at, outcome)
    }

    pub fn put_unknown(key: &str, id: u64, start: u64) -> Record {
        record(key, write(id, Condition::None), (start, NEVER), Outcome::Unknown("lost".into()))
    }

    pub fn put_failed(key: &str, id: u64, at: (u64, u64)) -> Record {
        record(key, write(id, Condition::None), at, Outcome::Failed("400".into()))
    }

    pub fn delete(key: &str, at: (u64, u64)) -> Record {
        record(key, Op::Delete, at, Outcome::Done)
    }

    pub fn delete_unknown(key: &str, start: u64) -> Record {
        record(key, Op::Delete, (start, NEVER), Outcome::Unknown("lost".into()))
    }

    pub fn get(key: &str, id: u64, at: (u64, u64)) -> Record {
        let seen = Seen { write: id, size: 4, etag: format!("e{id}"), fault: None };
        record(key, Op::Read, at, Outcome::Saw(Some(seen)))
    }

    pub fn none(key: &str, at: (u64, u64)) -> Record {
        record(key, Op::Read, at, Outcome::Saw(None))
    }

    pub fn list(prefix: &str, keys: &[&str], at: (u64, u64)) -> Record {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let outcome = Outcome::Listed { keys, prefixes: Vec::new(), faults: Vec::new(), pages: Vec::new() };
        record(prefix, Op::List { delimiter: None }, at, outcome)
    }

    pub fn seq(mut record: Record, group: u32, index: u64) -> Record {
        record.seq = Some(Seq { group: GroupId(group), index });
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_not_decided() {
        let verdicts = [Verdict::of(3, Vec::new(), Vec::new()), Verdict::of(3, Vec::new(), Vec::new()).beside(2)];
        let report = Report(verdicts.map(|verdict| ("C4", verdict)).into());
        assert!(report.passed());
        let said: Vec<String> = report.to_string().lines().map(|line| line["C4".len()..].trim().to_owned()).collect();
        assert_eq!(said, ["passed (3 checked)", "passed (3 checked, 2 undecided)"]);
        let doubt = Verdict::of(3, vec!["why".to_owned()], Vec::new());
        assert_eq!(doubt.clone().beside(2), doubt);
    }
}
