//! Policies: arbitrary text is read or refused within bounds, and what is read again is the same; structured ones are
//! decided alike by two evaluators.

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use holdfast_gateway::policy::{Caller, Policy, Question, Standing, evaluate};
use serde_json::{Value, json};

use super::{Edit, one, word};
use crate::bounds::{cpu_micros, measured};
use crate::second::policy::{Request, allowed};

const OPERATORS: [&str; 20] = [
    "StringEquals",
    "StringNotEquals",
    "StringLike",
    "StringNotLike",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "Bool",
    "IpAddress",
    "NotIpAddress",
    "ArnLike",
    "ArnEquals",
    "ArnNotLike",
    "ArnNotEquals",
    "Null",
];
const KEYS: [&str; 9] = [
    "aws:username",
    "AWS:UserName",
    "s3:prefix",
    "s3:max-keys",
    "aws:SourceIp",
    "aws:SecureTransport",
    "aws:TagKeys",
    "aws:PrincipalArn",
    "aws:missing",
];
const TEXTS: [&str; 12] =
    ["ann", "a*", "?nn", "${aws:username}", "${*}", "*", "b", "ANN", "x${aws:missing}", "${?}x", "", "a${$}"];
const ACTIONS: [&str; 4] = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"];
const RESOURCES: [&str; 6] = [
    "arn:aws:s3:::b",
    "arn:aws:s3:::b/a",
    "arn:aws:s3:::b/ann/x",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b/bob",
    "arn:aws:s3:::b/${x}",
];
/// CPU time that a policy may take, in microseconds. Code that is not optimised has ten times as much.
const CPU: u64 = if cfg!(debug_assertions) { 500_000 } else { 50_000 };

fn listed(u: &mut Unstructured<'_>, of: &[&str]) -> arbitrary::Result<Value> {
    let count = u.int_in_range(1..=2)?;
    let all = (0..count).map(|_| Ok(json!(one(u, of)?))).collect::<arbitrary::Result<Vec<_>>>()?;
    Ok(if count == 1 && u.arbitrary()? { all[0].clone() } else { json!(all) })
}

fn condition(u: &mut Unstructured<'_>) -> arbitrary::Result<(String, String, Value)> {
    let operator = *one(u, &OPERATORS)?;
    let key = (*one(u, &KEYS)?).to_owned();
    if operator == "Null" {
        return Ok((operator.to_owned(), key, json!(u.arbitrary::<bool>()?.to_string())));
    }
    let values: &[&str] = match operator {
        operator if operator.starts_with("Numeric") => &["1", "10", "10.5", "-3", "1e1"],
        "Bool" => &["true", "false", "TRUE"],
        "IpAddress" | "NotIpAddress" => &["10.0.0.0/8", "10.1.0.0/16", "192.168.1.1", "0.0.0.0/0", "10.1.2.3/31"],
        operator if operator.starts_with("Arn") => {
            &["arn:aws:iam::*:user/a*", "arn:aws:iam::000000000000:user/${aws:username}", "arn:*:*:*:*:*"]
        }
        _ => &TEXTS,
    };
    let (set, suffix) = (one(u, &["", "", "ForAllValues:", "ForAnyValue:"])?, one(u, &["", "", "IfExists"])?);
    Ok((format!("{set}{operator}{suffix}"), key, listed(u, values)?))
}

