//! `holdfast doctor`: looks at what a node needs from its machine, before it is started or while it runs. It changes
//! nothing but a file of 4 KiB that it writes, syncs and removes again.

mod certificates;
mod limits;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_replica::file::{Files, Open};
use holdfast_replica::index::engine::{Found, look};
use holdfast_wire::seam::{Clock, Net};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::config::{Config, Secret};
use crate::tls::Sources;

/// Syncs that are measured.
const SYNCS: usize = 50;
/// A median above this makes every write slow.
const SYNC_SLOW: Duration = Duration::from_millis(10);
/// A file system with less than this part free (1/N) is nearly full.
const FREE_PART: u64 = 20;
/// How long a peer may take to accept a connection.
const REACH_WITHIN: Duration = Duration::from_secs(2);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It will run, but not well.
    Warn,
    /// It will not run, or not keep its promises.
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found and, unless it is well, what to do.
    pub found: String,
}

fn check(what: &'static str, verdict: Verdict, found: impl Into<String>) -> Check {
    Check { what, verdict, found: found.into() }
}

/// Looks at everything that a process with this configuration needs.
pub async fn examine(config: &Config, files: Arc<dyn Files>, net: &dyn Net, clock: Arc<dyn Clock>) -> Vec<Check> {
    let mut found = Vec::new();
    if config.role.has_replica() {
        found.extend(disk(&*files, &config.data));
        found.extend(config.index.as_ref().map(redis));
    }
    found.push(time(&*clock));
    for peer in &config.peers {
        found.push(name(&peer.address).await);
        if peer.name != config.name {
            found.push(reach(net, &peer.address).await);
        }
    }
    let listens = [
        (config.role.has_gateway(), &config.s3_listen),
        (true, &config.admin_listen),
        (true, &config.ops_listen),
        (config.role.has_replica(), &config.peer_listen),
    ];
    for (_, address) in listens.iter().filter(|(used, address)| *used && !address.is_empty()) {
        found.push(port(net, address).await);
    }
    let sources = Sources { files: files.clone(), clock };
    found.extend(certificates::examine(config, &sources));
    found.extend(limits::examine(config, &*files));
    found
}

/// The data directory, or what it would be made in.
fn disk(files: &dyn Files, data: &Path) -> Vec<Check> {
    let there = data.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let Some(data) = there.into_iter().find(|path| files.read_dir(path).is_ok()) else {
        return vec![check(
            "disk",
            Verdict::Fail,
            format!("{} cannot be made: nothing above it can be read", data.display()),
        )];
    };
    let shown = data.display();
    let mut found = Vec::new();
    match files.space(data) {
        Ok(space) if space.free < space.total / FREE_PART => {
            let text = format!("{shown} has {} of {} MiB free: nearly full", space.free >> 20, space.total >> 20);
            found.push(check("disk", Verdict::Warn, text));
        }
        Ok(space) => {
            let text = format!("{shown} has {} of {} MiB free", space.free >> 20, space.total >> 20);
            found.push(check("disk", Verdict::Ok, text));
        }
        Err(error) => found.push(check("disk", Verdict::Fail, format!("{shown}: {error}"))),
    }
    found.push(match syncs(files, data) {
        Ok((median, worst)) => {
            let text = format!("{SYNCS} syncs of 4 KiB: median {median:?}, slowest {worst:?}");
            match median > SYNC_SLOW {
                true => {
                    check("fsync", Verdict::Warn, format!("{text}; every write waits for one on a majority of nodes"))
                }
                false => check("fsync", Verdict::Ok, text),
            }
        }
        Err(error) => check("fsync", Verdict::Fail, format!("{shown} cannot be written: {error}")),
    });
    found
}

/// The Redis that keeps the index.
fn redis(url: &Secret) -> Check {
    match look(url.reveal()) {
        Err(error) => check("redis", Verdict::Fail, error.to_string()),
        Ok(found) => {
            let Found { place, version, used, limit, policy, question } = found;
            let room = if limit == 0 { "no limit".to_owned() } else { format!("of {} MiB", limit >> 20) };
            let text =
                format!("{place}: version {version}, {} MiB used, {room}, a question takes {question:?}", used >> 20);
            match policy == "noeviction" || limit == 0 {
                true => check("redis", Verdict::Ok, text),
                false => {
                    let advice = "an index that it evicts has to be filled in again: set maxmemory-policy noeviction";
                    check("redis", Verdict::Warn, format!("{text}, maxmemory-policy {policy}; {advice}"))
                }
            }
        }
    }
}

