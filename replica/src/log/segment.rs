//! A segment file: its name, how it is prepared, and how it is used again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{BLOCK, Mask};
use crate::file::{File, Files, Open};

/// Zeros are written and synced in steps of this, so that preparing a segment never holds up the log's own fdatasync
/// for long.
const STEP: usize = 1 << 20;

/// A segment file. Its generation is its name, is never used again, and goes into every checksum in it.
pub struct Segment {
    /// Grows from segment to segment.
    pub generation: u64,
    /// The bytes.
    pub file: Arc<dyn File>,
    /// Where it is.
    pub path: PathBuf,
    /// What its checksums are mixed with.
    pub mask: Mask,
    /// Bytes that are allocated.
    pub len: u64,
}

/// The path of a generation.
pub fn path(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("{generation:016x}.log"))
}

/// The generation that a file name stands for.
pub fn generation(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten().filter(|generation| *generation > 0)
}

impl Segment {
    /// Opens an existing segment.
    pub fn open(files: &dyn Files, dir: &Path, generation: u64, salt: u64) -> io::Result<Self> {
        let path = path(dir, generation);
        let file = files.open(&path, Open::Write)?;
        let len = file.len()?;
        Ok(Self { generation, file, path, mask: Mask::new(generation, salt), len })
    }

    /// A new segment of `len` zero bytes; it and its name are durable on return. Leaves nothing behind if there is no
    /// room.
    pub fn create(files: &dyn Files, dir: &Path, generation: u64, salt: u64, len: u64) -> io::Result<Self> {
        let path = path(dir, generation);
        let file = files.open(&path, Open::Create)?;
        let mut segment = Self { generation, file, path, mask: Mask::new(generation, salt), len: 0 };
        if let Err(error) = segment.grow(len) {
            files.remove_file(&segment.path)?;
            return Err(error);
        }
        files.sync_dir(dir)?;
        Ok(segment)
    }

    /// Gives a segment that nobody needs any more its next life; the new name is durable on return.
    pub fn recycle(self: Arc<Self>, files: &dyn Files, dir: &Path, generation: u64, salt: u64) -> io::Result<Self> {
        let path = path(dir, generation);
        files.rename(&self.path, &path)?;
        files.sync_dir(dir)?;
        // A new handle: readers may still hold the old one.
        Self::open(files, dir, generation, salt)
    }

    /// Appends zeros until there are `len` bytes, durably.
    pub fn grow(&mut self, len: u64) -> io::Result<()> {
        let len = len.next_multiple_of(BLOCK);
        let zeros = vec![0; STEP.min(len.saturating_sub(self.len) as usize)];
        while self.len < len {
            let step = (len - self.len).min(STEP as u64);
            self.file.write_all_at(&zeros[..step as usize], self.len)?;
            self.file.sync_data()?;
            self.len += step;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_generations() {
        let name = path(Path::new(""), 0x2a).to_string_lossy().into_owned();
        assert_eq!(name, "000000000000002a.log");
        assert_eq!(generation(&name), Some(0x2a));
        for other in ["0000000000000000.log", "2a.log", "000000000000002a.new", "00000000000000zz.log", ""] {
            assert_eq!(generation(other), None, "{other}");
        }
    }
}
