//! The policy evaluator against a second one, written from the IAM reference alone: it walks the JSON as it stands, knows no
//! compiled form, and is as plain as it can be. Random policies and requests must get the same decision from both.

use std::borrow::Cow;
use std::collections::BTreeMap;

use holdfast_gateway::policy::lists::{Listed, Lists, judge};
use holdfast_gateway::policy::{Caller, Facts, Policy, Question, Standing, evaluate};
use holdfast_wire::acl::{Acl, Grantee, Permission};
use proptest::prelude::*;
use serde_json::{Value, json};

/// What is known of a request: keys in lower case.
#[derive(Clone, Debug, Default)]
struct Request {
    user: Option<&'static str>,
    action: &'static str,
    resource: &'static str,
    facts: BTreeMap<&'static str, Vec<String>>,
}

impl Facts for Request {
    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        Some(self.facts.get(key)?.iter().map(|value| Cow::Borrowed(value.as_str())).collect())
    }
}

mod naive {
    use serde_json::Value;

    use super::Request;

    fn many(value: &Value) -> Vec<String> {
        match value {
            Value::Array(items) => items.iter().flat_map(many).collect(),
            Value::String(text) => vec![text.clone()],
            other => vec![other.to_string()],
        }
    }

    /// Wildcards by cases; `\u{1}` and what follows it is one literal character.
    fn glob(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['\u{1}', literal, rest @ ..] => text.first() == Some(literal) && glob(rest, &text[1..]),
            ['*', rest @ ..] => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
            ['?', rest @ ..] => !text.is_empty() && glob(rest, &text[1..]),
            [one, rest @ ..] => text.first() == Some(one) && glob(rest, &text[1..]),
        }
    }

    /// The text with its variables filled in, their characters escaped; `None` if one has no value.
    fn fill(text: &str, request: &Request) -> Option<String> {
        let Some(start) = text.find("${") else { return Some(text.to_owned()) };
        let end = start + text[start..].find('}')?;
        let inner = &text[start + 2..end];
        let value = match inner {
            "*" | "?" | "$" => inner.to_owned(),
            key => match request.facts.get(key.to_lowercase().as_str()) {
                Some(values) if values.len() == 1 => values[0].clone(),
                _ => return None,
            },
        };
        let escaped: String = value.chars().flat_map(|c| ['\u{1}', c]).collect();
        Some(format!("{}{escaped}{}", &text[..start], fill(&text[end + 1..], request)?))
    }

    fn like(pattern: &str, text: &str, request: &Request) -> Option<bool> {
        let pattern: Vec<char> = fill(pattern, request)?.chars().collect();
        Some(glob(&pattern, &text.chars().collect::<Vec<_>>()))
    }

    fn equal(pattern: &str, text: &str, request: &Request) -> bool {
        // Everything that is no variable stands for itself.
        let mut literal = String::new();
        let mut rest = pattern;
        while let Some(start) = rest.find("${") {
            literal.extend(rest[..start].chars().flat_map(|c| ['\u{1}', c]));
            let end = start + rest[start..].find('}').unwrap_or(0);
            match fill(&rest[start..=end], request) {
                Some(filled) if filled.starts_with('\u{1}') || filled.is_empty() => literal += &filled,
                Some(filled) => literal.extend(filled.chars().flat_map(|c| ['\u{1}', c])),
                None => return false,
            }
            rest = &rest[end + 1..];
        }
        literal.extend(rest.chars().flat_map(|c| ['\u{1}', c]));
        glob(&literal.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
    }

    fn bits(address: &str) -> Option<String> {
        let parts: Vec<u8> = address.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        (parts.len() == 4).then(|| parts.iter().map(|part| format!("{part:08b}")).collect())
    }

    fn one(operator: &str, wanted: &str, found: &str, request: &Request) -> bool {
        let numbers = || Some((found.parse::<f64>().ok()?, wanted.parse::<f64>().ok()?));
        match operator {
            "StringEquals" => equal(wanted, found, request),
            "StringEqualsIgnoreCase" => equal(&wanted.to_lowercase(), &found.to_lowercase(), request),
            "StringLike" => like(wanted, found, request).unwrap_or(false),
            "NumericEquals" => numbers().is_some_and(|(found, wanted)| found == wanted),
            "NumericLessThan" => numbers().is_some_and(|(found, wanted)| found < wanted),
            "NumericLessThanEquals" => numbers().is_some_and(|(found, wanted)| found <= wanted),
            "NumericGreaterThan" => numbers().is_some_and(|(found, wanted)| found > wanted),
            "NumericGreaterThanEquals" => numbers().is_some_and(|(found, wanted)| found >= wanted),
            "Bool" => {
                found.to_lowercase() == wanted.to_lowercase() && ["true", "false"].contains(&&*found.to_lowercase())
            }
            "IpAddress" => {
                let (network, length) = wanted.split_once('/').unwrap_or((wanted, "32"));
                let length: usize = length.parse().unwrap_or(0);
                match (bits(network), bits(found)) {
                    (Some(network), Some(found)) => network[..length] == found[..length],
                    _ => false,
                }
            }
            "ArnLike" | "ArnEquals" => {
                let split = |text: &str| text.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
                let (wanted, found) = (split(wanted), split(found));
                let each = |(wanted, found): (&String, &String)| like(wanted, found, request).unwrap_or(false);
                found.len() == 6 && found[0] == "arn" && wanted.len() == 6 && wanted.iter().zip(&found).all(each)
            }
            other => panic!("{other}"),
        }
    }

    fn positive(operator: &str) -> (&str, bool) {
        match operator {
            "StringNotEquals" => ("StringEquals", true),
            "StringNotEqualsIgnoreCase" => ("StringEqualsIgnoreCase", true),
            "StringNotLike" => ("StringLike", true),
            "NumericNotEquals" => ("NumericEquals", true),
            "NotIpAddress" => ("IpAddress", true),
            "ArnNotLike" | "ArnNotEquals" => ("ArnLike", true),
            other => (other, false),
        }
    }

    fn condition(name: &str, key: &str, wanted: &[String], request: &Request) -> bool {
        let found = request.facts.get(key.to_lowercase().as_str()).filter(|found| !found.is_empty());
        if name == "Null" {
            return found.is_none() == (wanted[0].to_lowercase() == "true");
        }
        let (set, rest) = name.split_once(':').unwrap_or(("", name));
        let (rest, if_exists) = rest.strip_suffix("IfExists").map_or((rest, false), |rest| (rest, true));
        let (operator, negated) = positive(rest);
        let matches = |value: &String| wanted.iter().any(|wanted| one(operator, wanted, value, request));
        match (set, found) {
            ("ForAllValues", None) => true,
            ("ForAnyValue", None) => if_exists,
            (_, None) => if_exists || negated,
            ("ForAllValues", Some(found)) => found.iter().all(|value| matches(value) ^ negated),
            ("ForAnyValue", Some(found)) => found.iter().any(|value| matches(value) ^ negated),
            (_, Some(found)) => found.iter().any(matches) ^ negated,
        }
    }

    fn principal(value: &Value, request: &Request) -> bool {
        if value == "*" {
            return true;
        }
        let listed = many(&value["AWS"]);
        listed.iter().any(|listed| match listed.as_str() {
            "*" => true,
            "000000000000" => request.user.is_some(),
            arn => request.user.is_some_and(|user| arn.ends_with(&format!(":user/{user}"))),
        })
    }

    fn applies(statement: &Value, request: &Request) -> bool {
        let action = |listed: &Value| {
            many(listed).iter().any(|wanted| {
                let (wanted, asked) = (wanted.to_lowercase(), request.action.to_lowercase());
                glob(&wanted.chars().collect::<Vec<_>>(), &asked.chars().collect::<Vec<_>>())
            })
        };
        let resource = |listed: &Value, unknown: bool| {
            many(listed).iter().any(|wanted| like(wanted, request.resource, request).unwrap_or(unknown))
        };
        let unknown = statement["Effect"] == "Allow";
        let mut all = vec![
            statement.get("Action").is_none_or(action),
            statement.get("NotAction").is_none_or(|listed| !action(listed)),
            statement.get("Resource").is_none_or(|listed| resource(listed, false)),
            statement.get("NotResource").is_none_or(|listed| !resource(listed, unknown)),
            statement.get("Principal").is_none_or(|listed| principal(listed, request)),
            statement.get("NotPrincipal").is_none_or(|listed| !principal(listed, request)),
        ];
        for (name, keys) in statement["Condition"].as_object().into_iter().flatten() {
            for (key, wanted) in keys.as_object().into_iter().flatten() {
                all.push(condition(name, key, &many(wanted), request));
            }
        }
        all.into_iter().all(|one| one)
    }

    fn says(policy: &Value, effect: &str, request: &Request) -> bool {
        let statements = policy["Statement"].as_array().expect("a list of statements");
        statements.iter().any(|statement| statement["Effect"] == effect && applies(statement, request))
    }

    pub fn allowed(
        identity: &[Value],
        session: &[Value],
        bucket: Option<&Value>,
        owner: bool,
        request: &Request,
    ) -> bool {
        let denied = identity.iter().chain(session).chain(bucket).any(|policy| says(policy, "Deny", request));
        let granted = owner || identity.iter().chain(bucket).any(|policy| says(policy, "Allow", request));
        let within = session.is_empty() || session.iter().any(|policy| says(policy, "Allow", request));
        !denied && granted && within
    }
}

