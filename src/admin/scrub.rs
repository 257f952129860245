//! The scrub of every node.

use std::sync::Arc;

use futures::FutureExt;
use holdfast_wire::scrub::{ScrubOrder, ScrubReport};
use http::{Method, Response, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::Context;
use super::cluster::failed;
use super::route::{Answer, Route};
use crate::http::{Content, json};

/// What there is.
pub const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/scrub",
        about: "What the scrubs of all nodes find, or last found: in sum, and node by node",
        command: "scrub status",
        query: &[],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<ClusterScrub>),
        handle: |context, _| scrub(context, ScrubOrder::Status).boxed(),
    },
    Route {
        method: Method::POST,
        path: "/v1/scrub",
        about: "Let every node read all that it holds, and repair what is bad; one that is at it goes on",
        command: "scrub start",
        query: &[],
        body: None,
        answer: Answer::Json(SchemaGenerator::subschema_for::<ClusterScrub>),
        handle: |context, _| scrub(context, ScrubOrder::Start).boxed(),
    },
];

/// The scrubs of all nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterScrub {
    /// `running` (on a node at least), `idle`, or `unknown` where a node does not answer and none that does is at it.
    pub state: String,
    /// Nodes that are at it.
    pub running: u64,
    /// Nodes that answered.
    pub reached: u64,
    /// How far those are that are at it, of 100; 100 when none is.
    pub percent: u64,
    /// What they read in a second, together.
    pub bytes_per_second: u64,
    /// Of the scrubs under way, or of the last ones where none is: copies that were bad or missing.
    pub bad: u64,
    /// Blobs that were made whole again meanwhile.
    pub repaired: u64,
    /// Logs and files of indexes that are damaged: their nodes should be replaced.
    pub damaged: u64,
    /// When the last scrub of that node ended whose last one ended first, Unix milliseconds: since then everything was
    /// read. 0 if some node has finished none.
    pub all_read_ms: u64,
    /// Node by node.
    pub nodes: Vec<NodeScrub>,
}

/// The scrub of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeScrub {
    /// Its name.
    pub node: String,
    /// Whether it answered.
    pub reached: bool,
    /// What the one under way has found so far.
    pub running: Option<Findings>,
    /// What the last one had found.
    pub last: Option<Findings>,
}

/// What a scrub has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// When it began, Unix milliseconds.
    pub started_ms: u64,
    /// When it ended, Unix milliseconds; 0 while it is under way.
    pub finished_ms: u64,
    /// Blobs read.
    pub blobs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bad copies, handed to repair.
    pub corrupt: u64,
    /// Missing copies, handed to repair.
    pub missing: u64,
    /// Blobs that repair made whole meanwhile.
    pub repaired: u64,
    /// Bytes of blobs there were to be read.
    pub total_bytes: u64,
    /// Entries of the log read again.
    pub log_entries: u64,
    /// Groups whose log is damaged.
    pub log_damaged: u64,
    /// Files of the index read again.
    pub index_files: u64,
    /// Those of them that are damaged.
    pub index_damaged: u64,
}

impl From<ScrubReport> for Findings {
    fn from(report: ScrubReport) -> Self {
        let ScrubReport { started_ms, finished_ms, blobs, bytes, corrupt, missing, .. } = report;
        let ScrubReport { repaired, total_bytes, log_entries, log_damaged, index_files, index_damaged, .. } = report;
        Self {
            started_ms,
            finished_ms,
            blobs,
            bytes,
            corrupt,
            missing,
            repaired,
            total_bytes,
            log_entries,
            log_damaged,
            index_files,
            index_damaged,
        }
    }
}

impl ClusterScrub {
    /// Of all nodes, at this time.
    pub fn of(nodes: Vec<NodeScrub>, now_ms: u64) -> Self {
        let running: Vec<&Findings> = nodes.iter().filter_map(|node| node.running.as_ref()).collect();
        let told: Vec<&Findings> = match running.is_empty() {
            false => running.clone(),
            true => nodes.iter().filter_map(|node| node.last.as_ref()).collect(),
        };
        let sum = |of: fn(&Findings) -> u64| told.iter().map(|found| of(found)).sum::<u64>();
        let rate = |found: &&Findings| found.bytes * 1000 / now_ms.saturating_sub(found.started_ms).max(1);
        let (read, total) = running
            .iter()
            .fold((0, 0), |(read, total), found| (read + found.bytes, total + found.total_bytes.max(found.bytes)));
        let reached = nodes.iter().filter(|node| node.reached).count() as u64;
        let state = match (running.len(), reached == nodes.len() as u64) {
            (0, true) => "idle",
            (0, false) => "unknown",
            _ => "running",
        };
        let finished = nodes.iter().map(|node| node.last.as_ref().map_or(0, |last| last.finished_ms));
        Self {
            state: state.to_owned(),
            running: running.len() as u64,
            reached,
            percent: if running.is_empty() { 100 } else { (100 * read).checked_div(total).unwrap_or(0) },
            bytes_per_second: running.iter().map(rate).sum(),
            bad: sum(|found| found.corrupt + found.missing),
            repaired: sum(|found| found.repaired),
            damaged: sum(|found| found.log_damaged + found.index_damaged),
            all_read_ms: finished.min().unwrap_or(0),
            nodes,
        }
    }
}

