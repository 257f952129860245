//! GetObjectAttributes.

use holdfast_wire::id::Seq;
use holdfast_wire::object::Object;
use holdfast_wire::request::{GetObject, RangeSpec};
use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts, ObjectAttributes,
    ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::S3Service;
use super::answer::{etag, int, read, set_checksum, set_checksum_and_kind, timestamp, version_id};
use super::encryption::customer;
use super::list::page_size;
use super::request::{key, modes, version};

/// What the client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Wanted {
    etag: bool,
    checksum: bool,
    parts: bool,
    class: bool,
    size: bool,
}

/// Each header may carry several names, separated by commas.
fn wanted(attributes: &[ObjectAttributes]) -> S3Result<Wanted> {
    let mut wanted = Wanted::default();
    for name in attributes.iter().flat_map(|names| names.as_str().split(',')).map(str::trim) {
        match name {
            ObjectAttributes::ETAG => wanted.etag = true,
            ObjectAttributes::CHECKSUM => wanted.checksum = true,
            ObjectAttributes::OBJECT_PARTS => wanted.parts = true,
            ObjectAttributes::STORAGE_CLASS => wanted.class = true,
            ObjectAttributes::OBJECT_SIZE => wanted.size = true,
            _ => return Err(s3_error!(InvalidArgument, "Invalid attribute name specified.")),
        }
    }
    if wanted == Wanted::default() {
        return Err(s3_error!(InvalidArgument, "Invalid attribute name specified."));
    }
    Ok(wanted)
}

/// A page of the parts of a multipart object.
fn parts(object: &Object, after: i32, limit: i32) -> GetObjectAttributesParts {
    let rest = object.detail.parts.iter().filter(|part| i32::from(part.number) > after);
    let page: Vec<_> = rest.clone().take(limit.unsigned_abs() as usize).collect();
    let more = limit > 0 && rest.count() > page.len();
    let next = page.last().map_or(after, |part| i32::from(part.number));
    let parts = page.into_iter().map(|part| {
        let mut shown =
            ObjectPart { part_number: Some(i32::from(part.number)), size: int(part.size), ..Default::default() };
        set_checksum!(shown, &part.checksum);
        shown
    });
    GetObjectAttributesParts {
        is_truncated: Some(more),
        max_parts: Some(limit),
        next_part_number_marker: Some(next),
        part_number_marker: Some(after),
        parts: Some(parts.collect()),
        total_parts_count: int(object.detail.parts.len() as u64),
    }
}

/// GetObjectAttributes
pub async fn object(
    s3: &S3Service,
    mut req: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let customer = customer!(s3, req)?;
    let input = &mut req.input;
    let modes = modes(&req.headers)?;
    let key = key(std::mem::take(&mut input.key))?;
    let version = version(input.version_id.as_deref())?;
    let wanted = wanted(&input.object_attributes)?;
    let limit = page_size(input.max_parts, "max-parts")?;
    let after = input.part_number_marker.unwrap_or(0).max(0);
    let bucket = s3.bucket(&input.bucket, input.expected_bucket_owner.as_deref()).await?;
    let get = GetObject {
        bucket: bucket.id,
        key,
        head: true,
        range: RangeSpec::All,
        condition: Default::default(),
        version,
        seq: None,
    };
    let got = s3.router.get(&bucket, modes, get).await?;
    s3.key_of(&got.object, customer.as_ref())?;
    let object = &got.object;
    let checksum = object.checksum().filter(|_| wanted.checksum).map(|checksum| {
        let mut shown = Checksum::default();
        set_checksum_and_kind!(shown, Some(&checksum));
        shown
    });
    let class = object
        .summary
        .storage_class
        .clone()
        .map_or_else(|| StorageClass::from_static(StorageClass::STANDARD), StorageClass::from);
    let output = GetObjectAttributesOutput {
        checksum,
        e_tag: wanted.etag.then(|| etag(&object.summary.etag)),
        last_modified: Some(timestamp(object.summary.modified_ms)),
        object_parts: (wanted.parts && !object.detail.parts.is_empty()).then(|| parts(object, after, limit)),
        object_size: if wanted.size { int(object.summary.size) } else { None },
        storage_class: wanted.class.then_some(class),
        version_id: version_id(&bucket, &object.summary),
        ..Default::default()
    };
    Ok(read(output, Seq { group: object.summary.seq.group, index: got.applied }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_in_one_header_or_many() {
        let of = |names: &[&'static str]| {
            wanted(&names.iter().map(|name| ObjectAttributes::from_static(name)).collect::<Vec<_>>())
        };
        let both = Wanted { etag: true, size: true, ..Default::default() };
        assert_eq!(of(&["ETag,ObjectSize"]).unwrap(), both);
        assert_eq!(of(&["ETag", " ObjectSize "]).unwrap(), both);
        assert!(of(&["ETag,Colour"]).is_err());
        assert!(of(&[""]).is_err());
    }
}
