//! Reclaims blobs that no entry names any more, after a grace: those that the index put into its trash, and orphans of
//! uploads that were never committed. Leaders also have the index forget old trash and finished uploads, and let go of
//! objects that could have been brought back for long enough.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_wire::bucket::AckMode;
use holdfast_wire::id::{BlobId, GroupId};
use tokio::time::{Instant, sleep};

use super::heir::is_full;
use crate::group::Group;
use crate::index::command::Command;
use crate::node::Host;
use holdfast_wire::planted::Fault;

/// Orphans are looked for in every so many rounds.
const ORPHANS_EVERY: u64 = 20;
/// Trash rows are kept so long for nodes that are away; later, their copies are orphans.
const TRASH_MS: u64 = 24 * 3600 * 1000;
/// The grace while the disk is nearly full: a reader that opens its blob later than that asks another time.
const GRACE_WHEN_FULL_MS: u64 = 10_000;
/// Between looks while this node's disk is full: whoever deletes there waits for the room.
const EVERY_WHEN_FULL: Duration = Duration::from_secs(5);
/// The trash is gone through from its beginning in every so many rounds (clocks of leaders differ); in between only
/// what is new.
const AFRESH_EVERY: u64 = 240;
/// Rows and files looked at in one go.
const PAGE: usize = 1000;

/// What can be brought back takes this part of the disk at most, one of so many: beyond, the oldest goes first.
const KEPT_PART: u64 = 20;
/// Between two commands of one look: clients go first.
const PAUSE: Duration = Duration::from_millis(20);
/// How long one look may propose commands that let go of objects.
const FORGET_FOR: Duration = Duration::from_secs(10);

/// What was reclaimed since the start.
#[derive(Debug, Default)]
pub struct Collected {
    forgotten: AtomicU64,
    trash: AtomicU64,
    orphans: AtomicU64,
}

impl Collected {
    /// Objects that cannot be brought back any more.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Blobs removed that nothing named any more.
    pub fn trash(&self) -> u64 {
        self.trash.load(Ordering::Relaxed)
    }

    /// Blobs removed that nothing ever named.
    pub fn orphans(&self) -> u64 {
        self.orphans.load(Ordering::Relaxed)
    }
}

/// How far into the trash of each group everything is removed from this node.
type Emptied = HashMap<GroupId, (u64, BlobId)>;

/// Reclaims for ever.
pub async fn run(host: Arc<Host>) {
    let mut round = 0u64;
    let mut emptied = Emptied::new();
    loop {
        let careless = Fault::CollectsUploads.is_planted();
        let every = host.config().gc_every;
        sleep(if host.blobs().check_space().is_ok() { every } else { every.min(EVERY_WHEN_FULL) }).await;
        round += 1;
        if round.is_multiple_of(AFRESH_EVERY) {
            emptied.clear();
        }
        if host.holds_blobs() && host.blobs().check_space().is_ok() || !host.knows_the_time() {
            continue;
        }
        for group in host.groups() {
            if group.leads()
                && let Err(error) = forget(&host, &group).await
            {
                tracing::debug!(group = %group.id(), error, "objects that are gone stay for longer");
            }
            if let Err(error) = empty_trash(&host, &group, &mut emptied).await {
                tracing::warn!(group = %group.id(), error, "the trash was not emptied");
            }
            if (round.is_multiple_of(ORPHANS_EVERY) || careless)
                && let Err(error) = remove_orphans(&host, &group).await
            {
                tracing::warn!(group = %group.id(), error, "orphans were not removed");
            }
            if round.is_multiple_of(ORPHANS_EVERY) && group.leads() {
                let before_ms = host.now_ms().saturating_sub(TRASH_MS);
                let deadline = Instant::now() + Duration::from_secs(5);
                let collected = group.propose(None, Command::Collect { before_ms }, AckMode::Majority, deadline).await;
                if let Err(error) = collected {
                    tracing::debug!(group = %group.id(), %error, "housekeeping has to wait");
                }
            }
        }
    }
}

