//! Bytes of an object that break off, and how they go on.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use holdfast_wire::condition::ReadCondition;
use holdfast_wire::error::CallError;
use holdfast_wire::request::{Freshness, GetObject, RangeSpec, Read};
use holdfast_wire::service::Body;

use super::read::{get, read_of};
use super::*;
use crate::fake::object;

const SIZE: u64 = 1000;

fn content(first: u64, count: u64) -> Vec<u8> {
    (first..first + count).map(|at| (at % 251) as u8).collect()
}

/// How a replica's bytes end.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Well,
    Broken,
    Short,
    Stalled,
    Long,
}

/// Serves the range that is asked for, of version 1, up to `bytes` of it in chunks of 100.
fn serve(request: &Request, bytes: u64, ends: Ends) -> Reply {
    let Read::Get(get) = &read_of(request).read else { panic!("no get") };
    let (first, count) = match get.range {
        RangeSpec::All => (0, SIZE),
        RangeSpec::FromTo { first, last } => (first, last + 1 - first),
        RangeSpec::Stored { first, count } => (first, count),
        other => panic!("{other:?}"),
    };
    let bytes = bytes.min(count);
    let sent: Vec<_> = content(first, bytes).chunks(100).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let sent = futures::stream::iter(sent);
    let tail = match ends {
        Ends::Well | Ends::Short => futures::stream::empty().boxed(),
        Ends::Broken => futures::stream::once(async { Err(CallError::Unknown { reason: "broke".to_owned() }) }).boxed(),
        Ends::Stalled => futures::stream::pending().boxed(),
        Ends::Long => futures::stream::once(async { Ok(Bytes::from(vec![0; 2000])) }).boxed(),
    };
    let object = object(Seq { group: GroupId(1), index: 4 }, SIZE);
    let response = Response::Object { object: Box::new(object), range: (first, count), applied: 4 };
    let body = Body { len: Some(count), stream: sent.chain(tail).boxed() };
    Reply::Body(Box::new(move |_| async move { Ok((response, body)) }.boxed()))
}

async fn bytes(got: Result<Got, RouteError>) -> (Vec<u8>, Option<CallError>) {
    let mut body = got.unwrap().body;
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => all.extend_from_slice(&chunk),
            Err(error) => {
                assert!(body.next().await.is_none(), "an error is the end");
                return (all, Some(error));
            }
        }
    }
    (all, None)
}

#[tokio::test(start_paused = true)]
async fn bytes_that_break_off_go_on_from_another_replica() {
    for ends in [Ends::Broken, Ends::Short, Ends::Stalled, Ends::Long] {
        // The replica of this process is the first choice, even now; the one that failed is none.
        let bench = bench_of(Fleet::new(3, 1), Some(1)).await;
        let mut first = None;
        bench.fleet.script(move |node, request| {
            if *first.get_or_insert(node) == node {
                serve(request, 300, ends)
            } else {
                serve(request, SIZE, Ends::Well)
            }
        });
        let start = Instant::now();
        let (got, error) = bytes(bench.get().await).await;
        assert!(error.is_none() && got == content(0, SIZE), "{ends:?} {error:?}");
        assert_eq!(start.elapsed().as_secs(), if matches!(ends, Ends::Stalled) { 5 } else { 0 });
        assert_eq!(bench.fleet.calls(), 2);
        assert_eq!(bench.router.metrics().continuations.load(Ordering::Relaxed), 1);
        let calls: Vec<_> = bench.fleet.nodes.iter().flat_map(|node| node.calls()).collect();
        let rest = calls.iter().map(read_of).find(|read| matches!(&read.read, Read::Get(get) if get.seq.is_some()));
        let rest = rest.unwrap();
        let Read::Get(get) = &rest.read else { unreachable!() };
        assert_eq!(get.range, RangeSpec::Stored { first: 300, count: SIZE - 300 });
        assert_eq!(get.seq, Some(Seq { group: GroupId(1), index: 4 }));
        assert_eq!(rest.freshness, Freshness::AtLeast(4));
    }
}

