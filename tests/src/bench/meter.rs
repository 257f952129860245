//! What processes cost, as the kernel counts it (proc(5)).

use std::io;

/// Counters of one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, ms (in steps of 10).
    pub cpu_ms: u64,
    /// Bytes that it caused to be written to storage.
    pub written: u64,
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
    let (io_text, status) = (text("io")?, text("status")?);
    let named = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Ok(Usage {
        cpu_ms: (ticks(11) + ticks(12)) * 10,
        written: named(&io_text, "write_bytes:").unwrap_or(0),
        rss: named(&status, "VmRSS:").unwrap_or(0) * 1024,
        peak_rss: named(&status, "VmHWM:").unwrap_or(0) * 1024,
    })
}

/// Lets [`Usage::peak_rss`] begin anew.
pub fn reset_peak(pid: u32) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}
