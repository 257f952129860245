//! The harness of Holdfast's tests: real processes ([`cluster`]), clients that say exactly what they know
//! ([`client`]), a workload that remembers all it did ([`history`]) and checkers over that memory ([`check`]).
//!
//! Nothing here is part of the product: it uses the real clock, files and sockets.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests of real processes use the real clock, files and sockets"
)]

pub mod bench;
pub mod body;
pub mod check;
pub mod client;
pub mod cluster;
pub mod failure;
pub mod fault;
pub mod history;
pub mod prove;
pub mod proxy;
pub mod redis;
pub mod rng;
pub mod sim;
pub mod storm;
pub mod wait;
