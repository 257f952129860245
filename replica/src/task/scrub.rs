//! Reads every blob that the index names, block by block, so that a copy that has rotted is found while others are good.
//! What it finds bad or missing goes to [`repair`](super::repair). Then it reads the log's entries and the index's files
//! again, which nobody else may do before the restart that needs them: what is damaged there is told, and the node is to
//! be replaced (its directory emptied, from which its peers make it whole).
//!
//! It runs by schedule or by order, no faster than it is allowed to, and goes on after a restart where it was: its place
//! and its last report are in `DATA/scrub`.

mod stored;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::scrub::{ScrubOrder, ScrubReport, ScrubState};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::file;
use crate::group::Group;
use crate::node::Host;

/// Its place is kept after so many blobs.
const SAVE_EVERY: u64 = 200;
/// Blobs looked up in the index in one go.
const PAGE: usize = 200;
/// Between looks whether one is due.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The scrub of one node.
#[derive(Default)]
pub struct Scrub {
    kept: Mutex<Kept>,
    ordered: Notify,
}

/// What is kept between starts.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Kept {
    running: Option<ScrubReport>,
    last: Option<ScrubReport>,
    /// The last blob that was looked at, while one is under way.
    at: Option<(GroupId, BlobId)>,
    /// What repair had done when it began; of this process alone.
    #[serde(skip)]
    repaired_before: u64,
}

/// As it was kept before logs and indexes were read, too.
#[derive(Clone, Copy, Deserialize)]
struct KeptBefore {
    running: Option<ReportBefore>,
    last: Option<ReportBefore>,
    at: Option<(GroupId, BlobId)>,
}

#[derive(Clone, Copy, Deserialize)]
struct ReportBefore {
    started_ms: u64,
    finished_ms: u64,
    blobs: u64,
    bytes: u64,
    corrupt: u64,
    missing: u64,
}

impl From<ReportBefore> for ScrubReport {
    fn from(before: ReportBefore) -> Self {
        let ReportBefore { started_ms, finished_ms, blobs, bytes, corrupt, missing } = before;
        Self { started_ms, finished_ms, blobs, bytes, corrupt, missing, ..Self::default() }
    }
}

/// The first byte of the file; before there was one, it began with whether a scrub was under way: 0 or 1.
const VERSION: u8 = 2;

impl Kept {
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("numbers are always encodable")
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => {
                let KeptBefore { running, last, at } = postcard::from_bytes(bytes).ok()?;
                Some(Self { running: running.map(Into::into), last: last.map(Into::into), at, ..Self::default() })
            }
        }
    }
}

impl Scrub {
    /// Carries an order out and says how it stands.
    pub fn obey(&self, order: ScrubOrder, now_ms: u64) -> ScrubState {
        let mut kept = self.kept.lock();
        if order == ScrubOrder::Start && kept.running.is_none() {
            kept.running = Some(ScrubReport { started_ms: now_ms, ..ScrubReport::default() });
            kept.at = None;
            self.ordered.notify_one();
        }
        ScrubState { running: kept.running, last: kept.last }
    }

    fn due(&self, now_ms: u64, every: Duration) -> bool {
        let kept = self.kept.lock();
        // A new node has nothing to look at yet: its first time comes when a whole interval has passed.
        kept.running.is_none()
            && kept.last.is_some_and(|last| now_ms.saturating_sub(last.finished_ms) >= every.as_millis() as u64)
    }

    /// Adds to what the one under way has found.
    fn note(&self, change: impl FnOnce(&mut ScrubReport)) {
        if let Some(running) = &mut self.kept.lock().running {
            change(running);
        }
    }

    fn count(&self, at: (GroupId, BlobId), change: impl FnOnce(&mut ScrubReport)) -> u64 {
        let mut kept = self.kept.lock();
        kept.at = Some(at);
        let Some(running) = &mut kept.running else { return 0 };
        change(running);
        running.blobs + running.missing + running.corrupt
    }
}

fn path(host: &Host) -> PathBuf {
    host.config().data.join("scrub")
}

