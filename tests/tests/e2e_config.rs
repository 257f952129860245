//! Everything that is wrong at a start ends in one clear line and the right exit code: a table of wrong inputs, each
//! given to the real binary.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::cluster::binary;
use holdfast_tests::cluster::clock::Clock;
use holdfast_tests::cluster::disk::{Disk, Kind};
use holdfast_tests::cluster::ports::Ports;
use holdfast_tests::failure::Failure;
use holdfast_tests::fault::{self, Outcome};
use tempfile::TempDir;

type Test = Result<(), Failure>;

const ROOT: &[(&str, &str)] =
    &[("HOLDFAST_ROOT_ACCESS_KEY", "holdfastroot"), ("HOLDFAST_ROOT_SECRET_KEY", "a-root-secret-for-tests")];
const EXPIRED: (&str, &str) = (include_str!("expired/expired.crt"), include_str!("expired/expired.key"));

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
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(child.wait_with_output()?)
}

/// What is wrong, and what must be said about it.
struct Row {
    env: &'static [(&'static str, &'static str)],
    args: &'static str,
    code: i32,
    says: &'static str,
}

const fn row(env: &'static [(&'static str, &'static str)], args: &'static str, code: i32, says: &'static str) -> Row {
    Row { env, args, code, says }
}

/// `SERVER` stands for `server` with a data directory and listeners on loopback, `PORT` for a port that is taken.
const TABLE: &[Row] = &[
    // Keys that there are not.
    row(&[("HOLDFAST_SHARD", "4")], "SERVER", 2, "unknown environment variable HOLDFAST_SHARD"),
    row(&[("HOLDFAST_shards", "4")], "SERVER", 2, "HOLDFAST_shards"),
    row(&[], "SERVER --shard 4", 2, "'--shard'"),
    row(&[], "SERVER --cluster-secret open-to-everybody", 2, "'--cluster-secret'"),
    row(&[], "SERVER --config typo.toml", 2, "unknown key `shard`"),
    row(&[], "SERVER --config section.toml", 2, "unknown key `s3`"),
    row(&[], "SERVER --config syntax.toml", 2, "line 2"),
    row(&[], "SERVER --config type.toml", 2, "`shards` takes text, a number"),
    row(&[], "SERVER --config binary.toml", 2, "not UTF-8"),
    row(&[], "SERVER --config nowhere.toml", 2, "nowhere.toml"),
    row(&[], "SERVER --config directory", 2, "directory"),
    row(&[("HOLDFAST_CONFIG", "nowhere.toml")], "SERVER", 2, "HOLDFAST_CONFIG = nowhere.toml"),
    row(&[], "serve", 2, "'serve'"),
    row(&[], "gateway --data elsewhere", 2, "'--data'"),
    // Numbers.
    row(&[("HOLDFAST_SHARDS", "many")], "SERVER", 2, "HOLDFAST_SHARDS: expected a whole number from 1 to 256"),
    row(&[], "SERVER --shards 0", 2, "--shards: expected a whole number from 1 to 256, found \"0\""),
    row(&[], "SERVER --shards 257", 2, "from 1 to 256"),
    row(&[], "SERVER --replicas 9", 2, "--replicas: expected a whole number from 1 to 7"),
    row(&[], "SERVER --inline-max 64KiB", 2, "--inline-max: expected a whole number"),
    row(&[], "SERVER --inline-max 2097152", 2, "to 1048576"),
    row(&[], "SERVER --cache-bytes 1", 2, "--cache-bytes"),
    row(&[], "SERVER --threads 0", 2, "--threads"),
    row(&[("HOLDFAST_HEARTBEAT_MS", "-5")], "SERVER", 2, "HOLDFAST_HEARTBEAT_MS"),
    row(&[], "SERVER --election-min-ms 150", 2, "election-min-ms must be at least twice heartbeat-ms"),
    row(&[], "dev --nodes 8", 2, "--nodes"),
    // Addresses and names.
    row(&[], "server --s3-listen 9000", 2, "--s3-listen: expected HOST:PORT"),
    row(&[], "server --s3-listen 127.0.0.1:99999", 2, "expected HOST:PORT"),
    row(&[], "server --ops-listen http://127.0.0.1:9002", 2, "--ops-listen"),
    row(&[("HOLDFAST_PEERS", "n1")], "server --name n1", 2, "HOLDFAST_PEERS"),
    row(&[], "server --name n1 --peers n1=a:1,n1=b:1", 2, "n1"),
    row(&[], "server --name n1 --peers n1=127.0.0.1:1,n2=127.0.0.1:1", 2, "127.0.0.1:1"),
    row(&[], "server --peers n1=127.0.0.1:1", 2, "name is required"),
    row(&[], "server --name a/b", 2, "a/b"),
    row(&[], "server --name n9 --peers n1=127.0.0.1:1", 2, "peer_address is required"),
    row(&[], "gateway", 2, "peers is required"),
    row(&[], "SERVER --default-buckets Not_A_Bucket", 2, "Not_A_Bucket"),
    // Secrets.
    row(&[], "server --name n1 --peers n1=node-1.example:9003", 2, "HOLDFAST_CLUSTER_SECRET is required"),
    row(&[("HOLDFAST_CLUSTER_SECRET", "short")], "SERVER", 2, "must have 16"),
    row(&[("HOLDFAST_CLUSTER_SECRET", "with a space in it")], "SERVER", 2, "without spaces"),
    row(
        &[("HOLDFAST_CLUSTER_SECRET", "sixteen-letters!"), ("HOLDFAST_CLUSTER_SECRET_FILE", "secret")],
        "SERVER",
        2,
        "set one",
    ),
    row(&[("HOLDFAST_CLUSTER_SECRET_FILE", "nowhere")], "SERVER", 2, "HOLDFAST_CLUSTER_SECRET_FILE = nowhere"),
    row(&[("HOLDFAST_CLUSTER_SECRET_FILE", "directory")], "SERVER", 2, "HOLDFAST_CLUSTER_SECRET_FILE = directory"),
    row(&[("HOLDFAST_ROOT_SECRET_KEY", "")], "SERVER", 2, "root_secret_key is required"),
    row(&[("HOLDFAST_ROOT_ACCESS_KEY", "x")], "SERVER", 2, "HOLDFAST_ROOT_ACCESS_KEY: must have 3"),
    row(&[], "server --admin-listen 0.0.0.0:0", 2, "HOLDFAST_ADMIN_TOKEN is required"),
    row(&[("HOLDFAST_ADMIN_TOKEN", "short")], "SERVER", 2, "HOLDFAST_ADMIN_TOKEN: must have 16"),
    // The index.
    row(&[("HOLDFAST_INDEX", "redis:/host")], "SERVER", 2, "HOLDFAST_INDEX: expected redis://"),
    row(&[("HOLDFAST_INDEX", "http://:sesame@host:6379")], "SERVER", 2, "or `embedded`"),
    row(&[("HOLDFAST_INDEX_FILE", "nowhere")], "SERVER", 2, "HOLDFAST_INDEX_FILE = nowhere"),
    row(&[], "SERVER --index redis://host", 2, "'--index'"),
    // Profiles.
    row(&[("HOLDFAST_PROFILES", "yes")], "SERVER", 2, "HOLDFAST_PROFILES: expected true or false"),
    row(&[("HOLDFAST_PROFILES", "true")], "SERVER", 2, "admin_token is required: profiles are for those who have it"),
    // Logging.
    row(&[], "SERVER --log-format xml", 2, "--log-format: expected json, text or auto"),
    row(&[], "SERVER --log holdfast=loud", 2, "loud"),
    // Certificates.
    row(&[], "SERVER --tls-cert a.crt", 2, "tls_key is required"),
    row(&[], "SERVER --peer-cert a.crt --peer-key a.key", 2, "peer_ca is required"),
    row(&[], "SERVER --tls-cert nowhere.crt --tls-key a.key", 2, "nowhere.crt"),
    row(&[], "SERVER --tls-cert expired.crt --tls-key expired.key", 2, "the certificate expired on 2021-01-01"),
    row(&[], "SERVER --tls-cert certs/a.crt --tls-key certs/b.key", 2, "is not the key of the certificate"),
    row(&[], "SERVER --tls-cert certs/a.key --tls-key certs/a.key", 2, "no certificate in PEM form"),
    row(&[], "SERVER --tls-cert certs/a.crt --tls-key certs/a.crt", 2, "no private key in PEM form"),
    row(&[], "SERVER --tls-plain everything", 2, "expected s3, admin or ops"),
    row(&[], "certs init certs", 2, "never overwritten"),
    row(&[], "certs issue directory n1", 2, "ca.key"),
    row(&[], "certs init elsewhere --name ../x", 2, "../x"),
    // What stands in the way on this machine.
    row(&[], "server --data data --s3-listen 127.0.0.1:PORT", 2, "for S3: the port is in use"),
    row(&[], "server --data data --s3-listen 192.0.2.1:0", 2, "this machine does not have that address"),
    row(&[], "server --data binary.toml/data", 2, "binary.toml/data"),
    row(&[], "server --data taken", 2, "another process uses it"),
    row(&[], "server --data newer", 2, "a newer version of Holdfast wrote it"),
    row(&[], "server --data damaged", 2, "identity: damaged"),
    // The command line's own side.
    row(&[], "cluster status --admin nonsense", 2, "is not an admin URL"),
    row(&[], "cluster status --admin https://127.0.0.1:1", 2, "--ca"),
    row(&[], "cluster status --admin https://127.0.0.1:1 --ca nowhere.crt", 2, "nowhere.crt"),
    row(&[], "cluster status --admin http://127.0.0.1:1", 1, "cannot reach the admin API"),
    row(&[], "cluster transfer-leader one n2", 2, "'one'"),
    row(&[], "cluster drained --admin http://127.0.0.1:1", 1, "which node?"),
    row(&[], "health --ops-listen 127.0.0.1:1", 1, "no answer: 127.0.0.1:1"),
];

