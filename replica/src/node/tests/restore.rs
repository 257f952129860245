//! A cut of a running cluster, and another cluster made of it.

use std::collections::BTreeMap;

use bytes::Buf;
use holdfast_wire::backup::BackupRequest;
use holdfast_wire::condition::WriteCondition;
use holdfast_wire::request::DeleteKey;

use super::*;
use crate::index::transplant;
use crate::node::{Restore, RestoreError};

/// What a backup keeps: rows of each group, and the blobs that they name.
#[derive(Default)]
struct Kept {
    groups: BTreeMap<GroupId, Vec<Bytes>>,
    blobs: BTreeMap<(GroupId, BlobId), Bytes>,
}

impl Cluster {
    async fn backup(&self, at: usize, request: BackupRequest) -> Result<(Response, Bytes), CallError> {
        let service = self.nodes[at].as_ref().expect("it runs").service();
        let (response, body) = service.call(Request::Backup(request), Body::empty()).await?;
        Ok((response, body.collect(1 << 30).await?))
    }

    async fn cut(&self, at: usize) -> BTreeMap<GroupId, Vec<Bytes>> {
        let mut groups = BTreeMap::new();
        for group in [0, 1, 2].map(GroupId) {
            let (response, mut bytes) = self.backup(at, BackupRequest::Cut { group }).await.expect("a member answers");
            assert!(matches!(response, Response::Cut { index } if index > 0), "{response:?}");
            let mut chunks = Vec::new();
            while !bytes.is_empty() {
                let len = bytes.get_u32_le() as usize;
                chunks.push(bytes.split_to(len));
            }
            groups.insert(group, chunks);
        }
        groups
    }

    async fn keep(&self, at: usize) -> Kept {
        let mut kept = Kept { groups: self.cut(at).await, ..Kept::default() };
        for (group, chunks) in &kept.groups {
            for (blob, len) in chunks.iter().flat_map(|chunk| transplant::blobs(chunk).expect("sound rows")) {
                let request = BackupRequest::Blob { group: *group, blob };
                let (_, bytes) = self.backup(at, request).await.expect("it is held");
                assert_eq!(bytes.len() as u64, len);
                kept.blobs.insert((*group, blob), bytes);
            }
        }
        kept
    }

    async fn delete(&self, bucket: BucketId, key: &str) {
        let key: ObjectKey = key.parse().expect("a key");
        let write = WriteRequest {
            group: self.shard_of(bucket, &key),
            request: RequestId(OsRandom.next_u128()),
            ack: None,
            deadline_ms: 3000,
            write: Write::Delete {
                bucket,
                keys: vec![DeleteKey::current(key, WriteCondition::default())],
                bypass_governance: false,
            },
        };
        self.ask(Request::Write(write)).await;
    }

    /// A cluster of nodes on empty disks, none of which runs.
    fn empty(count: usize, replicas: u8) -> Self {
        let peers = (0..count).map(|at| (name(at), format!("{}:1", name(at)))).collect();
        let timings = Timings { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 };
        let count = count as u64;
        Self {
            net: MemoryNet::default(),
            config: NodeConfig { peers, timings, shards: 2, replicas, ..NodeConfig::default() },
            nodes: (0..count).map(|_| None).collect(),
            disks: (0..count).map(|at| SimulatedFiles::new(100 + at)).collect(),
            engines: (0..count).map(|_| Arc::new(Memory::with_power_cuts())).collect(),
            over: (0..count).map(|_| Arc::default()).collect(),
        }
    }

