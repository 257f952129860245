//! S3 gateway: speaks S3 to clients and `holdfast-wire` to replicas. Stateless.

pub mod access_log;
pub mod audit;
pub mod auth;
pub mod balance;
pub mod body;
pub mod checksum;
pub mod error;
pub mod form;
pub mod guard;
pub mod hedge;
pub mod limits;
pub mod membership;
pub mod metrics;
pub mod ownership;
pub mod policy;
pub mod public_access;
pub mod router;
pub mod s3;
pub mod sampling;
pub mod seal;
pub mod server;
pub mod sts;
pub mod trace;

#[cfg(test)]
mod fake;
