//! Who asks, and what they may do. There is one key so far, the root key, and it may do everything.

pub mod access;
pub mod explain;
pub mod keys;
pub mod pass;

pub use self::access::{Access, Buckets};
pub use self::keys::{KeyError, RootKey, Secret};
