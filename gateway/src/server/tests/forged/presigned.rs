//! Credentials in the query: presigned URLs.

use super::*;

fn without(request: &mut Request, name: &str) {
    let start = request.target.find(&format!("{name}=")).expect("it is there");
    let end = request.target[start..].find('&').map_or(request.target.len(), |end| start + end + 1);
    request.target.replace_range(start..end, "");
}

fn again(request: &mut Request, name: &str) {
    let start = request.target.find(&format!("{name}=")).expect("it is there");
    let end = request.target[start..].find('&').map_or(request.target.len(), |end| start + end);
    let copy = request.target[start..end].to_owned();
    request.target += &format!("&{copy}");
}

fn replace(request: &mut Request, from: &str, to: &str) {
    assert!(request.target.contains(from), "{from} in {}", request.target);
    request.target = request.target.replacen(from, to, 1);
}

const ELSEWHERE: &[Refusal] = &[MISMATCH, UNKNOWN, REQUEST, ARGUMENT, (405, "MethodNotAllowed")];

const MUTATIONS: &[Mutation] = &[
    before("other secret", |r| r.secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ".into(), &[MISMATCH]),
    before("unknown key", |r| r.access_key = "AKIAHOLDFASTROO2".into(), &[NO_KEY]),
    before("other region", |r| r.region = "eu-west-1".into(), &[QUERY, MALFORMED]),
    before("other service", |r| r.service = "ec2".into(), &[QUERY, MALFORMED, UNKNOWN]),
    before("expired", |r| r.time -= 61, &[DENIED]),
    before("from the future", |r| r.time += 16 * 60, &[DENIED, SKEWED, QUERY]),
    after("method", |r| r.method = if r.method == "PUT" { "DELETE" } else { "PUT" }.into(), ELSEWHERE),
    after("key", |r| replace(r, "/bucket/key", "/bucket/kez"), &[MISMATCH]),
    after("bucket", |r| replace(r, "/bucket/key", "/buckez/key"), &[MISMATCH]),
    after("longer", |r| replace(r, "X-Amz-Expires=60", "X-Amz-Expires=600"), &[MISMATCH]),
    after("far longer", |r| replace(r, "X-Amz-Expires=60", "X-Amz-Expires=604801"), &[QUERY]),
    after("negative", |r| replace(r, "X-Amz-Expires=60", "X-Amz-Expires=-1"), &[QUERY]),
    after("no number", |r| replace(r, "X-Amz-Expires=60", "X-Amz-Expires=soon"), &[QUERY]),
    after("no expiry", |r| without(r, "X-Amz-Expires"), &[QUERY]),
    after("no algorithm", |r| without(r, "X-Amz-Algorithm"), &[QUERY]),
    after("no credential", |r| without(r, "X-Amz-Credential"), &[QUERY]),
    after("no date", |r| without(r, "X-Amz-Date"), &[QUERY]),
    after("no signed headers", |r| without(r, "X-Amz-SignedHeaders"), &[DENIED, QUERY]),
    after("no signature", |r| without(r, "X-Amz-Signature"), &[QUERY]),
    after("credential twice", |r| again(r, "X-Amz-Credential"), &[QUERY, MISMATCH, ARGUMENT, REQUEST]),
    after("expiry twice", |r| again(r, "X-Amz-Expires"), &[QUERY, MISMATCH, ARGUMENT, REQUEST]),
    after("signature twice", |r| again(r, "X-Amz-Signature"), &[QUERY, MISMATCH, ARGUMENT, REQUEST]),
    after("other algorithm", |r| replace(r, "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), &[QUERY, UNKNOWN, REQUEST]),
    after("date", |r| replace(r, "X-Amz-Date=2", "X-Amz-Date=3"), &[QUERY, MISMATCH, DENIED, SKEWED, MALFORMED]),
    after("date malformed", |r| replace(r, "X-Amz-Date=", "X-Amz-Date=x"), &[QUERY]),
    after("region in the credential", |r| replace(r, "us-east-1", "eu-west-1"), &[QUERY, MALFORMED]),
    after("service in the credential", |r| replace(r, "%2Fs3%2F", "%2Fsts%2F"), &[QUERY, MISMATCH, DENIED]),
    after("credential cut", |r| replace(r, "%2Faws4_request", ""), &[QUERY]),
    after("host", |r| r.set("host", "elsewhere.example"), &[MISMATCH]),
    after("host not signed", |r| replace(r, "SignedHeaders=host", "SignedHeaders=range"), &[DENIED]),
    after("query added", |r| r.target += "&trace=1", &[MISMATCH]),
    after("sub-resource added", |r| r.target += "&tagging", ELSEWHERE),
    after("version added", |r| r.target += "&versionId=x", ELSEWHERE),
    after("unsigned metadata", |r| r.set("x-amz-meta-a", "1"), &[DENIED]),
    after("token", |r| r.target += "&X-Amz-Security-Token=t", &[TOKEN]),
    after(
        "header too",
        |r| {
            r.set("authorization", "AWS4-HMAC-SHA256 Credential=A/B/C/s3/aws4_request, SignedHeaders=host, Signature=0")
        },
        &[ARGUMENT],
    ),
    after(
        "signature",
        |r| {
            let last = r.target.pop().expect("it is signed");
            r.target.push(if last == '0' { '1' } else { '0' });
        },
        &[MISMATCH],
    ),
];

pub async fn tried(stand: &Stand) -> Vec<String> {
    let mut wrong = Vec::new();
    for operation in [
        ("GET", "/bucket/key", ""),
        ("HEAD", "/bucket/key", ""),
        ("PUT", "/bucket/key", "hello"),
        ("DELETE", "/bucket/key", ""),
    ] {
        let (method, target, body) = operation;
        let way = format!("presigned: {method}");
        let made = || Request::new(method, target, &stand.host()).body(body);
        wrong.extend(stand.accepts(&way, &made().presign(60)).await);
        stand.replica.set("key", "hello");
        for mutation in MUTATIONS {
            let mut request = made();
            if mutation.signed {
                request = request.presign(60);
                (mutation.change)(&mut request);
            } else {
                (mutation.change)(&mut request);
                request = request.presign(60);
            }
            wrong.extend(stand.refuses(&way, mutation.name, &request, mutation.expected).await);
        }
    }
    wrong
}
