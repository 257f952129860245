//! What conditions can ask of a request. Nothing is computed before somebody asks.

use std::borrow::Cow;

use http::{HeaderMap, Method, Uri};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::origin::Origin;
use super::who::Who;
use crate::guard::query;
use crate::policy::principal::ACCOUNT;
use crate::policy::{Caller, Facts};

/// Tags, in order.
pub type Tags = Vec<(String, String)>;

/// The facts of one request about one resource.
pub struct RequestFacts<'a> {
    /// Who asks.
    pub who: &'a Who,
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// Where it comes from.
    pub origin: Option<Origin>,
    /// Unix milliseconds.
    pub now_ms: u64,
    /// The region.
    pub region: &'a str,
    /// The version that this resource names.
    pub version: Option<&'a str>,
    /// `s3:prefix` where it is not the query's: the key, when a read of it asks whether it may be told that it is not there.
    pub prefix: Option<&'a str>,
    /// The tags that the body brings, where it brings any; otherwise those of `x-amz-tagging`.
    pub new_tags: Option<&'a Tags>,
    /// The tags that the object has, where they were looked up.
    pub old_tags: Option<&'a Tags>,
}

/// Tags in the form of the header `x-amz-tagging`.
fn tagging(text: &str) -> Tags {
    query::pairs(text).map(|pair| (pair.name.into_owned(), pair.value.into_owned())).collect()
}

impl RequestFacts<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = query::pairs(self.uri.query().unwrap_or_default());
        pairs.find(|pair| pair.name == name).map(|pair| pair.value.into_owned())
    }

    fn new_tags(&self) -> Option<Cow<'_, Tags>> {
        match self.new_tags {
            Some(tags) => Some(Cow::Borrowed(tags)),
            None => self.header("x-amz-tagging").map(|text| Cow::Owned(tagging(text))),
        }
    }

    fn aws(&self, name: &str) -> Option<String> {
        Some(match name {
            "sourceip" => self.origin?.address.to_string(),
            "securetransport" => self.origin.is_some_and(|origin| origin.secure).to_string(),
            "currenttime" => {
                let time = OffsetDateTime::from_unix_timestamp((self.now_ms / 1000) as i64).ok()?;
                time.format(&Rfc3339).ok()?
            }
            "epochtime" => (self.now_ms / 1000).to_string(),
            "useragent" => self.header("user-agent")?.to_owned(),
            "referer" => self.header("referer")?.to_owned(),
            "requestedregion" => self.region.to_owned(),
            "resourceaccount" | "sourceaccount" => ACCOUNT.to_owned(),
            // Nobody here is a service of AWS's, or asks through one.
            "principalisawsservice" | "viaawsservice" => "false".to_owned(),
            "username" => match self.who.caller() {
                Caller::User(name) => name.to_owned(),
                _ => return None,
            },
            "userid" => match self.who.caller() {
                Caller::User(name) => name.to_owned(),
                Caller::Role { role, session } => format!("{role}:{session}"),
                _ => return None,
            },
            "principalaccount" => self.who.owner().map(|_| ACCOUNT.to_owned())?,
            "principalarn" => match self.who.caller() {
                // A session's is that of its role.
                Caller::Role { role, .. } => format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
                caller => caller.arn()?,
            },
            "principaltype" => match self.who {
                Who::Anonymous => "Anonymous",
                Who::Root { .. } => "Account",
                Who::User { .. } => "User",
                Who::Session { .. } => "AssumedRole",
            }
            .to_owned(),
            _ => return None,
        })
    }

    /// When the request was signed, Unix milliseconds.
    fn signed_ms(&self) -> Option<i128> {
        let stamp = match self.parameter("X-Amz-Date") {
            Some(stamp) => stamp,
            None => self.header("x-amz-date")?.to_owned(),
        };
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let signed = PrimitiveDateTime::parse(&stamp, format).ok()?.assume_utc();
        Some(signed.unix_timestamp_nanos() / 1_000_000)
    }

    /// Whether the request makes an object, and not a part of one.
    fn creates_object(&self) -> bool {
        match *self.method {
            Method::PUT => self.parameter("uploadId").is_none(),
            Method::POST => self.parameter("uploadId").is_some() || self.uri.query().is_none(),
            _ => false,
        }
    }

    fn s3(&self, name: &str) -> Option<String> {
        if name == "x-amz-content-sha256" && self.parameter("X-Amz-Signature").is_some() {
            return Some("UNSIGNED-PAYLOAD".to_owned());
        }
        if name.starts_with("x-amz-") {
            let value = self.header(name)?;
            // As it names the object: decoded, without the slash before it and the version behind it.
            if name == "x-amz-copy-source" {
                let source = super::access::copy_source(self.headers)?;
                return Some(format!("{}/{}", source.0, source.1));
            }
            return Some(value.to_owned());
        }
        Some(match name {
            "prefix" if self.prefix.is_some() => self.prefix?.to_owned(),
            "prefix" | "delimiter" | "max-keys" => self.parameter(name)?,
            "versionid" => self.version?.to_owned(),
            "if-match" | "if-none-match" => self.header(name)?.to_owned(),
            "object-lock-mode" => self.header("x-amz-object-lock-mode")?.to_owned(),
            "object-lock-legal-hold" => self.header("x-amz-object-lock-legal-hold")?.to_owned(),
            "object-lock-retain-until-date" => self.header("x-amz-object-lock-retain-until-date")?.to_owned(),
            "object-lock-remaining-retention-days" => {
                let until = self.header("x-amz-object-lock-retain-until-date")?;
                let until = crate::policy::value::date(until)? / 1_000_000;
                (until - i128::from(self.now_ms)).max(0).div_euclid(86_400_000).to_string()
            }
            "authtype" => match (self.header("authorization"), self.parameter("X-Amz-Signature")) {
                (Some(_), _) => "REST-HEADER".to_owned(),
                (None, Some(_)) => "REST-QUERY-STRING".to_owned(),
                (None, None) if self.method == Method::POST && !matches!(self.who, Who::Anonymous) => "POST".to_owned(),
                (None, None) => return None,
            },
            "signatureage" => {
                self.who.owner()?;
                (i128::from(self.now_ms) - self.signed_ms()?).max(0).to_string()
            }
            "objectcreationoperation" => self.creates_object().to_string(),
            "signatureversion" => self.who.owner().map(|_| "AWS4-HMAC-SHA256".to_owned())?,
            "resourceaccount" => ACCOUNT.to_owned(),
            _ => return None,
        })
    }
}

