//! Files in memory that forget like a disk whose power is cut.
//!
//! Bytes become durable with [`File::sync_data`], names with [`Files::sync_dir`]; [`SimulatedFiles::power_cut`] drops
//! the rest or keeps a random part of it. Every run from the same seed and with the same calls is the same.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use holdfast_wire::seam::Clock;
use parking_lot::{Mutex, MutexGuard};

use self::disk::{Change, Dir, Disk, Inode, crashed, eio, not_found, split, write_at};
use super::{DirEntry, File, Files, Lane, Open, Space};

/// Torn writes are torn at multiples of this many bytes.
pub const SECTOR: usize = 512;

/// What of the unsynced a power cut leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Clean,
    /// Of every write a random set of sectors, in any order; of the changes of a directory a random first part.
    Torn,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Writes and growth, with `EIO`.
    Write,
    /// `sync_data` and `sync_dir`, with `EIO`. What was to be synced stays unsynced.
    Sync,
    /// Reads, with `EIO`.
    Read,
}

/// A file system in memory; clones are the same one.
#[derive(Clone)]
pub struct SimulatedFiles {
    disk: Arc<Mutex<Disk>>,
    /// The life that the handle belongs to, if it is a process's.
    life: Option<u64>,
}

impl SimulatedFiles {
    /// An empty file system.
    pub fn new(seed: u64) -> Self {
        let mut dirs = BTreeMap::new();
        dirs.insert(PathBuf::from("/"), Dir::default());
        dirs.insert(PathBuf::new(), Dir::default());
        let disk = Disk {
            random: seed,
            inodes: BTreeMap::new(),
            dirs,
            next_inode: 1,
            life: 0,
            operations: 0,
            latent: BTreeSet::new(),
            crash_at: None,
            crashed: false,
            faults: BTreeMap::new(),
            capacity: 1 << 40,
            clock: None,
        };
        Self { disk: Arc::new(Mutex::new(disk)), life: None }
    }

    /// With the time of this clock as that of every later change; without one, changes are counted instead.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.disk.lock().clock = Some(clock);
        self
    }

    /// A handle for a process that runs until the next power cut: later calls of what is left of it fail.
    pub fn process(&self) -> Self {
        Self { disk: self.disk.clone(), life: Some(self.disk.lock().life) }
    }

    fn lock(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk.lock();
        if self.life.is_some_and(|life| life != disk.life) { Err(crashed()) } else { Ok(disk) }
    }

    /// Cuts the power and restores it: what is durable stays, of the rest what `cut` says; open handles are dead;
    /// crashes and faults that were asked for are forgotten.
    pub fn power_cut(&self, cut: Cut) {
        self.disk.lock().power_cut(cut);
    }

    /// After `count` more operations that change something, the next one and all calls after it fail until
    /// [`power_cut`](Self::power_cut).
    pub fn crash_after(&self, count: u64) {
        let mut disk = self.disk.lock();
        disk.crash_at = Some(disk.operations + count);
    }

    /// Whether the crash that was asked for has come.
    pub fn has_crashed(&self) -> bool {
        self.disk.lock().crashed
    }

    /// Operations so far that changed something.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Lets `count` more calls of a kind pass; all later ones fail until [`heal`](Self::heal).
    pub fn fail_after(&self, fault: Fault, count: u64) {
        self.disk.lock().faults.insert(fault as u8, count);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.disk.lock().faults.clear();
    }

    /// Bytes that all files together may have; writes beyond fail with `ENOSPC`.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk.lock().capacity = bytes;
    }

    /// Another file system with the same content, durable or not. Files that are open here are not open there.
    pub fn fork(&self) -> Self {
        let mut disk = self.disk.lock().clone();
        disk.inodes.values_mut().for_each(|inode| inode.open = 0);
        Self { disk: Arc::new(Mutex::new(disk)), life: None }
    }

    /// Bytes that all files have.
    pub fn used(&self) -> u64 {
        self.disk.lock().used()
    }

    /// How long a file is, if it is there.
    pub fn len_of(&self, path: &Path) -> Option<u64> {
        let (dir, name) = split(path).ok()?;
        let disk = self.disk.lock();
        let id = *disk.dirs.get(&dir)?.current.get(&name)?;
        Some(disk.inodes[&id].current.len() as u64)
    }

    /// Changes a file's durable bytes behind everybody's back.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut disk = self.disk.lock();
        let id = *disk.dir(&dir)?.current.get(&name).ok_or_else(not_found)?;
        let inode = disk.inodes.get_mut(&id).expect("names lead to inodes");
        change(Arc::make_mut(&mut inode.current));
        inode.durable.clone_from(&inode.current);
        inode.pending.clear();
        Ok(())
    }
}

impl SimulatedFiles {
    /// Lets every read of the bytes that a file has now fail with `EIO`, until it is replaced: a latent sector error.
    pub fn spoil(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut disk = self.disk.lock();
        let id = *disk.dir(&dir)?.current.get(&name).ok_or_else(not_found)?;
        disk.latent.insert(id);
        Ok(())
    }
}

