//! A host: a process with a runtime of its own, whose time passes only in steps. Dropping the runtime is the process's
//! death: every task ends where it stands.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// The host. Without a process nothing happens on it.
pub struct Host {
    runtime: Option<Runtime>,
    /// Its process does not run for so many steps.
    paused: u64,
    missed: Duration,
    /// How fast its clock goes, thousandths of the true speed, and what of a step it owes.
    rate: u64,
    owed: u64,
}

impl Default for Host {
    fn default() -> Self {
        Self { runtime: None, paused: 0, missed: Duration::ZERO, rate: EVEN, owed: 0 }
    }
}

/// A clock that goes as it should.
const EVEN: u64 = 1000;

impl Host {
    /// Starts a process; one that ran dies.
    pub fn start(&mut self, main: impl Future<Output = ()> + Send + 'static) {
        self.kill();
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without I/O needs nothing that could be missing");
        runtime.spawn(main);
        self.runtime = Some(runtime);
    }

    /// Whether a process runs, paused or not.
    pub fn runs(&self) -> bool {
        self.runtime.is_some()
    }

    /// Whether its process is paused.
    pub fn is_paused(&self) -> bool {
        self.paused > 0
    }

    /// The process is not scheduled for so many steps, while its clock goes on (`SIGSTOP`).
    pub fn pause(&mut self, steps: u64) {
        self.paused = steps;
    }

    /// Ends the pause.
    pub fn resume(&mut self) {
        self.paused = 0;
    }

    /// Lets the host's clock go faster or slower: so many thousandths of the true speed.
    pub fn drift(&mut self, rate: u64) {
        self.rate = rate;
    }

    /// Does something more in the process.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }

    /// The process ends at once.
    pub fn kill(&mut self) {
        drop(self.runtime.take());
        (self.paused, self.missed) = (0, Duration::ZERO);
    }

    /// Lets the process run for `time`: by its own clock a whole number of such steps, which now and then is none or two.
    pub fn step(&mut self, time: Duration) {
        let Some(runtime) = &self.runtime else { return };
        self.owed += self.rate;
        let steps = self.owed / EVEN;
        self.owed %= EVEN;
        if steps == 0 {
            return;
        }
        let time = time * steps as u32;
        if self.paused > 0 {
            self.paused -= 1;
            self.missed += time;
            return;
        }
        let missed = std::mem::take(&mut self.missed);
        runtime.block_on(async {
            if !missed.is_zero() {
                tokio::time::advance(missed).await;
            }
            tokio::time::sleep(time).await;
        });
    }
}
