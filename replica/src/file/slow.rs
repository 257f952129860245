//! Files whose syncs take longer than they must: a disk that is worn or overloaded. For testers.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{DirEntry, File, Files, Lane, Open, Space};

/// How much longer every sync takes, milliseconds. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub struct Delay(Arc<AtomicU32>);

impl Delay {
    /// Lets every sync from now on take `ms` longer.
    pub fn set_ms(&self, ms: u32) {
        self.0.store(ms, Ordering::Relaxed);
    }

    /// What every sync takes longer, milliseconds.
    pub fn ms(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn wait(&self) {
        let ms = self.ms();
        if ms > 0 {
            std::thread::sleep(Duration::from_millis(ms.into()));
        }
    }
}

/// `inner`, slower. Syncs block the lane that they run on, as on a slow disk.
pub struct SlowFiles {
    inner: Arc<dyn Files>,
    delay: Delay,
}

impl SlowFiles {
    /// `inner`, slower by `delay`.
    pub fn new(inner: Arc<dyn Files>, delay: Delay) -> Self {
        Self { inner, delay }
    }
}

impl Files for SlowFiles {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let inner = self.inner.open(path, how)?;
        Ok(Arc::new(SlowFile { inner, delay: self.delay.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.read_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.delay.wait();
        self.inner.sync_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.inner.space(path)
    }

    fn lane(&self, name: &str) -> Lane {
        self.inner.lane(name)
    }
}

struct SlowFile {
    inner: Arc<dyn File>,
    delay: Delay,
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(bytes, offset)
    }

    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_direct_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.delay.wait();
        self.inner.sync_data()
    }

    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.start_writeback(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}
