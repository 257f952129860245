//! The query allow-list: which parameters mean what, per method and per what the path names.
//!
//! A *selector* turns the request into another operation (`?tagging`); a *modifier* qualifies the operation
//! (`versionId`). A row names only selectors that s3s routes to an operation of its own, so that nothing falls through to
//! the row's plain operation. Then:
//! two selectors, a repeated parameter or a selector without its partner are 400; a sub-resource that S3 knows and this row
//! does not is 501; on requests that change something, so is an unknown parameter without a value (it can only be meant
//! as a sub-resource); every other unknown parameter (`x-id`, what tracing tools add) is ignored, as AWS does.

use http::{HeaderMap, Method};

use super::path::Kind;
use super::query::{self, Pair};
use super::refusal::{Cause, Refusal};

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// What a request asks for. Configurations that share one fate are one operation here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Operation { $($name),* }

        impl Operation {
            /// All of them, in the order of their discriminants.
            pub const ALL: &'static [Operation] = &[$(Operation::$name),*];

            /// The name, as the S3 API reference has it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

operations! {
    ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketTagging, PutBucketTagging,
    DeleteBucketTagging, GetBucketVersioning, GetBucketConfiguration, PutBucketConfiguration,
    DeleteBucketConfiguration, ListObjects, ListObjectsV2, ListObjectVersions, ListMultipartUploads, DeleteObjects,
    PostObject, PutObject, CopyObject, GetObject, HeadObject, DeleteObject, GetObjectAttributes, GetObjectTagging,
    PutObjectTagging, DeleteObjectTagging, RenameObject, GetObjectConfiguration, PutObjectConfiguration,
    DeleteObjectConfiguration, CreateMultipartUpload, UploadPart, UploadPartCopy, CompleteMultipartUpload,
    AbortMultipartUpload, ListParts, SelectObjectContent, RestoreObject, SecurityToken, Preflight, Health, Unknown,
}

impl Operation {
    /// Whether the body is an object's content, streamed; every other body is a small document.
    pub fn streams(self) -> bool {
        matches!(self, Self::PutObject | Self::UploadPart | Self::PostObject)
    }
}

/// Operations that S3 has and this service never carries out, by their names in the API reference. They are refused once it
/// is known that the caller might ask for them, and before anything is read out of their bodies.
pub const REFUSED: [&str; 40] = [
    "CreateBucketMetadataConfiguration",
    "CreateBucketMetadataTableConfiguration",
    "CreateSession",
    "DeleteBucketAnalyticsConfiguration",
    "DeleteBucketIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration",
    "DeleteBucketMetadataConfiguration",
    "DeleteBucketMetadataTableConfiguration",
    "DeleteBucketMetricsConfiguration",
    "DeleteObjectAnnotation",
    "GetBucketAbac",
    "GetBucketAnalyticsConfiguration",
    "GetBucketIntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration",
    "GetBucketMetadataConfiguration",
    "GetBucketMetadataTableConfiguration",
    "GetBucketMetricsConfiguration",
    "GetObjectAnnotation",
    "GetObjectTorrent",
    "ListBucketAnalyticsConfigurations",
    "ListBucketIntelligentTieringConfigurations",
    "ListBucketInventoryConfigurations",
    "ListBucketMetricsConfigurations",
    "ListDirectoryBuckets",
    "ListObjectAnnotations",
    "ListenBucketNotification",
    "PutBucketAbac",
    "PutBucketAnalyticsConfiguration",
    "PutBucketIntelligentTieringConfiguration",
    "PutBucketInventoryConfiguration",
    "PutBucketMetricsConfiguration",
    "PutBucketReplication",
    "PutObjectAnnotation",
    "RestoreObject",
    "SelectObjectContent",
    "UpdateBucketMetadataAnnotationTableConfiguration",
    "UpdateBucketMetadataInventoryTableConfiguration",
    "UpdateBucketMetadataJournalTableConfiguration",
    "UpdateObjectEncryption",
    "WriteGetObjectResponse",
];

/// One line of the table.
struct Row {
    selectors: &'static [(&'static str, Operation)],
    modifiers: &'static [&'static str],
    /// The operation without a selector; `None`: the method is not allowed on this kind of path.
    plain: Option<Operation>,
    /// Whether an unknown parameter without a value is refused.
    strict: bool,
}

