//! The restore drill, as docs/operations.md has it: a backup of a running cluster, the cluster's end, a new one made of
//! the backup.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::rng::Rng;
use holdfast_tests::wait;
use http::Method;
use tokio::process::Command;

type Test = Result<(), Failure>;
type Objects = BTreeMap<(&'static str, String), Bytes>;

/// Runs `holdfast` with the environment of node number `at`.
async fn holdfast(cluster: &mut Cluster, at: usize, args: &[&str]) -> Result<serde_json::Value, Failure> {
    let binary = cluster.binary().to_owned();
    let (keys, endpoint) = (cluster.keys().clone(), cluster.endpoint(at));
    let node = cluster.node(at);
    let output = Command::new(binary)
        .args(args)
        .args(["-o", "json"])
        .env_clear()
        .envs(node.env.iter().filter(|(name, _)| !name.contains("ROOT")).cloned())
        .env("HOLDFAST_ADMIN", format!("http://127.0.0.1:{}", node.ports.admin))
        .envs([
            ("AWS_ACCESS_KEY_ID", keys.access),
            ("AWS_SECRET_ACCESS_KEY", keys.secret),
            ("AWS_ENDPOINT_URL", endpoint),
        ])
        .kill_on_drop(true)
        .output()
        .await?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).map_err(|error| Failure::new(error.to_string()))?),
        false => Err(Failure::new(format!("holdfast {args:?}: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}

fn client(cluster: &Cluster, at: usize) -> Raw {
    Raw::new(cluster.gateways()[at].clone(), cluster.keys().clone(), Duration::from_secs(30))
}

async fn put(client: &mut Raw, objects: &mut Objects, bucket: &'static str, key: String, body: Vec<u8>) -> Test {
    let body = Bytes::from(body);
    let reply = client.call(Call::object(Method::PUT, bucket, &key).body(body.clone())).await?;
    if !reply.status.is_success() {
        return Err(Failure::new(reply.text()));
    }
    objects.insert((bucket, key), body);
    Ok(())
}

async fn check(client: &mut Raw, objects: &Objects) -> Test {
    for ((bucket, key), body) in objects {
        let reply = client.call(Call::object(Method::GET, bucket, key)).await?;
        if reply.body != *body {
            return Err(Failure::new(format!("{bucket}/{key}: {} and another body", reply.status)));
        }
    }
    Ok(())
}

async fn whole(cluster: &Cluster, at: usize) -> Test {
    let probe = || async {
        let status = cluster.status(at).await.map_err(|error| error.to_string())?;
        let problems = &status.problems;
        let spread = status.groups.iter().all(|group| group.voters.len() == 3 && group.leader.is_some());
        if spread && problems.is_empty() { Ok(()) } else { Err(format!("{problems:?}")) }
    };
    Ok(wait::until("three voters everywhere", Duration::from_secs(60), probe).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_cluster_comes_back_from_its_backup() {
    on_cluster(Options { shards: 2, ..Options::default() }, async |cluster| -> Test {
        let (mut objects, mut rng) = (Objects::new(), Rng::new(5));
        let mut s3 = client(cluster, 0);
        for bucket in ["photos", "kept-here"] {
            s3.call(Call::bucket(Method::PUT, bucket)).await?;
        }
        // Versions that are deleted by their id are gone at once.
        let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let versioned = Call::bucket(Method::PUT, "photos").query("versioning", "").body(versioning);
        assert_eq!(s3.call(versioned).await?.status, 200);
        for i in 0..30 {
            put(&mut s3, &mut objects, "photos", format!("small/{i}"), rng.bytes(i * 100)).await?;
        }
        for i in 0..4 {
            put(&mut s3, &mut objects, "photos", format!("d{i}/large"), rng.bytes(1_500_000 + i)).await?;
        }
        let place = cluster.dir().join("backups").display().to_string();
        let first = holdfast(cluster, 0, &["backup", "create", &place]).await?;
        assert_eq!(first["copied_blobs"], 4, "{first}");

        // The next one copies only what is new, and the store itself is a place for backups, too.
        put(&mut s3, &mut objects, "photos", "d9/large".to_owned(), rng.bytes(700_000)).await?;
        let head = s3.call(Call::object(Method::HEAD, "photos", "d0/large")).await?;
        let version = head.header("x-amz-version-id").unwrap_or_default();
        s3.call(Call::object(Method::DELETE, "photos", "d0/large").query("versionId", version)).await?;
        objects.remove(&("photos", "d0/large".to_owned()));
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let second = holdfast(cluster, 1, &["backup", "create", &place]).await?;
        assert_eq!(second["copied_blobs"], 1, "{second}");
        let listed = holdfast(cluster, 0, &["backup", "list", &place]).await?;
        let names: Vec<_> = listed.as_array().into_iter().flatten().map(|made| &made["name"]).collect();
        assert_eq!(names, [&first["name"], &second["name"]]);
        let in_s3 = holdfast(cluster, 2, &["backup", "create", "s3://kept-here/holdfast/"]).await?;
        assert_eq!(in_s3["copied_blobs"], 4, "{in_s3}");
        let in_s3 = holdfast(cluster, 2, &["backup", "list", "s3://kept-here/holdfast"]).await?;
        assert_eq!(in_s3.as_array().map(Vec::len), Some(1));
        // Old ones go, with what only they named; of the newest everything stays, as the restore below shows.
        let pruned = holdfast(cluster, 2, &["backup", "prune", &place, "--keep", "1"]).await?;
        assert_eq!(
            (&pruned["backups"], &pruned["blobs"]),
            (&serde_json::json!([first["name"]]), &1.into()),
            "{pruned}"
        );
        let gone =
            holdfast(cluster, 2, &["backup", "remove", &place, first["name"].as_str().unwrap_or_default()]).await;
        assert!(gone.unwrap_err().to_string().contains("there is no backup"));

        put(&mut s3, &mut Objects::new(), "photos", "lost".to_owned(), b"behind the cut".to_vec()).await?;
        let old = cluster.status(0).await?.cluster;
        for at in 0..3 {
            cluster.node(at).kill();
            cluster.node(at).wipe()?;
        }
        let data = cluster.node(0).data.display().to_string();
        let address = format!("127.0.0.1:{}", cluster.node(0).ports.peer);
        let restore = ["backup", "restore", &place, "--name", "n1", "--data", &data, "--peer-address", &address];
        let restored = holdfast(cluster, 0, &restore).await?;
        assert_eq!((&restored["name"], &restored["blobs"]), (&second["name"], &4.into()), "{restored}");
        let again = holdfast(cluster, 0, &restore).await.unwrap_err().to_string();
        assert!(again.contains("empty directory"), "{again}");
        for at in 0..3 {
            cluster.node(at).start()?;
        }
        cluster.ready().await?;
        whole(cluster, 2).await?;
        assert_ne!(cluster.status(0).await?.cluster, old, "it is another cluster");

        let mut s3 = client(cluster, 2);
        check(&mut s3, &objects).await?;
        let lost = s3.call(Call::object(Method::GET, "photos", "lost")).await?;
        assert_eq!(lost.status, 404, "it came behind the cut");
        put(&mut s3, &mut objects, "photos", "small/1".to_owned(), b"new".to_vec()).await?;
        // Every node has everything: any one may go.
        cluster.node(0).kill();
        check(&mut client(cluster, 1), &objects).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_not_restored() {
    on_cluster(Options { nodes: 1, shards: 1, ..Options::default() }, async |cluster| -> Test {
        let mut s3 = client(cluster, 0);
        s3.call(Call::bucket(Method::PUT, "photos")).await?;
        put(&mut s3, &mut Objects::new(), "photos", "large".to_owned(), Rng::new(1).bytes(400_000)).await?;
        let place = cluster.dir().join("backups");
        holdfast(cluster, 0, &["backup", "create", &place.display().to_string()]).await?;
        let shelves = std::fs::read_dir(place.join("blobs"))?;
        let shelf = shelves.into_iter().flatten().next().expect("one blob").path();
        let blob = std::fs::read_dir(shelf)?.flatten().next().expect("one blob").path();
        let mut bytes = std::fs::read(&blob)?;
        bytes[200_000] ^= 1;
        std::fs::write(&blob, bytes)?;
        let data = cluster.dir().join("restored").display().to_string();
        let place = place.display().to_string();
        let refused =
            holdfast(cluster, 0, &["backup", "restore", &place, "--data", &data]).await.unwrap_err().to_string();
        assert!(refused.contains("damaged or cut off"), "{refused}");
        let none = holdfast(cluster, 0, &["backup", "restore", &place, "--data", &data, "--backup", "x"]).await;
        assert!(none.unwrap_err().to_string().contains("there is no backup"));
        Ok(())
    })
    .await;
}

/// The keys of encryption are not in a backup: without them what was encrypted stays closed, with them it is as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_objects_come_back_with_their_keys_alone() {
    let keys = |ring: &str| vec![("HOLDFAST_ENCRYPTION_KEYS".to_owned(), ring.to_owned())];
    const OLD: &str = "old:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const NEW: &str = "new:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
    let options = Options { nodes: 1, shards: 1, env: keys(OLD), ..Options::default() };
    on_cluster(options, async |cluster| -> Test {
        let mut s3 = client(cluster, 0);
        s3.call(Call::bucket(Method::PUT, "sealed")).await?;
        let mut objects = Objects::new();
        for (key, len) in [("small", 1000), ("large", 400_000)] {
            let body = Bytes::from(Rng::new(len).bytes(len as usize));
            let call = Call::object(Method::PUT, "sealed", key).body(body.clone());
            let reply = s3.call(call.header("x-amz-server-side-encryption", "AES256")).await?;
            assert_eq!(reply.status, 200, "{}", reply.text());
            objects.insert(("sealed", key.to_owned()), body);
        }
        let place = cluster.dir().join("backups");
        holdfast(cluster, 0, &["backup", "create", &place.display().to_string()]).await?;
        // What is kept there shows nothing.
        for file in walk(&place) {
            let bytes = std::fs::read(&file)?;
            let seen = objects.values().any(|body| bytes.windows(64).any(|window| window == &body[..64]));
            assert!(!seen, "{} has a body in the clear", file.display());
        }
        cluster.node(0).kill();
        cluster.node(0).wipe()?;
        let data = cluster.node(0).data.display().to_string();
        let address = format!("127.0.0.1:{}", cluster.node(0).ports.peer);
        let place = place.display().to_string();
        holdfast(
            cluster,
            0,
            &["backup", "restore", &place, "--name", "n1", "--data", &data, "--peer-address", &address],
        )
        .await?;
        // Rotated since: the old key stays behind the new one.
        for (ring, opens) in [(NEW.to_owned(), false), (format!("{NEW}\n{OLD}"), true)] {
            let node = cluster.node(0);
            node.env.retain(|(name, _)| name != "HOLDFAST_ENCRYPTION_KEYS");
            node.env.extend(keys(&ring));
            node.start()?;
            cluster.ready().await?;
            let mut s3 = client(cluster, 0);
            if opens {
                check(&mut s3, &objects).await?;
            } else {
                for (_, key) in objects.keys() {
                    let reply = s3.call(Call::object(Method::GET, "sealed", key)).await?;
                    assert!(!reply.status.is_success(), "{key}: {}", reply.status);
                }
            }
            cluster.node(0).kill();
        }
        Ok(())
    })
    .await;
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
