//! What the kernel says of this process: proc(5).

use holdfast_replica::file::{Files, Open};
use rustix::process::{Resource, getrlimit};

/// Clock ticks a second in `/proc/self/stat`: 100 on every Linux that we run on.
const TICKS: f64 = 100.0;

/// What the kernel says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// CPU time used so far, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// When it started, Unix time in seconds.
    pub started: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many may be open.
    pub max_fds: u64,
}

impl Process {
    /// Reads `/proc`; `None` where there is none.
    pub fn read(files: &dyn Files) -> Option<Process> {
        let text = |path: &str| -> Option<String> {
            // Files of /proc have no length. What is looked for in `stat` of the whole machine is at its end.
            let (mut text, mut buffer) = (Vec::new(), vec![0; 4096]);
            let file = files.open(path.as_ref(), Open::Read).ok()?;
            loop {
                match file.read_at(&mut buffer, text.len() as u64).ok()? {
                    0 => return String::from_utf8(text).ok(),
                    count => text.extend_from_slice(&buffer[..count]),
                }
            }
        };
        let process = Process::parse(&text("/proc/self/stat")?, &text("/proc/self/statm")?, &text("/proc/stat")?)?;
        let open_fds = files.read_dir("/proc/self/fd".as_ref()).map_or(0, |fds| fds.len() as u64);
        let max_fds = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Some(Process { open_fds, max_fds, ..process })
    }

    fn parse(stat: &str, statm: &str, machine: &str) -> Option<Process> {
        // The command's name stands in parentheses and may contain anything.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        let booted = machine.lines().find_map(|line| line.strip_prefix("btime "))?.parse::<u64>().ok()?;
        Some(Process {
            cpu_seconds: (number(11)? + number(12)?) as f64 / TICKS,
            resident_bytes: pages * rustix::param::page_size() as u64,
            threads: number(17)?,
            started: booted as f64 + number(19)? as f64 / TICKS,
            ..Process::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use holdfast_replica::file::RealFiles;

    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let process = Process::read(&RealFiles).expect("Linux has /proc");
        assert!(process.resident_bytes > 1 << 20 && process.threads > 0 && process.started > 1e9, "{process:?}");
        assert!((3..process.max_fds).contains(&process.open_fds), "{process:?}");
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 3 0 1000 5 6";
        let process = Process::parse(stat, "10 3 1", "cpu 1\nbtime 1700000000\nprocesses 3\n").unwrap();
        assert_eq!((process.cpu_seconds, process.threads, process.started), (3.0, 3, 1_700_000_010.0));
        assert_eq!(process.resident_bytes, 3 * rustix::param::page_size() as u64);
    }
}
