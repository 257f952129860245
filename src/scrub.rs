//! Waiting for the scrub of every node, with a bar that says how far they are.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use crate::admin::scrub::{ClusterScrub, NodeScrub};
use crate::backup::progress;
use crate::client::{AdminClient, ClientError};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// When each node's last finished scrub began, Unix milliseconds.
pub type Finished = BTreeMap<String, u64>;

/// What is finished already.
pub async fn finished(client: &AdminClient) -> Result<Finished, ClientError> {
    let cluster: ClusterScrub = client.get("/v1/scrub").await?;
    Ok(cluster.nodes.into_iter().filter_map(|node| Some((node.node, node.last?.started_ms))).collect())
}

/// Waits until no node that answers is at it; of those in `before` (all that answer, if a scrub was begun) until they
/// have finished another one than that.
pub async fn wait(client: &AdminClient, before: Option<&Finished>) -> Result<ClusterScrub, ClientError> {
    let bar = progress::bar("scrub", 0);
    loop {
        let cluster: ClusterScrub = client.get("/v1/scrub").await?;
        let (done, total) = progress_of(&cluster.nodes, before);
        bar.set_length(total.max(done));
        bar.set_position(done);
        if cluster.nodes.iter().all(|node| is_over(node, before)) {
            bar.finish_and_clear();
            return Ok(cluster);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_over(node: &NodeScrub, before: Option<&Finished>) -> bool {
    let another = match before {
        None => true,
        Some(before) => node.last.as_ref().map(|last| last.started_ms) != before.get(&node.node).copied(),
    };
    !node.reached || (node.running.is_none() && another)
}

/// Bytes read, and bytes there were the last time: how many there are now, the scrub itself learns on its way.
fn progress_of(nodes: &[NodeScrub], before: Option<&Finished>) -> (u64, u64) {
    let done = nodes.iter().map(|node| match (&node.running, &node.last) {
        (Some(running), _) => running.bytes,
        (None, Some(last)) if is_over(node, before) => last.bytes,
        (None, _) => 0,
    });
    let total = nodes.iter().map(|node| node.last.as_ref().map_or(0, |last| last.bytes));
    (done.sum(), total.sum())
}

#[cfg(test)]
mod tests {
    use holdfast_wire::scrub::ScrubReport;

    use super::*;
    use crate::admin::scrub::Findings;

    fn findings(started_ms: u64, bytes: u64) -> Option<Findings> {
        let report = ScrubReport { started_ms, blobs: 1, bytes, ..ScrubReport::default() };
        Some(Findings::from(report))
    }

    #[test]
    fn a_scrub_is_over_when_another_one_than_before_has_ended() {
        let node = |running, last| NodeScrub { node: "n1".to_owned(), reached: true, running, last };
        let before = Finished::from([("n1".to_owned(), 5)]);
        for (running, last, over) in
            [(None, findings(5, 9), false), (findings(7, 4), findings(5, 9), false), (None, findings(7, 9), true)]
        {
            let node = node(running, last);
            assert_eq!(is_over(&node, Some(&before)), over, "{node:?}");
        }
        assert!(is_over(&node(None, None), None) && !is_over(&node(findings(1, 0), None), None));
        assert!(!is_over(&node(None, None), Some(&Finished::new())), "begun, and not heard of yet");
        assert!(
            is_over(&NodeScrub { reached: false, ..node(findings(1, 0), None) }, None),
            "nobody waits for the dead"
        );
        assert_eq!(progress_of(&[node(findings(7, 4), findings(5, 9))], Some(&before)), (4, 9));
    }
}