impl std::fmt::Display for ClusterScrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { state, running, percent, bytes_per_second, bad, repaired, damaged, all_read_ms, .. } = self;
        write!(f, "scrub {state}")?;
        if *running > 0 {
            let rate = *bytes_per_second as f64 / f64::from(1 << 20);
            write!(f, " on {running} of {} nodes, {percent} %, {rate:.1} MiB/s", self.nodes.len())?;
        }
        write!(f, "; {bad} bad copies found, {repaired} repaired")?;
        if *damaged > 0 {
            write!(f, "; {damaged} DAMAGED logs or index files: replace those nodes, one at a time")?;
        }
        match all_read_ms {
            0 => f.write_str("; not every node has finished one yet")?,
            ms => write!(f, "; everything was read by {}", crate::access::view::time(*ms))?,
        }
        self.nodes.iter().try_for_each(|node| write!(f, "\n{node}"))
    }
}

impl std::fmt::Display for NodeScrub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, reached, running, last } = self;
        if !reached {
            return write!(f, "{node}: does not answer");
        }
        let tell = |f: &mut std::fmt::Formatter<'_>, found: &Findings| {
            let Findings { blobs, bytes, corrupt, missing, repaired, log_entries, index_files, .. } = found;
            write!(f, "{blobs} blobs, {bytes} bytes, {corrupt} corrupt, {missing} missing, {repaired} repaired")?;
            write!(f, ", {log_entries} log entries, {index_files} index files")?;
            match (found.log_damaged, found.index_damaged) {
                (0, 0) => Ok(()),
                (log, index) => write!(f, ", DAMAGED: {log} logs, {index} index files"),
            }
        };
        write!(f, "{node}: ")?;
        if let Some(running) = running {
            f.write_str("under way: ")?;
            tell(f, running)?;
            f.write_str("; ")?;
        }
        match last {
            Some(last) => {
                let took = last.finished_ms.saturating_sub(last.started_ms);
                f.write_str("last: ")?;
                tell(f, last)?;
                write!(f, ", took {:.1} s", took as f64 / 1000.0)
            }
            None => f.write_str("none finished yet"),
        }
    }
}

async fn scrub(context: Arc<Context>, order: ScrubOrder) -> Response<Content> {
    match context.cluster.scrub(order).await {
        Ok(nodes) => {
            let now_ms = context.access.seams().clock.unix_millis();
            json(StatusCode::OK, &ClusterScrub::of(nodes, now_ms))
        }
        Err(problem) => failed(&problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(running: Option<Findings>, last: Option<Findings>) -> NodeScrub {
        NodeScrub { node: "n".to_owned(), reached: true, running, last }
    }

    #[test]
    fn the_cluster_is_the_sum_of_its_nodes() {
        let report = |started_ms, finished_ms, bytes| {
            let report = ScrubReport { started_ms, finished_ms, bytes, total_bytes: 4000, ..ScrubReport::default() };
            Findings::from(ScrubReport { corrupt: 1, missing: 2, repaired: 3, index_damaged: 1, ..report })
        };
        let (old, newer) = (report(0, 500, 4000), report(0, 900, 4000));
        let idle = ClusterScrub::of(vec![node(None, Some(old.clone())), node(None, Some(newer))], 9999);
        assert_eq!((idle.state.as_str(), idle.percent, idle.all_read_ms), ("idle", 100, 500));
        assert_eq!((idle.bad, idle.repaired, idle.damaged), (6, 6, 2));
        let mut silent = node(None, None);
        silent.reached = false;
        let busy = ClusterScrub::of(vec![node(Some(report(1000, 0, 1000)), Some(old)), silent.clone()], 3000);
        assert_eq!((busy.state.as_str(), busy.running, busy.reached, busy.percent), ("running", 1, 1, 25));
        assert_eq!((busy.bytes_per_second, busy.bad, busy.all_read_ms), (500, 3, 0));
        let text = busy.to_string();
        assert!(text.contains("running on 1 of 2 nodes, 25 %") && text.contains("DAMAGED"), "{text}");
        assert_eq!(ClusterScrub::of(vec![silent], 1).state, "unknown");
    }
}
