//! Keys of sessions, as STS hands them out.

use super::*;

/// How a session's request is wrong: given the request before it is signed, the token and another session's.
type Change = fn(&mut Request, &str, &SessionKey);

const MUTATIONS: &[(&str, bool, Change, &[Refusal])] = &[
    ("no token", false, |r, _, _| r.drop("x-amz-security-token"), &[NO_KEY, TOKEN]),
    ("empty token", false, |r, _, _| r.set("x-amz-security-token", ""), &[TOKEN, NO_KEY]),
    ("another session's token", false, |r, _, other| r.set("x-amz-security-token", &other.token), &[TOKEN]),
    ("token cut", false, |r, token, _| r.set("x-amz-security-token", &token[..token.len() - 1]), &[TOKEN]),
    ("token grown", false, |r, token, _| r.set("x-amz-security-token", &format!("{token}A")), &[TOKEN]),
    (
        "token's first letter",
        false,
        |r, token, _| {
            let first = if token.starts_with('A') { 'B' } else { 'A' };
            r.set("x-amz-security-token", &format!("{first}{}", &token[1..]));
        },
        &[TOKEN],
    ),
    (
        "token's middle",
        false,
        |r, token, _| {
            let at = token.len() / 2;
            let other = if token.as_bytes()[at] == b'A' { 'B' } else { 'A' };
            r.set("x-amz-security-token", &format!("{}{other}{}", &token[..at], &token[at + 1..]));
        },
        &[TOKEN],
    ),
    ("no base64", false, |r, _, _| r.set("x-amz-security-token", "!!!"), &[TOKEN]),
    ("token not signed", true, |r, token, _| r.set("x-amz-security-token", &format!("{token}A")), &[MISMATCH, TOKEN]),
    ("token dropped once signed", true, |r, _, _| r.drop("x-amz-security-token"), &[NO_KEY, TOKEN, MISMATCH, DENIED]),
    ("another session's key", false, |r, _, other| r.access_key.clone_from(&other.access_key), &[MISMATCH]),
    ("another session's secret", false, |r, _, other| r.secret_key = other.secret.expose().to_owned(), &[MISMATCH]),
    (
        "another session's key and secret",
        false,
        |r, _, other| {
            r.access_key.clone_from(&other.access_key);
            r.secret_key = other.secret.expose().to_owned();
        },
        &[TOKEN],
    ),
    (
        "the root key",
        false,
        |r, _, _| {
            (r.access_key, r.secret_key) = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
        },
        &[TOKEN],
    ),
    ("a made-up session", false, |r, _, _| r.access_key = "ASIAAAAAAAAAAAAAAAAA".to_owned(), &[MISMATCH]),
];

pub async fn tried(stand: &Stand) -> Vec<String> {
    let mut wrong = Vec::new();
    let (own, other) = (stand.session(u64::MAX), stand.session(u64::MAX));
    let made = |method: &str, target: &str, body: &str, key: &SessionKey| {
        let mut request = Request::new(method, target, &stand.host()).body(body);
        request.access_key.clone_from(&key.access_key);
        request.secret_key = key.secret.expose().to_owned();
        request.header("x-amz-security-token", &key.token)
    };
    for (method, target, body) in
        [("GET", "/bucket/key", ""), ("PUT", "/bucket/key", "hello"), ("DELETE", "/bucket/key", "")]
    {
        let way = format!("session: {method}");
        wrong.extend(stand.accepts(&way, &made(method, target, body, &own).sign()).await);
        stand.replica.set("key", "hello");
        for (name, signed, change, expected) in MUTATIONS {
            let mut request = made(method, target, body, &own);
            if *signed {
                request = request.sign();
                change(&mut request, &own.token, &other);
            } else {
                change(&mut request, &own.token, &other);
                request = request.sign();
            }
            wrong.extend(stand.refuses(&way, name, &request, expected).await);
        }
        let expired = stand.session(1);
        let request = made(method, target, body, &expired).sign();
        wrong.extend(stand.refuses(&way, "expired", &request, &[(400, "ExpiredToken")]).await);
    }
    wrong
}
