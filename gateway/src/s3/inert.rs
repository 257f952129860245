//! Configurations that exist here in one state only: setting that state succeeds, any other is refused.

use s3s::dto::{
    PutBucketAccelerateConfigurationInput, PutBucketAccelerateConfigurationOutput, PutBucketLoggingInput,
    PutBucketLoggingOutput, PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput,
    PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::request::not_implemented;

/// PutBucketRequestPayment: the owner pays.
pub async fn put_request_payment(
    s3: &S3Service,
    req: S3Request<PutBucketRequestPaymentInput>,
) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    match req.input.request_payment_configuration.payer.as_str() {
        "BucketOwner" => Ok(S3Response::new(PutBucketRequestPaymentOutput {})),
        "Requester" => Err(not_implemented("Payment by the requester")),
        _ => Err(s3_error!(MalformedXML)),
    }
}

/// PutBucketLogging: off.
pub async fn put_logging(
    s3: &S3Service,
    req: S3Request<PutBucketLoggingInput>,
) -> S3Result<S3Response<PutBucketLoggingOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    match req.input.bucket_logging_status.logging_enabled {
        None => Ok(S3Response::new(PutBucketLoggingOutput {})),
        Some(_) => Err(not_implemented("Access logging into buckets")),
    }
}

/// PutBucketAccelerateConfiguration: suspended.
pub async fn put_accelerate(
    s3: &S3Service,
    req: S3Request<PutBucketAccelerateConfigurationInput>,
) -> S3Result<S3Response<PutBucketAccelerateConfigurationOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    match req.input.accelerate_configuration.status.as_ref().map(|status| status.as_str()) {
        Some("Suspended") => Ok(S3Response::new(PutBucketAccelerateConfigurationOutput {})),
        Some("Enabled") => Err(not_implemented("Transfer acceleration")),
        _ => Err(s3_error!(MalformedXML)),
    }
}

/// PutBucketNotificationConfiguration: none.
pub async fn put_notification(
    s3: &S3Service,
    req: S3Request<PutBucketNotificationConfigurationInput>,
) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let asked = &req.input.notification_configuration;
    let none = asked.event_bridge_configuration.is_none()
        && asked.lambda_function_configurations.as_ref().is_none_or(Vec::is_empty)
        && asked.queue_configurations.as_ref().is_none_or(Vec::is_empty)
        && asked.topic_configurations.as_ref().is_none_or(Vec::is_empty);
    match none {
        true => Ok(S3Response::new(PutBucketNotificationConfigurationOutput {})),
        false => Err(not_implemented("Event notifications")),
    }
}
