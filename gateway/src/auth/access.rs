//! The access check: who asks, and may they do all that the [`table`] requires?
//!
//! s3s asks here once per request, after the signature and before the body; for operations whose keys or tags stand in the
//! body once more when that was read. It does not ask when no key provider is set: the gateway always sets one.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use holdfast_wire::bucket::Bucket;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{CopySource, DeleteObjectsInput, ObjectIdentifier, PostObjectInput, PutObjectTaggingInput};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, s3_error};

use super::authorize::{Authorizer, Buckets, Judged, Lookup, Subject, Unreadable};
use super::facts::{RequestFacts, Tags};
use super::keyring::Keyring;
use super::origin::Origin;
use super::pass::Pass;
use super::slot::{Refused, Slot};
use super::table::{self, IN_BODY, Place, Required, Target};
use super::who::Who;
use crate::error::slow_down;
use crate::form::Signatory;
use crate::guard::query;
use crate::guard::table::REFUSED;
use crate::ownership::Ownership;
use crate::policy::{Decision, Source};

/// The access check.
pub struct Access {
    keyring: Arc<Keyring>,
    buckets: Option<Arc<dyn Buckets>>,
    authorizer: Arc<Authorizer>,
    region: String,
}

/// Keys of a bulk delete that the caller must not touch. An extension of its request.
#[derive(Clone, Debug, Default)]
pub struct Forbidden(Arc<BTreeSet<(String, Option<String>)>>);

impl Forbidden {
    /// The error for one object of a bulk delete, if the caller must not touch it.
    pub fn refuses(extensions: &http::Extensions, object: &ObjectIdentifier) -> Option<S3Error> {
        let forbidden = extensions.get::<Self>()?;
        let named = (object.key.clone(), object.version_id.clone());
        forbidden.0.contains(&named).then(|| S3Error::with_message(S3ErrorCode::AccessDenied, "Access Denied"))
    }
}

/// Which of all buckets a caller may list. An extension of `ListBuckets`.
#[derive(Clone)]
pub struct Lister(Arc<Listing>);

/// Decides about one bucket.
type Listing = dyn Fn(&Bucket) -> BoxFuture<'static, bool> + Send + Sync;

impl Lister {
    /// Whether the caller may list the objects of `bucket`, and so learn that it is there.
    pub async fn shows(&self, bucket: &Bucket) -> bool {
        (self.0)(bucket).await
    }
}

/// The parts of a request that are asked about.
#[derive(Clone, Copy)]
struct Parts<'a> {
    who: &'a Who,
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    origin: Option<Origin>,
    slot: Option<&'a Slot>,
    prefix: Option<&'a str>,
    new_tags: Option<&'a Tags>,
}

impl Parts<'_> {
    fn facts<'a>(&'a self, now_ms: u64, region: &'a str) -> RequestFacts<'a> {
        RequestFacts {
            who: self.who,
            method: self.method,
            uri: self.uri,
            headers: self.headers,
            origin: self.origin,
            now_ms,
            region,
            version: None,
            prefix: self.prefix,
            new_tags: self.new_tags,
            old_tags: None,
        }
    }
}

/// Bucket, key and version of an object.
type CopiedFrom = (Box<str>, Box<str>, Option<Box<str>>);

/// Where `x-amz-copy-source` points.
pub(super) fn copy_source(headers: &HeaderMap) -> Option<CopiedFrom> {
    match CopySource::parse(headers.get("x-amz-copy-source")?.to_str().ok()?).ok()? {
        CopySource::Bucket { bucket, key, version_id } => Some((bucket, key, version_id)),
        _ => None,
    }
}

impl Access {
    /// `buckets`: whom to ask about buckets; without it there are none, and only the root key may do anything.
    pub fn new(keyring: Arc<Keyring>, buckets: Option<Arc<dyn Buckets>>, region: String) -> Self {
        Self { keyring, buckets, authorizer: Arc::default(), region }
    }

    async fn find(&self, name: &str) -> Lookup {
        match &self.buckets {
            Some(buckets) => buckets.find(name).await,
            None => Lookup::Unknown,
        }
    }

