//! Why a test fails, with the place and the whole chain of causes.

use std::fmt;
use std::panic::Location;

use crate::cluster::{Cluster, Options};

/// The reason. `?` makes it from any error.
pub struct Failure {
    what: String,
    at: &'static Location<'static>,
}

impl Failure {
    /// In words.
    #[track_caller]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), at: Location::caller() }
    }
}

/// Begins what says that the test itself did not work, which proves nothing either way.
pub const HARNESS: &str = "HARNESS ERROR: ";

impl Failure {
    /// The test itself, not what it tests.
    #[track_caller]
    pub fn harness(what: impl fmt::Display) -> Self {
        Self { what: format!("{HARNESS}{what}"), at: Location::caller() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            what += &format!(": {error}");
            cause = error.source();
        }
        Self { what, at: Location::caller() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at {})", self.what, self.at)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Starts a cluster, runs a test on it and panics with the reason if it fails, while the cluster can still show its
/// logs.
pub async fn on_cluster(options: Options, test: impl AsyncFnOnce(&mut Cluster) -> Result<(), Failure>) {
    let mut cluster = Cluster::lay_out(options).await.unwrap_or_else(|error| panic!("{error}"));
    for at in 0..cluster.len() {
        cluster.node(at).start().unwrap_or_else(|error| panic!("{error}"));
    }
    if let Err(error) = cluster.ready().await {
        panic!("{error}");
    }
    if let Err(failure) = test(&mut cluster).await {
        panic!("{failure}");
    }
}
