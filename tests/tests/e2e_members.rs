//! Nodes that come, go, return late and return empty, under load.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, Instant};

use holdfast_tests::bench::load::{self, Case, Kind, Target};
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::storm::{Storm, rounds};
use holdfast_tests::wait;
use http::Method;

type Test = Result<(), Failure>;

/// How long a change of members may take.
const CHANGE: Duration = Duration::from_secs(60);

/// Waits until each group has three voters, the node called `present` among them and no node with id `absent`; how many
/// groups these are.
async fn voters(cluster: &Cluster, through: usize, present: &str, absent: u64) -> Result<u64, Failure> {
    let probe = || async {
        let status = cluster.status(through).await.map_err(|error| error.to_string())?;
        let id = status.nodes.iter().find(|node| node.name == present && node.id != absent).map(|node| node.id);
        let id = id.ok_or_else(|| format!("no {present} with a new id: {:?}", status.nodes))?;
        match status
            .groups
            .iter()
            .find(|g| g.voters.len() != 3 || !g.voters.contains(&id) || g.voters.contains(&absent))
        {
            None => Ok(status.groups.len() as u64),
            Some(group) => Err(format!("group {} has voters {:?}; {present} is {id}", group.id, group.voters)),
        }
    };
    Ok(wait::until("the new voters", CHANGE, probe).await?)
}

async fn id_of(cluster: &Cluster, through: usize, name: &str) -> Result<u64, Failure> {
    let status = cluster.status(through).await?;
    let node = status.nodes.iter().find(|node| node.name == name);
    node.map(|node| node.id).ok_or_else(|| Failure::new(format!("no node {name}: {:?}", status.nodes)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_joins_and_an_old_one_leaves() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let storm = Storm::start(cluster, 4, |plan| plan.seed = 11).await?;
        let old = id_of(cluster, 1, "n1").await?;
        cluster.add("n4").await?;
        storm.goes_on(Instant::now(), 200).await?;
        cluster.remove("n1", 1).await?;
        let changed = voters(cluster, 1, "n4", old).await?;
        fault::counted("30", "a node replaced under load", changed, "groups with another member")?;
        cluster.node(0).kill();
        storm.goes_on(Instant::now(), 200).await?;
        // Any one of the new three may die now.
        let killed = Instant::now();
        cluster.node(1).kill();
        storm.goes_on(killed + Duration::from_millis(100), 200).await?;
        cluster.node(1).start()?;
        cluster.node_ready(1).await?;
        storm.judge(cluster).await
    })
    .await;
}

/// What the chart's Jobs and the kubelet do when a StatefulSet of five becomes one of three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_stateful_set_is_drained_first_and_forgotten_afterwards() {
    let options = Options { series: Some("holdfast"), ..Options::default() };
    on_cluster(options, async |cluster| -> Test {
        for name in ["holdfast-3", "holdfast-4"] {
            cluster.add(name).await?;
        }
        cluster.ready().await?;
        let (storm, five) =
            (Storm::start(cluster, 4, |plan| plan.seed = 13).await?, cluster.status(0).await?.nodes.len());
        // Too few for three copies, and removing what was not drained: refused, and nothing has changed.
        let (code, said) = cluster.holdfast(0, &["cluster", "fit", "2"]).await?;
        assert!(code == Some(1) && said.contains("cannot keep 3 copies"), "{code:?} {said}");
        let (code, said) = cluster.holdfast(0, &["cluster", "fit", "3", "--remove"]).await?;
        assert!(code == Some(1) && said.contains("`holdfast cluster fit 3` comes first"), "{code:?} {said}");

        let (code, said) = cluster.holdfast(0, &["cluster", "fit", "3"]).await?;
        assert_eq!(code, Some(0), "{said}");
        for name in ["holdfast-3 holds nothing any more", "holdfast-4 holds nothing any more"] {
            assert!(said.contains(name), "{said}");
        }
        let asked = Instant::now();
        for at in [4, 3] {
            let (code, said) =
                cluster.holdfast(at, &["cluster", "drained", "--wait", &format!("holdfast-{at}")]).await?;
            assert_eq!(code, Some(0), "preStop: {said}");
            let ended = cluster.node(at).terminate(Duration::from_secs(40)).await?;
            assert_eq!(ended.code(), Some(0));
        }
        storm.goes_on(asked, 100).await?;
        let (code, said) = cluster.holdfast(0, &["cluster", "fit", "3", "--remove"]).await?;
        assert_eq!(code, Some(0), "{said}");
        let status = cluster.status(0).await?;
        let names: Vec<_> = status.nodes.iter().map(|node| &node.name[..]).collect();
        assert_eq!(names, ["holdfast-0", "holdfast-1", "holdfast-2"]);
        fault::counted("30", "nodes drained under load", (five - names.len()) as u64, "nodes that left")?;
        cluster.ready().await?;
        storm.judge(cluster).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_comes_back_as_another() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let storm = Storm::start(cluster, 4, |plan| plan.seed = 12).await?;
        let old = id_of(cluster, 0, "n3").await?;
        cluster.node(2).kill();
        cluster.node(2).wipe()?;
        storm.goes_on(Instant::now(), 200).await?;
        cluster.node(2).start()?;
        let changed = voters(cluster, 0, "n3", old).await?;
        fault::counted("26, 30", "a node wiped under load", changed, "groups with another member")?;
        cluster.ready().await?;
        // It is a full member: another one may die.
        let killed = Instant::now();
        cluster.node(0).kill();
        storm.goes_on(killed + Duration::from_millis(100), 200).await?;
        cluster.node(0).start()?;
        cluster.ready().await?;
        storm.judge(cluster).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_missed_ten_thousand_writes_catches_up() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let mut raw = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
        raw.call(Call::bucket(Method::PUT, "late")).await?;
        cluster.node(2).kill();
        let gateways = cluster.gateways()[..2].to_vec();
        let target = Target::new(gateways.clone(), cluster.keys().clone(), "late", 100_000);
        let case = |kind, size, objects, operations| Case {
            kind,
            size,
            clients: 32,
            objects,
            span: Duration::from_secs(180),
            operations: Some(operations),
        };
        let missed = load::run(&target, &case(Kind::Create, 512, 10_000, 10_000)).await;
        assert_eq!((missed.operations, missed.errors), (10_000, 0), "{:?}", missed.first_error);
        let missed = load::run(&target, &case(Kind::Create, 100_000, 100, 100)).await;
        assert_eq!((missed.operations, missed.errors), (100, 0), "{:?}", missed.first_error);

        // Writes go on while it catches up.
        let more = tokio::spawn({
            let (target, case) = (target.clone(), case(Kind::Put, 512, 10_000, 3_000));
            async move { load::run(&target, &case).await }
        });
        cluster.node(2).start()?;
        cluster.node_ready(2).await?;
        let more = more.await?;
        assert_eq!(more.errors, 0, "{:?}", more.first_error);
        redundant(cluster, CHANGE).await?;

        // Now it is one of the majority that is left, and must have everything.
        cluster.node(0).kill();
        let left = Target::new(cluster.gateways()[1..].to_vec(), cluster.keys().clone(), "late", 100_000);
        for (size, objects, reads) in [(512, 10_000, 2_000), (100_000, 100, 200)] {
            let read = load::run(&left, &case(Kind::Get, size, objects, reads)).await;
            assert_eq!((read.wrong, read.errors), (0, 0), "{:?}", read.first_error);
        }
        Ok(())
    })
    .await;
}

