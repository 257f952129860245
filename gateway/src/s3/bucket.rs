//! Buckets: create, head, list, delete, location, tags.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_wire::acl::Acl;
use holdfast_wire::bucket::{Bucket, BucketState};
use holdfast_wire::configuration::BucketChange;
use holdfast_wire::id::BucketName;
use holdfast_wire::placement::Placement;
use holdfast_wire::request::RootRefusal;
use http::{HeaderMap, StatusCode};
use s3s::dto;
use s3s::dto::{
    BucketLocationConstraint, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, GetBucketLocationInput, GetBucketLocationOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, PutBucketTaggingInput, PutBucketTaggingOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::answer::{owner, timestamp};
use super::grants::{Parties, said};
use super::request::requester;
use super::{ResponseStatus, S3Service, tags};
use crate::auth::Lister;
use crate::ownership::Ownership;
use crate::router::RouteError;

/// Request header of CreateBucket: what of a key the placement hash sees.
pub const PLACEMENT: &str = "x-holdfast-placement";

/// The region in which creating one's own bucket again succeeds, and which `GetBucketLocation` names by nothing.
const CLASSIC_REGION: &str = "us-east-1";

/// Buckets of one page of ListBuckets.
const PAGE_MAX: i32 = 10_000;

fn placement(headers: &HeaderMap) -> S3Result<Placement> {
    match headers.get(PLACEMENT).map(|value| value.to_str()) {
        None | Some(Ok("root")) => Ok(Placement::RootDirectory),
        Some(Ok("key")) => Ok(Placement::WholeKey),
        Some(_) => Err(s3_error!(InvalidArgument, "{PLACEMENT} is either root or key")),
    }
}

/// CreateBucket
pub async fn create(s3: &S3Service, mut req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
    let input = &mut req.input;
    let name: BucketName = input.bucket.parse().map_err(|_| s3_error!(InvalidBucketName))?;
    let placement = placement(&req.headers)?;
    let lock = input.object_lock_enabled_for_bucket == Some(true);
    let controls = input.object_ownership.as_ref().map(|controls| controls.as_str().parse::<Ownership>());
    let controls =
        controls.transpose().map_err(|error| s3_error!(InvalidArgument, "x-amz-object-ownership: {error}"))?;
    let configuration = input.create_bucket_configuration.take().unwrap_or_default();
    if let Some(location) = configuration.location_constraint
        && !location.as_str().is_empty()
        && location.as_str() != s3.config.region
    {
        return Err(s3_error!(InvalidLocationConstraint));
    }
    let tags = tags::of_bucket(configuration.tags.unwrap_or_default())?;
    let Some(owner) = requester(&req.extensions) else { return Err(s3_error!(AccessDenied)) };
    let parties = Parties { owner: &owner, bucket: &owner, object: false };
    let said = said!(bucket input);
    let list = match controls.unwrap_or(s3.config.default_ownership).lists_count() {
        true => said.list(&parties)?,
        false => said.changes_nothing(&owner).map(|()| None).map_err(with_ownership)?,
    };
    let list = list.unwrap_or_else(|| Acl::private(&owner));
    s3.resolve(&list, &parties).await?;
    let documents = Ownership::documents(controls, s3.config.default_ownership, &list);
    match s3.router.create_bucket(name.clone(), owner.clone(), placement, tags, (lock, documents)).await {
        Ok(_) => {}
        Err(RouteError::Root(RootRefusal::BucketExists(bucket))) if bucket.owner == owner => {
            if s3.config.region != CLASSIC_REGION {
                return Err(s3_error!(BucketAlreadyOwnedByYou));
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")), ..Default::default() }))
}

/// A list that lists' not counting makes impossible, as S3 calls it where both are asked for at once.
fn with_ownership(error: S3Error) -> S3Error {
    match error.code() {
        S3ErrorCode::AccessControlListNotSupported => s3_error!(
            InvalidBucketAclWithObjectOwnership,
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"
        ),
        _ => error,
    }
}

/// HeadBucket
pub async fn head(s3: &S3Service, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let region = Some(s3.config.region.clone());
    Ok(S3Response::new(HeadBucketOutput { bucket_region: region, ..Default::default() }))
}

/// ListBuckets
pub async fn list(s3: &S3Service, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let lister = req.extensions.get::<Lister>().cloned();
    let input = req.input;
    let limit = match input.max_buckets {
        None => PAGE_MAX,
        Some(limit @ 1..=PAGE_MAX) => limit,
        Some(_) => return Err(s3_error!(InvalidArgument, "max-buckets must be between 1 and {PAGE_MAX}")),
    };
    let after = match input.continuation_token.as_deref() {
        None | Some("") => None,
        Some(token) => Some(untoken(token)?),
    };
    let Some(requester) = requester(&req.extensions) else { return Err(s3_error!(AccessDenied)) };
    let everything = requester == s3.config.root_access_key;
    let elsewhere = input.bucket_region.as_ref().is_some_and(|region| *region != s3.config.region);
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let shown = |bucket: &Bucket| {
        bucket.state != BucketState::Creating
            && !elsewhere
            && bucket.name.as_str().starts_with(prefix)
            && after.as_deref().is_none_or(|after| bucket.name.as_str() > after)
    };
    let mut buckets: Vec<Bucket> = Vec::new();
    for bucket in s3.router.buckets().await?.into_iter().filter(shown) {
        let own = everything || bucket.owner == requester;
        if own || matches!(&lister, Some(lister) if lister.shows(&bucket).await) {
            buckets.push(bucket);
        }
        if buckets.len() > limit as usize {
            break;
        }
    }
    let more = buckets.len() > limit as usize;
    buckets.truncate(limit as usize);
    let token = buckets.last().filter(|_| more).map(|bucket| URL_SAFE_NO_PAD.encode(bucket.name.as_str()));
    let region = (input.max_buckets.is_some() || input.prefix.is_some()).then(|| s3.config.region.clone());
    let buckets = buckets.iter().map(|bucket| dto::Bucket {
        name: Some(bucket.name.to_string()),
        creation_date: Some(timestamp(bucket.created_ms)),
        bucket_region: region.clone(),
        bucket_arn: None,
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token: token,
        owner: Some(owner(&requester)),
        prefix: input.prefix,
    }))
}

fn untoken(token: &str) -> S3Result<String> {
    let bad = || s3_error!(InvalidArgument, "The continuation token provided is incorrect");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let name = String::from_utf8(bytes).map_err(|_| bad())?;
    BucketName::try_from(name).map(String::from).map_err(|_| bad())
}

/// DeleteBucket
pub async fn delete(s3: &S3Service, req: S3Request<DeleteBucketInput>) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    s3.router.delete_bucket(bucket.name.clone()).await?;
    Ok(S3Response::new(DeleteBucketOutput {}))
}

/// GetBucketLocation
pub async fn location(
    s3: &S3Service,
    req: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    let region = s3.config.region.clone();
    let location_constraint = (region != CLASSIC_REGION).then(|| BucketLocationConstraint::from(region));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// GetBucketTagging
pub async fn tagging(
    s3: &S3Service,
    req: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    if bucket.tags.is_empty() {
        return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist"));
    }
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tags::to_set(&bucket.tags) }))
}

