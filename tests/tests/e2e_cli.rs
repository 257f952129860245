//! The real `aws` command line against three real nodes, byte for byte. `HOLDFAST_TEST_LARGE_MIB=500` makes the five
//! parallel copies as large as in the report.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use holdfast_tests::client::plain;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::rng::Rng;
use http::StatusCode;
use tokio::process::Command;

type Test = Result<(), Failure>;

struct Aws {
    dir: PathBuf,
    gateways: Vec<String>,
    env: Vec<(String, String)>,
}

impl Aws {
    fn new(cluster: &Cluster) -> Result<Self, Failure> {
        let dir = cluster.dir().join("aws");
        std::fs::create_dir_all(&dir)?;
        // Version 1 presigns with the retired signature unless told otherwise.
        std::fs::write(dir.join("config"), "[default]\ns3 =\n    signature_version = s3v4\n")?;
        let text = |text: &str| text.to_owned();
        let env = vec![
            (text("AWS_ACCESS_KEY_ID"), cluster.keys().access.clone()),
            (text("AWS_SECRET_ACCESS_KEY"), cluster.keys().secret.clone()),
            (text("AWS_DEFAULT_REGION"), text("us-east-1")),
            (text("AWS_EC2_METADATA_DISABLED"), text("true")),
            (text("AWS_CONFIG_FILE"), dir.join("config").display().to_string()),
            (text("AWS_SHARED_CREDENTIALS_FILE"), text("/dev/null")),
            (text("AWS_PAGER"), String::new()),
        ];
        Ok(Self { dir, gateways: cluster.gateways(), env })
    }

    /// Runs `aws` through a gateway; its output.
    async fn run(&self, through: usize, args: &[&str]) -> Result<String, Failure> {
        let endpoint = format!("http://{}", self.gateways[through % self.gateways.len()]);
        let start = std::time::Instant::now();
        let output = Command::new("aws")
            .args(["--endpoint-url", &endpoint])
            .args(args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.dir)
            .kill_on_drop(true)
            .output()
            .await?;
        if start.elapsed() > Duration::from_secs(5) {
            println!("aws {args:?} took {:?}", start.elapsed());
        }
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Failure::new(format!("aws {args:?}: {}", String::from_utf8_lossy(&output.stderr)))),
        }
    }

    /// Makes a file of pseudo-random bytes.
    fn file(&self, name: &str, seed: u64, len: usize) -> std::io::Result<()> {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
        let block = Rng::new(seed).bytes(len.min(8 << 20));
        let mut file = std::fs::File::create(path)?;
        let mut left = len;
        let mut number = seed;
        while left > 0 {
            let count = left.min(block.len());
            // No two blocks of a file, and no two files, are alike.
            let stamp = number.to_le_bytes();
            let stamped = count.min(stamp.len());
            file.write_all(&stamp[..stamped])?;
            file.write_all(&block[stamped..count])?;
            (left, number) = (left - count, number + 1_000_003);
        }
        // `sync` compares with Last-Modified, which has whole seconds: an object stored in the second in which its file
        // was made looks older than the file.
        file.set_modified(SystemTime::now() - Duration::from_secs(60))
    }

    async fn same(&self, a: &str, b: &str) -> Result<(), Failure> {
        let output = Command::new("cmp").args([a, b]).current_dir(&self.dir).output().await?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!("{}", String::from_utf8_lossy(&output.stdout)))),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_every_size_go_up_and_come_back() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let aws = Aws::new(cluster)?;
        aws.run(0, &["s3", "mb", "s3://files"]).await?;
        for (at, size) in [0, 1, 65_535, 65_536, 65_537, 8 << 20, (8 << 20) + 1].into_iter().enumerate() {
            let (up, down, url) = (format!("up{size}"), format!("down{size}"), format!("s3://files/dir{at}/f{size}"));
            aws.file(&up, at as u64, size)?;
            aws.run(at, &["s3", "cp", &up, &url, "--no-progress"]).await?;
            aws.run(at + 1, &["s3", "cp", &url, &down, "--no-progress"]).await?;
            aws.same(&up, &down).await?;
        }
        let listed = aws.run(1, &["s3", "ls", "--recursive", "s3://files"]).await?;
        assert_eq!(listed.lines().count(), 7, "{listed}");
        assert!(listed.contains("65536 dir3/f65536"), "{listed}");
        let rolled = aws.run(2, &["s3", "ls", "s3://files"]).await?;
        assert!(rolled.lines().all(|line| line.trim().starts_with("PRE dir")), "{rolled}");

        aws.run(0, &["s3", "mv", "s3://files/dir2/f65535", "s3://files/moved/f"]).await?;
        aws.run(1, &["s3", "cp", "s3://files/moved/f", "moved"]).await?;
        aws.same("up65535", "moved").await?;
        assert!(aws.run(2, &["s3", "ls", "s3://files/dir2/f65535"]).await.is_err());

        let url = aws.run(0, &["s3", "presign", "s3://files/dir4/f65537"]).await?;
        let uri: http::Uri = url.trim().parse()?;
        let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let (status, _) = plain::get(&authority, &path, None).await?;
        assert_eq!(status, StatusCode::OK, "{url}");
        let fetched = Command::new("curl").args(["-sf", "-o", "fetched", url.trim()]).current_dir(&aws.dir).status();
        assert!(fetched.await?.success());
        aws.same("up65537", "fetched").await?;

        aws.run(0, &["s3", "rm", "--recursive", "s3://files"]).await?;
        assert_eq!(aws.run(1, &["s3", "ls", "--recursive", "s3://files"]).await.unwrap_or_default(), "");
        aws.run(2, &["s3", "rb", "s3://files"]).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_are_kept_in_step() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let aws = Aws::new(cluster)?;
        aws.run(0, &["s3", "mb", "s3://tree"]).await?;
        for number in 0..60_u64 {
            aws.file(&format!("tree/d{}/ü f{number}", number % 7), number, (number * 997) as usize)?;
        }
        aws.run(0, &["s3", "sync", "tree", "s3://tree", "--no-progress"]).await?;
        aws.run(1, &["s3", "sync", "s3://tree", "back", "--no-progress"]).await?;
        assert_eq!(tree(&aws.dir.join("tree"))?, tree(&aws.dir.join("back"))?);
        let again = aws.run(2, &["s3", "sync", "tree", "s3://tree", "--no-progress"]).await?;
        if !again.is_empty() {
            let stored = aws.run(2, &["s3", "ls", "--recursive", "s3://tree"]).await?;
            let mut listing = Command::new("ls");
            let listing = listing.args(["-lR", "--time-style=full-iso", "tree"]).current_dir(&aws.dir).output().await?;
            let local = String::from_utf8_lossy(&listing.stdout);
            return Err(Failure::new(format!("nothing has changed, but {again}; stored {stored}; local {local}")));
        }
        std::fs::remove_dir_all(aws.dir.join("tree/d3"))?;
        aws.file("tree/d1/new", 99, 5000)?;
        aws.run(0, &["s3", "sync", "tree", "s3://tree", "--delete", "--no-progress"]).await?;
        aws.run(1, &["s3", "sync", "s3://tree", "back", "--delete", "--no-progress"]).await?;
        assert!(!aws.dir.join("back/d3").exists() || std::fs::read_dir(aws.dir.join("back/d3"))?.next().is_none());
        assert_eq!(tree(&aws.dir.join("tree"))?, tree(&aws.dir.join("back"))?);
        Ok(())
    })
    .await;
}