fn lay_out(dir: &Path) -> Result<File, Failure> {
    for (name, text) in [
        ("typo.toml", &b"shard = 2\n"[..]),
        ("section.toml", b"[s3]\nlisten = '127.0.0.1:1'\n"),
        ("syntax.toml", b"shards = 2\nregion = \n"),
        ("type.toml", b"shards = 2.5\n"),
        ("binary.toml", b"\xff\xfe\x00"),
        ("secret", b"a-secret-from-a-file\n"),
        ("expired.crt", EXPIRED.0.as_bytes()),
        ("expired.key", EXPIRED.1.as_bytes()),
    ] {
        std::fs::write(dir.join(name), text)?;
    }
    for name in ["directory", "taken", "newer", "damaged"] {
        std::fs::create_dir(dir.join(name))?;
    }
    std::fs::write(dir.join("newer/format"), "2\n")?;
    std::fs::write(dir.join("damaged/identity"), "nonsense")?;
    let made = run(dir, &[], &["certs", "init", "certs", "--name", "a", "--name", "b"])?;
    assert!(made.status.success(), "{made:?}");
    let lock = File::options().create(true).append(true).open(dir.join("taken/lock"))?;
    lock.lock()?;
    Ok(lock)
}

#[test]
fn every_wrong_input_ends_in_one_clear_line_and_the_right_code() {
    let test = || -> Test {
        let dir = TempDir::new()?;
        let _taken = lay_out(dir.path())?;
        let ports = Ports::take()?;
        let busy = TcpListener::bind(("127.0.0.1", ports.of(0).s3))?;
        let busy_port = busy.local_addr()?.port().to_string();
        let mut bad = Vec::new();
        for Row { env, args, code, says } in TABLE {
            let listeners = "--s3-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --ops-listen 127.0.0.1:0";
            let line = args.replace("SERVER", &format!("server --data data {listeners}")).replace("PORT", &busy_port);
            let line = match line.strip_prefix("server --data ") {
                Some(rest) if !rest.contains("--ops-listen") => {
                    format!("server {listeners} --peer-listen 127.0.0.1:0 --data {rest}")
                }
                _ => line,
            };
            // Later flags would be refused as repeated: the last of two wins here.
            let mut words: Vec<&str> = Vec::new();
            let given: Vec<&str> = line.split(' ').collect();
            let mut at = 0;
            while at < given.len() {
                let repeated =
                    given[at].starts_with("--") && given[at + 1..].contains(&given[at]) && given[at] != "--name";
                if repeated {
                    at += 2;
                    continue;
                }
                words.push(given[at]);
                at += 1;
            }
            let env: Vec<(&str, &str)> =
                ROOT.iter().filter(|(name, _)| env.iter().all(|(set, _)| set != name)).chain(*env).copied().collect();
            let output = run(dir.path(), &env, &words)?;
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let one_line = !said.is_empty() && !said.contains('\n') && said.starts_with("holdfast: ");
            if output.status.code() != Some(*code) || !one_line || !said.contains(says) {
                bad.push(format!(
                    "{env:?} {words:?}\n  ended with {:?} and said: {said}\n  expected {code}: {says}",
                    output.status.code()
                ));
            }
        }
        assert!(TABLE.len() >= 40);
        match bad.is_empty() {
            true => Ok(()),
            false => Err(Failure::new(format!("{} of {} rows:\n{}", bad.len(), TABLE.len(), bad.join("\n")))),
        }
    };
    if let Err(failure) = test() {
        panic!("{failure}");
    }
}