    async fn restore(&self, at: usize, kept: &Kept) -> Result<u64, RestoreError> {
        let config = NodeConfig {
            name: name(at),
            data: "/data".into(),
            address: format!("{}:1", name(at)),
            ..self.config.clone()
        };
        let seams = Seams { net: self.net.host(&name(at)), clock: Arc::new(SystemClock), random: Arc::new(OsRandom) };
        let files = Arc::new(self.disks[at].process());
        let mut restore = Restore::begin(config, &seams, files, self.engines[at].clone()).await?;
        for (group, chunks) in &kept.groups {
            restore.begin_group(*group)?;
            chunks.iter().try_for_each(|chunk| restore.push(chunk.clone()))?;
            restore.end_group().await?;
        }
        for ((group, blob), bytes) in &kept.blobs {
            let mut writer = restore.create_blob(*group, *blob, 7).await?;
            for chunk in bytes.chunks(1 << 16) {
                writer.write(Bytes::copy_from_slice(chunk)).await?;
            }
            writer.finish().await?;
        }
        restore.finish().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_becomes_another_cluster_that_grows_and_goes_on() {
    let old = Cluster::start(3, NodeConfig::default()).await;
    let bucket = old.create_bucket("photos").await;
    let large = Bytes::from((0..300_000u32).map(|i| (i % 251) as u8).collect::<Vec<_>>());
    let mut newest = BTreeMap::new();
    for i in 0..20 {
        let key = format!("d{i}/k");
        let index = old.put(bucket.id, &key, key.as_bytes()).await;
        let shard = old.shard_of(bucket.id, &key.parse().unwrap());
        newest.entry(shard).and_modify(|newest: &mut u64| *newest = index.max(*newest)).or_insert(index);
        old.put_blob(bucket.id, &format!("d{i}/large"), large.clone()).await;
    }
    let kept = old.keep(1).await;
    assert_eq!(kept.blobs.len(), 20);
    old.put(bucket.id, "d0/k", b"behind the cut").await;
    old.put(bucket.id, "later/k", b"behind the cut").await;

    let mut new = Cluster::empty(3, 3);
    assert_eq!(new.restore(0, &kept).await.expect("the backup is whole"), 20);
    let again = new.restore(0, &kept).await.unwrap_err();
    assert!(matches!(again, RestoreError::Taken(_)), "{again}");
    for at in 0..3 {
        new.start_node(at).await;
    }
    let host = |at: usize| new.nodes[at].as_ref().unwrap().inner.host().ok();
    new.until("all three hold everything", || {
        (0..3).all(|at| {
            host(at).is_some_and(|host| {
                let groups = host.groups();
                groups.len() == 3
                    && groups
                        .iter()
                        .all(|group| group.status(0).voters.len() == 3 && host.repair().missing(group.id()) == 0)
            })
        })
    })
    .await;
    new.wait_ready().await;
    assert_ne!(
        host(0).unwrap().identity().cluster,
        old.nodes[0].as_ref().unwrap().inner.host().unwrap().identity().cluster
    );
    assert!(host(0).unwrap().id().0 > 3, "an id that was never in use");

    for i in 0..20 {
        let key = format!("d{i}/k");
        let read = new.get(2, bucket.id, &key, ReadMode::Strong).await.expect("a replica answers");
        assert_eq!(read.as_deref(), Some(key.as_bytes()));
        let read = new.get(2, bucket.id, &format!("d{i}/large"), ReadMode::Strong).await.expect("a replica answers");
        assert_eq!(read.as_ref(), Some(&large));
    }
    assert_eq!(new.get(1, bucket.id, "later/k", ReadMode::Strong).await, Ok(None), "it came behind the cut");
    for i in 0..20 {
        let key = format!("d{i}/k");
        let index = new.put(bucket.id, &key, b"new").await;
        let shard = new.shard_of(bucket.id, &key.parse().unwrap());
        assert!(index > newest[&shard], "version numbers go on");
        assert_eq!(new.get(2, bucket.id, &key, ReadMode::Strong).await.unwrap().as_deref(), Some(&b"new"[..]));
    }
    let other = new.create_bucket("others").await;
    assert!(other.id > bucket.id, "bucket ids go on");
}

#[tokio::test(start_paused = true)]
async fn a_backup_that_lacks_something_is_not_started_on() {
    let old = Cluster::start(1, NodeConfig { replicas: 1, ..NodeConfig::default() }).await;
    let bucket = old.create_bucket("photos").await;
    old.put_blob(bucket.id, "a/large", Bytes::from(vec![7; 200_000])).await;
    let mut kept = old.keep(0).await;

    let blobs = std::mem::take(&mut kept.blobs);
    let new = Cluster::empty(1, 1);
    let missing = new.restore(0, &kept).await.unwrap_err();
    assert!(matches!(missing, RestoreError::Missing { len: 200_000, .. }), "{missing}");

    kept.blobs = blobs;
    kept.groups.get_mut(&GroupId(1)).unwrap().pop();
    let new = Cluster::empty(1, 1);
    let cut_off = new.restore(0, &kept).await.unwrap_err();
    assert!(matches!(cut_off, RestoreError::Rows { group: GroupId(1), .. }), "{cut_off}");
}

#[tokio::test(start_paused = true)]
async fn blobs_are_kept_while_a_backup_holds_them() {
    let (undelete, gc_grace) = (Duration::ZERO, Duration::from_secs(5));
    let config = NodeConfig { replicas: 1, undelete, gc_grace, ..NodeConfig::default() };
    let cluster = Cluster::start(1, config).await;
    let bucket = cluster.create_bucket("photos").await;
    let blob = cluster.put_blob(bucket.id, "a/large", Bytes::from(vec![7; 200_000])).await;
    let group = cluster.shard_of(bucket.id, &"a/large".parse().unwrap());
    let hold = || cluster.backup(0, BackupRequest::Hold { for_ms: 60_000 });
    hold().await.unwrap();
    cluster.delete(bucket.id, "a/large").await;
    let ask = || cluster.backup(0, BackupRequest::Blob { group, blob });
    for _ in 0..2 {
        sleep(Duration::from_secs(40)).await;
        hold().await.unwrap();
        assert_eq!(ask().await.expect("it is held").1.len(), 200_000);
    }
    // It is let go of, and its bytes go after the grace.
    sleep(Duration::from_secs(600)).await;
    assert!(ask().await.is_err(), "without a hold it is reclaimed");
}
