//! A chunk of rows on its way from one place to another: a snapshot to another node, a backup to its store.
//!
//! ```text
//! chunk   01 | row…
//! row     space u8 | key length u32 LE | value length u32 LE | key without group and generation | value
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::IndexError;
use super::engine::Space;

const VERSION: u8 = 1;
/// Bytes of a row's head.
const HEAD: usize = 9;

/// A chunk without rows.
pub fn begin(capacity: usize) -> BytesMut {
    let mut chunk = BytesMut::with_capacity(1 + capacity);
    chunk.put_u8(VERSION);
    chunk
}

/// Adds a row.
pub fn put_row(chunk: &mut BytesMut, space: Space, suffix: &[u8], value: &[u8]) {
    chunk.put_u8(space as u8);
    chunk.put_u32_le(suffix.len() as u32);
    chunk.put_u32_le(value.len() as u32);
    chunk.put_slice(suffix);
    chunk.put_slice(value);
}

/// One row: where it stands, its key without group and generation, its value.
pub type Row = (Space, Bytes, Bytes);

/// The rows of a chunk, none of them copied; an error ends them.
pub fn rows(mut chunk: Bytes) -> Result<impl Iterator<Item = Result<Row, IndexError>>, IndexError> {
    if chunk.is_empty() || chunk.get_u8() != VERSION {
        return Err(IndexError::BrokenSnapshot);
    }
    Ok(std::iter::from_fn(move || {
        if chunk.is_empty() {
            return None;
        }
        let row = row(&mut chunk);
        if row.is_err() {
            chunk.clear();
        }
        Some(row)
    }))
}

fn row(chunk: &mut Bytes) -> Result<Row, IndexError> {
    if chunk.len() < HEAD {
        return Err(IndexError::BrokenSnapshot);
    }
    let space = match chunk.get_u8() {
        0 => Space::Records,
        1 => Space::Bodies,
        _ => return Err(IndexError::BrokenSnapshot),
    };
    let (key_len, value_len) = (chunk.get_u32_le() as usize, chunk.get_u32_le() as usize);
    if key_len == 0 || chunk.len() < key_len || chunk.len() - key_len < value_len {
        return Err(IndexError::BrokenSnapshot);
    }
    let suffix = chunk.split_to(key_len);
    Ok((space, suffix, chunk.split_to(value_len)))
}
