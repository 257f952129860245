//! Multipart uploads: create, upload a part, complete, abort.

use std::sync::Arc;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::condition::WriteCondition;
use holdfast_wire::id::{ObjectKey, UploadId};
use holdfast_wire::object::{Checksum, ChecksumAlgorithm, ChecksumKind, Part, Upload};
use holdfast_wire::request::{CompleteUpload, NotRead, PutPart, Refusal, Write, WriteOutcome};
use s3s::dto::{
    self, AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumType, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::{claimed_checksums, etag, kind, set_checksum, set_checksum_and_kind, written};
use super::condition;
use super::list::Encoding;
use super::put::{client_body, unexpected};
use super::request::{
    key, modes, not_implemented, part_number, raw_attributes, refuse_unsupported, requester, upload_id,
};
use crate::checksum::claim::{Claim, Mismatch};
use crate::checksum::{self, combine};
use crate::router::{Modes, RouteError, Router, Written};

/// Parts of one upload.
const PARTS_MAX: usize = 10_000;

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

fn parse_kind(kind: &ChecksumType) -> S3Result<ChecksumKind> {
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
    refuse_unsupported!(input)?;
    let attributes = raw_attributes!(input).check()?;
    let checksum = named_checksum(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let id = UploadId(s3.random.next_u128());
    let upload = Upload {
        key: key.clone(),
        id,
        initiated_ms: 0,
        owner: requester(req.credentials.as_ref()).unwrap_or(&bucket.owner).to_owned(),
        attributes,
        checksum,
    };
    let answer = s3.router.write(&bucket, &key, modes, Write::CreateUpload { bucket: bucket.id, upload }).await?;
    let WriteOutcome::Stored { seq, .. } = answer.outcome else { return Err(unexpected(&answer)) };
    let output = CreateMultipartUploadOutput {
        bucket: Some(bucket.name.to_string()),
        key: Some(key.into()),
        upload_id: Some(id.to_string()),
        checksum_algorithm: checksum
            .map(|(algorithm, _)| dto::ChecksumAlgorithm::from_static(checksum::name(algorithm))),
        checksum_type: checksum.map(|(_, of)| ChecksumType::from_static(kind(of))),
        ..Default::default()
    };
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

fn type_mismatch(expected: ChecksumAlgorithm, actual: ChecksumAlgorithm) -> S3Error {
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

    /// Commits a part: its answer, entity tag, time and checksum.
    pub(super) async fn put_part(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        modes: Modes,
        part: PutPart,
    ) -> S3Result<Written> {
        let body = part.body.clone();
        self.commit(bucket, key, modes, Write::PutPart(part), &body).await
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
    if input.sse_customer_algorithm.is_some() || input.sse_customer_key.is_some() {
        return Err(not_implemented("Server-side encryption"));
    }
    let claim = Claim::new(input.content_md5.as_deref(), &claimed_checksums!(input), &req.headers)?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let upload = s3.open_upload(&bucket, &key, id).await?;
    let claim = claim_of_part(claim, &upload)?;
    let intake = client_body(input.body.take(), input.content_length, claim, req.trailing_headers.take())?;
    let (body, received) = s3.take_in(&bucket, &key, intake).await?;
    let part = PutPart {
        bucket: bucket.id,
        key: key.clone(),
        upload: id,
        number,
        etag: received.etag,
        checksum: Some(received.checksum),
        body,
    };
    let answer = s3.put_part(&bucket, &key, modes, part).await?;
    let WriteOutcome::Stored { seq, etag: tag, checksum, .. } = &answer.outcome else {
        return Err(unexpected(&answer));
    };
    let mut output = UploadPartOutput { e_tag: Some(etag(tag)), ..Default::default() };
    set_checksum!(output, checksum);
    Ok(written(output, *seq, answer.ack))
}

/// A part as Complete names it.
struct AskedPart {
    number: u16,
    etag: String,
    checksum: Option<(ChecksumAlgorithm, String)>,
}

/// Complete as the client asks for it.
struct Asked {
    upload: UploadId,
    condition: WriteCondition,
    parts: Vec<AskedPart>,
    /// Of the whole.
    checksum: Option<(ChecksumAlgorithm, String)>,
    kind: Option<ChecksumKind>,
    size: Option<u64>,
}

fn at_most_one(claimed: &[(ChecksumAlgorithm, &str)]) -> S3Result<Option<(ChecksumAlgorithm, String)>> {
    match claimed {
        [] => Ok(None),
        [(algorithm, value)] => Ok(Some((*algorithm, (*value).to_owned()))),
        _ => Err(checksum::claim::BadClaim::Several.into()),
    }
}

fn asked_parts(parts: Vec<CompletedPart>) -> S3Result<Vec<AskedPart>> {
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return Err(s3_error!(MalformedXML));
    }
    let parts = parts.into_iter().map(|part| {
        let number = part_number(part.part_number.ok_or_else(|| s3_error!(MalformedXML))?)?;
        let checksum = at_most_one(&claimed_checksums!(part))?;
        let etag = part.e_tag.ok_or_else(|| s3_error!(MalformedXML))?;
        Ok(AskedPart { number, etag: etag.value().trim_matches('"').to_owned(), checksum })
    });
    let parts = parts.collect::<S3Result<Vec<_>>>()?;
    if !parts.is_sorted_by(|a, b| a.number < b.number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    Ok(parts)
}

/// What is to be committed when everything that the client says of the parts holds.
fn plan(upload: &Upload, stored: &[Part], asked: &Asked) -> S3Result<(String, Option<Checksum>)> {
    let mut parts = Vec::with_capacity(asked.parts.len());
    for part in &asked.parts {
        let found = stored.binary_search_by_key(&part.number, |part| part.number).ok().map(|at| &stored[at]);
        let found = found.filter(|found| found.etag == part.etag).ok_or_else(|| s3_error!(InvalidPart))?;
        match (&part.checksum, &found.checksum) {
            (Some((algorithm, value)), Some(kept)) if kept.algorithm == *algorithm && kept.value != *value => {
                return Err(s3_error!(InvalidPart));
            }
            (Some((algorithm, _)), Some(kept)) if kept.algorithm != *algorithm => {
                return Err(type_mismatch(kept.algorithm, *algorithm));
            }
            (None, _) if matches!(upload.checksum, Some((_, ChecksumKind::Composite))) => {
                let (name, number) = (upload.checksum.map_or("", |(of, _)| checksum::name(of)), part.number);
                return Err(s3_error!(
                    InvalidRequest,
                    "The upload was created using a {name} checksum. The complete request must include the checksum \
                     for each part. It was missing for part {number} in the request."
                ));
            }
            _ => {}
        }
        parts.push(found);
    }
    if asked.size.is_some_and(|size| size != parts.iter().map(|part| part.size).sum::<u64>()) {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header does not match what was computed."
        ));
    }
    let sums = || parts.iter().map(|part| (part.size, part.checksum.as_ref()));
    let computed = match upload.checksum {
        Some((algorithm, kind)) => combine::whole(algorithm, kind, sums()),
        // Parts of several algorithms, or of one that cannot be combined, make an object without a checksum.
        None => sums().next().and_then(|(_, first)| combine::whole(first?.algorithm, ChecksumKind::FullObject, sums())),
    };
    if let (Some(asked), Some(computed)) = (asked.kind, &computed)
        && asked != computed.kind
    {
        return Err(s3_error!(InvalidRequest, "The checksum type of the request is not that of the upload."));
    }
    if let Some((algorithm, value)) = &asked.checksum {
        let computed = computed.as_ref().ok_or_else(|| {
            s3_error!(InvalidRequest, "The parts have no checksums from which that of the object could be computed.")
        })?;
        if computed.algorithm != *algorithm {
            return Err(type_mismatch(computed.algorithm, *algorithm));
        }
        let bare = computed.value.split_once('-').map_or(computed.value.as_str(), |(bare, _)| bare);
        if *value != computed.value && value != bare {
            let mismatch = Mismatch::Checksum(*algorithm).to_string();
            return Err(S3Error::with_message(S3ErrorCode::BadDigest, mismatch));
        }
    }
    let etag = combine::etag(parts.iter().map(|part| part.etag.as_str())).ok_or_else(|| s3_error!(InvalidPart))?;
    Ok((etag, computed))
}

/// All parts of an upload, ascending.
async fn all_parts(
    router: &Router,
    bucket: &Bucket,
    key: &ObjectKey,
    id: UploadId,
) -> Result<(Upload, Vec<Part>), RouteError> {
    let mut all: Vec<Part> = Vec::new();
    loop {
        let after = all.last().map_or(0, |part| part.number);
        let (upload, parts, more) = router.list_parts(bucket, key, id, after, PARTS_MAX as u32).await?;
        let progress = !parts.is_empty();
        all.extend(parts);
        if !more || !progress {
            return Ok((upload, all));
        }
    }
}

/// Checks and commits. An upload that is gone is asked for all the same: the shard remembers which ones it completed,
/// and a repetition gets the first answer.
async fn finish(router: Router, bucket: Arc<Bucket>, key: ObjectKey, modes: Modes, asked: Asked) -> S3Result<Written> {
    let (etag, checksum) = match all_parts(&router, &bucket, &key, asked.upload).await {
        Ok((upload, stored)) => plan(&upload, &stored, &asked)?,
        Err(RouteError::NotRead(NotRead::NoSuchUpload) | RouteError::Refused(Refusal::NoSuchUpload)) => {
            let etag = combine::etag(asked.parts.iter().map(|part| part.etag.as_str()));
            (etag.ok_or_else(|| s3_error!(NoSuchUpload))?, None)
        }
        Err(error) => return Err(error.into()),
    };
    let complete = CompleteUpload {
        bucket: bucket.id,
        key: key.clone(),
        upload: asked.upload,
        condition: asked.condition,
        parts: asked.parts.into_iter().map(|part| (part.number, part.etag)).collect(),
        etag,
        checksum,
    };
    Ok(router.write(&bucket, &key, modes, Write::CompleteUpload(complete)).await?)
}

/// CompleteMultipartUpload
pub async fn complete(
    s3: &S3Service,
    mut req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let parts = input.multipart_upload.take().and_then(|upload| upload.parts).unwrap_or_default();
    let asked = Asked {
        upload: upload_id(&input.upload_id)?,
        condition: condition::of_write(input.if_match.as_ref(), input.if_none_match.as_ref()),
        parts: asked_parts(parts)?,
        checksum: at_most_one(&claimed_checksums!(input))?,
        kind: input.checksum_type.as_ref().map(parse_kind).transpose()?,
        size: input
            .mpu_object_size
            .map(u64::try_from)
            .transpose()
            .map_err(|_| s3_error!(InvalidArgument, "A size must not be negative"))?,
    };
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    // A client that leaves must not stop this half way: the work is its own task.
    let work = s3.tasks.spawn(finish(s3.router.clone(), bucket.clone(), key.clone(), modes, asked));
    let answer = work.await.map_err(|_| RouteError::Unknown("completing an upload was interrupted".to_owned()))??;
    let WriteOutcome::Stored { seq, etag: tag, checksum, .. } = &answer.outcome else {
        return Err(unexpected(&answer));
    };
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(bucket.name.to_string()),
        e_tag: Some(etag(tag)),
        location: Some(location(&req.headers, &bucket, &key)?),
        key: Some(key.into()),
        ..Default::default()
    };
    set_checksum_and_kind!(output, checksum);
    Ok(written(output, *seq, answer.ack))
}

/// The object's URL, path style.
fn location(headers: &http::HeaderMap, bucket: &Bucket, key: &ObjectKey) -> S3Result<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let path = format!("/{}/{}", bucket.name, Encoding::Url.name(key.as_str())?);
    Ok(match text("host") {
        Some(host) => format!("{}://{host}{path}", text("x-forwarded-proto").unwrap_or("http")),
        None => path,
    })
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
            None | Some(Ok(())) => Ok(written(AbortMultipartUploadOutput::default(), *seq, answer.ack)),
            Some(Err(refusal)) => Err(RouteError::Refused(refusal.clone()).into()),
        },
        WriteOutcome::Stored { .. } | WriteOutcome::Refused(_) => Err(unexpected(&answer)),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_wire::id::Seq;
    use s3s::dto::ETag;

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

    fn part(number: u16, body: &[u8], algorithm: ChecksumAlgorithm) -> Part {
        Part {
            number,
            seq: Seq::default(),
            size: body.len() as u64,
            modified_ms: 0,
            etag: hex::encode(of(ChecksumAlgorithm::Md5, body)),
            checksum: Some(full(algorithm, &of(algorithm, body))),
            pieces: Vec::new(),
        }
    }

    fn asked(parts: &[&Part]) -> Asked {
        let parts = parts.iter().map(|part| AskedPart { number: part.number, etag: part.etag.clone(), checksum: None });
        Asked {
            upload: UploadId(1),
            condition: WriteCondition::default(),
            parts: parts.collect(),
            checksum: None,
            kind: None,
            size: None,
        }
    }

    fn code<T>(result: S3Result<T>) -> String {
        result.err().map(|error| error.code().as_str().to_owned()).unwrap_or_default()
    }

    #[test]
    fn the_whole_checksum_is_combined_and_compared() {
        let stored = [part(1, b"hold", CRC), part(2, b"fast", CRC)];
        let upload = upload(Some((CRC, ChecksumKind::FullObject)));
        let whole = full(CRC, &of(CRC, b"holdfast"));
        let mut asked = asked(&[&stored[0], &stored[1]]);
        assert_eq!(plan(&upload, &stored, &asked).unwrap().1, Some(whole.clone()));
        asked.checksum = Some((CRC, whole.value));
        asked.size = Some(8);
        assert!(plan(&upload, &stored, &asked).unwrap().0.ends_with("-2"));
        asked.size = Some(9);
        assert_eq!(code(plan(&upload, &stored, &asked)), "InvalidRequest");
        asked.size = None;
        asked.checksum = Some((CRC, "AAAAAA==".to_owned()));
        assert_eq!(code(plan(&upload, &stored, &asked)), "BadDigest");
        asked.checksum = Some((SHA, "AAAAAA==".to_owned()));
        assert_eq!(code(plan(&upload, &stored, &asked)), "InvalidRequest");
    }

    #[test]
    fn parts_with_checksums_without_create_naming_one_are_combined() {
        let stored = [part(1, b"hold", CRC), part(2, b"fast", CRC), part(3, b"!", ChecksumAlgorithm::Crc64Nvme)];
        let two = asked(&[&stored[0], &stored[1]]);
        assert_eq!(plan(&upload(None), &stored, &two).unwrap().1, Some(full(CRC, &of(CRC, b"holdfast"))));
        let mixed = asked(&[&stored[0], &stored[2]]);
        assert_eq!(plan(&upload(None), &stored, &mixed).unwrap().1, None);
    }

    #[test]
    fn a_composite_needs_every_parts_checksum_in_the_request() {
        let stored = [part(1, b"hold", SHA)];
        let upload = upload(Some((SHA, ChecksumKind::Composite)));
        let mut asked = asked(&[&stored[0]]);
        assert_eq!(code(plan(&upload, &stored, &asked)), "InvalidRequest");
        let kept = stored[0].checksum.clone().unwrap();
        asked.parts[0].checksum = Some((SHA, kept.value));
        let whole = plan(&upload, &stored, &asked).unwrap().1.unwrap();
        assert!(whole.value.ends_with("-1"));
        for sent in [whole.value.clone(), whole.value.trim_end_matches("-1").to_owned()] {
            asked.checksum = Some((SHA, sent));
            assert!(plan(&upload, &stored, &asked).is_ok());
        }
        asked.kind = Some(ChecksumKind::FullObject);
        assert_eq!(code(plan(&upload, &stored, &asked)), "InvalidRequest");
        asked.parts[0].checksum = Some((SHA, "wrong".to_owned()));
        assert_eq!(code(plan(&upload, &stored, &asked)), "InvalidPart");
    }

    #[test]
    fn unknown_parts_and_other_tags_are_refused() {
        let stored = [part(1, b"hold", CRC)];
        let other = part(1, b"other", CRC);
        assert_eq!(code(plan(&upload(None), &stored, &asked(&[&other]))), "InvalidPart");
        assert_eq!(code(plan(&upload(None), &stored, &asked(&[&part(2, b"hold", CRC)]))), "InvalidPart");
    }

    #[test]
    fn the_list_of_parts_is_checked() {
        let part = |number: i32| CompletedPart {
            part_number: Some(number),
            e_tag: Some(ETag::Strong("\"abc\"".to_owned())),
            ..Default::default()
        };
        assert_eq!(code(asked_parts(vec![])), "MalformedXML");
        assert_eq!(code(asked_parts(vec![part(2), part(1)])), "InvalidPartOrder");
        assert_eq!(code(asked_parts(vec![part(1), part(1)])), "InvalidPartOrder");
        assert_eq!(code(asked_parts(vec![part(0)])), "InvalidArgument");
        assert_eq!(code(asked_parts(vec![CompletedPart { e_tag: None, ..part(1) }])), "MalformedXML");
        assert_eq!(asked_parts(vec![part(1), part(3)]).unwrap()[1].etag, "abc");
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
