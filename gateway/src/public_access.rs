//! Public access block and ownership controls: how buckets keep them, and what they forbid.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Document;
use serde::{Deserialize, Serialize};

/// What a bucket's public access block forbids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
#[expect(clippy::struct_excessive_bools, reason = "S3's own four settings")]
pub struct PublicAccess {
    /// `BlockPublicAcls`: a list that grants anything to groups is not accepted.
    pub block_public_acls: bool,
    /// `IgnorePublicAcls`: what lists grant to groups counts for nothing.
    pub ignore_public_acls: bool,
    /// `BlockPublicPolicy`: a public policy is not accepted.
    pub block_public_policy: bool,
    /// `RestrictPublicBuckets`: a public policy lets in nobody anonymous.
    pub restrict_public_buckets: bool,
}

impl PublicAccess {
    /// A bucket's, if one is set.
    pub fn set(bucket: &Bucket) -> Option<Self> {
        serde_json::from_str(bucket.document(Document::PublicAccessBlock)?).ok()
    }

    /// What holds for a bucket. What cannot be read forbids all.
    pub fn of(bucket: &Bucket) -> Self {
        match bucket.document(Document::PublicAccessBlock) {
            None => Self::default(),
            Some(text) => serde_json::from_str(text).unwrap_or(Self {
                block_public_acls: true,
                ignore_public_acls: true,
                block_public_policy: true,
                restrict_public_buckets: true,
            }),
        }
    }

    /// As a bucket keeps it.
    pub fn document(&self) -> String {
        serde_json::to_string(self).expect("four truths are always serializable")
    }
}
