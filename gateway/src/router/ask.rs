//! Asking a replica: chooses one, hedges a slow one, goes on to others until one answers or time is up. For reads
//! only: they may be repeated and asked of several at once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use holdfast_wire::error::CallError;
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::request::{Request, Response};
use holdfast_wire::service::Body;
use tokio::time::Instant;

use super::RouteError;
use super::core::{Core, Pace};
use super::lead::ATTEMPT_MIN;
use super::metrics::{self, Cause};
use super::retry::Backoff;
use crate::balance;
use crate::membership::{Link, OpenCall, View};

/// How often it is looked whether the replica that is waited for is still heard.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One logical read.
pub(super) struct Ask<'a> {
    /// The group, by the newest view; `None` while no map is known.
    pub group: &'a (dyn Fn(&View) -> Option<GroupId> + Send + Sync),
    /// The request for that group, with the milliseconds it may take.
    pub request: &'a (dyn Fn(GroupId, u32) -> Request + Send + Sync),
    /// What it is usually as fast as.
    pub pace: Pace,
    /// Replicas to ask only when all others have failed.
    pub avoid: &'a [NodeId],
    /// When to give up.
    pub deadline: Instant,
}

/// An answer.
pub(super) struct Asked {
    pub response: Response,
    pub body: Body,
    /// The call, open as long as the body is read.
    pub open: OpenCall,
}

struct Attempt {
    link: Arc<Link>,
    group: GroupId,
    started: Instant,
    hedge: bool,
    result: Result<(Response, Body, OpenCall), CallError>,
}

impl Core {
    pub async fn ask(self: &Arc<Self>, ask: Ask<'_>) -> Result<Asked, RouteError> {
        metrics::count(&self.metrics.reads);
        self.budget.lock().earn();
        let mut backoff = Backoff::new();
        let mut tried = ask.avoid.to_vec();
        let mut candidates = Vec::new();
        let mut pending: FuturesUnordered<BoxFuture<'static, Attempt>> = FuturesUnordered::new();
        let mut latest: Option<Arc<Link>> = None;
        let mut last: Option<CallError> = None;
        let mut hedged = false;
        let mut look = Instant::now();
        let mut first = true;
        loop {
            if pending.is_empty() {
                if ask.deadline.saturating_duration_since(Instant::now()) < ATTEMPT_MIN {
                    return Err(match last {
                        Some(error) => self.failed(&error),
                        None => self.slow_down(Cause::NoLeader, "no replica of the shard is known"),
                    });
                }
                match self.next_replica(&ask, &mut candidates, &tried) {
                    Some((group, link)) => {
                        if !first {
                            metrics::count(&self.metrics.retries);
                        }
                        first = false;
                        tried.push(link.node);
                        latest = Some(link.clone());
                        pending.push(self.attempt(&ask, group, link, false));
                        look = Instant::now() + self.pace(ask.pace).hedge_after();
                    }
                    None => {
                        // Everybody was asked, or nobody is known: a pause, then everybody once more.
                        tried.clear();
                        let known = candidates_known(self, &ask);
                        let until = ask.deadline.min(Instant::now() + backoff.pause(self.chance()));
                        self.pause(until, |view| !known && (ask.group)(view).is_some()).await;
                        continue;
                    }
                }
            }
            let ended = tokio::select! {
                biased;
                Some(attempt) = pending.next() => Some(attempt),
                () = tokio::time::sleep_until(look) => None,
            };
            match ended {
                Some(Attempt { started, hedge, result: Ok((response, body, open)), .. }) => {
                    self.observe(ask.pace, started.elapsed());
                    if hedge {
                        metrics::count(&self.metrics.hedges_won);
                    }
                    return Ok(Asked { response, body, open });
                }
                Some(Attempt { group, link, result: Err(error), .. }) => {
                    tracing::debug!(%group, node = %link.node, %error, "an attempt at a replica failed");
                    last = Some(error);
                }
                None => {
                    // Slow. A replica that has fallen silent is replaced; one that is merely slow, once and within
                    // the budget.
                    look = Instant::now() + LOOK_EVERY;
                    let node = latest.as_ref().map(|link| link.node);
                    let silent = node.and_then(|node| self.view().node(node).map(|n| !n.alive(Instant::now())));
                    let replace = silent == Some(true);
                    if !replace && (hedged || !self.budget.lock().spend()) {
                        continue;
                    }
                    if let Some((group, link)) = self.next_replica(&ask, &mut candidates, &tried) {
                        if replace {
                            metrics::count(&self.metrics.retries);
                        } else {
                            hedged = true;
                            metrics::count(&self.metrics.hedges);
                        }
                        tried.push(link.node);
                        latest = Some(link.clone());
                        pending.push(self.attempt(&ask, group, link, !replace));
                    }
                }
            }
        }
    }

    fn next_replica(
        &self,
        ask: &Ask<'_>,
        candidates: &mut Vec<balance::Candidate>,
        tried: &[NodeId],
    ) -> Option<(GroupId, Arc<Link>)> {
        let view = self.view();
        let group = (ask.group)(&view)?;
        view.candidates(group, tried, Instant::now(), candidates);
        let chosen = candidates[balance::choose(candidates, self.chance())?];
        Some((group, view.link(chosen.node)?.clone()))
    }

    fn attempt(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        group: GroupId,
        link: Arc<Link>,
        hedge: bool,
    ) -> BoxFuture<'static, Attempt> {
        let started = Instant::now();
        let within = self.options.attempt.min(ask.deadline.saturating_duration_since(started));
        let request = (ask.request)(group, within.as_millis() as u32);
        let core = self.clone();
        Box::pin(async move {
            let result = core.call(&link, request, Body::empty(), within).await;
            Attempt { link, group, started, hedge, result }
        })
    }
}

fn candidates_known(core: &Core, ask: &Ask<'_>) -> bool {
    (ask.group)(&core.view()).is_some()
}
