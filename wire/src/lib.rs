//! What gateways and replicas say to each other, and the seams both are built on.
//!
//! This crate knows neither S3 nor Raft. From the bottom up: [`seam`] (network, clock, randomness), [`id`] and
//! [`placement`] (names and where keys live), [`object`], [`bucket`], [`sealed`], [`identity`], [`condition`] (records), [`request`] and
//! [`error`] (what is asked and answered), [`heartbeat`] (what replicas tell everyone), [`context`] (whose request it is), [`frame`], [`handshake`] and
//! [`transport`] (bytes on an authenticated connection), [`service`] (the one trait behind which a replica stands,
//! whether it lives in this process or on another node).

pub mod acl;
pub mod backup;
pub mod bucket;
pub mod condition;
pub mod configuration;
pub mod context;
pub mod deleted;
pub mod due;
pub mod error;
pub mod fault;
pub mod frame;
pub mod handshake;
pub mod heartbeat;
pub mod histogram;
pub mod id;
pub mod identity;
pub mod lifecycle;
pub mod lock;
pub mod object;
pub mod placement;
pub mod planted;
pub mod request;
pub mod scrub;
pub mod seal;
pub mod sealed;
pub mod seam;
pub mod service;
pub mod transport;
pub mod usage;
