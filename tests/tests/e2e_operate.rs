//! What the manifests for Kubernetes do to processes: starts without everybody, drains, restarts under load, foreign
//! user ids, read-only roots.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::node::Node;
use holdfast_tests::cluster::ports::Ports;
use holdfast_tests::cluster::{Cluster, Options, binary};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::wait;
use http::{Method, StatusCode};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

type Test = Result<(), Failure>;

const WITHIN: Duration = Duration::from_secs(40);

/// Runs `holdfast cluster …` against a node; its output.
async fn operate(cluster: &Cluster, through: usize, args: &[&str]) -> Result<String, Failure> {
    let node = cluster.nodes().nth(through).ok_or_else(|| Failure::new("no such node"))?;
    let admin = format!("http://127.0.0.1:{}", node.ports.admin);
    let mut command = Command::new(cluster.binary());
    command.arg("cluster").args(args).env_clear().env("HOLDFAST_ADMIN", admin).kill_on_drop(true);
    command.env("HOLDFAST_ADMIN_TOKEN", "an-admin-token-for-tests").env("HOLDFAST_NAME", &node.name);
    let output =
        tokio::time::timeout(WITHIN, command.output()).await.map_err(|_| Failure::new(format!("{args:?}")))??;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(said) } else { Err(Failure::new(format!("{args:?}: {said}"))) }
}

/// Puts as an SDK would: up to three times, at another gateway after a failure. Whether it was stored.
async fn put(gateways: &[String], cluster: &Cluster, number: usize) -> bool {
    for attempt in 0..3 {
        let gateway = &gateways[(number + attempt) % gateways.len()];
        let mut s3 = Raw::new(gateway, cluster.keys().clone(), Duration::from_secs(15));
        let call = Call::object(Method::PUT, "load", &format!("d{}/{number}", number % 16)).body("x");
        if s3.call(call).await.is_ok_and(|reply| reply.status == StatusCode::OK) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
    }
    false
}

