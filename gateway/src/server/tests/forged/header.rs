//! Credentials in the `Authorization` header.

use super::super::client::hex_sha256;
use super::*;

fn edit(request: &mut Request, change: impl Fn(&str) -> String) {
    let value = change(&request.value("authorization"));
    request.set("authorization", &value);
}

fn flip(request: &mut Request, place: usize) {
    edit(request, |value| {
        let start = value.find("Signature=").expect("it is signed") + "Signature=".len() + place;
        let other = if value.as_bytes()[start] == b'0' { "1" } else { "0" };
        format!("{}{other}{}", &value[..start], &value[start + 1..])
    });
}

fn twice(request: &mut Request, name: &str) {
    let value = request.value(name);
    request.headers.push((name.to_owned(), value));
}

fn joint(request: &mut Request, pair: &str) {
    let joint = if request.target.contains('?') { '&' } else { '?' };
    request.target += &format!("{joint}{pair}");
}

/// What a request for another thing ends with: a wrong signature, where it is a thing at all.
const ELSEWHERE: &[Refusal] = &[MISMATCH, UNKNOWN, REQUEST, ARGUMENT, (405, "MethodNotAllowed")];

/// A header that s3s cannot read. AWS says the former.
const UNREADABLE: &[Refusal] = &[MALFORMED, REQUEST];