    /// The decision about one requirement; an error where S3 gives another than `AccessDenied`.
    async fn decide(
        &self,
        operation: &str,
        parts: &Parts<'_>,
        (required, subject): (&Required<'_>, Subject),
    ) -> S3Result<(Decision, Option<Judged>)> {
        let name = required.place.bucket;
        let found = match name {
            "" => None,
            name => match self.find(name).await {
                Lookup::Found(bucket) => Some(bucket),
                Lookup::Missing => None,
                // Without the bucket nobody can say whose it is.
                Lookup::Unknown if matches!(parts.who, Who::Anonymous) => None,
                Lookup::Unknown => return Err(slow_down()),
            },
        };
        // An absent bucket may be created by whoever may create one.
        if found.is_none() && !name.is_empty() && operation != "CreateBucket" && self.is_missing(name).await {
            return Err(S3Error::new(S3ErrorCode::NoSuchBucket));
        }
        // Creating a bucket that is another's is no question of that bucket's policy.
        let bucket = found.as_deref().filter(|_| operation != "CreateBucket");
        let facts = parts.facts(self.keyring.now_ms(), &self.region);
        let deciding = self.authorizer.decide(self.buckets.as_deref(), (required, subject), bucket, facts);
        deciding.await.map_err(|Unreadable| slow_down())
    }

    async fn is_missing(&self, name: &str) -> bool {
        matches!(self.find(name).await, Lookup::Missing)
    }

    /// Whether the caller may learn that there is no such key: who could list it may.
    async fn may_miss(&self, operation: &str, parts: &Parts<'_>, place: Place<'_>) -> S3Result<bool> {
        let list = Required { action: "s3:ListBucket", place: Place { key: "", version: None, ..place } };
        let asking = Parts { prefix: Some(place.key), ..*parts };
        Ok(self.decide(operation, &asking, (&list, Subject::There)).await?.0.is_allowed())
    }

    /// What a request requires besides what stands in the table: a list that lets in people whom nobody named.
    async fn public_list(&self, operation: &str, place: Place<'_>, headers: &HeaderMap) -> Option<&'static str> {
        match operation {
            "CreateBucket" if makes_public(headers) => Some("s3:PutBucketAcl"),
            "PutObject" | "PostObject" | "CopyObject" | "CreateMultipartUpload" if makes_public(headers) => {
                match self.find(place.bucket).await {
                    Lookup::Found(bucket) if Ownership::of(&bucket).lists_count() => Some("s3:PutObjectAcl"),
                    // Refused as what it is.
                    Lookup::Found(_) | Lookup::Missing | Lookup::Unknown => None,
                }
            }
            _ => None,
        }
    }

    /// Lets a request through that may do all that its operation requires; says which object's list it hung on.
    async fn authorize(&self, operation: &str, parts: &Parts<'_>, place: Place<'_>) -> S3Result<Option<Judged>> {
        if parts.who.is_root() {
            return Ok(None);
        }
        let source = copy_source(parts.headers);
        // Where it cannot be read, the operation refuses it.
        let renamed = parts.headers.get("x-amz-rename-source").and_then(|value| value.to_str().ok());
        let renamed = renamed.and_then(|text| crate::s3::rename_source(text, place.bucket));
        let source = match (&source, &renamed) {
            (Some((bucket, key, version)), _) => Some(Place { bucket, key, version: version.as_deref() }),
            (None, Some(key)) => Some(Place { key, version: None, ..place }),
            (None, None) => None,
        };
        let target = Target { place, source, headers: parts.headers };
        let Some(all) = table::required(operation, &target) else {
            self.note(parts, "", &place, Decision::NotAllowed);
            return Err(denied("This operation is not allowed for this key"));
        };
        let listed = self.public_list(operation, place, parts.headers).await;
        let listed = listed.map(|action| (Required { action, place }, Subject::New));
        let mut hung = None;
        for (required, subject) in all.into_iter().map(|required| (required, Subject::There)).chain(listed) {
            let required = &required;
            let (decision, judged) = self.decide(operation, parts, (required, subject)).await?;
            hung = judged.or(hung);
            if !decision.is_allowed() {
                if judged == Some(Judged(None))
                    && decision == Decision::NotAllowed
                    && self.may_miss(operation, parts, required.place).await?
                {
                    continue;
                }
                let message = explain(parts.who, required, &decision);
                self.note(parts, required.action, &required.place, decision);
                return Err(denied(message));
            }
        }
        if matches!(operation, "GetObject" | "HeadObject" | "GetObjectAttributes" | "GetObjectTagging")
            && let Some(slot) = parts.slot
        {
            let may_list = self.may_miss(operation, parts, place).await?;
            slot.note(|found| found.hides_missing = !may_list);
        }
        Ok(hung)
    }

    fn note(&self, parts: &Parts<'_>, action: &'static str, place: &Place<'_>, decision: Decision) {
        if let Some(slot) = parts.slot {
            slot.note(|found| found.refused = Some(Refused { action, resource: place.arn(), decision }));
        }
    }

    fn lister(&self, who: &Who, cx: &S3AccessContext<'_>, origin: Option<Origin>) -> Lister {
        let (who, method, uri, headers) = (who.clone(), cx.method().clone(), cx.uri().clone(), cx.headers().clone());
        let (authorizer, region, now_ms) = (self.authorizer.clone(), self.region.clone(), self.keyring.now_ms());
        let shared = Arc::new((who, method, uri, headers, authorizer, region));
        Lister(Arc::new(move |bucket| {
            let (shared, bucket) = (shared.clone(), bucket.clone());
            Box::pin(async move {
                let (who, method, uri, headers, authorizer, region) = &*shared;
                if who.owns(&bucket.owner) {
                    return true;
                }
                let parts = Parts { who, method, uri, headers, origin, slot: None, prefix: None, new_tags: None };
                let place = Place { bucket: bucket.name.as_str(), key: "", version: None };
                let list = Required { action: "s3:ListBucket", place };
                let deciding =
                    authorizer.decide(None, (&list, Subject::There), Some(&bucket), parts.facts(now_ms, region));
                deciding.await.is_ok_and(|(decision, _)| decision.is_allowed())
            })
        }))
    }
}

fn denied(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessDenied, message)
}

/// What the caller is told: what it may know of its own policies, nothing of the bucket's.
fn explain(who: &Who, required: &Required<'_>, decision: &Decision) -> String {
    if matches!(who, Who::Anonymous) {
        return "Access Denied".to_owned();
    }
    let why = match decision {
        Decision::Denied(Source::Identity { .. }) => "with an explicit deny in an identity-based policy",
        Decision::Denied(Source::Session { .. }) => "with an explicit deny in a session policy",
        Decision::Denied(Source::Bucket { .. } | Source::Ownership | Source::List) => {
            "with an explicit deny in a resource-based policy"
        }
        Decision::NotInSession => "because no session policy allows the action",
        Decision::NotAllowed | Decision::Allowed(_) => "because no identity-based policy allows the action",
    };
    let (who, action, resource) = (who.arn(), required.action, required.place.arn());
    format!("User: {who} is not authorized to perform: {action} on resource: \"{resource}\" {why}")
}

/// Whether the headers ask for a list that lets in people whom nobody named.
fn makes_public(headers: &HeaderMap) -> bool {
    const GRANTS: [&str; 5] = [
        "x-amz-grant-full-control",
        "x-amz-grant-read",
        "x-amz-grant-read-acp",
        "x-amz-grant-write",
        "x-amz-grant-write-acp",
    ];
    let canned = headers.get("x-amz-acl").is_some_and(|name| {
        ["public-read", "public-read-write", "authenticated-read"].iter().any(|public| name == public)
    });
    let group = |name: &str| {
        let value = headers.get(name);
        value.is_some_and(|value| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("uri")))
    };
    canned || GRANTS.into_iter().any(group)
}

