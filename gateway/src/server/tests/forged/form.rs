//! Form uploads: the policy is what is signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// A form in the making.
#[derive(Clone)]
struct Form {
    request: Request,
    expiration: String,
    conditions: Vec<String>,
    fields: Vec<(String, String)>,
    file: String,
    /// The policy as it is sent, where it is another than the one that is signed.
    sent_policy: Option<String>,
    signature: Option<String>,
}

impl Form {
    fn new(host: &str) -> Self {
        let request = Request::new("POST", "/bucket", host);
        let (date, credential) = (request.stamp(), format!("{ACCESS_KEY}/{}", request.scope()));
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            expiration: "2999-01-01T00:00:00.000Z".to_owned(),
            conditions: vec![
                r#"{"bucket":"bucket"}"#.to_owned(),
                r#"["starts-with","$key","form/"]"#.to_owned(),
                r#"{"acl":"private"}"#.to_owned(),
                r#"["content-length-range",1,20]"#.to_owned(),
                r#"["starts-with","$Content-Type","text/"]"#.to_owned(),
                r#"{"x-amz-meta-colour":"green"}"#.to_owned(),
                r#"{"x-amz-algorithm":"AWS4-HMAC-SHA256"}"#.to_owned(),
                format!(r#"{{"x-amz-credential":"{credential}"}}"#),
                format!(r#"{{"x-amz-date":"{date}"}}"#),
            ],
            fields: vec![
                field("key", "form/one"),
                field("acl", "private"),
                field("Content-Type", "text/plain"),
                field("x-amz-meta-colour", "green"),
                field("x-amz-algorithm", "AWS4-HMAC-SHA256"),
                field("x-amz-credential", &credential),
                field("x-amz-date", &date),
            ],
            file: "hello".to_owned(),
            sent_policy: None,
            signature: None,
            request,
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
    }

    fn drop(&mut self, name: &str) {
        self.fields.retain(|(known, _)| known != name);
    }

    fn policy(&self) -> String {
        let text = format!(r#"{{"expiration":"{}","conditions":[{}]}}"#, self.expiration, self.conditions.join(","));
        STANDARD.encode(text)
    }

    fn request(&self) -> Request {
        let policy = self.policy();
        let signature = self.signature.clone().unwrap_or_else(|| self.request.signature(&policy));
        let policy = self.sent_policy.clone().unwrap_or(policy);
        let mut body = String::new();
        let own = [("policy".to_owned(), policy), ("x-amz-signature".to_owned(), signature)];
        for (name, value) in self.fields.iter().chain(&own) {
            if value != "DROPPED" {
                body += &format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            }
        }
        body += "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
        body += &format!("{}\r\n--edge--\r\n", self.file);
        self.request.clone().header("content-type", "multipart/form-data; boundary=edge").body(&body)
    }
}

const EXTRA: &[Refusal] = &[DENIED];
const BAD_POLICY: &[Refusal] = &[(400, "InvalidPolicyDocument"), DENIED, REQUEST, ARGUMENT];

type Change = fn(&mut Form);

const MUTATIONS: &[(&str, Change, &[Refusal])] = &[
    ("another key", |f| f.set("key", "elsewhere"), EXTRA),
    ("another acl", |f| f.set("acl", "public-read"), EXTRA),
    ("another content type", |f| f.set("Content-Type", "image/png"), EXTRA),
    ("other metadata", |f| f.set("x-amz-meta-colour", "red"), EXTRA),
    ("more metadata", |f| f.set("x-amz-meta-size", "1"), EXTRA),
    ("metadata left out", |f| f.drop("x-amz-meta-colour"), EXTRA),
    ("a file that is too large", |f| f.file = "x".repeat(21), &[(400, "EntityTooLarge")]),
    ("a file that is too small", |f| f.file = String::new(), &[(400, "EntityTooSmall")]),
    ("expired", |f| f.expiration = "2001-01-01T00:00:00.000Z".into(), EXTRA),
    ("another bucket in the policy", |f| f.conditions[0] = r#"{"bucket":"other"}"#.into(), EXTRA),
    ("a bucket that is not the policy's", |f| f.request.target = "/buckez".into(), &[DENIED, (404, "NoSuchBucket")]),
    ("another secret", |f| f.request.secret_key = "another".into(), &[MISMATCH]),
    ("signature", |f| f.signature = Some("0".repeat(64)), &[MISMATCH]),
    ("signature empty", |f| f.signature = Some(String::new()), &[MISMATCH, ARGUMENT, REQUEST, DENIED]),
    ("signature left out", |f| f.signature = Some("DROPPED".into()), &[ARGUMENT, REQUEST, DENIED]),
    ("signature cut", |f| f.signature = Some("abc".into()), &[MISMATCH, REQUEST, ARGUMENT]),
    ("policy left out", |f| f.sent_policy = Some("DROPPED".into()), &[ARGUMENT, REQUEST, DENIED]),
    (
        "policy changed once signed",
        |f| {
            f.signature = Some(f.request.signature(&f.policy()));
            f.conditions.remove(3);
        },
        &[MISMATCH],
    ),
    (
        "policy extended once signed",
        |f| {
            f.signature = Some(f.request.signature(&f.policy()));
            f.expiration = "3000-01-01T00:00:00.000Z".into();
        },
        &[MISMATCH],
    ),
    (
        "policy that is no base64",
        |f| {
            f.sent_policy = Some("!!!".into());
            f.signature = Some(f.request.signature("!!!"));
        },
        BAD_POLICY,
    ),
    (
        "policy that is no JSON",
        |f| {
            let text = STANDARD.encode("hello");
            f.signature = Some(f.request.signature(&text));
            f.sent_policy = Some(text);
        },
        BAD_POLICY,
    ),
    (
        "policy without an expiration",
        |f| {
            let text = STANDARD.encode(format!(r#"{{"conditions":[{}]}}"#, f.conditions.join(",")));
            f.signature = Some(f.request.signature(&text));
            f.sent_policy = Some(text);
        },
        BAD_POLICY,
    ),
    (
        "policy without conditions",
        |f| {
            let text = STANDARD.encode(r#"{"expiration":"2999-01-01T00:00:00.000Z"}"#);
            f.signature = Some(f.request.signature(&text));
            f.sent_policy = Some(text);
        },
        BAD_POLICY,
    ),
    (
        "unknown key",
        |f| {
            let other = format!("AKIAHOLDFASTROO2/{}", f.request.scope());
            f.conditions[7] = format!(r#"{{"x-amz-credential":"{other}"}}"#);
            f.set("x-amz-credential", &other);
        },
        &[NO_KEY],
    ),
    (
        "credential not the policy's",
        |f| {
            let other = format!("{ACCESS_KEY}/20200101/us-east-1/s3/aws4_request");
            f.set("x-amz-credential", &other);
        },
        &[DENIED, MISMATCH, MALFORMED, REQUEST, (400, "InvalidPolicyDocument")],
    ),
    (
        "another region",
        |f| {
            let credential = format!("{ACCESS_KEY}/{}", f.request.scope().replace("us-east-1", "eu-west-1"));
            f.conditions[7] = format!(r#"{{"x-amz-credential":"{credential}"}}"#);
            f.set("x-amz-credential", &credential);
            f.request.region = "eu-west-1".into();
        },
        &[MALFORMED, QUERY, ARGUMENT, REQUEST, MISMATCH, DENIED],
    ),
    ("another algorithm", |f| f.set("x-amz-algorithm", "AWS4-HMAC-SHA1"), &[DENIED, REQUEST, ARGUMENT, UNKNOWN]),
    ("algorithm left out", |f| f.drop("x-amz-algorithm"), &[DENIED, ARGUMENT, REQUEST]),
    ("credential left out", |f| f.drop("x-amz-credential"), &[DENIED, ARGUMENT, REQUEST]),
    ("date left out", |f| f.drop("x-amz-date"), &[DENIED, ARGUMENT, REQUEST]),
    ("key left out", |f| f.drop("key"), &[ARGUMENT, REQUEST, DENIED]),
    ("a token without a session", |f| f.set("x-amz-security-token", "t"), &[TOKEN, DENIED]),
    (
        "a header too",
        |f| {
            let own = "AWS4-HMAC-SHA256 Credential=A/B/C/s3/aws4_request, SignedHeaders=host, Signature=0";
            f.request.set("authorization", own);
        },
        &[ARGUMENT],
    ),
    (
        "version 2",
        |f| {
            f.drop("x-amz-credential");
            f.drop("x-amz-algorithm");
            f.set("AWSAccessKeyId", ACCESS_KEY);
            f.set("signature", "frJIUN8DYpKDtOLCwo//yllqDzg=");
            f.signature = Some("DROPPED".into());
        },
        &[REQUEST, DENIED, ARGUMENT],
    ),
];

pub async fn tried(stand: &Stand) -> Vec<String> {
    let good = Form::new(&stand.host());
    let mut wrong: Vec<String> = stand.accepts("form", &good.request()).await.into_iter().collect();
    if wrong.is_empty() {
        assert_eq!(stand.replica.stored("form/one"), "hello");
    }
    for (name, change, expected) in MUTATIONS {
        let mut form = good.clone();
        change(&mut form);
        wrong.extend(stand.refuses("form", name, &form.request(), expected).await);
    }
    wrong
}
