//! CopyObject, UploadPartCopy.
//!
//! Within a shard a copy is a change of metadata; otherwise bytes flow from a replica of the source to the leader of
//! the target, with memory for a few chunks.

use std::sync::Arc;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::condition::{ReadCondition, ReadRefusal};
use holdfast_wire::id::{ObjectKey, VersionId};
use holdfast_wire::object::{Attributes, Checksum, ChecksumAlgorithm, ChecksumKind, Headers, Object};
use holdfast_wire::request::{
    CopyObject, CopyPart, GetObject, NotRead, PutObject, PutPart, RangeSpec, Refusal, Write, WriteOutcome,
};
use holdfast_wire::sealed::{Seal, spans};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, MetadataDirective,
    TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::{etag, set_checksum, set_checksum_and_kind, timestamp, version_id, written};
use super::condition;
use super::encryption::{NewKey, PartKey, Wrapping, customer, new_object, source_customer, tell};
use super::get::as_judged;
use super::grants::said;
use super::lifecycle::Expires;
use super::put::{BYTES_MAX, Taken, unexpected};
use super::request::{
    RawAttributes, key, modes, not_implemented, part_number, raw_attributes, requester, upload_id, version,
};
use crate::body::{BodyError, Intake};
use crate::checksum::claim::{Claim, Mismatch};
use crate::checksum::{self, DEFAULT};
use crate::router::{Modes, RouteError, Written};
use crate::seal;

/// How often a copy begins again because its source was replaced meanwhile.
const ATTEMPTS: usize = 5;

/// The source of a copy.
struct Origin {
    bucket: Arc<Bucket>,
    key: ObjectKey,
    /// `None`: the current object.
    version: Option<VersionId>,
}

