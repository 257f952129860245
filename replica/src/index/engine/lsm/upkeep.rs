//! The engine's two threads: one makes tables of full write buffers, the other merges tables. A failure stops them and is
//! every later writer's; a full disk is none: it is tried again until there is room, and writers wait meanwhile.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use lsm_tree::AbstractTree;
use lsm_tree::compaction::Leveled;
use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::file::is_full;
use crate::index::engine::EngineError;

/// Buffers that wait to be flushed before writers wait for them.
const WAITING: usize = 2;
/// Runs of tables that were flushed and not merged before flushing, and with it writers, waits for merging.
const UNMERGED: usize = 24;
/// How long a full disk is left alone.
const FULL: Duration = Duration::from_millis(200);

/// What a writer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Room for another buffer.
    Room,
    /// Everything that is not in the active buffer is on disk.
    Flushed,
}

/// The two threads.
pub struct Upkeep {
    common: Arc<Common>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Common {
    shared: Arc<Shared>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    /// Flushes since the last merging began.
    unmerged: bool,
    failed: Option<String>,
}

/// Why the threads have stopped.
#[derive(Debug, thiserror::Error)]
#[error("the index is not flushed: {0}")]
struct Stopped(String);

impl Upkeep {
    /// Starts them.
    pub fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let state = Mutex::new(State { unmerged: true, ..State::default() });
        let common = Arc::new(Common { shared, state, changed: Condvar::new() });
        let flushing = common.clone();
        let merging = common.clone();
        let threads = vec![
            Builder::new().name("index-flush".into()).spawn(move || flushing.run(Common::flush))?,
            Builder::new().name("index-merge".into()).spawn(move || merging.run(Common::merge))?,
        ];
        Ok(Self { common, threads: Mutex::new(threads) })
    }

    /// Has what is not in the active buffer flushed, and waits until there is what `wait` says.
    pub fn wait(&self, wait: Wait) -> Result<(), EngineError> {
        let most = match wait {
            Wait::Room => WAITING,
            Wait::Flushed => 0,
        };
        let tree = &self.common.shared.tree;
        // Under the lock, so that the thread that flushes is not between its look at the tree and its wait.
        let mut state = self.common.state.lock();
        self.common.changed.notify_all();
        loop {
            if let Some(failed) = &state.failed {
                return Err(EngineError(Box::new(Stopped(failed.clone()))));
            }
            if tree.sealed_memtable_count() <= most {
                return Ok(());
            }
            if state.stopped {
                return Err(EngineError(Box::new(Stopped("the engine is being closed".into()))));
            }
            self.common.changed.wait(&mut state);
        }
    }

    /// Ends both when they have finished what they are at.
    pub fn stop(&self) {
        self.common.state.lock().stopped = true;
        self.common.changed.notify_all();
        for thread in self.threads.lock().drain(..) {
            thread.join().ok();
        }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Common {
    fn run(&self, work: impl FnOnce(&Self) -> lsm_tree::Result<()>) {
        if let Err(error) = work(self) {
            tracing::error!(%error, "the index engine has failed");
            self.state.lock().failed = Some(error.to_string());
            self.changed.notify_all();
        }
    }

    /// Waits until `ready`; `false` when it is time to end.
    fn wait_until(&self, ready: impl Fn(&State) -> bool) -> bool {
        let mut state = self.state.lock();
        while !state.stopped && state.failed.is_none() && !ready(&state) {
            self.changed.wait(&mut state);
        }
        !state.stopped && state.failed.is_none()
    }

    fn flush(&self) -> lsm_tree::Result<()> {
        let tree = &self.shared.tree;
        while self.wait_until(|_| tree.sealed_memtable_count() > 0 && tree.l0_run_count() < UNMERGED) {
            let flushing = tree.get_flush_lock();
            let flushed = match tree.flush(&flushing, self.shared.watermark()) {
                Ok(flushed) => flushed.unwrap_or(0),
                Err(lsm_tree::Error::Io(error)) if is_full(error.kind()) => {
                    tracing::warn!(%error, "no room to flush the index: trying again");
                    let mut state = self.state.lock();
                    self.changed.wait_for(&mut state, FULL);
                    continue;
                }
                Err(error) => return Err(error),
            };
            drop(flushing);
            self.release()?;
            self.shared.buffered.fetch_sub(flushed, Ordering::AcqRel);
            self.state.lock().unmerged = true;
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Gives the memory of flushed buffers back: views that open from now on do not need them.
    fn release(&self) -> lsm_tree::Result<()> {
        let shared = &*self.shared;
        {
            // No batch is being written: everything below the next number is whole.
            let _writer = shared.writer.lock();
            shared.visible.store(shared.numbers.next() + 1, Ordering::Release);
        }
        let path = &shared.tree.tree_config().path;
        shared.tree.get_version_history_lock().maintenance(path, shared.watermark())
    }

    fn merge(&self) -> lsm_tree::Result<()> {
        let tree = &self.shared.tree;
        let strategy = Arc::new(Leveled::default());
        while self.wait_until(|state| state.unmerged) {
            self.state.lock().unmerged = false;
            loop {
                let before = tree.current_version().id();
                match tree.compact(strategy.clone(), self.shared.watermark()) {
                    Ok(()) => {}
                    Err(lsm_tree::Error::Io(error)) if is_full(error.kind()) => {
                        tracing::warn!(%error, "no room to merge the index's tables: trying again");
                        let mut state = self.state.lock();
                        state.unmerged = true;
                        self.changed.wait_for(&mut state, FULL);
                        break;
                    }
                    Err(error) => return Err(error),
                }
                // Under the lock: the thread that flushes may be between its look at the tables and its wait.
                let stopped = {
                    let state = self.state.lock();
                    self.changed.notify_all();
                    state.stopped
                };
                if stopped || tree.current_version().id() == before {
                    break;
                }
            }
        }
        Ok(())
    }
}
