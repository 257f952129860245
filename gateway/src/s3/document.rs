//! Configurations that only gateways read, kept with the bucket as XML: default encryption, CORS, website.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::{BucketChange, Document};
use s3s::dto::{
    CORSConfiguration, DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketEncryptionInput,
    DeleteBucketEncryptionOutput, DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput, GetBucketCorsInput,
    GetBucketCorsOutput, GetBucketEncryptionInput, GetBucketEncryptionOutput, GetBucketWebsiteInput,
    GetBucketWebsiteOutput, PutBucketCorsInput, PutBucketCorsOutput, PutBucketEncryptionInput,
    PutBucketEncryptionOutput, PutBucketWebsiteInput, PutBucketWebsiteOutput, ServerSideEncryptionConfiguration,
    WebsiteConfiguration,
};
use s3s::xml::{Deserialize, Deserializer, Serialize, Serializer};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::encryption;
use super::request::not_implemented;
use super::unconfigured::Absent;

/// Rules of one CORS configuration.
const CORS_RULES_MAX: usize = 100;
/// Routing rules of one website configuration.
const ROUTING_RULES_MAX: usize = 50;

/// A configuration as it is kept.
pub fn write(configuration: &impl Serialize) -> S3Result<String> {
    let mut xml = Vec::new();
    let written = configuration.serialize(&mut Serializer::new(&mut xml));
    let text = String::from_utf8(xml).ok().filter(|_| written.is_ok());
    text.ok_or_else(|| s3_error!(MalformedXML))
}

/// The inverse of [`write`].
pub fn read<T: for<'xml> Deserialize<'xml>>(text: &str) -> S3Result<T> {
    T::deserialize(&mut Deserializer::new(text.as_bytes())).map_err(|error| {
        tracing::error!(%error, "a bucket's configuration cannot be read");
        s3_error!(InternalError)
    })
}

impl S3Service {
    async fn set_document(
        &self,
        (name, expected_owner): (&str, Option<&str>),
        kind: Document,
        text: Option<String>,
    ) -> S3Result<()> {
        let bucket = self.bucket_now(name, expected_owner).await?;
        if bucket.document(kind) != text.as_deref() {
            self.router.change_bucket(bucket.name.clone(), BucketChange::Document(kind, text)).await?;
        }
        Ok(())
    }

    async fn document<T: for<'xml> Deserialize<'xml>>(
        &self,
        (name, expected_owner): (&str, Option<&str>),
        kind: Document,
        absent: Absent,
    ) -> S3Result<T> {
        let bucket = self.bucket_now(name, expected_owner).await?;
        bucket.document(kind).map(read).transpose()?.ok_or_else(|| absent.error())
    }
}

/// The bucket that an input is about.
macro_rules! of {
    ($req:ident) => {
        ($req.input.bucket.as_str(), $req.input.expected_bucket_owner.as_deref())
    };
}

/// PutBucketCors
pub async fn put_cors(s3: &S3Service, req: S3Request<PutBucketCorsInput>) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let configuration = &req.input.cors_configuration;
    check_cors(configuration)?;
    s3.set_document(of!(req), Document::Cors, Some(write(configuration)?)).await?;
    Ok(S3Response::new(PutBucketCorsOutput {}))
}

/// What S3 demands of rules ("CORSRule", API reference).
fn check_cors(configuration: &CORSConfiguration) -> S3Result<()> {
    let rules = &configuration.cors_rules;
    if rules.is_empty() || rules.len() > CORS_RULES_MAX {
        return Err(s3_error!(MalformedXML));
    }
    for rule in rules {
        if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        if let Some(method) = rule
            .allowed_methods
            .iter()
            .find(|method| !["GET", "PUT", "POST", "DELETE", "HEAD"].contains(&method.as_str()))
        {
            return Err(s3_error!(
                InvalidRequest,
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            ));
        }
        let headers = rule.allowed_headers.iter().flatten();
        if let Some(pattern) = rule.allowed_origins.iter().find(|pattern| pattern.matches('*').count() > 1) {
            return Err(s3_error!(InvalidRequest, "AllowedOrigin \"{pattern}\" can not have more than one wildcard."));
        }
        if let Some(pattern) = headers.into_iter().find(|pattern| pattern.matches('*').count() > 1) {
            return Err(s3_error!(InvalidRequest, "AllowedHeader \"{pattern}\" can not have more than one wildcard."));
        }
        if let Some(name) = rule.expose_headers.iter().flatten().find(|name| name.contains('*')) {
            return Err(s3_error!(
                InvalidRequest,
                "ExposeHeader \"{name}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
            ));
        }
    }
    Ok(())
}

