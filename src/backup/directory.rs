//! Backups in a directory: each file is written beside its place, synced and renamed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use holdfast_replica::file::{File, Files, Lane, Open};

use super::store::{Store, StoreError, Writer};

/// Read at once.
const READ: usize = 1 << 20;
/// Files being written end so.
const PART: &str = "part";

/// A directory.
pub struct Directory {
    url: String,
    root: PathBuf,
    files: Arc<dyn Files>,
    lane: Lane,
    serial: AtomicU64,
}

impl Directory {
    /// The directory `path`; it is made when something is written.
    pub fn new(path: &str, files: Arc<dyn Files>) -> Self {
        let lane = files.lane("backup");
        Self { url: path.to_owned(), root: PathBuf::from(path), files, lane, serial: AtomicU64::new(0) }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::File { path: path.clone(), source }
}

fn collect(files: &dyn Files, root: &Path, directory: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
    let entries = match files.read_dir(&root.join(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let name = format!("{directory}{}", entry.name);
        match entry.is_dir {
            true => collect(files, root, &format!("{name}/"), found)?,
            false if name.ends_with(PART) => {}
            false => found.push((name, entry.len)),
        }
    }
    Ok(())
}

#[async_trait]
impl Store for Directory {
    fn url(&self) -> &str {
        &self.url
    }

    async fn list(&self, directory: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let (files, root, directory) = (self.files.clone(), self.root.clone(), directory.to_owned());
        let failed = failed(&root.join(&directory));
        let listed = self.lane.run(move || {
            let mut found = Vec::new();
            collect(&*files, &root, &directory, &mut found).map(|()| found)
        });
        listed.await.map_err(failed)
    }

    async fn create(&self, name: &str) -> Result<Box<dyn Writer>, StoreError> {
        let path = self.root.join(name);
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let part = path.with_extension(format!("{}-{serial}.{PART}", std::process::id()));
        let (files, beside) = (self.files.clone(), part.clone());
        let opened = self.lane.run(move || {
            files.create_dir_all(beside.parent().unwrap_or(Path::new(".")))?;
            files.open(&beside, Open::Create)
        });
        let file = opened.await.map_err(failed(&part))?;
        let (files, lane) = (self.files.clone(), self.lane.clone());
        Ok(Box::new(PartFile { files, lane, file, part, path, len: 0, finished: false }))
    }

    async fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.root.join(name);
        let (files, of) = (self.files.clone(), path.clone());
        match self.lane.run(move || files.remove_file(&of)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(failed(&path)),
        }
    }

    async fn read(&self, name: &str) -> Result<Option<BoxStream<'static, Result<Bytes, StoreError>>>, StoreError> {
        let path = self.root.join(name);
        let (files, of) = (self.files.clone(), path.clone());
        let file = match self.lane.run(move || files.open(&of, Open::Read)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed(&path))?,
        };
        let lane = self.lane.clone();
        let stream = futures::stream::try_unfold((file, lane, 0), move |(file, lane, at)| {
            let failed = failed(&path);
            async move {
                let reading = file.clone();
                let read = lane.run(move || {
                    let mut buffer = vec![0; READ];
                    let count = reading.read_at(&mut buffer, at)?;
                    buffer.truncate(count);
                    Ok(buffer)
                });
                let buffer = read.await.map_err(failed)?;
                let next = at + buffer.len() as u64;
                Ok((!buffer.is_empty()).then(|| (Bytes::from(buffer), (file, lane, next))))
            }
        });
        Ok(Some(stream.boxed()))
    }
}

struct PartFile {
    files: Arc<dyn Files>,
    lane: Lane,
    file: Arc<dyn File>,
    part: PathBuf,
    path: PathBuf,
    len: u64,
    finished: bool,
}

#[async_trait]
impl Writer for PartFile {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let (file, at) = (self.file.clone(), self.len);
        self.len += bytes.len() as u64;
        self.lane.run(move || file.write_all_at(&bytes, at)).await.map_err(failed(&self.part))
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let (files, file) = (self.files.clone(), self.file.clone());
        let (part, path) = (self.part.clone(), self.path.clone());
        let done = self.lane.run(move || {
            file.sync_data()?;
            files.rename(&part, &path)?;
            files.sync_dir(path.parent().unwrap_or(Path::new(".")))
        });
        done.await.map_err(failed(&self.path))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = self.files.remove_file(&self.part)
        {
            tracing::debug!(path = %self.part.display(), %error, "an unfinished file stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use holdfast_replica::file::RealFiles;

    use super::*;

    #[tokio::test]
    async fn a_file_is_there_when_it_is_finished_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let store = Directory::new(dir.path().to_str().unwrap(), Arc::new(RealFiles));
        let mut writer = store.create("blobs/ab/abcd").await.unwrap();
        writer.write(Bytes::from_static(b"one ")).await.unwrap();
        writer.write(Bytes::from_static(b"two")).await.unwrap();
        assert!(store.list("blobs/").await.unwrap().is_empty());
        assert!(store.read("blobs/ab/abcd").await.unwrap().is_none());
        writer.finish().await.unwrap();
        assert_eq!(store.list("blobs/").await.unwrap(), [("blobs/ab/abcd".to_owned(), 7)]);
        let read: Vec<Bytes> = store.read("blobs/ab/abcd").await.unwrap().unwrap().try_collect().await.unwrap();
        assert_eq!(read.concat(), b"one two");

        let mut dropped = store.create("blobs/ab/other").await.unwrap();
        dropped.write(Bytes::from_static(b"x")).await.unwrap();
        drop(dropped);
        let left = RealFiles.read_dir(&dir.path().join("blobs/ab")).unwrap();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(store.list("nothing/").await.unwrap().is_empty());
    }
}