const ACTIONS: &[&str] = &["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"];
const RESOURCES: &[&str] =
    &["arn:aws:s3:::b", "arn:aws:s3:::b/a", "arn:aws:s3:::b/ann/x", "arn:aws:s3:::b/*", "arn:aws:s3:::b/bob"];

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec(prop::sample::select(of), 1..3).prop_map(|items| json!(items))
}

fn condition() -> impl Strategy<Value = (String, String, Value)> {
    let texts: &[&str] = &["ann", "a*", "?nn", "${aws:username}", "${*}", "*", "b", "ANN", "x${aws:missing}"];
    let text = (
        prop::sample::select(vec![
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringNotLike",
            "StringEqualsIgnoreCase",
            "StringNotEqualsIgnoreCase",
        ]),
        prop::sample::select(vec!["aws:username", "s3:prefix", "aws:TagKeys", "aws:missing"]),
        some(texts),
    );
    let number = (
        prop::sample::select(vec![
            "NumericEquals",
            "NumericNotEquals",
            "NumericLessThan",
            "NumericLessThanEquals",
            "NumericGreaterThan",
            "NumericGreaterThanEquals",
        ]),
        prop::sample::select(vec!["s3:max-keys", "s3:prefix", "aws:missing"]),
        some(&["1", "10", "10.5", "-3"]),
    );
    let address = (
        prop::sample::select(vec!["IpAddress", "NotIpAddress"]),
        prop::sample::select(vec!["aws:SourceIp", "aws:missing"]),
        some(&["10.0.0.0/8", "10.1.0.0/16", "192.168.1.1", "0.0.0.0/0", "10.1.2.3/31"]),
    );
    let arn = (
        prop::sample::select(vec!["ArnLike", "ArnEquals", "ArnNotLike", "ArnNotEquals"]),
        prop::sample::select(vec!["aws:PrincipalArn", "s3:prefix", "aws:missing"]),
        some(&["arn:aws:iam::*:user/a*", "arn:aws:iam::000000000000:user/${aws:username}", "arn:*:*:*:*:*"]),
    );
    let truth = (
        Just("Bool"),
        prop::sample::select(vec!["aws:SecureTransport", "s3:prefix", "aws:missing"]),
        some(&["true", "false", "TRUE"]),
    );
    let decorated = prop_oneof![text, number, address, arn, truth];
    let decorated = (decorated, prop::sample::select(vec!["", "ForAllValues:", "ForAnyValue:"]), any::<bool>());
    let decorated = decorated.prop_map(|((operator, key, values), set, if_exists)| {
        let suffix = if if_exists { "IfExists" } else { "" };
        (format!("{set}{operator}{suffix}"), key.to_owned(), values)
    });
    let null = (prop::sample::select(vec!["aws:username", "aws:missing", "aws:TagKeys"]), any::<bool>());
    let null = null.prop_map(|(key, absent)| ("Null".to_owned(), key.to_owned(), json!(absent.to_string())));
    prop_oneof![6 => decorated, 1 => null]
}