/// PutBucketTagging
pub async fn put_tagging(
    s3: &S3Service,
    req: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let input = req.input;
    let tags = tags::of_bucket(input.tagging.tag_set)?;
    let bucket = s3.bucket_now(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    s3.router.change_bucket(bucket.name.clone(), BucketChange::Tags(tags)).await?;
    let mut response = S3Response::new(PutBucketTaggingOutput {});
    response.extensions.insert(ResponseStatus(StatusCode::NO_CONTENT));
    Ok(response)
}

/// DeleteBucketTagging
pub async fn delete_tagging(
    s3: &S3Service,
    req: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let bucket = s3.bucket_now(&req.input.bucket, req.input.expected_bucket_owner.as_deref()).await?;
    if !bucket.tags.is_empty() {
        s3.router.change_bucket(bucket.name.clone(), BucketChange::Tags(Vec::new())).await?;
    }
    Ok(S3Response::new(DeleteBucketTaggingOutput {}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_root_or_key() {
        let headers =
            |value: &'static str| HeaderMap::from_iter([(PLACEMENT.parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(placement(&HeaderMap::new()).unwrap(), Placement::RootDirectory);
        assert_eq!(placement(&headers("root")).unwrap(), Placement::RootDirectory);
        assert_eq!(placement(&headers("key")).unwrap(), Placement::WholeKey);
        assert!(placement(&headers("hash")).is_err());
    }

    #[test]
    fn a_list_is_called_impossible_beside_ownership_alone() {
        let code = |error| with_ownership(error).code().as_str().to_owned();
        assert_eq!(code(s3_error!(AccessControlListNotSupported)), "InvalidBucketAclWithObjectOwnership");
        assert_eq!(code(s3_error!(InvalidArgument)), "InvalidArgument");
        assert_eq!(
            with_ownership(s3_error!(AccessControlListNotSupported)).status_code(),
            Some(StatusCode::BAD_REQUEST)
        );
    }

    #[test]
    fn tokens_come_back_or_are_refused() {
        assert_eq!(untoken(&URL_SAFE_NO_PAD.encode("my-bucket")).unwrap(), "my-bucket");
        assert!(untoken("?").is_err() && untoken(&URL_SAFE_NO_PAD.encode("No Bucket")).is_err());
    }
}
