//! The workload and the checkers together, against an endpoint that is known to be right, or wrong in one way.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it uses real sockets")]

use std::time::{Duration, Instant};

use holdfast_tests::check::{Report, Verdict};
use holdfast_tests::client::sign::Keys;
use holdfast_tests::history::pretend::{CAUGHT, Fault, Pretend};
use holdfast_tests::history::workload::{Finished, Plan, Workload};

async fn run(endpoint: &Pretend, large: bool, operations: u64) -> Finished {
    let keys = Keys { access: "a".into(), secret: "s".into() };
    let mut plan = Plan::new(vec![endpoint.authority.clone()], keys, "bucket");
    plan.large = large;
    plan.versions = None;
    plan.think = Duration::ZERO;
    plan.generation = 1000;
    let workload = Workload::start(plan);
    let deadline = Instant::now() + Duration::from_secs(60);
    while workload.operations() < operations && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    workload.stop().await
}

async fn judge(mut finished: Finished) -> Report {
    let unread = finished.scan().await;
    println!("{}", finished.summary());
    let mut report = Report::of(&finished.history);
    report.and_answers(&finished.statuses, finished.history.keys() as u64, &unread);
    report
}

async fn report(fault: Fault, large: bool, operations: u64) -> Report {
    let endpoint = Pretend::start(fault, 7).await.expect("loopback");
    judge(run(&endpoint, large, operations).await).await
}

fn violated(report: &Report) -> Vec<&'static str> {
    let violated = report.0.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Violated(_)));
    violated.map(|(name, _)| *name).collect()
}

#[tokio::test]
async fn what_is_right_passes() {
    let report = report(Fault::None, true, 2000).await;
    assert!(report.passed(), "{report}");
}

#[tokio::test]
async fn lost_answers_are_no_violation() {
    let report = report(Fault::NoAnswer, false, 3000).await;
    assert!(report.passed(), "{report}");
}

#[tokio::test]
async fn every_planted_fault_is_caught() {
    for fault in CAUGHT {
        let report = report(fault, false, 1500).await;
        let caught = violated(&report);
        println!("{fault:?} is caught by {caught:?}");
        assert!(!caught.is_empty(), "{fault:?}: {report}");
    }
}

#[tokio::test]
async fn what_only_the_scan_is_answered_counts() {
    for fault in [Fault::InternalError, Fault::LostBucket] {
        let endpoint = Pretend::start(Fault::None, 7).await.expect("loopback");
        let finished = run(&endpoint, false, 500).await;
        endpoint.turn_to(fault);
        let report = judge(finished).await;
        assert_eq!(violated(&report), ["C9 availability"], "{fault:?}: {report}");
    }
}
