//! A form's policy: what its fields may say, how large its file may be, and until when ("Creating a POST policy" in the
//! API reference). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::fields::Fields;
use crate::guard::refusal::{Cause, Refusal};

/// Conditions of one policy.
const CONDITIONS_MAX: usize = 1000;

/// One condition; field names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// A field is this.
    Eq { field: String, value: String },
    /// A field begins so.
    StartsWith { field: String, value: String },
    /// The file's length is within these, both included.
    Length { least: u64, most: u64 },
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Unix milliseconds.
    until_ms: i128,
    conditions: Vec<Condition>,
}

impl Policy {
    /// From the form's field.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let bytes = STANDARD.decode(text).map_err(|_| invalid("Invalid Base64."))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|_| invalid("Invalid JSON."))?;
        let members = value.as_object().ok_or_else(|| invalid("Invalid JSON."))?;
        // Names of members are taken as they stand.
        if let Some(other) = members.keys().find(|name| *name != "expiration" && *name != "conditions") {
            return Err(invalid(format!("Unexpected: '{other}'")));
        }
        let until = members.get("expiration").ok_or_else(|| invalid("Policy missing expiration."))?;
        let until = until.as_str().unwrap_or_default();
        let parsed = OffsetDateTime::parse(until, &Rfc3339);
        let parsed = parsed.map_err(|_| invalid(format!("Invalid 'expiration' value: '{until}'")))?;
        let conditions = members.get("conditions").ok_or_else(|| invalid("Policy missing conditions."))?;
        let conditions = conditions.as_array().ok_or_else(|| invalid("Invalid 'conditions' value: must be a List."))?;
        if conditions.len() > CONDITIONS_MAX {
            return Err(invalid(format!("More than {CONDITIONS_MAX} conditions.")));
        }
        let conditions = conditions.iter().map(Condition::parse).collect::<Result<_, _>>()?;
        Ok(Self { until_ms: parsed.unix_timestamp_nanos() / 1_000_000, conditions })
    }

    /// Whether a form for `bucket` with `file` bytes may be taken now.
    pub fn judge(&self, fields: &Fields, bucket: &str, file: u64, now_ms: u64) -> Result<(), Refusal> {
        if self.until_ms <= i128::from(now_ms) {
            return Err(violated("Policy expired."));
        }
        for (name, _) in fields.iter() {
            let free = matches!(name, "x-amz-signature" | "policy" | "file") || name.starts_with("x-ignore-");
            if !free && !self.conditions.iter().any(|condition| condition.field() == Some(name)) {
                return Err(violated(format!("Extra input fields: {name}")));
            }
        }
        let is_other = fields.get("bucket").is_some_and(|named| named != bucket);
        let said = |field: &str| match field {
            "bucket" if !is_other => bucket,
            field => fields.get(field).unwrap_or_default(),
        };
        for condition in &self.conditions {
            let met = match condition {
                Condition::Eq { field, value } => said(field) == value,
                Condition::StartsWith { field, value } if field == "content-type" => {
                    said(field).split(',').all(|one| one.trim_start().starts_with(value.as_str()))
                }
                Condition::StartsWith { field, value } => said(field).starts_with(value.as_str()),
                Condition::Length { least, .. } if file < *least => {
                    let message = "Your proposed upload is smaller than the minimum allowed size";
                    return Err(of_size("EntityTooSmall", message, file).with("MinSizeAllowed", least.to_string()));
                }
                Condition::Length { most, .. } if file > *most => {
                    let message = "Your proposed upload exceeds the maximum allowed size";
                    return Err(of_size("EntityTooLarge", message, file).with("MaxSizeAllowed", most.to_string()));
                }
                Condition::Length { .. } => true,
            };
            if !met {
                return Err(violated(format!("Policy Condition failed: {condition}")));
            }
        }
        Ok(())
    }
}