fn save(host: &Host) {
    let kept = *host.scrub().kept.lock();
    if let Err(error) = file::replace(host.files(), &path(host), &kept.encode()) {
        tracing::warn!(%error, "the place of the scrub was not kept: after a restart it goes on further back");
    }
}

fn load(host: &Host) {
    let found = file::read(host.files(), &path(host)).ok().flatten();
    let now = host.seams().clock.unix_millis();
    // Without a report this is a new directory, or the file is damaged: as if one had just ended with nothing to see.
    let kept = found.and_then(|bytes| Kept::decode(&bytes)).unwrap_or(Kept {
        last: Some(ScrubReport { started_ms: now, finished_ms: now, ..ScrubReport::default() }),
        ..Kept::default()
    });
    *host.scrub().kept.lock() = kept;
}

/// Scrubs for ever, when it is due or ordered.
pub async fn run(host: Arc<Host>) {
    load(&host);
    save(&host);
    loop {
        let now = host.seams().clock.unix_millis();
        if host.scrub().due(now, host.config().scrub_every) {
            host.scrub().obey(ScrubOrder::Start, now);
        }
        if host.scrub().kept.lock().running.is_some() {
            scrub(&host).await;
        }
        let _ = timeout(LOOK_EVERY, host.scrub().ordered.notified()).await;
    }
}

async fn scrub(host: &Host) {
    let begin = host.scrub().kept.lock().at;
    tracing::info!(resumed = begin.is_some(), "a scrub has begun");
    let mut groups = host.groups();
    groups.sort_by_key(|group| group.id());
    if begin.is_none() {
        let total = groups.iter().map(|group| named_bytes(group)).sum();
        host.scrub().kept.lock().repaired_before = repaired(host);
        host.scrub().note(|report| report.total_bytes = total);
    }
    for group in &groups {
        let after = match begin {
            Some((of, _)) if group.id() < of => continue,
            Some((of, blob)) if group.id() == of => Some(blob),
            _ => None,
        };
        if let Err(error) = scrub_group(host, group, after).await {
            tracing::warn!(group = %group.id(), error, "a group could not be scrubbed");
        }
    }
    stored::log(host, &groups).await;
    stored::index(host).await;
    let report = {
        let mut kept = host.scrub().kept.lock();
        let (finished_ms, repaired) = (host.seams().clock.unix_millis(), repaired(host) - kept.repaired_before);
        let report = kept.running.take().map(|report| ScrubReport { finished_ms, repaired, ..report });
        (kept.last, kept.at) = (report, None);
        report
    };
    save(host);
    tracing::info!(?report, "a scrub has ended");
}

/// Blobs that repair has made whole or fetched since the start of this process.
fn repaired(host: &Host) -> u64 {
    host.blobs().stats().repaired + host.repair().fetched()
}

/// Bytes of the blobs that a group names.
fn named_bytes(group: &Group) -> u64 {
    let (mut sum, mut after) = (0, None);
    while let Ok(page) = group.index().blobs(after, PAGE) {
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        sum += page.iter().map(|(_, len)| len).sum::<u64>();
    }
    sum
}

async fn scrub_group(host: &Host, group: &Group, mut after: Option<BlobId>) -> Result<(), String> {
    loop {
        let page = group.index().blobs(after, PAGE).map_err(|error| error.to_string())?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (blob, len) in page {
            let began = Instant::now();
            let at = (group.id(), blob);
            let done = match host.blobs().verify(group.id(), blob).await {
                Ok(Some(held)) if held == len => host.scrub().count(at, |report| {
                    report.blobs += 1;
                    report.bytes += len;
                }),
                // It may have been removed since the index was read: repair finds out.
                Ok(None) => {
                    host.repair().want(group.id(), blob);
                    host.scrub().count(at, |report| report.missing += 1)
                }
                // The store has told repair.
                Ok(Some(_)) | Err(_) => host.scrub().count(at, |report| report.corrupt += 1),
            };
            if done.is_multiple_of(SAVE_EVERY) {
                save(host);
            }
            let allowed = Duration::from_secs_f64(len as f64 / host.config().scrub_bytes_per_second.max(1) as f64);
            sleep(allowed.saturating_sub(began.elapsed())).await;
        }
    }
}
