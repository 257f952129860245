//! PutObject, and taking a body in for any write that brings bytes.

use futures::future::BoxFuture;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::{BlobId, ObjectKey};
use holdfast_wire::object::NewBody;
use holdfast_wire::request::{PutObject, Write, WriteOutcome};
use holdfast_wire::sealed::stored_len;
use s3s::dto::{PutObjectInput, PutObjectOutput, StreamingBlob};
use s3s::stream::ByteStream;
use s3s::{S3Request, S3Response, S3Result, TrailingHeaders, s3_error};
use tokio::time::Instant;

use super::answer::{claimed_checksums, etag, set_checksum_and_kind, written};
use super::encryption::{NewKey, new_object, tell};
use super::grants::said;
use super::lifecycle::Expires;
use super::request::{key, modes, not_implemented, raw_attributes, requester};
use super::{S3Service, condition};
use crate::body::{BodyError, Intake, Received};
use crate::checksum::claim::Claim;
use crate::router::{RouteError, Uploaded, Written};
use crate::seal::{self, SegmentKey};

/// The largest object of one request, and the largest part: 5 GiB.
pub const BYTES_MAX: u64 = 5 << 30;

/// PutObject
pub async fn object(s3: &S3Service, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    if input.write_offset_bytes.is_some() {
        return Err(not_implemented("Appending to objects"));
    }
    let mut attributes = raw_attributes!(input).check()?;
    let wanted = s3.wanted(&new_object!(input), &req.extensions)?;
    let condition = condition::of_write(input.if_match.as_ref(), input.if_none_match.as_ref());
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let said = said!(object input);
    let (owner, acl) = s3.new_owner(&bucket, requester(&req.extensions).as_deref(), &said).await?;
    attributes.acl = acl;

    let claim = Claim::new(input.content_md5.as_deref(), &claimed_checksums!(input), &req.headers)?;
    let intake = client_body(input.body.take(), input.content_length, claim, req.trailing_headers.take())?;
    let new = s3.new_key(&bucket, &wanted)?;
    let segment = new.as_ref().map(NewKey::segment);
    let Taken { body, received, name_by } = s3.take_in(&bucket, &key, intake, segment).await?;
    let (etag_of_bytes, seal) = match new {
        Some(new) => (new.etag(received.etag), Some(new.seal)),
        None => (received.etag, None),
    };
    attributes.seal.clone_from(&seal);
    let expires = Expires::of(&bucket, received.len, &attributes.tags);
    let put = PutObject {
        bucket: bucket.id,
        key: key.clone(),
        condition,
        owner,
        attributes,
        etag: etag_of_bytes,
        checksum: Some(received.checksum),
        body: body.clone(),
    };
    let answer = s3.commit(&bucket, &key, modes, Write::Put(put), (&body, name_by)).await?;
    let WriteOutcome::Stored { seq, etag: tag, modified_ms, checksum, version } = answer.outcome else {
        return Err(unexpected(&answer));
    };
    let mut output = PutObjectOutput {
        e_tag: Some(etag(&tag)),
        version_id: version.map(|version| version.to_string()),
        expiration: expires.and_then(|expires| expires.told(&bucket, key.as_str(), modified_ms)),
        ..Default::default()
    };
    set_checksum_and_kind!(output, &checksum);
    tell!(output, seal.as_ref(), wanted.customer());
    Ok(written(output, seq, answer.ack))
}

/// A client's body of known length.
pub fn client_body(
    body: Option<StreamingBlob>,
    content_length: Option<i64>,
    claim: Claim,
    trailers: Option<TrailingHeaders>,
) -> S3Result<Intake> {
    let body = body.unwrap_or_else(|| StreamingBlob::from_bytes(bytes::Bytes::new()));
    let len = match content_length {
        Some(len) => u64::try_from(len).map_err(|_| s3_error!(InvalidArgument, "A length must not be negative"))?,
        None => match body.remaining_length().exact() {
            Some(len) => len as u64,
            None => return Err(s3_error!(MissingContentLength)),
        },
    };
    if len > BYTES_MAX {
        return Err(BodyError::TooLarge.into());
    }
    Ok(Intake::of_client(body, len, claim, trailers))
}

/// A write that was answered as another one is: never by a replica of this version.
pub fn unexpected(answer: &Written) -> s3s::S3Error {
    RouteError::Unknown(format!("an answer of another kind: {:?}", answer.outcome)).into()
}

/// A body that was taken in.
pub(super) struct Taken {
    pub body: NewBody,
    pub received: Received,
    /// Until when the write that names a large one may be waited for.
    pub name_by: Option<Instant>,
}

impl S3Service {
    /// Takes a body in: small ones into memory, large ones onto the disks of a majority. On return everything that
    /// the client said about it holds. Encrypted, where there is a key for it.
    pub(super) async fn take_in(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        intake: Intake,
        key_of_bytes: Option<SegmentKey>,
    ) -> S3Result<Taken> {
        if intake.len <= self.config.inline_max {
            let (bytes, received) = intake.collect().await?;
            let bytes = match &key_of_bytes {
                Some(key) => seal::seal(key, &bytes),
                None => bytes,
            };
            return Ok(Taken { body: NewBody::Inline(bytes), received, name_by: None });
        }
        let plain = intake.len;
        let (mut stream, verdict) = intake.stream();
        let sealed = key_of_bytes.is_some();
        if let Some(key) = key_of_bytes {
            stream = seal::seal_stream(key, plain, stream);
        }
        let uploaded = self.router.upload(bucket, key, stream).await;
        match (uploaded, verdict.take()) {
            (Ok(Uploaded { id, name_by }), Some(Ok(received))) => {
                let len = if sealed { stored_len(received.len) } else { received.len };
                Ok(Taken { body: NewBody::Blob { id, len }, received, name_by: Some(name_by) })
            }
            (Ok(Uploaded { id, .. }), Some(Err(error))) => {
                self.reclaim(bucket, key, id);
                Err(error.into())
            }
            // Answered before the end of the body: it cannot be whole.
            (Ok(Uploaded { id, .. }), None) => {
                self.reclaim(bucket, key, id);
                Err(RouteError::SlowDown("an upload was answered before its end".to_owned()).into())
            }
            (Err(_), Some(Err(error))) => Err(error.into()),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Lets go of an uploaded blob that nothing will name. The client is answered meanwhile.
    pub(super) fn reclaim(&self, bucket: &Bucket, key: &ObjectKey, blob: BlobId) {
        self.tasks.spawn(self.router.drop_blob(bucket, key, blob));
    }

    /// Commits a write that brings `body`; when it is certain not to have been applied, an uploaded blob is reclaimed.
    pub(super) fn commit<'a>(
        &'a self,
        bucket: &'a Bucket,
        key: &'a ObjectKey,
        modes: crate::router::Modes,
        write: Write,
        (body, name_by): (&'a NewBody, Option<Instant>),
    ) -> BoxFuture<'a, S3Result<Written>> {
        Box::pin(async move {
            let written = match name_by {
                Some(by) => self.router.write_by(by, bucket, key, modes, write).await,
                None => self.router.write(bucket, key, modes, write).await,
            };
            match written {
                Ok(answer) => Ok(answer),
                Err(error) => {
                    if let (NewBody::Blob { id, .. }, false) = (body, matches!(error, RouteError::Unknown(_))) {
                        self.reclaim(bucket, key, *id);
                    }
                    Err(error.into())
                }
            }
        })
    }
}
