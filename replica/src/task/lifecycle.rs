//! Carries out lifecycle rules: each group's leader has the state machine look at what is due by the cluster's clock
//! (`node/clock.rs`), a few rows at a time.
//! How far it has come is in the state machine, so a new leader goes on where the last one stopped, and nothing is done
//! twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_wire::bucket::AckMode;
use holdfast_wire::due::LifecycleReport;
use holdfast_wire::error::CallError;
use holdfast_wire::id::GroupId;
use tokio::time::{Instant, sleep};

use crate::group::Group;
use crate::index::command::{Command, Expired, Outcome};
use crate::node::Host;

/// Between looks.
const EVERY: Duration = Duration::from_secs(1);
/// Between two commands of one look: clients go first.
const PAUSE: Duration = Duration::from_millis(50);
/// Rows that one command looks at.
const EXPIRE_AT_ONCE: u32 = 100;
/// Rows that one command makes anew after the rules have changed.
const REINDEX_AT_ONCE: u32 = 500;
const WITHIN: Duration = Duration::from_secs(5);

/// What was done since the start, and when last.
#[derive(Debug, Default)]
pub struct Done {
    objects: AtomicU64,
    versions: AtomicU64,
    markers: AtomicU64,
    uploads: AtomicU64,
    last_ms: AtomicU64,
}

impl Done {
    fn note(&self, expired: &Expired, now_ms: u64) {
        self.objects.fetch_add(expired.objects.into(), Ordering::Relaxed);
        self.versions.fetch_add(expired.versions.into(), Ordering::Relaxed);
        self.markers.fetch_add(expired.markers.into(), Ordering::Relaxed);
        self.uploads.fetch_add(expired.uploads.into(), Ordering::Relaxed);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The numbers now.
    pub fn report(&self) -> LifecycleReport {
        LifecycleReport {
            objects: self.objects.load(Ordering::Relaxed),
            versions: self.versions.load(Ordering::Relaxed),
            markers: self.markers.load(Ordering::Relaxed),
            uploads: self.uploads.load(Ordering::Relaxed),
            last_ms: self.last_ms.load(Ordering::Relaxed),
        }
    }
}

/// Looks after the groups that this node leads.
pub async fn run(host: Arc<Host>) {
    loop {
        sleep(EVERY).await;
        if !host.knows_the_time() {
            continue;
        }
        for group in host.groups() {
            if group.id() != GroupId::ROOT
                && group.leads()
                && let Err(error) = look(&host, &group).await
            {
                tracing::debug!(group = %group.id(), %error, "lifecycle rules have to wait");
            }
        }
    }
}

async fn look(host: &Host, group: &Group) -> Result<(), CallError> {
    let failed = |error: crate::index::IndexError| CallError::Unavailable { reason: error.to_string() };
    while let Some(bucket) = group.index().reader().unindexed().map_err(failed)? {
        propose(group, Command::Reindex { bucket, limit: REINDEX_AT_ONCE }).await?;
        sleep(PAUSE).await;
    }
    loop {
        let now_ms = host.now_ms();
        if !group.index().reader().is_due(now_ms).map_err(failed)? {
            return Ok(());
        }
        if let Outcome::Expired(expired) = propose(group, Command::Expire { limit: EXPIRE_AT_ONCE }).await? {
            host.lifecycle().note(&expired, now_ms);
        }
        sleep(PAUSE).await;
    }
}

async fn propose(group: &Group, command: Command) -> Result<Outcome, CallError> {
    Ok(group.propose(None, command, AckMode::Majority, Instant::now() + WITHIN).await?.outcome)
}
