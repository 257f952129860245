//! What is on a simulated disk: bytes and names as they are, as they would be without power, and what lies in between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_wire::seam::Clock;

use super::{Cut, Fault, SECTOR};

#[derive(Clone)]
pub(super) struct Disk {
    pub(super) random: u64,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) dirs: BTreeMap<PathBuf, Dir>,
    pub(super) next_inode: u64,
    /// Handles of earlier lives are dead.
    pub(super) life: u64,
    pub(super) operations: u64,
    /// Inodes whose bytes the medium does not give back.
    pub(super) latent: BTreeSet<u64>,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) faults: BTreeMap<u8, u64>,
    pub(super) capacity: u64,
    pub(super) clock: Option<Arc<dyn Clock>>,
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    /// Shared with copies of the disk until one of them writes.
    pub(super) current: Arc<Vec<u8>>,
    pub(super) durable: Arc<Vec<u8>>,
    pub(super) pending: Vec<Change>,
    pub(super) modified: u64,
    /// Handles that are open.
    pub(super) open: u32,
}

#[derive(Clone)]
pub(super) enum Change {
    Write(u64, Arc<[u8]>),
    Len(u64),
}

#[derive(Clone, Default)]
pub(super) struct Dir {
    pub(super) current: BTreeMap<String, u64>,
    pub(super) durable: BTreeMap<String, u64>,
    pub(super) pending: Vec<BTreeMap<String, Option<u64>>>,
}

pub(super) fn write_at(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
    let end = offset as usize + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset as usize..end].copy_from_slice(new);
}

pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

pub(super) fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

pub(super) fn crashed() -> io::Error {
    io::Error::other("the simulated machine has crashed")
}

pub(super) fn split(path: &Path) -> io::Result<(PathBuf, String)> {
    let name = path.file_name().ok_or_else(not_found)?.to_string_lossy().into_owned();
    Ok((path.parent().unwrap_or(Path::new("")).to_owned(), name))
}

impl Disk {
    /// Steele, Lea, Flood: "Fast splittable pseudorandom number generators", the mixing of `SplitMix64`.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Counts one call that changes something.
    pub(super) fn operation(&mut self, fault: Option<Fault>) -> io::Result<()> {
        if self.crashed {
            return Err(crashed());
        }
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            self.crashed = true;
            return Err(crashed());
        }
        self.operations += 1;
        self.fault(fault)
    }

    pub(super) fn fault(&mut self, fault: Option<Fault>) -> io::Result<()> {
        if self.crashed {
            return Err(crashed());
        }
        if let Some(left) = fault.and_then(|fault| self.faults.get_mut(&(fault as u8))) {
            if *left == 0 {
                return Err(eio());
            }
            *left -= 1;
        }
        Ok(())
    }

    pub(super) fn used(&self) -> u64 {
        let named = self.dirs.values().flat_map(|dir| dir.current.values());
        named.map(|inode| self.inodes[inode].current.len() as u64).sum()
    }

    pub(super) fn grow(&self, inode: u64, len: u64) -> io::Result<()> {
        let more = len.saturating_sub(self.inodes[&inode].current.len() as u64);
        match self.used() + more > self.capacity {
            true if more > 0 => Err(io::Error::from_raw_os_error(28)),
            _ => Ok(()),
        }
    }

    pub(super) fn dir(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dirs.get_mut(path).ok_or_else(not_found)
    }

    /// Directories whose parent this is. What is inside of a directory follows it in order.
    pub(super) fn dirs_in(&self, path: &Path) -> impl Iterator<Item = &PathBuf> {
        let after = (Bound::Excluded(path), Bound::Unbounded);
        let inside = self.dirs.range::<Path, _>(after).map(|(dir, _)| dir).take_while(move |dir| dir.starts_with(path));
        inside.filter(move |dir| dir.parent() == Some(path))
    }

    pub(super) fn change(&mut self, path: &Path, changes: BTreeMap<String, Option<u64>>) -> io::Result<()> {
        let dir = self.dir(path)?;
        apply(&mut dir.current, &changes);
        dir.pending.push(changes);
        Ok(())
    }

    pub(super) fn collect(&mut self) {
        let dirs = self.dirs.values();
        let named = dirs.flat_map(|dir| {
            let pending = dir.pending.iter().flat_map(|changes| changes.values().flatten());
            dir.current.values().chain(dir.durable.values()).chain(pending).copied()
        });
        let named = named.collect::<BTreeSet<_>>();
        self.inodes.retain(|id, inode| inode.open > 0 || named.contains(id));
    }

    pub(super) fn power_cut(&mut self, cut: Cut) {
        self.life += 1;
        self.crashed = false;
        self.crash_at = None;
        self.faults.clear();
        let ids = self.inodes.keys().copied().collect::<Vec<_>>();
        for id in ids {
            let pending = std::mem::take(&mut self.inodes.get_mut(&id).expect("listed above").pending);
            let mut bytes = std::mem::take(&mut self.inodes.get_mut(&id).expect("listed above").durable);
            for change in pending.iter().filter(|_| cut == Cut::Torn) {
                match change {
                    Change::Write(offset, new) => self.tear(Arc::make_mut(&mut bytes), *offset, new),
                    Change::Len(len) if self.random().is_multiple_of(2) => {
                        Arc::make_mut(&mut bytes).resize(*len as usize, 0);
                    }
                    Change::Len(_) => {}
                }
            }
            let inode = self.inodes.get_mut(&id).expect("listed above");
            inode.open = 0;
            inode.current.clone_from(&bytes);
            inode.durable = bytes;
        }
        let paths = self.dirs.keys().cloned().collect::<Vec<_>>();
        for path in paths {
            let count = self.dirs[&path].pending.len() as u64 + 1;
            let kept = if cut == Cut::Torn { (self.random() % count) as usize } else { 0 };
            let dir = self.dirs.get_mut(&path).expect("listed above");
            for changes in dir.pending.drain(..).take(kept) {
                apply(&mut dir.durable, &changes);
            }
            dir.current.clone_from(&dir.durable);
        }
        self.collect();
    }

    /// Keeps all, nothing, or some sectors of a write.
    pub(super) fn tear(&mut self, bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
        let chance = match self.random() % 4 {
            0 => 0,
            1 => 100,
            _ => self.random() % 100,
        };
        let mut from = 0;
        while from < new.len() {
            let sector = SECTOR - (offset as usize + from) % SECTOR;
            let to = (from + sector).min(new.len());
            if self.random() % 100 < chance {
                write_at(bytes, offset + from as u64, &new[from..to]);
            }
            from = to;
        }
    }
}

fn apply(names: &mut BTreeMap<String, u64>, changes: &BTreeMap<String, Option<u64>>) {
    for (name, inode) in changes {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}
