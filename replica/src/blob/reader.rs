//! Reading one blob: whole blocks from the file, checked before any of their bytes are handed out.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use holdfast_wire::id::{BlobId, GroupId};

use super::error::{BlobError, Damage};
use super::format::{BLOCK, Footer};
use super::stats::count;
use super::store::Shared;
use crate::file::{File, Open};

/// Bytes read from a file at once: whole blocks.
pub const READ: usize = 4 * BLOCK;
/// Bytes read from a file's end in the hope that they hold the footer: that of 120 MiB.
const TAIL: usize = 8 << 10;

/// An open blob with a sound footer. Cheap to clone; goes on after the blob was removed or replaced.
#[derive(Clone)]
pub struct BlobReader(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    group: GroupId,
    id: BlobId,
    file: Arc<dyn File>,
    footer: Footer,
}

enum Opened {
    Absent,
    Open(Arc<dyn File>, Footer),
    Damaged(Damage),
}

impl BlobReader {
    pub(super) async fn open(shared: &Arc<Shared>, group: GroupId, id: BlobId) -> Result<Option<Self>, BlobError> {
        let on_lane = shared.clone();
        let opened = shared.reading.run(move || open(&on_lane, group, id)).await;
        match opened.map_err(|source| shared.unreadable(group, id, source))? {
            Opened::Absent => Ok(None),
            Opened::Open(file, footer) => {
                Ok(Some(Self(Arc::new(Inner { shared: shared.clone(), group, id, file, footer }))))
            }
            Opened::Damaged(damage) => Err(shared.corrupt(group, id, damage)),
        }
    }

    /// Bytes of the blob.
    pub fn len(&self) -> u64 {
        self.0.footer.trailer().len
    }

    /// Whether the blob has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// When the blob was first written, Unix milliseconds.
    pub fn created_ms(&self) -> u64 {
        self.0.footer.trailer().created_ms
    }

    /// The checksums of its blocks.
    pub fn table(&self) -> &[u8] {
        self.0.footer.table()
    }

    /// The bytes of `range`, cut to the blob's length, in chunks of up to [`READ`] bytes; the next chunk is read while
    /// one is handed out. An error ends the stream; every byte before it was right.
    pub fn read(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, BlobError>> {
        let end = range.end.min(self.len());
        let ahead = Ahead { inner: self.0.clone(), next: range.start, end, job: None };
        futures::stream::unfold(ahead, |mut ahead| async move {
            let chunk = ahead.chunk().await?;
            Some((chunk, ahead))
        })
        .boxed()
    }

    /// Reads and checks every block.
    pub async fn verify(&self) -> Result<(), BlobError> {
        self.read(0..self.len()).try_for_each(|_| futures::future::ready(Ok(()))).await
    }
}

fn open(shared: &Shared, group: GroupId, id: BlobId) -> io::Result<Opened> {
    let file = match shared.files.open(&shared.path(group, id), Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Absent),
        Err(error) => return Err(error),
    };
    let file_len = file.len()?;
    let mut wanted = TAIL;
    loop {
        let mut tail = vec![0; file_len.min(wanted as u64) as usize];
        let start = file_len - tail.len() as u64;
        match file.read_exact_at(&mut tail, start) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Opened::Damaged(Damage::CutOff)),
            read => read?,
        }
        match Footer::parse(&tail, file_len) {
            Ok(Ok(footer)) => {
                let (of, named) = (footer.trailer().group, footer.trailer().id);
                return Ok(if (of, named) == (group, id) {
                    Opened::Open(file, footer)
                } else {
                    Opened::Damaged(Damage::Foreign { group: of, id: named })
                });
            }
            Ok(Err(needed)) => wanted = needed,
            Err(damage) => return Ok(Opened::Damaged(damage)),
        }
    }
}

/// Reads one chunk ahead.
struct Ahead {
    inner: Arc<Inner>,
    /// The first byte not yet asked for.
    next: u64,
    end: u64,
    job: Option<BoxFuture<'static, Result<Bytes, BlobError>>>,
}

impl Ahead {
    async fn chunk(&mut self) -> Option<Result<Bytes, BlobError>> {
        let chunk = match self.job.take().or_else(|| self.job_for_next()) {
            Some(job) => job.await,
            None => return None,
        };
        if chunk.is_err() {
            self.end = self.next;
        } else if let Some(mut job) = self.job_for_next() {
            // Asked once, so that the work begins now.
            self.job = Some(match (&mut job).now_or_never() {
                Some(done) => futures::future::ready(done).boxed(),
                None => job,
            });
        }
        Some(chunk)
    }

    fn job_for_next(&mut self) -> Option<BoxFuture<'static, Result<Bytes, BlobError>>> {
        if self.next >= self.end {
            return None;
        }
        let block = BLOCK as u64;
        let first = self.next / block;
        let stop = (first * block + READ as u64).min(self.end);
        let range = self.next..stop;
        self.next = stop;
        let inner = self.inner.clone();
        Some(async move { inner.shared.clone().reading.run(move || inner.blocks(first, range)).await }.boxed())
    }
}

impl Inner {
    /// The bytes of `range`, which begins in block `first` and lies within [`READ`] bytes of its start.
    fn blocks(&self, first: u64, range: Range<u64>) -> Result<Bytes, BlobError> {
        let start = first * BLOCK as u64;
        let stop = range.end.next_multiple_of(BLOCK as u64).min(self.footer.trailer().len);
        let mut buffer = self.shared.buffers.take((stop - start) as usize);
        match self.file.read_exact_at(buffer.bytes_mut(), start) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.shared.corrupt(self.group, self.id, Damage::CutOff));
            }
            Err(source) => return Err(self.shared.unreadable(self.group, self.id, source)),
        }
        self.footer.check(first, buffer.as_ref()).map_err(|damage| self.shared.corrupt(self.group, self.id, damage))?;
        let mut bytes = buffer.freeze();
        bytes.truncate((range.end - start) as usize);
        bytes.advance((range.start - start) as usize);
        count(&self.shared.counters.bytes_read, bytes.len() as u64);
        Ok(bytes)
    }
}
