//! The policy evaluator against a second one (`fuzz/src/second/policy.rs`): random policies and requests must get the same
//! decision from both.

use std::collections::BTreeMap;

use holdfast_fuzz::second::policy::{self as naive, Request};
use holdfast_gateway::policy::lists::{Listed, Lists, judge};
use holdfast_gateway::policy::{Caller, Policy, Question, Standing, evaluate};
use holdfast_wire::acl::{Acl, Grantee, Permission};
use proptest::prelude::*;
use serde_json::{Value, json};

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
