//! The workload and the checkers together, against an endpoint that is known to be right, or wrong in one way.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it uses real sockets")]

use std::time::{Duration, Instant};

use holdfast_tests::check::{Report, Verdict};
use holdfast_tests::client::sign::Keys;
use holdfast_tests::history::pretend::{CAUGHT, Fault, Pretend};
use holdfast_tests::history::workload::{Plan, Workload};

async fn judge(fault: Fault, large: bool, operations: u64) -> Report {
    let endpoint = Pretend::start(fault, 7).await.expect("loopback");
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
    let mut finished = workload.stop().await;
    assert_eq!(finished.scan().await, Vec::<String>::new());
    println!("{fault:?}: {}", finished.summary());
    Report::of(&finished.history)
}

#[tokio::test]
async fn what_is_right_passes() {
    let report = judge(Fault::None, true, 2000).await;
    assert!(report.passed(), "{report}");
}

#[tokio::test]
async fn lost_answers_are_no_violation() {
    let report = judge(Fault::NoAnswer, false, 3000).await;
    assert!(report.passed(), "{report}");
}

#[tokio::test]
async fn every_planted_fault_is_caught() {
    for fault in CAUGHT {
        let report = judge(fault, false, 1500).await;
        let caught: Vec<_> = report
            .0
            .iter()
            .filter(|(_, verdict)| matches!(verdict, Verdict::Violated(_)))
            .map(|(name, _)| *name)
            .collect();
        println!("{fault:?} is caught by {caught:?}");
        assert!(!caught.is_empty(), "{fault:?}: {report}");
    }
}
