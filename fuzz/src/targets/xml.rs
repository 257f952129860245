//! Documents: as clients send them, as nobody does, and bombs. Every answer comes within bounded time and memory and is no
//! error of ours; a document that refers to an entity it declares is refused; what is deleted or tagged is what a second
//! reader reads.

use arbitrary::Unstructured;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use holdfast_gateway::checksum;
use holdfast_wire::object::ChecksumAlgorithm;

use super::sigv4::{scope, sign};
use super::{Edit, one, word};
use crate::bounds::{cpu_micros, measured};
use crate::second::http::Request;
use crate::second::reading::texts;
use crate::second::sigv4::sha256;
use crate::stand::Stand;

/// Method, target and the names of elements that mean something there; the first is the root's.
type Kind = (&'static str, &'static str, &'static [&'static str]);

const KINDS: [Kind; 18] = [
    ("POST", "/bucket?delete", &["Delete", "Object", "Key", "VersionId", "Quiet", "ETag", "Size", "LastModifiedTime"]),
    ("POST", "/bucket/k?uploadId=", &["CompleteMultipartUpload", "Part", "PartNumber", "ETag", "ChecksumCRC32"]),
    ("PUT", "/new-bucket", &["CreateBucketConfiguration", "LocationConstraint", "Location", "Bucket", "Type", "Tags"]),
    ("PUT", "/bucket?tagging", &["Tagging", "TagSet", "Tag", "Key", "Value"]),
    ("PUT", "/bucket/a?tagging", &["Tagging", "TagSet", "Tag", "Key", "Value"]),
    (
        "PUT",
        "/bucket?lifecycle",
        &[
            "LifecycleConfiguration",
            "Rule",
            "ID",
            "Status",
            "Filter",
            "And",
            "Prefix",
            "Tag",
            "Key",
            "Value",
            "ObjectSizeGreaterThan",
            "ObjectSizeLessThan",
            "Expiration",
            "Days",
            "Date",
            "ExpiredObjectDeleteMarker",
            "NoncurrentVersionExpiration",
            "NoncurrentDays",
            "NewerNoncurrentVersions",
            "AbortIncompleteMultipartUpload",
            "DaysAfterInitiation",
            "Transition",
        ],
    ),
    (
        "PUT",
        "/bucket?cors",
        &["CORSConfiguration", "CORSRule", "AllowedOrigin", "AllowedMethod", "AllowedHeader", "MaxAgeSeconds"],
    ),
    ("PUT", "/bucket?versioning", &["VersioningConfiguration", "Status", "MfaDelete"]),
    (
        "PUT",
        "/bucket?encryption",
        &[
            "ServerSideEncryptionConfiguration",
            "Rule",
            "ApplyServerSideEncryptionByDefault",
            "SSEAlgorithm",
            "BucketKeyEnabled",
        ],
    ),
    (
        "PUT",
        "/bucket?publicAccessBlock",
        &["PublicAccessBlockConfiguration", "BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy"],
    ),
    ("PUT", "/bucket?ownershipControls", &["OwnershipControls", "Rule", "ObjectOwnership"]),
    (
        "PUT",
        "/bucket?object-lock",
        &["ObjectLockConfiguration", "ObjectLockEnabled", "Rule", "DefaultRetention", "Mode", "Days", "Years"],
    ),
    (
        "PUT",
        "/bucket?website",
        &["WebsiteConfiguration", "IndexDocument", "Suffix", "ErrorDocument", "Key", "RoutingRules", "RoutingRule"],
    ),
    (
        "PUT",
        "/bucket?acl",
        &["AccessControlPolicy", "Owner", "ID", "AccessControlList", "Grant", "Grantee", "URI", "Permission"],
    ),
    (
        "PUT",
        "/bucket/a?acl",
        &["AccessControlPolicy", "Owner", "ID", "AccessControlList", "Grant", "Grantee", "URI", "Permission"],
    ),
    ("PUT", "/bucket/a?retention", &["Retention", "Mode", "RetainUntilDate"]),
    ("PUT", "/bucket/a?legal-hold", &["LegalHold", "Status"]),
    ("PUT", "/bucket?notification", &["NotificationConfiguration", "TopicConfiguration", "Topic", "Event"]),
];
const TEXTS: [&str; 20] = [
    "a",
    "b",
    "c",
    "",
    "1",
    "2",
    "7",
    "Enabled",
    "Suspended",
    "Disabled",
    "true",
    "false",
    "GOVERNANCE",
    "AES256",
    "GET",
    "*",
    "BucketOwnerEnforced",
    "2030-01-01T00:00:00Z",
    "us-east-1",
    "\"0\"",
];
/// CPU time that a document may take, in microseconds. Code that is not optimised has ten times as much.
const CPU: u64 = if cfg!(debug_assertions) { 500_000 } else { 50_000 };
/// Bytes that a request may take, besides so many for each byte of it.
const MEMORY: usize = 4 << 20;
const MEMORY_EACH: usize = 64;

fn text(u: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    Ok(match u.int_in_range(0..=9)? {
        0..=5 => (*one(u, &TEXTS)?).to_owned(),
        6 => word(u, 12, "")?,
        7 => "<![CDATA[a]]>".to_owned(),
        8 => (*one(u, &["&amp;", "&#97;", "&#0;", "&lol;", "&lt;b&gt;", "&#xfffe;", "\r\n"])?).to_owned(),
        _ => format!("<!-- {} -->", word(u, 6, "-")?),
    })
}

