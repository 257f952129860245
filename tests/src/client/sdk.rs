//! The AWS SDK for Rust against one endpoint, without TLS.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};

use crate::client::sign::Keys;

/// How a client is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path style (`http://host/bucket/key`) rather than virtual-host style.
    pub path_style: bool,
    /// Attempts per call; 1 = no retries.
    pub attempts: u32,
    /// Limit of one attempt.
    pub timeout: Duration,
}

impl Default for Options {
    /// As a user would have it.
    fn default() -> Self {
        Self { path_style: true, attempts: 5, timeout: Duration::from_secs(30) }
    }
}

/// A client of `endpoint` (`http://host:port`).
pub fn client(endpoint: &str, keys: &Keys, options: &Options) -> Client {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(options.timeout)
        .connect_timeout(Duration::from_secs(5))
        .build();
    let retries = match options.attempts {
        1 => RetryConfig::disabled(),
        attempts => RetryConfig::standard().with_max_attempts(attempts),
    };
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(crate::client::sign::REGION))
        .credentials_provider(Credentials::new(&keys.access, &keys.secret, None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .force_path_style(options.path_style)
        .retry_config(retries)
        .timeout_config(timeouts)
        .build();
    Client::from_conf(config)
}
