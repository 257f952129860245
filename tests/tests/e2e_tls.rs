//! Three nodes with TLS on every port, as the documentation sets them up: certificates by `holdfast certs`, the command
//! line and the AWS CLI told whom to believe, certificates rotated under way, a stranger kept out.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::Failure;
use holdfast_tests::wait;
use tokio::process::Command;

type Test = Result<(), Failure>;

const WITHIN: Duration = Duration::from_secs(60);

struct Secured {
    cluster: Cluster,
    certs: PathBuf,
}

impl Secured {
    /// Everything in place, nothing started.
    async fn lay_out() -> Result<Secured, Failure> {
        let mut cluster = Cluster::lay_out(Options::default()).await?;
        let certs = cluster.dir().join("certs");
        let mut init = Command::new(cluster.binary());
        init.args(["certs", "init"]).arg(&certs).args(["--name", "n1", "--name", "n2", "--name", "n3"]);
        sound(init.env_clear().output().await?)?;
        for at in 0..3 {
            let node = cluster.node(at);
            let (cert, key) = (certs.join(format!("{}.crt", node.name)), certs.join(format!("{}.key", node.name)));
            for (name, path) in [
                ("HOLDFAST_TLS_CERT", &cert),
                ("HOLDFAST_TLS_KEY", &key),
                ("HOLDFAST_PEER_CERT", &cert),
                ("HOLDFAST_PEER_KEY", &key),
                ("HOLDFAST_PEER_CA", &certs.join("ca.crt")),
            ] {
                node.env.push((name.to_owned(), path.display().to_string()));
            }
        }
        Ok(Secured { cluster, certs })
    }

    fn ca(&self) -> String {
        self.certs.join("ca.crt").display().to_string()
    }

    async fn run(&self, program: impl AsRef<Path>, args: &[&str]) -> Result<String, Failure> {
        let keys = self.cluster.keys();
        let mut command = Command::new(program.as_ref());
        command.args(args).current_dir(self.cluster.dir()).kill_on_drop(true);
        command.env("AWS_ACCESS_KEY_ID", &keys.access).env("AWS_SECRET_ACCESS_KEY", &keys.secret);
        command.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_CONFIG_FILE", "/dev/null").env("HOLDFAST_ADMIN_TOKEN", "an-admin-token-for-tests");
        sound(command.output().await?)
    }

    async fn healthy(&self, at: usize) -> Result<(), String> {
        let node = self.cluster.nodes().nth(at).ok_or("no such node")?;
        let ops = format!("127.0.0.1:{}", node.ports.ops);
        let args = ["health", "--ops-listen", &ops, "--tls-cert", "yes"];
        self.run(self.cluster.binary(), &args).await.map(drop).map_err(|failure| failure.to_string())
    }

    async fn status(&self, at: usize) -> Result<serde_json::Value, Failure> {
        let node = self.cluster.nodes().nth(at).ok_or_else(|| Failure::new("no such node"))?;
        let admin = format!("https://127.0.0.1:{}", node.ports.admin);
        let args = ["cluster", "status", "-o", "json", "--admin", &admin, "--ca", &self.ca()];
        Ok(serde_json::from_str(&self.run(self.cluster.binary(), &args).await?)?)
    }

    /// The serial number of the certificate shown at a port.
    async fn serial(&self, port: u16) -> Result<String, Failure> {
        let script =
            format!("openssl s_client -connect 127.0.0.1:{port} </dev/null 2>/dev/null | openssl x509 -noout -serial");
        self.run("sh", &["-c", &script]).await
    }
}

