//! What the tests of this module share: stores on a temporary directory, files that fail on order, nodes on loopback.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use holdfast_wire::error::CallError;
use holdfast_wire::handshake::{ClusterSecret, Identity};
use holdfast_wire::id::{BlobId, GroupId};
use holdfast_wire::seam::{Seams, SystemClock};
use holdfast_wire::service::Body;
use holdfast_wire::transport::{Client, Handler, Identities, Target, serve};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::peer::{self, DROP, READ, WRITE};
use super::{BlobError, BlobOptions, BlobStore};
use crate::file::{DirEntry, File, Files, Lane, Open, RealFiles, Space};

pub const GROUP: GroupId = GroupId(1);

/// `len` bytes that differ from block to block and from seed to seed.
pub fn bytes(len: usize, seed: u64) -> Bytes {
    let word = |n: u64| (n ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).to_le_bytes();
    let mut all: Vec<u8> = (0..len.div_ceil(8) as u64).flat_map(word).collect();
    all.truncate(len);
    all.into()
}

/// Real files that fail on order.
#[derive(Default)]
pub struct Faults {
    /// Bytes that may still be written, when not negative.
    pub room: AtomicI64,
    pub full: AtomicBool,
    pub fail_sync: AtomicBool,
    pub fail_sync_dir: AtomicBool,
    pub fail_read: AtomicBool,
    /// What was done to files and directories, in order.
    pub trace: Mutex<Vec<(&'static str, PathBuf)>>,
}

impl Faults {
    fn note(&self, what: &'static str, path: &Path) {
        self.trace.lock().push((what, path.to_owned()));
    }
}

pub struct FaultyFiles(pub Arc<Faults>);

struct FaultyFile(Arc<dyn File>, Arc<Faults>, PathBuf);

fn fail_if(flag: &AtomicBool) -> io::Result<()> {
    // EIO
    if flag.load(Ordering::Relaxed) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
}

impl Files for FaultyFiles {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(FaultyFile(RealFiles.open(path, how)?, self.0.clone(), path.to_owned())))
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFiles.create_dir_all(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.note("create_dir", path);
        RealFiles.create_dir(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealFiles.read_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.note("rename", to);
        RealFiles.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealFiles.remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fail_if(&self.0.fail_sync_dir)?;
        self.0.note("sync_dir", path);
        RealFiles.sync_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        let space = RealFiles.space(path)?;
        Ok(if self.0.full.load(Ordering::Relaxed) { Space { free: 0, ..space } } else { space })
    }
    fn lane(&self, name: &str) -> Lane {
        RealFiles.lane(name)
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        fail_if(&self.1.fail_read)?;
        self.0.read_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.1.room.fetch_sub(bytes.len() as i64, Ordering::Relaxed) < bytes.len() as i64 {
            // ENOSPC
            return Err(io::Error::from_raw_os_error(28));
        }
        self.1.note("write", &self.2);
        self.0.write_all_at(bytes, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        fail_if(&self.1.fail_sync)?;
        self.1.note("sync_data", &self.2);
        self.0.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

/// A store in a directory of its own.
pub struct Rig {
    pub dir: TempDir,
    pub faults: Arc<Faults>,
    pub store: BlobStore,
}

impl Rig {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults { room: AtomicI64::new(i64::MAX), ..Faults::default() });
        let store = Self::open(&dir, &faults).await;
        Self { dir, faults, store }
    }

    async fn open(dir: &TempDir, faults: &Arc<Faults>) -> BlobStore {
        let files = Arc::new(FaultyFiles(faults.clone()));
        let options = BlobOptions { reserve: 1, read_lanes: 2, write_lanes: 2, sync_lanes: 2 };
        BlobStore::open_with(files, dir.path().join("blobs"), Arc::new(SystemClock), options).await.unwrap()
    }

    /// The store as the next process would open it.
    pub async fn reopened(&self) -> BlobStore {
        Self::open(&self.dir, &self.faults).await
    }

    pub async fn put(&self, id: BlobId, data: &Bytes) -> u64 {
        let mut writer = self.store.create(GROUP, id).await.unwrap();
        for chunk in data.chunks(100_000) {
            writer.write(data.slice_ref(chunk)).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    pub fn file(&self, id: BlobId) -> PathBuf {
        let name = id.to_string();
        self.dir.path().join("blobs").join(GROUP.to_string()).join(&name[..2]).join(name)
    }

    /// Every file in the store's directory.
    pub fn all_files(&self) -> Vec<String> {
        fn walk(dir: &Path, into: &mut Vec<String>) {
            for entry in RealFiles.read_dir(dir).unwrap() {
                let path = dir.join(&entry.name);
                if entry.is_dir { walk(&path, into) } else { into.push(path.display().to_string()) }
            }
        }
        let mut all = Vec::new();
        walk(self.dir.path(), &mut all);
        all
    }

    /// Waits until the directory has no files: what is discarded goes away on a lane.
    pub async fn becomes_empty(&self) {
        until(|| self.all_files().is_empty()).await;
    }
}

/// Waits for a condition, at most ten seconds.
pub async fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the condition did not come true");
}

/// All bytes of a blob's range.
pub async fn read(store: &BlobStore, id: BlobId, range: std::ops::Range<u64>) -> Result<Vec<u8>, BlobError> {
    let reader = store.open_blob(GROUP, id).await?.expect("the blob is held");
    let mut all = Vec::new();
    let mut chunks = reader.read(range);
    while let Some(chunk) = chunks.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

/// A node with a store, on loopback.
pub struct Node {
    pub rig: Rig,
    pub target: Target,
    pub stop: CancellationToken,
    /// While set, it takes no more bytes of a blob.
    pub stalled: Arc<AtomicBool>,
}

struct Serving(BlobStore, Arc<AtomicBool>);

impl Handler for Serving {
    fn handle(&self, path: &str, head: Bytes, payload: Body) -> BoxFuture<'static, Result<(Bytes, Body), CallError>> {
        let (store, stalled, path) = (self.0.clone(), self.1.clone(), path.to_owned());
        async move {
            match path.as_str() {
                WRITE => {
                    let stream = payload.stream.then(move |chunk| {
                        let stalled = stalled.clone();
                        async move {
                            while stalled.load(Ordering::Relaxed) {
                                tokio::time::sleep(Duration::from_millis(10)).await;
                            }
                            chunk
                        }
                    });
                    peer::serve_write(&store, head, Body::streamed(stream)).await
                }
                READ => peer::serve_read(&store, head).await,
                DROP => peer::serve_drop(&store, head).await,
                _ => Err(CallError::Malformed { reason: path }),
            }
        }
        .boxed()
    }
}

struct Nobody;

impl Identities for Nobody {
    fn identity(&self) -> Identity {
        Identity::default()
    }
}

pub fn client() -> Client {
    Client::new(Seams::real(), ClusterSecret::new("secret"))
}

impl Node {
    pub async fn new(tasks: &TaskTracker) -> Self {
        let rig = Rig::new().await;
        let seams = Seams::real();
        let listener = seams.net.listen("127.0.0.1:0").await.unwrap();
        let target = Target { address: listener.local_addr().unwrap().to_string(), cluster: None, node: None };
        let (stop, stalled) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let handler = Arc::new(Serving(rig.store.clone(), stalled.clone()));
        tasks.spawn(serve(listener, seams, ClusterSecret::new("secret"), Arc::new(Nobody), handler, stop.clone()));
        Self { rig, target, stop, stalled }
    }
}

/// A body of `data` in chunks of `size`.
pub fn body(data: &Bytes, size: usize) -> BoxStream<'static, Result<Bytes, CallError>> {
    let chunks: Vec<_> = data.chunks(size).map(|chunk| Ok(data.slice_ref(chunk))).collect();
    futures::stream::iter(chunks).boxed()
}