impl Facts for RequestFacts<'_> {
    fn values(&self, key: &str) -> Option<Vec<Cow<'_, str>>> {
        let (service, name) = key.split_once(':')?;
        let tag = |tags: &Tags, wanted: &str| {
            let found = tags.iter().find(|(name, _)| name == wanted)?;
            Some(vec![Cow::Owned(found.1.clone())])
        };
        match (service, name.split_once('/')) {
            ("s3", Some(("existingobjecttag", wanted))) => return tag(self.old_tags?, wanted),
            ("s3", Some(("requestobjecttag", wanted))) => return tag(&*self.new_tags()?, wanted),
            ("s3", None) if name == "requestobjecttagkeys" => {
                let tags = self.new_tags()?.into_owned();
                return Some(tags.into_iter().map(|(name, _)| Cow::Owned(name)).collect());
            }
            ("s3", None) => self.s3(name),
            ("aws", None) => self.aws(name),
            _ => None,
        }
        .map(|value| vec![Cow::Owned(value)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(method: Method, target: &str, headers: &[(&'static str, &'static str)], key: &str) -> Option<String> {
        let who = Who::Root { access_key: "AKROOT".into() };
        let (uri, mut map) = (target.parse().unwrap(), HeaderMap::new());
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        // 2026-01-01T00:00:10Z
        let now_ms = 1_767_225_610_000;
        let (who, method, uri, headers) = (&who, &method, &uri, &map);
        let region = "us-east-1";
        let facts = RequestFacts {
            who,
            method,
            uri,
            headers,
            origin: None,
            now_ms,
            region,
            version: None,
            prefix: None,
            new_tags: None,
            old_tags: None,
        };
        facts.values(key).map(|values| values.join(","))
    }

    #[test]
    fn what_is_known_of_the_signature_and_of_what_a_write_makes() {
        let signed = "/b/k?X-Amz-Date=20260101T000000Z&X-Amz-Signature=0";
        let get =
            |target: &str, headers: &[(&'static str, &'static str)], key: &str| fact(Method::GET, target, headers, key);
        assert_eq!(get(signed, &[], "s3:signatureage").as_deref(), Some("10000"));
        assert_eq!(get("/b/k", &[("x-amz-date", "20260101T000009Z")], "s3:signatureage").as_deref(), Some("1000"));
        assert_eq!(get("/b/k", &[], "s3:signatureage"), None);
        assert_eq!(get(signed, &[], "s3:x-amz-content-sha256").as_deref(), Some("UNSIGNED-PAYLOAD"));
        assert_eq!(get("/b/k", &[("x-amz-content-sha256", "0a")], "s3:x-amz-content-sha256").as_deref(), Some("0a"));
        assert_eq!(get("/b/k", &[], "aws:viaawsservice").as_deref(), Some("false"));
        for (method, target, creates) in [
            (Method::PUT, "/b/k", "true"),
            (Method::PUT, "/b/k?partNumber=1&uploadId=u", "false"),
            (Method::POST, "/b/k?uploads", "false"),
            (Method::POST, "/b/k?uploadId=u", "true"),
            (Method::GET, "/b/k", "false"),
        ] {
            let found = fact(method.clone(), target, &[], "s3:objectcreationoperation");
            assert_eq!(found.as_deref(), Some(creates), "{method} {target}");
        }
    }
}