fn sound(output: Output) -> Result<String, Failure> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Failure::new(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_with_tls_on_every_port() {
    let test = async || -> Test {
        let mut secured = Secured::lay_out().await?;
        for at in 0..3 {
            secured.cluster.node(at).start()?;
        }
        for at in 0..3 {
            wait::until("a node that is healthy by TLS", WITHIN, || secured.healthy(at)).await?;
        }
        let probe = || async {
            let status = secured.status(0).await.map_err(|failure| failure.to_string())?;
            if status["health"] == "ok" { Ok(()) } else { Err(status["problems"].to_string()) }
        };
        wait::until("a status without problems, by https", WITHIN, probe).await?;

        let ports: Vec<_> = secured.cluster.nodes().map(|node| node.ports).collect();
        let ca = secured.ca();
        // The AWS CLI, there and back.
        std::fs::write(secured.cluster.dir().join("up"), vec![7; 9 << 20])?;
        let url = |at: usize| format!("https://127.0.0.1:{}", ports[at].s3);
        for (at, args) in [
            (0, &["s3", "mb", "s3://sealed"][..]),
            (1, &["s3", "cp", "up", "s3://sealed/d/f"]),
            (2, &["s3", "cp", "s3://sealed/d/f", "down"]),
        ] {
            let endpoint = url(at);
            let all = [&["--endpoint-url", &endpoint, "--ca-bundle", &ca][..], args].concat();
            secured.run("aws", &all).await?;
        }
        secured.run("cmp", &["up", "down"]).await?;
        secured.run("aws", &["--endpoint-url", &url(0), "s3", "ls"]).await.expect_err("an unknown authority");

        // HTTP/2 by ALPN, TLS 1.2 at least, nothing without TLS.
        let version = ["-s", "--cacert", &ca, "-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
        let first = url(0);
        assert_eq!(secured.run("curl", &[&version[..], &[&first]].concat()).await?, "2 403");
        let old = ["-s", "--cacert", &ca, "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"];
        secured.run("curl", &[&old[..], &[&first]].concat()).await.expect_err("TLS 1.1");
        for port in [ports[0].s3, ports[0].admin, ports[0].ops, ports[0].peer] {
            let plain = format!("http://127.0.0.1:{port}/health/live");
            secured.run("curl", &["-sf", "--max-time", "5", &plain]).await.expect_err("plain HTTP");
        }
        let metrics = format!("https://127.0.0.1:{}/metrics", ports[1].ops);
        let page = secured.run("curl", &["-sf", "--cacert", &ca, &metrics]).await?;
        assert!(page.contains("holdfast_certificate_expiry_timestamp_seconds{purpose=\"peers\"}"), "{page}");
        // The peer port talks to nobody who shows no certificate.
        let bare = format!(
            "(sleep 1) | openssl s_client -connect 127.0.0.1:{} -tls1_2 2>&1 | grep -c 'Verification: OK'",
            ports[0].peer
        );
        secured.run("sh", &["-c", &bare]).await.expect_err("no certificate");

        // Rotation while running: the new certificate appears, the cluster notices nothing.
        let before = secured.serial(ports[0].s3).await?;
        let dir = secured.certs.display().to_string();
        secured.run(secured.cluster.binary(), &["certs", "issue", &dir, "n1"]).await?;
        let probe = || async {
            let now = secured.serial(ports[0].s3).await.map_err(|failure| failure.to_string())?;
            if now != before { Ok(()) } else { Err(now) }
        };
        wait::until("the rotated certificate", WITHIN, probe).await?;
        assert_eq!(secured.status(1).await?["health"], "ok");

        // A node whose certificate is from another authority is kept out, and one line says so.
        let status = secured.cluster.node(2).terminate(Duration::from_secs(20)).await?;
        assert_eq!(status.code(), Some(0), "{}", secured.cluster.node(2).log_tail(20));
        let foreign = secured.cluster.dir().join("foreign").display().to_string();
        secured.run(secured.cluster.binary(), &["certs", "init", &foreign, "--name", "n3"]).await?;
        let node = secured.cluster.node(2);
        let (certs, foreign) = (dir.clone(), foreign);
        for (name, value) in &mut node.env {
            if name.starts_with("HOLDFAST_PEER_") && name != "HOLDFAST_PEER_CA" {
                *value = value.replace(&certs, &foreign);
            }
        }
        node.start()?;
        let probe = || async {
            let log = secured.cluster.nodes().next().map(|node| node.log_tail(400)).unwrap_or_default();
            let said = log.lines().filter(|line| line.contains("authority that is not trusted here")).count();
            if (1..=2).contains(&said) { Ok(()) } else { Err(format!("said {said} times")) }
        };
        wait::until("a word on the stranger", WITHIN, probe).await?;
        let probe = || async {
            let nodes = secured.status(0).await.map_err(|failure| failure.to_string())?["nodes"].clone();
            let third = nodes.as_array().and_then(|nodes| nodes.iter().find(|node| node["name"] == "n3").cloned());
            let alive = third.map(|node| node["alive"].clone());
            if alive == Some(serde_json::json!(false)) { Ok(()) } else { Err(format!("{alive:?}")) }
        };
        wait::until("the stranger to stay outside", WITHIN, probe).await?;
        Ok(())
    };
    if let Err(failure) = test().await {
        panic!("{failure}");
    }
}
