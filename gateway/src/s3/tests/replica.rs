//! A replica of one node in memory: root and two shards over one table, enough to carry S3's operations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use holdfast_wire::bucket::{AckMode, Bucket, BucketState};
use holdfast_wire::configuration::{BucketChange, Configuration};
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Unframer;
use holdfast_wire::heartbeat::{GroupStatus, Heartbeat, Layout, Load, NodeInfo, Role, UNSAID};
use holdfast_wire::id::{BlobId, BucketId, ClusterId, GroupId, NodeId, ObjectKey, Seq, UploadId};
use holdfast_wire::object::{
    Attributes, Checksum, Detail, NewBody, Object, ObjectPart, Part, Piece, Source, Summary, Upload,
};
use holdfast_wire::placement::{GroupPlace, HashRange, Placement, ShardMap};
use holdfast_wire::request::{
    Amendment, DeleteKey, Deleted, ListFrom, ListObjects, ListPage, ListedVersion, NotRead, RangeSpec, Read, Refusal,
    Request, Response, RootRefusal, RootRequest, VersionPage, Write, WriteOutcome,
};
use holdfast_wire::sealed;
use holdfast_wire::service::{Answer, Body, Service};
use parking_lot::Mutex;

pub const OWNER: &str = "owner";

/// An open upload and its parts.
type Open = (Upload, BTreeMap<u16, (Part, Bytes)>);

#[derive(Default)]
pub struct Tables {
    objects: BTreeMap<String, (Object, Bytes)>,
    uploads: BTreeMap<UploadId, Open>,
    pub blobs: BTreeMap<BlobId, Bytes>,
    /// It does not answer when it is to let go of one.
    pub keeps_blobs: bool,
    tags: Vec<(String, String)>,
    configuration: Configuration,
    changes: u64,
    index: u64,
}

#[derive(Clone, Default)]
pub struct Replica(pub Arc<Mutex<Tables>>);

impl Replica {
    /// How many writes there were.
    pub fn writes(&self) -> u64 {
        let tables = self.0.lock();
        tables.index + tables.changes
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.lock() = Tables::default();
    }

    /// The keys that are there, in order.
    pub fn keys(&self) -> Vec<String> {
        self.0.lock().objects.keys().cloned().collect()
    }

    /// Puts an object there.
    pub fn set(&self, key: &str, text: &'static str) {
        let mut tables = self.0.lock();
        let (key, etag) = (key.parse().unwrap(), "0".repeat(32));
        let bytes = Bytes::from_static(text.as_bytes());
        tables.store(Seq::default(), &key, Attributes::default(), etag, None, Vec::new(), bytes);
    }

    /// An object's bytes as they are stored.
    pub fn stored(&self, key: &str) -> Bytes {
        self.0.lock().objects[key].1.clone()
    }
}

impl Tables {
    fn bucket(&self) -> Bucket {
        Bucket {
            id: BucketId(1),
            name: "bucket".parse().unwrap(),
            owner: OWNER.to_owned(),
            created_ms: 0,
            revision: 1 + self.changes + self.tags.len() as u64,
            state: BucketState::Active,
            placement: Placement::RootDirectory,
            tags: self.tags.clone(),
            configuration: self.configuration.clone(),
        }
    }

    fn bytes(&mut self, body: &NewBody) -> Bytes {
        match body {
            NewBody::Inline(bytes) => bytes.clone(),
            NewBody::Blob { id, .. } => self.blobs.remove(id).expect("committed blobs were uploaded"),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a record has that many parts")]
    fn store(
        &mut self,
        seq: Seq,
        key: &ObjectKey,
        attributes: Attributes,
        etag: String,
        checksum: Option<Checksum>,
        parts: Vec<ObjectPart>,
        bytes: Bytes,
    ) -> WriteOutcome {
        let modified_ms = 1_000_000_000_000 + seq.index * 1000;
        let summary = Summary {
            seq,
            versioned: false,
            marker: false,
            size: plain(&bytes, attributes.seal.is_some(), &parts),
            modified_ms,
            etag: etag.clone(),
            checksum: checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)),
            storage_class: attributes.storage_class,
            owner: OWNER.to_owned(),
        };
        let detail = Detail {
            headers: attributes.headers,
            metadata: attributes.metadata,
            tags: attributes.tags,
            checksum: checksum.clone().map(|checksum| checksum.value),
            parts,
            pieces: vec![Piece { source: Source::Inline(seq.index), len: bytes.len() as u64 }],
            lock: attributes.lock,
            noncurrent_ms: None,
            seal: attributes.seal,
            acl: attributes.acl,
        };
        self.objects.insert(key.to_string(), (Object { summary, detail }, bytes));
        WriteOutcome::Stored { seq, etag, modified_ms, checksum, version: None }
    }