/// GetBucketCors
pub async fn cors(s3: &S3Service, req: S3Request<GetBucketCorsInput>) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let configuration: CORSConfiguration = s3.document(of!(req), Document::Cors, Absent::Cors).await?;
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(configuration.cors_rules) }))
}

/// DeleteBucketCors
pub async fn delete_cors(
    s3: &S3Service,
    req: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    s3.set_document(of!(req), Document::Cors, None).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput {}))
}

/// The CORS rules of a bucket.
pub fn cors_rules(bucket: &Bucket) -> S3Result<Option<CORSConfiguration>> {
    bucket.document(Document::Cors).map(read).transpose()
}

/// PutBucketEncryption
pub async fn put_encryption(
    s3: &S3Service,
    req: S3Request<PutBucketEncryptionInput>,
) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
    let configuration = &req.input.server_side_encryption_configuration;
    let [rule] = &configuration.rules[..] else { return Err(s3_error!(MalformedXML)) };
    if let Some(default) = &rule.apply_server_side_encryption_by_default {
        match default.sse_algorithm.as_str() {
            "AES256" if default.kms_master_key_id.is_some() => {
                return Err(s3_error!(
                    InvalidArgument,
                    "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
                ));
            }
            "AES256" if s3.config.keys.is_none() => return Err(encryption::no_keys()),
            "AES256" => {}
            "aws:kms" | "aws:kms:dsse" => return Err(not_implemented("Encryption with KMS keys")),
            _ => return Err(s3_error!(MalformedXML)),
        }
    }
    let blocked = rule.blocked_encryption_types.iter().filter_map(|blocked| blocked.encryption_type.as_ref());
    if blocked.flatten().any(|kind| !matches!(kind.as_str(), "SSE-C" | "NONE")) {
        return Err(s3_error!(MalformedXML));
    }
    if rule.apply_server_side_encryption_by_default.is_none() && rule.blocked_encryption_types.is_none() {
        return Err(s3_error!(MalformedXML));
    }
    s3.set_document(of!(req), Document::Encryption, Some(write(configuration)?)).await?;
    Ok(S3Response::new(PutBucketEncryptionOutput {}))
}

/// GetBucketEncryption
pub async fn encryption(
    s3: &S3Service,
    req: S3Request<GetBucketEncryptionInput>,
) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
    let configuration: ServerSideEncryptionConfiguration =
        s3.document(of!(req), Document::Encryption, Absent::Encryption).await?;
    Ok(S3Response::new(GetBucketEncryptionOutput { server_side_encryption_configuration: Some(configuration) }))
}

/// DeleteBucketEncryption
pub async fn delete_encryption(
    s3: &S3Service,
    req: S3Request<DeleteBucketEncryptionInput>,
) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
    s3.set_document(of!(req), Document::Encryption, None).await?;
    Ok(S3Response::new(DeleteBucketEncryptionOutput {}))
}

/// PutBucketWebsite: kept and given back; nothing here serves it.
pub async fn put_website(
    s3: &S3Service,
    req: S3Request<PutBucketWebsiteInput>,
) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
    check_website(&req.input.website_configuration)?;
    s3.set_document(of!(req), Document::Website, Some(write(&req.input.website_configuration)?)).await?;
    Ok(S3Response::new(PutBucketWebsiteOutput {}))
}

