//! AWS Signature Version 4, made and checked. Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)".

use sha2::{Digest, Sha256};

use super::http::{Request, decoded};

/// What a signature is made with.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Access key.
    pub access: String,
    /// Secret.
    pub secret: String,
    /// `YYYYMMDDTHHMMSSZ`
    pub time: String,
    /// Region.
    pub region: String,
    /// Service.
    pub service: String,
}

impl Scope {
    /// `date/region/service/aws4_request`
    pub fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.time.get(..8).unwrap_or(""), self.region, self.service)
    }

    /// The signature of a text.
    pub fn sign(&self, text: &str) -> String {
        let mut key = format!("AWS4{}", self.secret).into_bytes();
        for part in [self.time.get(..8).unwrap_or(""), &self.region, &self.service, "aws4_request", text] {
            key = hmac(&key, part.as_bytes()).to_vec();
        }
        hex::encode(key)
    }

    /// The signature of a canonical request.
    pub fn sign_request(&self, canonical: &str) -> String {
        let hash = sha256(canonical.as_bytes());
        self.sign(&format!("AWS4-HMAC-SHA256\n{}\n{}\n{hash}", self.time, self.text()))
    }
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// RFC 2104 over SHA-256.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let hashed = Sha256::digest(key);
    let key = if key.len() > 64 { &hashed[..] } else { key };
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

/// Percent-encodes all but unreserved characters.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(*byte as char),
            byte => text += &format!("%{byte:02X}"),
        }
    }
    text
}

/// Names and values of a query, decoded: a plus is a space.
pub fn query(text: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let plain = |text: &str| decoded(&text.replace('+', " "));
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (plain(name), plain(value))).collect()
}

/// The canonical request. `signed`: names of headers in the order in which they are listed.
pub fn canonical(request: &Request, signed: &[String], payload: &str) -> Option<String> {
    let path: Vec<String> = decoded(request.path()).split(|byte| *byte == b'/').map(encode).collect();
    let mut pairs: Vec<(String, String)> = query(request.query())
        .into_iter()
        .filter(|(name, _)| name != b"X-Amz-Signature")
        .map(|(name, value)| (encode(&name), encode(&value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut headers = String::new();
    for name in signed {
        let values: Vec<String> = request.values(name).map(trimmed).collect();
        if values.is_empty() {
            return None;
        }
        headers += &format!("{name}:{}\n", values.join(","));
    }
    let (method, path, pairs, list) = (&request.method, path.join("/"), pairs.join("&"), signed.join(";"));
    Some(format!("{method}\n{path}\n{pairs}\n{headers}\n{list}\n{payload}"))
}

/// A value without spaces around it, and with single ones within. A tab counts as a space, as in botocore and s3s.
fn trimmed(value: &str) -> String {
    value.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether a request carries one sound signature, in its head or in its query, made with this secret for now (Unix seconds).
pub fn verify(request: &Request, scope: &Scope, now: i64) -> bool {
    match request.values("authorization").next() {
        Some(_) => in_header(request, scope, now).is_some(),
        None => in_query(request, scope, now).is_some(),
    }
}

fn in_header(request: &Request, scope: &Scope, now: i64) -> Option<()> {
    let mut lines = request.values("authorization");
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let fields = line.strip_prefix("AWS4-HMAC-SHA256")?;
    let field = |name: &str| {
        let mut found = fields.split(',').filter_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
        found.next().filter(|_| found.next().is_none())
    };
    let time = request.values("x-amz-date").next()?;
    let signed: Vec<String> = field("SignedHeaders")?.split(';').map(str::to_owned).collect();
    let unsigned = request.headers.iter().any(|(name, _)| {
        let must = name == "host" || name.starts_with("x-amz-");
        must && !signed.contains(name)
    });
    if unsigned || age(time, now).is_none_or(|age| age.unsigned_abs() > 15 * 60) {
        return None;
    }
    let payload = request.values("x-amz-content-sha256").next()?;
    if payload.len() == 64 && payload != sha256(&request.body) {
        return None;
    }
    check(request, scope, time, field("Credential")?, &signed, payload, field("Signature")?)
}

fn in_query(request: &Request, scope: &Scope, now: i64) -> Option<()> {
    let pairs = query(request.query());
    let one = |name: &str| {
        let mut found = pairs.iter().filter(|(known, _)| known == name.as_bytes());
        let value = String::from_utf8(found.next()?.1.clone()).ok();
        value.filter(|_| found.next().is_none())
    };
    if one("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return None;
    }
    let (time, seconds) = (one("X-Amz-Date")?, one("X-Amz-Expires")?.parse::<i64>().ok()?);
    let old = age(&time, now)?;
    if !(0..=7 * 86_400).contains(&seconds) || old > seconds || old < -15 * 60 {
        return None;
    }
    let signed: Vec<String> = one("X-Amz-SignedHeaders")?.split(';').map(str::to_owned).collect();
    let unsigned = request.headers.iter().any(|(name, _)| {
        (name == "host" || (name.starts_with("x-amz-") && name != "x-amz-content-sha256")) && !signed.contains(name)
    });
    if unsigned {
        return None;
    }
    check(request, scope, &time, &one("X-Amz-Credential")?, &signed, "UNSIGNED-PAYLOAD", &one("X-Amz-Signature")?)
}

fn check(
    request: &Request,
    scope: &Scope,
    time: &str,
    credential: &str,
    signed: &[String],
    payload: &str,
    signature: &str,
) -> Option<()> {
    let scope = Scope { time: time.to_owned(), ..scope.clone() };
    let sound = credential == format!("{}/{}", scope.access, scope.text())
        && signed.iter().any(|name| name == "host")
        && signed.iter().all(|name| name.bytes().all(|byte| !byte.is_ascii_uppercase()))
        && signed.is_sorted();
    (sound && scope.sign_request(&canonical(request, signed, payload)?) == signature).then_some(())
}

/// Seconds from a time stamp to now.
fn age(time: &str, now: i64) -> Option<i64> {
    let digits = |range: std::ops::Range<usize>| {
        let text = time.get(range)?;
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten()
    };
    if time.len() != 16 || time.as_bytes()[8] != b'T' || time.as_bytes()[15] != b'Z' {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let (hour, minute, second) = (digits(9..11)?, digits(11..13)?, digits(13..15)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(now - super::reading::unix(year, month, day, hour, minute, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The API reference's own example of a presigned URL.
    #[test]
    fn the_example_of_the_reference_comes_out() {
        let scope = Scope {
            access: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            time: "20130524T000000Z".to_owned(),
            region: "us-east-1".to_owned(),
            service: "s3".to_owned(),
        };
        let target = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F\
                      us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&\
                      X-Amz-SignedHeaders=host&X-Amz-Signature=\
                      aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        let mut request = Request {
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: vec![("host".to_owned(), "examplebucket.s3.amazonaws.com".to_owned())],
            body: Vec::new(),
        };
        let then = 1_369_353_600;
        assert!(verify(&request, &scope, then + 86_400) && !verify(&request, &scope, then + 86_401));
        request.method = "PUT".to_owned();
        assert!(!verify(&request, &scope, then));
    }
}
