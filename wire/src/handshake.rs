//! The first bytes on every connection between nodes: both sides prove that they know the cluster's secret, and that
//! they mean the same cluster and node, before a request is read. HTTP/1.1 follows on the same stream.
//!
//! ```text
//! client  "HFP" version u8 | nonce 32 | cluster u128 LE (0: any) | node u64 LE (0: any)
//! server  verdict u8 | version u8 | nonce 32 | cluster u128 LE (0: none yet) | node u64 LE (0: none yet) | mac 32
//! client  mac 32
//! server  0x00
//! ```
//! Each side says the newest version of the protocol behind this handshake that it speaks; both go on with the older of
//! the two. Neighbouring versions understand each other (a rolling upgrade), others refuse. This handshake itself keeps
//! its form in all versions.
//!
//! A mac is HMAC-SHA256 under the secret over `"server"` or `"client"` and both hellos.

use std::io;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::id::{ClusterId, NodeId};
use crate::seam::{Connection, Random};

/// The version of the protocol that this software speaks. It goes up by one with every release that changes what
/// processes say to each other; the one before must be understood, too.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 3] = *b"HFP";
const CLIENT_HELLO: usize = 4 + 32 + 16 + 8;
const SERVER_HELLO: usize = 2 + 32 + 16 + 8;

const WELCOME: u8 = 0;
const OTHER_CLUSTER: u8 = 1;
const OTHER_NODE: u8 = 2;
const WRONG_SECRET: u8 = 3;
const OTHER_VERSION: u8 = 4;

/// The version that both sides speak, if they are neighbours.
fn common(own: u8, theirs: u8) -> Result<u8, HandshakeError> {
    match own.abs_diff(theirs) {
        0 | 1 => Ok(own.min(theirs)),
        _ => Err(HandshakeError::OtherVersion { own, theirs }),
    }
}

/// The secret that all processes of a cluster share, and the version of the protocol in which this one proves it. Empty
/// only when every address is loopback.
#[derive(Clone)]
pub struct ClusterSecret {
    key: Vec<u8>,
    version: u8,
}

impl ClusterSecret {
    /// Takes the secret's bytes.
    pub fn new(secret: impl Into<Vec<u8>>) -> Self {
        Self { key: secret.into(), version: VERSION }
    }

    /// The same for a release that speaks this version and the one before.
    pub fn speaking(self, version: u8) -> Self {
        Self { version, ..self }
    }

    /// A key for one purpose: HMAC-SHA256 under the secret, as HKDF (RFC 5869) expands a key of one block.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(b"holdfast derived key 1: ");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn mac(&self, side: &str, client: &[u8], server: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(side.as_bytes());
        mac.update(client);
        mac.update(server);
        mac
    }
}

/// Who a process is, or whom it wants to reach. `None` is "not yet known" or "anybody".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: Option<ClusterId>,
    /// The node.
    pub node: Option<NodeId>,
}

impl Identity {
    fn bytes(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&self.cluster.unwrap_or_default().0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.node.unwrap_or_default().0.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let cluster = u128::from_le_bytes(bytes[..16].try_into().expect("16 bytes"));
        let node = u64::from_le_bytes(bytes[16..24].try_into().expect("8 bytes"));
        Self { cluster: (cluster != 0).then_some(ClusterId(cluster)), node: (node != 0).then_some(NodeId(node)) }
    }
}

/// Why a connection was refused.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side speaks something else.
    #[error("the other side does not speak this version of the peer protocol")]
    NotOurProtocol,
    /// The other side is too old or too new.
    #[error(
        "the other side speaks version {theirs} of the peer protocol and this one version {own}: upgrade by one version \
         at a time"
    )]
    OtherVersion {
        /// Spoken here.
        own: u8,
        /// Spoken there.
        theirs: u8,
    },
    /// The other side belongs to another cluster.
    #[error("the other side belongs to another cluster; check the peer addresses")]
    OtherCluster,
    /// Another node answers at this address.
    #[error("another node answers at this address")]
    OtherNode,
    /// The secrets differ.
    #[error("the cluster secrets differ; set the same HOLDFAST_CLUSTER_SECRET everywhere")]
    WrongSecret,
}

/// The connecting side. Returns who answered.
pub async fn connect(
    stream: &mut dyn Connection,
    secret: &ClusterSecret,
    random: &dyn Random,
    wanted: Identity,
) -> Result<Identity, HandshakeError> {
    connect_as(secret.version, stream, secret, random, wanted).await
}

async fn connect_as(
    version: u8,
    stream: &mut dyn Connection,
    secret: &ClusterSecret,
    random: &dyn Random,
    wanted: Identity,
) -> Result<Identity, HandshakeError> {
    let mut hello = [0; CLIENT_HELLO];
    hello[..3].copy_from_slice(&MAGIC);
    hello[3] = version;
    random.fill(&mut hello[4..36]);
    hello[36..].copy_from_slice(&wanted.bytes());
    stream.write_all(&hello).await?;
    stream.flush().await?;

    let mut answer = [0; SERVER_HELLO];
    stream.read_exact(&mut answer).await?;
    match answer[0] {
        WELCOME => {}
        OTHER_CLUSTER => return Err(HandshakeError::OtherCluster),
        OTHER_NODE => return Err(HandshakeError::OtherNode),
        OTHER_VERSION => return Err(HandshakeError::OtherVersion { own: version, theirs: answer[1] }),
        _ => return Err(HandshakeError::NotOurProtocol),
    }
    common(version, answer[1])?;
    let mut mac = [0; 32];
    stream.read_exact(&mut mac).await?;
    secret.mac("server", &hello, &answer).verify_slice(&mac).map_err(|_| HandshakeError::WrongSecret)?;
    stream.write_all(&secret.mac("client", &hello, &answer).finalize().into_bytes()).await?;
    stream.flush().await?;
    match stream.read_u8().await? {
        WELCOME => Ok(Identity::from_bytes(&answer[34..])),
        WRONG_SECRET => Err(HandshakeError::WrongSecret),
        _ => Err(HandshakeError::NotOurProtocol),
    }
}

