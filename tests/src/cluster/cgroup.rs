//! A bound on the memory of a process, its page cache included, by a control group of version 1 or 2, whichever the
//! machine has. Takes root.

use std::io;
use std::path::{Path, PathBuf};

/// The files of a version.
#[derive(Clone, Copy)]
struct Layout {
    root: &'static str,
    limit: &'static str,
    peak: &'static str,
    /// Has a line `oom_kill N`.
    kills: &'static str,
}

const V1: Layout = Layout {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    kills: "memory.oom_control",
};
const V2: Layout = Layout { root: "/sys/fs/cgroup", limit: "memory.max", peak: "memory.peak", kills: "memory.events" };

/// The group. Dropping it removes it; its processes must have ended.
pub struct Cgroup {
    dir: PathBuf,
    layout: Layout,
}

impl Cgroup {
    /// A group of this name whose processes together may have so many bytes.
    ///
    /// # Errors
    /// Where there are none or they may not be made: the fault cannot be installed on this machine.
    pub fn make(name: &str, limit: u64) -> io::Result<Self> {
        let layout = if Path::new(V1.root).join(V1.limit).exists() { V1 } else { V2 };
        if layout.root == V2.root {
            // Refused where it is on already, or where the group's making is refused as well.
            let _ = std::fs::write(Path::new(V2.root).join("cgroup.subtree_control"), "+memory");
        }
        let dir = Path::new(layout.root).join(name);
        std::fs::create_dir(&dir)?;
        let own = Self { dir, layout };
        std::fs::write(own.dir.join(layout.limit), limit.to_string())?;
        Ok(own)
    }

    /// What puts a node's process into it.
    pub fn wrap(&self) -> Vec<String> {
        let enter = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", self.dir.display());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }

    /// The most memory that it has had, bytes.
    pub fn peak(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(self.dir.join(self.layout.peak))?;
        text.trim().parse().map_err(io::Error::other)
    }

    /// How many processes were killed for want of memory.
    pub fn kills(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(self.dir.join(self.layout.kills))?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.ok_or_else(|| io::Error::other("no count of kills"))
    }

    /// How many processes it has.
    pub fn members(&self) -> io::Result<usize> {
        Ok(std::fs::read_to_string(self.dir.join("cgroup.procs"))?.lines().count())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was killed takes a moment to leave.
        for _ in 0..100 {
            match std::fs::remove_dir(&self.dir) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}
