//! What distinguishes one release of the software from its neighbours, for those with whom it shares a cluster or a
//! data directory. A parameter of the program, so that upgrades can be tested before there is anything to upgrade to.

use holdfast_replica::node::format::FORMAT;
use holdfast_wire::handshake::VERSION;

/// A release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// `MAJOR.MINOR.PATCH`
    pub version: &'static str,
    /// The newest version of the protocol between processes that it speaks; it speaks the one before, too.
    pub protocol: u8,
    /// The form of data directories that it writes; it takes older ones over.
    pub format: u32,
}

impl Release {
    /// This one.
    pub const CURRENT: Self = Self { version: env!("CARGO_PKG_VERSION"), protocol: VERSION, format: FORMAT };
}
