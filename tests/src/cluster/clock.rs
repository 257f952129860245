//! A wall clock of a process's own that jumps while it runs, by libfaketime; its monotonic clock is left alone.

use std::io;
use std::path::{Path, PathBuf};

/// Where distributions put it.
const PLACES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];

/// The clock, of whatever process has its environment.
pub struct Clock {
    library: &'static str,
    file: PathBuf,
}

impl Clock {
    /// One that is right, kept in a file under `dir`.
    ///
    /// # Errors
    /// Where the library is missing: the fault cannot be installed on this machine.
    pub fn make(dir: &Path) -> io::Result<Self> {
        let library = PLACES.into_iter().find(|place| Path::new(place).exists());
        let library = library.ok_or_else(|| io::Error::other("libfaketime is not installed"))?;
        let own = Self { library, file: dir.join("wall-clock") };
        own.jump(0)?;
        Ok(own)
    }

    /// What a process needs to live by it.
    pub fn env(&self) -> Vec<(String, String)> {
        let file = self.file.display().to_string();
        [
            ("LD_PRELOAD", self.library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// From now on it is so many seconds ahead of the real one.
    pub fn jump(&self, seconds: i64) -> io::Result<()> {
        // Whoever reads meanwhile sees the old file or the new one.
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{seconds:+}\n"))?;
        std::fs::rename(next, &self.file)
    }
}
