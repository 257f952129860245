//! S3 gateway: speaks S3 to clients and `holdfast-wire` to replicas. Stateless.

pub mod balance;
pub mod hedge;
pub mod membership;
pub mod router;
