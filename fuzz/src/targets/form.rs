//! A browser's form: its file is stored, under the key that the form says, only if a second reading of policy, signature
//! and fields allows it; and always then.

use arbitrary::Unstructured;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::sigv4::scope;
use super::{Edit, one, word};
use crate::second::form::{allows, field};
use crate::second::http::Request;
use crate::second::reading::iso;
use crate::stand::{Stand, now};

const KEYS: [&str; 5] = ["k", "user/a", "user/b/c", "", "../x"];
const NAMES: [&str; 7] =
    ["Content-Type", "x-amz-meta-a", "x-ignore-b", "success_action_status", "acl", "Cache-Control", "x-other"];
const VALUES: [&str; 7] = ["text/plain", "private", "201", "204", "a", "", "image/png"];

fn condition(u: &mut Unstructured<'_>, fields: &[(String, String)]) -> arbitrary::Result<Value> {
    let (name, value) = one(u, fields)?.clone();
    let value = if u.ratio(1, 12)? { word(u, 6, "")? } else { value };
    let name = match u.int_in_range(0..=9)? {
        0 => name.to_ascii_uppercase(),
        1 => (*one(u, &NAMES)?).to_owned(),
        _ => name,
    };
    Ok(match u.int_in_range(0..=9)? {
        0..=3 => json!({ (name): value }),
        4..=5 => json!(["eq", format!("${name}"), value]),
        6..=7 => {
            let start: String = value.chars().take(u.int_in_range(0..=4)?).collect();
            json!(["starts-with", format!("${name}"), start])
        }
        8 => json!(["content-length-range", u.int_in_range(0..=8)?, u.int_in_range(0..=12)?]),
        _ => (*one(
            u,
            &[
                json!({}),
                json!([]),
                json!(["eq", "key", "k"]),
                json!({"a": "b", "c": "d"}),
                json!(7),
                json!(["in", "$key", "k"]),
            ],
        )?)
        .clone(),
    })
}

/// The fields in order, and the file.
type Form = (Vec<(String, String)>, Vec<u8>);

fn form(u: &mut Unstructured<'_>) -> arbitrary::Result<Form> {
    let mut scope = scope(0);
    if u.ratio(1, 12)? {
        scope.secret.push('x');
    }
    let mut fields = vec![
        ("key".to_owned(), (*one(u, &KEYS)?).to_owned()),
        ("x-amz-algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()),
        ("x-amz-credential".to_owned(), format!("{}/{}", scope.access, scope.text())),
        ("x-amz-date".to_owned(), scope.time.clone()),
    ];
    for _ in 0..u.int_in_range(0..=2)? {
        fields.push(((*one(u, &NAMES)?).to_owned(), (*one(u, &VALUES)?).to_owned()));
    }
    let mut conditions = vec![json!({ "bucket": one(u, &["bucket", "bucket", "bucket", "other"])? })];
    for field in &fields {
        if !u.ratio(1, 10)? {
            conditions.push(json!({ (field.0.clone()): field.1 }));
        }
    }
    for _ in 0..u.int_in_range(0..=3)? {
        conditions.push(condition(u, &fields)?);
    }
    let later = iso(now() + 600);
    let expirations =
        [later.clone(), later.clone(), later.replace('Z', ".000Z"), iso(now() - 60), later[..10].to_owned()];
    let policy = json!({ "expiration": one(u, &expirations)?, "conditions": conditions }).to_string();
    let mut policy = policy.into_bytes();
    if u.ratio(1, 10)? {
        let whole = policy.clone();
        Edit::of(u, policy.len())?.apply(&mut policy);
        // How an instant may be written is another question, and every reader of them has an answer of its own.
        let until = |policy: &[u8]| Some(serde_json::from_slice::<Value>(policy).ok()?["expiration"].clone());
        if until(&policy).is_some_and(|edited| Some(edited) != until(&whole)) {
            policy = whole;
        }
    }
    let policy = STANDARD.encode(policy);
    fields.push(("x-amz-signature".to_owned(), scope.sign(&policy)));
    fields.push(("policy".to_owned(), policy));
    // Something is changed behind the signer's back.
    if u.ratio(1, 3)? {
        let at = u.int_in_range(0..=fields.len() - 1)?;
        match u.int_in_range(0..=4)? {
            0 => drop(fields.remove(at)),
            1 => fields[at].1 = word(u, 8, "")?,
            2 => fields.push(fields[at].clone()),
            3 => fields.push(((*one(u, &NAMES)?).to_owned(), (*one(u, &VALUES)?).to_owned())),
            _ => {
                let mut value = fields[at].1.clone().into_bytes();
                Edit::of(u, value.len())?.apply(&mut value);
                fields[at].1 = String::from_utf8_lossy(&value).chars().filter(|c| !c.is_control()).collect();
            }
        }
    }
    let len = u.int_in_range(0..=12)?;
    Ok((fields, u.bytes(len.min(u.len()))?.to_vec()))
}

fn body(fields: &[(String, String)], file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(
            format!("--xx-edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    }
    body.extend_from_slice(b"--xx-edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\n");
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--xx-edge--\r\n");
    body
}

/// The target.
pub fn run(data: &[u8]) {
    let Ok((fields, file)) = form(&mut Unstructured::new(data)) else { return };
    let mut request = Request { method: "POST".to_owned(), target: "/bucket".to_owned(), ..Request::default() };
    request.add("host", "stand");
    request.add("content-type", "multipart/form-data; boundary=xx-edge");
    request.body = body(&fields, &file);
    let allowed = allows(&fields, "bucket", file.len() as u64, &scope(0), now());
    let key = field(&fields, "key").unwrap_or_default();
    Stand::with(|stand| {
        let answer = stand.ask([Bytes::from(request.bytes())]);
        let shown = || format!("{answer:?}\n{}", String::from_utf8_lossy(&request.body));
        let keys = stand.replica().keys();
        assert!(answer.status >= 200 && answer.status < 500 || answer.status == 501, "{}", shown());
        if !keys.is_empty() || answer.status < 300 {
            assert!(allowed, "a form is taken that its policy does not allow: {}", shown());
            assert_eq!(keys, [key.as_str()], "another key than the form says: {}", shown());
            assert!(stand.replica().stored(&key) == file, "other bytes than the form has: {}", shown());
        } else if allowed {
            // Refused for something else than policy and signature.
            let forbidden =
                ["AccessDenied", "SignatureDoesNotMatch", "InvalidPolicyDocument"].contains(&&*answer.code());
            assert!(!forbidden, "a form is refused that its policy allows: {}", shown());
        }
    });
}
