//! RenameObject: one entry in the log, no bytes move. Old and new key must live in one shard.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::{ObjectKey, RequestId};
use holdfast_wire::request::{RenameObject, Write, WriteOutcome};
use percent_encoding::percent_decode_str;
use s3s::dto::{ETagCondition, RenameObjectInput, RenameObjectOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use sha2::{Digest, Sha256};

use super::answer::written;
use super::put::unexpected;
use super::request::{key, modes, requester};
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

/// Characters of a client's token.
const TOKEN_MAX: usize = 64;

/// The request's identity where the client gives it one: whoever sends the same rename under the same token once more
/// gets the first outcome, as long as the shard remembers it.
fn once(token: &str, caller: &str, bucket: &Bucket, (from, to): (&ObjectKey, &ObjectKey)) -> S3Result<RequestId> {
    if token.len() > TOKEN_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(s3_error!(InvalidArgument, "x-amz-client-token has at most {TOKEN_MAX} printable characters"));
    }
    let mut hash = Sha256::new();
    for text in ["rename", token, caller, &bucket.id.0.to_string(), from.as_str(), to.as_str()] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let hash: [u8; 32] = hash.finalize().into();
    let (id, _) = hash.split_first_chunk().expect("32 bytes are more than 16");
    Ok(RequestId(u128::from_be_bytes(*id)))
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
    let request = match input.client_token.as_deref() {
        Some(token) => {
            let caller = requester(&req.extensions).unwrap_or_default();
            Some(once(token, &caller, &bucket, (&from_key, &key))?)
        }
        None => None,
    };
    let rename =
        RenameObject { bucket: bucket.id, key: key.clone(), from_key, condition: target, from_condition: origin };
    let answer = s3.router.write_as(request, &bucket, &key, modes, Write::Rename(rename)).await?;
    let WriteOutcome::Stored { seq, .. } = answer.outcome else { return Err(unexpected(&answer)) };
    Ok(written(RenameObjectOutput {}, seq, answer.ack))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::bucket;

    #[test]
    fn a_token_stands_for_one_rename_of_one_caller() {
        let bucket = bucket(1, "bucket");
        let key = |text: &str| key(text.to_owned()).unwrap();
        let id =
            |token: &str, caller: &str, from: &str| once(token, caller, &bucket, (&key(from), &key("new"))).unwrap();
        assert_eq!(id("t", "ann", "old"), id("t", "ann", "old"));
        let others = [id("u", "ann", "old"), id("t", "bob", "old"), id("t", "ann", "older"), id("ta", "nn", "old")];
        assert!(others.iter().all(|other| *other != id("t", "ann", "old")));
        assert!(once(&"t".repeat(65), "ann", &bucket, (&key("a"), &key("b"))).is_err());
    }

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
