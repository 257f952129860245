//! Adapters to openraft; no decisions. [`types`] fixes the type configuration and is the one home of conversions between
//! openraft's types and our own persisted and transmitted forms.

pub mod early;
pub mod log;
pub mod machine;
pub mod message;
pub mod network;
pub mod snapshot;
pub mod standing;
pub mod types;
