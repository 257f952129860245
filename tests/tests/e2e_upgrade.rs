//! A cluster goes from one release to the next, node by node, under load; what is further apart, and the way back, are
//! refused with one line.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use holdfast_tests::client::sdk;
use holdfast_tests::cluster::balancer::Balancer;
use holdfast_tests::cluster::{Cluster, Options, binary};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::rng::Rng;
use holdfast_tests::wait;
use tokio::task::JoinSet;

type Test = Result<(), Failure>;

const WITHIN: Duration = Duration::from_secs(40);
const CLIENTS: u64 = 4;
const OBJECTS: u64 = 40;
/// What an SDK does by itself unless it is told otherwise.
const ATTEMPTS: u32 = 3;

/// Counts calls that needed another attempt.
#[derive(Clone, Debug, Default)]
struct Again(Arc<AtomicU64>);

impl Intercept for Again {
    fn name(&self) -> &'static str {
        "Again"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The SDK numbers its attempts there, from 1.
        let attempt = context.request().headers().get("amz-sdk-request");
        let attempt = attempt.ok_or_else(|| BoxError::from("the SDK does not number its attempts"))?;
        self.0.fetch_add(u64::from(attempt.contains("attempt=2;")), Ordering::Relaxed);
        Ok(())
    }
}

/// SDK clients that put and get until they are told to stop. The first call that fails, all its retries spent, ends it.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: JoinSet<Result<(), Failure>>,
}

impl Load {
    fn start(s3: &Client) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (s3, stop, done) = (s3.clone(), stop.clone(), done.clone());
            clients.spawn(async move {
                let mut rng = Rng::new(100 + number);
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("c{number}/{}", round % OBJECTS);
                    let len = [100, 20_000, 150_000][round as usize % 3];
                    let body = Bytes::from(rng.bytes(len));
                    there_and_back(&s3, &key, body).await?;
                    done.fetch_add(2, Ordering::Relaxed);
                    round += 1;
                }
                Ok(())
            });
        }
        Self { stop, done, clients }
    }

    /// Waits for so many more calls; a failed one ends the wait.
    async fn goes_on(&mut self, calls: u64) -> Test {
        let wanted = self.done.load(Ordering::Relaxed) + calls;
        let probe = || async {
            let done = self.done.load(Ordering::Relaxed);
            if done >= wanted { Ok(()) } else { Err(format!("{done} of {wanted}")) }
        };
        tokio::select! {
            reached = wait::until("calls to succeed", WITHIN, probe) => Ok(reached?),
            Some(ended) = self.clients.join_next() => Err(ended?.err().unwrap_or_else(|| Failure::new("a client stopped"))),
        }
    }

    /// How many calls there were; none failed.
    async fn end(mut self) -> Result<u64, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        Ok(self.done.load(Ordering::Relaxed))
    }
}

async fn there_and_back(s3: &Client, key: &str, body: Bytes) -> Test {
    let put = s3.put_object().bucket("load").key(key).body(ByteStream::from(body.clone())).send().await;
    put.map_err(|error| Failure::new(format!("put {key}: {}", aws_sdk_s3::error::DisplayErrorContext(error))))?;
    let got = s3.get_object().bucket("load").key(key).send().await;
    let got =
        got.map_err(|error| Failure::new(format!("get {key}: {}", aws_sdk_s3::error::DisplayErrorContext(error))))?;
    let back = got.body.collect().await.map_err(|error| Failure::new(format!("get {key}: {error}")))?.into_bytes();
    if back == body { Ok(()) } else { Err(Failure::new(format!("{key} came back as something else"))) }
}

fn passing(problem: &str) -> bool {
    problem.contains("run different versions") || problem.contains("yet to fetch")
}

