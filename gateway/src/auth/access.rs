//! What a request may do: with the root key everything, without one nothing.
//!
//! s3s asks here once per request, after the signature and before the body. It does not ask when no key provider is
//! set: the gateway always sets one.

use std::sync::Arc;

use holdfast_wire::id::BucketName;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::PostObjectInput;
use s3s::post_policy::PostPolicyCondition;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

use super::keys::RootKey;
use super::pass::Pass;
use crate::guard::credentials;
use crate::router::{RouteError, Router};

/// Which buckets exist, as far as an anonymous request may learn it.
#[async_trait::async_trait]
pub trait Buckets: Send + Sync + 'static {
    /// Whether the bucket exists; `None` when that cannot be said now.
    async fn exists(&self, name: &str) -> Option<bool>;
}

#[async_trait::async_trait]
impl Buckets for Router {
    async fn exists(&self, name: &str) -> Option<bool> {
        let name = BucketName::try_from(name.to_owned()).ok()?;
        match self.bucket(&name).await {
            Ok(_) => Some(true),
            Err(RouteError::NoSuchBucket) => Some(false),
            Err(_) => None,
        }
    }
}

/// The access check.
pub struct Access {
    root: RootKey,
    buckets: Option<Arc<dyn Buckets>>,
}

impl Access {
    /// `buckets`: whom to ask whether a bucket exists, for the 404 that AWS gives to anonymous requests.
    pub fn new(root: RootKey, buckets: Option<Arc<dyn Buckets>>) -> Self {
        Self { root, buckets }
    }

    async fn anonymous(&self, bucket: Option<&str>) -> S3Error {
        if let (Some(name), Some(buckets)) = (bucket, &self.buckets)
            && buckets.exists(name).await == Some(false)
        {
            return S3Error::new(S3ErrorCode::NoSuchBucket);
        }
        S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied")
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let pass = cx.extensions_mut().get::<Pass>().cloned();
        if pass.as_ref().is_some_and(Pass::is_earned) {
            return Ok(());
        }
        match cx.credentials() {
            Some(credentials) if self.root.is(&credentials.access_key) => {
                if let Some(pass) = pass {
                    pass.earn();
                }
                Ok(())
            }
            Some(_) => Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied")),
            // An absent bucket may be created by whoever may create one: that is not the anonymous.
            None if cx.s3_op().name() == "CreateBucket" => Err(self.anonymous(None).await),
            None => Err(self.anonymous(cx.s3_path().get_bucket_name()).await),
        }
    }

    /// A form's session token shows only now, in the policy: s3s has made sure that every field stands there.
    async fn post_object(&self, request: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        let conditions = request.input.policy.iter().flat_map(|policy| &policy.conditions);
        let mut fields = conditions.filter_map(|condition| match condition {
            PostPolicyCondition::Eq { field, .. } | PostPolicyCondition::StartsWith { field, .. } => Some(field),
            PostPolicyCondition::ContentLengthRange { .. } => None,
        });
        if fields.any(|field| field.eq_ignore_ascii_case("x-amz-security-token")) {
            return Err(S3Error::with_message(S3ErrorCode::InvalidToken, credentials::invalid_token().message));
        }
        Ok(())
    }
}
