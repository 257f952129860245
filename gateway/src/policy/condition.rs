//! Conditions: an operator, a key, the values that it takes. What they are held against comes through [`Facts`].

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::pattern::Pattern;
use super::value::{self, Network, Number};

/// A condition key as it is looked up: in lower case, but for the key of a tag, whose case counts.
pub fn fold(key: &str) -> String {
    match key.split_once('/') {
        Some((name, tag)) if name.contains(':') => format!("{}/{tag}", name.to_ascii_lowercase()),
        _ => key.to_ascii_lowercase(),
    }
}

/// What is known of a request.
pub trait Facts {
    /// The values of a condition key (in lower case): `None` when the request has no such key, several for keys that hold
    /// several.
    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>>;
}

/// How many values of a key have to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantifier {
    /// Not said: one.
    One,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// How numbers and dates are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "IAM's own names")]
pub enum Compare {
    Equals,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

impl Compare {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equals => order.is_eq(),
            Self::LessThan => order.is_lt(),
            Self::LessThanEquals => order.is_le(),
            Self::GreaterThan => order.is_gt(),
            Self::GreaterThanEquals => order.is_ge(),
        }
    }
}

/// What a value of the request is held against.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// Text; with or without wildcards, whatever its case.
    Text {
        /// What it has to match.
        pattern: Pattern,
        /// Whether case does not count.
        any_case: bool,
    },
    /// A number.
    Number(Compare, Number),
    /// A time, nanoseconds since 1970.
    Date(Compare, i128),
    /// `true` or `false`.
    Truth(bool),
    /// Bytes.
    Binary(Vec<u8>),
    /// A range of addresses.
    Address(Network),
    /// An ARN, part by part.
    Arn(Box<[Pattern; 6]>),
}

impl Test {
    fn holds(&self, text: &str, facts: &dyn Facts) -> bool {
        match self {
            Self::Text { pattern, any_case: false } => pattern.matches(text, facts).unwrap_or(false),
            Self::Text { pattern, any_case: true } => pattern.matches_any_case(text, facts).unwrap_or(false),
            Self::Number(compare, number) => {
                Number::parse(text).and_then(|found| found.order(*number)).is_some_and(|order| compare.holds(order))
            }
            Self::Date(compare, date) => value::date(text).is_some_and(|found| compare.holds(found.cmp(date))),
            Self::Truth(truth) => value::truth(text) == Some(*truth),
            Self::Binary(bytes) => STANDARD.decode(text).is_ok_and(|found| found == *bytes),
            Self::Address(network) => text.parse::<IpAddr>().is_ok_and(|address| network.contains(address)),
            Self::Arn(patterns) => value::arn(text).is_some_and(|parts| {
                parts.iter().zip(patterns.iter()).all(|(part, pattern)| pattern.matches(part, facts).unwrap_or(false))
            }),
        }
    }
}

/// What a condition demands.
#[derive(Clone, Debug, PartialEq)]
pub enum Demand {
    /// `Null`: that the key is absent, or present.
    Absent(bool),
    /// That values match.
    Match {
        /// How many of the request's values have to.
        quantifier: Quantifier,
        /// Whether none of the tests may hold, rather than one has to.
        negated: bool,
        /// Whether a request without the key satisfies it.
        if_exists: bool,
        /// What to hold values against.
        tests: Vec<Test>,
    },
}

/// One key of one operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The operator as written, for explanations.
    pub operator: String,
    /// In lower case.
    pub key: String,
    /// What it demands.
    pub demand: Demand,
}

impl Condition {
    /// Whether it holds. "IAM JSON policy elements: Condition operators" and "Multivalued context keys", AWS IAM User Guide.
    pub fn holds(&self, facts: &dyn Facts) -> bool {
        let values = facts.values(&self.key).filter(|values| !values.is_empty());
        let (quantifier, negated, if_exists, tests) = match &self.demand {
            Demand::Absent(absent) => return *absent == values.is_none(),
            Demand::Match { quantifier, negated, if_exists, tests } => (*quantifier, *negated, *if_exists, tests),
        };
        let Some(values) = values else {
            return match quantifier {
                Quantifier::One => if_exists || negated,
                Quantifier::All => true,
                Quantifier::Any => if_exists,
            };
        };
        let matched = |value: &Cow<'_, str>| tests.iter().any(|test| test.holds(value, facts));
        match (quantifier, negated) {
            (Quantifier::All, _) => values.iter().all(|value| matched(value) != negated),
            (Quantifier::Any, _) => values.iter().any(|value| matched(value) != negated),
            (Quantifier::One, false) => values.iter().any(matched),
            (Quantifier::One, true) => !values.iter().any(matched),
        }
    }

    /// Whether its key or a variable in it begins with `prefix` (lower case).
    pub fn asks_for(&self, prefix: &str) -> bool {
        let variables = |test: &Test| match test {
            Test::Text { pattern, .. } => pattern.variables().any(|key| key.starts_with(prefix)),
            Test::Arn(patterns) => patterns.iter().flat_map(Pattern::variables).any(|key| key.starts_with(prefix)),
            _ => false,
        };
        let in_tests = match &self.demand {
            Demand::Absent(_) => false,
            Demand::Match { tests, .. } => tests.iter().any(variables),
        };
        self.key.starts_with(prefix) || in_tests
    }
}

/// What an operator's name means, before it has values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Null,
    Text { wild: bool, any_case: bool },
    Number(Compare),
    Date(Compare),
    Truth,
    Binary,
    Address,
    Arn,
}

/// Why a condition cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCondition {
    /// The value does not fit the operator.
    Value,
    /// A malformed policy variable.
    Variable,
}

