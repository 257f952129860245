mod documents;

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Facts in a table.
#[derive(Default)]
struct Table(BTreeMap<String, Vec<String>>);

impl Facts for Table {
    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        Some(self.0.get(key)?.iter().map(|value| Cow::Borrowed(value.as_str())).collect())
    }
}

fn facts(pairs: &[(&str, &[&str])]) -> Table {
    let pairs = pairs.iter();
    Table(pairs.map(|(key, values)| (key.to_string(), values.iter().map(|v| v.to_string()).collect())).collect())
}

fn holds(condition: &str, table: &Table) -> bool {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{condition}}}}}"#
    );
    let policy = Policy::identity(&text).unwrap_or_else(|error| panic!("{condition}: {error}"));
    ask(&policy, "s3:GetObject", "arn:aws:s3:::b/k", table)
}

fn ask(policy: &Policy, action: &str, resource: &str, facts: &Table) -> bool {
    let question = Question { action, resource, caller: Caller::User("u"), facts };
    evaluate(&question, &Standing { identity: &[("p", policy)], ..Default::default() }).is_allowed()
}

fn allow(action: &str, resource: &str) -> Policy {
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":{action},"Resource":{resource}}}]}}"#
    );
    Policy::identity(&text).unwrap()
}

#[test]
fn actions_and_resources_are_patterns() {
    let none = Table::default();
    let policy = allow(r#"["s3:Get*","S3:putobject"]"#, r#""arn:aws:s3:::b/a?c/*""#);
    for (action, resource, allowed) in [
        ("s3:GetObject", "arn:aws:s3:::b/abc/d/e", true),
        ("s3:PutObject", "arn:aws:s3:::b/a/c/d", true),
        ("s3:PutObjectAcl", "arn:aws:s3:::b/abc/d", false),
        ("s3:GetObject", "arn:aws:s3:::b/ac/d", false),
        ("s3:GetObject", "arn:aws:s3:::b/äbc/", false),
        ("s3:GetObject", "arn:aws:s3:::b/aäc/", true),
        ("s3:GetObject", "arn:aws:s3:::B/abc/", false),
    ] {
        assert_eq!(ask(&policy, action, resource, &none), allowed, "{action} {resource}");
    }
}

#[test]
fn a_restricted_bucket_lets_in_nobody_who_did_not_sign_and_denies_as_before() {
    let none = Table::default();
    let bucket = |effect: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"{effect}","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}}}"#
        );
        Policy::bucket(&text, "b").unwrap()
    };
    let (allows, denies) = (bucket("Allow"), bucket("Deny"));
    let decide = |caller, policy, restricted, owner| {
        let question = Question { action: "s3:GetObject", resource: "arn:aws:s3:::b/k", caller, facts: &none };
        evaluate(&question, &Standing { bucket: Some(policy), restricted, owner, ..Default::default() })
    };
    let (anybody, user) = (Caller::Anonymous, Caller::User("u"));
    for (caller, restricted, allowed) in
        [(anybody, false, true), (anybody, true, false), (user, false, true), (user, true, true)]
    {
        assert_eq!(decide(caller, &allows, restricted, false).is_allowed(), allowed, "{caller:?} {restricted}");
        let denied = decide(caller, &denies, restricted, true);
        assert!(matches!(denied, Decision::Denied(Source::Bucket { .. })), "{caller:?} {restricted}: {denied:?}");
    }
}

#[test]
fn variables_are_text_not_patterns() {
    let policy = allow(r#""s3:*""#, r#""arn:aws:s3:::b/${aws:username}/${*}${aws:x,'d'}""#);
    let named = |name: &str| facts(&[("aws:username", &[name])]);
    assert!(ask(&policy, "s3:GetObject", "arn:aws:s3:::b/ann/*d", &named("ann")));
    assert!(!ask(&policy, "s3:GetObject", "arn:aws:s3:::b/bob/*d", &named("ann")));
    assert!(!ask(&policy, "s3:GetObject", "arn:aws:s3:::b/bob/*d", &named("*")));
    assert!(!ask(&policy, "s3:GetObject", "arn:aws:s3:::b//*d", &Table::default()), "no value, no match");
    let old = Policy::identity(
        r#"{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:username}"}}"#,
    )
    .unwrap();
    assert!(ask(&old, "s3:ListBucket", "arn:aws:s3:::${aws:username}", &named("ann")));
}

#[test]
fn not_resource_with_an_unknown_variable_never_widens() {
    let text = |effect: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"{effect}","Action":"*","NotResource":"arn:aws:s3:::${{aws:username}}"}},{{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}}]}}"#
        )
    };
    let allowing = Policy::identity(&text("Allow")).unwrap();
    assert!(!ask(&allowing, "s3:GetObject", "arn:aws:s3:::x/k", &Table::default()));
    let denying = Policy::identity(&text("Deny")).unwrap();
    assert!(!ask(&denying, "s3:ListBucket", "arn:aws:s3:::x", &Table::default()));
}