/// Puts one after the other until `work` is over; how many there were. Each must be stored.
async fn under_load<T>(
    cluster: &Cluster,
    gateways: Vec<String>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<(T, usize), Failure> {
    let count = Cell::new(0);
    let load = async {
        while put(&gateways, cluster, count.get()).await {
            count.set(count.get() + 1);
        }
        Failure::new(format!("put {} failed three times", count.get()))
    };
    tokio::select! {
        failed = load => Err(failed),
        done = work => Ok((done?, count.get())),
    }
}

async fn bucket(cluster: &Cluster) -> Test {
    let mut s3 = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
    assert_eq!(s3.call(Call::bucket(Method::PUT, "load")).await?.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_node_is_drained_under_load_removed_and_comes_back_on_its_old_disk() {
    on_cluster(Options::default(), async |cluster| -> Test {
        bucket(cluster).await?;
        let refused = operate(cluster, 0, &["drain", "n2"]).await.expect_err("three copies need three nodes");
        assert!(refused.to_string().contains("too few nodes"), "{refused}");
        cluster.add("n4").await?;
        let gateways: Vec<String> = [0, 2, 3].map(|at| cluster.gateways()[at].clone()).to_vec();
        // What a pod's preStop would do meanwhile, on the node itself: wait for the same.
        let both = async {
            let drained = operate(cluster, 0, &["drain", "n2"]).await?;
            let waited = operate(cluster, 1, &["drained", "--wait"]).await?;
            Ok((drained, waited))
        };
        let ((drained, waited), puts) = under_load(cluster, gateways, both).await?;
        assert!(drained.contains("n2 holds nothing any more"), "{drained}");
        assert!(waited.contains("n2 holds nothing any more"), "{waited}");
        println!("{puts} puts during the drain");
        let status = cluster.status(0).await?;
        let n2 = status.nodes.iter().find(|node| node.name == "n2").map(|node| node.id);
        assert!(status.groups.iter().all(|group| !group.voters.iter().any(|id| Some(*id) == n2)));
        let stays = operate(cluster, 0, &["drained", "--wait"]).await?;
        assert!(stays.contains("n1 is not being drained"), "{stays}");

        let ended = cluster.node(1).terminate(Duration::from_secs(20)).await?;
        assert_eq!(ended.code(), Some(0), "{}", cluster.node(1).log_tail(20));
        operate(cluster, 0, &["remove", "n2"]).await?;
        // Scaled up again, the pod finds its old claim: it joins anew, under another id.
        cluster.node(1).start()?;
        let probe = || async {
            let status = cluster.status(0).await.map_err(|error| error.to_string())?;
            match status.nodes.iter().find(|node| node.name == "n2").map(|node| node.id) {
                Some(id) if Some(id) != n2 => Ok(()),
                found => Err(format!("{found:?}")),
            }
        };
        wait::until("n2 under a new id", WITHIN, probe).await?;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn two_of_three_start_while_the_third_has_no_name() {
    on_cluster(Options::default(), async |cluster| -> Test {
        bucket(cluster).await?;
        assert!(put(&cluster.gateways(), cluster, 1).await);
        for at in 0..3 {
            cluster.node(at).kill();
        }
        for at in 0..2 {
            let node = cluster.node(at);
            let third = format!("n3=127.0.0.1:{}", node.ports.peer - 4 * at as u16 + 8);
            let peers = node.args.iter_mut().find(|arg| arg.contains(&third));
            let peers = peers.ok_or_else(|| Failure::new("no list of peers"))?;
            *peers = peers.replace(&third, "n3=holdfast-2.holdfast-peers.invalid:9003");
            // All at once, as `podManagementPolicy: Parallel` does.
            node.start()?;
        }
        for at in 0..2 {
            cluster.node_ready(at).await?;
        }
        let gateways = cluster.gateways()[..2].to_vec();
        assert!(put(&gateways, cluster, 2).await, "two of three are a majority");
        // The write went to one shard; others may still elect.
        let probe = || async {
            let said = operate(cluster, 0, &["status"]).await.map_err(|failure| failure.to_string())?;
            let told = said.contains("degraded") && said.contains("to do: look after n3");
            if told { Ok(()) } else { Err(said) }
        };
        Ok(wait::until("the status to name n3 alone", WITHIN, probe).await?)
    })
    .await;
}

#[tokio::test]
async fn a_stop_hands_leaders_over_first_then_finishes_what_is_under_way() {
    on_cluster(Options::default(), async |cluster| -> Test {
        bucket(cluster).await?;
        // An upload that stands half way.
        let body = Bytes::from(vec![5; 300_000]);
        let mut s3 = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
        let head = s3.head(Call::object(Method::PUT, "load", "slow/upload"), body.len() as u64);
        let mut stream = tokio::net::TcpStream::connect(&cluster.gateways()[0]).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body[..150_000]).await?;
        let pid = cluster.node(0).pid().ok_or_else(|| Failure::new("it has ended"))?;
        let pid = rustix::process::Pid::from_raw(pid as i32).ok_or_else(|| Failure::new("no pid"))?;
        let probe = || async {
            let text =
                cluster.metrics(0, |name| name.contains("in_flight")).await.map_err(|error| error.to_string())?;
            if text.is_some_and(|count| count >= 1.0) { Ok(()) } else { Err(format!("{text:?}")) }
        };
        wait::until("the upload to be under way", WITHIN, probe).await?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let probe = || async {
            let led = cluster.leaderships(1).await.map_err(|error| error.to_string())?;
            if led[0] == 0 && led.iter().sum::<usize>() == 5 { Ok(()) } else { Err(format!("{led:?}")) }
        };
        wait::until("the leaderships to be elsewhere while the upload stands", Duration::from_secs(10), probe).await?;
        assert!(cluster.node(0).is_running(), "it waits for the upload");
        stream.write_all(&body[150_000..]).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let ended = cluster.node(0).ended(Duration::from_secs(20)).await?;
        assert_eq!(ended.code(), Some(0), "{}", cluster.node(0).log_tail(20));
        Ok(())
    })
    .await;
}

/// As `docker run --read-only --user 123456:0 --cap-drop ALL` and restricted-v2 do it.
#[tokio::test]
async fn any_user_id_with_group_0_and_a_read_only_root_will_do() {
    if !rustix::process::getuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        println!("not root: nothing tested");
        return;
    }
    let test = async || -> Test {
        let (dir, ports) = (TempDir::new()?, Ports::take()?);
        let ports = ports.of(0);
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        // As a volume comes: root's, and writable for the group.
        std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o770))?;
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let binary = binary::find()?;
        let mut node = Node::new(Path::new("/usr/bin/unshare"), "n1", data.clone(), ports);
        node.log = dir.path().join("n1.log");
        let script = format!(
            "mount --make-rprivate / && mount --bind {data} {data} && mount -o remount,bind,ro / \
             && ! touch /probe 2>/dev/null \
             && exec setpriv --reuid 123456 --regid 0 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \
             {binary} server --data {data} --s3-listen 127.0.0.1:{} --admin-listen 127.0.0.1:{} --ops-listen 127.0.0.1:{} \
             --peer-listen 127.0.0.1:{}",
            ports.s3,
            ports.admin,
            ports.ops,
            ports.peer,
            data = data.display(),
            binary = binary.display(),
        );
        node.args = vec!["--mount".into(), "sh".into(), "-c".into(), script];
        node.env = vec![
            ("HOLDFAST_ROOT_ACCESS_KEY".into(), "holdfastroot".into()),
            ("HOLDFAST_ROOT_SECRET_KEY".into(), "a-root-secret-for-tests".into()),
            ("HOLDFAST_DEFAULT_BUCKETS".into(), "first".into()),
        ];
        node.start()?;
        let probe = || async {
            let ops = format!("127.0.0.1:{}", ports.ops);
            let output = Command::new(&binary).args(["health", "--ops-listen", &ops]).output().await;
            let output = output.map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(said) }
        };
        let healthy = wait::until("a healthy node", WITHIN, probe).await;
        healthy.map_err(|error| Failure::new(format!("{error}; {}", node.log_tail(20))))?;
        let keys = holdfast_tests::client::sign::Keys {
            access: "holdfastroot".into(),
            secret: "a-root-secret-for-tests".into(),
        };
        let mut s3 = Raw::new(format!("127.0.0.1:{}", ports.s3), keys, Duration::from_secs(15));
        // A node is ready before its first bucket is made.
        let deadline = Instant::now() + WITHIN;
        loop {
            let reply = s3.call(Call::object(Method::PUT, "first", "d/k").body(vec![7; 200_000])).await?;
            if reply.status == StatusCode::OK {
                break;
            }
            assert!(Instant::now() < deadline, "{}", reply.text());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(data.join("identity"))?.uid(), 123_456);
        let ended = node.terminate(Duration::from_secs(20)).await?;
        assert_eq!(ended.code(), Some(0), "{}", node.log_tail(20));
        Ok(())
    };
    if let Err(failure) = test().await {
        panic!("{failure}");
    }
}
