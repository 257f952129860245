//! Configurations that cannot be set here: reads answer as S3 does where nothing is configured, writes are 501.

use http::StatusCode;
use s3s::dto::{
    GetBucketAccelerateConfigurationInput, GetBucketAccelerateConfigurationOutput, GetBucketLoggingInput,
    GetBucketLoggingOutput, GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput,
    GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, Payer,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use crate::error::custom;

/// What S3 says about a configuration that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// Bucket policy.
    Policy,
    /// Lifecycle rules.
    Lifecycle,
    /// CORS rules.
    Cors,
    /// Static website.
    Website,
    /// Replication rules.
    Replication,
    /// Default encryption.
    Encryption,
    /// Public access block.
    PublicAccessBlock,
    /// Ownership controls.
    Ownership,
}

impl Absent {
    /// The error that says so.
    pub fn error(self) -> S3Error {
        let mut error = match self {
            Self::Policy => s3_error!(NoSuchBucketPolicy, "The bucket policy does not exist"),
            Self::Lifecycle => s3_error!(NoSuchLifecycleConfiguration),
            Self::Cors => s3_error!(NoSuchCORSConfiguration, "The CORS configuration does not exist"),
            Self::Website => s3_error!(NoSuchWebsiteConfiguration),
            Self::Replication => s3_error!(ReplicationConfigurationNotFoundError),
            Self::Encryption => s3_error!(ServerSideEncryptionConfigurationNotFoundError),
            Self::PublicAccessBlock => custom(
                "NoSuchPublicAccessBlockConfiguration",
                StatusCode::NOT_FOUND,
                "The public access block configuration was not found",
            ),
            Self::Ownership => s3_error!(OwnershipControlsNotFoundError),
        };
        error.set_status_code(StatusCode::NOT_FOUND);
        error
    }
}

/// Of a bucket that exists: nothing is configured.
pub async fn absent<T>(
    s3: &S3Service,
    bucket: &str,
    expected_owner: Option<&str>,
    what: Absent,
) -> S3Result<S3Response<T>> {
    s3.bucket_now(bucket, expected_owner).await?;
    Err(what.error())
}

/// Removing what is not configured: done already.
pub async fn removed<T: Default>(
    s3: &S3Service,
    bucket: &str,
    expected_owner: Option<&str>,
) -> S3Result<S3Response<T>> {
    s3.bucket_now(bucket, expected_owner).await?;
    Ok(S3Response::new(T::default()))
}

/// GetBucketLogging: off.
pub async fn logging(
    s3: &S3Service,
    req: S3Request<GetBucketLoggingInput>,
) -> S3Result<S3Response<GetBucketLoggingOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    Ok(S3Response::new(GetBucketLoggingOutput::default()))
}

/// GetBucketNotificationConfiguration: none.
pub async fn notification(
    s3: &S3Service,
    req: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    Ok(S3Response::new(GetBucketNotificationConfigurationOutput::default()))
}

/// GetBucketAccelerateConfiguration: off.
pub async fn accelerate(
    s3: &S3Service,
    req: S3Request<GetBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<GetBucketAccelerateConfigurationOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    Ok(S3Response::new(GetBucketAccelerateConfigurationOutput::default()))
}

/// GetBucketRequestPayment: the owner pays.
pub async fn request_payment(
    s3: &S3Service,
    req: S3Request<GetBucketRequestPaymentInput>,
) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let payer = Some(Payer::from_static(Payer::BUCKET_OWNER));
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_configured_is_a_404_of_s3s_own_code() {
        for (what, code) in [
            (Absent::Policy, "NoSuchBucketPolicy"),
            (Absent::Lifecycle, "NoSuchLifecycleConfiguration"),
            (Absent::Cors, "NoSuchCORSConfiguration"),
            (Absent::Website, "NoSuchWebsiteConfiguration"),
            (Absent::Replication, "ReplicationConfigurationNotFoundError"),
            (Absent::Encryption, "ServerSideEncryptionConfigurationNotFoundError"),
            (Absent::PublicAccessBlock, "NoSuchPublicAccessBlockConfiguration"),
            (Absent::Ownership, "OwnershipControlsNotFoundError"),
        ] {
            let error = what.error();
            assert_eq!(error.code().as_str(), code);
            assert_eq!(error.status_code(), Some(StatusCode::NOT_FOUND), "{code}");
        }
    }
}
