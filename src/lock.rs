//! One process per data directory: a lock that ends with the process.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_replica::file::Files;

/// Why a data directory cannot be used; one line each.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be made or written to.
    #[error("data directory {}: {error}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody else has it.
    #[error("data directory {}: another process uses it", path.display())]
    Taken {
        /// The directory.
        path: PathBuf,
    },
}

/// Holds a data directory while it lives.
#[derive(Debug)]
#[expect(
    clippy::disallowed_types,
    reason = "the file seam knows no locks, and a simulation has one process a directory"
)]
pub struct DataLock(#[expect(dead_code, reason = "held, never read")] std::fs::File);

impl DataLock {
    /// Makes the directory if it is not there, and takes its lock.
    #[expect(clippy::disallowed_types, reason = "as above")]
    pub fn take(files: &dyn Files, directory: &Path) -> Result<DataLock, LockError> {
        let unusable = |error| LockError::Unusable { path: directory.to_owned(), error };
        files.create_dir_all(directory).map_err(unusable)?;
        let path = directory.join("lock");
        let file = std::fs::File::options().create(true).append(true).open(path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(DataLock(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(LockError::Taken { path: directory.to_owned() }),
            Err(std::fs::TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_replica::file::RealFiles;

    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let held = DataLock::take(&RealFiles, &data).unwrap();
        assert!(matches!(DataLock::take(&RealFiles, &data), Err(LockError::Taken { .. })));
        drop(held);
        DataLock::take(&RealFiles, &data).unwrap();
        let error = DataLock::take(&RealFiles, &data.join("lock")).unwrap_err().to_string();
        assert!(error.starts_with("data directory ") && !error.contains('\n'), "{error}");
    }
}
