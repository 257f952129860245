//! Multipart uploads: create, upload a part, abort.

use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::{ObjectKey, UploadId};
use holdfast_wire::object::{ChecksumAlgorithm, ChecksumKind, Upload};
use holdfast_wire::request::{PutPart, Write, WriteOutcome};
use s3s::dto::{
    self, AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumType, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio::time::Instant;

use super::S3Service;
use super::answer::{claimed_checksums, etag, kind, set_checksum, written};
use super::encryption::{PartKey, customer, new_object, tell};
use super::grants::said;
use super::put::{Taken, client_body, unexpected};
use super::request::{key, modes, not_implemented, part_number, raw_attributes, requester, upload_id};
use crate::checksum::claim::Claim;
use crate::checksum::{self, combine};
use crate::ownership::Ownership;
use crate::router::{Modes, RouteError, Written};

/// The checksum that Create names.
fn named_checksum(
    algorithm: Option<&dto::ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<Option<(ChecksumAlgorithm, ChecksumKind)>> {
    let kind = kind.map(parse_kind).transpose()?;
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )),
        };
    };
    let algorithm = checksum::by_name(algorithm.as_str())
        .ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported."))?;
    let kind = kind.unwrap_or_else(|| combine::default_kind(algorithm));
    if !combine::allowed(algorithm, kind) {
        let (kind, name) = (super::answer::kind(kind), checksum::name(algorithm));
        return Err(s3_error!(
            InvalidRequest,
            "The {kind} checksum type cannot be used with the {name} checksum algorithm."
        ));
    }
    Ok(Some((algorithm, kind)))
}

/// The kind of this name.
pub fn parse_kind(kind: &ChecksumType) -> S3Result<ChecksumKind> {
    match kind.as_str() {
        ChecksumType::FULL_OBJECT => Ok(ChecksumKind::FullObject),
        ChecksumType::COMPOSITE => Ok(ChecksumKind::Composite),
        _ => Err(s3_error!(InvalidRequest, "Value for x-amz-checksum-type header is invalid.")),
    }
}

