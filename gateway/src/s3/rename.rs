//! RenameObject: one entry in the log, no bytes move. Old and new key must live in one shard.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::ObjectKey;
use holdfast_wire::request::{RenameObject, Write, WriteOutcome};
use percent_encoding::percent_decode_str;
use s3s::dto::{ETagCondition, RenameObjectInput, RenameObjectOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::answer::written;
use super::put::unexpected;
use super::request::{key, modes};
use super::{S3Service, condition};
use crate::error::custom;

/// The old key in `x-amz-rename-source`: percent-encoded, with or without `/BUCKET/` before it. The access check reads it
/// with this very function. `None`: not UTF-8.
pub fn source_key(text: &str, bucket: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    let own = decoded.strip_prefix('/').and_then(|path| path.strip_prefix(bucket));
    Some(own.and_then(|path| path.strip_prefix('/')).unwrap_or(&decoded).to_owned())
}

fn source(text: &str, bucket: &Bucket) -> S3Result<ObjectKey> {
    let source = source_key(text, bucket.name.as_str());
    key(source.ok_or_else(|| s3_error!(InvalidArgument, "The rename source is not UTF-8"))?)
}

/// The source's tags come as text.
fn tag(text: Option<&str>) -> S3Result<Option<ETagCondition>> {
    let tag = text.map(str::parse::<ETagCondition>).transpose();
    tag.map_err(|_| s3_error!(InvalidArgument, "Not an entity tag"))
}

/// RenameObject
pub async fn object(s3: &S3Service, mut req: S3Request<RenameObjectInput>) -> S3Result<S3Response<RenameObjectOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let bucket = s3.bucket(&input.bucket, None).await?;
    let from_key = source(&input.rename_source, &bucket)?;
    let target = condition::of_read(
        input.destination_if_match.as_ref(),
        input.destination_if_none_match.as_ref(),
        input.destination_if_modified_since.as_ref(),
        input.destination_if_unmodified_since.as_ref(),
    );
    let origin = condition::of_read(
        tag(input.source_if_match.as_deref())?.as_ref(),
        tag(input.source_if_none_match.as_deref())?.as_ref(),
        input.source_if_modified_since.as_ref(),
        input.source_if_unmodified_since.as_ref(),
    );
    if !s3.router.same_shard((&bucket, &from_key), (&bucket, &key)) {
        return Err(custom(
            "NotImplemented",
            http::StatusCode::NOT_IMPLEMENTED,
            "Old and new key live in different shards, between which a rename is not atomic: in this bucket it is \
             possible below one top-level directory. Copy and delete instead.",
        ));
    }
    let rename =
        RenameObject { bucket: bucket.id, key: key.clone(), from_key, condition: target, from_condition: origin };
    let answer = s3.router.write(&bucket, &key, modes, Write::Rename(rename)).await?;
    let WriteOutcome::Stored { seq, .. } = answer.outcome else { return Err(unexpected(&answer)) };
    Ok(written(RenameObjectOutput {}, seq, answer.ack))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::bucket;

    #[test]
    fn the_source_is_decoded_once_and_may_name_the_bucket() {
        let bucket = bucket(1, "bucket");
        for (text, expected) in [
            ("old", "old"),
            ("/bucket/old", "old"),
            ("bucket/old", "bucket/old"),
            ("/other/old", "/other/old"),
            ("a%2520b", "a%20b"),
            ("/bucket/a%2Fb", "a/b"),
        ] {
            assert_eq!(source(text, &bucket).unwrap().as_str(), expected, "{text}");
        }
        assert!(
            source("", &bucket).is_err() && source("/bucket/", &bucket).is_err() && source("%ff", &bucket).is_err()
        );
    }
}
