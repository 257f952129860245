//! Nodes that come, go, return late and return empty, under load.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::time::{Duration, Instant};

use holdfast_tests::bench::load::{self, Case, Kind, Target};
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::storm::Storm;
use holdfast_tests::wait;
use http::Method;

type Test = Result<(), Failure>;

/// How long a change of members may take.
const CHANGE: Duration = Duration::from_secs(60);

/// Waits until each group has three voters, the node called `present` among them and no node with id `absent`.
async fn voters(cluster: &Cluster, through: usize, present: &str, absent: u64) -> Result<(), Failure> {
    let probe = || async {
        let status = cluster.status(through).await.map_err(|error| error.to_string())?;
        let id = status.nodes.iter().find(|node| node.name == present && node.id != absent).map(|node| node.id);
        let id = id.ok_or_else(|| format!("no {present} with a new id: {:?}", status.nodes))?;
        match status
            .groups
            .iter()
            .find(|g| g.voters.len() != 3 || !g.voters.contains(&id) || g.voters.contains(&absent))
        {
            None => Ok(()),
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
        voters(cluster, 1, "n4", old).await?;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_comes_back_as_another() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let storm = Storm::start(cluster, 4, |plan| plan.seed = 12).await?;
        let old = id_of(cluster, 0, "n3").await?;
        cluster.node(2).kill();
        cluster.node(2).wipe()?;
        storm.goes_on(Instant::now(), 200).await?;
        cluster.node(2).start()?;
        voters(cluster, 0, "n3", old).await?;
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
        wait::until("all to have the same", CHANGE, probe).await?;

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
