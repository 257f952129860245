//! `make bench`: starts three nodes on loopback, puts load on them and prints what it costs beside what the machine can
//! do at best. Build it, and the server, in release.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures the real thing")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use holdfast_tests::bench::floor;
use holdfast_tests::bench::load::{self, Case, Kind, Target};
use holdfast_tests::bench::meter::{self, Usage};
use holdfast_tests::bench::report::{Cost, HEAD, Idle, Report, Row};
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use http::Method;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The load generator of Holdfast.
#[derive(Parser)]
struct Arguments {
    /// Seconds per case.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only cases whose name contains one of these (`put-4KiB`, `get`, `-32`).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Also write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Sign bodies (SHA-256 at both ends) instead of UNSIGNED-PAYLOAD.
    #[arg(long)]
    sign_body: bool,
    /// `x-holdfast-read` of every request: strong, eventual or session.
    #[arg(long)]
    read: Option<String>,
    /// `x-holdfast-ack` of every request: majority, leader or all.
    #[arg(long)]
    ack: Option<String>,
    /// Shard groups.
    #[arg(long, default_value_t = 4)]
    shards: u32,
    /// Environment of the servers, `NAME=VALUE`.
    #[arg(long = "env")]
    environment: Vec<String>,
    /// Leave out what moves 64 MiB objects.
    #[arg(long)]
    no_large: bool,
    /// Do not start with the floors.
    #[arg(long)]
    no_floors: bool,
}

fn cases(span: Duration) -> Vec<Case> {
    let case = |kind, size, clients, objects| Case { kind, size, clients, objects, span, operations: None };
    let mut all = Vec::new();
    for clients in [1, 32, 64] {
        all.push(case(Kind::Put, 4 * KIB, clients, 4000));
    }
    for kind in [Kind::Get, Kind::Head] {
        for clients in [1, 32, 64] {
            all.push(case(kind, 4 * KIB, clients, 4000));
        }
    }
    all.push(case(Kind::Mixed, 4 * KIB, 32, 4000));
    for (size, objects) in [(64 * KIB, 1000), (MIB, 200)] {
        for clients in [1, 32] {
            all.push(case(Kind::Put, size, clients, objects));
            all.push(case(Kind::Get, size, clients, objects));
        }
    }
    for clients in [1, 4] {
        all.push(case(Kind::Put, 64 * MIB, clients, 8));
        all.push(case(Kind::Get, 64 * MIB, clients, 8));
    }
    all.push(Case { operations: Some(128), span: span * 12, ..case(Kind::Put, 64 * MIB, 64, 64) });
    all.push(Case { operations: Some(50_000), span: span * 12, ..case(Kind::Create, KIB, 32, 50_000) });
    all.push(case(Kind::List, KIB, 1, 50_000));
    all
}

struct Bench {
    cluster: Cluster,
    target: Target,
    pids: Vec<u32>,
}

impl Bench {
    fn usage(&self) -> std::io::Result<Vec<Usage>> {
        self.pids.iter().map(|&pid| meter::read(pid)).collect()
    }

    /// Syncs of all nodes, if they count them.
    async fn syncs(&self) -> Option<f64> {
        let mut sum = None;
        for at in 0..self.pids.len() {
            for name in ["holdfast_log_syncs_total", "holdfast_blob_syncs_total"] {
                if let Ok(Some(count)) = self.cluster.metric(at, name).await {
                    sum = Some(sum.unwrap_or(0.0) + count);
                }
            }
        }
        sum
    }

    async fn run(&self, case: &Case) -> Result<Row, Box<dyn Error>> {
        let warm = Case { span: Duration::from_millis(500), operations: Some(200), ..case.clone() };
        if case.kind != Kind::Create && case.size < MIB {
            load::run(&self.target, &warm).await;
        }
        for &pid in &self.pids {
            meter::reset_peak(pid)?;
        }
        let (before, syncs) = (self.usage()?, self.syncs().await);
        let device = meter::device_written(self.cluster.dir());
        let outcome = load::run(&self.target, case).await;
        let after = self.usage()?;
        let syncs = self.syncs().await.zip(syncs).map(|(after, before)| after - before);
        let written = meter::device_written(self.cluster.dir()).zip(device).map(|(after, before)| after - before);
        Ok(Row::new(case, &outcome, &Cost { before, after, written, syncs }))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let environment = arguments.environment.iter().filter_map(|pair| pair.split_once('='));
    let options = Options {
        shards: arguments.shards,
        env: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..Options::default()
    };
    let chosen: Vec<Case> = cases(Duration::from_secs(arguments.seconds))
        .into_iter()
        .filter(|case| arguments.only.is_empty() || arguments.only.iter().any(|part| case.name().contains(part)))
        .filter(|case| !arguments.no_large || case.size < 64 * MIB)
        .collect();

    let mut cluster = Cluster::start_with(options).await?;
    let floors = match arguments.no_floors {
        true => None,
        false => Some(floor::measure(cluster.dir())?),
    };
    if let Some(floors) = &floors {
        println!("{floors}");
    }
    let largest = chosen.iter().map(|case| case.size).max().unwrap_or(0);
    let mut target = Target::new(cluster.gateways(), cluster.keys().clone(), "bench", largest);
    target.sign_body = arguments.sign_body;
    target.headers.extend(arguments.read.map(|mode| ("x-holdfast-read", mode)));
    target.headers.extend(arguments.ack.map(|mode| ("x-holdfast-ack", mode)));
    let pids = (0..cluster.len()).filter_map(|at| cluster.node(at).pid()).collect();
    let mut raw = Raw::new(&target.gateways[0], target.keys.clone(), Duration::from_secs(15));
    let created = raw.call(Call::bucket(Method::PUT, "bench")).await?;
    if !created.status.is_success() {
        return Err(format!("cannot create the bucket: {} {}", created.status, created.text()).into());
    }
    let bench = Bench { cluster, target, pids };

    let (before, span) = (bench.usage()?, Duration::from_secs(3));
    tokio::time::sleep(span).await;
    let idle = Idle::new(&before, &bench.usage()?, span);
    println!("{idle}\n{HEAD}");

    let (mut rows, mut filled) = (Vec::new(), Vec::new());
    for case in &chosen {
        let reads = matches!(case.kind, Kind::Get | Kind::Head | Kind::Mixed | Kind::List);
        if reads && !filled.contains(&case.size) {
            let outcome = load::fill(&bench.target, case.size, case.objects).await;
            if outcome.errors > 0 {
                println!("filling for {}: {} errors, {:?}", case.name(), outcome.errors, outcome.first_error);
            }
            filled.push(case.size);
        }
        if case.kind == Kind::Create {
            filled.push(case.size);
        }
        let row = bench.run(case).await?;
        println!("{row}");
        rows.push(row);
    }
    let wrong: u64 = rows.iter().map(|row| row.wrong).sum();
    if let (Some(path), Some(floors)) = (arguments.json, floors) {
        std::fs::write(path, serde_json::to_vec_pretty(&Report { floors, idle, rows })?)?;
    }
    if wrong > 0 {
        return Err(format!("{wrong} bodies with wrong bytes").into());
    }
    Ok(())
}
