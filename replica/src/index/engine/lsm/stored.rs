//! The tree's files, read again as a whole: each has a checksum over all of its bytes, which the tree's version keeps.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lsm_tree::{AbstractTree, AnyTree};
use xxhash_rust::xxh3::Xxh3Default;

use super::Stored;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// The files of the tree as it is now; they stay while what is given back stays.
pub fn files(tree: &AnyTree) -> Vec<Stored> {
    let version = tree.current_version();
    let tables = version.iter_tables().map(|table| {
        let (held, path, checksum) = (table.clone(), table.path.clone(), table.checksum().into_u128());
        one(path.to_path_buf(), checksum, move || drop(held))
    });
    let values = version.blob_files.iter().map(|file| {
        let (held, path, checksum) = (file.clone(), file.path().to_owned(), file.checksum().into_u128());
        one(path, checksum, move || drop(held))
    });
    tables.chain(values).collect()
}

fn one(path: std::path::PathBuf, checksum: u128, release: impl FnOnce() + Send + 'static) -> Stored {
    let len = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
    let name = path.display().to_string();
    let verify = move || {
        let found = hash(&path);
        release();
        match found {
            Ok(found) if found == checksum => Ok(()),
            Ok(_) => Err(format!("{} does not verify", path.display())),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    };
    Stored { name, len, verify: Box::new(verify) }
}

fn hash(path: &Path) -> std::io::Result<u128> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (Xxh3Default::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.digest128()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
