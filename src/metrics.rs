//! Metrics as Prometheus reads them (text exposition format 0.0.4).

mod process;

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;

use holdfast_gateway::router::{Cause, RouterMetrics};
use holdfast_replica::node::NodeMetrics;
use holdfast_wire::usage::{Quota, Usage};

pub use self::process::Process;
use crate::status::{Health, Status};

/// A source of finished lines: the node's own, the gateway's own.
pub type Source = Box<dyn Fn() -> String + Send + Sync>;

/// Lines of one metric each.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a string");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(&value.to_string()))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "{name}{labels} {value}").expect("writing to a string");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Everything that this process can tell.
pub fn page(version: &str, process: Option<Process>, status: Option<&Status>) -> String {
    let mut page = Page(String::new());
    page.family("holdfast_build_info", "gauge", "The version that runs.");
    page.sample("holdfast_build_info", &[("version", &version)], 1);
    if let Some(process) = process {
        page.one("process_cpu_seconds_total", "counter", "CPU time used.", process.cpu_seconds);
        page.one("process_resident_memory_bytes", "gauge", "Resident memory.", process.resident_bytes);
        page.one("process_threads", "gauge", "Threads.", process.threads);
        page.one("process_start_time_seconds", "gauge", "When the process started, Unix time.", process.started);
        page.one("process_open_fds", "gauge", "Open file descriptors.", process.open_fds);
        page.one("process_max_fds", "gauge", "The most file descriptors that may be open.", process.max_fds);
    }
    if let Some(status) = status {
        cluster(&mut page, status);
    }
    page.0
}

fn cluster(page: &mut Page, status: &Status) {
    let health = match status.health {
        Health::Ok => 0,
        Health::Degraded => 1,
        Health::Unavailable => 2,
    };
    page.one(
        "holdfast_cluster_health",
        "gauge",
        "0: ok, 1: degraded, 2: unavailable, as this process sees it.",
        health,
    );
    page.family("holdfast_node_alive", "gauge", "Whether the node was heard in the last 1.5 seconds.");
    for node in &status.nodes {
        page.sample("holdfast_node_alive", &[("node", &node.name)], u8::from(node.alive));
    }
    let loads = || status.nodes.iter().filter_map(|node| Some((&node.name, node.load.as_ref()?)));
    page.family("holdfast_node_disk_free_bytes", "gauge", "Free bytes of the file system with the node's data.");
    for (name, load) in loads() {
        page.sample("holdfast_node_disk_free_bytes", &[("node", name)], load.disk_free_bytes);
    }
    page.family("holdfast_node_disk_size_bytes", "gauge", "Size of the file system with the node's data.");
    for (name, load) in loads() {
        page.sample("holdfast_node_disk_size_bytes", &[("node", name)], load.disk_total_bytes);
    }
    page.family("holdfast_node_resident_memory_bytes", "gauge", "Resident memory of the node's process.");
    for (name, load) in loads() {
        page.sample("holdfast_node_resident_memory_bytes", &[("node", name)], load.memory_bytes);
    }
    page.family("holdfast_node_ready", "gauge", "Whether the node is heard and says that it serves.");
    for node in &status.nodes {
        let ready = node.alive && node.not_ready.is_none();
        page.sample("holdfast_node_ready", &[("node", &node.name)], u8::from(ready));
    }
    page.family("holdfast_node_in_flight", "gauge", "Requests in flight on the node.");
    for (name, load) in loads() {
        page.sample("holdfast_node_in_flight", &[("node", name)], load.in_flight);
    }
    page.family("holdfast_group_has_leader", "gauge", "Whether a live node leads the group.");
    for group in &status.groups {
        page.sample("holdfast_group_has_leader", &[("group", &group.id)], u8::from(group.leader.is_some()));
    }
    page.family("holdfast_group_term", "gauge", "Raft term of the group.");
    for group in &status.groups {
        page.sample("holdfast_group_term", &[("group", &group.id)], group.term);
    }
    let name =
        |id: u64| status.nodes.iter().find(|node| node.id == id).map_or(id.to_string(), |node| node.name.clone());
    let members = || status.groups.iter().flat_map(|group| group.members.iter().map(move |member| (group.id, member)));
    page.family("holdfast_group_applied_index", "gauge", "Log index that the node has applied in the group.");
    for (group, member) in members() {
        page.sample("holdfast_group_applied_index", &[("group", &group), ("node", &name(member.node))], member.applied);
    }
    page.family("holdfast_group_committed_index", "gauge", "Log index that the node knows as committed in the group.");
    for (group, member) in members() {
        page.sample(
            "holdfast_group_committed_index",
            &[("group", &group), ("node", &name(member.node))],
            member.committed,
        );
    }
    page.family("holdfast_group_leader", "gauge", "Whether the node leads the group.");
    for (group, member) in members() {
        let leads = status.groups.iter().any(|it| it.id == group && it.leader == Some(member.node));
        page.sample("holdfast_group_leader", &[("group", &group), ("node", &name(member.node))], u8::from(leads));
    }
    page.family("holdfast_group_lag_entries", "gauge", "Committed entries that the node has yet to apply.");
    for group in &status.groups {
        let newest = group.members.iter().map(|member| member.committed).max().unwrap_or_default();
        for member in &group.members {
            page.sample(
                "holdfast_group_lag_entries",
                &[("group", &group.id), ("node", &name(member.node))],
                newest.saturating_sub(member.applied),
            );
        }
    }
    page.family("holdfast_group_missing_blobs", "gauge", "Blobs that the node has yet to fetch.");
    for (group, member) in members() {
        page.sample(
            "holdfast_group_missing_blobs",
            &[("group", &group), ("node", &name(member.node))],
            member.missing_blobs,
        );
    }
}

