//! Asking a leader: finds it, follows it when it changes, repeats what is safe to repeat, and never forgets that an
//! attempt may have been applied.

use std::time::Duration;

use holdfast_wire::error::CallError;
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::request::{Request, Response};
use holdfast_wire::service::Body;
use tokio::time::Instant;

use super::RouteError;
use super::core::Core;
use super::metrics::{self, Cause};
use super::retry::{Backoff, Next, after_leader};
use crate::membership::{Leader, View};

/// Less than this is not worth another attempt.
pub(super) const ATTEMPT_MIN: Duration = Duration::from_millis(20);

/// One logical request to a leader.
pub(super) struct Lead<'a> {
    /// The group, by the newest view; `None` while no map is known.
    pub group: &'a (dyn Fn(&View) -> Option<GroupId> + Send + Sync),
    /// The request for that group, with the milliseconds it may take; the same request id every time.
    pub request: &'a (dyn Fn(GroupId, u32) -> Request + Send + Sync),
    /// How long one attempt may take: a dead leader that nobody has replaced yet must not eat all the time.
    pub attempt: Duration,
    /// When to give up.
    pub deadline: Instant,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// Certainly not applied.
    Not(RouteError),
    /// Perhaps applied.
    Perhaps(RouteError),
}

impl From<NoAnswer> for RouteError {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Not(error) | NoAnswer::Perhaps(error) => error,
        }
    }
}

/// An answer, and whether an earlier attempt of the same request may have been applied too.
pub(super) struct Led {
    pub group: GroupId,
    pub response: Response,
    pub repeated: bool,
}

impl Core {
    pub async fn lead(&self, lead: Lead<'_>) -> Result<Led, NoAnswer> {
        metrics::count(&self.metrics.writes);
        let mut backoff = Backoff::new();
        let mut hint: Option<NodeId> = None;
        let mut last: Option<CallError> = None;
        // The group in which an attempt may have been applied.
        let mut perhaps_in: Option<GroupId> = None;
        loop {
            let view = self.view();
            let group = (lead.group)(&view);
            if perhaps_in.is_some() && group != perhaps_in {
                // Another group does not know which requests this one has seen.
                return Err(NoAnswer::Perhaps(self.unknown("the map changed after an attempt without an answer")));
            }
            let known = group.and_then(|group| view.leader(group));
            let asked = hint.take().or(known.map(|leader| leader.node));
            let link = asked.and_then(|node| view.link(node));
            let left = lead.deadline.saturating_duration_since(Instant::now());
            if left < ATTEMPT_MIN {
                return Err(self.give_up(perhaps_in, last));
            }
            let (Some(group), Some(link)) = (group, link) else {
                self.leader_appears(lead.group, &mut backoff, lead.deadline).await;
                continue;
            };
            let within = lead.attempt.min(left);
            let request = (lead.request)(group, within.as_millis() as u32);
            let asked = Leader { node: link.node, term: known.map_or(0, |leader| leader.term) };
            let answer = tokio::select! {
                biased;
                answer = self.call(link, request, Body::empty(), within) => answer,
                () = self.superseded(group, asked) => {
                    Err(CallError::Unknown { reason: "the leader was replaced before it answered".to_owned() })
                }
            };
            let error = match answer {
                Ok((response, _, _)) => return Ok(Led { group, response, repeated: perhaps_in.is_some() }),
                Err(error) => error,
            };
            tracing::debug!(%group, node = %asked.node, %error, "an attempt at a leader failed");
            metrics::count(&self.metrics.retries);
            match after_leader(&error) {
                Next::GiveUp => return Err(self.give_up(perhaps_in, Some(error))),
                Next::Perhaps => perhaps_in = Some(group),
                Next::Again(Some(node)) if node != asked.node => {
                    // The first hint is followed at once; when two nodes point at each other, with pauses.
                    if !matches!(last, Some(CallError::NotLeader { .. })) {
                        hint = Some(node);
                        last = Some(error);
                        continue;
                    }
                    hint = Some(node);
                }
                Next::Again(_) => {}
            }
            last = Some(error);
            let until = lead.deadline.min(Instant::now() + backoff.pause(self.chance()));
            self.pause(until, |view| {
                view.leader(group).is_some_and(|leader| leader.term > asked.term && leader.node != asked.node)
            })
            .await;
        }
    }

    fn give_up(&self, perhaps_in: Option<GroupId>, last: Option<CallError>) -> NoAnswer {
        match (perhaps_in, last) {
            (Some(_), Some(error)) => NoAnswer::Perhaps(self.unknown(error)),
            (Some(_), None) => NoAnswer::Perhaps(self.unknown("no answer in time")),
            (None, Some(error)) => NoAnswer::Not(self.failed(&error)),
            (None, None) => NoAnswer::Not(self.slow_down(Cause::NoLeader, "no leader is known")),
        }
    }
}
