//! GetObjectTagging, PutObjectTagging, DeleteObjectTagging.

use holdfast_wire::request::Amendment;
use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::answer::version_id;
use super::lock::subject;
use super::request::version;
use super::{S3Service, tags};

/// GetObjectTagging
pub async fn get(
    s3: &S3Service,
    mut req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = &mut req.input;
    let version = version(input.version_id.as_deref())?;
    let (owner, name) = (input.expected_bucket_owner.as_deref(), std::mem::take(&mut input.key));
    let (bucket, object) = s3.record(&req.headers, &input.bucket, owner, name, version).await?;
    Ok(S3Response::new(GetObjectTaggingOutput {
        tag_set: tags::to_set(&object.detail.tags),
        version_id: version_id(&bucket, &object.summary),
    }))
}

/// PutObjectTagging
pub async fn put(
    s3: &S3Service,
    mut req: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = &mut req.input;
    let change = Amendment::Tags(tags::of_object(std::mem::take(&mut input.tagging.tag_set))?);
    let output = |version_id| PutObjectTaggingOutput { version_id };
    s3.amend(&req.headers, subject!(input), change, output).await
}

/// DeleteObjectTagging
pub async fn delete(
    s3: &S3Service,
    mut req: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = &mut req.input;
    let output = |version_id| DeleteObjectTaggingOutput { version_id };
    s3.amend(&req.headers, subject!(input), Amendment::Tags(Vec::new()), output).await
}
