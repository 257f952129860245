//! Orders of the fault API, for testers. A node takes them only when it was started for that.

use serde::{Deserialize, Serialize};

/// The path of a [`FaultOrder`]; answered with a [`FaultAnswer`].
pub const FAULT: &str = "/fault";

/// What a node is to suffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultOrder {
    /// Nothing: only say how it stands.
    Status,
    /// Stop as a killed process does, but go on saying so.
    Crash,
    /// End every fault; a crashed node starts anew from its data directory.
    Restore,
    /// Neither send to these peer addresses nor hear their answers.
    Cut {
        /// `host:port` as the cluster dials them.
        addresses: Vec<String>,
    },
    /// Undo [`Cut`](Self::Cut) for these.
    Heal {
        /// `host:port`
        addresses: Vec<String>,
    },
    /// Let every sync of the disk take so much longer.
    SlowDisk {
        /// Milliseconds; 0 ends it.
        ms: u32,
    },
}

/// How it stands with a node's faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultState {
    /// Whether it is crashed.
    pub crashed: bool,
    /// Peer addresses that it is cut off from.
    pub cut: Vec<String>,
    /// What every sync takes longer, milliseconds.
    pub slow_disk_ms: u32,
}

/// A node's answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultAnswer {
    /// It was not started with `--enable-faults`.
    Refused,
    /// Carried out; how it stands now.
    State(FaultState),
}
