//! What a member has promised and what it may have shown, as far as linearizable reads depend on it. The adapters of
//! openraft keep it while entries pass through them, so that it never lags behind what others can see.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// A member's standing in one group. Volatile: a restarted member stands for nothing until it is elected again.
#[derive(Debug, Default)]
pub struct Standing {
    /// The highest log index that this member has told anybody is committed, or has begun to apply.
    shown: AtomicU64,
    /// The newest term of which entries were appended here since the start, and the index of the first of them.
    newest: Mutex<Option<(u64, u64)>>,
}

impl Standing {
    /// Called before anybody can see that everything up to `index` is committed.
    pub fn show(&self, index: u64) {
        self.shown.fetch_max(index, Ordering::SeqCst);
    }

    /// Called for entries that are appended, in order.
    pub fn appended(&self, term: u64, index: u64) {
        let mut newest = self.newest.lock();
        if newest.is_none_or(|(known, _)| known < term) {
            *newest = Some((term, index));
        }
    }

    /// The read index of this member as the leader of `term`: nothing that anybody has been shown lies behind it. `None`
    /// if it has appended nothing in that term since its start: then it does not lead, or does not know enough yet.
    ///
    /// Of use only together with a proof that, after the question came, no higher term had a leader.
    pub fn read_index(&self, term: u64) -> Option<u64> {
        match *self.newest.lock() {
            Some((newest, first)) if newest == term => Some(self.shown.load(Ordering::SeqCst).max(first)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_reads_behind_nothing_of_its_predecessors() {
        let standing = Standing::default();
        assert_eq!(standing.read_index(0), None, "after a restart nothing is known");
        standing.appended(3, 10);
        standing.appended(3, 11);
        standing.show(7);
        assert_eq!(standing.read_index(3), Some(10), "the term's first entry proves what came before it");
        standing.show(11);
        standing.show(9);
        assert_eq!(standing.read_index(3), Some(11));
        assert_eq!(standing.read_index(4), None, "elected, but nothing appended yet");
        standing.appended(4, 12);
        assert_eq!((standing.read_index(3), standing.read_index(4)), (None, Some(12)));
    }
}
