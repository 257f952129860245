//! One `holdfast` process and all that a test may do to it.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::cluster::ports::NodePorts;

/// A node: its place, and its process while it runs.
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
    /// Its ports.
    pub ports: NodePorts,
    /// Where standard output and error go, over all its starts.
    pub log: PathBuf,
    /// Arguments of the next start.
    pub args: Vec<String>,
    /// Environment of the next start, beside `PATH` and `HOME`.
    pub env: Vec<(String, String)>,
    /// A program and its arguments that becomes the node's, from the next start on.
    pub wrap: Vec<String>,
    /// Where it listens.
    pub host: String,
    binary: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// A node that does not run yet.
    pub fn new(binary: &Path, name: &str, data: PathBuf, ports: NodePorts) -> Self {
        let log = data.with_extension("log");
        Self {
            name: name.into(),
            data,
            ports,
            log,
            args: Vec::new(),
            env: Vec::new(),
            wrap: Vec::new(),
            host: "127.0.0.1".into(),
            binary: binary.into(),
            process: None,
        }
    }

    /// `host:port` of one of its ports.
    pub fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.host)
    }

    /// Its next start is of another program.
    pub fn becomes(&mut self, binary: &Path) {
        self.binary = binary.into();
    }

    /// Starts it; a process that still runs is left alone.
    pub fn start(&mut self) -> io::Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = match self.wrap.split_first() {
            None => Command::new(&self.binary),
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.binary);
                command
            }
        };
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        for name in ["PATH", "HOME", "RUST_BACKTRACE", "HOLDFAST_LOG"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.current_dir(self.log.parent().unwrap_or(Path::new("/")));
        // SAFETY: the closure makes one system call and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        self.process = Some(command.spawn()?);
        Ok(())
    }

    /// Whether its process runs (a paused one does).
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// The process id, while it runs or until it is started again.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// `SIGKILL`, and waits for its end.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// `SIGTERM`, and waits for its end.
    pub async fn terminate(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended(limit).await
    }

    /// Waits for its end.
    pub async fn ended(&mut self, limit: Duration) -> io::Result<ExitStatus> {
        let start = Instant::now();
        let process = self.process.as_mut().ok_or_else(|| io::Error::other("not started"))?;
        loop {
            if let Some(status) = process.try_wait()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                return Err(io::Error::other(format!("{} still runs after {limit:?}", self.name)));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `SIGSTOP`: it hears and says nothing, its connections stay.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// `SIGCONT`.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid as i32));
        let pid = pid.ok_or_else(|| io::Error::other("not started"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Removes everything it had stored. It must not run.
    pub fn wipe(&mut self) -> io::Result<()> {
        assert!(!self.is_running(), "{} runs", self.name);
        std::fs::remove_dir_all(&self.data)
    }

    /// Every file under its data directory, with its size.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut open = vec![self.data.clone()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => open.push(entry.path()),
                    Ok(meta) => found.push((entry.path(), meta.len())),
                    Err(_) => {}
                }
            }
        }
        found.sort();
        found
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
