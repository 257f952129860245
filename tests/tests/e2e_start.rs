//! Starting, stopping and refusing to start.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::client::sign::Keys;
use holdfast_tests::cluster::node::Node;
use holdfast_tests::cluster::ports::{NodePorts, Ports};
use holdfast_tests::cluster::{Options, binary};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::wait;
use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

type Test = Result<(), Failure>;

/// Runs the binary to its end, which must come within ten seconds.
fn run(dir: &Path, env: &[(&str, &str)], args: &[&str]) -> Result<Output, Failure> {
    let mut command = Command::new(binary::find()?);
    command.args(args).env_clear().envs(env.iter().copied()).current_dir(dir);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > Duration::from_secs(10) {
            child.kill()?;
            return Err(Failure::new(format!("{args:?} still ran: {:?}", child.wait_with_output()?)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(child.wait_with_output()?)
}

const ROOT: [(&str, &str); 2] =
    [("HOLDFAST_ROOT_ACCESS_KEY", "holdfastroot"), ("HOLDFAST_ROOT_SECRET_KEY", "a-root-secret-for-tests")];

/// Refused with exit code 2 and one line that names what is wrong.
fn refused(dir: &Path, env: &[(&str, &str)], args: &[&str], names: &str) -> Test {
    let env: Vec<(&str, &str)> = ROOT.into_iter().chain(env.iter().copied()).collect();
    let output = run(dir, &env, args)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert_eq!(lines.len(), 1, "{args:?}: {said}");
    assert!(said.contains(names), "{args:?} does not name {names}: {said}");
    Ok(())
}

fn listeners(ports: NodePorts) -> Vec<String> {
    let local = |port: u16| format!("127.0.0.1:{port}");
    let flags = [("--s3-listen", ports.s3), ("--admin-listen", ports.admin), ("--ops-listen", ports.ops)];
    let mut args: Vec<String> = flags.iter().flat_map(|(flag, port)| [(*flag).to_owned(), local(*port)]).collect();
    args.extend(["--name".into(), "n1".into(), "--peers".into(), format!("n1={}", local(ports.peer))]);
    args
}

#[test]
fn what_cannot_work_is_refused_in_one_line() {
    let test = || -> Test {
        let (dir, ports) = (TempDir::new()?, Ports::take()?);
        let listen = listeners(ports.of(0));
        let server = |more: &[&'static str]| -> Vec<String> {
            let args = ["server", "--data", "data"].iter().chain(more).map(|arg| (*arg).to_owned());
            args.chain(listen.iter().cloned()).collect()
        };
        let strs = |args: &[String]| -> Vec<String> { args.to_vec() };
        let check = |env: &[(&str, &str)], args: Vec<String>, names: &str| -> Test {
            let args = strs(&args);
            refused(dir.path(), env, &args.iter().map(String::as_str).collect::<Vec<_>>(), names)
        };
        check(&[("HOLDFAST_NONSENSE", "1")], server(&[]), "HOLDFAST_NONSENSE")?;
        check(&[("HOLDFAST_SHARDS", "many")], server(&[]), "HOLDFAST_SHARDS")?;
        std::fs::write(dir.path().join("bad.toml"), "nonsense = 1\n")?;
        check(&[], server(&["--config", "bad.toml"]), "nonsense")?;
        std::fs::write(dir.path().join("file"), "x")?;
        let mut unwritable = server(&[]);
        unwritable[2] = "file/data".into();
        check(&[], unwritable, "file/data")?;

        let taken = TcpListener::bind(("127.0.0.1", ports.of(0).s3))?;
        check(&[], server(&[]), &taken.local_addr()?.to_string())?;
        drop(taken);

        let far = ["server", "--data", "data", "--name", "n1", "--peers", "n1=node-1.example:9003"];
        refused(dir.path(), &[], &far, "HOLDFAST_CLUSTER_SECRET")?;
        Ok(())
    };
    if let Err(failure) = test() {
        panic!("{failure}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev_is_ready_at_once_stops_cleanly_and_finds_its_data_again() {
    let test = async || -> Test {
        let (dir, ports) = (TempDir::new()?, Ports::take()?);
        let ports = ports.of(0);
        let mut dev = Node::new(&binary::find()?, "dev", dir.path().join("data"), ports);
        dev.log = dir.path().join("dev.log");
        let local = |port: u16| format!("127.0.0.1:{port}");
        dev.args = ["dev", "--data", "data", "--listen"].map(str::to_owned).to_vec();
        dev.args.extend([local(ports.s3), "--admin-listen".into(), local(ports.admin)]);
        dev.args.extend(["--ops-listen".into(), local(ports.ops)]);
        dev.env = ROOT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        dev.env.push(("HOLDFAST_DEFAULT_BUCKETS".into(), "first,second".into()));
        let keys = Keys { access: ROOT[0].1.into(), secret: ROOT[1].1.into() };
        for round in 0..2 {
            let started = Instant::now();
            dev.start()?;
            let probe = || async {
                let mut s3 = Raw::new(local(ports.s3), keys.clone(), Duration::from_secs(5));
                let call = Call::object(Method::PUT, "first", &format!("d/{round}")).body("kept");
                match s3.call(call).await {
                    Ok(reply) if reply.status == StatusCode::OK => Ok(()),
                    Ok(reply) => Err(reply.text()),
                    Err(why) => Err(why.to_string()),
                }
            };
            wait::until("dev to take writes", Duration::from_secs(10), probe).await?;
            println!("dev took its first write after {:?}", started.elapsed());
            let mut s3 = Raw::new(local(ports.s3), keys.clone(), Duration::from_secs(5));
            for earlier in 0..=round {
                let got = s3.call(Call::object(Method::GET, "first", &format!("d/{earlier}"))).await?;
                assert_eq!((got.status, got.text().as_str()), (StatusCode::OK, "kept"), "round {round}");
            }
            // It is made after the first one.
            let second = || async {
                let mut s3 = Raw::new(local(ports.s3), keys.clone(), Duration::from_secs(5));
                match s3.call(Call::bucket(Method::HEAD, "second")).await {
                    Ok(reply) if reply.status == StatusCode::OK => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            };
            wait::until("the second bucket", Duration::from_secs(10), second).await?;
            let pid = dev.pid().and_then(|pid| Pid::from_raw(pid as i32));
            kill_process(pid.ok_or_else(|| Failure::new("it has ended"))?, Signal::INT)?;
            let status = dev.ended(Duration::from_secs(10)).await?;
            assert_eq!(status.code(), Some(0), "{}", dev.log_tail(20));
        }
        Ok(())
    };
    if let Err(failure) = test().await {
        panic!("{failure}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_request_and_the_command_line_shows_the_cluster() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let keys = cluster.keys().clone();
        let mut s3 = Raw::new(&cluster.gateways()[0], keys, Duration::from_secs(15));
        assert_eq!(s3.call(Call::bucket(Method::PUT, "rolling")).await?.status, StatusCode::OK);
        for at in 0..3 {
            s3.turn_to(&cluster.gateways()[(at + 1) % 3]);
            let status = cluster.node(at).terminate(Duration::from_secs(15)).await?;
            assert_eq!(status.code(), Some(0), "{}", cluster.node(at).log_tail(20));
            for number in 0..10 {
                let put = Call::object(Method::PUT, "rolling", &format!("d{number}/{at}")).body("x");
                let reply = s3.call(put).await?;
                assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
            }
            cluster.node(at).start()?;
            cluster.ready().await?;
        }
        let admin = format!("http://127.0.0.1:{}", cluster.node(1).ports.admin);
        let env = [("HOLDFAST_ADMIN_TOKEN", "an-admin-token-for-tests"), ("HOLDFAST_ADMIN", admin.as_str())];
        let status = run(cluster.dir(), &env, &["cluster", "status"])?;
        let said = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.status.success(), "{status:?}");
        for name in ["n1", "n2", "n3"] {
            assert!(said.contains(name), "{said}");
        }
        let leader = cluster.leader(2, Duration::from_secs(5)).await?;
        let next = (leader + 1) % 3;
        let moved = run(cluster.dir(), &env, &["cluster", "transfer-leader", "2", &format!("n{}", next + 1)])?;
        assert!(moved.status.success(), "{moved:?}");
        let cluster = &mut *cluster;
        let deadline = Instant::now() + Duration::from_secs(5);
        while cluster.leader(2, Duration::from_secs(5)).await? != next {
            assert!(Instant::now() < deadline, "the leader did not move");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let refused = run(cluster.dir(), &env[1..], &["cluster", "status"])?;
        assert!(!refused.status.success(), "the admin API answers without its token");
        Ok(())
    })
    .await;
}

/// A directory of one cluster, started among the peers of another: it must not serve what it has to those who mean them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster_is_refused_in_one_line() {
    on_cluster(Options { nodes: 1, ..Options::default() }, async |own| -> Test {
        let mut other = own.beside(Options { nodes: 1, ..Options::default() }).await?;
        let node = own.node(0);
        let address = node.at(node.ports.peer);
        let stray = other.node(0);
        stray.terminate(Duration::from_secs(20)).await?;
        let peers = stray.args.iter().position(|arg| arg == "--peers").ok_or_else(|| Failure::new("no --peers"))?;
        stray.args[peers + 1] += &format!(",n2={address}");
        stray.start()?;
        let ended = stray.ended(Duration::from_secs(20)).await?;
        let said = stray.log_tail(1);
        assert_eq!(ended.code(), Some(2), "{said}");
        assert!(said.starts_with("holdfast: the data directory is of cluster ") && said.contains("(n2)"), "{said}");
        // Nobody else is disturbed, and neither is it where it belongs.
        own.ready().await?;
        stray.args[peers + 1] = stray.args[peers + 1].split(',').next().unwrap_or_default().to_owned();
        stray.start()?;
        Ok(other.ready().await?)
    })
    .await;
}
