//! Fetches the blobs that the index names and this node lacks, or holds corrupt, from other voters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::transport::Target;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::blob::peer as blob_peer;
use crate::group::Group;
use crate::index::Effects;
use crate::node::Host;
use crate::service::upload;

/// Fetches side by side.
const PARALLEL: usize = 4;
/// A follower may still be receiving a blob when the entry that names it is applied: it is not fetched before this.
const SETTLE: Duration = Duration::from_millis(300);
/// Between looks whether it has come.
const LOOK: Duration = Duration::from_millis(100);
/// Between rounds of fetches that failed.
const AGAIN: Duration = Duration::from_millis(500);
/// Blobs looked at in one go when a whole group is compared with the disk.
const PAGE: usize = 1000;

/// What is to be fetched, and what was.
#[derive(Default)]
pub struct Repair {
    state: Mutex<State>,
    work: Notify,
    fetched: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Named by the index, not known to be here; and until when each may still be on its way here.
    wanted: BTreeMap<GroupId, BTreeMap<BlobId, Instant>>,
    /// Of those: here, but not as they were written.
    corrupt: BTreeSet<BlobId>,
    /// Where the next batch begins, counted over all that is wanted: what cannot be had now must not keep the rest back.
    begin: usize,
    /// Groups to be compared with the disk as a whole.
    rescan: BTreeSet<GroupId>,
}

/// One blob that is wanted.
struct Want {
    group: GroupId,
    blob: BlobId,
    corrupt: bool,
    /// Until then it may still be on its way here.
    until: Instant,
}

/// What came of looking for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Looked {
    /// It is here and sound, or nothing names it any more.
    Settled,
    /// It may be on its way here.
    Expected,
    /// Nobody could give it.
    Failed,
}

impl Repair {
    /// Blobs that a group waits for. A group that is still to be compared counts as one.
    pub fn missing(&self, group: GroupId) -> u64 {
        let state = self.state.lock();
        let wanted = state.wanted.get(&group).map_or(0, BTreeMap::len) as u64;
        wanted + u64::from(state.rescan.contains(&group))
    }

    /// Blobs fetched since the start.
    pub fn fetched(&self) -> u64 {
        self.fetched.load(Ordering::Relaxed)
    }

    /// An entry was applied.
    pub fn applied(&self, group: GroupId, effects: Effects) {
        if effects.everything {
            return self.rescan(group);
        }
        let mut state = self.state.lock();
        if let Some(wanted) = state.wanted.get_mut(&group) {
            for blob in &effects.released {
                wanted.remove(blob);
            }
        }
        if !effects.referenced.is_empty() {
            let until = Instant::now() + SETTLE;
            let named = effects.referenced.into_iter().map(|blob| (blob, until));
            state.wanted.entry(group).or_default().extend(named);
            drop(state);
            self.work.notify_one();
        }
    }

    /// Compares the whole group with the disk: after a start or a snapshot.
    pub fn rescan(&self, group: GroupId) {
        self.state.lock().rescan.insert(group);
        self.work.notify_one();
    }

    /// A blob was asked for and is not here.
    pub fn want(&self, group: GroupId, blob: BlobId) {
        self.state.lock().wanted.entry(group).or_default().entry(blob).or_insert_with(Instant::now);
        self.work.notify_one();
    }

    /// A blob is here, but not as it was written.
    fn corrupted(&self, group: GroupId, blob: BlobId) {
        let mut state = self.state.lock();
        state.corrupt.insert(blob);
        state.wanted.entry(group).or_default().entry(blob).or_insert_with(Instant::now);
    }

    fn here(&self, group: GroupId, blob: BlobId) {
        let mut state = self.state.lock();
        state.corrupt.remove(&blob);
        if let Some(wanted) = state.wanted.get_mut(&group) {
            wanted.remove(&blob);
        }
    }

    fn batch(&self) -> VecDeque<Want> {
        let mut state = self.state.lock();
        let total: usize = state.wanted.values().map(BTreeMap::len).sum();
        if state.begin >= total {
            state.begin = 0;
        }
        let all =
            state.wanted.iter().flat_map(|(group, blobs)| blobs.iter().map(|(blob, until)| (*group, *blob, *until)));
        let batch = all.skip(state.begin).take(PAGE).map(|(group, blob, until)| {
            let corrupt = state.corrupt.contains(&blob);
            Want { group, blob, corrupt, until }
        });
        let batch = batch.collect();
        state.begin += PAGE;
        batch
    }

    fn next_rescan(&self) -> Option<GroupId> {
        self.state.lock().rescan.first().copied()
    }

