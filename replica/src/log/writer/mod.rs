//! The one task that writes: takes what waits, writes it as one batch, syncs once, and tells everybody in order.

mod segments;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use holdfast_wire::id::GroupId;
use holdfast_wire::planted::Fault;
use tokio::time::{Instant, sleep};

use self::segments::{chore, until};
use super::group::Group;
use super::queue::{Op, What};
use super::record::{BLOCK, Body, Encoder, SMALL_RECORD, Start, VERSION};
use super::segment::Segment;
use super::{Failure, Held, Place, Shared};
use crate::file::Lane;

/// A batch ends at this many bytes, unless one thing alone is larger.
const BATCH_BYTES: u64 = 4 << 20;
/// The first segment of a log; each next one is twice as large until `segment_bytes`.
const FIRST_SEGMENT: u64 = 1 << 20;
/// Segments that wait for their use; more are removed.
const SPARES: usize = 3;
/// After this long without a batch, a mark proves that the last one was synced: from then on damage in it is told from
/// a torn tail.
const QUIET: Duration = Duration::from_secs(1);
/// How long a full disk is left alone.
const FULL: Duration = Duration::from_millis(200);

/// What recovery found beside the groups.
pub struct Found {
    pub spares: VecDeque<Segment>,
    pub end: u64,
    pub batch: u64,
}

/// Work on files that are not being written to; at most one at a time, so that generations are prepared in order.
type Chore = BoxFuture<'static, io::Result<Option<Segment>>>;

/// The writer's state.
pub struct Writer {
    shared: Arc<Shared>,
    /// Groups that the log has told of, in its order; each new segment names them all.
    known: BTreeMap<GroupId, Arc<Group>>,
    current: Arc<Segment>,
    /// Set until the current segment has its first batch.
    start: Option<Start>,
    /// Bytes used in the current segment.
    end: u64,
    /// The last durable batch.
    batch: u64,
    /// The number of the next one.
    next: u64,
    /// The batch that started the current segment.
    started: u64,
    marked: bool,
    spares: VecDeque<Segment>,
    freed: VecDeque<Arc<Segment>>,
    generation: u64,
    lane: Lane,
    files_lane: Lane,
    chore: Option<Chore>,
    retry: Option<Instant>,
    buffer: Vec<u8>,
    /// What was written lately and is still in memory: group, last index, bytes.
    recent: VecDeque<(Arc<Group>, u64, u64)>,
    recent_bytes: u64,
}

impl Writer {
    /// Takes up the log where recovery found its end, and proves that end with a batch of its own.
    pub async fn start(shared: Arc<Shared>, lane: Lane, found: Found) -> io::Result<Self> {
        let files_lane = shared.files.lane("log-files");
        let known = shared.groups.lock().clone();
        let last = shared.segments.lock().last_key_value().map(|(_, held)| held.segment.clone());
        let (mut spares, short): (VecDeque<_>, VecDeque<_>) =
            found.spares.into_iter().partition(|spare| spare.len >= FIRST_SEGMENT.min(shared.options.segment_bytes));
        if !short.is_empty() {
            // Half-made. Their removal must be durable before a later generation is started.
            for half in short {
                shared.files.remove_file(&half.path)?;
            }
            shared.files.sync_dir(&shared.dir)?;
        }
        let highest = spares.back().map_or(0, |spare| spare.generation);
        let mut generation = highest.max(last.as_ref().map_or(0, |last| last.generation));
        let fits = last.filter(|last| found.end + BLOCK <= last.len);
        let resumes = fits.is_some();
        let previous = shared.segments.lock().last_key_value().map_or(0, |(generation, _)| *generation);
        let current = match fits {
            Some(last) => last,
            None => {
                let segment = match spares.pop_front() {
                    Some(spare) => spare,
                    None => {
                        generation += 1;
                        let (shared, number) = (shared.clone(), generation);
                        let len = FIRST_SEGMENT.min(shared.options.segment_bytes);
                        lane.run(move || Segment::create(&*shared.files, &shared.dir, number, shared.options.salt, len))
                            .await?
                    }
                };
                Arc::new(segment)
            }
        };
        let start = (!resumes).then(|| Start {
            version: VERSION,
            previous,
            previous_end: found.end,
            previous_batch: found.batch,
            len: current.len,
        });
        let mut writer = Self {
            known,
            current,
            start,
            end: if resumes { found.end } else { 0 },
            batch: found.batch,
            // The number behind the last intact batch may stand on a torn one.
            next: found.batch + 2,
            started: found.batch,
            marked: true,
            spares,
            freed: VecDeque::new(),
            generation,
            lane,
            files_lane,
            chore: None,
            retry: None,
            buffer: Vec::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            shared,
        };
        let encoder = writer.encoder();
        writer.write(encoder, if resumes { Body::Resume } else { Body::Mark }).await?;
        writer.reclaim();
        Ok(writer)
    }

