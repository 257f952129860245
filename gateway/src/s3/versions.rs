//! ListObjectVersions.

use holdfast_wire::id::{GroupId, Seq, VersionId};
use holdfast_wire::request::{ListFrom, ListVersions, ListedVersion, VersionPage};
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput,
    ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::{etag, int, kind, owner, timestamp};
use super::list::{Encoding, from_marker, page_size};
use super::request::{Named, modes, named_version};
use crate::checksum;

/// Older than every version there can be: behind a marker that names none of ours, nothing of its key is left.
const OLDEST: VersionId = VersionId::Of(Seq { group: GroupId(0), index: 0 });

/// The version behind which to go on.
fn version_marker(text: Option<&str>, key_marker: Option<&str>) -> S3Result<Option<VersionId>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if key_marker.unwrap_or_default().is_empty() {
        return Err(s3_error!(InvalidArgument, "A version-id marker cannot be specified without a key marker."));
    }
    Ok(match named_version(Some(text))? {
        Named::Version(version) => Some(version),
        Named::Current | Named::Foreign => Some(OLDEST),
    })
}

fn version(encoding: Encoding, listed: &ListedVersion) -> S3Result<ObjectVersion> {
    let summary = &listed.summary;
    Ok(ObjectVersion {
        checksum_algorithm: summary
            .checksum
            .map(|(algorithm, _)| vec![ChecksumAlgorithm::from_static(checksum::name(algorithm))]),
        checksum_type: summary.checksum.map(|(_, of)| ChecksumType::from_static(kind(of))),
        e_tag: Some(etag(&summary.etag)),
        is_latest: Some(listed.latest),
        key: Some(encoding.name(&listed.key)?),
        last_modified: Some(timestamp(summary.modified_ms)),
        owner: Some(owner(&summary.owner)),
        restore_status: None,
        size: int(summary.size),
        storage_class: Some(summary.storage_class.clone().map_or_else(
            || ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD),
            ObjectVersionStorageClass::from,
        )),
        version_id: Some(summary.version().to_string()),
    })
}

fn marker(encoding: Encoding, listed: &ListedVersion) -> S3Result<DeleteMarkerEntry> {
    let summary = &listed.summary;
    Ok(DeleteMarkerEntry {
        is_latest: Some(listed.latest),
        key: Some(encoding.name(&listed.key)?),
        last_modified: Some(timestamp(summary.modified_ms)),
        owner: Some(owner(&summary.owner)),
        version_id: Some(summary.version().to_string()),
    })
}

/// The last entry of a page: its text, and its version unless it is a common prefix.
fn last(page: &VersionPage) -> Option<(&str, Option<VersionId>)> {
    let version = page.versions.last().map(|last| (last.key.as_str(), Some(last.summary.version())));
    let prefix = page.prefixes.last().map(|prefix| (prefix.as_str(), None));
    match (version, prefix) {
        (Some(version), Some(prefix)) => Some(if version.0 > prefix.0 { version } else { prefix }),
        (version, prefix) => version.or(prefix),
    }
}

/// ListObjectVersions
pub async fn list(
    s3: &S3Service,
    req: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = req.input;
    let modes = modes(&req.headers)?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let limit = page_size(input.max_keys, "max-keys")?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let after_version = version_marker(input.version_id_marker.as_deref(), input.key_marker.as_deref())?;
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let after = from_marker(prefix, delimiter, input.key_marker.as_deref());
    let page = match u32::try_from(limit) {
        Ok(limit @ 1..) => {
            let list = ListVersions {
                bucket: bucket.id,
                prefix: prefix.to_owned(),
                delimiter: delimiter.map(str::to_owned),
                after_version: after_version.filter(|_| matches!(after, ListFrom::After(_))),
                after,
                limit,
            };
            s3.router.list_versions(&bucket, modes, list).await?
        }
        _ => VersionPage::default(),
    };
    let versions = page.versions.iter().filter(|listed| !listed.summary.marker);
    let markers = page.versions.iter().filter(|listed| listed.summary.marker);
    let next = last(&page).filter(|_| page.more);
    Ok(S3Response::new(ListObjectVersionsOutput {
        versions: Some(versions.map(|listed| version(encoding, listed)).collect::<S3Result<_>>()?),
        delete_markers: Some(markers.map(|listed| marker(encoding, listed)).collect::<S3Result<_>>()?),
        common_prefixes: Some(encoding.prefixes(&page.prefixes)?),
        delimiter: encoding.opt(delimiter)?,
        encoding_type: encoding.answer(),
        is_truncated: Some(page.more),
        key_marker: Some(encoding.name(input.key_marker.as_deref().unwrap_or_default())?),
        max_keys: Some(limit),
        name: Some(input.bucket),
        next_key_marker: encoding.opt(next.map(|(text, _)| text))?,
        next_version_id_marker: next.and_then(|(_, version)| version).map(|version| version.to_string()),
        prefix: Some(encoding.name(prefix)?),
        request_charged: None,
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
    }))
}

#[cfg(test)]
mod tests {
    use s3s::S3ErrorCode;

    use super::*;

    #[test]
    fn markers() {
        assert_eq!(version_marker(None, None).unwrap(), None);
        assert_eq!(version_marker(Some(""), None).unwrap(), None);
        assert_eq!(version_marker(Some("null"), Some("k")).unwrap(), Some(VersionId::Null));
        assert_eq!(version_marker(Some("3sL4kqtJlcpXroDTDmJ.rmSpXd3_IbrH"), Some("k")).unwrap(), Some(OLDEST));
        let nonsense = (Some("nonsense"), Some("k"));
        for (version, key) in [(Some("null"), None), (Some("null"), Some("")), (Some("/"), Some("k")), nonsense] {
            assert_eq!(version_marker(version, key).unwrap_err().code(), &S3ErrorCode::InvalidArgument);
        }
    }
}
