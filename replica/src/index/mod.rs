//! The state machine and its tables: pure decisions over an ordered key-value engine.

pub mod command;
pub mod engine;