/// Waits until every member of every group has all that any of them has, blobs included.
async fn redundant(cluster: &Cluster, limit: Duration) -> Test {
    let probe = || async {
        let status = cluster.status(0).await.map_err(|error| error.to_string())?;
        for group in &status.groups {
            let front = group.members.iter().map(|member| member.last_log).max().unwrap_or(0);
            let behind = group.members.iter().find(|m| m.applied < front || m.missing_blobs > 0);
            if let Some(member) = behind.or(group.members.first().filter(|_| group.members.len() != 3)) {
                return Err(format!("group {} at {front}: {member:?}", group.id));
            }
        }
        Ok(())
    };
    Ok(wait::until("all to have the same", limit, probe).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_has_everything_again_and_can_read_it() {
    const OBJECT: u64 = 4 << 20;
    let mib: u64 = if rounds(1) > 1 { 1024 } else { 40 };
    let env = vec![("HOLDFAST_SCRUB_BYTES".to_owned(), (1 << 30).to_string())];
    on_cluster(Options { env, ..Options::default() }, async |cluster| -> Test {
        let mut raw = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
        raw.call(Call::bucket(Method::PUT, "wiped")).await?;
        let target = Target::new(cluster.gateways(), cluster.keys().clone(), "wiped", OBJECT);
        let objects = (mib << 20) / OBJECT;
        let case = Case {
            kind: Kind::Create,
            size: OBJECT,
            clients: 4,
            objects,
            span: Duration::from_secs(600),
            operations: Some(objects),
        };
        let stored = load::run(&target, &case).await;
        assert_eq!((stored.operations, stored.errors), (objects, 0), "{:?}", stored.first_error);
        redundant(cluster, CHANGE).await?;
        let old = id_of(cluster, 0, "n3").await?;
        cluster.node(2).kill();
        cluster.node(2).wipe()?;
        let began = Instant::now();
        cluster.node(2).start()?;
        voters(cluster, 0, "n3", old).await?;
        redundant(cluster, Duration::from_secs(600)).await?;
        cluster.ready().await?;
        let took = began.elapsed();
        fault::counted("26", "a disk wiped", mib, "MiB to be copied")?;
        let rate = mib as f64 / took.as_secs_f64();
        println!(
            "FIGURE a disk wiped: {mib} MiB on three nodes again after {:.1} s, {rate:.0} MiB/s",
            took.as_secs_f64()
        );

        let began = Instant::now();
        let (code, printed) = cluster.holdfast(2, &["scrub", "start"]).await?;
        assert_eq!(code, Some(0), "{printed}");
        let read = || async {
            for at in 0..3 {
                let read = cluster.metric(at, "holdfast_scrub_last_bytes").await.map_err(|error| error.to_string())?;
                if read.unwrap_or(0.0) < (mib << 20) as f64 {
                    return Err(format!("n{} has read {read:?} bytes", at + 1));
                }
            }
            Ok(())
        };
        wait::until("the scrubs to read everything", Duration::from_secs(300), read).await?;
        for at in 0..3 {
            let corrupt = cluster.metric(at, "holdfast_scrub_last_corrupt").await?;
            assert_eq!(corrupt, Some(0.0), "n{} has something wrong", at + 1);
        }
        println!(
            "FIGURE scrub of all three nodes at once: {:.0} MiB/s each",
            mib as f64 / began.elapsed().as_secs_f64()
        );
        Ok(())
    })
    .await;
}
