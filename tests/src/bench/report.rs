//! Figures of one case, and the table of all.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::bench::floor::Floors;
use crate::bench::load::{Case, Outcome};
use crate::bench::meter::Usage;

/// What the server processes did during a case.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Counters before, per process.
    pub before: Vec<Usage>,
    /// Counters after.
    pub after: Vec<Usage>,
    /// Bytes that reached the block device meanwhile, from whomever.
    pub written: Option<u64>,
    /// Log and blob syncs of all nodes, if they are counted.
    pub syncs: Option<f64>,
}

/// Figures of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `put-4KiB-32`
    pub case: String,
    /// Operations per second.
    pub ops_per_s: f64,
    /// MiB of objects per second.
    pub mib_per_s: f64,
    /// Keys listed per second.
    pub keys_per_s: f64,
    /// Median, ms.
    pub p50_ms: f64,
    /// 99th percentile, ms.
    pub p99_ms: f64,
    /// CPU of each server process, ms per operation.
    pub cpu_ms_per_op: Vec<f64>,
    /// CPU of all server processes, µs per operation.
    pub cpu_us_per_op: f64,
    /// CPU of all server processes, ms per MiB.
    pub cpu_ms_per_mib: Option<f64>,
    /// Syncs per operation and node.
    pub syncs_per_op_node: Option<f64>,
    /// Bytes that reached the disk (all nodes, and whoever else writes to it) per byte of objects.
    pub written_per_byte: Option<f64>,
    /// Highest resident memory of any process, MiB.
    pub peak_rss_mib: f64,
    /// Operations that failed.
    pub errors: u64,
    /// Bodies with wrong bytes.
    pub wrong: u64,
    /// Why the first one failed.
    pub first_error: Option<String>,
}

impl Row {
    /// Puts load and cost together.
    pub fn new(case: &Case, outcome: &Outcome, cost: &Cost) -> Self {
        let (ops, seconds) = (outcome.operations.max(1) as f64, outcome.elapsed.as_secs_f64().max(1e-9));
        let mib = outcome.bytes as f64 / f64::from(1 << 20);
        let pairs = || cost.before.iter().zip(&cost.after);
        let cpu: Vec<f64> = pairs().map(|(before, after)| after.cpu_ms.saturating_sub(before.cpu_ms) as f64).collect();
        let cpu_ms: f64 = cpu.iter().sum();
        let writes = outcome.bytes > 0 && !case.name().starts_with("get");
        Self {
            case: case.name(),
            ops_per_s: outcome.operations as f64 / seconds,
            mib_per_s: mib / seconds,
            keys_per_s: outcome.keys as f64 / seconds,
            p50_ms: outcome.latency.value_at_quantile(0.5) as f64 / 1e3,
            p99_ms: outcome.latency.value_at_quantile(0.99) as f64 / 1e3,
            cpu_ms_per_op: cpu.iter().map(|ms| ms / ops).collect(),
            cpu_us_per_op: cpu_ms * 1e3 / ops,
            cpu_ms_per_mib: (mib > 0.0).then(|| cpu_ms / mib),
            syncs_per_op_node: cost.syncs.map(|syncs| syncs / ops / cost.after.len().max(1) as f64),
            written_per_byte: cost.written.filter(|_| writes).map(|written| written as f64 / outcome.bytes as f64),
            peak_rss_mib: cost.after.iter().map(|usage| usage.peak_rss).max().unwrap_or(0) as f64 / f64::from(1 << 20),
            errors: outcome.errors,
            wrong: outcome.wrong,
            first_error: outcome.first_error.clone(),
        }
    }
}

/// The cluster at rest.
#[derive(Clone, Debug, Serialize)]
pub struct Idle {
    /// Resident memory of each process, MiB.
    pub rss_mib: Vec<f64>,
    /// CPU of each, percent of one core.
    pub cpu_percent: Vec<f64>,
}

impl Idle {
    /// From counters taken `span` apart.
    pub fn new(before: &[Usage], after: &[Usage], span: Duration) -> Self {
        let share = |(before, after): (&Usage, &Usage)| {
            after.cpu_ms.saturating_sub(before.cpu_ms) as f64 / span.as_secs_f64() / 10.0
        };
        Self {
            rss_mib: after.iter().map(|usage| usage.rss as f64 / f64::from(1 << 20)).collect(),
            cpu_percent: before.iter().zip(after).map(share).collect(),
        }
    }
}

/// Everything of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine's floors.
    pub floors: Floors,
    /// At rest.
    pub idle: Idle,
    /// Case by case.
    pub rows: Vec<Row>,
}

/// The head of the table of rows.
pub const HEAD: &str = "case                ops/s    MiB/s    p50 ms    p99 ms  CPU µs/op  ms/MiB  sync/op/node  written/B  RSS MiB  errors wrong";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let maybe = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        write!(
            f,
            "{:16} {:8.0} {:8.1} {:9.2} {:9.2} {:10.0} {:>7} {:>13} {:>10} {:8.0} {:7} {:5}",
            self.case,
            self.ops_per_s,
            self.mib_per_s,
            self.p50_ms,
            self.p99_ms,
            self.cpu_us_per_op,
            maybe(self.cpu_ms_per_mib),
            maybe(self.syncs_per_op_node),
            maybe(self.written_per_byte),
            self.peak_rss_mib,
            self.errors,
            self.wrong,
        )?;
        if self.keys_per_s > 0.0 {
            write!(f, "  {:.0} keys/s", self.keys_per_s)?;
        }
        match &self.first_error {
            Some(why) => write!(f, "  first error: {}", why.chars().take(200).collect::<String>()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Floors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "floors: fdatasync/s of 4 KiB {:.0} growing, {:.0} in place (p50 {:.0} µs; three at once {:.0} µs)",
            self.append_syncs_per_s, self.overwrite_syncs_per_s, self.overwrite_sync_p50_us, self.three_syncs_p50_us
        )?;
        write!(
            f,
            "        GB/s: MD5 {:.2}, SHA-256 {:.2}, CRC-64/NVME {:.2}, loopback {:.2}",
            self.md5_gb_per_s, self.sha256_gb_per_s, self.crc64nvme_gb_per_s, self.loopback_gb_per_s
        )
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f64]| values.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(", ");
        write!(f, "idle:   RSS {} MiB; CPU {} % of a core", list(&self.rss_mib), list(&self.cpu_percent))
    }
}
