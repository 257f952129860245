//! Which faults a run has.

use std::fmt;
use std::time::Duration;

/// Which faults a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Any of the others that leave every disk readable, also while others last.
    Mixed,
    /// Processes die and come back.
    Kill,
    /// Machines lose their power, one, two or all at once.
    Power,
    /// Links are cut, both ways and one way, leaders from the other replicas alone, and gateways from replicas.
    Partition,
    /// Processes are paused.
    Pause,
    /// Latency and loss.
    Weather,
    /// Disks fill up, one or all, or fail to sync.
    Disk,
    /// Copies of blobs rot.
    Rot,
    /// Leaderships are handed over all the time.
    Transfer,
    /// Machines lose their power in the moment of an election.
    Election,
    /// Half of the writes ask for the leader's word alone, and leaders die.
    Early,
    /// The collector runs every 25 milliseconds, among the faults of [`Mixed`](Self::Mixed).
    Collect,
    /// Four nodes, of which one after the other is drained, among kills and partitions.
    Members,
    /// A bit of a log flips while its machine is off.
    LogRot,
    /// A replica loses its disk, and others are killed, paused and cut off while it gets everything back.
    Wipe,
    /// Nothing: the workload alone.
    Calm,
    /// Wall clocks jump by up to an hour and every clock goes up to 5 % too fast or too slow, among kills and partitions.
    Clocks,
    /// Bytes of blobs cannot be read any more (`EIO`), among kills.
    Latent,
    /// Three nodes become five, among kills, cuts and power cuts.
    Grow,
    /// Objects are deleted and overwritten and brought back, with a collector that never rests.
    Undelete,
}

/// What [`Scenario::Mixed`] draws from.
const SIMPLE: [Scenario; 9] = [
    Scenario::Kill,
    Scenario::Power,
    Scenario::Partition,
    Scenario::Pause,
    Scenario::Weather,
    Scenario::Disk,
    Scenario::Rot,
    Scenario::Transfer,
    Scenario::Kill,
];

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Mixed,
        Self::Kill,
        Self::Power,
        Self::Partition,
        Self::Pause,
        Self::Weather,
        Self::Disk,
        Self::Rot,
        Self::Transfer,
        Self::Election,
        Self::Early,
        Self::Collect,
        Self::Members,
        Self::LogRot,
        Self::Wipe,
        Self::Calm,
        Self::Clocks,
        Self::Latent,
        Self::Grow,
        Self::Undelete,
    ];

    /// By its name.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scenario| scenario.to_string() == text)
    }

    /// The faults that are drawn one after the other.
    pub fn strikes(self) -> Vec<Self> {
        match self {
            Self::Mixed => SIMPLE.to_vec(),
            // Rot apart, which the collector has nothing to do with.
            Self::Collect => vec![Self::Kill, Self::Power, Self::Partition, Self::Weather, Self::Transfer],
            Self::Members => vec![Self::Members, Self::Members, Self::Kill, Self::Partition, Self::Power],
            Self::Early => vec![Self::Early, Self::Early, Self::Partition],
            // Without an election for a while there is none to wait for.
            Self::Election => vec![Self::Early, Self::Transfer],
            Self::Clocks => vec![Self::Clocks, Self::Clocks, Self::Kill, Self::Partition, Self::Transfer],
            Self::Latent => vec![Self::Latent, Self::Latent, Self::Kill],
            Self::Grow => vec![Self::Kill, Self::Partition, Self::Power, Self::Transfer],
            Self::Wipe => vec![Self::Kill, Self::Kill, Self::Partition, Self::Pause],
            Self::Undelete => vec![Self::Kill, Self::Power, Self::Partition, Self::Weather, Self::Transfer],
            one => vec![one],
        }
    }

    /// So many nodes, if that is enough for the scenario.
    pub fn nodes(self, asked: usize) -> usize {
        if self == Self::Members { asked.max(4) } else { asked }
    }

    /// Between two rounds of the collector.
    pub fn collects_every(self) -> Duration {
        match self {
            Self::Collect | Self::Undelete => Duration::from_millis(25),
            Self::Wipe | Self::Calm => Duration::from_secs(15),
            _ => Duration::from_millis(700),
        }
    }

    /// How old bytes without an entry may become: longer than any request here lasts, where clocks do not jump.
    pub fn upload_max(self) -> Duration {
        match self {
            Self::Collect => Duration::from_secs(15),
            _ => Duration::from_secs(24 * 3600),
        }
    }

    /// Whether copies of blobs go bad.
    pub fn rots(self) -> bool {
        self.strikes().iter().any(|strike| matches!(strike, Self::Rot | Self::Latent))
    }

    /// Whether clocks drift.
    pub fn drifts(self) -> bool {
        self == Self::Clocks
    }

    /// So many voters every group should have.
    pub fn copies(self) -> u8 {
        if self == Self::Grow { 5 } else { 3 }
    }

    /// Whether large bodies are needed.
    pub fn needs_blobs(self) -> bool {
        matches!(self, Self::Rot | Self::Collect | Self::Latent)
    }

    /// Whether one fault may begin while another lasts.
    pub fn overlaps(self) -> bool {
        self == Self::Mixed
    }

    /// Whether members keep their logs.
    pub fn keeps_logs(self) -> bool {
        !matches!(self, Self::LogRot | Self::Wipe)
    }

    /// Whether every copy that a majority had stays readable: nothing rots, nobody loses a disk, and nothing moves.
    pub fn keeps_copies(self) -> bool {
        !self.rots() && !matches!(self, Self::Members | Self::LogRot | Self::Wipe | Self::Grow)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}
