//! Who asks, and what they may do.
//!
//! [`keyring`] knows whose a key is, [`table`] what an operation requires, [`access`] brings both to the
//! [policies](crate::policy).

pub mod access;
pub mod authorize;
pub mod directory;
pub mod explain;
pub mod facts;
pub mod keyring;
pub mod keys;
pub mod origin;
pub mod pass;
pub mod session;
pub mod slot;
pub mod table;
pub mod who;

pub use self::access::{Access, Forbidden, Lister};
pub use self::authorize::{Buckets, Judged, Lookup, Record, Unreadable};
pub use self::keyring::{IdentitySource, Keyring, Provider};
pub use self::keys::{KeyError, RootKey, Secret};
pub use self::origin::Origin;
pub use self::slot::Slot;
pub use self::who::{ANONYMOUS, Who};