/// A clock that was never set, and a disk without any room: each needs a means that not every machine has.
#[test]
fn a_machine_that_cannot_do_is_named_in_one_clear_line() {
    let test = || -> Test {
        let dir = TempDir::new()?;
        let args = ["server", "--s3-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--ops-listen"];
        let args = [&args[..], &["127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--data"]].concat();
        let refused = |env: &[(&str, &str)], data: &str, says: &str| -> Test {
            let output = run(dir.path(), &[ROOT, env].concat(), &[&args[..], &[data]].concat())?;
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            let one_line = said.starts_with("holdfast: ") && !said.contains('\n');
            match output.status.code() == Some(2) && one_line && said.contains(says) {
                true => Ok(()),
                false => Err(Failure::new(format!("expected {says:?}: {:?}, {said}", output.status))),
            }
        };
        match Clock::make(dir.path()) {
            Ok(clock) => {
                clock.jump(-40 * 365 * 86_400)?;
                let env = clock.env();
                let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                refused(&env, "clock", "this machine's clock says 198")?;
                fault::state("–", "a clock forty years behind at a start", &Outcome::Installed("1986".to_owned()))?;
            }
            Err(error) => fault::skipped("–", "a clock forty years behind at a start", &error),
        }
        match Disk::make(dir.path(), "full", Kind::Ext4, 16 << 20) {
            Ok(disk) => {
                let filled = fill(&disk.path().join("ballast"))?;
                refused(&[], "full/data", "No space left on device")?;
                let evidence = Outcome::Installed(format!("{filled} bytes fill it"));
                fault::state("–", "a full disk at a first start", &evidence)?;
            }
            Err(error) => fault::skipped("–", "a full disk at a first start", &error),
        }
        Ok(())
    };
    if let Err(failure) = test() {
        panic!("{failure}");
    }
}

