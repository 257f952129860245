//! How often clients were answered what, by what they had asked for.

use std::collections::BTreeMap;
use std::fmt;

use crate::client::raw::{NoReply, Reply};
use crate::client::xml;
use crate::history::Condition;

/// What a client asked for, as far as it decides which answers can be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// Put of an object.
    Put,
    /// Likewise, if there is none.
    PutIfAbsent,
    /// Likewise, in place of the one named.
    PutIfMatch,
    /// Copy, if the source is the one named.
    Copy,
    /// Begins a multipart upload.
    CreateUpload,
    /// Put of one of its parts.
    PutPart,
    /// Makes an object of them.
    CompleteUpload,
    /// Drops them.
    AbortUpload,
    /// Get of an object, or of its newest version.
    Get,
    /// Get of some of its bytes.
    GetRange,
    /// Get of the version named.
    GetVersion,
    /// Head of an object.
    Head,
    /// A page of objects or versions.
    List,
    /// Delete of an object or of a version.
    Delete,
    /// Delete of several objects.
    DeleteMany,
}

impl Asked {
    /// A put with this condition.
    pub(crate) fn put(condition: &Condition) -> Self {
        match condition {
            Condition::None => Self::Put,
            Condition::Absent => Self::PutIfAbsent,
            Condition::Match(_) => Self::PutIfMatch,
        }
    }

    /// The codes of the errors in an answer. They travel in a 200 too, unless that holds an object's bytes.
    fn codes(self, reply: &Reply) -> Vec<String> {
        if reply.status.is_success() && matches!(self, Self::Get | Self::GetRange | Self::GetVersion) {
            return Vec::new();
        }
        let mut codes = xml::texts(&reply.text(), "Code");
        codes.sort();
        codes.dedup();
        codes
    }
}

/// A kind of answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// To what.
    pub asked: Asked,
    /// HTTP status; 0 stands for no answer.
    pub status: u16,
    /// The error's code; empty where there is none.
    pub code: String,
}

/// How often each kind of answer was given; one with several errors counts once for each of their codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses(BTreeMap<Told, u64>);

impl Statuses {
    /// One more answer.
    pub(crate) fn count(&mut self, asked: Asked, result: &Result<Reply, NoReply>) {
        let (status, mut codes) = match result {
            Ok(reply) => (reply.status.as_u16(), asked.codes(reply)),
            Err(_) => (0, Vec::new()),
        };
        if codes.is_empty() {
            codes.push(String::new());
        }
        self.extend(codes.into_iter().map(|code| (Told { asked, status, code }, 1)));
    }

    /// Adds others.
    pub(crate) fn add(&mut self, other: Self) {
        self.extend(other.0);
    }

    /// Each kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&Told, u64)> {
        self.0.iter().map(|(told, count)| (told, *count))
    }
}

impl Extend<(Told, u64)> for Statuses {
    fn extend<T: IntoIterator<Item = (Told, u64)>>(&mut self, counts: T) {
        for (told, count) in counts {
            *self.0.entry(told).or_default() += count;
        }
    }
}

/// `{200: 7, 503: 1}`, whatever was asked.
impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts = BTreeMap::<u16, u64>::new();
        for (told, count) in self.iter() {
            *counts.entry(told.status).or_default() += count;
        }
        write!(f, "{counts:?}")
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn reply(status: StatusCode, body: &'static str) -> Result<Reply, NoReply> {
        Ok(Reply { status, headers: HeaderMap::new(), body: body.into() })
    }

    #[test]
    fn errors_are_counted_wherever_they_travel_and_bytes_are_none() {
        let mut statuses = Statuses::default();
        let error = "<Error><Code>SlowDown</Code></Error>";
        let two = "<R><Error><Code>SlowDown</Code></Error><Error><Code>NoSuchBucket</Code></Error></R>";
        statuses.count(Asked::Get, &reply(StatusCode::OK, error));
        statuses.count(Asked::Get, &reply(StatusCode::SERVICE_UNAVAILABLE, error));
        statuses.count(Asked::Copy, &reply(StatusCode::OK, error));
        statuses.count(Asked::DeleteMany, &reply(StatusCode::OK, two));
        statuses.count(Asked::Put, &Err(NoReply::Lost("closed".into())));
        let told = |asked, status, code: &str| (Told { asked, status, code: code.into() }, 1);
        let expected = [
            told(Asked::Put, 0, ""),
            told(Asked::Copy, 200, "SlowDown"),
            told(Asked::Get, 200, ""),
            told(Asked::Get, 503, "SlowDown"),
            told(Asked::DeleteMany, 200, "NoSuchBucket"),
            told(Asked::DeleteMany, 200, "SlowDown"),
        ];
        assert!(statuses.iter().map(|(told, count)| (told.clone(), count)).eq(expected), "{statuses:?}");
        assert_eq!(statuses.to_string(), "{0: 1, 200: 4, 503: 1}");
    }
}