/// A version that was chosen is read to its end, whatever the condition would say of it by then.
#[tokio::test(start_paused = true)]
async fn what_goes_on_is_not_judged_again() {
    let bench = bench(1).await;
    let mut first = true;
    bench.fleet.script(move |_, request| {
        let Read::Get(get) = &read_of(request).read else { panic!("no get") };
        match std::mem::take(&mut first) {
            true => serve(request, 300, Ends::Broken),
            false if get.condition == ReadCondition::default() => serve(request, SIZE, Ends::Well),
            false => ok(Response::NotRead(NotRead::NoSuchKey)),
        }
    });
    let condition = ReadCondition { if_unmodified_since_s: Some(1), ..ReadCondition::default() };
    let got = bench.router.get(&bench.bucket, Modes::default(), GetObject { condition, ..get(&bench.bucket) }).await;
    let (got, error) = bytes(got).await;
    assert!(error.is_none() && got == content(0, SIZE), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn no_empty_piece_is_passed_on() {
    let bench = bench(1).await;
    bench.fleet.script(|_, request| match serve(request, 0, Ends::Well) {
        Reply::Body(serve) => Reply::Body(Box::new(move |body| {
            async move {
                let (response, body) = serve(body).await?;
                let pieces = [Bytes::new(), Bytes::from(content(0, 400)), Bytes::new(), Bytes::from(content(400, 600))];
                let stream = futures::stream::iter(pieces.map(Ok)).boxed();
                Ok((response, Body { stream, ..body }))
            }
            .boxed()
        })),
        other => other,
    });
    let pieces: Vec<Bytes> = bench.get().await.unwrap().body.map(Result::unwrap).collect().await;
    assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [400, 600]);
}

#[tokio::test(start_paused = true)]
async fn every_replica_may_give_a_piece() {
    let bench = bench(1).await;
    bench.fleet.script(|_, request| serve(request, 200, Ends::Broken));
    let (got, error) = bytes(bench.get().await).await;
    assert!(error.is_none() && got == content(0, SIZE), "{error:?}");
    assert!(bench.asked().iter().all(|&asked| asked > 0));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_never_come_end_the_stream_short_with_an_error() {
    let bench = bench(1).await;
    let mut given = 200;
    bench.fleet.script(move |_, request| serve(request, std::mem::take(&mut given), Ends::Short));
    let (got, error) = bytes(bench.get().await).await;
    assert!(error.is_some() && got == content(0, 200), "{error:?}");
    assert!(bench.fleet.calls() <= 9, "{}", bench.fleet.calls());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_overwritten_is_not_continued_with_another() {
    for other in [true, false] {
        let bench = bench(1).await;
        let mut first = true;
        bench.fleet.script(move |_, request| {
            if std::mem::take(&mut first) {
                return serve(request, 300, Ends::Broken);
            }
            if !other {
                return ok(Response::NotRead(NotRead::NoSuchKey));
            }
            let newer = Box::new(object(Seq { group: GroupId(1), index: 9 }, SIZE));
            let bytes = Bytes::from(vec![9; 700]);
            let response = Response::Object { object: newer, range: (300, 700), applied: 9 };
            Reply::Now(Ok((response, bytes.into())))
        });
        let (got, error) = bytes(bench.get().await).await;
        assert!(error.is_some() && got == content(0, 300));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_pauses_is_no_stall() {
    let bench = bench(1).await;
    bench.fleet.script(|_, request| serve(request, SIZE, Ends::Well));
    let mut body = bench.get().await.unwrap().body;
    let mut count = 0;
    while let Some(chunk) = body.next().await {
        count += chunk.unwrap().len();
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    assert_eq!((count as u64, bench.fleet.calls()), (SIZE, 1));
}
