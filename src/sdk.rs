//! Clients of an S3 that is not this process: the one that keeps backups, and both ends of an import.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 8;

/// S3 without keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("S3 needs {0} in the environment")]
pub struct NoKeys(&'static str);

/// What went wrong with a request, in one line: what S3 says, or why nothing was heard of it.
pub fn told<E>(error: &SdkError<E>) -> String
where
    SdkError<E>: Error + ProvideErrorMetadata,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    match (error.code(), status) {
        (Some(code), Some(status)) => match error.message() {
            Some(message) => format!("{code} ({status}): {message}"),
            None => format!("{code} ({status})"),
        },
        (None, Some(status)) => format!("HTTP status {status}"),
        _ => causes(error),
    }
}

/// An error and what led to it, in one line.
pub fn causes(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let what = error.to_string();
        // Wrappers often repeat what they wrap.
        if !told.ends_with(&what) {
            told += &format!(": {what}");
        }
        cause = error.source();
    }
    told
}

/// A request of its own limits, in place of its client's: one attempt within `limit`.
pub fn within(limit: Duration) -> aws_sdk_s3::config::Builder {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).operation_attempt_timeout(limit);
    aws_sdk_s3::config::Builder::default().timeout_config(timeouts.build())
}

/// Where an S3 is, and as whom it is used.
pub struct Place {
    /// Its URL; AWS without one.
    pub endpoint: Option<String>,
    /// Its region; `us-east-1` without one.
    pub region: Option<String>,
    /// The keys.
    pub keys: Credentials,
    /// Authorities (PEM) by which https is believed, beside the system's.
    pub ca: Option<Vec<u8>>,
    /// How long one attempt at one request may take, from its first byte to the answer's head.
    pub attempt_within: Option<Duration>,
}

impl Place {
    /// What the variables say that every AWS tool knows: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// `AWS_REGION`, and `AWS_ENDPOINT_URL` where there is no `endpoint`.
    pub fn of(endpoint: Option<String>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, NoKeys> {
        let needed = |name: &'static str| variable(name).ok_or(NoKeys(name));
        let keys = Credentials::new(
            needed("AWS_ACCESS_KEY_ID")?,
            needed("AWS_SECRET_ACCESS_KEY")?,
            variable("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        let region = variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
        let endpoint = endpoint.or_else(|| variable("AWS_ENDPOINT_URL_S3")).or_else(|| variable("AWS_ENDPOINT_URL"));
        Ok(Self { endpoint, region, keys, ca: None, attempt_within: None })
    }

    /// A client. It connects when it is used.
    pub fn client(self) -> Client {
        let http = aws_smithy_http_client::Builder::new();
        let http = match self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")) {
            true => http.build_http(),
            false => {
                let trusted = self.ca.into_iter().fold(TrustStore::default(), TrustStore::with_pem_certificate);
                let tls =
                    TlsContext::builder().with_trust_store(trusted).build().expect("it is checked when it is used");
                http.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build_https()
            }
        };
        let mut timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN);
        timeouts.set_operation_attempt_timeout(self.attempt_within);
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.unwrap_or_else(|| "us-east-1".to_owned())))
            .credentials_provider(self.keys)
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts.build());
        if let Some(endpoint) = self.endpoint {
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        Client::from_conf(config.build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_needed_and_an_endpoint_may_be_given_in_two_ways() {
        let variables = |all: &'static [(&'static str, &'static str)]| {
            move |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let none = Place::of(None, &variables(&[("AWS_ACCESS_KEY_ID", "a")])).err();
        assert_eq!(none, Some(NoKeys("AWS_SECRET_ACCESS_KEY")));
        let all = variables(&[
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_DEFAULT_REGION", "eu-1"),
            ("AWS_ENDPOINT_URL", "http://there"),
        ]);
        let place = Place::of(None, &all).unwrap();
        assert_eq!((place.endpoint.as_deref(), place.region.as_deref()), (Some("http://there"), Some("eu-1")));
        assert_eq!(Place::of(Some("http://here".to_owned()), &all).unwrap().endpoint.as_deref(), Some("http://here"));
    }
}
