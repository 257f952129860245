//! What an operator sees of a running node: metrics as documented, live requests, the machine's health.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_tests::client::plain;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use http::Method;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

type Test = Result<(), Failure>;

fn command(cluster: &mut Cluster, args: &[&str]) -> Command {
    let mut command = Command::new(cluster.binary());
    let node = cluster.node(0);
    let admin = format!("http://127.0.0.1:{}", node.ports.admin);
    command.args(args).env_clear().envs(node.env.iter().cloned()).env("HOLDFAST_ADMIN", admin).kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_shows_what_it_does() {
    let options =
        Options { nodes: 1, shards: 1, env: vec![("HOLDFAST_ACCESS_LOG".into(), "all".into())], ..Options::default() };
    on_cluster(options, async |cluster| -> Test {
        // Metrics: exactly the documented ones.
        let ops = format!("127.0.0.1:{}", cluster.node(0).ports.ops);
        let (_, page) = plain::get(&ops, "/metrics", None).await?;
        let exported: BTreeSet<_> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let documented: BTreeSet<_> = include_str!("../../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(exported, documented);

        assert_eq!(plain::get(&ops, "/debug/pprof/heap", None).await?.0, 404, "profiles are off");

        // Live requests: the trace names the ids that clients get.
        let mut trace = command(cluster, &["trace", "-o", "json"]);
        let mut trace = trace.stdout(std::process::Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(trace.stdout.take().expect("it is piped")).lines();
        let mut s3 = Raw::new(cluster.gateways()[0].clone(), cluster.keys().clone(), Duration::from_secs(30));
        // The trace begins when its command has connected: ask until a request is in it.
        let line = loop {
            let put = s3.call(Call::bucket(Method::PUT, "photos")).await?;
            let Ok(line) = tokio::time::timeout(Duration::from_millis(500), lines.next_line()).await else { continue };
            let line: serde_json::Value =
                serde_json::from_str(&line?.unwrap_or_default()).map_err(|error| Failure::new(error.to_string()))?;
            if put.header("x-amz-request-id") == line["id"].as_str() {
                break line;
            }
        };
        assert_eq!((&line["operation"], &line["method"]), (&"CreateBucket".into(), &"PUT".into()), "{line}");
        assert!(line["duration_us"].as_u64() >= line["first_byte_us"].as_u64(), "{line}");
        trace.kill().await?;
        let log = std::fs::read_to_string(&cluster.node(0).log)?;
        let id = line["id"].as_str().unwrap_or_default();
        assert!(
            log.lines().any(|line| line.contains("gateway::access") && line.contains(id)),
            "{id} is not in the log"
        );
        let (_, page) = plain::get(&ops, "/metrics", None).await?;
        assert!(page.contains("holdfast_s3_requests_total{operation=\"CreateBucket\",code=\"200\"}"), "{page}");

        // The machine, and the settings without their secrets.
        let data = cluster.node(0).data.display().to_string();
        let doctor = command(cluster, &["doctor", "-o", "json", "--role", "server", "--data", &data]).output().await?;
        let checks = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(doctor.status.success() && checks.contains("\"fsync\""), "{checks}");
        let shown = command(cluster, &["config", "show", "--redact"]).env_remove("HOLDFAST_ADMIN").output().await?;
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("root_secret_key = \"(secret)\"  HOLDFAST_ROOT_SECRET_KEY"), "{shown}");
        assert!(!shown.contains(cluster.keys().secret.as_str()), "{shown}");
        Ok(())
    })
    .await;
}

/// Status line and bytes of an answer that may take a while.
async fn long(authority: &str, path: &str, token: &str) -> Result<(String, Vec<u8>), Failure> {
    let mut stream = TcpStream::connect(authority).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(90), stream.read_to_end(&mut answer));
    read.await.map_err(|_| Failure::new(format!("{path}: no end")))??;
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Ok((String::from_utf8_lossy(line).into_owned(), answer))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_are_for_who_is_configured_and_has_the_token() {
    const TOKEN: &str = "an-admin-token-for-tests";
    let env = vec![("HOLDFAST_PROFILES".to_owned(), "true".to_owned())];
    on_cluster(Options { nodes: 1, shards: 1, env, ..Options::default() }, async |cluster| -> Test {
        let ops = format!("127.0.0.1:{}", cluster.node(0).ports.ops);
        assert_eq!(plain::get(&ops, "/debug/pprof/heap", None).await?.0, 401);
        let mut s3 = Raw::new(cluster.gateways()[0].clone(), cluster.keys().clone(), Duration::from_secs(30));
        s3.call(Call::bucket(Method::PUT, "busy")).await?;
        let busy = tokio::spawn(async move {
            loop {
                s3.call(Call::object(Method::PUT, "busy", "key").body(vec![7; 60_000])).await?;
            }
            #[expect(unreachable_code, reason = "says what the task's errors are")]
            Ok::<(), Failure>(())
        });
        for (path, texts) in [
            ("/debug/pprof/profile?seconds=2", &["cpu", "nanoseconds", "holdfast_gateway", "thread tokio"][..]),
            ("/debug/pprof/heap", &["inuse_space", "bytes", "holdfast"]),
        ] {
            let (status, answer) = long(&ops, path, TOKEN).await?;
            assert_eq!(status, "HTTP/1.1 200 OK", "{path}: {}", String::from_utf8_lossy(&answer));
            for text in texts {
                let there = answer.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(there, "{path}: {text} is not in {} bytes", answer.len());
            }
        }
        busy.abort();
        Ok(())
    })
    .await;
}
