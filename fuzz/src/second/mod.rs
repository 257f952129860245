//! The same rules once more, from their specifications, sharing no code with ours and as plain as can be: what fuzz targets
//! and differential tests compare with.

pub mod chunked;
pub mod form;
pub mod http;
pub mod log;
pub mod policy;
pub mod reading;
pub mod sigv4;
