//! Buffers that are used again, so that none is zeroed or faulted in twice. They begin where direct input and output
//! wants them to.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::file::ALIGNED;

/// Buffers of one size.
pub(super) struct Buffers {
    size: usize,
    /// How many are kept for later.
    keep: usize,
    free: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    pub fn new(size: usize, keep: usize) -> Arc<Self> {
        Arc::new(Self { size, keep, free: Mutex::default() })
    }

    /// A buffer whose content is whatever was last in it. Small ones are made to measure and not kept.
    pub fn take(self: &Arc<Self>, len: usize) -> Buffer {
        debug_assert!(len <= self.size);
        if len < self.size / 2 {
            return Buffer { bytes: vec![0; len].into(), start: 0, len, home: None };
        }
        let bytes = self.free.lock().pop().unwrap_or_else(|| vec![0; self.size + ALIGNED].into());
        let start = bytes.as_ptr().align_offset(ALIGNED);
        Buffer { bytes, start, len, home: Some(self.clone()) }
    }
}

/// A buffer; goes back when the last [`Bytes`] of it is dropped.
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    len: usize,
    home: Option<Arc<Buffers>>,
}

impl Buffer {
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.len]
    }

    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = &self.home else { return };
        let mut free = home.free.lock();
        if free.len() < home.keep {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}
