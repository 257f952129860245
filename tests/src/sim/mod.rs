//! Whole clusters in one thread and in simulated time: gateways with the whole S3 layer, replica nodes, and clients, each
//! host on a runtime of its own whose clock only the simulation moves, over a network ([`net`]) and disks
//! (`holdfast_replica::file::SimulatedFiles`) that lose what a real one may lose. Everything follows from one seed.
//!
//! From the bottom up: [`net`], [`host`] (a process: its runtime can be dropped, paused, restarted), [`cluster`] (who
//! runs where), [`faults`] (what is done to them, drawn from the seed), [`invariants`] (checked after every tick),
//! [`run`] (safety phase, liveness phase, verdict).

pub mod cluster;
pub mod durable;
pub mod faults;
pub mod host;
pub mod invariants;
pub mod net;
pub mod run;
pub mod scenario;
mod undelete;
