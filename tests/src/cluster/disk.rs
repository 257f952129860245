//! Disks of a node's own that can lose their power: a file system in a file, mounted through a loop device.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::ioctl::{Setter, ioctl};

use crate::cluster::tool::run;

/// `FS_IOC_SHUTDOWN`: `_IOR('X', 125, __u32)` in the kernel's xfs_fs.h and ext4.h.
const FS_IOC_SHUTDOWN: u32 = 0x8004_587d;
/// Without writing the journal out: what was not synced is lost.
const NO_LOG_FLUSH: u32 = 2;

/// A file system that knows the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4.
    Ext4,
    /// XFS.
    Xfs,
}

/// The disk. Dropping it unmounts it.
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
    kind: Kind,
    mounted: bool,
}

impl Kind {
    /// Makes a file system of it in a file or on a device. Nothing is discarded first: whoever records the writes would
    /// take that for content.
    pub fn format(self, path: &Path) -> io::Result<()> {
        let path = path.display().to_string();
        match self {
            Self::Ext4 => run("mkfs.ext4", &["-q", "-F", "-E", "nodiscard", &path])?,
            Self::Xfs => run("mkfs.xfs", &["-q", "-f", "-K", &path])?,
        };
        Ok(())
    }
}

impl Disk {
    /// Makes a file system of `bytes` under `dir` and mounts it.
    ///
    /// # Errors
    /// Where that is not allowed, or a tool is missing: the fault cannot be installed on this machine.
    pub fn make(dir: &Path, name: &str, kind: Kind, bytes: u64) -> io::Result<Self> {
        let (image, mount) = (dir.join(format!("{name}.img")), dir.join(name));
        File::create(&image)?.set_len(bytes)?;
        std::fs::create_dir_all(&mount)?;
        kind.format(&image)?;
        let mut disk = Self { image, mount, kind, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    /// A disk with this image, which has a file system already, mounted at `mount`.
    pub fn of(image: PathBuf, mount: PathBuf, kind: Kind) -> io::Result<Self> {
        std::fs::create_dir_all(&mount)?;
        let mut disk = Self { image, mount, kind, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Cuts its power: what was not synced is gone, and every later call fails.
    pub fn cut(&self) -> io::Result<()> {
        let root = File::open(&self.mount)?;
        // SAFETY: the kernel reads one u32 for this call, and knows it by this number.
        unsafe { ioctl(&root, Setter::<FS_IOC_SHUTDOWN, u32>::new(NO_LOG_FLUSH))? };
        Ok(())
    }

    /// Takes it off and mounts it again, which replays its journal. Nobody may have a file of it open.
    pub fn restore(&mut self) -> io::Result<()> {
        self.unmount()?;
        self.mount()
    }

    /// Takes it off for good. Nobody may have a file of it open.
    pub fn take_off(mut self) -> io::Result<()> {
        self.unmount()
    }

    fn mount(&mut self) -> io::Result<()> {
        let options = match self.kind {
            Kind::Ext4 => "loop",
            // Images of one disk have its UUID all, and another process' mount namespace may keep an earlier one for a while.
            Kind::Xfs => "loop,nouuid",
        };
        run("mount", &["-o", options, &self.image.display().to_string(), &self.mount.display().to_string()])?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> io::Result<()> {
        run("umount", &[&self.mount.display().to_string()])?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // The processes that used it have ended; if not, it goes when they do.
            let _ = run("umount", &["-l", &self.mount.display().to_string()]);
        }
    }
}