/// A parameter of the query.
fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let mut pairs = query::pairs(uri.query().unwrap_or_default());
    pairs.find(|pair| pair.name.eq_ignore_ascii_case(name)).map(|pair| pair.value.into_owned())
}

/// The session token, wherever it stands.
fn token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let in_header = headers.get("x-amz-security-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    in_header.or_else(|| parameter(uri, "X-Amz-Security-Token"))
}

/// Whether the signature was made for another service than S3.
fn signed_for_another(headers: &HeaderMap, uri: &Uri) -> bool {
    let in_header = headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let Some(text) = in_header.or_else(|| parameter(uri, "X-Amz-Credential")) else { return false };
    !text.contains("/s3/aws4_request")
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let pass = cx.extensions_mut().get::<Pass>().cloned();
        if pass.as_ref().is_some_and(Pass::is_earned) {
            return Ok(());
        }
        let slot = cx.extensions_mut().get::<Slot>().cloned();
        let origin = cx.extensions_mut().get::<Origin>().copied();
        let operation = cx.s3_op().name().to_owned();
        let operation = operation.as_str();
        let form = operation == "PostObject";
        let signatory = cx.extensions_mut().get::<Signatory>().cloned();
        let who = match cx.credentials() {
            // s3s gets forms without their signatures.
            _ if form => signatory.map_or(Who::Anonymous, |signatory| signatory.who),
            None => Who::Anonymous,
            Some(_) if signed_for_another(cx.headers(), cx.uri()) => {
                return Err(denied("The signature is for another service"));
            }
            Some(credentials) => {
                let token = token(cx.headers(), cx.uri());
                self.keyring.identify(&credentials.access_key, token.as_deref()).await?
            }
        };
        if let Some(slot) = &slot {
            slot.note(|found| found.who = Some(who.clone()));
        }
        cx.extensions_mut().insert(who.clone());
        if operation == "ListBuckets" {
            let lister = self.lister(&who, cx, origin);
            cx.extensions_mut().insert(lister);
        }
        if !IN_BODY.contains(&operation) {
            let version = parameter(cx.uri(), "versionId");
            let (bucket, key) = match (cx.s3_path().as_object(), cx.s3_path().get_bucket_name()) {
                (Some((bucket, key)), _) => (bucket, key),
                (None, bucket) => (bucket.unwrap_or_default(), ""),
            };
            let place = Place { bucket, key, version: version.as_deref() };
            let parts = Parts {
                who: &who,
                method: cx.method(),
                uri: cx.uri(),
                headers: cx.headers(),
                origin,
                slot: slot.as_ref(),
                prefix: None,
                new_tags: None,
            };
            let hung = self.authorize(operation, &parts, place).await?;
            if let Some(judged) = hung {
                cx.extensions_mut().insert(judged);
            }
        } else if matches!(who, Who::Anonymous)
            && !form
            && let Some(name) = cx.s3_path().get_bucket_name()
            && self.is_missing(name).await
        {
            return Err(S3Error::new(S3ErrorCode::NoSuchBucket));
        }
        // s3s would first ask for a body that is not there, or find fault with one that is.
        if REFUSED.contains(&operation) {
            return Err(s3_error!(NotImplemented, "{operation} is not implemented"));
        }
        if let Some(pass) = pass {
            pass.earn();
        }
        Ok(())
    }

    /// Every key on its own: what is forbidden is an error of that key.
    async fn delete_objects(&self, request: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let who = who(request)?;
        if who.is_root() {
            return Ok(());
        }
        let mut forbidden = BTreeSet::new();
        for object in &request.input.delete.objects {
            let parts = parts(request, &who, None);
            let (bucket, version) = (request.input.bucket.as_str(), object.version_id.as_deref());
            let place = Place { bucket, key: &object.key, version };
            match self.authorize("DeleteObjects", &parts, place).await {
                Ok(_) => {}
                Err(error) if *error.code() == S3ErrorCode::AccessDenied => {
                    forbidden.insert((object.key.clone(), object.version_id.clone()));
                }
                Err(error) => return Err(error),
            }
        }
        // AWS answers anonymous callers who may delete nothing at all as a whole.
        if matches!(who, Who::Anonymous) && forbidden.len() == request.input.delete.objects.len() {
            return Err(denied("Access Denied"));
        }
        request.extensions.insert(Forbidden(Arc::new(forbidden)));
        Ok(())
    }

    async fn put_object_tagging(&self, request: &mut S3Request<PutObjectTaggingInput>) -> S3Result<()> {
        let who = who(request)?;
        let input = &request.input;
        let tags: Tags = input.tagging.tag_set.iter().map(pair).collect();
        let place = Place { bucket: &input.bucket, key: &input.key, version: input.version_id.as_deref() };
        self.authorize("PutObjectTagging", &parts(request, &who, Some(&tags)), place).await?;
        Ok(())
    }

    /// Who signed a form was found out when it was read.
    async fn post_object(&self, request: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        let signatory = request.extensions.get::<Signatory>().cloned();
        let Signatory { who, fields } = signatory.ok_or_else(|| denied("Access Denied"))?;
        let input = &request.input;
        let place = Place { bucket: &input.bucket, key: &input.key, version: None };
        // A form's fields require, and say, what the headers of the same names do; its headers say nothing.
        let mut headers = request.headers.clone();
        let own: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).cloned().collect();
        own.iter().for_each(|name| drop(headers.remove(name)));
        let said = fields.iter().filter(|(name, _)| name.starts_with("x-amz-"));
        let renamed =
            [("x-amz-tagging", input.tagging.as_deref()), ("x-amz-acl", input.acl.as_ref().map(|acl| acl.as_str()))];
        for (name, value) in said.chain(renamed.into_iter().filter_map(|(name, value)| Some((name, value?)))) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
                headers.insert(name, value);
            }
        }
        let parts = Parts { headers: &headers, ..parts(request, &who, None) };
        self.authorize("PostObject", &parts, place).await?;
        request.extensions.insert(who);
        Ok(())
    }
}

fn pair(tag: &s3s::dto::Tag) -> (String, String) {
    (tag.key.clone().unwrap_or_default(), tag.value.clone().unwrap_or_default())
}

/// Who the first check found.
fn who<T>(request: &S3Request<T>) -> S3Result<Who> {
    request.extensions.get::<Who>().cloned().ok_or_else(|| denied("Access Denied"))
}

fn parts<'a, T>(request: &'a S3Request<T>, who: &'a Who, new_tags: Option<&'a Tags>) -> Parts<'a> {
    Parts {
        who,
        method: &request.method,
        uri: &request.uri,
        headers: &request.headers,
        origin: request.extensions.get::<Origin>().copied(),
        slot: request.extensions.get::<Slot>(),
        prefix: None,
        new_tags,
    }
}
