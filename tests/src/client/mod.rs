//! Clients: the AWS SDK as users have it ([`sdk`]), and a lean one ([`raw`]) that signs for itself ([`sign`]), costs
//! little CPU and says exactly what is known about an outcome; [`meanwhile`] measures with it.

pub mod chunked;
pub mod form;
pub mod meanwhile;
pub mod plain;
pub mod raw;
pub mod sdk;
pub mod sign;
pub mod xml;