fn check_website(website: &WebsiteConfiguration) -> S3Result<()> {
    let served =
        website.index_document.is_some() || website.error_document.is_some() || website.routing_rules.is_some();
    match (&website.redirect_all_requests_to, &website.index_document) {
        (Some(redirect), None) if !served => match redirect.host_name.as_str() {
            "" => Err(s3_error!(InvalidArgument, "RedirectAllRequestsTo must contain a HostName")),
            _ => Ok(()),
        },
        (Some(_), _) => Err(s3_error!(
            InvalidArgument,
            "RedirectAllRequestsTo cannot be provided in conjunction with other configurations"
        )),
        (None, None) => Err(s3_error!(
            InvalidArgument,
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        )),
        (None, Some(index)) if index.suffix.is_empty() || index.suffix.contains('/') => {
            Err(s3_error!(InvalidArgument, "The IndexDocument Suffix is not well formed"))
        }
        (None, Some(_)) if website.routing_rules.as_ref().is_some_and(|rules| rules.len() > ROUTING_RULES_MAX) => {
            Err(s3_error!(InvalidRequest, "{ROUTING_RULES_MAX} is the most routing rules of one bucket"))
        }
        (None, Some(_)) => Ok(()),
    }
}

/// GetBucketWebsite
pub async fn website(
    s3: &S3Service,
    req: S3Request<GetBucketWebsiteInput>,
) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
    let website: WebsiteConfiguration = s3.document(of!(req), Document::Website, Absent::Website).await?;
    let WebsiteConfiguration { error_document, index_document, redirect_all_requests_to, routing_rules } = website;
    let output = GetBucketWebsiteOutput { error_document, index_document, redirect_all_requests_to, routing_rules };
    Ok(S3Response::new(output))
}

/// DeleteBucketWebsite
pub async fn delete_website(
    s3: &S3Service,
    req: S3Request<DeleteBucketWebsiteInput>,
) -> S3Result<S3Response<DeleteBucketWebsiteOutput>> {
    s3.set_document(of!(req), Document::Website, None).await?;
    Ok(S3Response::new(DeleteBucketWebsiteOutput {}))
}

#[cfg(test)]
mod tests {
    use s3s::dto::{CORSRule, IndexDocument, RedirectAllRequestsTo};

    use super::*;

    fn rule(method: &str, origin: &str) -> CORSRule {
        CORSRule {
            allowed_headers: Some(vec!["x-*".to_owned()]),
            allowed_methods: vec![method.to_owned()],
            allowed_origins: vec![origin.to_owned()],
            expose_headers: None,
            id: Some("one & <two>".to_owned()),
            max_age_seconds: Some(30),
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let cors = CORSConfiguration { cors_rules: vec![rule("GET", "https://*.example.com"), rule("PUT", "*")] };
        assert_eq!(read::<CORSConfiguration>(&write(&cors).unwrap()).unwrap(), cors);
        assert!(read::<CORSConfiguration>("<CORS/>").is_err());
    }

    #[test]
    fn rules_are_checked() {
        let check = |rule| check_cors(&CORSConfiguration { cors_rules: vec![rule] });
        let code = |rule| check(rule).unwrap_err().code().as_str().to_owned();
        assert!(check(rule("HEAD", "*")).is_ok());
        assert_eq!(code(rule("PATCH", "*")), "InvalidRequest");
        assert_eq!(code(rule("GET", "*.*")), "InvalidRequest");
        assert_eq!(
            code(CORSRule { allowed_headers: Some(vec!["*-*".to_owned()]), ..rule("GET", "*") }),
            "InvalidRequest"
        );
        assert_eq!(
            code(CORSRule { expose_headers: Some(vec!["x-*".to_owned()]), ..rule("GET", "*") }),
            "InvalidRequest"
        );
        assert_eq!(code(CORSRule { allowed_origins: vec![], ..rule("GET", "*") }), "MalformedXML");
        assert!(check_cors(&CORSConfiguration { cors_rules: vec![] }).is_err());
    }

    #[test]
    fn a_website_has_an_index_or_redirects() {
        let index = |suffix: &str| WebsiteConfiguration {
            index_document: Some(IndexDocument { suffix: suffix.to_owned() }),
            ..Default::default()
        };
        assert!(check_website(&index("index.html")).is_ok());
        assert!(check_website(&index("a/b")).is_err() && check_website(&index("")).is_err());
        assert!(check_website(&WebsiteConfiguration::default()).is_err());
        let redirect = Some(RedirectAllRequestsTo { host_name: "example.com".to_owned(), protocol: None });
        let all = WebsiteConfiguration { redirect_all_requests_to: redirect.clone(), ..Default::default() };
        assert!(check_website(&all).is_ok());
        assert!(check_website(&WebsiteConfiguration { redirect_all_requests_to: redirect, ..index("i") }).is_err());
    }
}
