//! Rounds of questions to one node: everything that reads of all groups want to know of it goes into one request, one
//! request at a time. What is asked while a round is under way rides on the next one: an answer always was given after
//! its question was put.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use holdfast_wire::id::{GroupId, NodeId};
use holdfast_wire::transport::{Client, decode, encode};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::gather::gather;
use crate::log::GroupLog;
use crate::peers::Peers;
use crate::raft::message::{ROUND, RoundAnswer, RoundAsk, RoundQuestion};

/// A node that took longer than this for a round is asked last by those who can choose.
pub const QUICK: Duration = Duration::from_millis(20);

/// Asks nodes in rounds. Cheap to clone.
#[derive(Clone)]
pub struct Rounds {
    shared: Arc<Shared>,
}

struct Shared {
    own: NodeId,
    client: Client,
    peers: Peers,
    within: Duration,
    lines: Mutex<HashMap<NodeId, Line>>,
}

/// To one node.
struct Line {
    asks: mpsc::UnboundedSender<Asker>,
    slow: Arc<AtomicBool>,
    /// Asks; ends when the line is dropped.
    _asking: AbortOnDropHandle<()>,
}

struct Asker {
    log: GroupLog,
    answer: oneshot::Sender<RoundAnswer>,
}

impl Rounds {
    /// Rounds that node `own` asks; each waits for its answer up to `within`.
    pub fn new(own: NodeId, client: Client, peers: Peers, within: Duration) -> Self {
        Self { shared: Arc::new(Shared { own, client, peers, within, lines: Mutex::default() }) }
    }

    /// What `node` says of the group of `log`; [`RoundAnswer::No`] also if it says nothing.
    pub async fn ask(&self, node: NodeId, log: &GroupLog) -> RoundAnswer {
        let (answer, answered) = oneshot::channel();
        let asker = Asker { log: log.clone(), answer };
        let sent = self.line(node, |line| line.asks.send(asker).is_ok());
        if !sent {
            return RoundAnswer::No;
        }
        answered.await.unwrap_or(RoundAnswer::No)
    }

    /// Whether the last round to `node` failed or took long.
    pub fn is_slow(&self, node: NodeId) -> bool {
        self.line(node, |line| line.slow.load(Ordering::Relaxed))
    }

    fn line<T>(&self, node: NodeId, with: impl FnOnce(&Line) -> T) -> T {
        let mut lines = self.shared.lines.lock();
        with(lines.entry(node).or_insert_with(|| {
            let (asks, queue) = mpsc::unbounded_channel();
            let slow = Arc::new(AtomicBool::new(false));
            let Shared { own, client, peers, within, .. } = &*self.shared;
            let asking = rounds(*own, node, client.clone(), peers.clone(), *within, slow.clone(), queue);
            Line { asks, slow, _asking: AbortOnDropHandle::new(tokio::spawn(asking)) }
        }))
    }
}

async fn rounds(
    own: NodeId,
    node: NodeId,
    client: Client,
    peers: Peers,
    within: Duration,
    slow: Arc<AtomicBool>,
    mut queue: mpsc::UnboundedReceiver<Asker>,
) {
    let mut askers = Vec::new();
    while queue.recv_many(&mut askers, usize::MAX).await > 0 {
        // A round costs the same for one as for many.
        gather(|| queue.len()).await;
        while let Ok(asker) = queue.try_recv() {
            askers.push(asker);
        }
        let mut questions: Vec<RoundQuestion> = Vec::new();
        for asker in &askers {
            let group = asker.log.id();
            if questions.iter().all(|question| question.group != group)
                // Read after the askers came: a vote for somebody else from now on comes after their questions.
                && let Some(ballot) = asker.log.ballot()
            {
                questions.push(RoundQuestion { group, term: ballot.term, leader: ballot.node });
            }
        }
        let started = Instant::now();
        let answers = put(own, node, &client, &peers, within, questions).await;
        slow.store(answers.is_none() || started.elapsed() > QUICK, Ordering::Relaxed);
        let answers = answers.unwrap_or_default();
        for asker in askers.drain(..) {
            let answer = answers.get(&asker.log.id()).copied().unwrap_or(RoundAnswer::No);
            // An asker that has left does not matter.
            asker.answer.send(answer).ok();
        }
    }
}

async fn put(
    own: NodeId,
    node: NodeId,
    client: &Client,
    peers: &Peers,
    within: Duration,
    questions: Vec<RoundQuestion>,
) -> Option<HashMap<GroupId, RoundAnswer>> {
    let target = peers.target(node)?;
    let ask = RoundAsk { from: own, questions };
    let (head, _) = client.ask(&target, ROUND, encode(&ask), Bytes::new(), within).await.ok()?;
    let answers: Vec<RoundAnswer> = decode(&head).ok()?;
    Some(ask.questions.iter().map(|question| question.group).zip(answers).collect())
}
