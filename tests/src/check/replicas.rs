//! C6 and C7: what the replicas of a cluster hold once everything has calmed down, and whether each data directory is
//! sound.

use std::collections::BTreeMap;

use holdfast_replica::verify::{Report, State};

use super::Verdict;

/// What a node holds.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// The node's name.
    pub node: String,
    /// What is wrong with its data directory, a sentence each.
    pub problems: Vec<String>,
    /// What its members have applied.
    pub states: Vec<State>,
}

impl Replica {
    /// From a check of its data directory.
    pub fn new(node: &str, report: Report) -> Self {
        Self { node: node.to_owned(), problems: report.problems, states: report.states }
    }
}

/// C6: replicas that have applied as much hold the same. A group of which no two could be compared is a doubt.
pub fn agreement(replicas: &[Replica]) -> Verdict {
    let mut groups: BTreeMap<_, BTreeMap<u64, Vec<(&str, u64)>>> = BTreeMap::new();
    for replica in replicas {
        for state in &replica.states {
            let at = groups.entry(state.group).or_default().entry(state.applied).or_default();
            at.push((&replica.node, state.hash));
        }
    }
    let (mut compared, mut doubts, mut violations) = (0, Vec::new(), Vec::new());
    for (group, places) in groups {
        let members: usize = places.values().map(Vec::len).sum();
        let before = compared;
        for (applied, found) in &places {
            let (first, hash) = found[0];
            for (node, other) in &found[1..] {
                compared += 1;
                if *other != hash {
                    violations.push(format!("{first} and {node} differ in group {group} at {applied}"));
                }
            }
        }
        if compared == before && members > 1 {
            doubts.push(format!("no two members of group {group} have applied as much: {places:?}"));
        }
    }
    if replicas.len() > 1 && compared == 0 && doubts.is_empty() {
        doubts.push("nothing was applied anywhere".to_owned());
    }
    Verdict::of(compared, doubts, violations)
}

/// C7: every data directory is sound.
pub fn sound(replicas: &[Replica]) -> Verdict {
    let problems = replicas.iter().flat_map(|replica| {
        let node = &replica.node;
        replica.problems.iter().map(move |problem| format!("{node}: {problem}"))
    });
    Verdict::of(replicas.len() as u64, Vec::new(), problems.collect())
}

#[cfg(test)]
mod tests {
    use holdfast_wire::id::GroupId;

    use super::*;
    use crate::check::example::passed;

    fn replica(node: &str, states: &[(u32, u64, u64)]) -> Replica {
        let states = states.iter().map(|&(group, applied, hash)| State { group: GroupId(group), applied, hash });
        Replica { node: node.to_owned(), problems: Vec::new(), states: states.collect() }
    }

    #[test]
    fn members_that_have_applied_as_much_hold_the_same() {
        let one = replica("n1", &[(0, 5, 50), (1, 9, 90)]);
        let behind = replica("n2", &[(0, 5, 50), (1, 8, 80)]);
        let same = replica("n3", &[(0, 5, 50), (1, 9, 90)]);
        let other = replica("n3", &[(0, 5, 51), (1, 9, 90)]);
        assert_eq!(agreement(&[one.clone(), behind.clone(), same]), passed(3));
        assert!(
            matches!(agreement(&[one.clone(), behind.clone(), other]), Verdict::Violated(found) if found.len() == 1)
        );
        assert!(matches!(agreement(&[one.clone(), behind]), Verdict::Undecided(doubts) if doubts.len() == 1));
        assert_eq!(agreement(&[one]), passed(0), "a member alone agrees with itself");
    }

    #[test]
    fn one_problem_anywhere_is_a_violation() {
        let bad = Replica { problems: vec!["group 1: the log has a hole at 3".to_owned()], ..replica("n2", &[]) };
        assert_eq!(sound(&[replica("n1", &[])]), passed(1));
        let found = vec!["n2: group 1: the log has a hole at 3".to_owned()];
        assert_eq!(sound(&[replica("n1", &[]), bad]), Verdict::Violated(found));
    }
}
