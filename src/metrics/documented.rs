//! docs/metrics.md, the dashboard and the alerts are held to what is exported, and the runbooks to the alerts.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_gateway::metrics::GatewayMetrics;
use holdfast_gateway::router::RouterMetrics;

use super::*;
use crate::status::tests::healthy;

const METRICS: &str = include_str!("../../docs/metrics.md");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const ALERTS: &str = include_str!("../../observability/alerts.yaml");
const DASHBOARD: &str = include_str!("../../observability/dashboard.json");

/// What only a process with TLS exports; `tests/tests/e2e_tls.rs` reads it there.
const CERTIFICATES: &str = "holdfast_certificate_expiry_timestamp_seconds";

/// Type and help of every family, by name.
fn exported() -> BTreeMap<String, (String, String)> {
    let pages = [
        page("0", Some(Process::default()), Some(&Status::of(&healthy()))),
        nodes(&[]),
        router(&RouterMetrics::default()),
        holdfast_gateway::metrics::render(&GatewayMetrics::default()),
    ]
    .concat();
    let (mut help, mut found) = (String::new(), BTreeMap::new());
    for line in pages.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help).to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.insert(name.to_owned(), (kind.to_owned(), help.clone()));
        }
    }
    found
}

/// As [`exported`], by the documentation: `| name | type | labels | help |`.
fn documented() -> BTreeMap<String, (String, String)> {
    let rows = METRICS.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        let name = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), ((*cells.get(1)?).to_owned(), (*cells.get(3)?).to_owned())))
    });
    rows.collect()
}

#[test]
fn the_documentation_lists_what_is_exported() {
    let (exported, documented) = (exported(), documented());
    let row = |(name, (kind, help)): (&String, &(String, String))| format!("| `{name}` | {kind} | … | {help} |");
    let missing: Vec<_> = exported.iter().filter(|(name, it)| documented.get(*name) != Some(it)).map(row).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks these rows:\n{}", missing.join("\n"));
    let stale: Vec<_> = documented.keys().filter(|name| !exported.contains_key(*name)).collect();
    assert!(stale.is_empty(), "docs/metrics.md has rows of metrics that do not exist: {stale:?}");
}

/// Words that look like metrics.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("holdfast_") || word.starts_with("process_")).collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let exported = exported();
    for word in named(ALERTS).into_iter().chain(named(DASHBOARD)) {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        let histogram = family.is_some_and(|family| exported.get(family).is_some_and(|(kind, _)| kind == "histogram"));
        let known = histogram || exported.contains_key(word) || word == CERTIFICATES;
        assert!(known, "there is no metric {word}");
    }
    assert!(METRICS.contains(CERTIFICATES), "docs/metrics.md does not tell of certificates");
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 20));
}

#[test]
fn every_alert_has_its_runbook() {
    let alerts: Vec<_> = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10);
    let runbooks = OPERATIONS.split_once("\n## Runbooks\n").expect("there are runbooks").1;
    for alert in &alerts {
        let section = runbooks.split_once(&format!("\n### {alert}\n")).map(|(_, rest)| rest);
        let text = section.and_then(|rest| rest.split("\n### ").next()).unwrap_or_default().trim();
        assert!(text.len() > 80, "{alert} has no runbook");
        let anchor = format!("/blob/main/docs/operations.md#{}\n", alert.to_lowercase());
        assert!(ALERTS.contains(&anchor), "{alert} does not name its runbook");
    }
    let sections = runbooks.lines().filter_map(|line| line.strip_prefix("### "));
    assert!(sections.into_iter().all(|section| alerts.contains(&section)), "a runbook without an alert");
}
