//! Which documents are policies, of which kind, and where those that are none are wrong.

use super::*;

#[test]
fn condition_keys_are_looked_up_whatever_their_case_but_for_the_names_of_tags() {
    use condition::{fold, is_known_key};
    assert_eq!(fold("s3:ExistingObjectTag/Dept/A"), "s3:existingobjecttag/Dept/A");
    assert_eq!(fold("AWS:SourceIp"), "aws:sourceip");
    assert_eq!(fold("Home/Ann:X"), "home/ann:x", "no key of a tag");
    for (key, known) in [
        ("s3:prefix", true),
        ("s3:prefax", false),
        ("s3:existingobjecttag/a", true),
        ("s3:existingobjecttag/", false),
        ("s3:requestobjecttag/a", true),
        ("s3:requestobjecttag/", false),
        ("s3:buckettag/a", true),
        ("s3:buckettag/", false),
        ("aws:anything", true),
        ("aws:", false),
        ("idp.example:sub", true),
        ("idp.example:", false),
        ("idp:sub", false),
        ("prefix", false),
    ] {
        assert_eq!(is_known_key(key), known, "{key}");
    }
}

#[test]
fn malformed_variables_are_refused() {
    for name in ["aws", "", ":", "aws:a b", "aws:a,d", "aws:a,'d", "aws:a;b"] {
        let text = format!("${{{name}}}");
        assert_eq!(pattern::Pattern::new(&text, true, true).is_ok(), name == ":", "{text}");
        assert!(pattern::Pattern::new(&text, false, true).is_ok(), "text where there are no variables: {text}");
    }
}

