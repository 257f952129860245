//! Who owns what is written into a bucket, and with that whether access control lists count there: a bucket's ownership
//! controls, and its own list.

use std::str::FromStr;

use holdfast_wire::acl::Acl;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::configuration::Document;

/// S3's setting "object ownership".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// `BucketOwnerEnforced`: the bucket's owner owns everything in it, and lists count for nothing.
    #[default]
    Enforced,
    /// `BucketOwnerPreferred`: whoever writes an object owns it, unless it is given away with `bucket-owner-full-control`.
    Preferred,
    /// `ObjectWriter`: whoever writes an object owns it.
    Writer,
}

impl Ownership {
    /// What holds for a bucket. One without controls that has a list was made where lists count by default. What cannot be
    /// read lets no list count.
    pub fn of(bucket: &Bucket) -> Self {
        match bucket.document(Document::OwnershipControls) {
            Some(text) => text.parse().unwrap_or_default(),
            None if bucket.document(Document::Acl).is_some() => Self::Writer,
            None => Self::Enforced,
        }
    }

    /// Whether lists count.
    pub fn lists_count(self) -> bool {
        self != Self::Enforced
    }

    /// Who owns what `writer` wrote into the bucket of `owner`.
    pub fn shown<'a>(self, writer: &'a str, owner: &'a str) -> &'a str {
        if self.lists_count() { writer } else { owner }
    }

    /// The inverse of parsing.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "BucketOwnerEnforced",
            Self::Preferred => "BucketOwnerPreferred",
            Self::Writer => "ObjectWriter",
        }
    }

    /// The documents that a new bucket gets: `controls` is what its maker asked for, `otherwise` what holds without.
    pub fn documents(controls: Option<Self>, otherwise: Self, list: &Acl) -> Vec<(Document, String)> {
        let holds = controls.unwrap_or(otherwise);
        // Without controls and with a list is how a bucket of `ObjectWriter` looks that nobody asked for.
        let said = controls.or(Some(otherwise).filter(|otherwise| *otherwise == Self::Preferred));
        let controls = said.map(|said| (Document::OwnershipControls, said.as_str().to_owned()));
        let list = holds.lists_count().then(|| (Document::Acl, document(list)));
        controls.into_iter().chain(list).collect()
    }
}

impl FromStr for Ownership {
    type Err = UnknownOwnership;

    fn from_str(text: &str) -> Result<Self, UnknownOwnership> {
        [Self::Enforced, Self::Preferred, Self::Writer]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(UnknownOwnership)
    }
}

/// Text that is no object ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter")]
pub struct UnknownOwnership;

/// A bucket's own list. What cannot be read grants nobody anything.
pub fn list_of(bucket: &Bucket) -> Acl {
    match bucket.document(Document::Acl) {
        None => Acl::private(&bucket.owner),
        Some(text) => serde_json::from_str(text).unwrap_or_default(),
    }
}

/// A list as a bucket keeps it.
pub fn document(list: &Acl) -> String {
    serde_json::to_string(list).expect("names and permissions are always serializable")
}
