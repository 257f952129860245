//! The file seam: all file work of the log, the blob store and the node's own small files goes through [`Files`].
//!
//! The calls are synchronous and block. Async code runs them on a [`Lane`]: a thread of its own in production, inline
//! in a simulation. The embedded index engine opens its files itself and is replaced in simulations.

mod lane;
mod real;
mod simulated;
mod slow;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use lane::Lane;
pub use real::RealFiles;
pub use simulated::{Cut, Fault, SECTOR, SimulatedFiles};
pub use slow::{Delay, SlowFiles};

/// What memory, offset and length of a direct write are multiples of: no usual device has longer sectors.
pub const ALIGNED: usize = 4 << 10;

/// Whether an error says that the disk, or what one may use of it, is full.
pub fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; it must not exist yet.
    Create,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name.
    pub name: String,
    /// Bytes; 0 for a directory.
    pub len: u64,
    /// Last modification, Unix milliseconds.
    pub modified_ms: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// Available to this process.
    pub free: u64,
}

/// A file system. A file's bytes survive a power cut after [`File::sync_data`]; its name, after [`Files::sync_dir`] of
/// the directory that holds it.
pub trait Files: Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// Creates a directory and its ancestors, and syncs every directory that got a new entry.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory whose parent exists; fine if it is there. Durable after [`sync_dir`](Self::sync_dir) of
    /// the parent: for many directories with one sync.
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.create_dir_all(path)
    }
    /// The entries of a directory, ordered by name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Renames a file, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the directory's entries durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Room on the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// A lane on which blocking work of one kind runs in order.
    fn lane(&self, name: &str) -> Lane;
}

/// An open file. Reads and writes may run concurrently.
pub trait File: Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// As [`write_all_at`](Self::write_all_at), and past the system's page cache where it can: for long runs of bytes
    /// that nobody is about to read. Memory, offset and length are multiples of [`ALIGNED`]. No less in need of
    /// [`sync_data`](Self::sync_data); not to be called while anything else is done with the file.
    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
    /// Makes the bytes and the length durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;
    /// Asks the system to begin writing `len` bytes at `offset` to the device, without waiting: so that a later
    /// [`sync_data`](Self::sync_data) has little left to do. Promises nothing.
    fn start_writeback(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// Truncates or grows.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
            }
        }
        Ok(())
    }
}

/// Replaces the file at `path` atomically and durably: writes beside it, syncs, renames, syncs the directory.
pub fn replace(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    match files.remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = files.open(&beside, Open::Create)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    files.rename(&beside, path)?;
    files.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// The whole file at `path`, or `None` if there is none.
pub fn read(files: &dyn Files, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match files.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}
