//! The one table of operations: what each requires to be allowed, and on what. Authorization reads it, and the test
//! matrix is made of it. An operation without a row is the root key's alone.
//!
//! From the "Service Authorization Reference" and the permissions that the S3 API reference names per operation. Access
//! control lists require nothing here: those that let in people whom nobody named are asked about beside the table.

use http::HeaderMap;

/// What an action is required on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The account.
    Account,
    /// The bucket of the path.
    Bucket,
    /// The object of the path, of the form, or each of the body.
    Object,
    /// The object of `x-amz-copy-source`.
    Source,
    /// The object of `x-amz-rename-source`, in the bucket of the path.
    Renamed,
}

/// When an action is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// When no version is named.
    Current,
    /// When a version is named.
    Version,
    /// When this header is there.
    Header(&'static str),
}

/// One requirement.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The action: `s3:GetObject`.
    pub action: &'static str,
    /// On what.
    pub on: On,
    /// When.
    pub when: When,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, as s3s and the API reference have it.
    pub operation: &'static str,
    /// All that it requires.
    pub needs: &'static [Need],
}

macro_rules! table {
    ($($operation:ident: $($action:ident $on:ident $(if $when:tt)?),+;)*) => {
        /// Every operation.
        pub const TABLE: &[Row] = &[$(Row {
            operation: stringify!($operation),
            needs: &[$(Need {
                action: concat!("s3:", stringify!($action)),
                on: On::$on,
                when: table!(@ $($when)?),
            }),+],
        }),*];
    };
    (@) => { When::Always };
    (@ version) => { When::Version };
    (@ current) => { When::Current };
    (@ $header:literal) => { When::Header($header) };
}

