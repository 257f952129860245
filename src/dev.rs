//! `holdfast dev`: a whole cluster in one process. What a second start needs (keys, peer ports) is kept in `dev.json`
//! in the data directory, readable by its owner alone.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_gateway::seal::{BadKeyRing, KeyRing};
use holdfast_replica::file::{self, Files};
use holdfast_replica::node::NodeConfig;
use holdfast_wire::seam::Random;
use serde::{Deserialize, Serialize};

use crate::compose::{self, Plan};
use crate::config::{Config, Peer, RootKey, Secret, peers};
use crate::sockets::{BindError, Sockets};
use crate::tls::{Port, Tls};

/// What is kept between starts.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    access_key: String,
    secret_key: String,
    /// 32 bytes in base64.
    #[serde(default)]
    encryption_key: String,
    /// Peer port of each node.
    peer_ports: Vec<u16>,
}

/// Why `dev` does not start; one line each.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The file between starts.
    #[error("{}: {error}", path.display())]
    Kept {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file between starts is not ours.
    #[error("{}: damaged: {error}; move the directory away to start afresh", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// Fewer nodes than last time have no majority.
    #[error("the data in {} is that of {was} nodes: start with --nodes {was} or more, or with another --data", path.display())]
    FewerNodes {
        /// The data directory.
        path: PathBuf,
        /// Nodes at the last start.
        was: usize,
    },
    /// The encryption key in that file is none.
    #[error("{}: {error}; move the directory away to start afresh", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        error: BadKeyRing,
    },
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
}

/// Binds the listeners and lays the nodes out.
pub async fn plan(
    mut config: Config,
    nodes: usize,
    sockets: Arc<Sockets>,
    tls: Arc<Tls>,
    files: &dyn Files,
    random: &dyn Random,
) -> Result<Plan, DevError> {
    let path = config.data.join("dev.json");
    let failed = |error| DevError::Kept { path: config.data.clone(), error };
    files.create_dir_all(&config.data).map_err(failed)?;
    let mut kept = match file::read(files, &path).map_err(failed)? {
        Some(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| DevError::Damaged { path: path.clone(), error })?
        }
        None => Kept::default(),
    };
    if kept.peer_ports.len() > nodes {
        return Err(DevError::FewerNodes { path: config.data, was: kept.peer_ports.len() });
    }
    if kept.access_key.is_empty() {
        (kept.access_key, kept.secret_key) = draw_key(random);
    }
    let kept_root = RootKey { access: kept.access_key.clone(), secret: Secret::new(kept.secret_key.clone()) };
    config.root.get_or_insert(kept_root);
    if kept.encryption_key.is_empty() {
        kept.encryption_key = KeyRing::draw_key(random);
    }
    if config.encryption_keys.is_none() {
        let ring = KeyRing::parse(&format!("dev:{}", kept.encryption_key));
        config.encryption_keys = Some(Arc::new(ring.map_err(|error| DevError::Key { path: path.clone(), error })?));
    }

    config.s3_listen = sockets.bind(&config.s3_listen, "S3").await?;
    config.admin_listen = bind_beside(&sockets, &config.s3_listen, &config.admin_listen, 1, "the admin API").await?;
    config.ops_listen = bind_beside(&sockets, &config.s3_listen, &config.ops_listen, 2, "metrics and health").await?;
    let mut addresses = Vec::new();
    for at in 0..nodes {
        let before = kept.peer_ports.get(at).copied().unwrap_or(0);
        let address = match sockets.bind(&format!("127.0.0.1:{before}"), "peers").await {
            Err(_) if before != 0 => sockets.bind("127.0.0.1:0", "peers").await?,
            bound => bound?,
        };
        addresses.push(address);
    }
    kept.peer_ports = addresses.iter().filter_map(|address| peers::port(address)).collect();
    let bytes = serde_json::to_vec_pretty(&kept).expect("what is kept is always serializable");
    write_private(files, &path, &bytes).map_err(|error| DevError::Kept { path, error })?;

    config.peers =
        (1..).zip(&addresses).map(|(at, address)| Peer { name: format!("n{at}"), address: address.clone() }).collect();
    let common = compose::node_config(&config);
    let nodes = config
        .peers
        .iter()
        .map(|peer| NodeConfig {
            name: peer.name.clone(),
            data: config.data.join(&peer.name),
            listen: peer.address.clone(),
            address: peer.address.clone(),
            faults: config.enable_faults.then(Arc::default),
            ..common.clone()
        })
        .collect();
    Ok(Plan { config, nodes, sockets, tls })
}

/// An access key id of 20 and a secret of 40 characters, like those of AWS.
fn draw_key(random: &dyn Random) -> (String, String) {
    let mut bytes = [0; 29];
    random.fill(&mut bytes);
    (format!("HF{}", hex::encode_upper(&bytes[..9])), hex::encode(&bytes[9..]))
}

/// Binds the listener that is configured. Where none is and the usual port is taken, or S3 is elsewhere, the port next
/// to that of S3, or any.
async fn bind_beside(
    sockets: &Sockets,
    s3: &str,
    configured: &str,
    offset: u16,
    purpose: &'static str,
) -> Result<String, BindError> {
    let usual = format!("127.0.0.1:{}", 9000 + offset);
    if configured != usual {
        return sockets.bind(configured, purpose).await;
    }
    let beside = peers::port(s3).and_then(|port| port.checked_add(offset)).unwrap_or(0);
    match sockets.bind(&format!("127.0.0.1:{beside}"), purpose).await {
        Ok(bound) => Ok(bound),
        Err(_) => sockets.bind("127.0.0.1:0", purpose).await,
    }
}