use Operation as Op;

const READ_CONFIGURATION: Op = Op::GetBucketConfiguration;
const WRITE_CONFIGURATION: Op = Op::PutBucketConfiguration;
const DELETE_CONFIGURATION: Op = Op::DeleteBucketConfiguration;

const GET_SERVICE: Row = Row {
    selectors: &[],
    modifiers: &["bucket-region", "continuation-token", "max-buckets", "prefix"],
    plain: Some(Op::ListBuckets),
    strict: false,
};

const GET_BUCKET: Row = Row {
    selectors: &[
        ("abac", READ_CONFIGURATION),
        ("accelerate", READ_CONFIGURATION),
        ("acl", READ_CONFIGURATION),
        ("analytics", READ_CONFIGURATION),
        ("cors", READ_CONFIGURATION),
        ("encryption", READ_CONFIGURATION),
        ("intelligent-tiering", READ_CONFIGURATION),
        ("inventory", READ_CONFIGURATION),
        ("lifecycle", READ_CONFIGURATION),
        ("location", Op::GetBucketLocation),
        ("logging", READ_CONFIGURATION),
        ("metadataConfiguration", READ_CONFIGURATION),
        ("metadataTable", READ_CONFIGURATION),
        ("metrics", READ_CONFIGURATION),
        ("notification", READ_CONFIGURATION),
        ("object-lock", READ_CONFIGURATION),
        ("ownershipControls", READ_CONFIGURATION),
        ("policy", READ_CONFIGURATION),
        ("policyStatus", READ_CONFIGURATION),
        ("publicAccessBlock", READ_CONFIGURATION),
        ("replication", READ_CONFIGURATION),
        ("requestPayment", READ_CONFIGURATION),
        ("session", READ_CONFIGURATION),
        ("tagging", Op::GetBucketTagging),
        ("uploads", Op::ListMultipartUploads),
        ("versioning", Op::GetBucketVersioning),
        ("versions", Op::ListObjectVersions),
        ("website", READ_CONFIGURATION),
    ],
    modifiers: &[
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "id",
        "key-marker",
        "list-type",
        "marker",
        "max-keys",
        "max-uploads",
        "prefix",
        "start-after",
        "upload-id-marker",
        "version-id-marker",
    ],
    plain: Some(Op::ListObjects),
    strict: false,
};

const GET_OBJECT: Row = Row {
    selectors: &[
        ("acl", Op::GetObjectConfiguration),
        ("annotation", Op::GetObjectConfiguration),
        ("attributes", Op::GetObjectAttributes),
        ("legal-hold", Op::GetObjectConfiguration),
        ("retention", Op::GetObjectConfiguration),
        ("tagging", Op::GetObjectTagging),
        ("torrent", Op::GetObjectConfiguration),
        ("uploadId", Op::ListParts),
    ],
    modifiers: &[
        "annotationName",
        "max-parts",
        "part-number-marker",
        "partNumber",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "versionId",
    ],
    plain: Some(Op::GetObject),
    strict: false,
};

const HEAD_BUCKET: Row = Row { selectors: &[], modifiers: &[], plain: Some(Op::HeadBucket), strict: false };

const HEAD_OBJECT: Row =
    Row { selectors: &[], modifiers: GET_OBJECT.modifiers, plain: Some(Op::HeadObject), strict: false };

