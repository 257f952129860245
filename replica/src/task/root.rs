//! What root's leader sees to: the first layout, the shards' ranges, buckets whose creation, deletion or change was
//! interrupted, nodes whose address has changed.

use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::bucket::BucketState;
use holdfast_wire::id::GroupId;
use tokio::time::{Instant, sleep, timeout};

use crate::index::command::{Command, RootCommand};
use crate::node::Host;
use crate::service::{quota, root as service};

/// Between looks.
const EVERY: Duration = Duration::from_millis(500);
/// An interrupted operation may still be under way in the hands of a request: left alone for so long.
const INTERRUPTED_AFTER: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(10);

/// Looks after root while this node leads it.
pub async fn run(host: Arc<Host>) {
    let mut state = Seen::default();
    loop {
        let leads = host.group(GroupId::ROOT).is_ok_and(|root| root.leads());
        if !leads {
            state = Seen::default();
        } else if let Err(error) = look(&host, &mut state).await {
            tracing::debug!(error, "root's housekeeping has to wait");
        }
        let pause = if state.founded { EVERY } else { Duration::from_millis(20) };
        let _ = timeout(pause, host.root_changed().notified()).await;
        sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Default)]
struct Seen {
    founded: bool,
    ranges: bool,
    /// Since when each bucket is in a state between, by id.
    between: std::collections::BTreeMap<u64, Instant>,
    /// All shards have been told all buckets once since this node leads.
    told: bool,
}

async fn look(host: &Host, seen: &mut Seen) -> Result<(), String> {
    let root = host.group(GroupId::ROOT).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + WITHIN;
    let index = root.read_index(deadline).await.map_err(|error| error.to_string())?;
    root.wait_applied(index, deadline).await.map_err(|error| error.to_string())?;

    if !seen.founded {
        if root.index().layout().version == 0 {
            let founding = host.identity().founding.as_ref().ok_or("root is empty and this node did not found it")?;
            let command = RootCommand::Genesis {
                cluster: host.identity().cluster,
                layout: founding.layout.clone(),
                replicas: founding.replicas,
            };
            service::propose(host, None, command, deadline).await.map_err(|error| error.to_string())?;
        }
        seen.founded = true;
    }
    if !seen.ranges {
        let layout = root.index().layout();
        for place in layout.map.shards() {
            if let Some(range) = place.range {
                let command = Command::SetRange { range, epoch: place.epoch };
                service::push(host, place.group, &command, deadline).await.map_err(|error| error.to_string())?;
            }
        }
        seen.ranges = true;
    }
    follow_nodes(host, deadline).await?;
    finish_buckets(host, seen, deadline).await
}

/// Takes over addresses and versions that nodes tell of themselves.
async fn follow_nodes(host: &Host, deadline: Instant) -> Result<(), String> {
    let layout = host.layout().borrow().clone();
    for node in &layout.nodes {
        let told = if node.id == host.id() {
            host.info()
        } else {
            match host.neighbours().alive(node.id) {
                Some(heartbeat) => heartbeat.node.clone(),
                None => continue,
            }
        };
        if told != *node {
            let command = RootCommand::UpdateNode { node: told };
            service::propose(host, None, command, deadline).await.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Finishes what was interrupted, and once after a change of leader tells all shards all buckets.
async fn finish_buckets(host: &Host, seen: &mut Seen, deadline: Instant) -> Result<(), String> {
    let root = host.group(GroupId::ROOT).map_err(|error| error.to_string())?;
    let buckets = root.index().buckets();
    seen.between.retain(|id, _| buckets.iter().any(|bucket| bucket.id.0 == *id && bucket.state != BucketState::Active));
    for bucket in buckets {
        if bucket.state == BucketState::Active {
            if !seen.told {
                service::install_everywhere(host, &bucket, deadline).await.map_err(|error| error.to_string())?;
                if bucket.configuration.quota.is_some() {
                    quota::share_out(host, bucket.id, None, deadline).await.map_err(|error| error.to_string())?;
                }
            }
            continue;
        }
        let since = *seen.between.entry(bucket.id.0).or_insert_with(Instant::now);
        if since.elapsed() < INTERRUPTED_AFTER {
            continue;
        }
        tracing::info!(bucket = %bucket.name, state = ?bucket.state, "finishing an interrupted operation");
        match bucket.state {
            // Whoever asked for it does not know whether it came to be; that it did is as good an answer as any, and taking
            // it back could meet a repetition of the request half way.
            BucketState::Creating => {
                let bucket = (*bucket).clone();
                service::activate(host, bucket, deadline).await.map_err(|error| error.to_string())?;
            }
            BucketState::Deleting => {
                service::finish_delete(host, (*bucket).clone(), deadline).await.map_err(|error| error.to_string())?;
            }
            BucketState::Active => {}
        }
    }
    seen.told = true;
    Ok(())
}
