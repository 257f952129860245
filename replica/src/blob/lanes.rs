//! A few lanes of one kind, and which of them a piece of work takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::file::{Files, Lane};

/// Lanes among which work goes to the least busy one.
pub(super) struct Lanes(Vec<(Lane, Arc<AtomicUsize>)>);

impl Lanes {
    pub fn new(files: &dyn Files, name: &str, count: usize) -> Self {
        Self((0..count.max(1)).map(|n| (files.lane(&format!("{name}-{n}")), Arc::default())).collect())
    }

    /// Runs `work` on the lane that has the least to do. Work that must run in order is not asked for before the work
    /// it follows has ended. Dropping the future does not stop the work.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (lane, busy) =
            self.0.iter().min_by_key(|(_, busy)| busy.load(Ordering::Relaxed)).expect("there is at least one lane");
        busy.fetch_add(1, Ordering::Relaxed);
        let busy = busy.clone();
        lane.run(move || {
            let result = work();
            busy.fetch_sub(1, Ordering::Relaxed);
            result
        })
        .await
    }
}
