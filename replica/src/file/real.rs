//! The operating system's files.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the file seam")]

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::{DirEntry, File, Files, Lane, Open, Space};

/// The operating system's files.
pub struct RealFiles;

impl Files for RealFiles {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match how {
            Open::Read => &mut options,
            Open::Write => options.write(true),
            Open::Create => options.write(true).create_new(true),
        };
        Ok(Arc::new(options.open(path)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.create_dir_all(parent)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_dir(parent)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let about = match entry.metadata() {
                Ok(about) => about,
                // Removed in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let modified = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            entries.push(DirEntry {
                name: entry.file_name().to_string_lossy().into_owned(),
                len: if about.is_dir() { 0 } else { about.len() },
                modified_ms: modified.as_millis() as u64,
                is_dir: about.is_dir(),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let about = rustix::fs::statvfs(path)?;
        Ok(Space { total: about.f_blocks * about.f_frsize, free: about.f_bavail * about.f_frsize })
    }

    fn lane(&self, name: &str) -> Lane {
        Lane::threaded(name)
    }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    #[cfg(target_os = "linux")]
    fn write_direct_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        use rustix::fs::{OFlags, fcntl_setfl};
        // Some file systems refuse the flag, some the write.
        let written = match fcntl_setfl(self, OFlags::DIRECT) {
            Ok(()) => FileExt::write_all_at(self, bytes, offset),
            Err(_) => return FileExt::write_all_at(self, bytes, offset),
        };
        fcntl_setfl(self, OFlags::empty())?;
        match written {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => FileExt::write_all_at(self, bytes, offset),
            written => written,
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        fs::File::sync_data(self)
    }

    #[cfg(target_os = "linux")]
    fn start_writeback(&self, offset: u64, len: u64) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let signed = |number: u64| i64::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let (offset, len) = (signed(offset)?, signed(len)?);
        // SAFETY: the call takes a descriptor, which `self` keeps open, and three numbers; it touches no memory of ours.
        match unsafe { libc::sync_file_range(self.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::ALIGNED;

    /// Wherever the memory lies: what cannot go past the cache goes through it.
    #[test]
    fn direct_writes_are_read_back_and_others_follow_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealFiles.open(&dir.path().join("a"), Open::Create).unwrap();
        let memory: Vec<u8> = (0..4 * ALIGNED).map(|n| (n / 7) as u8).collect();
        let start = memory.as_ptr().align_offset(ALIGNED);
        let (aligned, askew) = (&memory[start..][..2 * ALIGNED], &memory[start + 1..][..ALIGNED]);
        file.write_direct_at(aligned, 0).unwrap();
        file.write_direct_at(askew, 2 * ALIGNED as u64).unwrap();
        file.write_all_at(b"the end", 3 * ALIGNED as u64).unwrap();
        file.sync_data().unwrap();
        let mut read = vec![0; 3 * ALIGNED + 7];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read == [aligned, askew, b"the end"].concat());
        assert_eq!(file.len().unwrap(), read.len() as u64);
    }
}