const MUTATIONS: &[Mutation] = &[
    before("other secret", |r| r.secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ".into(), &[MISMATCH]),
    before("empty secret", |r| r.secret_key = "x".into(), &[MISMATCH]),
    before("unknown key", |r| r.access_key = "AKIAHOLDFASTROO2".into(), &[NO_KEY]),
    before("other region", |r| r.region = "eu-west-1".into(), &[MALFORMED]),
    before("other service", |r| r.service = "ec2".into(), &[MALFORMED, UNKNOWN]),
    before("too old", |r| r.time -= 16 * 60, &[SKEWED]),
    before("too new", |r| r.time += 16 * 60, &[SKEWED]),
    before("a day old", |r| r.time -= 86_400, &[SKEWED]),
    before("a token without a session", |r| r.set("x-amz-security-token", "t"), &[TOKEN]),
    before("hash of other bytes", |r| r.set("x-amz-content-sha256", &hex_sha256(b"other")), &[HASH]),
    before("hash that is none", |r| r.set("x-amz-content-sha256", "TRUST-ME"), &[ARGUMENT, MISMATCH]),
    after("method", |r| r.method = if r.method == "PUT" { "DELETE" } else { "PUT" }.into(), ELSEWHERE),
    after(
        "path",
        |r| r.target = r.target.replacen("/bucket", "/buckez", 1).replacen("/?", "/x?", 1) + "&",
        &[MISMATCH, UNKNOWN, (400, "InvalidBucketName")],
    ),
    after("query added", |r| joint(r, "trace=1"), &[MISMATCH]),
    after("sub-resource added", |r| joint(r, "acl"), ELSEWHERE),
    after("version added", |r| joint(r, "versionId=x"), ELSEWHERE),
    after("signed header changed", |r| r.set("x-amz-meta-colour", "red"), &[MISMATCH]),
    after("signed header dropped", |r| r.drop("x-amz-meta-colour"), &[MISMATCH, DENIED, REQUEST, MALFORMED]),
    after("signed header twice", |r| twice(r, "x-amz-meta-colour"), &[MISMATCH]),
    after("unsigned metadata", |r| r.set("x-amz-meta-size", "1"), &[DENIED]),
    after("unsigned owner", |r| r.set("x-amz-expected-bucket-owner", "me"), &[DENIED]),
    after("unsigned bypass", |r| r.set("x-amz-bypass-governance-retention", "true"), &[DENIED]),
    after("host", |r| r.set("host", "elsewhere.example"), &[MISMATCH]),
    after("date", |r| r.set("x-amz-date", "20200101T000000Z"), &[SKEWED, MISMATCH, MALFORMED, DENIED]),
    after("date dropped", |r| r.drop("x-amz-date"), &[DENIED, MALFORMED, REQUEST]),
    after("date malformed", |r| r.set("x-amz-date", "yesterday"), &[DENIED, MALFORMED, REQUEST, ARGUMENT]),
    after("signature's beginning", |r| flip(r, 0), &[MISMATCH]),
    after("signature's end", |r| flip(r, 63), &[MISMATCH]),
    after("signature cut", |r| edit(r, |value| value[..value.len() - 1].to_owned()), &[MISMATCH, MALFORMED]),
    after("signature grown", |r| edit(r, |value| format!("{value}0")), &[MISMATCH, MALFORMED]),
    after("signature absent", |r| edit(r, |v| v.split(", Signature=").next().unwrap_or("").into()), UNREADABLE),
    after("key in the credential", |r| edit(r, |v| v.replace(ACCESS_KEY, "AKIAHOLDFASTROOS")), &[NO_KEY]),
    after("no key in the credential", |r| edit(r, |v| v.replace(ACCESS_KEY, "")), &[MALFORMED, NO_KEY]),
    after("region in the credential", |r| edit(r, |v| v.replace("us-east-1", "eu-west-1")), &[MALFORMED]),
    after("service in the credential", |r| edit(r, |v| v.replace("/s3/", "/sts/")), &[MALFORMED, MISMATCH, DENIED]),
    after("terminator", |r| edit(r, |v| v.replace("aws4_request", "aws5_request")), UNREADABLE),
    after(
        "algorithm",
        |r| edit(r, |v| v.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1")),
        &[ARGUMENT, MALFORMED, REQUEST, UNKNOWN],
    ),
    after("scheme", |r| edit(r, |v| v.replace("AWS4-HMAC-SHA256", "Bearer")), &[ARGUMENT]),
    after("host not signed", |r| edit(r, |v| v.replace("host;", "")), &[DENIED]),
    after("fewer signed headers", |r| edit(r, |v| v.replace(";x-amz-meta-colour", "")), &[DENIED, MISMATCH]),
    after(
        "more signed headers",
        |r| edit(r, |v| v.replace("=host", "=accept;host")),
        &[MISMATCH, DENIED, MALFORMED, REQUEST],
    ),
    after("no signed headers", |r| edit(r, |v| v.replace("SignedHeaders=", "Headers=")), UNREADABLE),
    after("authorization empty", |r| r.set("authorization", ""), &[DENIED]),
    after("authorization dropped", |r| r.drop("authorization"), &[DENIED]),
    after("authorization twice", |r| twice(r, "authorization"), &[ARGUMENT, REQUEST, MALFORMED]),
    after("version 2", |r| r.set("authorization", "AWS AKIAHOLDFASTROOT:frJIUN8DYpKDtOLCwo//yllqDzg="), &[REQUEST]),
    after("credentials in the query too", |r| joint(r, "X-Amz-Signature=00"), &[ARGUMENT]),
    after("version 2 in the query too", |r| joint(r, "Signature=00&AWSAccessKeyId=A&Expires=9999999999"), &[ARGUMENT]),
    after("hash unsigned", |r| r.set("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), &[MISMATCH]),
    after(
        "hash of a stream",
        |r| r.set("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        &[MISMATCH, REQUEST, UNKNOWN, (411, "MissingContentLength")],
    ),
    after("hash dropped", |r| r.drop("x-amz-content-sha256"), &[MISMATCH, REQUEST, DENIED, MALFORMED]),
];

/// Those that change a body, where there is one.
const BODIES: &[Mutation] = &[
    after("body changed", |r| r.body[0] ^= 1, &[HASH]),
    after("body cut", |r| r.body.truncate(r.body.len() - 1), &[HASH]),
    after("body grown", |r| r.body.push(b' '), &[HASH]),
    after(
        "body and its hash",
        |r| {
            r.body[0] ^= 1;
            let hash = hex_sha256(&r.body);
            r.set("x-amz-content-sha256", &hash);
        },
        &[MISMATCH],
    ),
];

pub async fn tried(stand: &Stand) -> Vec<String> {
    let mut wrong = Vec::new();
    for operation in OPERATIONS {
        let way = format!("header: {} {}", operation.0, operation.1);
        wrong.extend(stand.accepts(&way, &request(&stand.host(), operation).sign()).await);
        stand.replica.set("key", "hello");
        let bodies = BODIES.iter().filter(|_| !operation.2.is_empty());
        for mutation in MUTATIONS.iter().chain(bodies) {
            let mut made = request(&stand.host(), operation);
            if mutation.signed {
                made = made.sign();
                (mutation.change)(&mut made);
            } else {
                (mutation.change)(&mut made);
                made = made.sign();
            }
            wrong.extend(stand.refuses(&way, mutation.name, &made, mutation.expected).await);
        }
    }
    wrong
}