impl Condition {
    /// The field that it is about.
    fn field(&self) -> Option<&str> {
        match self {
            Self::Eq { field, .. } | Self::StartsWith { field, .. } => Some(field),
            Self::Length { .. } => None,
        }
    }

    fn parse(value: &Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(members) => Self::simple(members),
            Value::Array(items) => Self::listed(items),
            _ => Err(invalid("Invalid Condition: must be an Object or a List.")),
        }
    }

    fn simple(members: &Map<String, Value>) -> Result<Self, Refusal> {
        let only = members.iter().next().filter(|_| members.len() == 1);
        let message = "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.";
        let (name, value) = only.ok_or_else(|| invalid(message))?;
        let value = value.as_str().ok_or_else(|| invalid("Invalid Simple-Condition: value must be a string."))?;
        Ok(Self::Eq { field: name.to_ascii_lowercase(), value: value.to_owned() })
    }

    fn listed(items: &[Value]) -> Result<Self, Refusal> {
        let [operator, first, second] = items else {
            return Err(invalid("Invalid Condition: there must be three elements."));
        };
        let operator = operator.as_str().unwrap_or_default().to_ascii_lowercase();
        if operator == "content-length-range" {
            let message = "Invalid content-length-range: both bounds must be numbers, the first not above the second.";
            let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
            let bounds = number(first).zip(number(second)).filter(|(least, most)| least <= most);
            return bounds.map(|(least, most)| Self::Length { least, most }).ok_or_else(|| invalid(message));
        }
        let message = "Invalid Condition: the second element must be a field's name after a dollar sign.";
        let field = first.as_str().and_then(|name| name.strip_prefix('$')).ok_or_else(|| invalid(message))?;
        let field = field.to_ascii_lowercase();
        let value = second.as_str().ok_or_else(|| invalid("Invalid Condition: the third element must be a string."))?;
        let value = value.to_owned();
        match operator.as_str() {
            "eq" => Ok(Self::Eq { field, value }),
            "starts-with" => Ok(Self::StartsWith { field, value }),
            other => Err(invalid(format!("Invalid Condition: unknown operation '{other}'."))),
        }
    }
}

impl std::fmt::Display for Condition {
    /// As a list of a policy.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (operator, field, value) = match self {
            Self::Eq { field, value } => ("eq", field, value),
            Self::StartsWith { field, value } => ("starts-with", field, value),
            Self::Length { least, most } => return write!(f, r#"["content-length-range", {least}, {most}]"#),
        };
        let quoted = |text: &str| Value::from(text).to_string();
        write!(f, "[{}, {}, {}]", quoted(operator), quoted(&format!("${field}")), quoted(value))
    }
}

/// 400 `InvalidPolicyDocument`: it is no policy.
fn invalid(what: impl AsRef<str>) -> Refusal {
    let message = format!("Invalid Policy: {}", what.as_ref());
    Refusal::new(StatusCode::BAD_REQUEST, "InvalidPolicyDocument", message, Cause::Form)
}

/// 403 `AccessDenied`: the form is not what its policy allows.
fn violated(what: impl AsRef<str>) -> Refusal {
    Refusal::access_denied(format!("Invalid according to Policy: {}", what.as_ref()), Cause::Form)
}

