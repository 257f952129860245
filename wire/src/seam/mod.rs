//! The edges of a process: everything outside it comes in through these, so that a simulation can replace them.
//!
//! Monotonic time is `tokio::time` (a simulator pauses and steps it); files are a seam of the replica alone
//! (`holdfast_replica::file`).

mod clock;
mod gated;
mod memory;
mod net;
mod random;

use std::sync::Arc;

pub use clock::{Clock, SystemClock};
pub use gated::Gate;
pub use memory::MemoryNet;
pub use net::{Connection, Listener, Net, TcpNet};
pub use random::{OsRandom, Random};

/// The outside world as one process sees it.
#[derive(Clone)]
pub struct Seams {
    /// Listening and connecting.
    pub net: Arc<dyn Net>,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub random: Arc<dyn Random>,
}

impl Seams {
    /// The real world: TCP, the system clock, the operating system's randomness.
    pub fn real() -> Self {
        Self { net: Arc::new(TcpNet), clock: Arc::new(SystemClock), random: Arc::new(OsRandom) }
    }
}