/// CreateMultipartUpload
pub async fn create(
    s3: &S3Service,
    mut req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let mut attributes = raw_attributes!(input).check()?;
    let wanted = s3.wanted(&new_object!(input), &req.extensions)?;
    let checksum = named_checksum(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let requester = requester(&req.extensions);
    let said = said!(object input);
    let (owner, acl) = s3.new_owner(&bucket, requester.as_deref(), &said).await?;
    // Where lists count for nothing the owner shows who began it.
    let owner = if Ownership::of(&bucket).lists_count() { owner } else { requester.unwrap_or(owner) };
    attributes.acl = acl;
    let seal = s3.new_key(&bucket, &wanted)?.map(|new| new.seal);
    attributes.seal.clone_from(&seal);
    let id = UploadId(s3.random.next_u128());
    let upload = Upload { key: key.clone(), id, initiated_ms: 0, owner, attributes, checksum };
    let answer = s3.router.write(&bucket, &key, modes, Write::CreateUpload { bucket: bucket.id, upload }).await?;
    let WriteOutcome::Stored { seq, .. } = answer.outcome else { return Err(unexpected(&answer)) };
    let mut output = CreateMultipartUploadOutput {
        bucket: Some(bucket.name.to_string()),
        key: Some(key.into()),
        upload_id: Some(id.to_string()),
        checksum_algorithm: checksum
            .map(|(algorithm, _)| dto::ChecksumAlgorithm::from_static(checksum::name(algorithm))),
        checksum_type: checksum.map(|(_, of)| ChecksumType::from_static(kind(of))),
        ..Default::default()
    };
    tell!(output, seal.as_ref(), wanted.customer());
    Ok(written(output, seq, answer.ack))
}

/// The claim about a part of an upload: computed with the upload's algorithm unless the client names one. A part
/// with a checksum is welcome when Create named none; one with another checksum than Create named is not.
pub fn claim_of_part(claim: Claim, upload: &Upload) -> S3Result<Claim> {
    match (claim.named(), upload.checksum) {
        (_, None) => Ok(claim),
        (None, Some((algorithm, _))) => Ok(claim.or(algorithm)),
        (Some(named), Some((algorithm, _))) if named == algorithm => Ok(claim),
        (Some(named), Some((algorithm, _))) => Err(type_mismatch(algorithm, named)),
    }
}

/// Refuses a checksum of another algorithm than the upload's.
pub fn type_mismatch(expected: ChecksumAlgorithm, actual: ChecksumAlgorithm) -> S3Error {
    let (expected, actual) = (checksum::name(expected), checksum::name(actual));
    s3_error!(
        InvalidRequest,
        "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
    )
}

impl S3Service {
    /// An open upload. Asked before a part's body is read: an upload that is gone costs no bytes.
    pub(super) async fn open_upload(&self, bucket: &Bucket, key: &ObjectKey, id: UploadId) -> S3Result<Upload> {
        let (upload, _, _) = self.router.list_parts(bucket, key, id, u16::MAX, 1).await?;
        Ok(upload)
    }

    /// Commits a part.
    pub(super) async fn put_part(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        modes: Modes,
        part: PutPart,
        name_by: Option<Instant>,
    ) -> S3Result<Written> {
        let body = part.body.clone();
        self.commit(bucket, key, modes, Write::PutPart(part), (&body, name_by)).await
    }
}

/// UploadPart
pub async fn upload_part(
    s3: &S3Service,
    mut req: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let number = part_number(input.part_number)?;
    let id = upload_id(&input.upload_id)?;
    let customer = customer!(s3, req)?;
    let input = &mut req.input;
    let claim = Claim::new(input.content_md5.as_deref(), &claimed_checksums!(input), &req.headers)?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let upload = s3.open_upload(&bucket, &key, id).await?;
    let claim = claim_of_part(claim, &upload)?;
    let intake = client_body(input.body.take(), input.content_length, claim, req.trailing_headers.take())?;
    let seal = upload.attributes.seal.as_ref();
    let part_key = s3.part_key(seal, customer.as_ref())?;
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
    let WriteOutcome::Stored { seq, etag: tag, checksum, .. } = &answer.outcome else {
        return Err(unexpected(&answer));
    };
    let mut output = UploadPartOutput { e_tag: Some(etag(tag)), ..Default::default() };
    set_checksum!(output, checksum);
    tell!(output, seal, customer.as_ref());
    Ok(written(output, *seq, answer.ack))
}

/// AbortMultipartUpload
pub async fn abort(
    s3: &S3Service,
    mut req: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let upload = upload_id(&input.upload_id)?;
    if input.if_match_initiated_time.is_some() {
        return Err(not_implemented("Aborting by time of initiation"));
    }
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let write = Write::AbortUpload { bucket: bucket.id, key: key.clone(), upload };
    let answer = s3.router.write(&bucket, &key, modes, write).await?;
    match &answer.outcome {
        WriteOutcome::Deleted { seq, keys } => match keys.first() {
            None | Some(Ok(_)) => Ok(written(AbortMultipartUploadOutput::default(), *seq, answer.ack)),
            Some(Err(refusal)) => Err(RouteError::Refused(refusal.clone()).into()),
        },
        WriteOutcome::Stored { .. } | WriteOutcome::Refused(_) => Err(unexpected(&answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::{full, of};

    const CRC: ChecksumAlgorithm = ChecksumAlgorithm::Crc32;
    const SHA: ChecksumAlgorithm = ChecksumAlgorithm::Sha256;

    fn upload(checksum: Option<(ChecksumAlgorithm, ChecksumKind)>) -> Upload {
        Upload {
            key: "k".parse().unwrap(),
            id: UploadId(1),
            initiated_ms: 0,
            owner: String::new(),
            attributes: Default::default(),
            checksum,
        }
    }

    fn code<T>(result: S3Result<T>) -> String {
        result.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn create_names_only_checksums_that_can_be() {
        let named = |algorithm: Option<&'static str>, kind: Option<&'static str>| {
            named_checksum(
                algorithm.map(dto::ChecksumAlgorithm::from_static).as_ref(),
                kind.map(ChecksumType::from_static).as_ref(),
            )
        };
        assert_eq!(named(None, None).unwrap(), None);
        assert_eq!(named(Some("CRC32"), None).unwrap(), Some((CRC, ChecksumKind::Composite)));
        assert_eq!(named(Some("CRC32"), Some("FULL_OBJECT")).unwrap(), Some((CRC, ChecksumKind::FullObject)));
        let nvme = Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject));
        assert_eq!(named(Some("CRC64NVME"), None).unwrap(), nvme);
        for (algorithm, kind) in [
            (Some("CRC64NVME"), Some("COMPOSITE")),
            (Some("SHA256"), Some("FULL_OBJECT")),
            (Some("CRC16"), None),
            (None, Some("FULL_OBJECT")),
            (Some("CRC32"), Some("HALF")),
        ] {
            assert_eq!(code(named(algorithm, kind)), "InvalidRequest");
        }
    }

    #[test]
    fn a_part_may_bring_a_checksum_that_create_did_not_name() {
        let crc = full(CRC, &of(CRC, b"x")).value;
        let claim = || Claim::new(None, &[(CRC, &crc)], &http::HeaderMap::new()).unwrap();
        assert_eq!(claim_of_part(claim(), &upload(None)).unwrap().algorithm(), CRC);
        assert_eq!(claim_of_part(Claim::NONE, &upload(Some((SHA, ChecksumKind::Composite)))).unwrap().algorithm(), SHA);
        assert_eq!(code(claim_of_part(claim(), &upload(Some((SHA, ChecksumKind::Composite))))), "InvalidRequest");
    }
}
