//! The tools that people use, those of them that install in seconds, against three real nodes with default settings:
//! what `make compat` does with all of them (`tests/compat`).
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use tokio::process::Command;

/// What `.ci/tools` installs.
const REQUIRED: &str = "boto3,s3cmd";
/// What it installs where the distribution's packages can be reached.
const BESIDES: &str = "rclone,restic";
const LIMIT: Duration = Duration::from_secs(300);

/// The Python that has them: `TOOLS` is the Makefile's.
fn python() -> PathBuf {
    let tools = std::env::var_os("TOOLS").map(PathBuf::from);
    let tools = tools.or_else(|| std::env::home_dir().map(|home| home.join(".cache/holdfast-tools")));
    tools.expect("a home directory").join("clients/bin/python")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tools_wrote_comes_back_byte_for_byte() {
    // SSE-S3 is something that one of them looks at.
    let ring = ("HOLDFAST_ENCRYPTION_KEYS".to_owned(), format!("of-a-test:{}=", "A".repeat(43)));
    let options = Options { env: vec![ring], ..Options::default() };
    on_cluster(options, async |cluster: &mut Cluster| -> Result<(), Failure> {
        let python = python();
        let beside = python.parent().expect("it lies in a directory");
        let path = format!("{}:{}", beside.display(), std::env::var("PATH").unwrap_or_default());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat/matrix.py");
        let mut command = Command::new(&python);
        command.arg("-B").arg(script).args(["--endpoint", &format!("http://{}", cluster.gateways()[0])]);
        command.args(["--only", &format!("{REQUIRED},{BESIDES}"), "--require", REQUIRED]);
        command.env("PATH", path).kill_on_drop(true);
        command.env("COMPAT_ACCESS_KEY", &cluster.keys().access).env("COMPAT_SECRET_KEY", &cluster.keys().secret);
        let done = tokio::time::timeout(LIMIT, command.output()).await?;
        let done = done.map_err(|error| Failure::new(format!("{}: {error} (`make tools`)", python.display())))?;
        let said = String::from_utf8_lossy(&done.stdout);
        println!("{said}");
        match done.status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!("{said}{}", String::from_utf8_lossy(&done.stderr)))),
        }
    })
    .await;
}