    fn judge(&self, key: &ObjectKey, condition: &holdfast_wire::condition::WriteCondition) -> Result<(), Refusal> {
        let current = self.objects.get(key.as_str()).map(|(object, _)| &object.summary);
        condition.judge(current).map_err(Refusal::Condition)
    }

    fn write(&mut self, group: GroupId, write: Write) -> Result<WriteOutcome, Refusal> {
        self.index += 1;
        let seq = Seq { group, index: self.index };
        let stored = |etag: &str, checksum: Option<Checksum>| WriteOutcome::Stored {
            seq,
            etag: etag.to_owned(),
            modified_ms: 1_000_000_000_000,
            checksum,
            version: None,
        };
        match write {
            Write::Put(put) => {
                self.judge(&put.key, &put.condition)?;
                let bytes = self.bytes(&put.body);
                Ok(self.store(seq, &put.key, put.attributes, put.etag, put.checksum, Vec::new(), bytes))
            }
            Write::Delete { keys, .. } => {
                let mut answers = Vec::new();
                for DeleteKey { key, condition, .. } in keys {
                    let judged = self.judge(&key, &condition);
                    if judged.is_ok() {
                        self.objects.remove(key.as_str());
                    }
                    answers.push(judged.map(|()| Deleted::default()));
                }
                Ok(WriteOutcome::Deleted { seq, keys: answers })
            }
            Write::Copy(copy) => {
                self.judge(&copy.key, &copy.condition)?;
                let (from, bytes) = self.objects.get(copy.from_key.as_str()).cloned().ok_or(Refusal::NoSuchKey)?;
                if from.summary.seq != copy.from_seq {
                    return Err(Refusal::SourceChanged);
                }
                let checksum = from.checksum();
                let parts = from.detail.parts;
                Ok(self.store(seq, &copy.key, copy.attributes, from.summary.etag, checksum, parts, bytes))
            }
            Write::Amend(amend) => {
                let (object, _) = self.objects.get_mut(amend.key.as_str()).ok_or(Refusal::NoSuchKey)?;
                match amend.change {
                    Amendment::Tags(tags) => object.detail.tags = tags,
                    Amendment::Acl(acl) => object.detail.acl = acl,
                    Amendment::Retention { .. } | Amendment::LegalHold(_) => return Err(Refusal::NoLock),
                }
                Ok(stored("", None))
            }
            Write::Rename(rename) => {
                let (from, bytes) = self.objects.remove(rename.from_key.as_str()).ok_or(Refusal::NoSuchKey)?;
                self.objects.insert(rename.key.to_string(), (from, bytes));
                Ok(stored("", None))
            }
            Write::CopyPart(copy) => {
                let (from, bytes) = self.objects.get(copy.from_key.as_str()).cloned().ok_or(Refusal::NoSuchKey)?;
                let kept = Part {
                    number: copy.number,
                    seq,
                    size: from.summary.size,
                    modified_ms: 0,
                    etag: from.summary.etag.clone(),
                    checksum: from.checksum(),
                    pieces: Vec::new(),
                    salt: None,
                };
                let answer = stored(&kept.etag, kept.checksum.clone());
                let (_, parts) = self.uploads.get_mut(&copy.upload).ok_or(Refusal::NoSuchUpload)?;
                parts.insert(copy.number, (kept, bytes));
                Ok(answer)
            }
            Write::CreateUpload { upload, .. } => {
                self.uploads.insert(upload.id, (upload, BTreeMap::new()));
                Ok(stored("", None))
            }
            Write::PutPart(part) => {
                let bytes = self.bytes(&part.body);
                let kept = Part {
                    number: part.number,
                    seq,
                    size: plain(&bytes, part.salt.is_some(), &[]),
                    modified_ms: 0,
                    etag: part.etag.clone(),
                    checksum: part.checksum.clone(),
                    pieces: Vec::new(),
                    salt: part.salt,
                };
                let (_, parts) = self.uploads.get_mut(&part.upload).ok_or(Refusal::NoSuchUpload)?;
                parts.insert(part.number, (kept, bytes));
                Ok(stored(&part.etag, part.checksum))
            }
            Write::CompleteUpload(complete) => {
                self.judge(&complete.key, &complete.condition)?;
                let (upload, parts) = self.uploads.remove(&complete.upload).ok_or(Refusal::NoSuchUpload)?;
                let mut bytes = BytesMut::new();
                let mut kept = Vec::new();
                for (number, _) in &complete.parts {
                    let (part, more) = &parts[number];
                    bytes.extend_from_slice(more);
                    let (size, salt) = (part.size, part.salt);
                    kept.push(ObjectPart { number: *number, size, checksum: part.checksum.clone(), salt });
                }
                let bytes = bytes.freeze();
                Ok(self.store(seq, &complete.key, upload.attributes, complete.etag, complete.checksum, kept, bytes))
            }
            Write::AbortUpload { upload, .. } => {
                let gone = self.uploads.remove(&upload).map(|_| Deleted::default()).ok_or(Refusal::NoSuchUpload);
                Ok(WriteOutcome::Deleted { seq, keys: vec![gone] })
            }
            Write::Undelete(_) => unreachable!("no gateway asks this"),
        }
    }

