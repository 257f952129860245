//! The leader's side of an upload: writes its own copy and passes every chunk on, as it arrives, to the followers.
//!
//! ```text
//! client ──▶ receive ──▶ own writer ──▶ disk
//!               ├──▶ feed ──▶ follower ──▶ disk
//!               └──▶ feed ──▶ follower ──▶ disk
//! ```
//! Everything runs in the caller's task, so dropping it ends the upload everywhere. [`course`] decides; this file does.

mod course;
mod feed;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Framer;
use holdfast_wire::id::{BlobId, GroupId, NodeId};
use holdfast_wire::service::Body;
use holdfast_wire::transport::{Client, Target, decode, encode};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::course::{Course, Step};
use self::feed::{Feed, feed};
use super::error::BlobError;
use super::peer::{DROP, DropHead, SILENCE, WRITE, WriteAnswer, WriteHead};
use super::stats::count;
use super::store::BlobStore;
use super::writer::BlobWriter;

/// The time a request to a follower may take in all; its progress is watched by [`course`].
const WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How long telling the others that an upload failed may take.
const DROP_WITHIN: Duration = Duration::from_secs(1);

type Answer = (usize, Result<u64, CallError>);

/// Where this node's copy stands.
enum Own {
    Receiving(Box<BlobWriter>),
    Finishing(BoxFuture<'static, Result<u64, BlobError>>),
    Kept,
    Failed,
}

/// Something that happened.
enum Event {
    /// The client's next chunk, or its end.
    Chunk(Option<Bytes>),
    /// This node's copy is on disk.
    Kept,
    /// A follower's answer.
    Answer(Answer),
    /// Time passed, or a follower is on pace again.
    Look,
}

/// Takes a large body from the client's stream, which is unframed already, and puts it on disk here and on
/// `followers`. Returns who has it, this node (`own`) first, and its length, when `majority` nodes including this one
/// have it on disk.
///
/// # Errors
/// Whatever the client's stream ends with ([`CallError::Aborted`] when it falls silent), [`CallError::NoSpace`],
/// [`CallError::Unavailable`] when this node or too many others cannot keep it. Nothing is kept then; nodes that cannot
/// be reached at that moment may keep a copy that nobody names.
#[expect(clippy::too_many_arguments, reason = "all of them are facts of one upload")]
pub async fn receive(
    store: &BlobStore,
    client: &Client,
    followers: Vec<(NodeId, Target)>,
    own: NodeId,
    group: GroupId,
    id: BlobId,
    body: BoxStream<'static, Result<Bytes, CallError>>,
    majority: usize,
) -> Result<(Vec<NodeId>, u64), CallError> {
    let writer = store.create(group, id).await?;
    let moved = Arc::new(Notify::new());
    let (mut feeds, answers) = (Vec::new(), FuturesUnordered::new());
    let head = encode(&WriteHead { group, id, created_ms: writer.created_ms() });
    for (index, (_, target)) in followers.iter().enumerate() {
        let (feed, fed) = feed(moved.clone());
        let dropped = Arc::new(Notify::new());
        feeds.push((feed, dropped.clone()));
        let (client, target, head) = (client.clone(), target.clone(), head.clone());
        answers.push(
            async move {
                let sending = client.exchange(&target, WRITE, head, Body::streamed(Framer::new(fed)), WITHIN);
                let answer = tokio::select! {
                    answer = sending => answer.and_then(|(head, _)| decode::<WriteAnswer>(&head)),
                    () = dropped.notified() => Err(CallError::Aborted),
                };
                (index, answer.map(|answer| answer.len))
            }
            .boxed(),
        );
    }
    let course = Course::new(majority, followers.len(), Instant::now());
    let mut upload = Upload {
        body,
        own: Own::Receiving(Box::new(writer)),
        feeds,
        answers,
        course,
        moved,
        len: 0,
        heard: Instant::now(),
    };
    match upload.run().await {
        Ok(holders) => {
            let dropped = followers.len() - holders.len();
            count(&store.0.counters.followers_dropped, dropped as u64);
            let holders = holders.into_iter().map(|index| followers[index].0);
            Ok((std::iter::once(own).chain(holders).collect(), upload.len))
        }
        Err(error) => {
            tracing::debug!(%error, %group, blob = %id, "an upload failed");
            upload.undo(store, client, &followers, group, id).await;
            Err(error)
        }
    }
}

struct Upload {
    body: BoxStream<'static, Result<Bytes, CallError>>,
    own: Own,
    /// By follower: its chunks, and how its request is ended.
    feeds: Vec<(Feed, Arc<Notify>)>,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    course: Course,
    moved: Arc<Notify>,
    len: u64,
    /// When the client last sent something, or was not listened to.
    heard: Instant,
}

impl Upload {
    /// The followers that have it.
    async fn run(&mut self) -> Result<Vec<usize>, CallError> {
        loop {
            let now = Instant::now();
            for (index, (feed, _)) in self.feeds.iter().enumerate() {
                let (behind, taken) = feed.standing();
                self.course.saw(index, behind, taken, now);
            }
            let (take, look) = match self.course.next(now) {
                Step::Take(look) => (true, look),
                Step::Hold(look) => (false, Some(look)),
                Step::Drop(index) => {
                    self.feeds[index].0.abort();
                    self.feeds[index].1.notify_one();
                    continue;
                }
                Step::Done(holders) => return Ok(holders),
                Step::Fail(error) => return Err(error),
            };
            if !take {
                self.heard = now;
            }
            match self.event(take, look).await? {
                Event::Chunk(Some(chunk)) => self.pass_on(chunk),
                Event::Chunk(None) => self.end(),
                Event::Kept => self.course.own_done(),
                Event::Answer((index, answer)) => self.answered(index, answer),
                Event::Look => {}
            }
        }
    }

