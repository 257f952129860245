//! What processes cost, as the kernel counts it (proc(5)).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Counters of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, ms (in steps of 10).
    pub cpu_ms: u64,
    /// Resident memory, bytes.
    pub rss: u64,
    /// Highest resident memory since [`reset_peak`], bytes.
    pub peak_rss: u64,
}

/// Reads the counters of a process of this user.
pub fn read(pid: u32) -> io::Result<Usage> {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}"));
    let stat = text("stat")?;
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let status = text("status")?;
    let named = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Ok(Usage {
        cpu_ms: (ticks(11) + ticks(12)) * 10,
        rss: named(&status, "VmRSS:").unwrap_or(0) * 1024,
        peak_rss: named(&status, "VmHWM:").unwrap_or(0) * 1024,
    })
}

/// Bytes written so far, by anybody, to the block device under `dir`; `None` where there is none (tmpfs). The figure
/// per process (`write_bytes`) is of no use: with large folios the kernel counts a whole folio, up to megabytes, each
/// time that a byte of it is changed.
pub fn device_written(dir: &Path) -> Option<u64> {
    let device = std::fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    Some(stat.split_whitespace().nth(6)?.parse::<u64>().ok()? * 512)
}

/// Lets [`Usage::peak_rss`] begin anew.
pub fn reset_peak(pid: u32) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}
