//! Whether a stamped node has gone astray: its data directory belongs to one cluster, and the peers that it was started with
//! to another. Such a node would serve what it has to clients that mean the other cluster.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use holdfast_wire::handshake::{self, HandshakeError};
use holdfast_wire::id::ClusterId;
use holdfast_wire::seam::Seams;
use tokio::time::{sleep, timeout};

use super::{Identity, NodeConfig};

/// A start waits so long for peers that say nothing.
const AT_START: Duration = Duration::from_millis(500);
/// Later looks, until one of its own is found.
const AGAIN: Duration = Duration::from_secs(10);

/// The data and the peers are of different clusters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data directory is of cluster {cluster}, and the peers that answer ({peers}) are of another one: give this node its own \
     peers, or an empty data directory to join theirs"
)]
pub struct Stray {
    cluster: ClusterId,
    peers: String,
}

/// Who answers.
#[derive(Debug, PartialEq, Eq)]
enum Met {
    /// At least one peer of the same cluster.
    Kin,
    /// Nobody who knows of a cluster.
    Nobody,
}

/// Asks all peers at once.
async fn meet(identity: &Identity, config: &NodeConfig, seams: &Seams) -> Result<Met, Stray> {
    let others = config.peers.iter().filter(|(name, _)| *name != config.name);
    let mut asked: FuturesUnordered<_> = others
        .map(|(name, address)| async move {
            let wanted = handshake::Identity { cluster: Some(identity.cluster), node: None };
            let asking = async {
                let mut stream = seams.net.connect(address).await?;
                handshake::connect(&mut *stream, &config.secret, &*seams.random, wanted).await
            };
            (name, timeout(AT_START, asking).await)
        })
        .collect();
    let mut foreign = Vec::new();
    while let Some((name, answer)) = asked.next().await {
        match answer {
            Ok(Ok(found)) if found.cluster == Some(identity.cluster) => return Ok(Met::Kin),
            Ok(Err(HandshakeError::OtherCluster)) => foreign.push(name.as_str()),
            _ => {}
        }
    }
    if foreign.is_empty() {
        return Ok(Met::Nobody);
    }
    foreign.sort_unstable();
    Err(Stray { cluster: identity.cluster, peers: foreign.join(", ") })
}

/// A first look, before anything is served.
pub async fn check(identity: &Identity, config: &NodeConfig, seams: &Seams) -> Result<(), Stray> {
    meet(identity, config, seams).await.map(drop)
}

/// Looks again until one of its own cluster answers, or has `met` it otherwise: the peers of the configuration may have left
/// long ago. Ends only when it has gone astray.
pub async fn watch(identity: &Identity, config: &NodeConfig, seams: &Seams, met: impl Fn() -> bool) -> Stray {
    loop {
        sleep(AGAIN).await;
        if met() {
            return std::future::pending().await;
        }
        match meet(identity, config, seams).await {
            Ok(Met::Kin) => return std::future::pending().await,
            Ok(Met::Nobody) => {}
            Err(stray) => return stray,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_wire::id::NodeId;
    use holdfast_wire::seam::{MemoryNet, OsRandom, SystemClock};

    use super::*;

    /// A node whose only peer is of another cluster, if there is one yet.
    async fn watches(foreign: bool, met: bool) -> Option<Stray> {
        let net = MemoryNet::default();
        let config = NodeConfig { peers: vec![("n2".to_owned(), "n2:1".to_owned())], ..NodeConfig::default() };
        let listener = net.host("n2").listen("n2:1").await.unwrap();
        let secret = config.secret.clone();
        tokio::spawn(async move {
            let own = handshake::Identity { cluster: foreign.then_some(ClusterId(8)), node: Some(NodeId(2)) };
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = handshake::accept(&mut *stream, &secret, &OsRandom, own).await;
            }
        });
        let identity = Identity { cluster: ClusterId(7), node: NodeId(1), name: "n1".to_owned(), founding: None };
        let seams = Seams { net: net.host("n1"), clock: Arc::new(SystemClock), random: Arc::new(OsRandom) };
        timeout(AGAIN * 20, watch(&identity, &config, &seams, || met)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_met_its_own_is_not_astray_whoever_has_the_addresses_of_its_peers_now() {
        assert_eq!(watches(true, true).await, None);
        let stray = watches(true, false).await.expect("nobody else has been met").to_string();
        assert!(stray.contains("(n2) are of another one"), "{stray}");
        assert_eq!(watches(false, false).await, None, "a peer that belongs to no cluster yet says nothing");
    }
}
