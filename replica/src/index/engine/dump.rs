//! An engine's rows in one file: what an engine that lives elsewhere is rebuilt from, with the log behind it.
//!
//! ```text
//! file    "HFDUMP\0" | version 01 | owner u128 LE | number u64 LE | frame… | end
//! frame   length u32 LE (> 0) | xxh3_64 of the chunk u64 LE | chunk (index/chunk.rs)
//! end     0 u32 LE | rows u64 LE | xxh3_64 of the file's head, all checksums of frames and that, u64 LE
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{Durability, Engine, EngineError, Mutation, Space, View};
use crate::file::{File, Files, Open};
use crate::index::chunk;

const MAGIC: &[u8; 8] = b"HFDUMP\0\x01";
const HEAD: u64 = 8 + 16 + 8;
/// A frame ends with the row that makes it this long, bytes.
const FRAME: usize = 1 << 20;
/// The longest frame that is believed, bytes.
const FRAME_MAX: u32 = 64 << 20;

/// Whose rows, as of which batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// See the stamp in Redis (`redis/layout.rs`).
    pub owner: u128,
    /// The newest batch in it.
    pub number: u64,
}

/// A file that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{}: not a whole dump of an index; to replace this node, empty its data directory and start it", .0.display())]
pub struct Damaged(pub std::path::PathBuf);

/// Writes all rows of `view` to the file at `path`, durable on return; what was there is replaced in one step, if `sound`
/// finds nothing wrong with what was written. Bytes written.
pub fn write(
    files: &dyn Files,
    path: &Path,
    head: Head,
    view: &dyn View,
    sound: &dyn Fn() -> Result<(), EngineError>,
) -> Result<u64, EngineError> {
    let beside = path.with_extension("new");
    match files.remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = files.open(&beside, Open::Create)?;
    let mut out = Out { file, at: 0, sums: Xxh3::new(), rows: 0 };
    let written = out.all(head, view).and_then(|()| {
        sound()?;
        out.file.sync_data()?;
        files.rename(&beside, path)?;
        Ok(files.sync_dir(path.parent().unwrap_or(Path::new(".")))?)
    });
    if let Err(error) = written {
        // Best effort: the next dump removes it too.
        let _ = files.remove_file(&beside);
        return Err(error);
    }
    Ok(out.at)
}

struct Out {
    file: Arc<dyn File>,
    at: u64,
    sums: Xxh3,
    rows: u64,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn all(&mut self, head: Head, view: &dyn View) -> Result<(), EngineError> {
        let mut first = MAGIC.to_vec();
        first.put_u128_le(head.owner);
        first.put_u64_le(head.number);
        self.sums.update(&first);
        self.put(&first)?;
        let mut frame = chunk::begin(FRAME + (FRAME >> 2));
        for space in Space::ALL {
            for row in view.range(space, b"", b"") {
                let (key, value) = row?;
                chunk::put_row(&mut frame, space, &key, &value);
                self.rows += 1;
                if frame.len() >= FRAME {
                    self.frame(&frame)?;
                    frame = chunk::begin(FRAME + (FRAME >> 2));
                }
            }
        }
        self.frame(&frame)?;
        let mut end = BytesMut::new();
        end.put_u32_le(0);
        end.put_u64_le(self.rows);
        self.sums.update(&self.rows.to_le_bytes());
        end.put_u64_le(self.sums.digest());
        self.put(&end)
    }

    fn frame(&mut self, chunk: &[u8]) -> Result<(), EngineError> {
        let sum = xxh3_64(chunk).to_le_bytes();
        self.sums.update(&sum);
        let mut head = Vec::with_capacity(12);
        head.put_u32_le(chunk.len() as u32);
        head.put_slice(&sum);
        self.put(&head)?;
        self.put(chunk)
    }
}

/// The head of the file at `path`; `None` if there is no file.
pub fn head(files: &dyn Files, path: &Path) -> Result<Option<Head>, EngineError> {
    let file = match files.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    read_head(&*file, path).map(Some)
}

fn read_head(file: &dyn File, path: &Path) -> Result<Head, EngineError> {
    let damaged = || EngineError(Box::new(Damaged(path.to_owned())));
    let mut bytes = [0; HEAD as usize];
    file.read_exact_at(&mut bytes, 0).map_err(|_| damaged())?;
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Err(damaged()) };
    let (owner, number) = rest.split_at(16);
    Ok(Head {
        owner: u128::from_le_bytes(owner.try_into().expect("16 bytes")),
        number: u64::from_le_bytes(number.try_into().expect("8 bytes")),
    })
}

