//! Preconditions of reads and writes, judged against the record at the entry's place in the log (writes) or at the
//! read index (reads). RFC 9110 §13 and the S3 API reference, "Conditional requests".

use serde::{Deserialize, Serialize};

use crate::object::Summary;

/// An entity-tag condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ETags {
    /// `*`
    Any,
    /// Any of these, without quotes.
    OneOf(Vec<String>),
}

impl ETags {
    fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// What must hold of the current object for a write to happen. The default always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCondition {
    /// `If-Match`: the object exists and has this entity tag.
    pub if_match: Option<ETags>,
    /// `If-None-Match`: there is no object with such an entity tag (`*`: no object at all).
    pub if_none_match: Option<ETags>,
    /// `x-amz-if-match-last-modified-time` (delete only), Unix seconds.
    pub if_modified_at_s: Option<u64>,
    /// `x-amz-if-match-size` (delete only), bytes.
    pub if_size: Option<u64>,
}

/// Why a conditional write is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unmet {
    /// It asks for an object that is not there (404 `NoSuchKey`).
    Missing,
    /// It asks for another object than the one that is there, or for none (412 `PreconditionFailed`).
    Different,
}

impl WriteCondition {
    /// Whether it asks for anything.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Judges it against the current object.
    pub fn judge(&self, current: Option<&Summary>) -> Result<(), Unmet> {
        let asks_for_one = self.if_match.is_some() || self.if_modified_at_s.is_some() || self.if_size.is_some();
        let Some(current) = current else {
            return if asks_for_one { Err(Unmet::Missing) } else { Ok(()) };
        };
        let met = self.if_match.as_ref().is_none_or(|tags| tags.matches(&current.etag))
            && self.if_none_match.as_ref().is_none_or(|tags| !tags.matches(&current.etag))
            && self.if_modified_at_s.is_none_or(|at| at == current.modified_ms / 1000)
            && self.if_size.is_none_or(|size| size == current.size);
        if met { Ok(()) } else { Err(Unmet::Different) }
    }
}

/// Conditions of a read. The default always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadCondition {
    /// `If-Match`
    pub if_match: Option<ETags>,
    /// `If-None-Match`
    pub if_none_match: Option<ETags>,
    /// `If-Modified-Since`, Unix seconds.
    pub if_modified_since_s: Option<u64>,
    /// `If-Unmodified-Since`, Unix seconds.
    pub if_unmodified_since_s: Option<u64>,
}

/// How a conditional read ends when its conditions do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadRefusal {
    /// 304
    NotModified,
    /// 412
    PreconditionFailed,
}

impl ReadCondition {
    /// Judges it in the order of RFC 9110 §13.2.2.
    pub fn judge(&self, current: &Summary) -> Result<(), ReadRefusal> {
        let modified_s = current.modified_ms / 1000;
        match (&self.if_match, self.if_unmodified_since_s) {
            (Some(tags), _) if !tags.matches(&current.etag) => return Err(ReadRefusal::PreconditionFailed),
            (None, Some(at)) if modified_s > at => return Err(ReadRefusal::PreconditionFailed),
            _ => {}
        }
        match (&self.if_none_match, self.if_modified_since_s) {
            (Some(tags), _) if tags.matches(&current.etag) => Err(ReadRefusal::NotModified),
            (None, Some(at)) if modified_s <= at => Err(ReadRefusal::NotModified),
            _ => Ok(()),
        }
    }
}
