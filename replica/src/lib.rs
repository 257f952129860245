//! Storage node: a member of several Raft groups over one write-ahead log, their index, and the blobs.
//!
//! From the bottom up: [`file`] (the file seam), [`log`] (the write-ahead log), [`index`] (the pure state machine and its
//! tables), [`blob`] (immutable bytes), [`raft`] (adapters to openraft, no decisions), [`group`] (one Raft group),
//! [`service`] (what is answered), [`task`] (what is done unasked), [`node`] (the process).

pub mod blob;
pub mod file;
mod gather;
pub mod group;
pub mod index;
pub mod log;
pub mod node;
pub mod peers;
pub mod position;
pub mod raft;
pub mod service;
pub mod task;
pub mod verify;