/// Relative path and bytes of every file.
fn tree(root: &Path) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let (mut found, mut open) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            match path.is_dir() {
                true => open.push(path),
                false => found.push((path.strip_prefix(root).unwrap_or(&path).to_owned(), std::fs::read(&path)?)),
            }
        }
    }
    found.sort();
    Ok(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_large_files_at_once() {
    let mib = std::env::var("HOLDFAST_TEST_LARGE_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(64_usize);
    on_cluster(Options::default(), async |cluster| -> Test {
        let aws = Aws::new(cluster)?;
        aws.run(0, &["s3", "mb", "s3://large"]).await?;
        for number in 0..5 {
            aws.file(&format!("up{number}"), number, (mib << 20) + number as usize)?;
        }
        let copy = async |direction: &str| -> Test {
            let copies = (0..5).map(|number| {
                let (url, up, down) =
                    (format!("s3://large/d{number}/f"), format!("up{number}"), format!("down{number}"));
                let (aws, direction) = (&aws, direction.to_owned());
                async move {
                    let (from, to) = if direction == "up" { (&up, &url) } else { (&url, &down) };
                    aws.run(number, &["s3", "cp", from, to, "--no-progress"]).await
                }
            });
            let start = std::time::Instant::now();
            for result in futures::future::join_all(copies).await {
                result?;
            }
            let rate = (5 * mib) as f64 / start.elapsed().as_secs_f64();
            println!("{direction}: 5 x {mib} MiB in {:?}, {rate:.0} MiB/s", start.elapsed());
            Ok(())
        };
        copy("up").await?;
        copy("down").await?;
        for number in 0..5 {
            aws.same(&format!("up{number}"), &format!("down{number}")).await?;
        }
        Ok(())
    })
    .await;
}