/// Replaces a file that only its owner may read.
#[expect(clippy::disallowed_types, reason = "the file seam knows no modes, and a key must never be readable by others")]
fn write_private(files: &dyn Files, path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let beside = path.with_extension("new");
    match files.remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    files.rename(&beside, path)?;
    files.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// What the user sees when everything is ready.
pub fn greeting(config: &Config, nodes: usize, took: std::time::Duration) -> String {
    let (data, s3, admin, ops) = (config.data.display(), &config.s3_listen, &config.admin_listen, &config.ops_listen);
    let (access, secret) = config.root.as_ref().map_or(("", ""), |root| (&root.access, root.secret.reveal()));
    let region = &config.region;
    let plural = if nodes == 1 { "node" } else { "nodes" };
    let seconds = took.as_secs_f64();
    let scheme = |port| if config.tls.covers(port) { "https" } else { "http" };
    let (s3, admin, ops) = (
        format!("{}://{s3}", scheme(Port::S3)),
        format!("{}://{admin}", scheme(Port::Admin)),
        format!("{}://{ops}", scheme(Port::Ops)),
    );
    let status = if admin == "http://127.0.0.1:9001" { String::new() } else { format!(" --admin {admin}") };
    format!(
        "\nHoldfast is ready after {seconds:.2} s: {nodes} {plural}, data in {data}\n\n\
         \x20 S3       {s3}\n\
         \x20 admin    {admin}        (holdfast cluster status{status})\n\
         \x20 metrics  {ops}/metrics\n\n\
         Copy and paste:\n\n\
         \x20 export AWS_ENDPOINT_URL={s3} AWS_REGION={region}\n\
         \x20 export AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret}\n\
         \x20 aws s3 mb s3://demo\n\
         \x20 aws s3 cp README.md s3://demo/\n\
         \x20 aws s3 ls s3://demo/\n\n\
         Ctrl-C stops it; the data stays.\n"
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use holdfast_replica::file::RealFiles;
    use holdfast_wire::seam::{OsRandom, SystemClock, TcpNet};

    use super::*;
    use crate::config::key::Role;
    use crate::config::{layer, settings};

    async fn plan_in(data: &Path, nodes: usize, sockets: &Arc<Sockets>) -> Result<Plan, DevError> {
        let flags = [("data", data.to_str().unwrap()), ("s3-listen", "127.0.0.1:0")];
        let layer = settings([], [], &|_| Ok(None)).unwrap();
        let flags = flags.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let layer = layer::merge([layer, layer::flags(flags).unwrap()]);
        let config = Config::new(Role::Dev, &layer, &|_| Ok(None)).unwrap();
        let sources = crate::tls::Sources { files: Arc::new(RealFiles), clock: Arc::new(SystemClock) };
        let tls = Arc::new(Tls::load(&config.tls, sources).unwrap());
        plan(config, nodes, sockets.clone(), tls, &RealFiles, &OsRandom).await
    }

    fn fresh() -> Arc<Sockets> {
        Arc::new(Sockets::new(Arc::new(TcpNet)))
    }

    #[tokio::test]
    async fn a_second_start_has_the_same_keys_and_ports() {
        let dir = tempfile::tempdir().unwrap();
        let first = plan_in(dir.path(), 3, &fresh()).await.unwrap();
        let root = first.config.root.clone().unwrap();
        assert_eq!((root.access.len(), root.secret.reveal().len()), (20, 40));
        assert_eq!(first.nodes.len(), 3);
        assert_eq!(first.nodes[2].data, dir.path().join("n3"));
        assert!(first.config.s3_listen != first.config.admin_listen && !first.config.ops_listen.ends_with(":0"));
        let mode = std::fs::metadata(dir.path().join("dev.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let peers = first.config.peers.clone();
        drop(first);

        let second = plan_in(dir.path(), 3, &fresh()).await.unwrap();
        assert_eq!(second.config.root, Some(root.clone()));
        assert_eq!(second.config.peers, peers);

        // Its ports are taken now: other ones are found, the keys stay.
        let third = plan_in(dir.path(), 4, &fresh()).await.unwrap();
        assert_eq!(third.config.root, Some(root));
        assert!(third.config.peers[0].address != peers[0].address && third.nodes.len() == 4);
        assert!(matches!(plan_in(dir.path(), 3, &fresh()).await, Err(DevError::FewerNodes { was: 4, .. })));
    }

    #[tokio::test]
    async fn the_greeting_can_be_pasted() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan_in(dir.path(), 1, &fresh()).await.unwrap();
        let text = greeting(&plan.config, 1, std::time::Duration::from_millis(340));
        let root = plan.config.root.unwrap();
        for told in [&plan.config.s3_listen, &root.access, root.secret.reveal(), "0.34 s", "1 node,"] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_one_line() {
        let dir = tempfile::tempdir().unwrap();
        RealFiles.open(&dir.path().join("file"), file::Open::Create).unwrap();
        let error = plan_in(&dir.path().join("file"), 3, &fresh()).await.err().unwrap().to_string();
        assert!(error.contains("file: ") && !error.contains('\n'), "{error}");
    }
}