const PUT_BUCKET: Row = Row {
    selectors: &[
        ("abac", WRITE_CONFIGURATION),
        ("accelerate", WRITE_CONFIGURATION),
        ("acl", WRITE_CONFIGURATION),
        ("analytics", WRITE_CONFIGURATION),
        ("cors", WRITE_CONFIGURATION),
        ("encryption", WRITE_CONFIGURATION),
        ("intelligent-tiering", WRITE_CONFIGURATION),
        ("inventory", WRITE_CONFIGURATION),
        ("lifecycle", WRITE_CONFIGURATION),
        ("logging", WRITE_CONFIGURATION),
        ("metadataAnnotationTable", WRITE_CONFIGURATION),
        ("metadataInventoryTable", WRITE_CONFIGURATION),
        ("metadataJournalTable", WRITE_CONFIGURATION),
        ("metrics", WRITE_CONFIGURATION),
        ("notification", WRITE_CONFIGURATION),
        ("object-lock", WRITE_CONFIGURATION),
        ("ownershipControls", WRITE_CONFIGURATION),
        ("policy", WRITE_CONFIGURATION),
        ("publicAccessBlock", WRITE_CONFIGURATION),
        ("replication", WRITE_CONFIGURATION),
        ("requestPayment", WRITE_CONFIGURATION),
        ("tagging", Op::PutBucketTagging),
        ("versioning", WRITE_CONFIGURATION),
        ("website", WRITE_CONFIGURATION),
    ],
    modifiers: &["id"],
    plain: Some(Op::CreateBucket),
    strict: true,
};

const PUT_OBJECT: Row = Row {
    selectors: &[
        ("acl", Op::PutObjectConfiguration),
        ("annotation", Op::PutObjectConfiguration),
        ("encryption", Op::PutObjectConfiguration),
        ("legal-hold", Op::PutObjectConfiguration),
        ("renameObject", Op::RenameObject),
        ("retention", Op::PutObjectConfiguration),
        ("tagging", Op::PutObjectTagging),
        ("uploadId", Op::UploadPart),
    ],
    modifiers: &["annotationName", "partNumber", "versionId"],
    plain: Some(Op::PutObject),
    strict: true,
};

const POST_BUCKET: Row = Row {
    selectors: &[
        ("delete", Op::DeleteObjects),
        ("metadataConfiguration", WRITE_CONFIGURATION),
        ("metadataTable", WRITE_CONFIGURATION),
    ],
    modifiers: &[],
    plain: None,
    strict: true,
};

const POST_OBJECT: Row = Row {
    selectors: &[
        ("restore", Op::RestoreObject),
        ("select", Op::SelectObjectContent),
        ("uploadId", Op::CompleteMultipartUpload),
        ("uploads", Op::CreateMultipartUpload),
    ],
    modifiers: &["select-type", "versionId"],
    plain: None,
    strict: true,
};

const DELETE_BUCKET: Row = Row {
    selectors: &[
        ("analytics", DELETE_CONFIGURATION),
        ("cors", DELETE_CONFIGURATION),
        ("encryption", DELETE_CONFIGURATION),
        ("intelligent-tiering", DELETE_CONFIGURATION),
        ("inventory", DELETE_CONFIGURATION),
        ("lifecycle", DELETE_CONFIGURATION),
        ("metadataConfiguration", DELETE_CONFIGURATION),
        ("metadataTable", DELETE_CONFIGURATION),
        ("metrics", DELETE_CONFIGURATION),
        ("ownershipControls", DELETE_CONFIGURATION),
        ("policy", DELETE_CONFIGURATION),
        ("publicAccessBlock", DELETE_CONFIGURATION),
        ("replication", DELETE_CONFIGURATION),
        ("tagging", Op::DeleteBucketTagging),
        ("website", DELETE_CONFIGURATION),
    ],
    modifiers: &["id"],
    plain: Some(Op::DeleteBucket),
    strict: true,
};