/// Median and slowest.
fn syncs(files: &dyn Files, data: &Path) -> std::io::Result<(Duration, Duration)> {
    let path = data.join(format!("doctor-{}", std::process::id()));
    let file = files.open(&path, Open::Create)?;
    let measured = (0..SYNCS).map(|at| {
        let began = Instant::now();
        file.write_all_at(&[at as u8; 4096], 0)?;
        file.sync_data()?;
        Ok(began.elapsed())
    });
    let measured: std::io::Result<Vec<_>> = measured.collect();
    files.remove_file(&path)?;
    let mut measured = measured?;
    measured.sort_unstable();
    Ok((measured[SYNCS / 2], measured[SYNCS - 1]))
}

/// Signatures of requests are good for a quarter of an hour around the clock's time.
fn time(clock: &dyn Clock) -> Check {
    if let Err(wrong) = crate::clock::check(clock) {
        return check("clock", Verdict::Fail, wrong.to_string());
    }
    match kept_right() {
        Some(false) => {
            let text = "the kernel says that no time service keeps it right; clients whose clocks differ by 15 minutes are refused";
            check("clock", Verdict::Warn, text)
        }
        Some(true) => check("clock", Verdict::Ok, "kept right by a time service"),
        None => check("clock", Verdict::Ok, "set; the kernel does not say whether a time service keeps it right"),
    }
}

/// What the kernel's clock discipline says: adjtimex(2), asked without changing anything.
fn kept_right() -> Option<bool> {
    // SAFETY: an all-zero `timex` is valid and asks for nothing to be changed; the kernel fills it.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex)
    };
    if state < 0 { None } else { Some(timex.status & libc::STA_UNSYNC == 0) }
}

async fn name(address: &str) -> Check {
    match timeout(REACH_WITHIN, tokio::net::lookup_host(address)).await {
        Ok(Ok(mut found)) => match found.next() {
            Some(first) => check("name", Verdict::Ok, format!("{address} is {}", first.ip())),
            None => check("name", Verdict::Warn, format!("{address} has no address yet")),
        },
        Ok(Err(error)) => check("name", Verdict::Warn, format!("{address} does not resolve yet: {error}")),
        Err(_) => check("name", Verdict::Warn, format!("{address}: no answer of the name service in {REACH_WITHIN:?}")),
    }
}

async fn reach(net: &dyn Net, address: &str) -> Check {
    match timeout(REACH_WITHIN, net.connect(address)).await {
        Ok(Ok(_)) => check("peer", Verdict::Ok, format!("{address} accepts connections")),
        Ok(Err(error)) => check("peer", Verdict::Warn, format!("{address}: {error}; fine if it does not run yet")),
        Err(_) => {
            check("peer", Verdict::Warn, format!("{address}: no answer in {REACH_WITHIN:?}; is a firewall between?"))
        }
    }
}

async fn port(net: &dyn Net, address: &str) -> Check {
    match net.listen(address).await {
        Ok(_) => check("port", Verdict::Ok, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            check("port", Verdict::Warn, format!("{address} is in use; fine if that is this node"))
        }
        Err(error) => check("port", Verdict::Fail, format!("{address}: {error}")),
    }
}

