//! What a member has promised and what it may have shown, as far as linearizable reads depend on it. The adapters of
//! openraft keep it while entries pass through them, so that it never lags behind what others can see.

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_wire::id::NodeId;
use parking_lot::Mutex;

use crate::position::Position;

/// A member's standing in one group. Volatile: a restarted member stands for nothing until it is elected again.
#[derive(Debug, Default)]
pub struct Standing {
    /// The highest log index that this member has told anybody is committed, or has begun to apply.
    shown: AtomicU64,
    /// The newest leadership of which entries were appended here since the start, and the index of the first of them.
    /// openraft orders leaders by term and node: one term may see two of them.
    newest: Mutex<Option<((u64, NodeId), u64)>>,
}

impl Standing {
    /// Called before anybody can see that everything up to `index` is committed.
    pub fn show(&self, index: u64) {
        self.shown.fetch_max(index, Ordering::SeqCst);
    }

    /// Called for entries that are appended, in order.
    pub fn appended(&self, at: Position) {
        let mut newest = self.newest.lock();
        if newest.is_none_or(|(known, _)| known < (at.term, at.node)) {
            *newest = Some(((at.term, at.node), at.index));
        }
    }

    /// The read index of `leader`, this member, in `term`: nothing that anybody has been shown lies behind it. `None`
    /// if it has appended nothing as that leader since its start: then it does not lead, or does not know enough yet.
    ///
    /// Of use only together with a proof that, after the question came, nobody else had been elected.
    pub fn read_index(&self, term: u64, leader: NodeId) -> Option<u64> {
        match *self.newest.lock() {
            Some((newest, first)) if newest == (term, leader) => Some(self.shown.load(Ordering::SeqCst).max(first)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: u64, node: u64, index: u64) -> Position {
        Position { term, node: NodeId(node), index }
    }

    #[test]
    fn a_new_leader_reads_behind_nothing_of_its_predecessors() {
        let standing = Standing::default();
        assert_eq!(standing.read_index(0, NodeId(2)), None, "after a restart nothing is known");
        standing.appended(at(3, 2, 10));
        standing.appended(at(3, 2, 11));
        standing.show(7);
        assert_eq!(standing.read_index(3, NodeId(2)), Some(10), "its first entry proves what came before it");
        standing.show(11);
        standing.show(9);
        assert_eq!(standing.read_index(3, NodeId(2)), Some(11));
        assert_eq!(standing.read_index(4, NodeId(2)), None, "elected, but nothing appended yet");
        standing.appended(at(4, 2, 12));
        assert_eq!((standing.read_index(3, NodeId(2)), standing.read_index(4, NodeId(2))), (None, Some(12)));
    }

    #[test]
    fn another_leader_of_the_same_term_does_not_count_as_this_one() {
        let standing = Standing::default();
        standing.appended(at(3, 1, 10));
        standing.appended(at(3, 1, 20));
        assert_eq!(standing.read_index(3, NodeId(2)), None, "entries of node 1, of which some may be committed");
        standing.appended(at(3, 2, 21));
        assert_eq!(standing.read_index(3, NodeId(2)), Some(21));
    }
}
