//! PutBucketVersioning, GetBucketVersioning.

use holdfast_wire::configuration::{BucketChange, Versioning};
use s3s::dto::{
    BucketVersioningStatus, GetBucketVersioningInput, GetBucketVersioningOutput, MFADelete, PutBucketVersioningInput,
    PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::request::not_implemented;

/// GetBucketVersioning: says nothing where versioning was never enabled.
pub async fn of_bucket(
    s3: &S3Service,
    req: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let status = match bucket.versioning() {
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(BucketVersioningStatus::SUSPENDED)),
    };
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..Default::default() }))
}

/// PutBucketVersioning
pub async fn put_bucket(
    s3: &S3Service,
    req: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let input = req.input;
    let asked = input.versioning_configuration;
    if asked.mfa_delete.as_ref().is_some_and(|delete| delete.as_str() != MFADelete::DISABLED) {
        return Err(not_implemented("MFA delete"));
    }
    let versioning = match asked.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        None | Some(_) => return Err(s3_error!(MalformedXML)),
    };
    let bucket = s3.bucket_now(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    s3.router.change_bucket(bucket.name.clone(), BucketChange::Versioning(versioning)).await?;
    Ok(S3Response::new(PutBucketVersioningOutput {}))
}
