//! Faults by order, for testers: a node that was started for it crashes, loses its network or gets a slow disk, and
//! recovers, without its process ending.
//!
//! A "crashed" node has no groups, no log open and no tasks: it answers every request with an error, changes nothing,
//! and goes on telling who it is. When it is restored it starts from its data directory, as after a restart.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_wire::error::CallError;
use holdfast_wire::fault::{FaultOrder, FaultState};
use holdfast_wire::seam::{Gate, Net};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::file::{Delay, Files, SlowFiles};

/// What a crashed node answers.
pub const CRASHED: &str = "crashed by order of the fault API";
/// A crash or a restart that takes longer is an error to whoever ordered it.
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Ordered; requests are refused already.
    Crashing,
    Crashed,
    /// Restored, and opening its directory.
    Rising,
}

/// The faults of one node.
pub struct Faults {
    phase: watch::Sender<Phase>,
    /// As `phase` says, for those who only look.
    down: Arc<AtomicBool>,
    /// Ends what the present life of the node has under way.
    life: Mutex<CancellationToken>,
    gate: Gate,
    delay: Delay,
}

impl Default for Faults {
    fn default() -> Self {
        let (phase, down, life) = (watch::Sender::new(Phase::Running), Arc::default(), Mutex::default());
        Self { phase, down, life, gate: Gate::default(), delay: Delay::default() }
    }
}

impl Faults {
    /// The network as this node has it.
    pub fn net(&self, inner: Arc<dyn Net>) -> Arc<dyn Net> {
        self.gate.net(inner)
    }

    /// The disk as this node has it.
    pub fn files(&self, inner: Arc<dyn Files>) -> Arc<dyn Files> {
        Arc::new(SlowFiles::new(inner, self.delay.clone()))
    }

    /// Set while the node is crashed.
    pub fn down(&self) -> Arc<AtomicBool> {
        self.down.clone()
    }

    /// How it stands.
    pub fn state(&self) -> FaultState {
        let crashed = *self.phase.borrow() == Phase::Crashed;
        FaultState { crashed, cut: self.gate.cut(), slow_disk_ms: self.delay.ms() }
    }

    /// Carries an order out; returns when the node is as ordered.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the node did not get there in ten seconds.
    pub async fn obey(&self, order: FaultOrder) -> Result<FaultState, CallError> {
        if order != FaultOrder::Status {
            tracing::warn!(?order, "FAULT INJECTION: an order of the fault API is carried out");
        }
        match order {
            FaultOrder::Status => {}
            FaultOrder::Crash => {
                self.phase.send_if_modified(|phase| {
                    let runs = *phase == Phase::Running;
                    if runs {
                        *phase = Phase::Crashing;
                        self.down.store(true, Ordering::SeqCst);
                    }
                    runs
                });
                self.life.lock().cancel();
                self.reach(Phase::Crashed).await?;
            }
            FaultOrder::Restore => {
                self.gate.set([]);
                self.delay.set_ms(0);
                if *self.phase.borrow() != Phase::Running {
                    self.reach(Phase::Crashed).await?;
                    self.phase.send_replace(Phase::Rising);
                    self.reach(Phase::Running).await?;
                }
            }
            FaultOrder::Cut { addresses } => {
                let cut: BTreeSet<String> = self.gate.cut().into_iter().chain(addresses).collect();
                self.gate.set(cut);
            }
            FaultOrder::Heal { addresses } => {
                self.gate.set(self.gate.cut().into_iter().filter(|address| !addresses.contains(address)));
            }
            FaultOrder::SlowDisk { ms } => self.delay.set_ms(ms),
        }
        Ok(self.state())
    }

    async fn reach(&self, wanted: Phase) -> Result<(), CallError> {
        let mut phase = self.phase.subscribe();
        let reached = timeout(WITHIN, phase.wait_for(|phase| *phase == wanted)).await;
        let late = || CallError::Unavailable { reason: format!("the node is not as ordered after {WITHIN:?}") };
        reached.map(drop).map_err(|_| late())
    }

    /// Ends with the node's present life. An error at once while it is down.
    pub(super) fn life(&self) -> Result<CancellationToken, CallError> {
        let life = self.life.lock().clone();
        if self.down.load(Ordering::SeqCst) { Err(crashed()) } else { Ok(life) }
    }

    /// Waits until a crash is ordered.
    pub(super) async fn crash_ordered(&self) {
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Crashing).await;
    }

    /// The node has stopped; waits until it is restored.
    pub(super) async fn stay_down(&self) {
        self.phase.send_replace(Phase::Crashed);
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Rising).await;
    }

    /// The node's parts are open again: from here on it answers.
    pub(super) fn up(&self) {
        *self.life.lock() = CancellationToken::new();
        self.down.store(false, Ordering::SeqCst);
        self.phase.send_replace(Phase::Running);
    }

    /// Resolves when the node is no longer crashed.
    pub(super) fn risen(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut phase = self.phase.subscribe();
        async move {
            let _ = phase.wait_for(|phase| *phase == Phase::Running).await;
        }
    }
}

pub(super) fn crashed() -> CallError {
    CallError::Unavailable { reason: CRASHED.to_owned() }
}
