//! A disk whose every write is kept, in order, with its flushes: `qemu-storage-daemon` stands between a loop device and
//! its image and writes a log in the format of the kernel's dm-log-writes. From that, what a power cut would have left
//! at any moment can be made anew.
//!
//! ```text
//! sector 0: magic u64 | version u64 | entries u64 | bytes of a sector u32           all little-endian
//! entry:    sector u64 | sectors u64 | flags u64 | length of a mark u64, padded to a sector; then the data, except
//!           of what was discarded
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cluster::disk::Kind;
use crate::cluster::tool::run;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The disk, mounted. Dropping it unmounts it and ends the program behind it.
pub struct Recorder {
    daemon: Child,
    log: PathBuf,
    mount: PathBuf,
    export: PathBuf,
}

impl Recorder {
    /// Makes a file system of `bytes` under `dir` and mounts it.
    ///
    /// # Errors
    /// Where that is not allowed, or a tool is missing: the fault cannot be installed on this machine.
    pub fn make(dir: &Path, kind: Kind, bytes: u64) -> io::Result<Self> {
        let [disk, log, export, pid, mount] =
            ["disk.img", "log.img", "export", "pid", "mount"].map(|name| dir.join(name));
        for (path, bytes) in [(&disk, bytes), (&log, 64 << 30), (&export, 0)] {
            File::create(path)?.set_len(bytes)?;
        }
        std::fs::create_dir_all(&mount)?;
        let mut command = Command::new("qemu-storage-daemon");
        for node in [
            format!("driver=file,node-name=disk,filename={}", disk.display()),
            format!("driver=file,node-name=log,filename={}", log.display()),
            "driver=blklogwrites,node-name=both,file=disk,log=log".to_owned(),
        ] {
            command.args(["--blockdev", &node]);
        }
        let exported = format!("type=fuse,id=out,node-name=both,mountpoint={},writable=on", export.display());
        command.args(["--export", &exported, "--pidfile"]).arg(&pid);
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut own = Self { daemon, log, mount, export };
        let start = Instant::now();
        while !pid.exists() {
            if let Some(status) = own.daemon.try_wait()? {
                return Err(io::Error::other(format!("qemu-storage-daemon ended: {status}")));
            }
            if start.elapsed() > READY_WITHIN {
                return Err(io::Error::other("qemu-storage-daemon does not become ready"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        kind.format(&own.export)?;
        run("mount", &["-o", "loop", &own.export.display().to_string(), &own.mount.display().to_string()])?;
        Ok(own)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// How many entries the log has: whatever was flushed before the call lies within them.
    pub fn entries(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        File::open(&self.log)?.read_exact_at(&mut count, 16)?;
        Ok(u64::from_le_bytes(count))
    }

    /// Takes the disk off; what was recorded.
    pub fn finish(self) -> io::Result<Recording> {
        run("umount", &[&self.mount.display().to_string()])?;
        Recording::read(&self.log)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for path in [&self.mount, &self.export] {
            // Off already after `finish`; the processes that used it have ended.
            let _ = Command::new("umount").arg("-l").arg(path).stderr(Stdio::null()).status();
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// One write, flush or discard.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where its data goes on the disk, and where it lies in the log; bytes.
    to: u64,
    from: u64,
    len: u64,
    flags: u64,
}

/// All that was written to a disk.
pub struct Recording {
    log: File,
    entries: Vec<Entry>,
}

impl Recording {
    fn read(path: &Path) -> io::Result<Self> {
        let log = File::open(path)?;
        let mut head = [0; 28];
        log.read_exact_at(&mut head, 0)?;
        let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let sector = u64::from(u32::from_le_bytes(head[24..28].try_into().unwrap_or_default()));
        if word(&head, 0) != MAGIC || sector == 0 {
            return Err(io::Error::other("no log of writes"));
        }
        let (mut entries, mut at) = (Vec::new(), sector);
        for _ in 0..word(&head, 16) {
            let mut entry = [0; 32];
            log.read_exact_at(&mut entry, at)?;
            at += sector;
            let [to, len, flags] = [0, 8, 16].map(|field| word(&entry, field));
            let entry = Entry { to: to * sector, from: at, len: len * sector, flags };
            if flags & DISCARD == 0 {
                at += entry.len;
            }
            entries.push(entry);
        }
        Ok(Self { log, entries })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many flushes there are.
    pub fn flushes(&self) -> usize {
        self.entries.iter().filter(|entry| entry.flags & FLUSH != 0).count()
    }

    /// The place right behind the last flush among the first `upto` entries: all before is safe from a power cut.
    pub fn safe(&self, upto: usize) -> usize {
        self.entries[..upto].iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |at| at + 1)
    }

    /// Does to a disk what these entries did, as far as `choose` (asked for each) wants it.
    pub fn replay(
        &self,
        disk: &File,
        entries: std::ops::Range<usize>,
        mut choose: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in &self.entries[entries] {
            if entry.len == 0 || !choose() {
                continue;
            }
            bytes.clear();
            bytes.resize(entry.len as usize, 0);
            if entry.flags & DISCARD == 0 {
                self.log.read_exact_at(&mut bytes, entry.from)?;
            }
            disk.write_all_at(&bytes, entry.to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log with 512 bytes a sector: a write of `a` to sector 2, a flush, a discard of sector 2, a write of `b` to 3.
    fn log(path: &Path) {
        let entry = |to: u64, sectors: u64, flags: u64| {
            let mut head: Vec<u8> = [to, sectors, flags, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
            head.resize(512, 0);
            head
        };
        let mut log: Vec<u8> = [MAGIC, 1, 4].iter().flat_map(|word| word.to_le_bytes()).collect();
        log.extend(512u32.to_le_bytes());
        log.resize(512, 0);
        for part in
            [entry(2, 1, 0), vec![b'a'; 512], entry(0, 0, FLUSH), entry(2, 1, DISCARD), entry(3, 1, 0), vec![b'b'; 512]]
        {
            log.extend(part);
        }
        std::fs::write(path, log).unwrap();
    }

    #[test]
    fn a_disk_is_made_anew_as_far_as_wanted() {
        let dir = tempfile::TempDir::new().unwrap();
        log(&dir.path().join("log"));
        let recording = Recording::read(&dir.path().join("log")).unwrap();
        assert_eq!((recording.len(), recording.flushes()), (4, 1));
        assert_eq!([0, 1, 2, 4].map(|upto| recording.safe(upto)), [0, 0, 2, 2]);
        let path = dir.path().join("disk");
        let sector = |at: usize| std::fs::read(&path).unwrap()[at * 512..][..512].to_vec();
        let disk = File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        disk.set_len(4 * 512).unwrap();
        recording.replay(&disk, 0..2, || true).unwrap();
        assert_eq!((sector(2), sector(3)), (vec![b'a'; 512], vec![0; 512]));
        let mut asked = 0;
        recording.replay(&disk, 2..4, || (asked += 1, asked == 2).1).unwrap();
        assert_eq!((sector(2), sector(3)), (vec![b'a'; 512], vec![b'b'; 512]), "the discard was not wanted");
        recording.replay(&disk, 2..4, || true).unwrap();
        assert_eq!(sector(2), vec![0; 512]);
    }
}
