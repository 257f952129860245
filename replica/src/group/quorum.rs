//! Majorities of one set of voters, or of several while a group moves from one to the next.

use std::collections::BTreeSet;

use holdfast_wire::id::NodeId;

/// Whether `have` is a majority of each set.
pub fn is_quorum(sets: &[BTreeSet<u64>], have: &[NodeId]) -> bool {
    !sets.is_empty()
        && sets.iter().all(|set| set.iter().filter(|voter| have.contains(&NodeId(**voter))).count() > set.len() / 2)
}

/// Whom of `candidates`, taken in their order, it takes to make `have` a quorum; `None` if all of them do not.
pub fn missing(sets: &[BTreeSet<u64>], have: &[NodeId], candidates: &[NodeId]) -> Option<Vec<NodeId>> {
    let mut all = have.to_vec();
    let mut added = Vec::new();
    for candidate in candidates {
        if is_quorum(sets, &all) {
            break;
        }
        let counts = |set: &BTreeSet<u64>| {
            set.contains(&candidate.0)
                && set.iter().filter(|voter| all.contains(&NodeId(**voter))).count() <= set.len() / 2
        };
        if !all.contains(candidate) && sets.iter().any(counts) {
            all.push(*candidate);
            added.push(*candidate);
        }
    }
    is_quorum(sets, &all).then_some(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    fn nodes(ids: &[u64]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn a_majority_of_each_set_is_a_quorum() {
        let three = [set(&[1, 2, 3])];
        assert!(is_quorum(&three, &nodes(&[1, 3])));
        assert!(!is_quorum(&three, &nodes(&[1])));
        assert!(!is_quorum(&three, &nodes(&[1, 9])), "a learner does not count");
        assert!(!is_quorum(&[set(&[1, 2])], &nodes(&[1])));
        assert!(is_quorum(&[set(&[1])], &nodes(&[1])));
        let joint = [set(&[1, 2, 3]), set(&[3, 4, 5])];
        assert!(!is_quorum(&joint, &nodes(&[1, 2, 3])));
        assert!(is_quorum(&joint, &nodes(&[1, 3, 4])));
        assert!(!is_quorum(&[], &nodes(&[1])), "nobody is a quorum of nothing");
    }

    #[test]
    fn no_more_are_asked_than_it_takes() {
        let five = [set(&[1, 2, 3, 4, 5])];
        assert_eq!(missing(&five, &nodes(&[1]), &nodes(&[9, 2, 3, 4, 5])), Some(nodes(&[2, 3])));
        assert_eq!(missing(&five, &nodes(&[1, 4]), &nodes(&[4, 5])), Some(nodes(&[5])));
        assert_eq!(missing(&five, &nodes(&[1]), &nodes(&[2])), None);
        let joint = [set(&[1, 2, 3]), set(&[1, 4, 5])];
        assert_eq!(missing(&joint, &nodes(&[1]), &nodes(&[2, 3, 4])), Some(nodes(&[2, 4])));
        assert_eq!(missing(&[set(&[1])], &nodes(&[1]), &[]), Some(vec![]));
    }
}