    async fn event(&mut self, take: bool, look: Option<Instant>) -> Result<Event, CallError> {
        let Self { body, own, answers, moved, heard, .. } = self;
        let own_step = async {
            match own {
                Own::Receiving(writer) if take => {
                    if !writer.has_room() {
                        writer.ready().await?;
                        *heard = Instant::now();
                    }
                    match timeout_at(*heard + SILENCE, body.next()).await {
                        Ok(chunk) => chunk.transpose().map(Event::Chunk),
                        Err(_) => Err(CallError::Aborted),
                    }
                }
                Own::Finishing(finishing) => {
                    let finished = finishing.await;
                    *own = if finished.is_ok() { Own::Kept } else { Own::Failed };
                    Ok(finished.map(|_| Event::Kept)?)
                }
                Own::Receiving(_) | Own::Kept | Own::Failed => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(answer) = answers.next() => Ok(Event::Answer(answer)),
            event = own_step => event,
            () = moved.notified() => Ok(Event::Look),
            () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => Ok(Event::Look),
        }
    }

    fn pass_on(&mut self, chunk: Bytes) {
        self.heard = Instant::now();
        self.len += chunk.len() as u64;
        for (feed, _) in &self.feeds {
            feed.put(chunk.clone());
        }
        if let Own::Receiving(writer) = &mut self.own {
            writer.push(chunk);
        }
    }

    fn end(&mut self) {
        self.feeds.iter().for_each(|(feed, _)| feed.end());
        self.course.ended(Instant::now());
        self.own = match std::mem::replace(&mut self.own, Own::Failed) {
            Own::Receiving(writer) => Own::Finishing(writer.finish().boxed()),
            other => other,
        };
    }

    fn answered(&mut self, index: usize, answer: Result<u64, CallError>) {
        let answer = match answer {
            Ok(len) if len == self.len => Ok(()),
            Ok(len) => Err(CallError::Malformed { reason: format!("kept {len} of {} bytes", self.len) }),
            Err(error) => Err(error),
        };
        if let Err(error) = &answer {
            tracing::debug!(%error, index, "a follower does not take the blob");
            self.feeds[index].0.abort();
        }
        self.course.answered(index, answer);
    }

    /// Lets go of everything, here and where it may be kept already.
    async fn undo(
        &mut self,
        store: &BlobStore,
        client: &Client,
        followers: &[(NodeId, Target)],
        group: GroupId,
        id: BlobId,
    ) {
        self.feeds.iter().for_each(|(feed, _)| feed.abort());
        self.answers.clear();
        // A copy that is being finished, or is finished, has its name or may get it; one being received does not.
        let complete = match std::mem::replace(&mut self.own, Own::Failed) {
            Own::Receiving(_) | Own::Failed => false,
            Own::Finishing(finishing) => finishing.await.is_ok(),
            Own::Kept => true,
        };
        let removed = if complete { store.remove(group, id).await } else { Ok(()) };
        if let Err(error) = removed {
            tracing::warn!(%error, %group, blob = %id, "a blob whose upload failed could not be removed");
        }
        if self.course.is_ended() {
            let head = encode(&DropHead { group, id });
            let tell =
                followers.iter().map(|(_, target)| client.ask(target, DROP, head.clone(), Bytes::new(), DROP_WITHIN));
            futures::future::join_all(tell).await;
        }
    }
}