fn element(
    u: &mut Unstructured<'_>,
    name: &str,
    names: &[&str],
    depth: usize,
    xml: &mut String,
) -> arbitrary::Result<()> {
    *xml += &format!(
        "<{name}{}>",
        one(u, &["", "", "", " a=\"b\"", " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""])?
    );
    let children = if depth < 6 && xml.len() < 8192 { u.int_in_range(0..=3)? } else { 0 };
    for _ in 0..children {
        let child = if u.ratio(1, 30)? { "Other" } else { one(u, names)? };
        let from = xml.len();
        element(u, child, names, depth + 1, xml)?;
        if u.ratio(1, 12)? {
            // The same again, many times.
            let times = *one(u, &[2, 10, 1001])?;
            let piece = xml[from..].to_owned();
            *xml += &piece.repeat(if piece.len() * times < 256 << 10 { times } else { 2 });
        }
    }
    if children == 0 {
        *xml += &text(u)?;
    }
    *xml += &format!("</{name}>");
    Ok(())
}

fn document(u: &mut Unstructured<'_>, names: &[&str]) -> arbitrary::Result<Vec<u8>> {
    let root = names[0];
    let xml = match u.int_in_range(0..=19)? {
        0 => return Ok(u.bytes(u.len().min(4096))?.to_vec()),
        1 => format!("<{root}>").repeat(u.int_in_range(1..=10_000)?),
        2 => format!("<!DOCTYPE lolz [<!ENTITY a \"ha\"><!ENTITY b \"{}\">]><{root}>&b;</{root}>", "&a;".repeat(1000)),
        3 => format!("<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><{root}>&a;</{root}>"),
        4 => format!("<{root}{}/>", " a=\"b\"".repeat(u.int_in_range(1..=5000)?)),
        5 => format!("<{root}>{}</{root}>", "x".repeat(u.int_in_range(1..=200_000)?)),
        _ => {
            let mut xml = (*one(u, &["", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "\u{feff}", " \n"])?).to_owned();
            element(u, root, names, 0, &mut xml)?;
            xml
        }
    };
    let mut xml = xml.into_bytes();
    if u.ratio(1, 4)? {
        Edit::of(u, xml.len())?.apply(&mut xml);
    }
    Ok(xml)
}

fn request(method: &str, target: &str, body: Vec<u8>) -> Bytes {
    let mut request = Request { method: method.to_owned(), target: target.to_owned(), body, ..Request::default() };
    request.add("host", "stand");
    if !request.body.is_empty() {
        let md5 = STANDARD.encode(checksum::of(ChecksumAlgorithm::Md5, &request.body));
        request.add("content-md5", &md5);
    }
    let hash = sha256(&request.body);
    sign(&mut request, &scope(0), &hash);
    request.bytes().into()
}

/// The target.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(&(method, target, names)) = one(&mut u, &KINDS) else { return };
    let Ok(xml) = document(&mut u, names) else { return };
    Stand::with(|stand| {
        for key in ["a", "b", "c"] {
            stand.replica().set(key, "text");
        }
        let mut target = target.to_owned();
        if target.ends_with("uploadId=") {
            let made = stand.ask([request("POST", "/bucket/k?uploads", Vec::new())]);
            let upload = made.element("UploadId").expect("an upload is begun");
            target += &upload;
            let part = format!("/bucket/k?uploadId={upload}&partNumber=1");
            assert_eq!(stand.ask([request("PUT", &part, b"part".to_vec())]).status, 200);
        }
        let bytes = request(method, &target, xml.clone());
        let before = cpu_micros();
        let (answer, held) = measured(|| stand.ask([bytes.clone()]));
        let took = cpu_micros() - before;
        let shown = || format!("{answer:?}\n{}", String::from_utf8_lossy(&bytes));
        assert!(took <= CPU, "{took} µs of CPU: {}", shown());
        assert!(held <= MEMORY + MEMORY_EACH * bytes.len(), "{held} bytes: {}", shown());
        let ours = answer.status >= 500 && answer.status != 501;
        assert!(answer.status >= 200 && !ours, "an error of ours: {}", shown());
        let declares = [&b"<!DOCTYPE"[..], b"<!ENTITY"].iter().any(|mark| xml.starts_with(mark));
        // Both readers pass over a declaration to which nothing refers.
        let refers = texts(&xml, &[]).is_none();
        assert!(!declares || !refers || answer.status >= 400, "a declaration was taken: {}", shown());
        if answer.status >= 300 {
            assert!(!answer.code().is_empty(), "a refusal without a code: {}", shown());
            assert_eq!(stand.replica().keys(), ["a", "b", "c"], "refused, and changed something: {}", shown());
            return;
        }
        match names[0] {
            "Delete" => {
                let mut named = texts(&xml, &["Delete", "Object", "Key"]).expect("what was taken can be read");
                let result = |of| texts(&answer.body, &["DeleteResult", of, "Key"]).expect("an answer is a document");
                let (deleted, refused) = (result("Deleted"), result("Error"));
                let quiet = deleted.is_empty();
                let mut told = [deleted.clone(), refused].concat();
                named.sort();
                told.sort();
                assert!(quiet || told == named, "told of others than were named: {}", shown());
                let left = ["a", "b", "c"].iter().filter(|key| !named.iter().any(|name| name == *key));
                let kept = stand.replica().keys();
                assert!(left.clone().all(|key| kept.iter().any(|kept| kept == key)), "deleted another: {}", shown());
            }
            "Tagging" => {
                let told = stand.ask([request("GET", &target, Vec::new())]);
                for name in ["Key", "Value"] {
                    let path = ["Tagging", "TagSet", "Tag", name];
                    let (mut sent, mut kept) =
                        (texts(&xml, &path).expect("it was taken"), texts(&told.body, &path).unwrap_or_default());
                    sent.sort();
                    kept.sort();
                    assert_eq!(sent, kept, "other tags than were sent: {} {told:?}", shown());
                }
            }
            _ => {}
        }
    });
}
