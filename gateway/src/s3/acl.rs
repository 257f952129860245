//! Access lists, answered truthfully: the bucket's owner controls everything, nothing else can be granted.

use s3s::dto::{
    AccessControlPolicy, BucketCannedACL, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput,
    Grant, Grantee, ObjectCannedACL, Permission, PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput,
    PutObjectAclOutput, Type,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::owner;
use super::request::{canned_acl, version};

/// The only access list there is.
fn full_control(id: &str) -> Vec<Grant> {
    let grantee = Grantee {
        id: Some(id.to_owned()),
        display_name: Some(id.to_owned()),
        email_address: None,
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    vec![Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }]
}

/// GetBucketAcl
pub async fn bucket(s3: &S3Service, req: S3Request<GetBucketAclInput>) -> S3Result<S3Response<GetBucketAclOutput>> {
    let bucket = s3.bucket(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let grants = Some(full_control(&bucket.owner));
    Ok(S3Response::new(GetBucketAclOutput { grants, owner: Some(owner(&bucket.owner)) }))
}

/// GetObjectAcl
pub async fn object(s3: &S3Service, mut req: S3Request<GetObjectAclInput>) -> S3Result<S3Response<GetObjectAclOutput>> {
    let input = &mut req.input;
    let version = version(input.version_id.as_deref())?;
    let name = std::mem::take(&mut input.key);
    let owner_expected = input.expected_bucket_owner.as_deref();
    let (_, object) = s3.record(&req.headers, &input.bucket, owner_expected, name, version).await?;
    let id = &object.summary.owner;
    let output = GetObjectAclOutput { grants: Some(full_control(id)), owner: Some(owner(id)), ..Default::default() };
    Ok(S3Response::new(output))
}

/// Whether a policy grants nothing beyond what holds anyway.
fn grants_nothing_new(policy: Option<&AccessControlPolicy>, owner: &str) -> bool {
    let granted = policy.and_then(|policy| policy.grants.as_deref()).unwrap_or_default();
    granted.iter().all(|grant| {
        let to_owner = grant.grantee.as_ref().is_some_and(|grantee| grantee.id.as_deref() == Some(owner));
        let all = grant.permission.as_ref().is_some_and(|what| what.as_str() == Permission::FULL_CONTROL);
        to_owner && all
    })
}

/// PutBucketAcl
pub async fn put_bucket(s3: &S3Service, req: S3Request<PutBucketAclInput>) -> S3Result<S3Response<PutBucketAclOutput>> {
    let input = req.input;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let grants = input.grant_full_control.is_some()
        || input.grant_read.is_some()
        || input.grant_read_acp.is_some()
        || input.grant_write.is_some()
        || input.grant_write_acp.is_some();
    canned_acl(input.acl.as_ref().map(BucketCannedACL::as_str), grants)?;
    if !grants_nothing_new(input.access_control_policy.as_ref(), &bucket.owner) {
        return Err(s3_error!(AccessControlListNotSupported));
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
    let grants = input.grant_full_control.is_some()
        || input.grant_read.is_some()
        || input.grant_read_acp.is_some()
        || input.grant_write.is_some()
        || input.grant_write_acp.is_some();
    let name = std::mem::take(&mut input.key);
    let owner_expected = input.expected_bucket_owner.as_deref();
    let (_, object) = s3.record(&req.headers, &input.bucket, owner_expected, name, version).await?;
    canned_acl(input.acl.as_ref().map(ObjectCannedACL::as_str), grants)?;
    if !grants_nothing_new(input.access_control_policy.as_ref(), &object.summary.owner) {
        return Err(s3_error!(AccessControlListNotSupported));
    }
    Ok(S3Response::new(PutObjectAclOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_list_that_holds_anyway_is_accepted() {
        let policy = |grants| AccessControlPolicy { grants: Some(grants), owner: None };
        assert!(grants_nothing_new(None, "me"));
        assert!(grants_nothing_new(Some(&policy(full_control("me"))), "me"));
        assert!(!grants_nothing_new(Some(&policy(full_control("you"))), "me"));
    }
}