/// Waits until nothing is wrong but what is so during an upgrade under load: versions differ, and bytes are on their way.
async fn settled(cluster: &Cluster, at: usize) -> Test {
    let probe = || async {
        let status = cluster.status(at).await.map_err(|error| error.to_string())?;
        let other: Vec<_> = status.problems.iter().filter(|what| !passing(what)).collect();
        let led = status.groups.iter().all(|group| group.leader.is_some());
        if led && other.is_empty() { Ok(()) } else { Err(format!("{other:?}")) }
    };
    Ok(wait::until("a cluster in which only versions differ", WITHIN, probe).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_follows_the_other_under_load_and_there_is_no_way_back() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let present = cluster.binary().to_owned();
        let later = binary::later(&present)?;
        let balancer = Balancer::start(cluster.nodes().map(|node| node.ports).collect()).await?;
        let options = sdk::Options { attempts: ATTEMPTS, ..sdk::Options::default() };
        let s3 = sdk::client(&balancer.endpoint(), cluster.keys(), &options);
        let again = Again::default();
        let counting = Client::from_conf(s3.config().to_builder().interceptor(again.clone()).build());
        let made = async || s3.create_bucket().bucket("load").send().await.map_err(|error| error.to_string());
        wait::until("a bucket, through the balancer", WITHIN, made).await?;

        // Two releases at once is too much, and both sides say so.
        let far = cluster.prepare("n4");
        cluster.node(far).becomes(&later);
        cluster.node(far).env.push(("RELEASES_LATER".into(), "2".into()));
        cluster.node(far).start()?;
        let said = || async {
            let log = cluster.nodes().nth(far).map(|node| node.log_tail(200)).unwrap_or_default();
            let wanted =
                "speaks version 1 of the peer protocol and this one version 3: upgrade by one version at a time";
            if log.contains(wanted) { Ok(()) } else { Err(log) }
        };
        wait::until("a word on the version", WITHIN, said).await?;
        cluster.node(far).kill();
        assert_eq!(cluster.status(0).await?.nodes.len(), 3, "it is no node of this cluster");

        let mut load = Load::start(&counting);
        load.goes_on(40).await?;
        for at in 0..3 {
            let ended = cluster.node(at).terminate(Duration::from_secs(30)).await?;
            assert_eq!(ended.code(), Some(0), "{}", cluster.node(at).log_tail(20));
            cluster.node(at).becomes(&later);
            cluster.node(at).start()?;
            cluster.node_ready(at).await?;
            settled(cluster, at).await?;
            load.goes_on(20).await?;
            let problems = cluster.status(0).await?.problems.join(" ");
            assert_eq!(problems.contains("different versions: 0.1.0, 0.2.0"), at < 2, "{problems}");
        }
        let calls = load.end().await?;
        let again = again.0.load(Ordering::Relaxed);
        println!(
            "FIGURE releases beside each other: {calls} calls, {again} of them needed another attempt, none failed"
        );
        let nodes = cluster.status(0).await?.nodes;
        let replaced = nodes.iter().filter(|node| node.version == "0.2.0").count() as u64;
        fault::counted("28", "releases beside each other", replaced, "nodes replaced by the other release")?;

        // The old release leaves the new one's data alone.
        let ended = cluster.node(0).terminate(Duration::from_secs(30)).await?;
        assert_eq!(ended.code(), Some(0), "{}", cluster.node(0).log_tail(20));
        let before = cluster.node(0).files();
        cluster.node(0).becomes(&present);
        cluster.node(0).start()?;
        let ended = cluster.node(0).ended(WITHIN).await?;
        let last = cluster.node(0).log_tail(1);
        assert_eq!(ended.code(), Some(2), "{last}");
        assert!(last.contains("a newer version of Holdfast wrote it (format 2, this one knows 1)"), "{last}");
        assert_eq!(cluster.node(0).files(), before, "nothing was touched");
        cluster.node(0).becomes(&later);
        cluster.node(0).start()?;
        cluster.ready().await?;
        for number in 0..CLIENTS {
            let got = s3.get_object().bucket("load").key(format!("c{number}/0")).send().await;
            got.map_err(|error| Failure::new(aws_sdk_s3::error::DisplayErrorContext(error).to_string()))?;
        }
        Ok(())
    })
    .await;
}