fn statement(u: &mut Unstructured<'_>, bucket: bool) -> arbitrary::Result<Value> {
    let deny = u.ratio(1, 3)?;
    let mut statement = json!({ "Effect": if deny { "Deny" } else { "Allow" } });
    let action = listed(u, &["s3:*", "s3:Get*", "S3:getobject", "s3:PutObject", "s3:ListBucket", "s3:?e*Object", "*"])?;
    statement[if u.ratio(1, 5)? { "NotAction" } else { "Action" }] = action;
    let resources = [
        "*",
        "arn:aws:s3:::b*",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/${aws:username}/*",
        "arn:aws:s3:::b/?",
        "arn:aws:s3:::b/${*}",
        "arn:aws:s3:::*",
    ];
    statement[if u.ratio(1, 5)? { "NotResource" } else { "Resource" }] = listed(u, &resources)?;
    if bucket {
        let principal = match u.ratio(1, 2)? {
            true => json!("*"),
            false => {
                json!({ "AWS": listed(u, &["*", "000000000000", "arn:aws:iam::000000000000:user/ann", "arn:aws:iam:::user/bob"])? })
            }
        };
        statement[if deny && u.ratio(1, 4)? { "NotPrincipal" } else { "Principal" }] = principal;
    }
    let mut blocks = json!({});
    for _ in 0..u.int_in_range(0..=3)? {
        let (operator, key, values) = condition(u)?;
        blocks[operator][key] = values;
    }
    statement["Condition"] = blocks;
    Ok(statement)
}

fn policy(u: &mut Unstructured<'_>, bucket: bool) -> arbitrary::Result<Value> {
    let count = u.int_in_range(1..=3)?;
    let statements = (0..count).map(|_| statement(u, bucket)).collect::<arbitrary::Result<Vec<_>>>()?;
    Ok(json!({ "Version": "2012-10-17", "Statement": statements }))
}

fn request(u: &mut Unstructured<'_>) -> arbitrary::Result<Request> {
    let user = *one(u, &[None, Some("ann"), Some("bob")])?;
    let mut request =
        Request { user, action: one(u, &ACTIONS)?, resource: one(u, &RESOURCES)?, facts: BTreeMap::new() };
    request.facts.extend(user.map(|user| ("aws:username", vec![user.to_owned()])));
    request.facts.extend(user.map(|user| ("aws:principalarn", vec![format!("arn:aws:iam::000000000000:user/{user}")])));
    let values: [(&str, &[&str]); 4] = [
        ("s3:prefix", &["ann", "*", "b", "arn:aws:iam::1:user/a", "", "ANN"]),
        ("s3:max-keys", &["1", "10", "11", "x", "1e1"]),
        ("aws:sourceip", &["10.1.2.3", "192.168.1.1", "x"]),
        ("aws:securetransport", &["true", "false", "maybe"]),
    ];
    for (key, values) in values {
        if u.arbitrary()? {
            request.facts.insert(key, vec![(*one(u, values)?).to_owned()]);
        }
    }
    if u.ratio(1, 3)? {
        let count = u.int_in_range(0..=2)?;
        let tags =
            (0..count).map(|_| Ok((*one(u, &["ann", "b", "x"])?).to_owned())).collect::<arbitrary::Result<_>>()?;
        request.facts.insert("aws:tagkeys", tags);
    }
    Ok(request)
}

/// The target.
pub fn run(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let _ = if u.ratio(1, 3).unwrap_or(true) { texts(&mut u) } else { decisions(&mut u) };
}

/// Text that may be a policy: read within bounds, and decided about within bounds.
fn texts(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let bucket = u.arbitrary()?;
    let mut text = match u.int_in_range(0..=9)? {
        0 => "[".repeat(u.int_in_range(1..=20_000)?).into_bytes(),
        1 => format!("{{\"Statement\":{}", "{\"a\":".repeat(u.int_in_range(1..=20_000)?)).into_bytes(),
        2 => {
            let pattern = format!("arn:aws:s3:::b/{}", "*a".repeat(u.int_in_range(1..=200)?));
            json!({"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": pattern}}).to_string().into_bytes()
        }
        3 => u.bytes(u.len().min(2000))?.to_vec(),
        _ => policy(u, bucket)?.to_string().into_bytes(),
    };
    for _ in 0..u.int_in_range(0..=3)? {
        Edit::of(u, text.len())?.apply(&mut text);
    }
    if u.ratio(1, 4)? {
        let at = u.int_in_range(0..=text.len())?;
        text.splice(at..at, word(u, 10, "")?.bytes());
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let request = request(u)?;
    let read = || if bucket { Policy::bucket(&text, "b") } else { Policy::identity(&text) };
    let before = cpu_micros();
    let (policy, held) = measured(read);
    assert!(held <= (256 << 10) + 256 * text.len(), "{held} bytes for {}: {text}", text.len());
    if let Ok(policy) = &policy {
        // What is taken is JSON to everybody, and an object.
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(json["Statement"].is_object() || json["Statement"].is_array(), "{text}");
        let policies = [("p", policy)];
        let standing = match bucket {
            true => Standing {
                identity: &[],
                session: &[],
                bucket: Some(policy),
                owner: false,
                granted: false,
                restricted: false,
            },
            false => Standing {
                identity: &policies,
                session: &[],
                bucket: None,
                owner: false,
                granted: false,
                restricted: false,
            },
        };
        let caller = request.user.map_or(Caller::Anonymous, Caller::User);
        let long = format!("arn:aws:s3:::b/{}", "a".repeat(1024));
        for resource in [request.resource, &long] {
            let question = Question { action: request.action, resource, caller, facts: &request };
            let first = evaluate(&question, &standing).is_allowed();
            assert_eq!(first, evaluate(&question, &standing).is_allowed(), "{text}");
        }
    }
    let took = cpu_micros() - before;
    assert!(took <= CPU, "{took} µs of CPU: {text}");
    Ok(())
}

fn decisions(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let many = |u: &mut Unstructured<'_>, most| -> arbitrary::Result<Vec<Value>> {
        let count = u.int_in_range(0..=most)?;
        (0..count).map(|_| policy(u, false)).collect()
    };
    let (identity, session) = (many(u, 2)?, many(u, 1)?);
    let bucket = if u.arbitrary()? { Some(policy(u, true)?) } else { None };
    let (owner, granted, request) = (u.ratio(1, 5)?, u.ratio(1, 5)?, request(u)?);
    let parse = |policy: &Value| {
        let read = Policy::identity(&policy.to_string());
        ("p", read.unwrap_or_else(|error| panic!("{error}: {policy}")))
    };
    let (ours, limits): (Vec<_>, Vec<_>) = (identity.iter().map(parse).collect(), session.iter().map(parse).collect());
    // A bucket's policy may be refused for reasons that the other implementation does not know: then there is none.
    let compiled = bucket.as_ref().and_then(|policy| Policy::bucket(&policy.to_string(), "b").ok());
    let bucket = bucket.filter(|_| compiled.is_some());
    let named = |policies: &[(&'static str, Policy)]| policies.to_vec();
    let (ours, limits) = (named(&ours), named(&limits));
    let ours: Vec<(&str, &Policy)> = ours.iter().map(|(name, policy)| (*name, policy)).collect();
    let limits: Vec<(&str, &Policy)> = limits.iter().map(|(name, policy)| (*name, policy)).collect();
    let standing =
        Standing { identity: &ours, session: &limits, bucket: compiled.as_ref(), owner, granted, restricted: false };
    let caller = request.user.map_or(Caller::Anonymous, Caller::User);
    let question = Question { action: request.action, resource: request.resource, caller, facts: &request };
    let decision = evaluate(&question, &standing);
    let expected = allowed(&identity, &session, bucket.as_ref(), owner || granted, &request);
    let shown = || format!("{identity:?} {session:?} {bucket:?} {request:?}");
    assert_eq!(decision.is_allowed(), expected, "{decision:?}: {}", shown());
    Ok(())
}
