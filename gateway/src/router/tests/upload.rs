//! Large bodies: what is kept, what is sent again, and what ends an upload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use holdfast_wire::error::CallError;
use holdfast_wire::frame::Unframer;
use holdfast_wire::id::{BlobId, NodeId};
use holdfast_wire::service::{Answer, Body};
use parking_lot::Mutex;

use super::write::SHARD;
use super::*;
use crate::fake::{err, unknown, unreachable};

const CHUNK: usize = 64 << 10;

type Chunks = BoxStream<'static, Result<Bytes, CallError>>;

/// A body of so many chunks, counting how many were taken.
fn chunks(count: u64) -> (Chunks, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let stream = futures::stream::iter(0..count).map(move |at| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from(vec![at as u8; CHUNK]))
    });
    (stream.boxed(), taken)
}

fn uploaded() -> Answer {
    Ok((Response::Uploaded { holders: vec![NodeId(1)] }, Body::empty()))
}

/// Takes so many bytes of the unframed body (all, if it has fewer), then answers.
fn take(bytes: usize, into: Arc<Mutex<Vec<BytesMut>>>, answer: Answer) -> Reply {
    Reply::Body(Box::new(move |body| {
        async move {
            let mut unframed = Unframer::new(body.stream);
            let mut got = BytesMut::new();
            while got.len() < bytes {
                match unframed.next().await {
                    Some(Ok(chunk)) => got.extend_from_slice(&chunk),
                    Some(Err(error)) => return Err(error),
                    None => break,
                }
            }
            into.lock().push(got);
            answer
        }
        .boxed()
    }))
}

impl Bench {
    async fn upload(&self, body: Chunks) -> Result<BlobId, RouteError> {
        Ok(self.router.upload(&self.bucket, &key("k"), body).await?.id)
    }
}