    fn rescanned(&self, group: GroupId) {
        self.state.lock().rescan.remove(&group);
    }
}

/// Works for ever on what is wanted.
pub async fn run(host: Arc<Host>) {
    loop {
        while let Some(group) = host.repair().next_rescan() {
            if let Ok(group) = host.group(group)
                && let Err(error) = compare(&host, &group).await
            {
                tracing::warn!(group = %group.id(), error, "the blobs of a group could not be compared with the disk");
                sleep(AGAIN).await;
                continue;
            }
            host.repair().rescanned(group);
        }
        for (group, blob) in host.blobs().damaged() {
            host.repair().corrupted(group, blob);
        }
        let batch = host.repair().batch();
        if batch.is_empty() {
            // Work may come between the look and the wait: the permit of `notify_one` is kept.
            tokio::select! {
                () = host.repair().work.notified() => {}
                () = host.blobs().damage_found() => {}
            }
            continue;
        }
        match fetch_all(&host, batch).await {
            Looked::Settled => {}
            Looked::Expected => sleep(LOOK).await,
            Looked::Failed => drop(timeout(AGAIN, host.repair().work.notified()).await),
        }
    }
}

/// Wants every blob that the group's index names and the disk lacks.
async fn compare(host: &Host, group: &Group) -> Result<(), String> {
    let mut after = None;
    loop {
        let page = group.index().blobs(after, PAGE).map_err(|error| error.to_string())?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (blob, len) in page {
            match upload::held_len(host, group.id(), blob).await {
                Ok(Some(held)) if held == len => {}
                Ok(None) => host.repair().want(group.id(), blob),
                Ok(Some(_)) | Err(_) => host.repair().corrupted(group.id(), blob),
            }
        }
    }
}

/// Fetches a batch, some at a time; says what came of the worst of it.
async fn fetch_all(host: &Host, mut batch: VecDeque<Want>) -> Looked {
    let mut running = FuturesUnordered::new();
    let mut worst = Looked::Settled;
    loop {
        while running.len() < PARALLEL
            && let Some(want) = batch.pop_front()
        {
            running.push(async move {
                let looked = fetch_one(host, &want).await;
                if looked == Looked::Settled {
                    host.repair().here(want.group, want.blob);
                }
                looked
            });
        }
        match running.next().await {
            Some(looked) => worst = worst.max(looked),
            None => return worst,
        }
    }
}

/// Makes one blob be here and sound, or finds that nothing names it any more.
async fn fetch_one(host: &Host, want: &Want) -> Looked {
    let Want { group: id, blob, corrupt, until } = *want;
    let dropped = async || match !corrupt || host.blobs().remove(id, blob).await.is_ok() {
        true => Looked::Settled,
        false => Looked::Failed,
    };
    let Ok(group) = host.group(id) else { return dropped().await };
    match group.index().references(blob) {
        // Nobody will ask for it; a bad copy need not wait for the collector.
        Ok(0) => return dropped().await,
        Ok(_) => {}
        Err(_) => return Looked::Failed,
    }
    if !corrupt {
        if matches!(upload::held_len(host, id, blob).await, Ok(Some(_))) {
            return Looked::Settled;
        }
        if Instant::now() < until {
            return Looked::Expected;
        }
    }
    let voters = group.status(0).voters;
    let alive = voters.into_iter().filter(|voter| *voter != host.id() && host.neighbours().alive(*voter).is_some());
    let targets: Vec<_> = alive.filter_map(|voter| Some((voter, host.peers().target(voter)?))).collect();
    if corrupt {
        let targets: Vec<Target> = targets.into_iter().map(|(_, target)| target).collect();
        return match blob_peer::repair(host.blobs(), host.client(), &targets, id, blob).await {
            Ok(replaced) => {
                tracing::info!(group = %id, %blob, replaced, "a corrupt blob was seen to");
                Looked::Settled
            }
            Err(error) => {
                tracing::warn!(group = %id, %blob, %error, "a corrupt blob could not be replaced yet");
                Looked::Failed
            }
        };
    }
    for (voter, target) in targets {
        match blob_peer::fetch(host.blobs(), host.client(), &target, id, blob).await {
            Ok(bytes) => {
                tracing::debug!(group = %id, %blob, from = %voter, bytes, "fetched a blob");
                host.repair().fetched.fetch_add(1, Ordering::Relaxed);
                return Looked::Settled;
            }
            Err(error) => tracing::debug!(group = %id, %blob, from = %voter, %error, "a blob was not fetched"),
        }
    }
    Looked::Failed
}