/// Lets go of objects that have been gone for longer than they are kept; of the oldest where all that is kept takes more
/// than its part of the disk; and of all of them where a member's disk is nearly full: whoever deletes there needs the
/// room.
async fn forget(host: &Host, group: &Group) -> Result<(), String> {
    let full = host.blobs().check_space().is_err() || a_member_is_full(host, group);
    let grace = if full { 0 } else { host.config().undelete.as_millis() as u64 };
    let overdue_ms = host.now_ms().saturating_sub(grace);
    let most = host.blobs().disk_total() / KEPT_PART / host.groups().len().max(1) as u64;
    let until = Instant::now() + FORGET_FOR;
    while Instant::now() < until {
        let (kept, reader) = (group.index().kept(), group.index().reader());
        let crowding = match kept.bytes.saturating_sub(most) {
            0 => None,
            excess => reader.crowding(excess).map_err(|error| error.to_string())?,
        };
        let before_ms = crowding.unwrap_or(0).max(overdue_ms);
        if !reader.is_forgettable(before_ms).map_err(|error| error.to_string())? {
            break;
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        let forgotten = group.propose(None, Command::Forget { before_ms }, AckMode::Majority, deadline).await;
        forgotten.map_err(|error| error.to_string())?;
        let gone = kept.objects.saturating_sub(group.index().kept().objects);
        host.collected().forgotten.fetch_add(gone, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Whether another member has told that its disk is as full as the blob store lets it become.
fn a_member_is_full(host: &Host, group: &Group) -> bool {
    let voters = group.status(0).voters;
    host.neighbours()
        .all()
        .iter()
        .any(|(heartbeat, _)| voters.contains(&heartbeat.node.id) && is_full(host, &heartbeat.load))
}

async fn empty_trash(host: &Host, group: &Group, emptied: &mut Emptied) -> Result<(), String> {
    let mut grace = host.config().gc_grace.as_millis() as u64;
    if host.blobs().check_space().is_err() {
        grace = grace.min(GRACE_WHEN_FULL_MS);
    }
    let before = host.now_ms().saturating_sub(grace);
    loop {
        let after = emptied.get(&group.id()).copied();
        let trash = group.index().trash(after, before, PAGE).map_err(|error| error.to_string())?;
        let Some(last) = trash.last().copied() else { return Ok(()) };
        for (_, blob) in trash {
            // It may have been named again: identical bytes never share an id, but a copy may have come in between.
            if group.index().references(blob).map_err(|error| error.to_string())? == 0 {
                host.blobs().remove(group.id(), blob).await.map_err(|error| error.to_string())?;
                host.collected().trash.fetch_add(1, Ordering::Relaxed);
            }
        }
        emptied.insert(group.id(), last);
    }
}

/// Removes blobs that no entry names and that are older than any upload can be. An index that cannot be read, or a
/// group that is behind, removes nothing.
async fn remove_orphans(host: &Host, group: &Group) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let index = group.read_index(deadline).await.map_err(|error| error.to_string())?;
    group.wait_applied(index, deadline).await.map_err(|error| error.to_string())?;
    let now = host.seams().clock.unix_millis();
    let upload_max = host.config().upload_max.as_millis() as u64;
    let mut after = None;
    loop {
        let page = host.blobs().list(group.id(), after, PAGE).await.map_err(|error| error.to_string())?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        for blob in page {
            let careless = Fault::CollectsUploads.is_planted();
            let old = now.saturating_sub(blob.stored_ms) > upload_max;
            if (careless || old && !host.staged().waits(blob.id))
                && group.index().references(blob.id).map_err(|error| error.to_string())? == 0
            {
                tracing::info!(group = %group.id(), blob = %blob.id, "removing an orphan");
                host.blobs().remove(group.id(), blob.id).await.map_err(|error| error.to_string())?;
                host.collected().orphans.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
