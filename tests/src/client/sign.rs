//! AWS Signature Version 4 in the `Authorization` header, written from the S3 API reference ("Authenticating Requests:
//! Using the Authorization Header") so that it is independent of the server's.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

/// The region that every client of the tests names.
pub const REGION: &str = "us-east-1";

/// The payload hash of a body that is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// An access key and its secret.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Access-key id.
    pub access: String,
    /// Secret access key.
    pub secret: String,
}

/// Signs requests; keeps the day's derived key.
#[derive(Clone, Debug)]
pub struct Signer {
    keys: Keys,
    day: String,
    pub(super) key: [u8; 32],
}

impl Signer {
    /// A signer for these keys.
    pub fn new(keys: Keys) -> Self {
        Self { keys, day: String::new(), key: [0; 32] }
    }

    /// Adds `x-amz-date`, `x-amz-content-sha256` and `authorization`. `path` is percent-encoded already, `query` is
    /// not; `host`, `content-md5` and every `x-amz-` header that is there get signed.
    pub fn sign(
        &mut self,
        method: &str,
        path: &str,
        query: &[(String, String)],
        headers: &mut HeaderMap,
        payload: &str,
        now: SystemTime,
    ) {
        let (day, instant) = stamp(now);
        if self.day != day {
            self.key = derive(&self.keys.secret, &day);
            self.day.clone_from(&day);
        }
        headers.insert(HeaderName::from_static("x-amz-date"), ascii(&instant));
        headers.insert(HeaderName::from_static("x-amz-content-sha256"), ascii(payload));

        let mut signed: Vec<(&str, String)> = headers
            .iter()
            .filter(|(name, _)| {
                let name = name.as_str();
                *name == *HOST.as_str() || name.starts_with("x-amz-") || name.starts_with("content-md5")
            })
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).trim().to_owned()))
            .collect();
        signed.sort();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");

        let mut canonical = format!("{method}\n{path}\n{}\n", query_string(query));
        for (name, value) in &signed {
            let _ = writeln!(canonical, "{name}:{value}");
        }
        let _ = write!(canonical, "\n{names}\n{payload}");

        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{instant}\n{scope}\n{}", hex::encode(Sha256::digest(canonical.as_bytes())));
        let signature = hex::encode(mac(&self.key, to_sign.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.keys.access
        );
        headers.insert(AUTHORIZATION, ascii(&authorization));
    }
}

/// A query string in canonical order and encoding.
pub fn query_string(query: &[(String, String)]) -> String {
    let mut pairs: Vec<(String, String)> = query.iter().map(|(k, v)| (encode(k, false), encode(v, false))).collect();
    pairs.sort();
    pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&")
}

/// Percent-encodes all but unreserved characters, and `/` unless `keep_slash`.
pub fn encode(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            b'/' if keep_slash => out.push('/'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("printable ASCII")
}

pub(super) fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

pub(super) fn derive(secret: &str, day: &str) -> [u8; 32] {
    let day_key = mac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    let region_key = mac(&day_key, REGION.as_bytes());
    let service_key = mac(&region_key, b"s3");
    mac(&service_key, b"aws4_request")
}

/// `YYYYMMDD` and `YYYYMMDDTHHMMSSZ` (civil date from days: Howard Hinnant's "chrono-compatible" algorithm).
pub(super) fn stamp(now: SystemTime) -> (String, String) {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let instant = format!("{date}T{hour:02}{minute:02}{second:02}Z");
    (date, instant)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The worked example of the S3 API reference: GET Object with a Range header is signed there with `range`, which
    /// this signer leaves out; the bucket listing example has no such header.
    #[test]
    fn signs_the_list_example_of_the_api_reference() {
        let keys =
            Keys { access: "AKIAIOSFODNN7EXAMPLE".into(), secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into() };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "examplebucket.s3.amazonaws.com".parse().unwrap());
        let query = [("max-keys".to_owned(), "2".to_owned()), ("prefix".to_owned(), "J".to_owned())];
        let empty = hex::encode(Sha256::digest(b""));
        let now = UNIX_EPOCH + Duration::from_secs(1_369_353_600);
        Signer::new(keys).sign("GET", "/", &query, &mut headers, &empty, now);
        let authorization = headers[AUTHORIZATION].to_str().unwrap();
        assert!(
            authorization.ends_with("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            "{authorization}"
        );
    }
}