fn blobs(bench: &Bench) -> Vec<BlobId> {
    let calls = bench.fleet.nodes.iter().flat_map(|node| node.calls());
    calls
        .map(|call| match call {
            Request::UploadBlob { blob, .. } => blob,
            other => panic!("no upload: {other:?}"),
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn all_bytes_arrive_in_order() {
    let bench = bench(1).await;
    let got = Arc::new(Mutex::new(Vec::new()));
    let into = got.clone();
    bench.fleet.node(1).script(move |_| take(usize::MAX, into.clone(), uploaded()));
    let blob = bench.upload(chunks(100).0).await.unwrap();
    assert_eq!(blobs(&bench), [blob]);
    let wanted: Vec<u8> = (0..100u8).flat_map(|at| vec![at; CHUNK]).collect();
    assert!(got.lock()[0] == wanted[..]);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_mebibyte_is_sent_again_in_full() {
    for failure in [CallError::NotLeader { leader: Some(NodeId(2)) }, CallError::Unknown { reason: String::new() }] {
        let bench = bench(1).await;
        let got = Arc::new(Mutex::new(Vec::new()));
        let into = got.clone();
        let mut failure = Some(failure);
        bench.fleet.script(move |_, _| match failure.take() {
            Some(error) => take(CHUNK, into.clone(), Err(error)),
            None => take(usize::MAX, into.clone(), uploaded()),
        });
        let blob = bench.upload(chunks(16).0).await.unwrap();
        assert_eq!(got.lock().iter().map(BytesMut::len).collect::<Vec<_>>(), [CHUNK, 16 * CHUNK]);
        let ids = blobs(&bench);
        assert!(ids.len() == 2 && ids[0] != ids[1] && ids.contains(&blob), "each attempt under its own id");
    }
}

/// What is kept of a body ends behind a mebibyte, wherever its pieces end.
#[tokio::test(start_paused = true)]
async fn pieces_of_any_size_are_kept_up_to_a_mebibyte() {
    for (piece, count) in [(65_521, 100), (1 << 20, 2), (3 << 20, 1), ((1 << 20) + 1, 2)] {
        let bench = bench(1).await;
        bench.fleet.script(|_, _| Reply::Never);
        let taken = Arc::new(AtomicU64::new(0));
        let counter = taken.clone();
        let body = futures::stream::iter(0..count).map(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from(vec![7; piece]))
        });
        let upload = tokio::time::timeout(Duration::from_millis(100), bench.upload(body.boxed())).await;
        assert!(upload.is_err(), "nobody answers");
        assert_eq!(taken.load(Ordering::Relaxed), (1 << 20) / piece as u64 + 1, "{piece} bytes each");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_followed_by_an_upload_too() {
    let bench = bench(1).await;
    bench.fleet.node(1).script(|_| err(CallError::NotLeader { leader: Some(NodeId(3)) }));
    bench.fleet.node(3).script(|_| take(usize::MAX, Arc::default(), uploaded()));
    let (uploaded, took) = timed(bench.upload(chunks(3).0)).await;
    uploaded.unwrap();
    assert!(took <= Duration::from_millis(10), "{took:?}");
    assert_eq!(bench.fleet.calls(), 2);
}

/// A replica that takes what is kept, piece by piece, works; that takes longer than standing still may.
#[tokio::test(start_paused = true)]
async fn a_replica_that_takes_its_time_with_the_start_is_not_stalled() {
    let bench = bench(1).await;
    bench.fleet.script(|_, _| {
        Reply::Body(Box::new(|body| {
            async move {
                let mut stream = body.stream;
                while stream.next().await.is_some() {
                    tokio::time::sleep(Duration::from_millis(450)).await;
                }
                uploaded()
            }
            .boxed()
        }))
    });
    bench.upload(chunks(20).0).await.unwrap();
    assert_eq!(bench.fleet.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_longer_body_is_sent_again_only_while_nothing_behind_its_start_was_taken() {
    for (reach, again) in [(0, true), (10 * CHUNK, true), (40 * CHUNK, false)] {
        let bench = bench(1).await;
        let got = Arc::new(Mutex::new(Vec::new()));
        let into = got.clone();
        let mut first = true;
        bench.fleet.node(1).script(move |_| match std::mem::take(&mut first) {
            true if reach == 0 => unreachable(),
            true => take(reach, into.clone(), Err(CallError::Unavailable { reason: String::new() })),
            false => take(usize::MAX, into.clone(), uploaded()),
        });
        let result = bench.upload(chunks(64).0).await;
        if again {
            result.unwrap();
            assert_eq!(got.lock().last().unwrap().len(), 64 * CHUNK);
        } else {
            assert!(matches!(result, Err(RouteError::SlowDown(_))), "{result:?}");
            assert_eq!(blobs(&bench).len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_a_mebibyte_is_taken_before_the_leader_takes_any() {
    let bench = bench(1).await;
    let (body, taken) = chunks(1000);
    bench.fleet.node(1).script(|_| Reply::Never);
    let (result, took) = timed(bench.upload(body)).await;
    assert!(matches!(result, Err(RouteError::SlowDown(_))), "{result:?}");
    assert!(took < NEVER_LONGER, "{took:?}");
    assert!(blobs(&bench).len() >= 3, "a leader that takes nothing leaves time for others");
    assert!((taken.load(Ordering::Relaxed) as usize - 1) * CHUNK <= 1 << 20);
}

/// Bytes that count themselves while they are in memory.
struct Counted(Vec<u8>, Arc<AtomicU64>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_again_is_kept_by_nobody() {
    let bench = bench(1).await;
    bench.fleet.node(1).script(|_| {
        Reply::Body(Box::new(|body| {
            async move {
                let mut unframed = Unframer::new(body.stream);
                for _ in 0..30 {
                    drop(unframed.next().await);
                }
                // Holds the rest, as a leader does that works on.
                let _held = unframed;
                futures::future::pending().await
            }
            .boxed()
        }))
    });
    let live = Arc::new(AtomicU64::new(0));
    let counter = live.clone();
    let body = futures::stream::iter(0..100).map(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Bytes::from_owner(Counted(vec![0; CHUNK], counter.clone())))
    });
    let mut upload = Box::pin(bench.upload(body.boxed()));
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut upload).await.is_err(), "it is under way");
    assert!(live.load(Ordering::Relaxed) <= 2, "{}", live.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_taking_bytes_ends_the_upload() {
    let bench = bench(1).await;
    bench.fleet.node(1).script(|_| {
        Reply::Body(Box::new(|body| {
            async move {
                let taken: Vec<_> = body.stream.take(80).collect().await;
                drop(taken);
                futures::future::pending().await
            }
            .boxed()
        }))
    });
    let (result, took) = timed(bench.upload(chunks(1000).0)).await;
    assert!(matches!(result, Err(RouteError::SlowDown(_))), "{result:?}");
    assert!((5..6).contains(&took.as_secs()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_takes_all_and_never_answers_does_not_hang_the_client() {
    for (count, seconds) in [(3, 8..10), (40, 5..6)] {
        let bench = bench(1).await;
        bench.fleet.node(1).script(|_| {
            Reply::Body(Box::new(|body| {
                async move {
                    let _all: Vec<_> = body.stream.collect().await;
                    futures::future::pending().await
                }
                .boxed()
            }))
        });
        let (result, took) = timed(bench.upload(chunks(count).0)).await;
        assert!(matches!(result, Err(RouteError::SlowDown(_))), "{result:?}");
        assert!(seconds.contains(&took.as_secs()), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_not_a_stalled_leader() {
    let bench = bench(1).await;
    bench.fleet.node(1).script(|_| take(usize::MAX, Arc::default(), uploaded()));
    let (body, _) = chunks(20);
    let slow = body.chain(futures::stream::once(async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok(Bytes::from_static(b"at last"))
    }));
    bench.upload(slow.boxed()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_aborted_wherever_it_breaks() {
    for good in [0, 3, 40] {
        let bench = bench(1).await;
        bench.fleet.node(1).script(|_| take(usize::MAX, Arc::default(), uploaded()));
        let broken = chunks(good).0.chain(futures::stream::once(async { Err(CallError::Aborted) }));
        assert_eq!(bench.upload(broken.boxed()).await.unwrap_err(), RouteError::Aborted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_at_once() {
    let bench = bench(1).await;
    bench.fleet.script(|_, _| err(CallError::NoSpace));
    let (result, took) = timed(bench.upload(chunks(3).0)).await;
    assert!(matches!(result, Err(RouteError::SlowDown(_))));
    assert_eq!((took, bench.fleet.calls()), (Duration::ZERO, 1));
}

#[tokio::test(start_paused = true)]
async fn uploads_end_in_time_and_never_as_unknown() {
    let bench = bench(1).await;
    bench.fleet.script(|_, _| unknown());
    let (result, took) = timed(bench.upload(chunks(3).0)).await;
    assert!(matches!(result, Err(RouteError::SlowDown(_))), "nothing names the blob: {result:?}");
    assert!(took < NEVER_LONGER, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_dropped_at_the_leader() {
    let bench = bench(1).await;
    bench.fleet.node(1).script(|_| err(CallError::NotLeader { leader: Some(NodeId(2)) }));
    bench.router.drop_blob(&bench.bucket, &key("k"), BlobId(4)).await;
    let dropped = Request::DropBlob { group: GroupId(1), blob: BlobId(4) };
    assert_eq!(bench.fleet.node(2).calls(), [dropped]);
}

#[tokio::test(start_paused = true)]
async fn an_upload_waits_for_a_leader_that_no_layout_names_yet() {
    let bench = bench(1).await;
    bench.fleet.lead(SHARD, 9, 2);
    bench.membership.until(|view| view.leader(SHARD).is_some_and(|leader| leader.node == NodeId(9))).await;
    bench.fleet.script(move |_, _| take(usize::MAX, Arc::default(), uploaded()));
    let lead = async {
        tokio::time::sleep(Duration::from_millis(1777)).await;
        bench.fleet.lead(SHARD, 2, 3);
    };
    let ((uploaded, took), ()) = tokio::join!(timed(bench.upload(chunks(1).0)), lead);
    uploaded.unwrap();
    assert!(took >= Duration::from_millis(1777) && took < Duration::from_millis(2777), "{took:?}");
}

/// Whatever an upload took of it, the client waits no longer than any other for what follows its last byte.
#[tokio::test(start_paused = true)]
async fn an_upload_and_the_write_that_names_it_share_their_time() {
    for (count, upload) in [(3, 0), (3, 4500), (40, 4500), (40, 0)] {
        let bench = bench(1).await;
        bench.fleet.script(move |_, request| match request {
            Request::UploadBlob { .. } => Reply::Body(Box::new(move |body| {
                async move {
                    let _all: Vec<_> = body.stream.collect().await;
                    tokio::time::sleep(Duration::from_millis(upload)).await;
                    uploaded()
                }
                .boxed()
            })),
            _ => unknown(),
        });
        let both = async {
            let uploaded = bench.router.upload(&bench.bucket, &key("k"), chunks(count).0).await.unwrap();
            let write = Write::Delete { bucket: bench.bucket.id, keys: vec![], bypass_governance: false };
            bench.router.write_by(uploaded.name_by, &bench.bucket, &key("k"), Modes::default(), write).await
        };
        let (written, took) = timed(both).await;
        assert!(matches!(written, Err(RouteError::Unknown(_))), "{written:?}");
        // A pause that would end past the deadline is not begun, so the answer may come a little before it.
        let in_time = took > Duration::from_secs(7) && took < Duration::from_secs(9);
        assert!(in_time, "{count} chunks, an answer after {upload} ms: {took:?}");
    }
}

/// An upload that took all the time there is leaves its name a moment.
#[tokio::test(start_paused = true)]
async fn a_late_upload_can_still_be_named() {
    let bench = bench(1).await;
    let began = Instant::now();
    bench.fleet.script(move |_, _| match began.elapsed() > Duration::from_millis(7600) {
        true => take(usize::MAX, Arc::default(), uploaded()),
        false => unreachable(),
    });
    let uploaded = bench.router.upload(&bench.bucket, &key("k"), chunks(1).0).await.unwrap();
    assert_eq!(uploaded.name_by, Instant::now() + Duration::from_secs(1));
}