/// Writes the rows of the file at `path` into `engine`, a batch per frame, buffered. Rows.
pub fn load(files: &dyn Files, path: &Path, engine: &dyn Engine) -> Result<u64, EngineError> {
    each(files, path, &mut |batch| engine.write(batch, Durability::Buffered))
}

/// Hands out the rows of the file at `path`, a batch per frame. Rows.
pub fn each(
    files: &dyn Files,
    path: &Path,
    take: &mut dyn FnMut(Vec<Mutation>) -> Result<(), EngineError>,
) -> Result<u64, EngineError> {
    let damaged = || EngineError(Box::new(Damaged(path.to_owned())));
    let file = files.open(path, Open::Read)?;
    let mut head = [0; HEAD as usize];
    file.read_exact_at(&mut head, 0).map_err(|_| damaged())?;
    if !head.starts_with(MAGIC) {
        return Err(damaged());
    }
    let (mut at, mut sums, mut rows) = (HEAD, Xxh3::new(), 0u64);
    sums.update(&head);
    loop {
        let mut head = [0; 12];
        file.read_exact_at(&mut head, at).map_err(|_| damaged())?;
        let len = u32::from_le_bytes(head[..4].try_into().expect("4 bytes"));
        let sum: [u8; 8] = head[4..].try_into().expect("8 bytes");
        if len == 0 {
            let mut last = [0; 8];
            file.read_exact_at(&mut last, at + 12).map_err(|_| damaged())?;
            sums.update(&sum);
            let whole = u64::from_le_bytes(sum) == rows && u64::from_le_bytes(last) == sums.digest();
            return if whole { Ok(rows) } else { Err(damaged()) };
        }
        if len > FRAME_MAX {
            return Err(damaged());
        }
        let mut frame = vec![0; len as usize];
        file.read_exact_at(&mut frame, at + 12).map_err(|_| damaged())?;
        if xxh3_64(&frame).to_le_bytes() != sum {
            return Err(damaged());
        }
        sums.update(&sum);
        at += 12 + u64::from(len);
        let mut batch = Vec::new();
        for row in chunk::rows(Bytes::from(frame)).map_err(|_| damaged())? {
            let (space, key, value) = row.map_err(|_| damaged())?;
            batch.push(Mutation::Put(space, key.into(), value));
        }
        rows += batch.len() as u64;
        if !batch.is_empty() {
            take(batch)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::RealFiles;
    use crate::index::engine::Memory;

    fn filled() -> Memory {
        let engine = Memory::new();
        for number in 0..3000u32 {
            let key = number.to_be_bytes().to_vec();
            let batch = vec![
                Mutation::Put(Space::Records, key.clone(), Bytes::from(vec![1; 100])),
                Mutation::Put(Space::Bodies, key, Bytes::from(vec![2; 900])),
            ];
            engine.write(batch, Durability::Buffered).unwrap();
        }
        engine
    }

    fn rows(view: &dyn View) -> Vec<(Space, Bytes, Bytes)> {
        let of = |space| view.range(space, b"", b"").map(move |row| row.map(|(k, v)| (space, k, v)).unwrap());
        Space::ALL.into_iter().flat_map(of).collect()
    }

    #[test]
    fn a_dump_reads_back_and_nothing_but_all_of_it_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.dump");
        assert_eq!(head(&RealFiles, &path).unwrap(), None);
        let (engine, stamped) = (filled(), Head { owner: 5, number: 6 });
        let bytes = write(&RealFiles, &path, stamped, &engine, &|| Ok(())).unwrap();
        assert_eq!(head(&RealFiles, &path).unwrap(), Some(stamped));
        let unsound = write(&RealFiles, &path, Head { owner: 5, number: 7 }, &Memory::new(), &|| {
            Err(EngineError("unsound".into()))
        });
        assert!(unsound.is_err());
        let again = Memory::new();
        assert_eq!(load(&RealFiles, &path, &again).unwrap(), 6000);
        assert_eq!(rows(&again), rows(&engine));

        let file = RealFiles.open(&path, Open::Write).unwrap();
        assert_eq!(file.len().unwrap(), bytes);
        for at in [0, 7, 9, HEAD - 1, HEAD + 2, HEAD + 40, bytes / 2, bytes - 9, bytes - 1] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            let error = load(&RealFiles, &path, &Memory::new()).unwrap_err().to_string();
            assert!(error.contains("not a whole dump") && error.contains("index.dump"), "{error}");
            file.write_all_at(&byte, at).unwrap();
        }
        file.set_len(bytes - 1).unwrap();
        assert!(load(&RealFiles, &path, &Memory::new()).is_err());
    }
}
