//! S3's operations on top of the [`Router`]: this file is their table; each operation is a function of the file that
//! its line names.
//!
//! s3s has authenticated and parsed; access was checked by its hooks. What arrives here is carried out, or refused
//! with the error that S3 gives.

mod acl;
mod answer;
mod attributes;
mod bucket;
mod complete;
mod condition;
mod copy;
mod delete;
pub(crate) mod document;
mod encryption;
mod get;
mod grants;
mod inert;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod policy;
mod post;
mod put;
mod rename;
#[cfg(any(test, feature = "fuzzing"))]
#[path = "tests/replica.rs"]
pub mod replica;
mod request;
mod tagging;
mod tags;
#[cfg(test)]
mod tests;
mod unconfigured;
mod uploads;
mod version;
mod versions;

use std::sync::Arc;

use bytes::Bytes;
use holdfast_wire::seam::Random;
use http::StatusCode;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use tokio_util::task::TaskTracker;

pub(crate) use answer::http_date;
pub use bucket::PLACEMENT;
pub(crate) use grants::UNKNOWN_CANNED;
#[cfg(feature = "fuzzing")]
pub use list::{token, untoken};
pub(crate) use rename::source_key as rename_source;
pub(crate) use request::INVALID_VERSION;
pub use request::{ACK, READ, SEQ};

use crate::ownership::Ownership;
use crate::router::Router;
use crate::seal::KeyRing;
use unconfigured::{Absent, absent, removed};

/// What operations need to know of the configuration.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// The region that this endpoint is.
    pub region: String,
    /// Bodies of up to so many bytes travel within the log; longer ones become blobs.
    pub inline_max: u64,
    /// The root user, who sees every bucket.
    pub root_access_key: String,
    /// The cluster's keys; without them there is no SSE-S3.
    pub keys: Option<Arc<KeyRing>>,
    /// Whether customers may send their keys over plain HTTP.
    pub customer_keys_over_http: bool,
    /// What a new bucket gets whose maker says nothing of it.
    pub default_ownership: Ownership,
    /// Milliseconds of what lifecycle rules call a day: a day, but in tests.
    pub lifecycle_day_ms: u64,
}

impl S3Config {
    /// Region `us-east-1`, 64 KiB inline, no keys.
    pub fn new(root_access_key: String) -> Self {
        Self {
            region: "us-east-1".to_owned(),
            inline_max: 64 << 10,
            root_access_key,
            keys: None,
            customer_keys_over_http: false,
            default_ownership: Ownership::Enforced,
            lifecycle_day_ms: holdfast_wire::lock::DAY_MS,
        }
    }
}

/// An extension of an answer whose status s3s does not choose as S3 does: the server sets it on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseStatus(pub StatusCode);

/// An extension of an answer whose document s3s does not write as S3 does: the server puts it in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseDocument(pub Bytes);

/// S3 on top of a [`Router`].
pub struct S3Service {
    router: Router,
    random: Arc<dyn Random>,
    config: S3Config,
    /// Work that outlives a client who leaves.
    tasks: TaskTracker,
}

impl S3Service {
    /// S3 on top of `router`; `random` names uploads.
    pub fn new(router: Router, random: Arc<dyn Random>, config: S3Config) -> Self {
        Self { router, random, config, tasks: TaskTracker::new() }
    }

    /// Work under way that outlives its client; to be closed and awaited before the process ends.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}

/// Implements [`S3`]: `= FUNCTION`, or `! WHAT` for a configuration that is never there, or `- removed` for removing it. Operations
/// without a line answer 501 `NotImplemented`.
macro_rules! operations {
    ($( $name:ident ($input:ident) -> $output:ident $how:tt $what:path ; )*) => {
        #[async_trait::async_trait]
        impl S3 for S3Service {
            $(
                async fn $name(&self, req: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    operations!(@ $how self req $what)
                }
            )*
        }

        /// Every operation that is carried out: its method, how, and by what.
        #[cfg(test)]
        pub(crate) const OPERATIONS: &[(&str, &str, &str)] =
            &[$((stringify!($name), stringify!($how), stringify!($what))),*];
    };
    (@ = $s3:ident $req:ident $what:path) => { $what($s3, $req).await };
    (@ - $s3:ident $req:ident $what:path) => {
        $what($s3, &$req.input.bucket, $req.input.expected_bucket_owner.as_deref()).await
    };
    (@ ! $s3:ident $req:ident $what:path) => {
        absent($s3, &$req.input.bucket, $req.input.expected_bucket_owner.as_deref(), $what).await
    };
}

operations! {
    create_bucket(CreateBucketInput) -> CreateBucketOutput = bucket::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = bucket::head;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = bucket::list;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = bucket::delete;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = bucket::location;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = bucket::tagging;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = bucket::put_tagging;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = bucket::delete_tagging;

    put_object(PutObjectInput) -> PutObjectOutput = put::object;
    post_object(PostObjectInput) -> PostObjectOutput = post::object;
    get_object(GetObjectInput) -> GetObjectOutput = get::object;
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tagging::get;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tagging::put;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tagging::delete;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = attributes::object;
    rename_object(RenameObjectInput) -> RenameObjectOutput = rename::object;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::object;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete::object;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete::objects;
    list_objects(ListObjectsInput) -> ListObjectsOutput = list::v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = versions::list;

    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copy::part;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = complete::upload;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = uploads::list;
    list_parts(ListPartsInput) -> ListPartsOutput = uploads::parts;

    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = acl::bucket;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = acl::put_bucket;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = acl::object;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = acl::put_object;

    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = policy::get;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = policy::put;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = policy::delete;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = policy::status;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = policy::public_access;
    put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput = policy::put_public_access;
    delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput = policy::delete_public_access;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = policy::ownership;
    put_bucket_ownership_controls(PutBucketOwnershipControlsInput) -> PutBucketOwnershipControlsOutput = policy::put_ownership;
    delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput) -> DeleteBucketOwnershipControlsOutput = policy::delete_ownership;
    put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput = inert::put_request_payment;
    put_bucket_logging(PutBucketLoggingInput) -> PutBucketLoggingOutput = inert::put_logging;
    put_bucket_accelerate_configuration(PutBucketAccelerateConfigurationInput) -> PutBucketAccelerateConfigurationOutput = inert::put_accelerate;
    put_bucket_notification_configuration(PutBucketNotificationConfigurationInput) -> PutBucketNotificationConfigurationOutput = inert::put_notification;

    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = document::put_cors;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = document::cors;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = document::delete_cors;
    put_bucket_encryption(PutBucketEncryptionInput) -> PutBucketEncryptionOutput = document::put_encryption;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = document::encryption;
    delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput = document::delete_encryption;
    put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput = document::put_website;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = document::website;
    delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput = document::delete_website;

    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = version::of_bucket;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = version::put_bucket;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = lifecycle::get;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = lifecycle::put;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = lifecycle::delete;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = lock::configuration;
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput = lock::put_configuration;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = lock::retention;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = lock::put_retention;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = lock::legal_hold;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = lock::put_legal_hold;

    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = unconfigured::logging;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = unconfigured::notification;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput = unconfigured::accelerate;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = unconfigured::request_payment;

    delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput - removed;

    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput ! Absent::Replication;
}
