use super::*;

fn ask(
    method: &str,
    kind: Kind,
    query: &str,
    headers: &[(&'static str, &'static str)],
) -> Result<Operation, (u16, &'static str)> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let headers = headers
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    operation(&method, kind, query, &headers.collect()).map_err(|refusal| (refusal.status.as_u16(), refusal.code))
}

const COPY: &[(&str, &str)] = &[("x-amz-copy-source", "/b/k")];
const FORM: &[(&str, &str)] = &[("content-type", "Multipart/Form-Data; boundary=x")];

#[test]
fn what_is_allowed_is_named() {
    use Kind::{Bucket, Object, Service};
    for (method, kind, query, headers, expected) in [
        ("GET", Service, "", &[][..], Op::ListBuckets),
        ("GET", Service, "x-id=ListBuckets&max-buckets=3", &[], Op::ListBuckets),
        ("GET", Bucket, "", &[], Op::ListObjects),
        ("GET", Bucket, "list-type=2&prefix=a&delimiter=%2F", &[], Op::ListObjectsV2),
        ("GET", Bucket, "nonsense", &[], Op::ListObjects),
        ("GET", Bucket, "location", &[], Op::GetBucketLocation),
        ("GET", Bucket, "location=", &[], Op::GetBucketLocation),
        ("GET", Bucket, "versions&prefix=acl", &[], Op::ListObjectVersions),
        ("GET", Bucket, "uploads&max-uploads=1", &[], Op::ListMultipartUploads),
        ("GET", Bucket, "website", &[], Op::GetBucketConfiguration),
        ("GET", Object, "", &[], Op::GetObject),
        ("GET", Object, "versionId=v&partNumber=2", &[], Op::GetObject),
        ("GET", Object, "uploadId=u&max-parts=2", &[], Op::ListParts),
        ("GET", Object, "attributes", &[], Op::GetObjectAttributes),
        ("GET", Object, "x-id=GetObject&response-content-type=a", &[], Op::GetObject),
        ("HEAD", Bucket, "", &[], Op::HeadBucket),
        ("HEAD", Object, "partNumber=1", &[], Op::HeadObject),
        ("PUT", Bucket, "", &[], Op::CreateBucket),
        ("PUT", Bucket, "tagging", &[], Op::PutBucketTagging),
        ("PUT", Object, "x-id=PutObject", &[], Op::PutObject),
        ("PUT", Object, "trace=7", &[], Op::PutObject),
        ("PUT", Object, "X-Amz-Signature=&X-Amz-Expires=3", &[], Op::PutObject),
        ("PUT", Object, "", COPY, Op::CopyObject),
        ("PUT", Object, "uploadId=u&partNumber=1", &[], Op::UploadPart),
        ("PUT", Object, "uploadId=u&partNumber=1", COPY, Op::UploadPartCopy),
        ("PUT", Object, "tagging&versionId=v", &[], Op::PutObjectTagging),
        ("PUT", Object, "renameObject", &[], Op::RenameObject),
        ("POST", Bucket, "delete", &[], Op::DeleteObjects),
        ("POST", Bucket, "", FORM, Op::PostObject),
        ("POST", Object, "uploads", &[], Op::CreateMultipartUpload),
        ("POST", Object, "uploadId=u", &[], Op::CompleteMultipartUpload),
        ("DELETE", Bucket, "", &[], Op::DeleteBucket),
        ("DELETE", Bucket, "x-id=DeleteBucket", &[], Op::DeleteBucket),
        ("DELETE", Bucket, "tagging", &[], Op::DeleteBucketTagging),
        ("DELETE", Object, "versionId=null", &[], Op::DeleteObject),
        ("DELETE", Object, "uploadId=u", &[], Op::AbortMultipartUpload),
    ] {
        assert_eq!(ask(method, kind, query, headers), Ok(expected), "{method} {kind:?} {query}");
    }
}