    fn read(&self, group: GroupId, read: Read) -> Result<(Response, Bytes), NotRead> {
        match read {
            Read::Get(get) => {
                let (object, bytes) = self.objects.get(get.key.as_str()).ok_or(NotRead::NoSuchKey)?;
                if get.seq.is_some_and(|seq| seq != object.summary.seq) {
                    return Err(NotRead::NoSuchKey);
                }
                get.condition
                    .judge(&object.summary)
                    .map_err(|refusal| NotRead::Condition { refusal, summary: Box::new(object.summary.clone()) })?;
                let range = get.range.of(object)?;
                let body = match get.head {
                    true => Bytes::new(),
                    false => {
                        let (first, count) = match get.range {
                            RangeSpec::Stored { .. } => range,
                            _ => sealed::stored_range(object, range),
                        };
                        bytes.slice(first as usize..(first + count) as usize)
                    }
                };
                Ok((Response::Object { object: Box::new(object.clone()), range, applied: self.index }, body))
            }
            Read::List(list) => {
                let mut page = ListPage::default();
                let mut prefixes = BTreeSet::new();
                for (key, (object, _)) in &self.objects {
                    let behind = match &list.after {
                        ListFrom::Start => true,
                        ListFrom::After(text) => key > text,
                        ListFrom::AfterPrefix(prefix) => key > prefix && !key.starts_with(prefix.as_str()),
                    };
                    // Both shards share one table; each answers for its own keys.
                    let own = object.summary.seq.group == group;
                    let Some(rest) = key.strip_prefix(&list.prefix).filter(|_| behind && own) else { continue };
                    let cut = list.delimiter.as_ref().and_then(|cut| rest.find(cut.as_str()).map(|at| at + cut.len()));
                    let common = cut.map(|cut| key[..list.prefix.len() + cut].to_owned());
                    if common.as_ref().is_some_and(|common| prefixes.contains(common)) {
                        continue;
                    }
                    if page.objects.len() + prefixes.len() == list.limit as usize {
                        page.more = true;
                        break;
                    }
                    match common {
                        Some(common) => {
                            prefixes.insert(common);
                        }
                        None => page.objects.push((key.clone(), object.summary.clone())),
                    }
                }
                page.prefixes = prefixes.into_iter().collect();
                Ok((Response::Listed(page), Bytes::new()))
            }
            Read::ListVersions(list) => {
                // Every object has the one version `null`.
                let plain = ListObjects {
                    bucket: list.bucket,
                    prefix: list.prefix,
                    delimiter: list.delimiter,
                    after: list.after,
                    limit: list.limit,
                };
                let (Response::Listed(page), none) = self.read(group, Read::List(plain))? else {
                    unreachable!("a listing answers a listing")
                };
                let version = |(key, summary)| ListedVersion { key, latest: true, summary };
                let versions = page.objects.into_iter().map(version).collect();
                let page = VersionPage { versions, prefixes: page.prefixes, more: page.more };
                Ok((Response::ListedVersions(page), none))
            }
            Read::ListUploads(list) => {
                let uploads = self.uploads.values().map(|(upload, _)| upload.clone());
                let uploads = uploads.filter(|upload| upload.key.as_str().starts_with(&list.prefix)).collect();
                Ok((Response::Uploads { uploads, prefixes: Vec::new(), more: false }, Bytes::new()))
            }
            Read::ListParts { upload, after, limit, .. } => {
                let (upload, parts) = self.uploads.get(&upload).ok_or(NotRead::NoSuchUpload)?;
                let mut parts: Vec<_> =
                    parts.range(after.saturating_add(1)..).map(|(_, (part, _))| part.clone()).collect();
                let more = parts.len() > limit as usize;
                parts.truncate(limit as usize);
                Ok((Response::Parts { upload: Box::new(upload.clone()), parts, more }, Bytes::new()))
            }
            Read::Usage { .. } | Read::Due { .. } | Read::Deleted(_) => unreachable!("no gateway asks this"),
        }
    }
}

