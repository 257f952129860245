//! The parts of the load generator: what the machine can do at best ([`floor`]), what processes cost ([`meter`]), the
//! load itself ([`load`]) and the table ([`report`]).

pub mod floor;
pub mod load;
pub mod meter;
pub mod report;
