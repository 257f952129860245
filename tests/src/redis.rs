//! A Redis of a test's own: a `redis-server` process on loopback, with a directory and a port that nobody else has.

#![allow(clippy::disallowed_methods, reason = "it is a test's")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Starts that lost their port to somebody else are tried again.
const STARTS: usize = 5;
/// How long a start may take, in steps of 10 ms.
const STEPS: usize = 1500;

/// A running, stopped or killed Redis; its data outlives its process.
pub struct RedisServer {
    directory: tempfile::TempDir,
    port: u16,
    extra: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// With an append-only file that is synced every second.
    pub fn start() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// With these arguments.
    pub fn start_with(extra: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory for Redis");
        let extra = extra.iter().map(|word| (*word).to_owned()).collect();
        let mut server = Self { directory, port: 0, extra, child: None };
        for _ in 0..STARTS {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            server.port = free.expect("a free port").port();
            if server.run() {
                return server;
            }
        }
        let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap_or_default();
        panic!("redis-server does not start: {log}");
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it again on its port, over what it has on disk.
    pub fn restart(&mut self) {
        assert!(self.run(), "redis-server does not start again");
    }

    /// `SIGKILL`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A stopped process dies of it as well.
            child.kill().expect("the process is this test's own");
            child.wait().expect("it has ended");
        }
    }

    /// `SIGSTOP`: it keeps its connections and says nothing.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// `SIGCONT`.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, which: &str) {
        let pid = self.pid().expect("it runs").to_string();
        let sent = Command::new("kill").args([which, &pid]).status().expect("kill(1) is there");
        assert!(sent.success());
    }

    /// Runs a command and gives the answer's bytes as they came; an error is none. For what a stranger does to it.
    pub fn command(&self, words: &[&[u8]]) -> Vec<u8> {
        let answer = self.answer(words).expect("it answers");
        assert!(!answer.starts_with(b"-"), "{}", String::from_utf8_lossy(&answer));
        answer
    }

    /// # Errors
    ///
    /// Nobody listens, or says nothing for ten seconds.
    fn answer(&self, words: &[&[u8]]) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        if stream.local_addr()? == stream.peer_addr()? {
            // A free port of the ephemeral range may be given to the very connection that asks for it.
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        // The second command ends the connection, and with it the answer.
        request.extend_from_slice(b"*1\r\n$4\r\nQUIT\r\n");
        stream.write_all(&request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        answer.truncate(answer.len().saturating_sub(b"+OK\r\n".len()));
        Ok(answer)
    }

    /// Whether the process `pid` is the one that listens, and has read what it has on disk. One that wants a password does
    /// not say so.
    fn serves(&self, pid: u32) -> bool {
        let Ok(answer) = self.answer(&[b"INFO"]) else { return false };
        if answer.starts_with(b"-NOAUTH") {
            return true;
        }
        let answer = String::from_utf8_lossy(&answer);
        let says = |line: String| answer.lines().any(|told| told == line);
        says(format!("process_id:{pid}")) && says("loading:0".to_owned())
    }

    fn run(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""]);
        command.arg("--dir").arg(self.directory.path()).args(["--logfile", "log"]).args(&self.extra);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = spawned.expect("redis-server is installed (.ci/tools)");
        for _ in 0..STEPS {
            if child.try_wait().expect("a child can be asked").is_some() {
                return false;
            }
            if self.serves(child.id()) {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().ok();
        child.wait().ok();
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
