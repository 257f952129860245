//! A browser's form upload, its policy judged plainly. Amazon S3 API reference, "Creating a POST policy" and
//! "Authenticating requests in browser-based uploads using POST".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::sigv4::Scope;

/// The fields of a form before its file, names as they stand there.
pub type Fields = [(String, String)];

/// A field: what stands there twice is a list.
pub fn field(fields: &Fields, name: &str) -> Option<String> {
    let values: Vec<&str> =
        fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Whether the form may put `size` bytes into `bucket`: signed with the secret, not too late, and as its policy says.
pub fn allows(fields: &Fields, bucket: &str, size: u64, scope: &Scope, now: i64) -> bool {
    judged(fields, bucket, size, scope, now).is_some()
}

fn judged(fields: &Fields, bucket: &str, size: u64, scope: &Scope, now: i64) -> Option<()> {
    let text = field(fields, "policy")?;
    let time = field(fields, "x-amz-date")?;
    let scope = Scope { time, ..scope.clone() };
    let sound = field(fields, "x-amz-algorithm")? == "AWS4-HMAC-SHA256"
        && field(fields, "x-amz-credential")? == format!("{}/{}", scope.access, scope.text())
        && field(fields, "x-amz-signature")?.eq_ignore_ascii_case(&scope.sign(&text));
    let policy: Value = serde_json::from_slice(&STANDARD.decode(&text).ok()?).ok()?;
    let sound = sound && policy.as_object()?.len() == 2;
    let until = instant(policy["expiration"].as_str()?)?;
    let conditions = policy["conditions"].as_array()?;
    // What is not there is empty.
    let known = |name: &str| match name {
        "bucket" => bucket.to_owned(),
        name => field(fields, name).unwrap_or_default(),
    };
    let all = conditions.iter().all(|condition| holds(condition, &known, size).unwrap_or(false));
    let covered = fields.iter().all(|(name, _)| {
        let name = name.to_ascii_lowercase();
        let free = ["policy", "x-amz-signature", "file"].contains(&&*name) || name.starts_with("x-ignore-");
        free || conditions.iter().any(|condition| subject(condition).as_deref() == Some(&*name))
    });
    (sound && all && covered && now <= until).then_some(())
}

/// The field that a condition is about, in lower case.
fn subject(condition: &Value) -> Option<String> {
    match condition {
        Value::Object(one) if one.len() == 1 => one.keys().next().map(|name| name.to_ascii_lowercase()),
        Value::Array(items) => items.get(1)?.as_str()?.strip_prefix('$').map(str::to_ascii_lowercase),
        _ => None,
    }
}

fn holds(condition: &Value, known: &dyn Fn(&str) -> String, size: u64) -> Option<bool> {
    if let Value::Object(one) = condition {
        let (name, wanted) = one.iter().next().filter(|_| one.len() == 1)?;
        return Some(known(&name.to_ascii_lowercase()) == wanted.as_str()?);
    }
    let items = condition.as_array().filter(|items| items.len() == 3)?;
    match items[0].as_str()?.to_ascii_lowercase().as_str() {
        "content-length-range" => {
            let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
            Some((number(&items[1])?..=number(&items[2])?).contains(&size))
        }
        "eq" => Some(known(&subject(condition)?) == items[2].as_str()?),
        "starts-with" => {
            let (name, start) = (subject(condition)?, items[2].as_str()?);
            let value = known(&name);
            // Of a list of types each must begin so.
            let list = name == "content-type";
            Some(if list {
                value.split(',').all(|one| one.trim_start().starts_with(start))
            } else {
                value.starts_with(start)
            })
        }
        _ => None,
    }
}

/// `YYYY-MM-DDTHH:MM:SS[.fff]Z` in Unix seconds.
fn instant(text: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let sound = (1..=12).contains(&month) && text.ends_with('Z') && text.as_bytes()[10] == b'T';
    sound.then(|| super::reading::unix(year, month, day, hour, minute, second))
}