impl Files for SimulatedFiles {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let (dir, name) = split(path)?;
        let mut disk = self.lock()?;
        if how == Open::Create {
            disk.operation(None)?;
        }
        disk.fault(None)?;
        let found = disk.dir(&dir)?.current.get(&name).copied();
        let inode = match (found, how) {
            (Some(_), Open::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (None, Open::Create) => {
                let inode = disk.next_inode;
                disk.next_inode += 1;
                disk.inodes.insert(inode, Inode::default());
                disk.change(&dir, BTreeMap::from([(name, Some(inode))]))?;
                inode
            }
            (Some(inode), _) => inode,
            (None, _) => return Err(not_found()),
        };
        let life = disk.life;
        disk.inodes.get_mut(&inode).expect("names lead to inodes").open += 1;
        Ok(Arc::new(SimulatedFile { disk: self.disk.clone(), inode, life, writes: how != Open::Read }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock()?;
        if disk.dirs.contains_key(path) {
            return disk.fault(None);
        }
        disk.operation(None)?;
        let mut whole = PathBuf::new();
        for part in path.components() {
            whole.push(part);
            if part != Component::RootDir {
                disk.dirs.entry(whole.clone()).or_default();
            }
        }
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut disk = self.lock()?;
        disk.fault(None)?;
        let names = disk.dir(path)?.current.clone();
        let files = names.into_iter().map(|(name, inode)| {
            let inode = &disk.inodes[&inode];
            DirEntry { name, len: inode.current.len() as u64, modified_ms: inode.modified, is_dir: false }
        });
        let mut entries = files.collect::<Vec<_>>();
        for dir in disk.dirs_in(path) {
            let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
            entries.extend(name.map(|name| DirEntry { name, len: 0, modified_ms: 0, is_dir: true }));
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from_name) = split(from)?;
        let (to_dir, to_name) = split(to)?;
        let mut disk = self.lock()?;
        disk.operation(None)?;
        disk.dir(&to_dir)?;
        let inode = *disk.dir(&from_dir)?.current.get(&from_name).ok_or_else(not_found)?;
        if from_dir == to_dir {
            let mut changes = BTreeMap::from([(from_name, None)]);
            changes.insert(to_name, Some(inode));
            return disk.change(&from_dir, changes);
        }
        disk.change(&to_dir, BTreeMap::from([(to_name, Some(inode))]))?;
        disk.change(&from_dir, BTreeMap::from([(from_name, None)]))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (dir, name) = split(path)?;
        let mut disk = self.lock()?;
        disk.operation(None)?;
        if !disk.dir(&dir)?.current.contains_key(&name) {
            return Err(not_found());
        }
        disk.change(&dir, BTreeMap::from([(name, None)]))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock()?;
        disk.operation(None)?;
        let inside = disk.dirs_in(path).next().is_some();
        if inside || !disk.dir(path)?.current.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        disk.dirs.remove(path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock()?;
        disk.operation(Some(Fault::Sync))?;
        let dir = disk.dir(path)?;
        dir.durable.clone_from(&dir.current);
        dir.pending.clear();
        disk.collect();
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let mut disk = self.lock()?;
        disk.fault(None)?;
        Ok(Space { total: disk.capacity, free: disk.capacity.saturating_sub(disk.used()) })
    }

    fn lane(&self, _name: &str) -> Lane {
        Lane::inline()
    }
}

struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    life: u64,
    writes: bool,
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if disk.life == self.life
            && let Some(inode) = disk.inodes.get_mut(&self.inode)
        {
            inode.open -= 1;
        }
    }
}

impl SimulatedFile {
    fn with<T>(&self, work: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock();
        if disk.life != self.life {
            return Err(crashed());
        }
        work(&mut disk)
    }

    fn change(&self, end: impl FnOnce(&Inode) -> u64, change: Change) -> io::Result<()> {
        self.with(|disk| {
            if !self.writes {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            disk.operation(Some(Fault::Write))?;
            disk.grow(self.inode, end(&disk.inodes[&self.inode]))?;
            let modified = disk.clock.as_ref().map_or(disk.operations, |clock| clock.unix_millis());
            let inode = disk.inodes.get_mut(&self.inode).expect("open files have inodes");
            inode.modified = modified;
            match &change {
                Change::Write(offset, bytes) => write_at(Arc::make_mut(&mut inode.current), *offset, bytes),
                Change::Len(len) => Arc::make_mut(&mut inode.current).resize(*len as usize, 0),
            }
            inode.pending.push(change);
            Ok(())
        })
    }
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|disk| {
            disk.fault(Some(Fault::Read))?;
            if disk.latent.contains(&self.inode) {
                return Err(eio());
            }
            let bytes = &disk.inodes[&self.inode].current;
            let rest = bytes.get(offset as usize..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|_| offset + bytes.len() as u64, Change::Write(offset, bytes.into()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk| {
            disk.operation(Some(Fault::Sync))?;
            let inode = disk.inodes.get_mut(&self.inode).expect("open files have inodes");
            for change in std::mem::take(&mut inode.pending) {
                match change {
                    Change::Write(offset, bytes) => write_at(Arc::make_mut(&mut inode.durable), offset, &bytes),
                    Change::Len(len) => Arc::make_mut(&mut inode.durable).resize(len as usize, 0),
                }
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|_| len, Change::Len(len))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|disk| {
            disk.fault(None)?;
            Ok(disk.inodes[&self.inode].current.len() as u64)
        })
    }
}

#[cfg(test)]
mod tests;