const DELETE_OBJECT: Row = Row {
    selectors: &[
        ("annotation", Op::DeleteObjectConfiguration),
        ("tagging", Op::DeleteObjectTagging),
        ("uploadId", Op::AbortMultipartUpload),
    ],
    modifiers: &["annotationName", "versionId"],
    plain: Some(Op::DeleteObject),
    strict: true,
};

/// A sub-resource of the S3 API, wherever it may stand.
fn is_subresource(name: &str) -> bool {
    const ELSEWHERE: [&str; 6] = ["append", "events", "list-type", "partNumber", "select-type", "uploadId"];
    let rows = [&GET_BUCKET, &GET_OBJECT, &PUT_BUCKET, &PUT_OBJECT, &POST_BUCKET, &POST_OBJECT];
    ELSEWHERE.contains(&name) || rows.iter().any(|row| row.selects(name).is_some())
}

impl Row {
    fn of(method: &Method, kind: Kind) -> Option<&'static Row> {
        match (method.as_str(), kind) {
            ("GET", Kind::Service) => Some(&GET_SERVICE),
            ("GET", Kind::Bucket) => Some(&GET_BUCKET),
            ("GET", Kind::Object) => Some(&GET_OBJECT),
            ("HEAD", Kind::Bucket) => Some(&HEAD_BUCKET),
            ("HEAD", Kind::Object) => Some(&HEAD_OBJECT),
            ("PUT", Kind::Bucket) => Some(&PUT_BUCKET),
            ("PUT", Kind::Object) => Some(&PUT_OBJECT),
            ("POST", Kind::Bucket) => Some(&POST_BUCKET),
            ("POST", Kind::Object) => Some(&POST_OBJECT),
            ("DELETE", Kind::Bucket) => Some(&DELETE_BUCKET),
            ("DELETE", Kind::Object) => Some(&DELETE_OBJECT),
            _ => None,
        }
    }

    fn selects(&self, name: &str) -> Option<Operation> {
        self.selectors.iter().find(|(selector, _)| *selector == name).map(|(_, operation)| *operation)
    }
}

/// What the modifiers of a query said, as far as a rule asks for them.
#[derive(Default)]
struct Modified {
    part_number: bool,
    version: bool,
    list_type: bool,
    select_type: bool,
    /// A modifier that means nothing without a sub-resource.
    dependent: Option<&'static str>,
    seen: u64,
}

