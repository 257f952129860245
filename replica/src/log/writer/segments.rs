//! Room for the next batch: segments that are prepared, taken into use, freed and recycled.

use std::io;
use std::sync::Arc;

use futures::FutureExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Chore, FULL, SPARES, Writer};
use crate::file::is_full;
use crate::log::record::{SMALL_RECORD, Start, VERSION, padded};
use crate::log::segment::Segment;
use crate::log::{Held, Room};

impl Writer {
    /// Sees to it that the current segment, or a new one, has room for a batch of `bytes`. Waits while the disk is full.
    pub(super) async fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        if self.end + padded(bytes) <= self.current.len {
            return Ok(());
        }
        let mut segment = self.next_segment().await?;
        let needed = padded(bytes + SMALL_RECORD * (self.known.len() as u64 + 1));
        while segment.len < needed {
            let (grown, result) = self
                .lane
                .run(move || {
                    let result = segment.grow(needed);
                    (segment, result)
                })
                .await;
            segment = grown;
            wait_if_full(result).await?;
        }
        self.start = Some(Start {
            version: VERSION,
            previous: self.current.generation,
            previous_end: self.end,
            previous_batch: self.batch,
            len: segment.len,
        });
        self.current = Arc::new(segment);
        self.end = 0;
        Ok(())
    }

    async fn next_segment(&mut self) -> io::Result<Segment> {
        loop {
            if let Some(spare) = self.spares.pop_front() {
                return Ok(spare);
            }
            self.say_room();
            self.retry = None;
            self.begin_chore();
            let done = chore(&mut self.chore).await;
            self.end_chore(done)?;
            if self.spares.is_empty() && self.retry.is_some() {
                sleep(FULL).await;
            }
        }
    }

    /// Gives up segments without live entries. The batch that restated all groups must itself be proven first: it is
    /// all that is left of votes and marks in them.
    pub(super) fn reclaim(&mut self) {
        if self.batch > self.started {
            let mut segments = self.shared.segments.lock();
            let current = self.current.generation;
            let dead = |held: &Held| held.live == 0 && held.segment.generation < current;
            let generations = segments.values().filter(|held| dead(held)).map(|held| held.segment.generation);
            for generation in generations.collect::<Vec<_>>() {
                self.freed.extend(segments.remove(&generation).map(|held| held.segment));
            }
        }
        self.say_room();
    }

    fn say_room(&mut self) {
        let left = self.current.len.saturating_sub(self.end);
        *self.shared.room.lock() = Room { left, spare: !self.spares.is_empty() };
        let mut stats = self.shared.stats.lock();
        stats.segments = (self.spares.len() + self.freed.len()) as u64;
        stats.retained_bytes = self.spares.iter().map(|spare| spare.len).sum::<u64>()
            + self.freed.iter().map(|freed| freed.len).sum::<u64>();
    }

    /// Keeps the work on files going while batches keep this task busy.
    pub(super) fn poll_chore(&mut self) -> io::Result<()> {
        loop {
            self.begin_chore();
            let Some(done) = self.chore.as_mut().and_then(FutureExt::now_or_never) else { return Ok(()) };
            self.end_chore(done)?;
        }
    }

    fn begin_chore(&mut self) {
        if self.chore.is_some() {
            return;
        }
        let shared = self.shared.clone();
        let salt = shared.options.salt;
        let wanted = (2 * self.current.len).min(shared.options.segment_bytes);
        let lane = self.files_lane.clone();
        let chore: Chore = if let Some(freed) = self.freed.pop_front() {
            if self.spares.len() < SPARES && freed.len >= wanted {
                self.generation += 1;
                let generation = self.generation;
                let work = move || freed.recycle(&*shared.files, &shared.dir, generation, salt).map(Some);
                Box::pin(async move { lane.run(work).await })
            } else {
                let work = move || match shared.files.remove_file(&freed.path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(None),
                };
                Box::pin(async move { lane.run(work).await })
            }
        } else if self.spares.is_empty() && self.retry.is_none() {
            self.generation += 1;
            let generation = self.generation;
            let work = move || Segment::create(&*shared.files, &shared.dir, generation, salt, wanted).map(Some);
            Box::pin(async move { lane.run(work).await })
        } else {
            return;
        };
        self.chore = Some(chore);
    }

    pub(super) fn end_chore(&mut self, done: io::Result<Option<Segment>>) -> io::Result<()> {
        self.chore = None;
        match done {
            Ok(spare) => self.spares.extend(spare),
            Err(error) if is_full(error.kind()) => {
                tracing::warn!(%error, "no room for another log segment");
                self.retry = Some(Instant::now() + FULL);
            }
            Err(error) => return Err(error),
        }
        self.say_room();
        Ok(())
    }
}

async fn wait_if_full(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_full(error.kind()) => {
            sleep(FULL).await;
            Ok(())
        }
        result => result,
    }
}

pub(super) async fn chore(chore: &mut Option<Chore>) -> io::Result<Option<Segment>> {
    match chore {
        Some(chore) => chore.await,
        None => std::future::pending().await,
    }
}

pub(super) async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
