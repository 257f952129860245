//! Requests signed by a second implementation, and then changed anywhere: the gateway acts only on what that implementation
//! finds rightly signed, and refuses no right signature.

use arbitrary::Unstructured;
use bytes::Bytes;

use super::{Edit, one, word};
use crate::second::http::{Request, decoded};
use crate::second::reading::stamp;
use crate::second::sigv4::{Scope, canonical, encode, sha256, verify};
use crate::stand::{ACCESS_KEY, DOMAIN, SECRET_KEY, Stand, now};

/// Seconds from now: within what is forgiven, and clearly beyond; older ones for presigned URLs.
const AGES: [i64; 8] = [0, 0, 0, 840, -840, 960, -960, 86_000];
const HEADERS: [&str; 8] = [
    "x-amz-meta-a",
    "x-amz-meta-b",
    "x-amz-meta-a-b",
    "cache-control",
    "content-type",
    "x-other",
    "content-disposition",
    "x-amz-tagging",
];
const QUERIES: [&str; 8] = ["prefix", "x-id", "response-content-type", "marker", "delimiter", "versionId", "A", "a"];
/// What a refusal for the signature's sake is called.
const FORGED: [&str; 5] = [
    "SignatureDoesNotMatch",
    "XAmzContentSHA256Mismatch",
    "InvalidAccessKeyId",
    "RequestTimeTooSkewed",
    "AccessDenied",
];

/// The scope of the root key, so many seconds ago.
pub fn scope(age: i64) -> Scope {
    Scope {
        access: ACCESS_KEY.to_owned(),
        secret: SECRET_KEY.to_owned(),
        time: stamp(now() - age),
        region: "us-east-1".to_owned(),
        service: "s3".to_owned(),
    }
}

/// Signs everything in the head, in the `Authorization` header; gives back the signature.
pub fn sign(request: &mut Request, scope: &Scope, payload: &str) -> String {
    request.add("x-amz-date", &scope.time);
    request.add("x-amz-content-sha256", payload);
    let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    let canonical = canonical(request, &names, payload).expect("what is listed is there");
    let (signature, list) = (scope.sign_request(&canonical), names.join(";"));
    let (access, of) = (&scope.access, scope.text());
    let line = format!("AWS4-HMAC-SHA256 Credential={access}/{of}, SignedHeaders={list}, Signature={signature}");
    request.add("authorization", &line);
    signature
}

fn presign(request: &mut Request, scope: &Scope, seconds: u64) {
    let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    let joint = if request.target.contains('?') { '&' } else { '?' };
    let credential = encode(format!("{}/{}", scope.access, scope.text()).as_bytes());
    request.target += &format!(
        "{joint}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={}&X-Amz-Expires={seconds}\
         &X-Amz-SignedHeaders={}",
        scope.time,
        encode(names.join(";").as_bytes())
    );
    let canonical = canonical(request, &names, "UNSIGNED-PAYLOAD").expect("what is listed is there");
    request.target += &format!("&X-Amz-Signature={}", scope.sign_request(&canonical));
}

struct Case {
    request: Request,
    edits: Vec<Edit>,
}

fn case(u: &mut Unstructured<'_>) -> arbitrary::Result<Case> {
    let mut request =
        Request { method: (*one(u, &["GET", "PUT", "DELETE", "HEAD", "POST"])?).to_owned(), ..Request::default() };
    let hosts = ["stand", "stand:9000", &*format!("bucket.{DOMAIN}"), DOMAIN];
    let host = (*one(u, &hosts)?).to_owned();
    let path = word(u, 24, " ?#\"<>\\^`{|}")?;
    request.target = if host.starts_with("bucket.") { format!("/{path}") } else { format!("/bucket/{path}") };
    request.add("host", &host);
    let mut joint = '?';
    for _ in 0..u.int_in_range(0..=3)? {
        let (name, value) = (one(u, &QUERIES)?, word(u, 12, " &#\"<>\\^`{|}")?);
        // Names that stand twice s3s sorts by name alone, and so refuses what is signed as AWS says.
        if request.target.contains(&format!("?{name}")) || request.target.contains(&format!("&{name}")) {
            continue;
        }
        // What is not UTF-8 s3s reads with replacement characters, and refuses.
        if std::str::from_utf8(&decoded(&value)).is_err() {
            continue;
        }
        request.target.push(joint);
        request.target += name;
        if u.arbitrary()? {
            request.target.push('=');
            request.target += &value;
        }
        joint = '&';
    }
    for _ in 0..u.int_in_range(0..=3)? {
        let (name, value) = (one(u, &HEADERS)?, word(u, 16, "")?);
        request.add(name, value.trim());
    }
    if ["PUT", "POST"].contains(&&*request.method) {
        let len = u.int_in_range(0..=40)?;
        request.body = u.bytes(len.min(u.len()))?.to_vec();
    }
    let mut scope = scope(*one(u, &AGES)?);
    match u.int_in_range(0..=15)? {
        0 => scope.region = "eu-west-1".to_owned(),
        1 => scope.service = "sts".to_owned(),
        2 => scope.secret.push('x'),
        3 => scope.access = "AKIAOTHER".to_owned(),
        _ => {}
    }
    if u.ratio(1, 3)? {
        presign(&mut request, &scope, *one(u, &[60, 80_000, 86_400, 604_800, 604_801])?);
    } else {
        let unsigned = u.ratio(1, 4)?;
        let payload = if unsigned { "UNSIGNED-PAYLOAD".to_owned() } else { sha256(&request.body) };
        sign(&mut request, &scope, &payload);
    }
    let len = request.bytes().len();
    let count = u.int_in_range(0..=2)?;
    Ok(Case { request, edits: (0..count).map(|_| Edit::of(u, len)).collect::<arbitrary::Result<_>>()? })
}

/// The target.
pub fn run(data: &[u8]) {
    let Ok(Case { request, edits }) = case(&mut Unstructured::new(data)) else { return };
    let mut bytes = request.bytes();
    edits.iter().for_each(|edit| edit.apply(&mut bytes));
    let edited = bytes != request.bytes();
    let read = Request::read(&bytes);
    let right = read.as_ref().is_some_and(|read| verify(read, &scope(0), now()));
    Stand::with(|stand| {
        let answer = stand.ask_whatever([Bytes::from(bytes.clone())]);
        let shown = || format!("{answer:?}\n{}", String::from_utf8_lossy(&bytes));
        let gone = ["NoSuchKey", "NoSuchVersion", "NoSuchUpload"].contains(&&*answer.code());
        let acted = (200..300).contains(&answer.status) || gone || !stand.replica().keys().is_empty();
        let preflight = read.as_ref().is_some_and(|read| read.method == "OPTIONS");
        assert!(right || !acted || preflight, "a forged request was taken: {}", shown());
        if right && !edited {
            assert_ne!(answer.status, 0, "no answer: {}", shown());
            assert!(!FORGED.contains(&&*answer.code()), "a right signature was refused: {}", shown());
        }
    });
}