impl Operator {
    /// Reads an operator's name.
    pub fn parse(name: &str) -> Option<Self> {
        let (quantifier, rest) = match name.split_once(':') {
            None => (Quantifier::One, name),
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(_) => return None,
        };
        let (rest, if_exists) = match rest.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let text = |wild, any_case| Family::Text { wild, any_case };
        use Compare::{Equals, GreaterThan, GreaterThanEquals, LessThan, LessThanEquals};
        let (family, negated) = match rest {
            "StringEquals" => (text(false, false), false),
            "StringNotEquals" => (text(false, false), true),
            "StringEqualsIgnoreCase" => (text(false, true), false),
            "StringNotEqualsIgnoreCase" => (text(false, true), true),
            "StringLike" => (text(true, false), false),
            "StringNotLike" => (text(true, false), true),
            "NumericEquals" => (Family::Number(Equals), false),
            "NumericNotEquals" => (Family::Number(Equals), true),
            "NumericLessThan" => (Family::Number(LessThan), false),
            "NumericLessThanEquals" => (Family::Number(LessThanEquals), false),
            "NumericGreaterThan" => (Family::Number(GreaterThan), false),
            "NumericGreaterThanEquals" => (Family::Number(GreaterThanEquals), false),
            "DateEquals" => (Family::Date(Equals), false),
            "DateNotEquals" => (Family::Date(Equals), true),
            "DateLessThan" => (Family::Date(LessThan), false),
            "DateLessThanEquals" => (Family::Date(LessThanEquals), false),
            "DateGreaterThan" => (Family::Date(GreaterThan), false),
            "DateGreaterThanEquals" => (Family::Date(GreaterThanEquals), false),
            "Bool" => (Family::Truth, false),
            "BinaryEquals" => (Family::Binary, false),
            "IpAddress" => (Family::Address, false),
            "NotIpAddress" => (Family::Address, true),
            "ArnEquals" | "ArnLike" => (Family::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Family::Arn, true),
            "Null" if !if_exists && quantifier == Quantifier::One => (Family::Null, false),
            _ => return None,
        };
        Some(Self { quantifier, if_exists, negated, family })
    }

    /// What it demands of these values (at least one).
    pub fn demand(self, values: &[String], variables: bool) -> Result<Demand, (String, BadCondition)> {
        if self.family == Family::Null {
            let [value] = values else { return Err((values.join(","), BadCondition::Value)) };
            let absent = value::truth(value).ok_or_else(|| (value.clone(), BadCondition::Value))?;
            return Ok(Demand::Absent(absent));
        }
        let test = |value: &String| self.test(value, variables).map_err(|bad| (value.clone(), bad));
        let tests = values.iter().map(test).collect::<Result<_, _>>()?;
        Ok(Demand::Match { quantifier: self.quantifier, negated: self.negated, if_exists: self.if_exists, tests })
    }

    fn test(self, value: &str, variables: bool) -> Result<Test, BadCondition> {
        let pattern = |text: &str, wild| Pattern::new(text, variables, wild).map_err(|_| BadCondition::Variable);
        Ok(match self.family {
            Family::Text { wild, any_case } => Test::Text { pattern: pattern(value, wild)?, any_case },
            Family::Number(compare) => Test::Number(compare, Number::parse(value).ok_or(BadCondition::Value)?),
            Family::Date(compare) => Test::Date(compare, value::date(value).ok_or(BadCondition::Value)?),
            Family::Truth => Test::Truth(value::truth(value).ok_or(BadCondition::Value)?),
            Family::Binary => Test::Binary(STANDARD.decode(value).map_err(|_| BadCondition::Value)?),
            Family::Address => Test::Address(Network::parse(value).ok_or(BadCondition::Value)?),
            Family::Arn => {
                let [a, b, c, d, e, f] = value::arn(value).ok_or(BadCondition::Value)?;
                let pattern = |part| pattern(part, true);
                Test::Arn(Box::new([pattern(a)?, pattern(b)?, pattern(c)?, pattern(d)?, pattern(e)?, pattern(f)?]))
            }
            Family::Null => return Err(BadCondition::Value),
        })
    }
}

/// The condition keys that S3 knows in bucket policies, in lower case; tags' keys follow a `/`.
const KEYS: &[&str] = &[
    "s3:authtype",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:delimiter",
    "s3:if-match",
    "s3:if-none-match",
    "s3:locationconstraint",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:object-lock-remaining-retention-days",
    "s3:object-lock-retain-until-date",
    "s3:objectcreationoperation",
    "s3:prefix",
    "s3:requestobjecttagkeys",
    "s3:resourceaccount",
    "s3:signatureage",
    "s3:signatureversion",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-grant-full-control",
    "s3:x-amz-grant-read",
    "s3:x-amz-grant-read-acp",
    "s3:x-amz-grant-write",
    "s3:x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-object-ownership",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "s3:x-amz-website-redirect-location",
];

/// Keys of S3's that have no value here: a policy that asks for one would not do what it says, so no policy may.
pub const UNANSWERED: &[&str] = &["s3:tlsversion"];

/// Whether a bucket policy may ask for `key` (in lower case).
pub fn is_known_key(key: &str) -> bool {
    let tagged = |prefix: &str| key.strip_prefix(prefix).is_some_and(|tag| !tag.is_empty());
    match key.split_once(':') {
        Some(("s3", _)) => {
            KEYS.contains(&key)
                || tagged("s3:existingobjecttag/")
                || tagged("s3:requestobjecttag/")
                || tagged("s3:buckettag/")
        }
        Some(("aws", rest)) => !rest.is_empty(),
        // What identity providers say of their users.
        Some((provider, rest)) => provider.contains('.') && !rest.is_empty(),
        None => false,
    }
}
