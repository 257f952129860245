//! IAM's policy language once more, written from the IAM reference alone: it walks the JSON as it stands, knows no compiled
//! form, and is as plain as it can be.

use std::borrow::Cow;
use std::collections::BTreeMap;

use holdfast_gateway::policy::Facts;
use serde_json::Value;

/// What is known of a request: keys in lower case.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The user; `None`: nobody signed.
    pub user: Option<&'static str>,
    /// The action.
    pub action: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// Values by key.
    pub facts: BTreeMap<&'static str, Vec<String>>,
}

impl Facts for Request {
    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        Some(self.facts.get(key)?.iter().map(|value| Cow::Borrowed(value.as_str())).collect())
    }
}

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
        "Bool" => found.to_lowercase() == wanted.to_lowercase() && ["true", "false"].contains(&&*found.to_lowercase()),
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

/// Whether these policies let a request through.
pub fn allowed(identity: &[Value], session: &[Value], bucket: Option<&Value>, owner: bool, request: &Request) -> bool {
    let denied = identity.iter().chain(session).chain(bucket).any(|policy| says(policy, "Deny", request));
    let granted = owner || identity.iter().chain(bucket).any(|policy| says(policy, "Allow", request));
    let within = session.is_empty() || session.iter().any(|policy| says(policy, "Allow", request));
    !denied && granted && within
}