/// The accepting side.
pub async fn accept(
    stream: &mut dyn Connection,
    secret: &ClusterSecret,
    random: &dyn Random,
    own: Identity,
) -> Result<(), HandshakeError> {
    accept_as(secret.version, stream, secret, random, own).await
}

async fn accept_as(
    version: u8,
    stream: &mut dyn Connection,
    secret: &ClusterSecret,
    random: &dyn Random,
    own: Identity,
) -> Result<(), HandshakeError> {
    let mut hello = [0; CLIENT_HELLO];
    stream.read_exact(&mut hello).await?;
    if hello[..3] != MAGIC {
        return Err(HandshakeError::NotOurProtocol);
    }
    let spoken = common(version, hello[3]);
    let wanted = Identity::from_bytes(&hello[36..]);
    let verdict = match (wanted.cluster, own.cluster) {
        _ if spoken.is_err() => OTHER_VERSION,
        (Some(wanted), Some(own)) if wanted != own => OTHER_CLUSTER,
        _ => match wanted.node {
            Some(node) if own.node != Some(node) => OTHER_NODE,
            _ => WELCOME,
        },
    };
    let mut answer = [0; SERVER_HELLO];
    answer[0] = verdict;
    answer[1] = version;
    random.fill(&mut answer[2..34]);
    answer[34..].copy_from_slice(&own.bytes());
    stream.write_all(&answer).await?;
    stream.flush().await?;
    spoken?;
    match verdict {
        OTHER_CLUSTER => return Err(HandshakeError::OtherCluster),
        OTHER_NODE => return Err(HandshakeError::OtherNode),
        _ => {}
    }
    stream.write_all(&secret.mac("server", &hello, &answer).finalize().into_bytes()).await?;
    stream.flush().await?;
    let mut mac = [0; 32];
    stream.read_exact(&mut mac).await?;
    if secret.mac("client", &hello, &answer).verify_slice(&mac).is_err() {
        stream.write_u8(WRONG_SECRET).await?;
        stream.flush().await?;
        return Err(HandshakeError::WrongSecret);
    }
    stream.write_u8(WELCOME).await?;
    stream.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::OsRandom;

    async fn shake(client: (&str, Identity), server: (&str, Identity)) -> Result<Identity, HandshakeError> {
        let (mut near, mut far) = tokio::io::duplex(1024);
        let (client_secret, server_secret) = (ClusterSecret::new(client.0), ClusterSecret::new(server.0));
        let accepting = async move {
            let accepted = accept(&mut far, &server_secret, &OsRandom, server.1).await;
            drop(far);
            accepted
        };
        let connecting = async move {
            let connected = connect(&mut near, &client_secret, &OsRandom, client.1).await;
            drop(near);
            connected
        };
        let (connected, accepted) = tokio::join!(connecting, accepting);
        assert_eq!(connected.is_ok(), accepted.is_ok(), "both sides agree: {connected:?} {accepted:?}");
        connected
    }

    #[tokio::test]
    async fn neighbouring_versions_understand_each_other_and_others_say_why_not() {
        for (client, server, sound) in [(1, 1, true), (2, 1, true), (1, 2, true), (3, 1, false), (1, 3, false)] {
            let (mut near, mut far) = tokio::io::duplex(1024);
            let secret = ClusterSecret::new("s");
            let connecting = async {
                let connected = connect_as(client, &mut near, &secret, &OsRandom, Identity::default()).await;
                drop(near);
                connected.map(drop)
            };
            let accepting = async {
                let accepted = accept_as(server, &mut far, &secret, &OsRandom, Identity::default()).await;
                drop(far);
                accepted
            };
            let (connected, accepted) = tokio::join!(connecting, accepting);
            assert_eq!((connected.is_ok(), accepted.is_ok()), (sound, sound), "{client} {server}");
            if let Err(error) = connected {
                let expected = format!("version {server} of the peer protocol and this one version {client}");
                assert!(error.to_string().contains(&expected), "{error}");
                assert!(accepted.unwrap_err().to_string().contains("upgrade by one version"));
            }
        }
    }

    #[tokio::test]
    async fn only_the_same_secret_cluster_and_node_pass() {
        let own = Identity { cluster: Some(ClusterId(7)), node: Some(NodeId(2)) };
        let any = Identity::default();
        assert_eq!(shake(("s", any), ("s", own)).await.unwrap(), own);
        assert_eq!(shake(("s", own), ("s", own)).await.unwrap(), own);
        assert!(matches!(
            shake(("x", any), ("s", own)).await,
            Err(HandshakeError::WrongSecret | HandshakeError::Io(_))
        ));
        assert!(matches!(shake(("", any), ("s", own)).await, Err(HandshakeError::WrongSecret | HandshakeError::Io(_))));
        let other = Identity { cluster: Some(ClusterId(8)), ..own };
        assert!(matches!(shake(("s", other), ("s", own)).await, Err(HandshakeError::OtherCluster)));
        let other = Identity { node: Some(NodeId(3)), ..own };
        assert!(matches!(shake(("s", other), ("s", own)).await, Err(HandshakeError::OtherNode)));
        assert!(matches!(shake(("s", own), ("s", any)).await, Err(HandshakeError::OtherNode)));
    }
}
