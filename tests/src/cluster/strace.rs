//! Faults in a running process's system calls, and a record of them, by strace(1). Takes a kernel that lets a parent
//! trace its children's siblings: root, or `ptrace_scope` 0.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take until it has hold of every thread.
const ATTACHED_WITHIN: Duration = Duration::from_secs(10);

/// A tracer of one process. Dropping it lets go of the process.
pub struct Strace {
    tracer: Child,
    log: PathBuf,
}

impl Strace {
    /// Attaches to the process with further arguments (`-e inject=fdatasync:error=EIO`), writing to `log`.
    ///
    /// # Errors
    /// Where strace is missing or may not attach: the fault cannot be installed on this machine.
    pub fn attach(pid: u32, arguments: &[&str], log: &Path) -> io::Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-s", "2100", "-p", &pid.to_string(), "-o"]).arg(log).args(arguments);
        let tracer = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut own = Self { tracer, log: log.into() };
        let start = Instant::now();
        while !traced(pid) {
            if let Some(status) = own.tracer.try_wait()? {
                return Err(io::Error::other(format!("strace may not attach: {status}")));
            }
            if start.elapsed() > ATTACHED_WITHIN {
                return Err(io::Error::other("strace does not attach"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(own)
    }

    /// What it has written.
    pub fn lines(&self) -> io::Result<Vec<String>> {
        let bytes = std::fs::read(&self.log)?;
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    /// How many calls were failed or delayed by it.
    pub fn injected(&self) -> io::Result<u64> {
        let marks = ["(INJECTED)", "(DELAYED)"];
        Ok(self.lines()?.iter().filter(|line| marks.iter().any(|mark| line.contains(mark))).count() as u64)
    }
}

/// Whether every thread of a process is traced by somebody.
fn traced(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let mut threads = threads.flatten();
    threads.all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
    })
}

impl Drop for Strace {
    fn drop(&mut self) {
        // SIGTERM makes it detach; a tracer that is killed lets go, too.
        if let Some(pid) = rustix::process::Pid::from_raw(self.tracer.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if matches!(self.tracer.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
    }
}
