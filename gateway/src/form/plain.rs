//! The form that s3s gets: the object's fields, under the names of the headers that say the same, and the file.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use holdfast_wire::seam::Random;
use http_body::Frame;
use http_body_util::StreamBody;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{Tag, Tagging};
use s3s::xml::{Deserialize, Deserializer};
use s3s::{Body, StdError};
use url::Url;

use super::fields::{Fields, FileStream};
use super::{bad, missing};
use crate::guard::refusal::Refusal;

/// Fields that mean something besides those that begin with `x-amz-`.
const KNOWN: [&str; 10] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "if-match",
    "if-none-match",
    "key",
];
/// Fields that s3s must not see: the signature has been checked, the token been taken.
const SPENT: [&str; 5] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature"];

/// A form that is all fields and has its file still to come.
pub struct Plain {
    boundary: String,
    head: String,
    file: u64,
}

impl Plain {
    /// The form of an object with these fields and so many bytes.
    pub fn of(fields: &Fields, file: u64, random: &dyn Random) -> Result<Self, Refusal> {
        let mut plain = Self { boundary: format!("{:032x}", random.next_u128()), head: String::new(), file };
        if fields.get("key").is_none() {
            return Err(missing("key"));
        }
        for (name, value) in fields.iter() {
            let replaced = name == "x-amz-acl" && fields.get("acl").is_some()
                || name == "x-amz-tagging" && fields.get("tagging").is_some();
            let known = KNOWN.contains(&name) || name.starts_with("x-amz-") && !SPENT.contains(&name);
            if known && !replaced {
                plain.add(name, value);
            }
        }
        if let Some(acl) = fields.get("acl") {
            plain.add("x-amz-acl", acl);
        }
        if let Some(document) = fields.get("tagging") {
            plain.add("x-amz-tagging", &header_of(document)?);
        }
        // What cannot be redirected to, and what is no such status, counts as not said.
        let redirect = fields.get("success_action_redirect").or(fields.get("redirect"));
        if let Some(redirect) = redirect.filter(|text| leads_somewhere(text)) {
            plain.add("success_action_redirect", redirect);
        }
        if let Some(status) = fields.get("success_action_status").filter(|text| ["200", "201", "204"].contains(text)) {
            plain.add("success_action_status", status);
        }
        let boundary = &plain.boundary;
        plain.head +=
            &format!("--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"file\"\r\n\r\n");
        Ok(plain)
    }

    fn add(&mut self, name: &str, value: &str) {
        // No header has such a name; the policy has seen the field, and nothing else reads it.
        let sound = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if name.bytes().all(sound) {
            let boundary = &self.boundary;
            self.head += &format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
    }

    fn tail(&self) -> String {
        format!("\r\n--{}--\r\n", self.boundary)
    }

    /// Its content type.
    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        (self.head.len() + self.tail().len()) as u64 + self.file
    }

    /// Its bytes.
    pub fn body(self, file: FileStream) -> Body {
        let tail = self.tail();
        let end = |text: String| futures::stream::once(async move { Ok(Bytes::from(text)) });
        let whole = end(self.head).chain(file.map_err(StdError::from)).chain(end(tail));
        Body::http_body_unsync(StreamBody::new(whole.map_ok(Frame::data)))
    }
}

/// Whether a browser can be sent there.
fn leads_somewhere(text: &str) -> bool {
    !text.chars().any(char::is_control)
        && Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host())
}

/// The document of a field `tagging` as the header `x-amz-tagging` says it.
fn header_of(document: &str) -> Result<String, Refusal> {
    let malformed = || {
        let message = "The XML you provided was not well-formed or did not validate against our published schema";
        bad("MalformedXML", message)
    };
    let tagging = Tagging::deserialize(&mut Deserializer::new(document.trim().as_bytes())).map_err(|_| malformed())?;
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pair = |Tag { key, value }: &Tag| {
        let key = key.as_deref().ok_or_else(malformed)?;
        Ok(format!("{}={}", encode(key), encode(value.as_deref().unwrap_or_default())))
    };
    Ok(tagging.tag_set.iter().map(pair).collect::<Result<Vec<_>, Refusal>>()?.join("&"))
}