/// The bytes of a body, or of parts, as the client sent them.
fn plain(stored: &Bytes, sealed: bool, parts: &[ObjectPart]) -> u64 {
    match (sealed, parts.is_empty()) {
        (false, _) => stored.len() as u64,
        (true, true) => sealed::plain_len(stored.len() as u64),
        (true, false) => parts.iter().map(|part| part.size).sum(),
    }
}

impl Service for Replica {
    fn call(&self, request: Request, body: Body) -> BoxFuture<'static, Answer> {
        let tables = self.0.clone();
        async move {
            match request {
                Request::UploadBlob { blob, .. } => {
                    let chunks: Vec<Bytes> = Unframer::new(body.stream).into_stream().try_collect().await?;
                    tables.lock().blobs.insert(blob, chunks.concat().into());
                    Ok((Response::Uploaded { holders: vec![NodeId(1)] }, Body::empty()))
                }
                Request::DropBlob { .. } if tables.lock().keeps_blobs => futures::future::pending().await,
                Request::DropBlob { blob, .. } => {
                    tables.lock().blobs.remove(&blob);
                    Ok((Response::Done, Body::empty()))
                }
                Request::Write(write) => {
                    let outcome = tables.lock().write(write.group, write.write).unwrap_or_else(WriteOutcome::Refused);
                    Ok((Response::Written { outcome, ack: AckMode::Majority }, Body::empty()))
                }
                Request::Read(read) => match tables.lock().read(read.group, read.read) {
                    Ok((response, bytes)) => Ok((response, Body::from(bytes))),
                    Err(NotRead::NoSuchKey) => Ok((Response::Absent(Seq::default()), Body::empty())),
                    Err(not) => Ok((Response::NotRead(not), Body::empty())),
                },
                Request::Root(RootRequest::Bucket { name }) if name.as_str() == "bucket" => {
                    Ok((Response::Bucket(Box::new(tables.lock().bucket())), Body::empty()))
                }
                Request::Root(RootRequest::ChangeBucket { change: BucketChange::Tags(tags), .. }) => {
                    let mut tables = tables.lock();
                    tables.tags = tags;
                    Ok((Response::Bucket(Box::new(tables.bucket())), Body::empty()))
                }
                Request::Root(RootRequest::ChangeBucket { change: BucketChange::Document(kind, text), .. }) => {
                    let mut tables = tables.lock();
                    tables.changes += 1;
                    match text {
                        Some(text) => drop(tables.configuration.documents.insert(kind, text)),
                        None => drop(tables.configuration.documents.remove(&kind)),
                    }
                    Ok((Response::Bucket(Box::new(tables.bucket())), Body::empty()))
                }
                Request::Root(RootRequest::Buckets) => {
                    Ok((Response::Buckets(vec![tables.lock().bucket()]), Body::empty()))
                }
                Request::Root(_) => Ok((Response::RootRefused(RootRefusal::NoSuchBucket), Body::empty())),
                Request::View | Request::TransferLeader { .. } | Request::Backup(_) => {
                    Err(CallError::Malformed { reason: "not of this replica".to_owned() })
                }
            }
        }
        .boxed()
    }

    fn heartbeats(&self) -> BoxStream<'static, Heartbeat> {
        futures::stream::unfold(0, |beat| async move {
            if beat > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Some((heartbeat(), beat + 1))
        })
        .boxed()
    }
}

fn heartbeat() -> Heartbeat {
    let node = NodeInfo { id: NodeId(1), name: "n1".to_owned(), address: "n1:9003".to_owned(), version: String::new() };
    let ranges = HashRange::tile(2);
    let groups = [None, Some(ranges[0]), Some(ranges[1])];
    let places = groups.into_iter().zip(0..).map(|(range, group)| GroupPlace {
        group: GroupId(group),
        range,
        epoch: Default::default(),
        voters: vec![NodeId(1)],
    });
    let map = ShardMap { epoch: Default::default(), groups: places.collect() };
    let statuses = (0..3).map(|group| GroupStatus {
        group: GroupId(group),
        role: Role::Leader,
        leader: Some(NodeId(1)),
        term: 1,
        voters: vec![NodeId(1)],
        last_log: 1,
        committed: 1,
        applied: 1,
        missing_blobs: 0,
    });
    Heartbeat {
        cluster: ClusterId(1),
        node: node.clone(),
        clock_ms: UNSAID,
        not_ready: None,
        load: Load::default(),
        groups: statuses.collect(),
        layout: Layout { version: 1, draining: Vec::new(), nodes: vec![node], map, copies: 1 },
    }
}