/// Writes until there is no room, and says how much that was.
fn fill(path: &Path) -> std::io::Result<u64> {
    let mut file = File::create(path)?;
    let mut filled = 0;
    for size in [65_536, 512, 1] {
        loop {
            match file.write(&vec![1; size]) {
                Ok(written) => filled += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
    }
    file.sync_all()?;
    Ok(filled)
}

/// Secrets stand in the environment and in files; whatever is printed, they are not.
#[test]
fn no_secret_is_ever_printed() {
    let test = || -> Test {
        let dir = TempDir::new()?;
        let secret = "never-to-be-seen-1234";
        let env: Vec<(&str, &str)> =
            ["HOLDFAST_CLUSTER_SECRET", "HOLDFAST_ROOT_ACCESS_KEY", "HOLDFAST_ROOT_SECRET_KEY", "HOLDFAST_ADMIN_TOKEN"]
                .iter()
                .map(|name| (*name, secret))
                .chain([("HOLDFAST_LOG", "trace"), ("HOLDFAST_INDEX", "redis://:never-to-be-seen-1234@127.0.0.1:1")])
                .collect();
        for args in [
            &["config", "check"][..],
            &["config", "show", "--role", "server"],
            &["config", "check", "--shards", "0"],
            &["server", "--shards", "0"],
            &["server", "--data", "data", "--s3-listen", "192.0.2.1:0"],
            &["cluster", "status", "--admin", "http://127.0.0.1:1"],
            &["server", "--help"],
        ] {
            let output = run(dir.path(), &env, args)?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!said.contains(secret), "{args:?}: {said}");
        }
        Ok(())
    };
    if let Err(failure) = test() {
        panic!("{failure}");
    }
}