impl S3Service {
    async fn source(&self, source: &CopySource, expected_owner: Option<&str>) -> S3Result<Origin> {
        match source {
            CopySource::Bucket { bucket, key: name, version_id } => {
                let version = version(version_id.as_deref())?;
                let key = key(name.to_string())?;
                Ok(Origin { bucket: self.bucket(bucket, expected_owner).await?, key, version })
            }
            CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
                Err(not_implemented("Copying from access points"))
            }
        }
    }

    /// The source's record, if the conditions on it hold.
    async fn source_record(&self, from: &Origin, modes: Modes, condition: &ReadCondition) -> S3Result<Object> {
        let get = GetObject {
            bucket: from.bucket.id,
            key: from.key.clone(),
            head: true,
            range: RangeSpec::All,
            condition: condition.clone(),
            version: from.version,
            seq: None,
        };
        match self.router.get(&from.bucket, modes, get).await {
            Ok(got) => Ok(got.object),
            // A copy is no read of a cache: what was not modified fails like any other condition.
            Err(RouteError::NotRead(NotRead::Condition { refusal: ReadRefusal::NotModified, .. })) => {
                Err(s3_error!(PreconditionFailed))
            }
            Err(RouteError::NotRead(NotRead::DeleteMarker { named: true, .. })) => Err(s3_error!(
                InvalidRequest,
                "The source of a copy request may not specifically refer to a delete marker by version id."
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// The bytes of `object`, and of no later one, as a body to take in. `None` when it was replaced meanwhile.
    async fn source_body(
        &self,
        from: &Origin,
        modes: Modes,
        object: &Object,
        (range, key): (RangeSpec, Option<&seal::ObjectKey>),
        algorithm: ChecksumAlgorithm,
    ) -> S3Result<Option<Intake>> {
        let get = GetObject {
            bucket: from.bucket.id,
            key: from.key.clone(),
            head: false,
            range,
            condition: ReadCondition::default(),
            version: from.version,
            seq: Some(object.summary.seq),
        };
        match self.router.get(&from.bucket, modes, get).await {
            Ok(got) => {
                let body = match key {
                    Some(key) => seal::open(key, spans(&got.object, got.range), got.body),
                    None => got.body,
                };
                Ok(Some(Intake::of_source(body, got.range.1, Claim::NONE.or(algorithm))))
            }
            Err(RouteError::Absent(_) | RouteError::NotRead(NotRead::NoSuchKey)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What of the target's attributes the request replaces.
struct Directives {
    replace_metadata: bool,
    replace_tags: bool,
    raw: Attributes,
}

impl Directives {
    fn new(
        metadata: Option<&MetadataDirective>,
        tagging: Option<&TaggingDirective>,
        raw: RawAttributes,
    ) -> S3Result<Self> {
        let replace = |directive: Option<&str>, name: &str| match directive {
            None | Some("COPY") => Ok(false),
            Some("REPLACE") => Ok(true),
            Some(_) => Err(s3_error!(InvalidArgument, "Unknown {name} directive.")),
        };
        let replace_metadata = replace(metadata.map(MetadataDirective::as_str), "metadata")?;
        let replace_tags = replace(tagging.map(TaggingDirective::as_str), "tagging")?;
        Ok(Self { replace_metadata, replace_tags, raw: raw.check()? })
    }

    /// Whether a copy of an object to itself would change anything.
    fn changes(&self, source: &Object) -> bool {
        self.replace_metadata
            || self.replace_tags
            || self.raw.storage_class != source.summary.storage_class
            || self.raw.headers.website_redirect_location.is_some()
    }

    /// What the target gets. Storage class and redirect are never copied.
    fn resolve(&self, source: &Object) -> Attributes {
        let redirect = self.raw.headers.website_redirect_location.clone();
        let (headers, metadata) = match self.replace_metadata {
            true => (self.raw.headers.clone(), self.raw.metadata.clone()),
            false => (source.detail.headers.clone(), source.detail.metadata.clone()),
        };
        Attributes {
            headers: Headers { website_redirect_location: redirect, ..headers },
            metadata,
            tags: if self.replace_tags { self.raw.tags.clone() } else { source.detail.tags.clone() },
            storage_class: self.raw.storage_class.clone(),
            lock: self.raw.lock,
            seal: None,
            acl: None,
        }
    }
}

/// A copy's bytes are those of its source: what was computed on the way must be what is kept with the source.
fn same_bytes(source: &Object, computed: &Checksum) -> S3Result<()> {
    match source.checksum() {
        Some(kept)
            if kept.kind == ChecksumKind::FullObject
                && kept.algorithm == computed.algorithm
                && kept.value != computed.value =>
        {
            tracing::error!(algorithm = checksum::name(kept.algorithm), "a copy's bytes are not those of its source");
            Err(BodyError::Mismatch(Mismatch::Checksum(kept.algorithm)).into())
        }
        _ => Ok(()),
    }
}

/// CopyObject
pub async fn object(s3: &S3Service, mut req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let wanted = s3.wanted(&new_object!(input), &req.extensions)?;
    let source_customer = source_customer!(s3, req)?;
    let input = &mut req.input;
    let directives =
        Directives::new(input.metadata_directive.as_ref(), input.tagging_directive.as_ref(), raw_attributes!(input))?;
    let algorithm = match &input.checksum_algorithm {
        None => None,
        Some(name) => Some(
            checksum::by_name(name.as_str())
                .ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported."))?,
        ),
    };
    let target_condition = condition::of_write(input.if_match.as_ref(), input.if_none_match.as_ref());
    let source_condition = condition::of_read(
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    );
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let from = s3.source(&input.copy_source, input.expected_source_bucket_owner.as_deref()).await?;
    let said = said!(object input);
    let (owner, acl) = s3.new_owner(&bucket, requester(&req.extensions).as_deref(), &said).await?;
    // An older version of itself is brought back by copying it.
    let itself = from.bucket.id == bucket.id && from.key == key && from.version.is_none();
    let mut told;
    for _ in 0..ATTEMPTS {
        let source = s3.source_record(&from, modes, &source_condition).await?;
        as_judged(&req.extensions, &source)?;
        if source.summary.size > BYTES_MAX {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: {BYTES_MAX}"
            ));
        }
        let source_key = s3.key_of(&source, source_customer.as_ref())?;
        if itself && !directives.changes(&source) && !wanted.is_said() {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the \
                 object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        let mut attributes = directives.resolve(&source);
        attributes.acl.clone_from(&acl);
        let wrapping = s3.wrapping(&bucket, &wanted)?;
        let again = rewrapped(s3, &source, source_key.as_ref(), wrapping.as_ref())?;
        let kept = source.summary.checksum.map(|(algorithm, _)| algorithm);
        let stays = algorithm.is_none_or(|algorithm| kept == Some(algorithm));
        let expires = Expires::of(&bucket, source.summary.size, &attributes.tags);
        let same_shard = s3.router.same_shard((&from.bucket, &from.key), (&bucket, &key));
        let answer = if let (true, true, Ok(seal)) = (stays, same_shard, again) {
            attributes.seal.clone_from(&seal);
            told = seal;
            let copy = CopyObject {
                bucket: bucket.id,
                key: key.clone(),
                condition: target_condition.clone(),
                from_bucket: from.bucket.id,
                from_key: from.key.clone(),
                from_version: from.version,
                from_seq: source.summary.seq,
                owner: owner.clone(),
                attributes,
            };
            match s3.router.write(&bucket, &key, modes, Write::Copy(copy)).await {
                Err(RouteError::Refused(Refusal::SourceChanged)) => continue,
                answer => answer?,
            }
        } else {
            let algorithm = algorithm.or(kept).unwrap_or(DEFAULT);
            let read = (RangeSpec::All, source_key.as_ref());
            let Some(intake) = s3.source_body(&from, modes, &source, read, algorithm).await? else {
                continue;
            };
            let new = s3.new_key(&bucket, &wanted)?;
            let segment = new.as_ref().map(NewKey::segment);
            let Taken { body, received, name_by } = s3.take_in(&bucket, &key, intake, segment).await?;
            if let Err(error) = same_bytes(&source, &received.checksum) {
                if let holdfast_wire::object::NewBody::Blob { id, .. } = body {
                    s3.reclaim(&bucket, &key, id);
                }
                return Err(error);
            }
            let (etag_of_bytes, seal) = match new {
                Some(new) => (new.etag(received.etag), Some(new.seal)),
                None => (received.etag, None),
            };
            attributes.seal.clone_from(&seal);
            told = seal;
            let put = PutObject {
                bucket: bucket.id,
                key: key.clone(),
                condition: target_condition.clone(),
                owner: owner.clone(),
                attributes,
                etag: etag_of_bytes,
                checksum: Some(received.checksum),
                body: body.clone(),
            };
            s3.commit(&bucket, &key, modes, Write::Put(put), (&body, name_by)).await?
        };
        let mut response = copied(&answer, version_id(&from.bucket, &source.summary))?;
        if let (Some(expires), WriteOutcome::Stored { modified_ms, .. }) = (expires, &answer.outcome) {
            response.output.expiration = expires.told(&bucket, key.as_str(), *modified_ms);
        }
        tell!(response.output, told.as_ref(), wanted.customer());
        return Ok(response);
    }
    Err(RouteError::Refused(Refusal::SourceChanged).into())
}

/// The target's seal for a copy that moves no bytes; `Err` where bytes must be encrypted or decrypted.
fn rewrapped(
    s3: &S3Service,
    source: &Object,
    key: Option<&seal::ObjectKey>,
    wrapping: Option<&Wrapping<'_>>,
) -> S3Result<Result<Option<Seal>, MovesBytes>> {
    match (source.detail.seal.as_ref().zip(key), wrapping) {
        (None, None) => Ok(Ok(None)),
        (Some((seal, key)), Some(wrapping)) if wrapping.is_like(&seal.by) => {
            s3.wrap(wrapping, key, seal.salt).map(|seal| Ok(Some(seal)))
        }
        _ => Ok(Err(MovesBytes)),
    }
}

/// The bytes themselves change.
struct MovesBytes;

fn copied(answer: &Written, copy_source_version_id: Option<String>) -> S3Result<S3Response<CopyObjectOutput>> {
    let WriteOutcome::Stored { seq, etag: tag, modified_ms, checksum, version } = &answer.outcome else {
        return Err(unexpected(answer));
    };
    let mut result =
        CopyObjectResult { e_tag: Some(etag(tag)), last_modified: Some(timestamp(*modified_ms)), ..Default::default() };
    set_checksum_and_kind!(result, checksum);
    let output = CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id,
        version_id: version.map(|version| version.to_string()),
        ..Default::default()
    };
    Ok(written(output, *seq, answer.ack))
}

/// `x-amz-copy-source-range`: `bytes=first-last`, both there and in order.
fn source_range(text: &str) -> S3Result<(u64, u64)> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let range = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    match range.and_then(|(first, last)| Some((number(first)?, number(last)?))) {
        Some((first, last)) if first <= last => Ok((first, last)),
        _ => Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy"
        )),
    }
}

/// UploadPartCopy
pub async fn part(
    s3: &S3Service,
    mut req: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let number = part_number(input.part_number)?;
    let id = upload_id(&input.upload_id)?;
    let range = input.copy_source_range.as_deref().map(source_range).transpose()?;
    let customer = customer!(s3, req)?;
    let source_customer = source_customer!(s3, req)?;
    let input = &mut req.input;
    let source_condition = condition::of_read(
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    );
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let from = s3.source(&input.copy_source, input.expected_source_bucket_owner.as_deref()).await?;
    let upload = s3.open_upload(&bucket, &key, id).await?;
    let algorithm = upload.checksum.map_or(DEFAULT, |(algorithm, _)| algorithm);
    for _ in 0..ATTEMPTS {
        let source = s3.source_record(&from, modes, &source_condition).await?;
        let spec = match range {
            Some((_, last)) if last >= source.summary.size => {
                let size = source.summary.size;
                return Err(s3_error!(InvalidRange, "Range specified is not valid for source object of size: {size}"));
            }
            Some((first, last)) => RangeSpec::FromTo { first, last },
            None => RangeSpec::All,
        };
        let bytes = range.map_or(source.summary.size, |(first, last)| last - first + 1);
        if bytes > BYTES_MAX {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: {BYTES_MAX}"
            ));
        }
        let source_key = s3.key_of(&source, source_customer.as_ref())?;
        let plain = source_key.is_none() && upload.attributes.seal.is_none();
        if plain && whole_and_near(s3, (&from, &source), (&bucket, &key), bytes, upload.checksum.map(|(of, _)| of)) {
            let copy = CopyPart {
                bucket: bucket.id,
                key: key.clone(),
                upload: id,
                number,
                from_bucket: from.bucket.id,
                from_key: from.key.clone(),
                from_seq: source.summary.seq,
            };
            match s3.router.write(&bucket, &key, modes, Write::CopyPart(copy)).await {
                Err(RouteError::Refused(Refusal::SourceChanged)) => continue,
                answer => return part_copied(&answer?, version_id(&from.bucket, &source.summary)),
            }
        }
        let read = (spec, source_key.as_ref());
        let Some(intake) = s3.source_body(&from, modes, &source, read, algorithm).await? else { continue };
        let part_key = s3.part_key(upload.attributes.seal.as_ref(), customer.as_ref())?;
        let segment = part_key.as_ref().map(PartKey::segment);
        let Taken { body, received, name_by } = s3.take_in(&bucket, &key, intake, segment).await?;
        let part = PutPart {
            bucket: bucket.id,
            key: key.clone(),
            upload: id,
            number,
            etag: PartKey::etag(part_key.as_ref(), received.etag),
            checksum: Some(received.checksum),
            body,
            salt: part_key.map(|key| key.salt),
        };
        let answer = s3.put_part(&bucket, &key, modes, part, name_by).await?;
        let mut response = part_copied(&answer, version_id(&from.bucket, &source.summary))?;
        tell!(response.output, upload.attributes.seal.as_ref(), customer.as_ref());
        return Ok(response);
    }
    Err(RouteError::Refused(Refusal::SourceChanged).into())
}