fn statement(bucket: bool) -> impl Strategy<Value = Value> {
    let action = some(&["s3:*", "s3:Get*", "S3:getobject", "s3:PutObject", "s3:ListBucket", "s3:?e*Object", "*"]);
    let resource = some(&[
        "*",
        "arn:aws:s3:::b*",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/${aws:username}/*",
        "arn:aws:s3:::b/?",
        "arn:aws:s3:::b/${*}",
        "arn:aws:s3:::*",
    ]);
    let principal = prop_oneof![
        Just(json!("*")),
        some(&["*", "000000000000", "arn:aws:iam::000000000000:user/ann", "arn:aws:iam:::user/bob"])
            .prop_map(|listed| json!({ "AWS": listed })),
    ];
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (flags, action, resource, principal, prop::collection::vec(condition(), 0..3)).prop_map(
        move |((deny, not_action, not_resource, not_principal), action, resource, principal, conditions)| {
            let mut statement = json!({ "Effect": if deny { "Deny" } else { "Allow" } });
            statement[if not_action { "NotAction" } else { "Action" }] = action;
            statement[if not_resource { "NotResource" } else { "Resource" }] = resource;
            if bucket {
                statement[if not_principal && deny { "NotPrincipal" } else { "Principal" }] = principal;
            }
            let mut blocks = json!({});
            for (operator, key, values) in conditions {
                blocks[operator][key] = values;
            }
            statement["Condition"] = blocks;
            statement
        },
    )
}

fn policy(bucket: bool) -> impl Strategy<Value = Value> {
    let statements = prop::collection::vec(statement(bucket), 1..4);
    statements.prop_map(|statements| json!({ "Version": "2012-10-17", "Statement": statements }))
}

fn request() -> impl Strategy<Value = Request> {
    let value = |values: &'static [&'static str]| prop::option::of(prop::sample::select(values));
    (
        prop::option::of(prop::sample::select(vec!["ann", "bob"])),
        prop::sample::select(ACTIONS),
        prop::sample::select(RESOURCES),
        (
            value(&["ann", "*", "b", "arn:aws:iam::1:user/a"]),
            value(&["1", "10", "11", "x"]),
            value(&["10.1.2.3", "192.168.1.1", "x"]),
        ),
        (
            value(&["true", "false", "maybe"]),
            prop::option::of(prop::collection::vec(prop::sample::select(vec!["ann", "b", "x"]), 0..3)),
        ),
    )
        .prop_map(|(user, action, resource, (prefix, keys, address), (secure, tags))| {
            let mut request = Request { user, action, resource, facts: BTreeMap::new() };
            let mut know = |key, value: Option<String>| request.facts.extend(value.map(|value| (key, vec![value])));
            know("aws:username", user.map(str::to_owned));
            know("aws:principalarn", user.map(|user| format!("arn:aws:iam::000000000000:user/{user}")));
            know("s3:prefix", prefix.map(str::to_owned));
            know("s3:max-keys", keys.map(str::to_owned));
            know("aws:sourceip", address.map(str::to_owned));
            know("aws:securetransport", secure.map(str::to_owned));
            if let Some(tags) = tags {
                request.facts.insert("aws:tagkeys", tags.into_iter().map(str::to_owned).collect());
            }
            request
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn both_decide_alike(
        identity in prop::collection::vec(policy(false), 0..3),
        session in prop::collection::vec(policy(false), 0..2),
        bucket in prop::option::of(policy(true)),
        owner in prop::bool::weighted(0.2),
        granted in prop::bool::weighted(0.2),
        request in request(),
    ) {
        let parse = |policy: &Value| Policy::identity(&policy.to_string()).map_err(|error| TestCaseError::fail(format!("{error}: {policy}")));
        let (ours, limits) = (
            identity.iter().map(parse).collect::<Result<Vec<_>, _>>()?,
            session.iter().map(parse).collect::<Result<Vec<_>, _>>()?,
        );
        // A bucket's policy may be refused for reasons that the other implementation does not know: then there is none.
        let compiled = bucket.as_ref().and_then(|policy| Policy::bucket(&policy.to_string(), "b").ok());
        let bucket = bucket.filter(|_| compiled.is_some());
        let named = |policies: &'_ [Policy]| policies.iter().map(|policy| ("p", policy.clone())).collect::<Vec<_>>();
        let (ours, limits) = (named(&ours), named(&limits));
        let ours: Vec<(&str, &Policy)> = ours.iter().map(|(name, policy)| (*name, policy)).collect();
        let limits: Vec<(&str, &Policy)> = limits.iter().map(|(name, policy)| (*name, policy)).collect();
        let standing = Standing { identity: &ours, session: &limits, bucket: compiled.as_ref(), owner, granted, restricted: false };
        let caller = request.user.map_or(Caller::Anonymous, Caller::User);
        let question = Question { action: request.action, resource: request.resource, caller, facts: &request };
        let decision = evaluate(&question, &standing);
        let expected = naive::allowed(&identity, &session, bucket.as_ref(), owner || granted, &request);
        prop_assert_eq!(decision.is_allowed(), expected, "{:?}", decision);
    }
}

/// The "Mapping of ACL permissions and access policy permissions" of the Amazon S3 User Guide, written out as a table.
mod naive_lists {
    pub const MAPPING: &[(&str, &str, &str)] = &[
        ("s3:ListBucket", "bucket", "READ"),
        ("s3:ListBucketVersions", "bucket", "READ"),
        ("s3:ListBucketMultipartUploads", "bucket", "READ"),
        ("s3:PutObject", "bucket", "WRITE"),
        ("s3:AbortMultipartUpload", "bucket", "WRITE"),
        ("s3:ListMultipartUploadParts", "bucket", "WRITE"),
        ("s3:DeleteObject", "own", "WRITE"),
        ("s3:GetBucketAcl", "bucket", "READ_ACP"),
        ("s3:PutBucketAcl", "bucket", "WRITE_ACP"),
        ("s3:GetObject", "object", "READ"),
        ("s3:GetObjectVersion", "object", "READ"),
        ("s3:GetObjectAcl", "object", "READ_ACP"),
        ("s3:GetObjectVersionAcl", "object", "READ_ACP"),
        ("s3:PutObjectAcl", "object", "WRITE_ACP"),
        ("s3:PutObjectVersionAcl", "object", "WRITE_ACP"),
    ];

    /// Grants as (whom, what): `*` everybody, `+` whoever signed.
    pub type Grants = Vec<(&'static str, &'static str)>;

    /// Everything that somebody may do with things owned by `bucket.0` and `object.0`, by trying every grant.
    pub fn allowed(
        caller: Option<&str>,
        action: &str,
        (bucket_owner, bucket): (&str, &Grants),
        object: Option<(&str, &Grants)>,
        ignore_public: bool,
    ) -> bool {
        let named = |grants: &Grants, wanted: &str| {
            let mut found = false;
            for (whom, what) in grants {
                let meant = match (*whom, caller) {
                    ("*", _) => !ignore_public,
                    ("+", caller) => caller.is_some() && !ignore_public,
                    (name, Some(caller)) => name == caller,
                    (_, None) => false,
                };
                found |= meant && [wanted, "FULL_CONTROL"].contains(what);
            }
            found
        };
        let row = MAPPING.iter().find(|(name, _, _)| *name == action);
        match (row, object) {
            (None, _) => caller == Some(bucket_owner),
            (Some((_, "bucket", what)), _) => caller == Some(bucket_owner) || named(bucket, what),
            (Some((_, "own", what)), object) => {
                let own = object.is_none_or(|(owner, _)| caller == Some(owner));
                caller == Some(bucket_owner) || (caller.is_some() && own && named(bucket, what))
            }
            (Some((_, _, what)), Some((owner, grants))) => caller == Some(owner) || named(grants, what),
            (Some(_), None) => caller == Some(bucket_owner),
        }
    }
}

fn grants() -> impl Strategy<Value = naive_lists::Grants> {
    let whom = prop::sample::select(vec!["*", "+", "ann", "bob", "carl"]);
    let what = prop::sample::select(vec!["FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"]);
    prop::collection::vec((whom, what), 0..4)
}

fn list(grants: &naive_lists::Grants) -> Acl {
    grants.iter().fold(Acl::default(), |list, (whom, what)| {
        let whom = match *whom {
            "*" => Grantee::Everybody,
            "+" => Grantee::Authenticated,
            name => Grantee::Owner(name.to_owned()),
        };
        let what = match *what {
            "FULL_CONTROL" => Permission::FullControl,
            "READ" => Permission::Read,
            "WRITE" => Permission::Write,
            "READ_ACP" => Permission::ReadAcp,
            _ => Permission::WriteAcp,
        };
        list.and(whom, what)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn both_read_lists_alike(
        caller in prop::option::of(prop::sample::select(vec!["ann", "bob", "carl"])),
        row in prop::sample::select(naive_lists::MAPPING),
        unmapped in prop::bool::weighted(0.1),
        bucket in grants(),
        object in prop::option::of((prop::sample::select(vec!["ann", "bob"]), grants())),
        ignore_public in any::<bool>(),
    ) {
        let action = if unmapped { "s3:PutObjectTagging" } else { row.0 };
        let expected = naive_lists::allowed(
            caller, action, ("ann", &bucket), object.as_ref().map(|(owner, grants)| (*owner, grants)), ignore_public,
        );
        let (of_bucket, of_object) = (list(&bucket), object.as_ref().map(|(_, grants)| list(grants)));
        let lists = Lists {
            bucket: Listed { owner: "ann", list: Some(&of_bucket) },
            object: object.as_ref().map(|(owner, _)| Listed { owner, list: of_object.as_ref() }),
            public: !ignore_public,
        };
        let verdict = judge(action, caller, &lists);
        prop_assert_eq!(verdict.owner || verdict.granted, expected, "{:?}", verdict);
    }
}
