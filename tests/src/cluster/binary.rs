//! Where the `holdfast` binary is, and whose turn it is to run it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// There is no binary to test.
#[derive(Debug, thiserror::Error)]
#[error("no holdfast binary at {0}: run `cargo build -p holdfast` first, or set TEST_BINARY")]
pub struct NoBinary(PathBuf);

/// `TEST_BINARY`, or the binary of the profile that the running test was built with.
pub fn find() -> Result<PathBuf, NoBinary> {
    if let Some(path) = std::env::var_os("TEST_BINARY").map(PathBuf::from) {
        return if path.is_file() { Ok(path) } else { Err(NoBinary(path)) };
    }
    let own = std::env::current_exe().unwrap_or_default();
    let dir = own.parent().unwrap_or(Path::new("."));
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let path = dir.join("holdfast");
    if path.is_file() { Ok(path) } else { Err(NoBinary(path)) }
}

/// The program that behaves as the next release (`examples/later_release.rs`), built beside `binary`.
pub fn later(binary: &Path) -> Result<PathBuf, NoBinary> {
    let path = binary.with_file_name("examples").join("later_release");
    if path.is_file() { Ok(path) } else { Err(NoBinary(path)) }
}

/// Waits until no other test of this build directory runs a cluster. The lock lasts as long as the file is open.
pub async fn turn(binary: &Path) -> io::Result<File> {
    let path = binary.with_file_name(".holdfast-cluster-turn");
    let file = File::options().create(true).append(true).open(path)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}
