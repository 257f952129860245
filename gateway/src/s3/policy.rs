//! What decides who may use a bucket: its policy, its public access block, its ownership controls.

use holdfast_wire::acl::Acl;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::{BucketChange, Document};
use http::StatusCode;
use s3s::dto::{
    DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput, DeleteBucketPolicyInput,
    DeleteBucketPolicyOutput, DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput,
    GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, GetPublicAccessBlockInput, GetPublicAccessBlockOutput,
    ObjectOwnership, OwnershipControls, OwnershipControlsRule, PolicyStatus, PublicAccessBlockConfiguration,
    PutBucketOwnershipControlsInput, PutBucketOwnershipControlsOutput, PutBucketPolicyInput, PutBucketPolicyOutput,
    PutPublicAccessBlockInput, PutPublicAccessBlockOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::unconfigured::Absent;
use super::{ResponseStatus, S3Service};
use crate::error::custom;
use crate::ownership::{self, Ownership};
use crate::policy::{Policy, public};
use crate::public_access::PublicAccess;

async fn set(s3: &S3Service, bucket: &Bucket, kind: Document, text: Option<String>) -> S3Result<()> {
    if bucket.document(kind) != text.as_deref() {
        s3.router.change_bucket(bucket.name.clone(), BucketChange::Document(kind, text)).await?;
    }
    Ok(())
}

/// S3 answers these with 204.
fn done<T: Default>() -> S3Response<T> {
    let mut response = S3Response::new(T::default());
    response.extensions.insert(ResponseStatus(StatusCode::NO_CONTENT));
    response
}

/// PutBucketPolicy
pub async fn put(s3: &S3Service, req: S3Request<PutBucketPolicyInput>) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    let input = req.input;
    let bucket = s3.bucket_now(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let policy = Policy::bucket(&input.policy, bucket.name.as_str())
        .map_err(|error| custom("MalformedPolicy", StatusCode::BAD_REQUEST, error.to_string()))?;
    if public::is_public(&policy) && PublicAccess::of(&bucket).block_public_policy {
        return Err(s3_error!(AccessDenied, "The public access block of the bucket does not allow public policies"));
    }
    set(s3, &bucket, Document::Policy, Some(input.policy)).await?;
    Ok(done())
}

/// GetBucketPolicy: the document as it was put.
pub async fn get(s3: &S3Service, req: S3Request<GetBucketPolicyInput>) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let policy = bucket.document(Document::Policy).ok_or_else(|| Absent::Policy.error())?.to_owned();
    Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(policy) }))
}

/// DeleteBucketPolicy
pub async fn delete(
    s3: &S3Service,
    req: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    set(s3, &bucket, Document::Policy, None).await?;
    Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
}

/// GetBucketPolicyStatus: whether the policy is public.
pub async fn status(
    s3: &S3Service,
    req: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let text = bucket.document(Document::Policy).ok_or_else(|| Absent::Policy.error())?;
    // A policy that cannot be read lets nobody in.
    let is_public = Policy::bucket(text, bucket.name.as_str()).is_ok_and(|policy| public::is_public(&policy));
    let policy_status = Some(PolicyStatus { is_public: Some(is_public) });
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
}

/// PutPublicAccessBlock
pub async fn put_public_access(
    s3: &S3Service,
    req: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    let input = req.input;
    let bucket = s3.bucket_now(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let asked = input.public_access_block_configuration;
    let settings = PublicAccess {
        block_public_acls: asked.block_public_acls.unwrap_or(false),
        ignore_public_acls: asked.ignore_public_acls.unwrap_or(false),
        block_public_policy: asked.block_public_policy.unwrap_or(false),
        restrict_public_buckets: asked.restrict_public_buckets.unwrap_or(false),
    };
    set(s3, &bucket, Document::PublicAccessBlock, Some(settings.document())).await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}

/// GetPublicAccessBlock
pub async fn public_access(
    s3: &S3Service,
    req: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let found = PublicAccess::set(&bucket).ok_or_else(|| Absent::PublicAccessBlock.error())?;
    let configuration = PublicAccessBlockConfiguration {
        block_public_acls: Some(found.block_public_acls),
        ignore_public_acls: Some(found.ignore_public_acls),
        block_public_policy: Some(found.block_public_policy),
        restrict_public_buckets: Some(found.restrict_public_buckets),
    };
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) }))
}

/// DeletePublicAccessBlock
pub async fn delete_public_access(
    s3: &S3Service,
    req: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    set(s3, &bucket, Document::PublicAccessBlock, None).await?;
    Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
}

/// PutBucketOwnershipControls
pub async fn put_ownership(
    s3: &S3Service,
    req: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    let input = req.input;
    let bucket = s3.bucket_now(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let [rule] = &input.ownership_controls.rules[..] else { return Err(s3_error!(MalformedXML)) };
    let asked: Ownership = rule.object_ownership.as_str().parse().map_err(|_| s3_error!(MalformedXML))?;
    // Nobody is shut out silently.
    let shared = ownership::list_of(&bucket) != Acl::private(&bucket.owner);
    if !asked.lists_count() && Ownership::of(&bucket).lists_count() && shared {
        let message = "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting";
        return Err(custom("InvalidBucketAclWithObjectOwnership", StatusCode::BAD_REQUEST, message));
    }
    set(s3, &bucket, Document::OwnershipControls, Some(asked.as_str().to_owned())).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}

/// GetBucketOwnershipControls
pub async fn ownership(
    s3: &S3Service,
    req: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    bucket.document(Document::OwnershipControls).ok_or_else(|| Absent::Ownership.error())?;
    let rule =
        OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(Ownership::of(&bucket).as_str()) };
    let controls = OwnershipControls { rules: vec![rule] };
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls: Some(controls) }))
}

/// DeleteBucketOwnershipControls: what holds then holds by default, too.
pub async fn delete_ownership(
    s3: &S3Service,
    req: S3Request<DeleteBucketOwnershipControlsInput>,
) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    set(s3, &bucket, Document::OwnershipControls, None).await?;
    Ok(S3Response::new(DeleteBucketOwnershipControlsOutput::default()))
}
