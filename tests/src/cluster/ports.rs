//! Ports that stay ours: outside the range from which the kernel takes ports of outgoing connections, so that a node
//! that is down finds its own again, and reserved by a lock file against other test processes.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::Path;

const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;
const BLOCK: u16 = 32;

/// The ports of one node.
#[derive(Clone, Copy, Debug)]
pub struct NodePorts {
    /// Other nodes.
    pub peer: u16,
    /// S3.
    pub s3: u16,
    /// Admin API.
    pub admin: u16,
    /// Metrics and health.
    pub ops: u16,
}

/// A block of ports, ours until dropped.
pub struct Ports {
    base: u16,
    _lock: File,
}

impl Ports {
    /// Takes a free block: enough for eight nodes.
    pub fn take() -> io::Result<Self> {
        let dir = std::env::temp_dir().join("holdfast-test-ports");
        std::fs::create_dir_all(&dir)?;
        let blocks = (LAST - FIRST) / BLOCK;
        let first = std::process::id() as u16 % blocks;
        (0..blocks)
            .map(|step| FIRST + (first + step) % blocks * BLOCK)
            .find_map(|base| Self::take_block(&dir, base))
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "no free block of ports"))
    }

    fn take_block(dir: &Path, base: u16) -> Option<Self> {
        let lock = File::options().create(true).append(true).open(dir.join(base.to_string())).ok()?;
        lock.try_lock().ok()?;
        let free = (base..base + BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        free.then_some(Self { base, _lock: lock })
    }

    /// The ports of node number `at`, from 0 to 7.
    pub fn of(&self, at: usize) -> NodePorts {
        assert!(at < 8, "a block has ports for eight nodes");
        let base = self.base + at as u16 * 4;
        NodePorts { peer: base, s3: base + 1, admin: base + 2, ops: base + 3 }
    }
}
