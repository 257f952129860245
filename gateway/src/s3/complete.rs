//! CompleteMultipartUpload: everything that the client says of the parts is held against what is stored, then one
//! write makes the object.

use std::sync::Arc;

use holdfast_wire::bucket::Bucket;
use holdfast_wire::condition::WriteCondition;
use holdfast_wire::context;
use holdfast_wire::id::{ObjectKey, UploadId};
use holdfast_wire::object::{Checksum, ChecksumAlgorithm, ChecksumKind, Part, Upload};
use holdfast_wire::request::{CompleteUpload, NotRead, Refusal, Write, WriteOutcome};
use holdfast_wire::sealed::{Seal, SealedBy};
use s3s::dto::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::answer::{claimed_checksums, etag, set_checksum_and_kind, written};
use super::encryption::aes256;
use super::lifecycle::Expires;
use super::list::Encoding;
use super::multipart::{parse_kind, type_mismatch};
use super::put::unexpected;
use super::request::{key, modes, part_number, upload_id};
use super::{S3Service, condition};
use crate::checksum::claim::Mismatch;
use crate::checksum::{self, combine};
use crate::router::{Modes, RouteError, Router, Written};

/// Parts of one upload.
const PARTS_MAX: usize = 10_000;

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
    let mut parts = parts.collect::<S3Result<Vec<_>>>()?;
    if !parts.is_sorted_by_key(|part| part.number) {
        return Err(s3_error!(InvalidPartOrder));
    }
    // Of a part that was sent again, and is named again, the last counts.
    parts.reverse();
    parts.dedup_by_key(|part| part.number);
    parts.reverse();
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
async fn finish(
    router: Router,
    bucket: Arc<Bucket>,
    key: ObjectKey,
    modes: Modes,
    asked: Asked,
) -> S3Result<(Written, Option<Seal>, Option<Expires>)> {
    let (mut seal, mut expires) = (None, None);
    let (etag, checksum) = match all_parts(&router, &bucket, &key, asked.upload).await {
        Ok((upload, stored)) => {
            let planned = plan(&upload, &stored, &asked)?;
            // Ascending, as they were found to be.
            let chosen = |part: &&Part| asked.parts.binary_search_by_key(&part.number, |asked| asked.number).is_ok();
            let size = stored.iter().filter(chosen).map(|part| part.size).sum();
            expires = Expires::of(&bucket, size, &upload.attributes.tags);
            seal = upload.attributes.seal;
            planned
        }
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
    Ok((router.write(&bucket, &key, modes, Write::CompleteUpload(complete)).await?, seal, expires))
}

/// CompleteMultipartUpload
pub async fn upload(
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
    let work = finish(s3.router.clone(), bucket.clone(), key.clone(), modes, asked);
    let work = s3.tasks.spawn(context::within(context::current(), work));
    let (answer, seal, expires) =
        work.await.map_err(|_| RouteError::Unknown("completing an upload was interrupted".to_owned()))??;
    let WriteOutcome::Stored { seq, etag: tag, checksum, version, modified_ms } = &answer.outcome else {
        return Err(unexpected(&answer));
    };
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(bucket.name.to_string()),
        e_tag: Some(etag(tag)),
        expiration: expires.and_then(|expires| expires.told(&bucket, key.as_str(), *modified_ms)),
        location: Some(location(&req.headers, bucket.name.as_str(), key.as_str())?),
        key: Some(key.into()),
        version_id: version.map(|version| version.to_string()),
        ..Default::default()
    };
    set_checksum_and_kind!(output, checksum);
    if seal.is_some_and(|seal| matches!(seal.by, SealedBy::Ring(_))) {
        output.server_side_encryption = Some(aes256());
    }
    Ok(written(output, *seq, answer.ack))
}

/// The object's URL, path style.
pub fn location(headers: &http::HeaderMap, bucket: &str, key: &str) -> S3Result<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let path = format!("/{bucket}/{}", Encoding::Url.name(key)?);
    Ok(match text("host") {
        Some(host) => format!("{}://{host}{path}", text("x-forwarded-proto").unwrap_or("http")),
        None => path,
    })
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
            salt: None,
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
        let again = CompletedPart { e_tag: Some(ETag::Strong("again".to_owned())), ..part(1) };
        let twice = asked_parts(vec![part(1), again, part(2)]).unwrap();
        assert_eq!(twice.iter().map(|part| part.etag.as_str()).collect::<Vec<_>>(), ["again", "abc"]);
        assert_eq!(code(asked_parts(vec![part(0)])), "InvalidArgument");
        assert_eq!(code(asked_parts(vec![CompletedPart { e_tag: None, ..part(1) }])), "MalformedXML");
        assert_eq!(asked_parts(vec![part(1), part(3)]).unwrap()[1].etag, "abc");
    }
}