/// What the nodes of this process count, by name.
pub fn nodes(counted: &[(String, NodeMetrics)]) -> String {
    type Of = fn(&NodeMetrics) -> u64;
    type Held = fn(&Usage) -> u64;
    type Bound = fn(&Quota) -> Option<u64>;
    let metrics: [(&str, &str, &str, Of); 34] = [
        ("holdfast_log_syncs_total", "counter", "Syncs of the log.", |m| m.log.syncs),
        ("holdfast_log_written_bytes_total", "counter", "Bytes written to the log.", |m| m.log.bytes_written),
        ("holdfast_log_entries_total", "counter", "Entries written to the log.", |m| m.log.entries),
        ("holdfast_log_retained_bytes", "gauge", "Bytes of the log's segments.", |m| m.log.retained_bytes),
        ("holdfast_blob_syncs_total", "counter", "Syncs of blobs and their directories.", |m| m.blobs.syncs),
        ("holdfast_blob_written_bytes_total", "counter", "Bytes written to blobs.", |m| m.blobs.bytes_written),
        ("holdfast_blob_read_bytes_total", "counter", "Verified bytes read from blobs.", |m| m.blobs.bytes_read),
        ("holdfast_blob_finished_total", "counter", "Blobs finished.", |m| m.blobs.finished),
        ("holdfast_blob_discarded_total", "counter", "Blobs begun and not kept.", |m| m.blobs.discarded),
        ("holdfast_blob_corrupt_blocks_total", "counter", "Blocks found bad.", |m| m.blobs.corrupt_blocks),
        ("holdfast_blob_repaired_total", "counter", "Bad copies replaced by good ones.", |m| m.blobs.repaired),
        ("holdfast_blob_refused_total", "counter", "Blobs refused for lack of space.", |m| m.blobs.refused),
        ("holdfast_blob_followers_dropped_total", "counter", "Followers dropped from uploads.", |m| {
            m.blobs.followers_dropped
        }),
        ("holdfast_blob_missing", "gauge", "Blobs that are waited for.", |m| m.missing_blobs),
        ("holdfast_lifecycle_objects_total", "counter", "Objects that lifecycle rules expired.", |m| {
            m.lifecycle.objects
        }),
        ("holdfast_lifecycle_versions_total", "counter", "Noncurrent versions that lifecycle rules removed.", |m| {
            m.lifecycle.versions
        }),
        ("holdfast_lifecycle_markers_total", "counter", "Delete markers that lifecycle rules removed.", |m| {
            m.lifecycle.markers
        }),
        ("holdfast_lifecycle_uploads_total", "counter", "Uploads that lifecycle rules aborted.", |m| {
            m.lifecycle.uploads
        }),
        ("holdfast_lifecycle_last_seconds", "gauge", "When something was due last, Unix time; 0: never.", |m| {
            m.lifecycle.last_ms / 1000
        }),
        ("holdfast_blob_fetched_total", "counter", "Blobs fetched from other nodes.", |m| m.repaired_blobs),
        ("holdfast_undelete_objects", "gauge", "Objects that are gone and can be brought back.", |m| m.kept.objects),
        ("holdfast_undelete_bytes", "gauge", "Bytes that the node keeps for that.", |m| m.kept.bytes),
        ("holdfast_undelete_forgotten_total", "counter", "Objects let go of, in groups that the node leads.", |m| {
            m.forgotten
        }),
        ("holdfast_collect_blobs_total", "counter", "Blobs reclaimed that nothing named any more.", |m| {
            m.collected_blobs
        }),
        ("holdfast_collect_orphans_total", "counter", "Blobs reclaimed that nothing ever named.", |m| {
            m.collected_orphans
        }),
        (
            "holdfast_disk_slow_microseconds",
            "gauge",
            "99th percentile of a log sync while the disk is slow, or 0.",
            |m| m.slow_disk_us,
        ),
        ("holdfast_disk_slow_handovers_total", "counter", "Leaderships handed over because the disk was slow.", |m| {
            m.handed_over
        }),
        ("holdfast_scrub_running", "gauge", "Whether a scrub is under way.", |m| u64::from(m.scrub.running.is_some())),
        ("holdfast_scrub_last_finished_seconds", "gauge", "When the last scrub ended, Unix time; 0: never.", |m| {
            m.scrub.last.map_or(0, |last| last.finished_ms / 1000)
        }),
        ("holdfast_scrub_last_corrupt", "gauge", "Bad copies that the last scrub found.", |m| {
            m.scrub.last.map_or(0, |last| last.corrupt)
        }),
        ("holdfast_scrub_last_damaged", "gauge", "Damaged logs and index files that the last scrub found.", |m| {
            m.scrub.last.map_or(0, |last| last.log_damaged + last.index_damaged)
        }),
        ("holdfast_scrub_last_bytes", "gauge", "Bytes that the last scrub read.", |m| {
            m.scrub.last.map_or(0, |last| last.bytes)
        }),
        ("holdfast_index_disk_bytes", "gauge", "Bytes of the index on disk.", |m| m.engine.disk_bytes),
        ("holdfast_index_memory_bytes", "gauge", "Bytes of the index buffered in memory.", |m| m.engine.memory_bytes),
    ];
    let held: [(&str, &str, Held); 5] = [
        ("holdfast_bucket_objects", "Current objects, in the shards that the node leads.", |usage| usage.objects),
        ("holdfast_bucket_versions", "Older versions and delete markers, likewise.", |usage| usage.versions),
        ("holdfast_bucket_bytes", "Bytes of all versions, likewise.", |usage| usage.bytes),
        ("holdfast_bucket_uploads", "Open uploads, likewise.", |usage| usage.uploads),
        ("holdfast_bucket_upload_bytes", "Bytes of the parts of open uploads, likewise.", |usage| usage.part_bytes),
    ];
    let quotas: [(&str, &str, Bound); 2] = [
        ("holdfast_bucket_quota_bytes", "Bytes that the bucket may hold, if that is bounded.", |quota| quota.bytes),
        ("holdfast_bucket_quota_objects", "Objects and versions that it may hold, likewise.", |quota| quota.objects),
    ];
    let mut page = Page(String::new());
    for (name, help, of) in held {
        page.family(name, "gauge", help);
        for (node, counted) in counted {
            for (bucket, usage) in &counted.buckets.held {
                page.sample(name, &[("node", node), ("bucket", bucket)], of(usage));
            }
        }
    }
    for (name, help, of) in quotas {
        page.family(name, "gauge", help);
        for (_, counted) in counted {
            for (bucket, quota) in &counted.buckets.quotas {
                if let Some(bound) = of(quota) {
                    page.sample(name, &[("bucket", bucket)], bound);
                }
            }
        }
    }
    for (name, kind, help, of) in metrics {
        page.family(name, kind, help);
        for (node, counted) in counted {
            page.sample(name, &[("node", node)], of(counted));
        }
    }
    const SYNC: &str = "holdfast_log_sync_duration_seconds";
    page.family(SYNC, "histogram", "A write of the log and its fdatasync.");
    for (node, counted) in counted {
        counted.log.took.render(&mut page.0, SYNC, &format!("node=\"{}\"", escape(node)));
    }
    page.0
}