/// One line a check.
pub fn text(checks: &[Check]) -> String {
    let line = |check: &Check| {
        let verdict = match check.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        format!("{verdict}  {:7} {}\n", check.what, check.found)
    };
    checks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use holdfast_replica::file::RealFiles;
    use holdfast_wire::seam::{SystemClock, TcpNet};

    use super::*;
    use crate::config::key::Role;

    struct At(u64);

    impl Clock for At {
        fn unix_millis(&self) -> u64 {
            self.0
        }
    }

    #[tokio::test]
    async fn a_sound_machine_is_sound_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let holder = TcpNet.listen("127.0.0.1:0").await.unwrap();
        let taken = holder.local_addr().unwrap().to_string();
        let flags = [("data", dir.path().to_str().unwrap()), ("s3-listen", &taken), ("admin-listen", "127.0.0.1:0")];
        let mut flags: Vec<_> = flags.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        flags.push(("ops-listen".to_owned(), "127.0.0.1:0".to_owned()));
        let read = |_: &Path| Ok(None);
        let settings = crate::config::settings(flags, [], &read).unwrap();
        let config = Config::new(Role::Dev, &settings, &read).unwrap();
        let found = examine(&config, Arc::new(RealFiles), &TcpNet, Arc::new(SystemClock)).await;
        assert!(found.iter().all(|check| check.verdict < Verdict::Fail), "{}", text(&found));
        assert!(text(&found).contains(&format!("warn  port    {taken} is in use")), "{}", text(&found));
        assert!(found.iter().any(|check| check.what == "fsync"));
        assert!(RealFiles.read_dir(dir.path()).unwrap().is_empty());
        let beneath = dir.path().join("not/there/yet");
        let found = disk(&RealFiles, &beneath);
        assert!(found.iter().all(|check| check.verdict < Verdict::Fail), "{}", text(&found));
        assert!(RealFiles.read_dir(dir.path()).unwrap().is_empty(), "nothing is made");
    }

    /// `certs` checks of a node with these pairs, as lines.
    fn certs(dir: &Path, address: &str, ca: &str, now_ms: u64) -> String {
        let at = |name: &str| dir.join(name).display().to_string();
        let flags = [
            ("name", "n1".to_owned()),
            ("peers", format!("n1={address}")),
            ("data", at("data")),
            ("tls-cert", at("n1.crt")),
            ("tls-key", at("n1.key")),
            ("peer-cert", at("n1.crt")),
            ("peer-key", at("n1.key")),
            ("peer-ca", at(ca)),
            ("s3-domains", "s3.example".to_owned()),
        ];
        let flags = flags.map(|(name, value)| (name.to_owned(), value));
        let environment = [("HOLDFAST_ROOT_ACCESS_KEY", "operator"), ("HOLDFAST_ROOT_SECRET_KEY", "sixteen-letters!")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let read = |_: &Path| Ok(None);
        let settings = crate::config::settings(flags, environment, &read).unwrap();
        let config = Config::new(Role::Server, &settings, &read).unwrap();
        let sources = Sources { files: Arc::new(RealFiles), clock: Arc::new(At(now_ms)) };
        text(&certificates::examine(&config, &sources))
    }

    #[test]
    fn certificates_are_judged_by_those_who_will_see_them() {
        use crate::certs::{Action, run};
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sources = Sources { files: Arc::new(RealFiles), clock: Arc::new(SystemClock) };
        for (dir, subjects) in [(&dir, vec!["n1=localhost".to_owned()]), (&other, Vec::new())] {
            run(&Action::Init { dir: dir.path().to_owned(), subjects, days: 90 }, &sources).unwrap();
        }
        RealFiles.rename(&other.path().join("ca.crt"), &dir.path().join("other.crt")).unwrap();
        let now = SystemClock.unix_millis();
        let days = |days: u64| now + days * 86_400_000;
        let sound = certs(dir.path(), "localhost:9003", "ca.crt", now);
        assert!(sound.contains("for clients, valid for 89 days") || sound.contains("valid for 90 days"), "{sound}");
        assert!(sound.contains("signed by the peers' authority, for localhost:9003"), "{sound}");
        assert!(sound.contains("warn  certs   ") && sound.contains("not for *.s3.example"), "{sound}");
        assert!(!sound.contains("FAIL"), "{sound}");
        let soon = certs(dir.path(), "localhost:9003", "ca.crt", days(70));
        assert!(soon.contains("days: renew it") && !soon.contains("FAIL"), "{soon}");
        let late = certs(dir.path(), "localhost:9003", "ca.crt", days(100));
        assert!(late.contains("FAIL") && late.contains("the certificate expired on"), "{late}");
        let name = certs(dir.path(), "127.0.0.1:9003", "ca.crt", now);
        assert!(name.contains("peers will refuse it: its certificate is not for 127.0.0.1"), "{name}");
        let stranger = certs(dir.path(), "localhost:9003", "other.crt", now);
        assert!(stranger.contains("from an authority that is not trusted here"), "{stranger}");
        let nothing = certs(dir.path(), "localhost:9003", "n1.key", now);
        assert!(nothing.contains("no certificate in PEM form"), "{nothing}");
    }

    #[test]
    fn a_clock_that_was_never_set_is_found() {
        assert_eq!(time(&At(0)).verdict, Verdict::Fail);
        assert_ne!(time(&SystemClock).verdict, Verdict::Fail);
    }
}