/// What `method` on a path of this kind with this query asks for.
pub fn operation(method: &Method, kind: Kind, query: &str, headers: &HeaderMap) -> Result<Operation, Refusal> {
    if kind == Kind::Service && crate::sts::is_one(method, "/", headers) {
        return match query.is_empty() {
            true => Ok(Op::SecurityToken),
            false => Err(not_implemented(query)),
        };
    }
    let Some(row) = Row::of(method, kind) else {
        return Err(method_not_allowed(method));
    };
    let mut selected: Option<(&'static str, Operation)> = None;
    let mut modified = Modified::default();
    for pair in query::pairs(query) {
        let name = pair.name.as_ref();
        if let Some((selector, operation)) = row.selectors.iter().find(|(selector, _)| *selector == name) {
            if let Some((other, _)) = selected {
                return Err(conflict(other, selector));
            }
            selected = Some((selector, *operation));
        } else if let Some(index) = row.modifiers.iter().position(|modifier| *modifier == name) {
            modified.note(index, &pair)?;
        } else if is_subresource(name) || (row.strict && pair.value.is_empty() && !is_extension(name)) {
            return Err(not_implemented(name));
        }
    }
    let operation = match selected {
        Some((_, operation)) => operation,
        // WriteGetObjectResponse, whose path looks like a bucket's.
        None if *method == Method::POST && headers.contains_key("x-amz-request-route") => {
            return Err(not_implemented("x-amz-request-route"));
        }
        None => row.plain.or_else(|| posted_form(kind, headers)).ok_or_else(|| method_not_allowed(method))?,
    };
    // s3s takes every posted form for an upload and looks for its credentials in the form.
    if *method == Method::POST && operation != Op::PostObject && super::head::is_form(headers) {
        return Err(method_not_allowed(method));
    }
    modified.refine(operation, selected.is_some(), headers)
}

impl Modified {
    fn note(&mut self, index: usize, pair: &Pair<'_>) -> Result<(), Refusal> {
        let name = pair.name.as_ref();
        let bit = 1 << index;
        if self.seen & bit != 0 {
            return Err(conflict(name, name));
        }
        self.seen |= bit;
        match name {
            "partNumber" => self.part_number = true,
            "versionId" if pair.value.is_empty() => {
                return Err(invalid("Version id cannot be the empty string", name, &pair.value));
            }
            "versionId" => self.version = true,
            "list-type" if pair.value != "2" => return Err(invalid("Invalid List Type", name, &pair.value)),
            "list-type" => self.list_type = true,
            "select-type" => self.select_type = true,
            "id" => self.dependent = Some("id"),
            "annotationName" => self.dependent = Some("annotationName"),
            _ => {}
        }
        Ok(())
    }

    /// Rules between a selector and its modifiers.
    fn refine(&self, operation: Operation, selected: bool, headers: &HeaderMap) -> Result<Operation, Refusal> {
        let copy = headers.contains_key("x-amz-copy-source");
        if let Some(name) = self.dependent.filter(|_| !selected) {
            return Err(invalid("This parameter needs a sub-resource.", name, ""));
        }
        match operation {
            Op::UploadPart if !self.part_number => Err(invalid("An uploadId needs a partNumber.", "uploadId", "")),
            Op::UploadPart if copy => Ok(Op::UploadPartCopy),
            Op::PutObject if self.part_number => Err(invalid("A partNumber needs an uploadId.", "partNumber", "")),
            Op::PutObject if self.version => {
                Err(invalid("This operation does not accept a version-id.", "versionId", ""))
            }
            Op::PutObject if copy => Ok(Op::CopyObject),
            Op::ListParts if self.part_number => Err(conflict("uploadId", "partNumber")),
            Op::ListParts | Op::UploadPart | Op::AbortMultipartUpload | Op::CompleteMultipartUpload if self.version => {
                Err(conflict("uploadId", "versionId"))
            }
            Op::CreateMultipartUpload if self.version => {
                Err(invalid("This operation does not accept a version-id.", "versionId", ""))
            }
            Op::SelectObjectContent if !self.select_type => Err(invalid("A select needs a select-type.", "select", "")),
            Op::ListObjects if self.list_type => Ok(Op::ListObjectsV2),
            _ if self.list_type && selected => Err(Refusal::invalid_argument(
                "Conflicting query string parameters: list-type and a sub-resource",
                Cause::Query,
            )),
            other => Ok(other),
        }
    }
}

/// Parameters that anybody may add: signatures and what begins with `x-`.
fn is_extension(name: &str) -> bool {
    name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
}

/// A browser's form upload names no operation in the query.
fn posted_form(kind: Kind, headers: &HeaderMap) -> Option<Operation> {
    let form = kind == Kind::Bucket && super::head::is_form(headers);
    form.then_some(Op::PostObject)
}

fn conflict(one: &str, other: &str) -> Refusal {
    Refusal::invalid_argument(format!("Conflicting query string parameters: {one}, {other}"), Cause::Query)
        .with("ArgumentName", "ResourceType")
        .with("ArgumentValue", one)
}

fn invalid(message: &'static str, name: &str, value: &str) -> Refusal {
    Refusal::invalid_argument(message, Cause::Query).with("ArgumentName", name).with("ArgumentValue", value)
}

fn not_implemented(name: &str) -> Refusal {
    Refusal::not_implemented(Cause::Query).with("Header", name)
}

fn method_not_allowed(method: &Method) -> Refusal {
    Refusal::method_not_allowed(Cause::Query).with("Method", method.as_str())
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
