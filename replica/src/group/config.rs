//! Raft's timings and the settings that our promises rest on.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// Raft's timings in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Between heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest election timeout.
    pub election_min_ms: u64,
    /// Longest election timeout; also the leader's lease and the wait before a restarted member takes part.
    pub election_max_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 300, election_max_ms: 500 }
    }
}

impl Timings {
    /// How long a restarted member stays silent: it may have granted a lease that it has forgotten.
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }
}

/// Two safeguards without which linearizable reads go stale. On, always; only the tests that prove them turn one off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    /// A restarted leader leads only after an election.
    pub elect_after_restart: bool,
    /// A restarted member waits out the lease that it may have granted before it takes part.
    pub silence_after_restart: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self { elect_after_restart: true, silence_after_restart: true }
    }
}

/// openraft's configuration.
///
/// `enable_leader_restore` stays off: a restarted leader that leads on without an election serves stale linearizable
/// reads. Snapshots and purges are triggered by our own task, by bytes and entries.
pub fn raft_config(timings: &Timings, guards: &Guards) -> Arc<Config> {
    let config = Config {
        cluster_name: "holdfast".to_owned(),
        heartbeat_interval: timings.heartbeat_ms,
        election_timeout_min: timings.election_min_ms,
        election_timeout_max: timings.election_max_ms,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(!guards.elect_after_restart),
        max_payload_entries: 1024,
        snapshot_policy: SnapshotPolicy::Never,
        // Any smaller number has openraft purge on its own behind a snapshot; our task alone decides.
        max_in_snapshot_log_to_keep: u64::MAX,
        replication_lag_threshold: 10_000_000,
        api_batch_linger_ms: 0,
        backoff: "50ms 100ms 200ms ...1s".to_owned(),
        ..Config::default()
    };
    Arc::new(config.validate().expect("constant settings and ordered timings are valid"))
}
