//! Connections that many small requests share: what is asked at about the same time travels in one segment, and an
//! answer overtakes a slower one. Everything long has a connection of its own.

mod connection;
mod frame;
mod serve;

pub use connection::{Answered, SharedConnection};
pub use frame::SHARED_MAX;
#[cfg(feature = "fuzzing")]
pub use frame::{Frame, Kind};
pub use serve::serve_shared;

#[cfg(test)]
mod tests;
