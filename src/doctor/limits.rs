//! What the kernel and the container allow the process.

use std::path::Path;

use holdfast_replica::file::{self, Files};
use rustix::process::{Resource, getrlimit};

use super::{Check, Verdict, check};
use crate::config::Config;

/// Descriptors that a busy node needs.
const DESCRIPTORS: u64 = 16_384;
/// Threads and processes of the user.
const PROCESSES: u64 = 512;
/// A log segment and a large object must fit into a file.
const FILE_BYTES: u64 = 64 << 30;
/// Connections that may wait to be accepted.
const BACKLOG: u64 = 1024;
/// Beside the cache: buffers, connections, tables in memory.
const BESIDE_CACHE: u64 = 256 << 20;

const WHAT: &str = "limits";

/// Every limit that is known to have hurt somebody.
pub fn examine(config: &Config, files: &dyn Files) -> Vec<Check> {
    let mut found = vec![
        at_least(getrlimit(Resource::Nofile).current, DESCRIPTORS, Verdict::Warn, "file descriptors (ulimit -n)"),
        at_least(getrlimit(Resource::Nproc).current, PROCESSES, Verdict::Warn, "threads and processes (ulimit -u)"),
    ];
    if config.role.has_replica() {
        let bytes = getrlimit(Resource::Fsize).current;
        found.push(at_least(bytes, FILE_BYTES, Verdict::Fail, "bytes in a file (ulimit -f)"));
    }
    if let Some(backlog) = number(files, "/proc/sys/net/core/somaxconn") {
        let what = "connections waiting to be accepted (net.core.somaxconn)";
        found.push(at_least(Some(backlog), BACKLOG, Verdict::Warn, what));
    }
    // cgroup v2; without a limit there is no number in it.
    if config.role.has_replica()
        && let Some(memory) = number(files, "/sys/fs/cgroup/memory.max")
    {
        found.push(memory_check(memory, config.cache_bytes));
    }
    found
}

fn memory_check(limit: u64, cache: u64) -> Check {
    let (limit_mib, wanted) = (limit >> 20, cache + BESIDE_CACHE);
    match limit < wanted {
        true => {
            let text = format!(
                "{limit_mib} MiB of memory for the container; a cache of {} MiB wants {} (cache-bytes, or a higher limit)",
                cache >> 20,
                wanted >> 20
            );
            check(WHAT, Verdict::Warn, text)
        }
        false => check(WHAT, Verdict::Ok, format!("{limit_mib} MiB of memory for the container")),
    }
}

fn at_least(limit: Option<u64>, needed: u64, otherwise: Verdict, what: &str) -> Check {
    match limit {
        Some(limit) if limit < needed => check(WHAT, otherwise, format!("{limit} {what}; a busy node needs {needed}")),
        Some(limit) => check(WHAT, Verdict::Ok, format!("{limit} {what}")),
        None => check(WHAT, Verdict::Ok, format!("no limit: {what}")),
    }
}

fn number(files: &dyn Files, path: &str) -> Option<u64> {
    let bytes = file::read(files, Path::new(path)).ok()??;
    std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_little_is_said_with_what_would_do() {
        let low = at_least(Some(1024), DESCRIPTORS, Verdict::Warn, "file descriptors");
        assert_eq!(low.verdict, Verdict::Warn);
        assert_eq!(low.found, "1024 file descriptors; a busy node needs 16384");
        assert_eq!(at_least(Some(1), 2, Verdict::Fail, "x").verdict, Verdict::Fail);
        for enough in [Some(16_384), None] {
            assert_eq!(at_least(enough, DESCRIPTORS, Verdict::Warn, "x").verdict, Verdict::Ok);
        }
        assert_eq!(memory_check(256 << 20, 128 << 20).verdict, Verdict::Warn);
        assert_eq!(memory_check(2 << 30, 128 << 20).verdict, Verdict::Ok);
    }
}