fn of_size(code: &'static str, message: &'static str, file: u64) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, message, Cause::Form).with("ProposedSize", file.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn policy(conditions: &str) -> Result<Policy, Refusal> {
        let text = format!(r#"{{"expiration":"2999-01-01T00:00:00.000Z","conditions":{conditions}}}"#);
        Policy::parse(&STANDARD.encode(text))
    }

    fn judged(conditions: &str, fields: &Fields, file: u64) -> Option<(&'static str, String)> {
        let judged = policy(conditions).unwrap().judge(fields, "b", file, NOW);
        judged.err().map(|refusal| (refusal.code, refusal.message.into_owned()))
    }

    #[test]
    fn what_is_no_policy_is_said_to_be_none_and_why() {
        let of = |text: &str| Policy::parse(&STANDARD.encode(text)).unwrap_err().message.into_owned();
        assert_eq!(Policy::parse("!!").unwrap_err().message, "Invalid Policy: Invalid Base64.");
        assert_eq!(of("hello"), "Invalid Policy: Invalid JSON.");
        assert_eq!(of("[]"), "Invalid Policy: Invalid JSON.");
        assert_eq!(of(r#"{"conditions":[]}"#), "Invalid Policy: Policy missing expiration.");
        assert_eq!(of(r#"{"expiration":"2999-01-01T00:00:00Z"}"#), "Invalid Policy: Policy missing conditions.");
        assert_eq!(
            of(r#"{"expiration":"soon","conditions":[]}"#),
            "Invalid Policy: Invalid 'expiration' value: 'soon'"
        );
        assert_eq!(
            of(r#"{"EXPIRATION":"2999-01-01T00:00:00Z","conditions":[]}"#),
            "Invalid Policy: Unexpected: 'EXPIRATION'"
        );
        for conditions in [
            "{}",
            r#"[{"a":"b","c":"d"}]"#,
            r#"[{}]"#,
            r#"[{"a":1}]"#,
            r#"["eq"]"#,
            r#"[["eq","$a"]]"#,
            r#"[["eq","a","b"]]"#,
            r#"[["like","$a","b"]]"#,
            r#"[["content-length-range",0]]"#,
            r#"[["content-length-range",-1,2]]"#,
            r#"[["content-length-range",3,2]]"#,
        ] {
            assert_eq!(policy(conditions).unwrap_err().code, "InvalidPolicyDocument", "{conditions}");
        }
    }

    #[test]
    fn every_field_is_spoken_of_and_every_condition_met() {
        let fields = Fields::from([("Key", "up/one"), ("Content-Type", "image/png, image/gif"), ("x-ignore-me", "1")]);
        let all = r#"[{"bucket":"b"},["Starts-With","$kEy","up/"],["starts-with","$Content-Type","image/"],["content-length-range","1",5]]"#;
        assert_eq!(judged(all, &fields, 5), None);
        assert_eq!(judged(all, &fields, 6).unwrap().0, "EntityTooLarge");
        assert_eq!(judged(all, &fields, 0).unwrap().0, "EntityTooSmall");
        let denied = |conditions: &str, fields: &Fields| judged(conditions, fields, 1).unwrap();
        let failed = |what: &str| ("AccessDenied", format!("Invalid according to Policy: {what}"));
        assert_eq!(denied(r#"[["starts-with","$key",""]]"#, &fields), failed("Extra input fields: content-type"));
        let no_type = r#"[["starts-with","$key",""],["starts-with","$content-type","image/p"]]"#;
        let expected = failed(r#"Policy Condition failed: ["starts-with", "$content-type", "image/p"]"#);
        assert_eq!(denied(no_type, &fields), expected);
        let key = Fields::from([("key", "a"), ("bucket", "c")]);
        let bucket = r#"[{"key":"a"},{"bucket":"b"}]"#;
        assert_eq!(denied(bucket, &key), failed(r#"Policy Condition failed: ["eq", "$bucket", "b"]"#));
        assert_eq!(denied(r#"[{"key":"a"},{"bucket":"c"}]"#, &Fields::from([("key", "a")])).0, "AccessDenied");
    }

    #[test]
    fn it_ends_when_it_says() {
        let text = STANDARD.encode(r#"{"expiration":"2023-11-14T22:13:20.000Z","conditions":[]}"#);
        let policy = Policy::parse(&text).unwrap();
        let empty = Fields::default();
        assert_eq!(
            policy.judge(&empty, "b", 0, NOW).unwrap_err().message,
            "Invalid according to Policy: Policy expired."
        );
        assert!(policy.judge(&empty, "b", 0, NOW - 1).is_ok());
    }
}