/// Whether the part is all of a source in the same shard whose entity tag and checksum can be the part's: then no bytes
/// need to move.
fn whole_and_near(
    s3: &S3Service,
    (from, source): (&Origin, &Object),
    target: (&Bucket, &ObjectKey),
    bytes: u64,
    algorithm: Option<ChecksumAlgorithm>,
) -> bool {
    let checksum = source.checksum().filter(|checksum| checksum.kind == ChecksumKind::FullObject);
    bytes == source.summary.size
        && source.detail.parts.is_empty()
        && checksum.is_some_and(|checksum| algorithm.is_none_or(|algorithm| algorithm == checksum.algorithm))
        && s3.router.same_shard((&from.bucket, &from.key), target)
}

fn part_copied(answer: &Written, copy_source_version_id: Option<String>) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let WriteOutcome::Stored { seq, etag: tag, modified_ms, checksum, .. } = &answer.outcome else {
        return Err(unexpected(answer));
    };
    let mut result =
        CopyPartResult { e_tag: Some(etag(tag)), last_modified: Some(timestamp(*modified_ms)), ..Default::default() };
    set_checksum!(result, checksum);
    let output = UploadPartCopyOutput { copy_part_result: Some(result), copy_source_version_id, ..Default::default() };
    Ok(written(output, *seq, answer.ack))
}

#[cfg(test)]
mod tests;
