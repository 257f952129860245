//! `holdfast verify`: checks a data directory that no process uses.

use std::process::ExitCode;
use std::sync::Arc;

use holdfast_replica::file::{Files, RealFiles};
use holdfast_replica::node::NodeConfig;
use holdfast_replica::verify::{Report, verify};
use holdfast_wire::seam::Seams;

use crate::cli::Flags;
use crate::config::key::Role;
use crate::config::{self, Config};
use crate::index;
use crate::lock::DataLock;
use crate::{AnyError, FAILED, MISUSED, complain, settings};

/// Checks and prints; 0 if the directory is sound, 1 if it is not, 2 if it cannot be looked at.
pub fn run(flags: Flags, json: bool) -> ExitCode {
    match check(flags) {
        Ok(report) => {
            print(&report, json);
            if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(error) => complain(MISUSED, &error),
    }
}

fn check(flags: Flags) -> Result<Report, AnyError> {
    let settings = settings(flags)?;
    let data = settings.get("data").map(config::text).unwrap_or_default();
    let data = std::path::PathBuf::from(data);
    if !data.join("log.salt").exists() {
        return Err(format!("{}: no data directory of a node", data.display()).into());
    }
    let _lock = DataLock::take(&RealFiles, &data)?;
    let config = Config::new(Role::Replica, &settings, &crate::read)?;
    let files: Arc<dyn Files> = Arc::new(RealFiles);
    let node = NodeConfig { name: config.name.clone(), data: data.clone(), ..NodeConfig::default() };
    let seams = Seams::real();
    let engine = index::open_as_it_is(config.index.as_ref(), config.cache_bytes, &node, &*seams.random, &files)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(verify(files, &data, engine, seams.clock)))
}

fn print(report: &Report, json: bool) {
    let Report { problems, groups, entries, blobs, bytes, orphans, states } = report;
    if json {
        let states = states.iter().map(|state| {
            serde_json::json!({
                "group": state.group.0, "applied": state.applied, "hash": format!("{:016x}", state.hash),
            })
        });
        let states: Vec<_> = states.collect();
        let object = serde_json::json!({
            "sound": problems.is_empty(), "problems": problems, "groups": groups, "entries": entries,
            "blobs": blobs, "bytes": bytes, "orphans": orphans, "states": states,
        });
        println!("{object:#}");
        return;
    }
    for problem in problems {
        println!("{problem}");
    }
    let verdict = if problems.is_empty() { "sound" } else { "NOT SOUND" };
    println!("{verdict}: {groups} groups, {entries} log entries, {blobs} blobs of {bytes} bytes, {orphans} orphans");
}