    /// Writes until the log is closed or fails.
    pub async fn run(mut self) {
        if let Err(error) = self.serve().await {
            tracing::error!(%error, dir = %self.shared.dir.display(), "the log has failed");
            let failure = Failure::new(&error);
            self.shared.queue.fail(&failure);
            self.shared.failed.send_replace(Some(failure));
        }
    }

    async fn serve(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        loop {
            self.poll_chore()?;
            let retry = self.retry;
            tokio::select! {
                biased;
                ops = shared.queue.next(BATCH_BYTES) => match ops {
                    Some(ops) => self.round(ops).await?,
                    None => return self.finish().await,
                },
                done = chore(&mut self.chore) => self.end_chore(done)?,
                () = until(retry) => self.retry = None,
                () = sleep(QUIET), if !self.marked => self.mark().await?,
            }
        }
    }

    async fn finish(&mut self) -> io::Result<()> {
        if !self.marked && self.end + BLOCK <= self.current.len {
            self.mark().await?;
        }
        if let Some(running) = self.chore.take() {
            // Half-made segments are no harm, but a file must not change behind the back of whoever opens next.
            running.await?;
        }
        Ok(())
    }

    async fn mark(&mut self) -> io::Result<()> {
        self.make_room(SMALL_RECORD).await?;
        let encoder = self.encoder();
        self.write(encoder, Body::Mark).await?;
        self.marked = true;
        self.reclaim();
        Ok(())
    }

    /// Writes `ops` and tells everybody.
    async fn round(&mut self, ops: Vec<Op>) -> io::Result<()> {
        let bytes = ops.iter().map(Op::bytes).sum::<u64>();
        let mut places = Vec::new();
        let mut result = Ok(());
        if bytes > 0 {
            result = self.make_room(bytes).await;
        }
        if bytes > 0 && result.is_ok() {
            let encoder = self.encode(&ops, &mut places);
            let skip = Fault::VoteUnsynced.is_planted() && ops.iter().any(|op| matches!(op.what, What::Ballot(_)))
                || Fault::EntriesUnsynced.is_planted();
            result = self.sync_or_not(encoder, !skip).await;
        }
        match result {
            Ok(()) => {
                self.marked &= bytes == 0;
                self.complete(ops, places.into_iter());
                self.reclaim();
                Ok(())
            }
            Err(error) => {
                let failure = Failure::new(&error);
                ops.into_iter().for_each(|op| op.complete(Err(failure.error())));
                Err(error)
            }
        }
    }

    /// The batch that says `ops`; `places` gets where their entries will be, in order.
    fn encode(&mut self, ops: &[Op], places: &mut Vec<Place>) -> Encoder {
        let mut encoder = self.encoder();
        for op in ops {
            let id = op.group.id;
            match &op.what {
                What::Entries(entries) => {
                    places.reserve(entries.len());
                    for entry in entries {
                        let offset = self.end as u32 + encoder.put_entry(id, entry) as u32;
                        let (generation, len) = (self.current.generation, entry.payload.len() as u32);
                        places.push(Place { generation, offset, len });
                    }
                }
                What::Ballot(ballot) => encoder.put(id, Body::Ballot(*ballot)),
                What::Truncate(keep) => encoder.put(id, Body::Truncate(*keep)),
                What::Purge(_) if Fault::PurgeUnmarked.is_planted() => {}
                What::Purge(upto) => encoder.put(id, Body::Purge(*upto)),
                What::Committed(committed) => encoder.put(id, Body::Committed(*committed)),
                What::Forget => encoder.put(id, Body::Forget),
                What::Flush => {}
            }
        }
        encoder
    }

    /// A batch for the current segment, begun with what a new segment has to say.
    fn encoder(&mut self) -> Encoder {
        let mut encoder = Encoder::new(std::mem::take(&mut self.buffer), self.current.mask, self.next);
        if let Some(start) = self.start {
            encoder.put(GroupId(0), Body::Start(start));
            for (id, group) in &self.known {
                let mut state = group.memory.lock().written.restated();
                if Fault::PurgeUnmarked.is_planted() {
                    state.purged = None;
                }
                encoder.put(*id, Body::Restated(state));
            }
        }
        encoder
    }

