//! How busy this process is, read from `/proc` and the file system.

use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use holdfast_wire::heartbeat::Load;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::file::{Files, Open};

/// Kernel clock ticks per second in `/proc/PID/stat` (`USER_HZ`, 100 on every Linux port in use).
const TICKS_PER_SECOND: u64 = 100;
/// Memory page, bytes, as `/proc/PID/statm` counts.
const PAGE: u64 = 4096;

/// Counts what is under way and samples the rest.
#[derive(Default)]
pub struct LoadMeter {
    in_flight: AtomicU32,
    read_us: AtomicU64,
    sampled: Mutex<Option<Sample>>,
}

struct Sample {
    at: Instant,
    cpu_ticks: u64,
    cpu_millis: u32,
    load: Load,
}

/// A request under way; counted until dropped.
pub struct InFlight<'a>(&'a LoadMeter);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LoadMeter {
    /// Counts a request.
    pub fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// A read's time to its first byte, for the moving average.
    pub fn read_took(&self, us: u64) {
        let old = self.read_us.load(Ordering::Relaxed);
        self.read_us.store(old - old / 16 + us / 16, Ordering::Relaxed);
    }

    /// The load now. Memory, CPU and disk are looked at once a second at most.
    pub fn load(&self, files: &dyn Files, data: &Path, sync_us: u32) -> Load {
        let mut sampled = self.sampled.lock();
        let now = Instant::now();
        let fresh = sampled.as_ref().is_some_and(|sample| (now - sample.at).as_millis() < 1000);
        if !fresh {
            let cpu_ticks = cpu_ticks(files).unwrap_or(0);
            let cpu_millis = sampled.as_ref().map_or(0, |last| {
                let ticks = cpu_ticks.saturating_sub(last.cpu_ticks);
                let millis = (now - last.at).as_millis().max(1) as u64;
                (ticks * 1000 * 1000 / TICKS_PER_SECOND / millis) as u32
            });
            let space = files.space(data).ok();
            let load = Load {
                memory: resident_bytes(files).unwrap_or(0),
                disk_free: space.map_or(0, |space| space.free),
                disk_total: space.map_or(0, |space| space.total),
                ..Load::default()
            };
            *sampled = Some(Sample { at: now, cpu_ticks, cpu_millis, load });
        }
        let sample = sampled.as_ref().expect("sampled just now");
        Load {
            in_flight: self.in_flight.load(Ordering::Relaxed),
            cpu_millis: sample.cpu_millis,
            read_us: self.read_us.load(Ordering::Relaxed) as u32,
            sync_us,
            ..sample.load
        }
    }
}

/// `/proc` files have no length: one read of up to a page.
fn proc_file(files: &dyn Files, path: &str) -> Option<String> {
    let file = files.open(Path::new(path), Open::Read).ok()?;
    let mut buffer = vec![0; PAGE as usize];
    let count = file.read_at(&mut buffer, 0).ok()?;
    buffer.truncate(count);
    String::from_utf8(buffer).ok()
}

fn cpu_ticks(files: &dyn Files) -> Option<u64> {
    let text = proc_file(files, "/proc/self/stat")?;
    // Fields 14 and 15 of proc(5), counted behind the command in parentheses, which is field 2.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_bytes(files: &dyn Files) -> Option<u64> {
    let text = proc_file(files, "/proc/self/statm")?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}