#[test]
fn roles_are_taken_on_by_whom_the_provider_vouches_for() {
    let trust = |principal: &str, rest: &str| {
        Policy::trust(&format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":{principal}{rest}}}}}"#
        ))
    };
    let assume = r#","Action":"STS:AssumeRoleWithWebIdentity""#;
    let none = Table::default();
    let lets = |principal: &str, asking: &str| {
        let policy = trust(principal, assume).unwrap();
        let caller = Caller::Federated(asking);
        let question = Question { action: "sts:AssumeRoleWithWebIdentity", resource: "r", caller, facts: &none };
        evaluate(&question, &Standing { bucket: Some(&policy), ..Default::default() }).is_allowed()
    };
    let provider = r#"{"Federated":"arn:aws:iam::000000000000:oidc-provider/idp.example/realm"}"#;
    assert!(lets(provider, "idp.example/realm") && !lets(provider, "idp.example/other"));
    assert!(
        lets(r#"{"Federated":"idp.example"}"#, "idp.example") && !lets(r#"{"Service":"idp.example"}"#, "idp.example")
    );
    for (principal, rest, at) in [
        (r#""Everybody""#, assume, "Statement[0].Principal"),
        (r#"{"Federated":""}"#, assume, "Statement[0].Principal.Federated"),
        (r#"{"CanonicalUser":""}"#, assume, "Statement[0].Principal.CanonicalUser"),
        (r#"{"Service":""}"#, assume, "Statement[0].Principal.Service"),
        (r#"{"Group":"g"}"#, assume, "Statement[0].Principal.Group"),
        (r#"{"AWS":[]}"#, assume, "Statement[0].Principal.AWS"),
        ("{}", assume, "Statement[0].Principal"),
        (r#""*""#, r#","Action":"s3:GetObject""#, "Statement[0].Action"),
        (r#""*""#, r#","Action":"sts:AssumeRole","Resource":"*""#, "Statement[0].Resource"),
    ] {
        let error = trust(principal, rest).expect_err(principal);
        assert_eq!(error.at, at, "{principal} {rest}: {error}");
        let empty = principal.ends_with(r#":""}"#);
        assert_eq!(matches!(&error.problem, Problem::Principal(name) if name.is_empty()), empty, "{error}");
    }
}

#[test]
fn identity_policies_speak_of_every_service_and_name_their_statements_plainly() {
    let policy = |rest: &str| {
        Policy::identity(&format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",{rest}}}]}}"#))
    };
    let resource = r#""Resource":"*""#;
    for (action, good) in [
        ("*", true),
        ("iam:GetUser", true),
        ("s3-object-lambda:Get*", true),
        (":GetUser", false),
        ("iam:", false),
        ("iam", false),
        ("iam:Get User", false),
        ("i_am:GetUser", false),
        ("i*m:GetUser", false),
    ] {
        assert_eq!(policy(&format!(r#""Action":"{action}",{resource}"#)).is_ok(), good, "{action}");
    }
    for (sid, good) in [("", true), ("Read1", true), ("read it", false), ("read-it", false)] {
        assert_eq!(policy(&format!(r#""Sid":"{sid}","Action":"*",{resource}"#)).is_ok(), good, "{sid}");
    }
    for (resource, good) in [("*", true), ("arn:aws:s3:::b", true), ("arn:aws:s3:::", false), ("b", false)] {
        assert_eq!(policy(&format!(r#""Action":"*","Resource":"{resource}""#)).is_ok(), good, "{resource}");
    }
    for (key, good) in [("s3:whatever", true), ("s3:", false), (":prefix", false), ("prefix", false)] {
        let condition = format!(r#""Action":"*",{resource},"Condition":{{"StringEquals":{{"{key}":"x"}}}}"#);
        assert_eq!(policy(&condition).is_ok(), good, "{key}");
    }
    for operator in ["NullIfExists", "ForAnyValue:Null", "ForAllValues:NullIfExists"] {
        let condition = format!(r#""Action":"*",{resource},"Condition":{{"{operator}":{{"s3:prefix":"true"}}}}"#);
        assert_eq!(policy(&condition).unwrap_err().at, format!("Statement[0].Condition.{operator}"));
    }
    let unanswered = policy(&format!(r#""Action":"*",{resource},"Condition":{{"Null":{{"s3:TlsVersion":"true"}}}}"#));
    let error = unanswered.unwrap_err();
    assert!(error.to_string().ends_with(" (at Statement[0].Condition.Null.s3:TlsVersion)"), "{error}");
    let error = Policy::identity("").unwrap_err();
    assert!(!error.to_string().contains("(at"), "{error}");
}

#[test]
fn two_statements_of_a_policy_have_two_names() {
    let statement = |sid: &str| {
        format!(r#"{{{sid}"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}}"#)
    };
    let policy = |first: &str, second: &str| {
        let text = format!(r#"{{"Statement":[{},{}]}}"#, statement(first), statement(second));
        Policy::bucket(&text, "b").map(|_| ()).map_err(|error| error.at)
    };
    assert_eq!(policy(r#""Sid":"a","#, r#""Sid":"b","#), Ok(()));
    assert_eq!(policy(r#""Sid":"a","#, r#""Sid":"a","#), Err("Statement[1].Sid".to_owned()));
    assert_eq!((policy("", ""), policy(r#""Sid":"","#, r#""Sid":"","#)), (Ok(()), Ok(())), "no name is no name twice");
    assert_eq!(policy(r#""Sid":"a b","#, ""), Ok(()), "as S3 takes them");
}

#[test]
fn a_policy_may_be_as_long_as_they_may_be_and_no_longer() {
    let text = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let padded = |len: usize| text.to_owned() + &" ".repeat(len - text.len());
    assert!(Policy::identity(&padded(20 << 10)).is_ok());
    assert!(Policy::identity(&padded((20 << 10) + 1)).is_err());
}

#[test]
fn a_bucket_policy_is_about_its_bucket() {
    let about = |action: &str, resource: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Principal":"*","Action":"{action}","Resource":"{resource}"}}}}"#
        );
        Policy::bucket(&text, "b").is_ok()
    };
    for (action, resource, good) in [
        ("s3:GetObject", "*", true),
        ("s3:ListBucket", "*", true),
        ("s3:ListBucket", "arn:aws:s3:::b", true),
        ("s3:ListBucket", "arn:aws:s3:::?", true),
        ("s3:ListBucket", "arn:aws:s3:*:*:b", true),
        ("s3:GetObject", "arn:aws:s3:::b/a", true),
        ("s3:GetObject", "arn:aws:s3:::*/a", true),
        ("s3:GetObject", "arn:aws:s3:::c*/a", false),
        ("s3:GetObject", "arn:aws:s3:*:*:b/a", false),
        ("s3:GetObject", "arn:aws:s3:*:*:*", true),
        ("s3:ListBucket", "arn:aws:s3:::b/", false),
        ("s3:ListAllMyBuckets", "*", false),
        ("s3-object:GetObject", "*", false),
        ("s3:Get-Object", "*", false),
        ("s3:", "*", false),
    ] {
        assert_eq!(about(action, resource), good, "{action} {resource}");
    }
}

#[test]
fn what_is_no_policy_is_refused_with_the_element() {
    let statement =
        |rest: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*",{rest}}}]}}"#);
    let good = r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*""#;
    Policy::bucket(&statement(good), "b").unwrap();
    for (text, at) in [
        ("".to_owned(), ""),
        ("[]".to_owned(), ""),
        (r#"{"Version":"2012-10-17"}"#.to_owned(), "Statement"),
        (r#"{"Version":"2020","Statement":[]}"#.to_owned(), "Version"),
        (r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned(), "Statement"),
        (r#"{"Version":"2012-10-17","Statement":[{}]}"#.to_owned(), "Statement[0].Effect"),
        (r#"{"Version":"2012-10-17","version":1,"Statement":[]}"#.to_owned(), "version"),
        (statement(r#""Action":"s3:GetObject""#), "Statement[0].Resource"),
        (statement(r#""Resource":"arn:aws:s3:::b/*""#), "Statement[0].Action"),
        (statement(r#""Action":"s3:Get0bject","Resource":"arn:aws:s3:::b/*""#), "Statement[0].Action"),
        (statement(r#""Action":"iam:GetUser","Resource":"arn:aws:s3:::b/*""#), "Statement[0].Action"),
        (statement(r#""Action":[],"Resource":"arn:aws:s3:::b/*""#), "Statement[0].Action"),
        (statement(r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::c/*""#), "Statement[0].Resource"),
        (statement(r#""Action":"s3:GetObject","Resource":"b/*""#), "Statement[0].Resource"),
        (statement(r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::b""#), "Statement[0].Action"),
        (statement(r#""Action":"s3:ListBucket","Resource":"arn:aws:s3:::b/*""#), "Statement[0].Action"),
        (statement(r#""Action":"s3:GetObject","Resource":"arn:aws:s3:::b/${aws:username""#), "Statement[0].Resource"),
        (statement(&format!(r#"{good},"Sidd":"x""#)), "Statement[0].Sidd"),
        (statement(&format!(r#"{good},"NotAction":"s3:PutObject""#)), "Statement[0]"),
        (
            statement(&format!(r#"{good},"Condition":{{"StringIs":{{"s3:prefix":"x"}}}}"#)),
            "Statement[0].Condition.StringIs",
        ),
        (
            statement(&format!(r#"{good},"Condition":{{"StringEquals":{{"s3:prefax":"x"}}}}"#)),
            "Statement[0].Condition.StringEquals.s3:prefax",
        ),
        (
            statement(&format!(r#"{good},"Condition":{{"IpAddress":{{"aws:SourceIp":"1.2.3"}}}}"#)),
            "Statement[0].Condition.IpAddress.aws:SourceIp",
        ),
        (statement(good).replace(r#""Principal":"*""#, r#""Principal":{"AWS":"ann"}"#), "Statement[0].Principal.AWS"),
        (statement(good).replace(r#""Principal""#, r#""NotPrincipal""#), "Statement[0].NotPrincipal"),
        (statement(good).replace(r#""Allow""#, r#""allow""#), "Statement[0].Effect"),
        (statement(&format!(r#"{good},"Effect":"Deny""#)), ""),
    ] {
        let error = Policy::bucket(&text, "b").expect_err(&text);
        assert_eq!(error.at, at, "{text}: {error}");
    }
    assert!(Policy::identity(&statement(good)).is_err(), "no principals in identity policies");
    assert!(Policy::bucket(&statement(&format!(r#"{good},"Sid":"{}""#, "x".repeat(30_000))), "b").is_err());
}
