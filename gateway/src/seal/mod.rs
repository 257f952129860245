//! Encryption at rest, in the gateway: replicas and disks never see plain bytes or keys.
//!
//! ```text
//! key ring (file, Secret) ──┐
//!                           ├─wraps─▶ object's own key ──HMAC(salt)─▶ segment's key ──AES-256-GCM─▶ chunks
//! customer's key (request) ─┘         (60 bytes in the record)         (one request's bytes)
//! ```
//! Every object has its own random key, kept wrapped in its record ([`holdfast_wire::sealed`]). Each request that brings
//! bytes draws a salt, and with it a key that nothing else is encrypted with, so nonces can simply count. A chunk's
//! nonce says its number and whether it is the last: chunks cannot be swapped, dropped or cut off unnoticed. Rotation
//! wraps anew and moves no bytes.
//!
//! Floor: one copy and one pass of AES-GCM over the bytes (several GB/s a core with AES instructions).

mod customer;
mod key;
mod keyring;
mod stream;

pub use customer::{BadCustomerKey, CustomerKey};
pub use key::{ObjectKey, SegmentKey, Unsealable};
pub use keyring::{BadKeyRing, KeyRing};
pub use stream::{open, seal, seal_stream};
