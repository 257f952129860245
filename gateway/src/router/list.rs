//! Listings: every shard that can hold the prefix is asked, and their pages become one. A shard that cannot answer
//! fails the listing: it is never short.

use std::sync::Arc;

use futures::future::try_join_all;
use holdfast_wire::bucket::Bucket;
use holdfast_wire::id::GroupId;
use holdfast_wire::object::Upload;
use holdfast_wire::placement;
use holdfast_wire::request::{
    ListObjects, ListPage, ListUploads, ListVersions, NotRead, Read, ReadRequest, Request, Response, VersionPage,
};
use tokio::time::Instant;

use super::ask::{Ask, Asked};
use super::core::{Core, Pace};
use super::lead::ATTEMPT_MIN;
use super::merge::{self, Entry, Page};
use super::metrics::Cause;
use super::read::{freshness, strong};
use super::retry::Backoff;
use super::{Modes, RouteError, Router};
use crate::membership::View;

/// The shards that can hold keys with this prefix.
fn shards_of(view: &View, bucket: &Bucket, prefix: &str) -> Vec<GroupId> {
    let map = &view.layout().map;
    match placement::hash_of_prefix(bucket.id, bucket.placement, prefix) {
        Some(point) => map.shard_of(point).map(|place| place.group).into_iter().collect(),
        None => map.shards().map(|place| place.group).collect(),
    }
}

impl Core {
    /// The answers of every shard that can hold the prefix, all under one map; `None` when one of them does not know
    /// the bucket.
    async fn ask_shards(
        self: &Arc<Self>,
        bucket: &Bucket,
        prefix: &str,
        modes: Modes,
        read: &Read,
        deadline: Instant,
    ) -> Result<Option<Vec<Response>>, RouteError> {
        let mut backoff = Backoff::new();
        loop {
            let view = self.view();
            let shards = shards_of(&view, bucket, prefix);
            let epoch = view.layout().map.epoch;
            if shards.is_empty() {
                let known = |view: &View| !shards_of(view, bucket, prefix).is_empty();
                self.pause(deadline, known).await;
            } else {
                let asked = shards.iter().map(|&shard| self.ask_shard(shard, modes, read, deadline));
                // The first failure ends the others.
                let answers: Vec<_> = try_join_all(asked).await?;
                // Under another map a key may have been in none of the shards that were asked, or in two.
                if self.view().layout().map.epoch == epoch {
                    let answers: Vec<_> = answers.into_iter().map(|asked| asked.response).collect();
                    let unknown = |answer: &Response| matches!(answer, Response::NotRead(NotRead::NoSuchBucket));
                    return Ok(if answers.iter().any(unknown) { None } else { Some(answers) });
                }
                tokio::time::sleep(backoff.pause(self.chance())).await;
            }
            if deadline.saturating_duration_since(Instant::now()) < ATTEMPT_MIN {
                return Err(self.slow_down(Cause::NoLeader, "the map is not known, or does not settle"));
            }
        }
    }

    async fn ask_shard(
        self: &Arc<Self>,
        shard: GroupId,
        modes: Modes,
        read: &Read,
        deadline: Instant,
    ) -> Result<Asked, RouteError> {
        let ask = Ask {
            group: &|view| view.layout().map.group(shard).map(|place| place.group),
            request: &|group, deadline_ms| {
                let freshness = freshness(modes, group);
                Request::Read(ReadRequest { group, freshness, deadline_ms, read: read.clone() })
            },
            pace: Pace::Page,
            avoid: &[],
            deadline,
        };
        self.ask(ask).await
    }

    /// As [`ask_shards`](Self::ask_shards); where a shard does not know the bucket, once more, strongly, of the bucket
    /// that has the name now.
    async fn ask_shards_again(
        self: &Arc<Self>,
        bucket: &Bucket,
        prefix: &str,
        modes: Modes,
        read: impl Fn(&Bucket) -> Read,
    ) -> Result<Vec<Response>, RouteError> {
        let deadline = self.deadline();
        if let Some(answers) = self.ask_shards(bucket, prefix, modes, &read(bucket), deadline).await? {
            return Ok(answers);
        }
        let bucket = self.resolve_again(bucket, deadline).await?;
        let answers = self.ask_shards(&bucket, prefix, strong(modes), &read(&bucket), deadline).await?;
        answers.ok_or(RouteError::NoSuchBucket)
    }

    fn merged<E: Entry>(
        &self,
        answers: Vec<Response>,
        limit: u32,
        page: impl Fn(Response) -> Result<Page<E>, Response>,
    ) -> Result<Page<E>, RouteError> {
        let pages: Result<Vec<_>, _> = answers.into_iter().map(page).collect();
        let pages = pages.map_err(|other| match other {
            Response::NotRead(not) => RouteError::NotRead(not),
            other => self.nonsense(&other),
        })?;
        merge::merge(pages, limit as usize).map_err(|error| self.slow_down(Cause::Malformed, error))
    }
}

impl Router {
    /// A page of a listing, merged over every shard that can hold the prefix.
    pub async fn list(&self, bucket: &Bucket, modes: Modes, list: ListObjects) -> Result<ListPage, RouteError> {
        if list.limit == 0 {
            return Ok(ListPage::default());
        }
        let read = |bucket: &Bucket| Read::List(ListObjects { bucket: bucket.id, ..list.clone() });
        let answers = self.core.ask_shards_again(bucket, &list.prefix, modes, read).await?;
        let page = self.core.merged(answers, list.limit, |answer| match answer {
            Response::Listed(page) => Ok(Page::from(page)),
            other => Err(other),
        })?;
        Ok(ListPage { objects: page.entries, prefixes: page.prefixes, more: page.more })
    }

    /// A page of versions, merged likewise.
    pub async fn list_versions(
        &self,
        bucket: &Bucket,
        modes: Modes,
        list: ListVersions,
    ) -> Result<VersionPage, RouteError> {
        if list.limit == 0 {
            return Ok(VersionPage::default());
        }
        let read = |bucket: &Bucket| Read::ListVersions(ListVersions { bucket: bucket.id, ..list.clone() });
        let answers = self.core.ask_shards_again(bucket, &list.prefix, modes, read).await?;
        let page = self.core.merged(answers, list.limit, |answer| match answer {
            Response::ListedVersions(page) => {
                Ok(Page { entries: page.versions, prefixes: page.prefixes, more: page.more })
            }
            other => Err(other),
        })?;
        Ok(VersionPage { versions: page.entries, prefixes: page.prefixes, more: page.more })
    }

    /// Open uploads, merged likewise: uploads in order, common prefixes in order, whether there is more. Always
    /// strong.
    pub async fn list_uploads(
        &self,
        bucket: &Bucket,
        list: ListUploads,
    ) -> Result<(Vec<Upload>, Vec<String>, bool), RouteError> {
        if list.limit == 0 {
            return Ok((Vec::new(), Vec::new(), false));
        }
        let read = |bucket: &Bucket| Read::ListUploads(ListUploads { bucket: bucket.id, ..list.clone() });
        let modes = strong(Modes::default());
        let answers = self.core.ask_shards_again(bucket, &list.prefix, modes, read).await?;
        let page = self.core.merged(answers, list.limit, |answer| match answer {
            Response::Uploads { uploads, prefixes, more } => Ok(Page { entries: uploads, prefixes, more }),
            other => Err(other),
        })?;
        Ok((page.entries, page.prefixes, page.more))
    }
}
