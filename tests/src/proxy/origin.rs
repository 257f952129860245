//! Who dialled: the process that holds the other end of a connection on loopback, by what `/proc` says.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A gateway that keeps nothing.
pub const GATEWAY: &str = "gateway";
/// Somebody who is neither a node nor a gateway of this test.
pub const STRANGER: &str = "stranger";

/// Who it was.
pub(super) enum Origin {
    /// The child process of this one with this name.
    Child(String),
    /// Nobody has the socket any more: it was given up.
    Gone,
    /// Somebody else.
    Stranger,
}

/// How long, and how often, somebody is looked for: a process that was killed loses its command line and its list of
/// files before its sockets are closed, and how soon they follow is up to a busy machine.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(40);

/// Whose socket is bound to `dialler` and connected to `own`. Blocks: strangers are known for sure after 2 s.
pub(super) fn of(dialler: SocketAddr, own: SocketAddr) -> Origin {
    for look in 0..LOOKS {
        match open(dialler, own).map(|inode| owner(&inode)) {
            None => return Origin::Gone,
            Some(Some(name)) => return Origin::Child(name),
            Some(None) if look + 1 < LOOKS => std::thread::sleep(PAUSE),
            Some(None) => {}
        }
    }
    Origin::Stranger
}

fn owner(inode: &str) -> Option<String> {
    let link = format!("socket:[{inode}]");
    let entries = std::fs::read_dir("/proc").ok()?;
    entries.flatten().filter(|entry| is_child(&entry.path())).find_map(|entry| {
        let mut open = std::fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        open.any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == link.as_str()))
            .then(|| name(&entry.path()))?
    })
}

/// The inode of a socket that a process has open, by proc_pid_net(5): addresses are hexadecimal, as the machine keeps
/// them. One without an owner has the number 0.
fn open(dialler: SocketAddr, own: SocketAddr) -> Option<String> {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port())),
        SocketAddr::V6(_) => None,
    };
    let (local, remote) = (hex(dialler)?, hex(own)?);
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&local.as_str()) && fields.get(2) == Some(&remote.as_str()))
            .then(|| fields.get(9).filter(|inode| **inode != "0").map(|inode| (*inode).to_owned()))?
    })
}

/// Whether the process was started by this one.
fn is_child(process: &Path) -> bool {
    let Ok(stat) = std::fs::read_to_string(process.join("stat")) else { return false };
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
    parent.and_then(|parent| parent.parse::<u32>().ok()) == Some(std::process::id())
}

/// `--name` of a node's command line, or that it is a gateway.
fn name(process: &Path) -> Option<String> {
    let line = std::fs::read(process.join("cmdline")).ok()?;
    let line: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let named = line.iter().position(|argument| argument == "--name").and_then(|at| line.get(at + 1));
    match named {
        Some(name) => Some(name.clone().into_owned()),
        None => line.iter().any(|argument| argument == GATEWAY).then(|| GATEWAY.to_owned()),
    }
}