table! {
    ListBuckets: ListAllMyBuckets Account;
    CreateBucket:
        CreateBucket Bucket,
        PutBucketObjectLockConfiguration Bucket if "x-amz-bucket-object-lock-enabled",
        PutBucketOwnershipControls Bucket if "x-amz-object-ownership";
    DeleteBucket: DeleteBucket Bucket;
    HeadBucket: ListBucket Bucket;
    GetBucketLocation: GetBucketLocation Bucket;
    ListObjects: ListBucket Bucket;
    ListObjectsV2: ListBucket Bucket;
    ListObjectVersions: ListBucketVersions Bucket;
    ListMultipartUploads: ListBucketMultipartUploads Bucket;

    GetBucketAbac: GetBucketAbac Bucket;
    PutBucketAbac: PutBucketAbac Bucket;
    GetBucketAccelerateConfiguration: GetAccelerateConfiguration Bucket;
    PutBucketAccelerateConfiguration: PutAccelerateConfiguration Bucket;
    GetBucketAcl: GetBucketAcl Bucket;
    PutBucketAcl: PutBucketAcl Bucket;
    GetBucketAnalyticsConfiguration: GetAnalyticsConfiguration Bucket;
    ListBucketAnalyticsConfigurations: GetAnalyticsConfiguration Bucket;
    PutBucketAnalyticsConfiguration: PutAnalyticsConfiguration Bucket;
    DeleteBucketAnalyticsConfiguration: PutAnalyticsConfiguration Bucket;
    GetBucketCors: GetBucketCORS Bucket;
    PutBucketCors: PutBucketCORS Bucket;
    DeleteBucketCors: PutBucketCORS Bucket;
    GetBucketEncryption: GetEncryptionConfiguration Bucket;
    PutBucketEncryption: PutEncryptionConfiguration Bucket;
    DeleteBucketEncryption: PutEncryptionConfiguration Bucket;
    GetBucketIntelligentTieringConfiguration: GetIntelligentTieringConfiguration Bucket;
    ListBucketIntelligentTieringConfigurations: GetIntelligentTieringConfiguration Bucket;
    PutBucketIntelligentTieringConfiguration: PutIntelligentTieringConfiguration Bucket;
    DeleteBucketIntelligentTieringConfiguration: PutIntelligentTieringConfiguration Bucket;
    GetBucketInventoryConfiguration: GetInventoryConfiguration Bucket;
    ListBucketInventoryConfigurations: GetInventoryConfiguration Bucket;
    PutBucketInventoryConfiguration: PutInventoryConfiguration Bucket;
    DeleteBucketInventoryConfiguration: PutInventoryConfiguration Bucket;
    GetBucketLifecycleConfiguration: GetLifecycleConfiguration Bucket;
    PutBucketLifecycleConfiguration: PutLifecycleConfiguration Bucket;
    DeleteBucketLifecycle: PutLifecycleConfiguration Bucket;
    GetBucketLogging: GetBucketLogging Bucket;
    PutBucketLogging: PutBucketLogging Bucket;
    GetBucketMetricsConfiguration: GetMetricsConfiguration Bucket;
    ListBucketMetricsConfigurations: GetMetricsConfiguration Bucket;
    PutBucketMetricsConfiguration: PutMetricsConfiguration Bucket;
    DeleteBucketMetricsConfiguration: PutMetricsConfiguration Bucket;
    GetBucketMetadataConfiguration: GetBucketMetadataTableConfiguration Bucket;
    CreateBucketMetadataConfiguration: CreateBucketMetadataTableConfiguration Bucket;
    DeleteBucketMetadataConfiguration: DeleteBucketMetadataTableConfiguration Bucket;
    GetBucketMetadataTableConfiguration: GetBucketMetadataTableConfiguration Bucket;
    CreateBucketMetadataTableConfiguration: CreateBucketMetadataTableConfiguration Bucket;
    DeleteBucketMetadataTableConfiguration: DeleteBucketMetadataTableConfiguration Bucket;
    GetBucketNotificationConfiguration: GetBucketNotification Bucket;
    PutBucketNotificationConfiguration: PutBucketNotification Bucket;
    GetBucketOwnershipControls: GetBucketOwnershipControls Bucket;
    PutBucketOwnershipControls: PutBucketOwnershipControls Bucket;
    DeleteBucketOwnershipControls: PutBucketOwnershipControls Bucket;
    GetBucketPolicy: GetBucketPolicy Bucket;
    PutBucketPolicy: PutBucketPolicy Bucket;
    DeleteBucketPolicy: DeleteBucketPolicy Bucket;
    GetBucketPolicyStatus: GetBucketPolicyStatus Bucket;
    GetPublicAccessBlock: GetBucketPublicAccessBlock Bucket;
    PutPublicAccessBlock: PutBucketPublicAccessBlock Bucket;
    DeletePublicAccessBlock: PutBucketPublicAccessBlock Bucket;
    GetBucketReplication: GetReplicationConfiguration Bucket;
    PutBucketReplication: PutReplicationConfiguration Bucket;
    DeleteBucketReplication: PutReplicationConfiguration Bucket;
    GetBucketRequestPayment: GetBucketRequestPayment Bucket;
    PutBucketRequestPayment: PutBucketRequestPayment Bucket;
    GetBucketTagging: GetBucketTagging Bucket;
    PutBucketTagging: PutBucketTagging Bucket;
    DeleteBucketTagging: PutBucketTagging Bucket;
    GetBucketVersioning: GetBucketVersioning Bucket;
    PutBucketVersioning: PutBucketVersioning Bucket;
    GetBucketWebsite: GetBucketWebsite Bucket;
    PutBucketWebsite: PutBucketWebsite Bucket;
    DeleteBucketWebsite: DeleteBucketWebsite Bucket;
    GetObjectLockConfiguration: GetBucketObjectLockConfiguration Bucket;
    PutObjectLockConfiguration: PutBucketObjectLockConfiguration Bucket;

    GetObject: GetObject Object if current, GetObjectVersion Object if version;
    HeadObject: GetObject Object if current, GetObjectVersion Object if version;
    GetObjectAttributes:
        GetObject Object if current, GetObjectAttributes Object if current,
        GetObjectVersion Object if version, GetObjectVersionAttributes Object if version;
    SelectObjectContent: GetObject Object;
    PutObject:
        PutObject Object,
        PutObjectTagging Object if "x-amz-tagging",
        PutObjectRetention Object if "x-amz-object-lock-mode",
        PutObjectLegalHold Object if "x-amz-object-lock-legal-hold";
    PostObject:
        PutObject Object,
        PutObjectTagging Object if "x-amz-tagging",
        PutObjectRetention Object if "x-amz-object-lock-mode",
        PutObjectLegalHold Object if "x-amz-object-lock-legal-hold";
    CopyObject:
        PutObject Object,
        PutObjectTagging Object if "x-amz-tagging",
        PutObjectRetention Object if "x-amz-object-lock-mode",
        PutObjectLegalHold Object if "x-amz-object-lock-legal-hold",
        GetObject Source if current,
        GetObjectVersion Source if version;
    RenameObject: PutObject Object, GetObject Renamed, DeleteObject Renamed;
    DeleteObject:
        DeleteObject Object if current,
        DeleteObjectVersion Object if version,
        BypassGovernanceRetention Object if "x-amz-bypass-governance-retention";
    DeleteObjects:
        DeleteObject Object if current,
        DeleteObjectVersion Object if version,
        BypassGovernanceRetention Object if "x-amz-bypass-governance-retention";
    RestoreObject: RestoreObject Object;
    GetObjectAcl: GetObjectAcl Object if current, GetObjectVersionAcl Object if version;
    PutObjectAcl: PutObjectAcl Object if current, PutObjectVersionAcl Object if version;
    GetObjectTagging: GetObjectTagging Object if current, GetObjectVersionTagging Object if version;
    PutObjectTagging: PutObjectTagging Object if current, PutObjectVersionTagging Object if version;
    DeleteObjectTagging: DeleteObjectTagging Object if current, DeleteObjectVersionTagging Object if version;
    GetObjectRetention: GetObjectRetention Object;
    PutObjectRetention:
        PutObjectRetention Object,
        BypassGovernanceRetention Object if "x-amz-bypass-governance-retention";
    GetObjectLegalHold: GetObjectLegalHold Object;
    PutObjectLegalHold: PutObjectLegalHold Object;
    GetObjectTorrent: GetObjectTorrent Object;

    CreateMultipartUpload:
        PutObject Object,
        PutObjectTagging Object if "x-amz-tagging",
        PutObjectRetention Object if "x-amz-object-lock-mode",
        PutObjectLegalHold Object if "x-amz-object-lock-legal-hold";
    UploadPart: PutObject Object;
    UploadPartCopy: PutObject Object, GetObject Source if current, GetObjectVersion Source if version;
    CompleteMultipartUpload: PutObject Object;
    AbortMultipartUpload: AbortMultipartUpload Object;
    ListParts: ListMultipartUploadParts Object;
}

