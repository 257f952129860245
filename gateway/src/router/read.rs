//! Reads of objects, records and parts.

use std::sync::Arc;

use futures::StreamExt;
use holdfast_wire::bucket::{Bucket, ReadMode};
use holdfast_wire::id::{GroupId, ObjectKey, UploadId};
use holdfast_wire::object::{Part, Upload};
use holdfast_wire::request::{Freshness, GetObject, NotRead, Read, ReadRequest, Request, Response};
use holdfast_wire::sealed;
use tokio::time::Instant;

use super::ask::{Ask, Asked};
use super::body::Continuing;
use super::core::{Core, Pace};
use super::write::{point_of, shard_of};
use super::{Got, Modes, RouteError, Router};

/// How fresh a read of `group` must be.
pub(super) fn freshness(modes: Modes, group: GroupId) -> Freshness {
    let session = modes.seq.filter(|seq| seq.group == group).map(|seq| seq.index);
    match (modes.read, session) {
        (None, session) => Freshness::AsBucketSays(session),
        (Some(ReadMode::Session), Some(index)) => Freshness::AtLeast(index),
        // Without a number of this shard a session is as good as new: strong.
        (Some(ReadMode::Session), None) => Freshness::Mode(ReadMode::Strong),
        (Some(mode), _) => Freshness::Mode(mode),
    }
}

/// The same, but strong.
pub(super) fn strong(modes: Modes) -> Modes {
    Modes { read: Some(ReadMode::Strong), ..modes }
}

impl Core {
    /// A read of the shard at one point.
    pub async fn read_at(
        self: &Arc<Self>,
        point: u64,
        modes: Modes,
        pace: Pace,
        read: &Read,
        deadline: Instant,
    ) -> Result<Asked, RouteError> {
        let ask = Ask {
            group: &|view| shard_of(view, point),
            request: &|group, deadline_ms| {
                let freshness = freshness(modes, group);
                Request::Read(ReadRequest { group, freshness, deadline_ms, read: read.clone() })
            },
            pace,
            avoid: &[],
            deadline,
        };
        self.ask(ask).await
    }

    /// A read of one key's shard. Where the shard does not know the bucket, once more, strongly, of the bucket that
    /// has the name now.
    async fn read_key(
        self: &Arc<Self>,
        bucket: &Bucket,
        key: &ObjectKey,
        modes: Modes,
        deadline: Instant,
        read: impl Fn(&Bucket) -> Read,
    ) -> Result<(Asked, Read, u64), RouteError> {
        let (first, point) = (read(bucket), point_of(bucket, key));
        let asked = self.read_at(point, modes, Pace::Object, &first, deadline).await?;
        if !matches!(asked.response, Response::NotRead(NotRead::NoSuchBucket)) {
            return Ok((asked, first, point));
        }
        let bucket = self.resolve_again(bucket, deadline).await?;
        let (again, point) = (read(&bucket), point_of(&bucket, key));
        let asked = self.read_at(point, strong(modes), Pace::Object, &again, deadline).await?;
        match asked.response {
            Response::NotRead(NotRead::NoSuchBucket) => Err(RouteError::NoSuchBucket),
            _ => Ok((asked, again, point)),
        }
    }
}

impl Router {
    /// Reads an object; `get.bucket` and `get.key` are those of the arguments.
    pub async fn get(&self, bucket: &Bucket, modes: Modes, get: GetObject) -> Result<Got, RouteError> {
        let core = &self.core;
        let read = |bucket: &Bucket| Read::Get(GetObject { bucket: bucket.id, ..get.clone() });
        let (asked, read, point) = core.read_key(bucket, &get.key, modes, core.deadline(), read).await?;
        let Read::Get(read) = read else { unreachable!("a get was built") };
        match asked.response {
            Response::Object { object, range, applied } => {
                let body = if read.head {
                    futures::stream::empty().boxed()
                } else {
                    let seq = object.summary.seq;
                    Continuing::new(
                        core.clone(),
                        point,
                        seq,
                        read,
                        sealed::stored_range(&object, range),
                        asked.body,
                        asked.open,
                    )
                    .into_stream()
                };
                Ok(Got { object: *object, range, applied, body })
            }
            Response::Absent(seq) => Err(RouteError::Absent(seq)),
            Response::NotRead(not) => Err(RouteError::NotRead(not)),
            other => Err(core.nonsense(&other)),
        }
    }

    /// An upload and its parts above number `after`, at most `limit`, and whether there is more. Always strong.
    pub async fn list_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        after: u16,
        limit: u32,
    ) -> Result<(Upload, Vec<Part>, bool), RouteError> {
        let core = &self.core;
        let modes = strong(Modes::default());
        let read = |bucket: &Bucket| Read::ListParts { bucket: bucket.id, key: key.clone(), upload, after, limit };
        match core.read_key(bucket, key, modes, core.deadline(), read).await?.0.response {
            Response::Parts { upload, parts, more } => Ok((*upload, parts, more)),
            Response::NotRead(not) => Err(RouteError::NotRead(not)),
            other => Err(core.nonsense(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_wire::id::Seq;

    #[test]
    fn a_session_counts_only_in_its_own_shard() {
        let seq = Some(Seq { group: GroupId(3), index: 41 });
        let modes = |read| Modes { read, seq, ack: None };
        assert_eq!(freshness(modes(None), GroupId(3)), Freshness::AsBucketSays(Some(41)));
        assert_eq!(freshness(modes(None), GroupId(4)), Freshness::AsBucketSays(None));
        assert_eq!(freshness(modes(Some(ReadMode::Session)), GroupId(3)), Freshness::AtLeast(41));
        assert_eq!(freshness(modes(Some(ReadMode::Session)), GroupId(4)), Freshness::Mode(ReadMode::Strong));
        assert_eq!(freshness(modes(Some(ReadMode::Strong)), GroupId(3)), Freshness::Mode(ReadMode::Strong));
        assert_eq!(freshness(modes(Some(ReadMode::Eventual)), GroupId(3)), Freshness::Mode(ReadMode::Eventual));
    }
}
