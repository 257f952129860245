//! Storage node: a member of several Raft groups over one write-ahead log, their index, and the blobs.
//!
//! From the bottom up: [`file`] (the file seam), [`log`] (the write-ahead log), [`index`] (the pure state machine and its
//! tables), [`blob`] (immutable bytes), `raft` (adapters to openraft, no decisions).

pub mod blob;
pub mod file;
pub mod index;
pub mod log;
pub mod position;
pub mod raft;
