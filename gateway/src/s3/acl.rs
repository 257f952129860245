//! GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl. Where a bucket's ownership lets no list count, its owner's full
//! control is the only one.

use holdfast_wire::acl::Acl;
use holdfast_wire::configuration::{BucketChange, Document};
use holdfast_wire::request::Amendment;
use s3s::dto::{
    GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, PutBucketAclInput,
    PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::owner;
use super::get::as_judged;
use super::grants::{self, Parties, said, shown};
use super::lock::Subject;
use super::request::version;
use crate::ownership::{self, Ownership};

/// GetBucketAcl
pub async fn bucket(s3: &S3Service, req: S3Request<GetBucketAclInput>) -> S3Result<S3Response<GetBucketAclOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let list = match Ownership::of(&bucket).lists_count() {
        true => ownership::list_of(&bucket),
        false => Acl::private(&bucket.owner),
    };
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(shown(&list)), owner: Some(owner(&bucket.owner)) }))
}

/// GetObjectAcl
pub async fn object(s3: &S3Service, mut req: S3Request<GetObjectAclInput>) -> S3Result<S3Response<GetObjectAclOutput>> {
    let input = &mut req.input;
    let version = version(input.version_id.as_deref())?;
    let name = std::mem::take(&mut input.key);
    let owner_expected = input.expected_bucket_owner.as_deref();
    let (bucket, object) = s3.record(&req.headers, &input.bucket, owner_expected, name, version).await?;
    as_judged(&req.extensions, &object)?;
    let (id, list) = match Ownership::of(&bucket).lists_count() {
        true => (&object.summary.owner, object.detail.acl),
        false => (&bucket.owner, None),
    };
    let list = list.unwrap_or_else(|| Acl::private(id));
    let output = GetObjectAclOutput { grants: Some(shown(&list)), owner: Some(owner(id)), ..Default::default() };
    Ok(S3Response::new(output))
}

/// PutBucketAcl
pub async fn put_bucket(s3: &S3Service, req: S3Request<PutBucketAclInput>) -> S3Result<S3Response<PutBucketAclOutput>> {
    let input = req.input;
    let bucket = s3.bucket_now(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let said = said!(bucket input, input.access_control_policy.as_ref());
    if !Ownership::of(&bucket).lists_count() {
        said.changes_nothing(&bucket.owner)?;
        return Ok(S3Response::new(PutBucketAclOutput {}));
    }
    let parties = Parties { owner: &bucket.owner, bucket: &bucket.owner, object: false };
    let list = said.list(&parties)?.ok_or_else(|| s3_error!(MissingSecurityHeader))?;
    grants::allowed(&bucket, &list)?;
    s3.resolve(&list, &parties).await?;
    let text = ownership::document(&list);
    if bucket.document(Document::Acl) != Some(text.as_str()) {
        s3.router.change_bucket(bucket.name.clone(), BucketChange::Document(Document::Acl, Some(text))).await?;
    }
    Ok(S3Response::new(PutBucketAclOutput {}))
}

/// PutObjectAcl
pub async fn put_object(
    s3: &S3Service,
    mut req: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let input = &mut req.input;
    let version = version(input.version_id.as_deref())?;
    let name = std::mem::take(&mut input.key);
    let expected = input.expected_bucket_owner.as_deref();
    let (bucket, object) = s3.record(&req.headers, &input.bucket, expected, name.clone(), version).await?;
    as_judged(&req.extensions, &object)?;
    let said = said!(bucket input, input.access_control_policy.as_ref());
    if !Ownership::of(&bucket).lists_count() {
        said.changes_nothing(&bucket.owner)?;
        return Ok(S3Response::new(PutObjectAclOutput::default()));
    }
    let parties = Parties { owner: &object.summary.owner, bucket: &bucket.owner, object: true };
    let list = said.list(&parties)?.ok_or_else(|| s3_error!(MissingSecurityHeader))?;
    grants::allowed(&bucket, &list)?;
    s3.resolve(&list, &parties).await?;
    // The version that was seen, and no later one, gets the list that its owner was asked about.
    let seen = object.summary.version().to_string();
    let subject = Subject { bucket: &input.bucket, owner: expected, key: name, version: Some(&seen) };
    let kept = Some(list).filter(|list| *list != Acl::private(parties.owner));
    s3.amend(&req.headers, subject, Amendment::Acl(kept), |_| PutObjectAclOutput::default()).await
}