/// What a router counts.
pub fn router(counted: &RouterMetrics) -> String {
    let mut page = Page(String::new());
    let counters = [
        ("holdfast_router_writes_total", "Writes routed, uploads not counted.", &counted.writes),
        ("holdfast_router_uploads_total", "Uploads of large bodies routed.", &counted.uploads),
        ("holdfast_router_reads_total", "Reads of one replica.", &counted.reads),
        ("holdfast_router_retries_total", "Attempts after a failed one.", &counted.retries),
        ("holdfast_router_hedges_total", "Reads sent to a second replica because the first was slow.", &counted.hedges),
        ("holdfast_router_hedges_won_total", "Hedges that answered first.", &counted.hedges_won),
        ("holdfast_router_continuations_total", "Objects continued from another replica.", &counted.continuations),
        ("holdfast_router_unknown_total", "Writes whose outcome stayed unknown.", &counted.unknown),
    ];
    for (name, help, counter) in counters {
        page.one(name, "counter", help, counter.load(Ordering::Relaxed));
    }
    page.family("holdfast_router_slow_downs_total", "counter", "Requests answered with 503, by cause.");
    for cause in Cause::ALL {
        page.sample("holdfast_router_slow_downs_total", &[("cause", &cause.as_str())], counted.slow_downs(cause));
    }
    page.0
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::healthy;

    #[test]
    fn every_sample_has_its_family_and_every_family_its_samples_together() {
        let process = Process { cpu_seconds: 1.5, ..Process::default() };
        let page = page("0.1.0", Some(process), Some(&Status::of(&healthy())));
        let mut family = "";
        for line in page.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => family = rest.split(' ').next().unwrap(),
                None if line.starts_with('#') => {}
                None => assert_eq!(line.split(['{', ' ']).next().unwrap(), family, "{line}"),
            }
        }
        for told in [
            "holdfast_build_info{version=\"0.1.0\"} 1",
            "process_cpu_seconds_total 1.5",
            "holdfast_cluster_health 0",
            "holdfast_node_alive{node=\"n3\"} 1",
            "holdfast_group_applied_index{group=\"1\",node=\"n2\"} 10",
        ] {
            assert!(page.lines().any(|line| line == told), "{told}:\n{page}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut page = Page(String::new());
        page.sample("x", &[("a", &"q\"b\\s\nl")], 1);
        assert_eq!(page.0, "x{a=\"q\\\"b\\\\s\\nl\"} 1\n");
    }
}