#[test]
fn every_operator_holds_as_documented() {
    let table = facts(&[
        ("s3:prefix", &["home/ann"]),
        ("s3:max-keys", &["10"]),
        ("aws:currenttime", &["2026-11-20T10:00:00Z"]),
        ("aws:securetransport", &["true"]),
        ("aws:sourceip", &["10.1.2.3"]),
        ("aws:principalarn", &["arn:aws:iam::000000000000:user/ann"]),
        ("aws:tagkeys", &["a", "b"]),
        ("aws:blob", &["aGk="]),
    ]);
    for (condition, expected) in [
        (r#"{"StringEquals":{"s3:prefix":"home/ann"}}"#, true),
        (r#"{"StringEquals":{"S3:Prefix":["x","home/ann"]}}"#, true),
        (r#"{"StringEquals":{"s3:prefix":"home/*"}}"#, false),
        (r#"{"StringNotEquals":{"s3:prefix":["x","home/ann"]}}"#, false),
        (r#"{"StringNotEquals":{"s3:prefix":["x","y"]}}"#, true),
        (r#"{"StringNotEquals":{"s3:delimiter":"/"}}"#, true),
        (r#"{"StringEquals":{"s3:delimiter":"/"}}"#, false),
        (r#"{"StringEqualsIfExists":{"s3:delimiter":"/"}}"#, true),
        (r#"{"StringEqualsIgnoreCase":{"s3:prefix":"HOME/ANN"}}"#, true),
        (r#"{"StringNotEqualsIgnoreCase":{"s3:prefix":"HOME/ANN"}}"#, false),
        (r#"{"StringLike":{"s3:prefix":"home/*"}}"#, true),
        (r#"{"StringNotLike":{"s3:prefix":"home/*"}}"#, false),
        (r#"{"NumericLessThanEquals":{"s3:max-keys":"10"}}"#, true),
        (r#"{"NumericLessThan":{"s3:max-keys":10}}"#, false),
        (r#"{"NumericGreaterThan":{"s3:max-keys":9.5}}"#, true),
        (r#"{"NumericGreaterThanEquals":{"s3:max-keys":10}}"#, true),
        (r#"{"NumericGreaterThanEquals":{"s3:max-keys":11}}"#, false),
        (r#"{"NumericNotEquals":{"s3:max-keys":[1,10]}}"#, false),
        (r#"{"NumericEquals":{"s3:prefix":1}}"#, false),
        (r#"{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}"#, true),
        (r#"{"DateLessThan":{"aws:CurrentTime":"2026-11-20"}}"#, false),
        (r#"{"DateEquals":{"aws:CurrentTime":"2026-11-20T10:00:00Z"}}"#, true),
        (r#"{"DateNotEquals":{"aws:CurrentTime":"2026-11-20T10:00:00Z"}}"#, false),
        (r#"{"DateLessThanEquals":{"aws:CurrentTime":"2026-11-20T10:00:00Z"}}"#, true),
        (r#"{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-11-20T10:00:00Z"}}"#, true),
        (r#"{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-11-20T10:00:01Z"}}"#, false),
        (r#"{"Bool":{"aws:SecureTransport":true}}"#, true),
        (r#"{"Bool":{"aws:SecureTransport":"false"}}"#, false),
        (r#"{"BinaryEquals":{"aws:blob":"aGk="}}"#, true),
        (r#"{"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.0.0.0/8"]}}"#, true),
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, false),
        (r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/a*"}}"#, true),
        (r#"{"ArnNotEquals":{"aws:PrincipalArn":"arn:aws:iam::*:user/bob"}}"#, true),
        (r#"{"Null":{"s3:delimiter":"true"}}"#, true),
        (r#"{"Null":{"s3:prefix":true}}"#, false),
        (r#"{"Null":{"s3:prefix":false}}"#, true),
        (r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["a","b","c"]}}"#, true),
        (r#"{"ForAllValues:StringEquals":{"aws:TagKeys":["a"]}}"#, false),
        (r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":["a"]}}"#, true),
        (r#"{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a"]}}"#, true),
        (r#"{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a","b"]}}"#, false),
        (r#"{"ForAnyValue:StringEquals":{"aws:TagKeys":["c"]}}"#, false),
        (r#"{"ForAllValues:StringNotEquals":{"aws:TagKeys":["a"]}}"#, false),
        (r#"{"ForAllValues:StringEquals":{"aws:None":["a"]}}"#, true),
        (r#"{"ForAnyValue:StringEquals":{"aws:None":["a"]}}"#, false),
        (r#"{"StringEquals":{"s3:prefix":"home/ann"},"Bool":{"aws:SecureTransport":"false"}}"#, false),
    ] {
        assert_eq!(holds(condition, &table), expected, "{condition}");
    }
}

/// Records are read only for policies that ask about them.
#[test]
fn a_policy_says_what_it_asks_for() {
    let asks = |resource: &str, condition: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/{resource}","Condition":{condition}}}}}"#
        );
        Policy::identity(&text).unwrap().asks_for("s3:existingobjecttag/")
    };
    assert!(!asks("*", "{}"));
    assert!(!asks("${aws:username}/*", r#"{"StringEquals":{"s3:prefix":"${aws:username}"}}"#));
    assert!(!asks("*", r#"{"NumericLessThan":{"s3:max-keys":7},"Null":{"s3:prefix":true}}"#));
    assert!(asks("*", r#"{"StringEquals":{"s3:ExistingObjectTag/a":"b"}}"#));
    assert!(asks("*", r#"{"Null":{"s3:ExistingObjectTag/a":true}}"#));
    assert!(asks("*", r#"{"StringLike":{"s3:prefix":"${s3:ExistingObjectTag/a}"}}"#));
    assert!(asks("*", r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${s3:ExistingObjectTag/a}"}}"#));
    assert!(asks("${s3:ExistingObjectTag/a}/*", "{}"));
}

#[test]
fn a_variable_with_several_values_has_none() {
    let policy = allow(r#""s3:*""#, r#"["arn:aws:s3:::b/${aws:TagKeys}","arn:aws:s3:::c/${aws:TagKeys,'d'}"]"#);
    let (one, two) = (facts(&[("aws:tagkeys", &["a"])]), facts(&[("aws:tagkeys", &["a", "b"])]));
    assert!(ask(&policy, "s3:GetObject", "arn:aws:s3:::b/a", &one));
    assert!(!ask(&policy, "s3:GetObject", "arn:aws:s3:::b/a", &two));
    assert!(ask(&policy, "s3:GetObject", "arn:aws:s3:::c/d", &two));
}

#[test]
fn canonical_users_are_users() {
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"CanonicalUser":"ann","Service":"x"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}"#;
    let policy = Policy::bucket(text, "b").unwrap();
    let none = Table::default();
    for (user, allowed) in [("ann", true), ("bob", false), ("x", false)] {
        let question =
            Question { action: "s3:GetObject", resource: "arn:aws:s3:::b/k", caller: Caller::User(user), facts: &none };
        let standing = Standing { bucket: Some(&policy), ..Default::default() };
        assert_eq!(evaluate(&question, &standing).is_allowed(), allowed, "{user}");
    }
}

#[test]
fn denials_win_and_sessions_limit() {
    let all = allow(r#""s3:*""#, r#""*""#);
    let read = allow(r#""s3:Get*""#, r#""*""#);
    let deny = Policy::bucket(
        r#"{"Version":"2012-10-17","Statement":[{"Sid":"no","Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::000000000000:user/ann"},"Action":"s3:*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}]}"#,
        "b",
    )
    .unwrap();
    let none = Table::default();
    let question = |caller, action| Question { action, resource: "arn:aws:s3:::b/k", caller, facts: &none };
    let identity = [("all", &all)];
    let standing = Standing { identity: &identity, bucket: Some(&deny), ..Default::default() };
    assert!(evaluate(&question(Caller::User("ann"), "s3:GetObject"), &standing).is_allowed());
    assert_eq!(
        evaluate(&question(Caller::User("bob"), "s3:GetObject"), &standing),
        Decision::Denied(Source::Bucket { statement: 0, sid: Some("no".to_owned()) })
    );
    let session = [("session", &read)];
    let limited = Standing { identity: &identity, session: &session, ..Default::default() };
    assert!(evaluate(&question(Caller::User("ann"), "s3:GetObject"), &limited).is_allowed());
    assert_eq!(evaluate(&question(Caller::User("ann"), "s3:PutObject"), &limited), Decision::NotInSession);
    let owner = Standing { owner: true, session: &session, ..Default::default() };
    assert_eq!(evaluate(&question(Caller::User("ann"), "s3:PutObject"), &owner), Decision::NotInSession);
    let owner = Standing { owner: true, ..Default::default() };
    assert_eq!(evaluate(&question(Caller::User("ann"), "s3:PutObject"), &owner), Decision::Allowed(Source::Ownership));
    assert_eq!(evaluate(&question(Caller::Anonymous, "s3:GetObject"), &Standing::default()), Decision::NotAllowed);
}

#[test]
fn principals_name_whom_they_name() {
    use principal::Principals;
    let user = Caller::User("ann");
    let role = Caller::Role { role: "r", session: "s" };
    for (text, by_user, by_role, by_nobody) in [
        ("*", true, true, true),
        ("000000000000", true, true, false),
        ("arn:aws:iam::000000000000:root", true, true, false),
        ("arn:aws:iam:::user/ann", true, false, false),
        ("arn:aws:iam::000000000000:user/team/ann", true, false, false),
        ("arn:aws:iam::111122223333:user/ann", false, false, false),
        ("arn:aws:iam::000000000000:user/bob", false, false, false),
        ("arn:aws:iam::000000000000:role/r", false, true, false),
        ("arn:aws:sts::000000000000:assumed-role/r/s", false, true, false),
        ("arn:aws:sts::000000000000:assumed-role/r/t", false, false, false),
    ] {
        let principal = Principals::parse_aws(text).unwrap();
        let found = (principal.names(&user), principal.names(&role), principal.names(&Caller::Anonymous));
        assert_eq!(found, (by_user, by_role, by_nobody), "{text}");
    }
    for text in [
        "ann",
        "",
        "arn:aws:iam::000000000000:user/*",
        "arn:aws:iam::000000000000:ann",
        "arn:aws:iam::x:user/ann",
        "arn:aws:s3:::b",
    ] {
        assert_eq!(Principals::parse_aws(text), None, "{text}");
    }
}

#[test]
fn public_is_what_aws_calls_public() {
    let policy = |principal: &str, condition: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*","Condition":{condition}}}]}}"#
        );
        public::is_public(&Policy::bucket(&text, "b").unwrap())
    };
    let user = r#"{"AWS":"arn:aws:iam:::user/ann"}"#;
    assert!(policy(r#""*""#, "{}") && policy(r#"{"AWS":["*"]}"#, "{}") && !policy(user, "{}"));
    assert!(!policy(r#""*""#, r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/32"}}"#));
    assert!(policy(r#""*""#, r#"{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}"#));
    assert!(policy(r#""*""#, r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#));
    assert!(policy(r#""*""#, r#"{"StringLike":{"aws:username":"a*"}}"#));
    assert!(!policy(r#""*""#, r#"{"StringEquals":{"aws:username":"ann"}}"#));
    assert!(policy(r#""*""#, r#"{"StringEqualsIfExists":{"aws:username":"ann"}}"#));
    assert!(policy(r#""*""#, r#"{"StringEquals":{"s3:prefix":"ann"}}"#));
}

proptest! {
    /// The matcher against the plain definition by cases.
    #[test]
    fn patterns_match_as_defined(pattern in "[ab*?]{0,8}", text in "[abä]{0,8}") {
        fn defined(pattern: &[char], text: &[char]) -> bool {
            match (pattern, text) {
                ([], []) => true,
                (['*', rest @ ..], _) => defined(rest, text) || !text.is_empty() && defined(pattern, &text[1..]),
                (['?', rest @ ..], [_, more @ ..]) => defined(rest, more),
                ([one, rest @ ..], [other, more @ ..]) => one == other && defined(rest, more),
                _ => false,
            }
        }
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let compiled = pattern::Pattern::new(&pattern, true, true).unwrap();
        prop_assert_eq!(compiled.matches(&text, &Table::default()), Some(defined(&chars(&pattern), &chars(&text))));
    }

    /// No text makes the parser panic, and what it takes, it takes the same way twice.
    #[test]
    fn any_text_is_a_policy_or_refused(text in "\\PC{0,64}") {
        prop_assert_eq!(Policy::identity(&text), Policy::identity(&text));
    }

    /// A denial added anywhere never lets anything more through.
    #[test]
    fn adding_a_denial_never_allows_more(action in "s3:(Get|Put|List)[a-zA-Z]{0,4}", resource in "[ab/]{1,4}") {
        let base = allow(r#""s3:*""#, r#""arn:aws:s3:::a*""#);
        let mut more = base.clone();
        more.statements.extend(
            Policy::identity(r#"{"Statement":[{"Effect":"Deny","Action":"s3:Get*","Resource":"arn:aws:s3:::*b"}]}"#).unwrap().statements,
        );
        let (none, arn) = (Table::default(), format!("arn:aws:s3:::{resource}"));
        prop_assert!(ask(&base, &action, &arn, &none) || !ask(&more, &action, &arn, &none));
    }
}