#[test]
fn what_would_fall_through_is_refused() {
    use Kind::{Bucket, Object, Service};
    const ARGUMENT: (u16, &str) = (400, "InvalidArgument");
    const MISSING: (u16, &str) = (501, "NotImplemented");
    const METHOD: (u16, &str) = (405, "MethodNotAllowed");
    for (method, kind, query, headers, expected) in [
        ("DELETE", Bucket, "nonsense", &[][..], MISSING),
        ("DELETE", Bucket, "versioning", &[], MISSING),
        ("DELETE", Bucket, "acl", &[], MISSING),
        ("DELETE", Bucket, "versionId", &[], MISSING),
        ("DELETE", Bucket, "id", &[], ARGUMENT),
        ("DELETE", Object, "annotationName=x", &[], ARGUMENT),
        ("DELETE", Object, "acl", &[], MISSING),
        ("DELETE", Object, "%61cl", &[], MISSING),
        ("DELETE", Object, "acl=x", &[], MISSING),
        ("DELETE", Object, "uploads", &[], MISSING),
        ("DELETE", Object, "nonsense", &[], MISSING),
        ("DELETE", Object, "partNumber=1", &[], MISSING),
        ("DELETE", Object, "versionId=", &[], ARGUMENT),
        ("DELETE", Object, "versionId=a&versionId=b", &[], ARGUMENT),
        ("DELETE", Object, "uploadId=u&versionId=v", &[], ARGUMENT),
        ("DELETE", Object, "tagging&uploadId=u", &[], ARGUMENT),
        ("PUT", Object, "partNumber=1", &[], ARGUMENT),
        ("PUT", Object, "uploadId=u", &[], ARGUMENT),
        ("PUT", Object, "uploadId=u&uploadId=v&partNumber=1", &[], ARGUMENT),
        ("PUT", Object, "partNumber=1", COPY, ARGUMENT),
        ("PUT", Object, "versionId=v", &[], ARGUMENT),
        ("PUT", Object, "acl&tagging", &[], ARGUMENT),
        ("PUT", Object, "torrent", &[], MISSING),
        ("PUT", Object, "append", &[], MISSING),
        ("PUT", Object, "nonsense", &[], MISSING),
        ("PUT", Object, "uploads", &[], MISSING),
        ("PUT", Bucket, "nonsense", &[], MISSING),
        ("PUT", Bucket, "policyStatus", &[], MISSING),
        ("PUT", Bucket, "uploads", &[], MISSING),
        ("PUT", Bucket, "cors&policy", &[], ARGUMENT),
        ("GET", Bucket, "acl&policy", &[], ARGUMENT),
        ("GET", Bucket, "acl&acl", &[], ARGUMENT),
        ("GET", Bucket, "list-type=1", &[], ARGUMENT),
        ("GET", Bucket, "versions&list-type=2", &[], ARGUMENT),
        ("GET", Bucket, "prefix=a&prefix=b", &[], ARGUMENT),
        ("GET", Bucket, "uploadId=u", &[], MISSING),
        ("GET", Bucket, "torrent", &[], MISSING),
        ("GET", Object, "uploadId=u&partNumber=1", &[], ARGUMENT),
        ("GET", Object, "uploads", &[], MISSING),
        ("GET", Object, "cors", &[], MISSING),
        ("GET", Service, "acl", &[], MISSING),
        ("HEAD", Object, "acl", &[], MISSING),
        ("HEAD", Bucket, "uploads", &[], MISSING),
        ("POST", Object, "uploads&uploadId=u", &[], ARGUMENT),
        ("POST", Object, "uploads&versionId=v", &[], ARGUMENT),
        ("POST", Object, "select", &[], ARGUMENT),
        ("POST", Object, "tagging", &[], MISSING),
        ("POST", Object, "", &[], METHOD),
        ("POST", Object, "", FORM, METHOD),
        ("POST", Object, "uploads", FORM, METHOD),
        ("POST", Bucket, "delete", FORM, METHOD),
        ("POST", Bucket, "", &[], METHOD),
        ("POST", Bucket, "", &[("x-amz-request-route", "r")], MISSING),
        ("POST", Bucket, "nonsense", FORM, MISSING),
        ("POST", Service, "", &[], METHOD),
        ("PUT", Service, "", &[], METHOD),
        ("DELETE", Service, "", &[], METHOD),
        ("HEAD", Service, "", &[], METHOD),
        ("PATCH", Object, "", &[], METHOD),
        ("TRACE", Bucket, "", &[], METHOD),
        ("get", Bucket, "", &[], METHOD),
    ] {
        assert_eq!(ask(method, kind, query, headers), Err(expected), "{method} {kind:?} {query}");
    }
}

#[test]
fn every_selector_stands_once_and_every_mask_has_room() {
    let rows = [
        &GET_SERVICE,
        &GET_BUCKET,
        &GET_OBJECT,
        &HEAD_BUCKET,
        &HEAD_OBJECT,
        &PUT_BUCKET,
        &PUT_OBJECT,
        &POST_BUCKET,
        &POST_OBJECT,
        &DELETE_BUCKET,
        &DELETE_OBJECT,
    ];
    for row in rows {
        assert!(row.modifiers.len() <= 64);
        let mut names: Vec<&str> = row.selectors.iter().map(|(name, _)| *name).collect();
        names.extend(row.modifiers);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

proptest::proptest! {
    /// A deletion that carries anything beyond what its operation takes is never the plain one.
    #[test]
    fn no_subresource_reaches_a_plain_deletion(name in "[a-zA-Z-]{1,16}") {
        proptest::prop_assume!(!is_extension(&name));
        for kind in [Kind::Bucket, Kind::Object] {
            let asked = ask("DELETE", kind, &name, &[]);
            proptest::prop_assert!(!matches!(asked, Ok(Op::DeleteBucket | Op::DeleteObject)));
        }
    }
}