    async fn write(&mut self, mut encoder: Encoder, body: Body) -> io::Result<()> {
        encoder.put(GroupId(0), body);
        self.sync(encoder).await
    }

    /// One write, one fdatasync.
    async fn sync(&mut self, encoder: Encoder) -> io::Result<()> {
        self.sync_or_not(encoder, true).await
    }

    /// As [`sync`](Self::sync); only planted bugs leave the fdatasync out.
    async fn sync_or_not(&mut self, encoder: Encoder, durably: bool) -> io::Result<()> {
        let retried = Fault::SyncRetried.is_planted();
        let (file, end) = (self.current.file.clone(), self.end);
        let began = Instant::now();
        let work = move || {
            let bytes = encoder.finish();
            let result = file.write_all_at(&bytes, end).and_then(|()| match durably {
                true if retried => file.sync_data().or(Ok(())),
                true => file.sync_data(),
                false => Ok(()),
            });
            (bytes, result)
        };
        let (bytes, result) = self.lane.run(work).await;
        result?;
        let len = bytes.len() as u64;
        self.end += len;
        self.batch = self.next;
        self.next += 1;
        if self.start.take().is_some() {
            self.started = self.batch;
            let held = Held { segment: self.current.clone(), live: 0 };
            self.shared.segments.lock().insert(self.current.generation, held);
        }
        // A rare huge batch does not keep its memory.
        self.buffer = if bytes.capacity() as u64 > 2 * BATCH_BYTES { Vec::new() } else { bytes };
        let took = began.elapsed();
        let micros = took.as_micros() as u64;
        let mut stats = self.shared.stats.lock();
        stats.syncs += 1;
        stats.bytes_written += len;
        stats.took.record(took);
        stats.sync_micros = if stats.syncs == 1 { micros } else { (15 * stats.sync_micros + micros) / 16 };
        Ok(())
    }

    /// Moves the durable view on, then tells everybody, in order.
    fn complete(&mut self, ops: Vec<Op>, mut places: impl Iterator<Item = Place>) {
        let mut lived: BTreeMap<u64, i64> = BTreeMap::new();
        let mut entries_written = 0;
        for op in &ops {
            let mut memory = op.group.memory.lock();
            let written = &mut memory.written;
            let gone = match &op.what {
                What::Entries(entries) => {
                    for (entry, place) in entries.iter().zip(&mut places) {
                        written.append(entry.position, place);
                    }
                    *lived.entry(self.current.generation).or_default() += entries.len() as i64;
                    entries_written += entries.len() as u64;
                    Vec::new()
                }
                What::Ballot(ballot) => {
                    written.ballot = Some(*ballot);
                    Vec::new()
                }
                What::Truncate(keep) => written.truncate_after(*keep),
                What::Purge(upto) => written.purge(*upto),
                What::Committed(committed) => {
                    written.committed = *committed;
                    Vec::new()
                }
                What::Forget => written.forget(),
                What::Flush => Vec::new(),
            };
            memory.settle();
            drop(memory);
            for place in gone {
                *lived.entry(place.generation).or_default() -= 1;
            }
            match &op.what {
                What::Forget => drop(self.known.remove(&op.group.id)),
                What::Flush => {}
                _ => drop(self.known.insert(op.group.id, op.group.clone())),
            }
            if let What::Entries(entries) = &op.what
                && let Some(last) = entries.last()
            {
                self.recent.push_back((op.group.clone(), last.position.index, op.bytes()));
                self.recent_bytes += op.bytes();
            }
        }
        self.shared.stats.lock().entries += entries_written;
        {
            let mut segments = self.shared.segments.lock();
            for (generation, change) in lived {
                let held = segments.get_mut(&generation).expect("live entries keep their segment");
                held.live = held.live.checked_add_signed(change).expect("no entry goes twice");
            }
        }
        while self.recent_bytes > self.shared.options.cache_bytes
            && let Some((group, upto, bytes)) = self.recent.pop_front()
        {
            self.recent_bytes -= bytes;
            group.memory.lock().evict(upto);
        }
        for op in ops {
            if let What::Entries(entries) = &op.what {
                let listener = op.group.listener.lock().clone();
                if let Some(listener) = listener {
                    listener(entries);
                }
            }
            op.complete(Ok(()));
        }
    }
}