/// Operations whose keys, or whose tags, stand in the body: they are authorized when it has been read.
pub const IN_BODY: [&str; 3] = ["DeleteObjects", "PostObject", "PutObjectTagging"];

/// An object or a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place<'a> {
    /// The bucket.
    pub bucket: &'a str,
    /// The object's key; empty: the bucket itself.
    pub key: &'a str,
    /// The version, where one is named.
    pub version: Option<&'a str>,
}

impl Place<'_> {
    /// Its ARN; that of no bucket is what `*` and `arn:aws:s3:::*` match.
    pub fn arn(&self) -> String {
        match self.key {
            "" => format!("arn:aws:s3:::{}", self.bucket),
            key => format!("arn:aws:s3:::{}/{key}", self.bucket),
        }
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Of the path.
    pub place: Place<'a>,
    /// Of `x-amz-copy-source` or `x-amz-rename-source`.
    pub source: Option<Place<'a>>,
    /// The request's headers.
    pub headers: &'a HeaderMap,
}

/// One action that has to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Required<'a> {
    /// The action.
    pub action: &'static str,
    /// On what.
    pub place: Place<'a>,
}

/// The row of an operation.
pub fn row(operation: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.operation == operation)
}

/// All that has to be allowed for `operation`; `None` if it has no row, or names no source where it needs one.
pub fn required<'a>(operation: &str, target: &Target<'a>) -> Option<Vec<Required<'a>>> {
    let mut all = Vec::with_capacity(2);
    for need in row(operation)?.needs {
        let place = match need.on {
            On::Account => Place::default(),
            On::Bucket => Place { key: "", ..target.place },
            On::Object => target.place,
            On::Source | On::Renamed => target.source?,
        };
        let applies = match need.when {
            When::Always => true,
            When::Current => place.version.is_none(),
            When::Version => place.version.is_some(),
            When::Header(name) => target.headers.get(name).is_some_and(|value| !value.is_empty() && value != "false"),
        };
        if applies {
            all.push(Required { action: need.action, place });
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::action;

    #[test]
    fn every_operation_stands_once_and_requires_actions_that_there_are() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE[at + 1..].iter().all(|other| other.operation != row.operation), "{}", row.operation);
            for need in row.needs {
                let name = need.action.strip_prefix("s3:").unwrap();
                let level = action::all().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}")).1;
                let expected = match need.on {
                    On::Account => action::Level::Account,
                    On::Bucket => action::Level::Bucket,
                    On::Object | On::Source | On::Renamed => action::Level::Object,
                };
                assert_eq!(level, expected, "{name}");
            }
        }
        assert!(IN_BODY.iter().all(|operation| row(operation).is_some()));
    }

    #[test]
    fn versions_sources_and_headers_decide_what_is_required() {
        let headers = HeaderMap::from_iter([("x-amz-tagging".parse().unwrap(), "a=b".parse().unwrap())]);
        let place = |bucket, key, version| Place { bucket, key, version };
        let target =
            Target { place: place("b", "k", None), source: Some(place("s", "t", Some("v"))), headers: &headers };
        let found: Vec<_> = required("CopyObject", &target)
            .unwrap()
            .iter()
            .map(|required| format!("{} {}", required.action, required.place.arn()))
            .collect();
        assert_eq!(
            found,
            [
                "s3:PutObject arn:aws:s3:::b/k",
                "s3:PutObjectTagging arn:aws:s3:::b/k",
                "s3:GetObjectVersion arn:aws:s3:::s/t"
            ]
        );
        assert!(required("CopyObject", &Target { source: None, ..target }).is_none(), "no source, no permission");
        assert!(required("Nonsense", &target).is_none());
    }
}
