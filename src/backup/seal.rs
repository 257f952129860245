//! What proves that a file of a backup is whole: `SHA-256 of the bytes (32) | their length u64 LE | "HFSEAL1\n"` behind
//! them.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::{Digest, Sha256};

use super::BackupError;
use super::store::StoreError;

const MARK: &[u8; 8] = b"HFSEAL1\n";
/// Bytes of a trailer.
pub const TRAILER: u64 = 48;

/// Sees bytes pass and makes their trailer.
#[derive(Default)]
pub struct Seal {
    hash: Sha256,
    len: u64,
}

impl Seal {
    /// Bytes pass.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// How many have passed.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The trailer of what has passed.
    pub fn trailer(self) -> Bytes {
        let mut trailer = BytesMut::with_capacity(TRAILER as usize);
        trailer.extend_from_slice(&self.hash.finalize());
        trailer.extend_from_slice(&self.len.to_le_bytes());
        trailer.extend_from_slice(MARK);
        trailer.freeze()
    }
}

/// A sealed file being read: its bytes as they come, without the trailer, which is checked at the end.
pub struct Sealed {
    name: String,
    stream: BoxStream<'static, Result<Bytes, StoreError>>,
    held: BytesMut,
    seal: Seal,
}

impl Sealed {
    /// The file `name`, as a store streams it.
    pub fn new(name: String, stream: BoxStream<'static, Result<Bytes, StoreError>>) -> Self {
        Self { name, stream, held: BytesMut::new(), seal: Seal::default() }
    }

    /// The next bytes; `None` when all of them came and were right.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] at the end, when they were not: what came before must not be used.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BackupError> {
        while let Some(chunk) = self.stream.next().await.transpose()? {
            self.held.extend_from_slice(&chunk);
            let whole = self.held.len().saturating_sub(TRAILER as usize);
            if whole > 0 {
                let bytes = self.held.split_to(whole).freeze();
                self.seal.update(&bytes);
                return Ok(Some(bytes));
            }
        }
        let seal = std::mem::take(&mut self.seal);
        if seal.trailer() == self.held { Ok(None) } else { Err(BackupError::Damaged { name: self.name.clone() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], chunk: usize) -> Result<Vec<u8>, BackupError> {
        let chunks: Vec<_> = bytes.chunks(chunk).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut sealed = Sealed::new("x".to_owned(), futures::stream::iter(chunks).boxed());
        let mut all = Vec::new();
        while let Some(bytes) = sealed.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn every_changed_missing_or_added_byte_is_noticed() {
        let content: Vec<u8> = (0..200).collect();
        let mut seal = Seal::default();
        seal.update(&content);
        let mut file = content.clone();
        file.extend_from_slice(&seal.trailer());
        for chunk in [1, 7, 48, 1000] {
            assert_eq!(read(&file, chunk).await.unwrap(), content);
        }
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(read(&changed, 64).await.is_err(), "byte {at}");
            assert!(read(&file[..at], 64).await.is_err(), "cut at {at}");
        }
        file.push(0);
        assert!(read(&file, 64).await.is_err());
        assert!(read(&Seal::default().trailer(), 64).await.unwrap().is_empty(), "no bytes are sealed too");
    }
}
