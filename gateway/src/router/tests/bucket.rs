//! The cache of buckets, and the requests that change them.

use std::time::Duration;

use holdfast_wire::bucket::BucketState;
use holdfast_wire::configuration::BucketChange;
use holdfast_wire::id::BucketName;
use holdfast_wire::identity::Identities;
use holdfast_wire::placement::Placement;
use holdfast_wire::request::RootRequest;
use tokio::time::sleep;

use super::*;
use crate::fake::{unavailable, unknown};

fn name(text: &str) -> BucketName {
    text.parse().unwrap()
}

fn tagged(value: &str) -> Vec<(String, String)> {
    vec![("tag".to_owned(), value.to_owned())]
}

#[tokio::test(start_paused = true)]
async fn root_is_asked_once_in_five_seconds() {
    let bench = bench(1).await;
    for _ in 0..49 {
        bench.router.bucket(&name("bucket")).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bench.fleet.calls(), 1);
    bench.fleet.put_bucket(Bucket { revision: 2, tags: tagged("new"), ..bench.bucket.clone() });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.router.bucket(&name("bucket")).await.unwrap().tags, tagged("new"));
    assert_eq!(bench.fleet.calls(), 2);
    bench.router.bucket_now(&name("bucket")).await.unwrap();
    assert_eq!(bench.fleet.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_known_bucket_is_used_while_root_does_not_answer() {
    let bench = bench(1).await;
    bench.router.bucket(&name("bucket")).await.unwrap();
    for reply in [unavailable, || Reply::Never] {
        bench.fleet.script(move |_, _| reply());
        sleep(Duration::from_secs(60)).await;
        let (known, took) = timed(bench.router.bucket(&name("bucket"))).await;
        known.unwrap();
        assert!(took <= Duration::from_millis(250), "{took:?}");
        let (known, took) = timed(bench.router.bucket(&name("bucket"))).await;
        known.unwrap();
        assert_eq!(took, Duration::ZERO, "the others do not wait");
    }
    let (unknown, took) = timed(bench.router.bucket(&name("another"))).await;
    assert!(matches!(unknown, Err(RouteError::SlowDown(_))));
    assert!(took < NEVER_LONGER);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_was_never_asked_for_is_what_a_replica_knows_while_root_does_not_answer() {
    let bench = bench(1).await;
    let fleet = bench.fleet.clone();
    bench.fleet.script(move |node, request| match request {
        Request::Root(RootRequest::Bucket { .. }) => unavailable(),
        _ => Reply::Now(fleet.node(node.0).soundly(request)),
    });
    let (known, took) = timed(bench.router.bucket(&name("bucket"))).await;
    assert_eq!(known.unwrap().id, bench.bucket.id);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let (known, took) = timed(bench.router.bucket(&name("bucket"))).await;
    known.unwrap();
    assert_eq!(took, Duration::ZERO, "it is kept like any other");
    // That a replica has not heard of it says nothing.
    let (unknown, took) = timed(bench.router.bucket(&name("another"))).await;
    assert!(matches!(unknown, Err(RouteError::SlowDown(_))), "{unknown:?}");
    assert!(took < NEVER_LONGER);
    assert!(matches!(bench.router.bucket_now(&name("bucket")).await, Err(RouteError::SlowDown(_))));
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_bucket_is_not_remembered() {
    let bench = bench(1).await;
    assert_eq!(bench.router.bucket(&name("later")).await.unwrap_err(), RouteError::NoSuchBucket);
    bench.fleet.put_bucket(bucket(9, "later"));
    bench.router.bucket(&name("later")).await.unwrap();
    bench.fleet.put_bucket(Bucket { state: BucketState::Creating, ..bucket(10, "unborn") });
    assert_eq!(bench.router.bucket(&name("unborn")).await.unwrap_err(), RouteError::NoSuchBucket);
    let names: Vec<_> = bench.router.buckets().await.unwrap().into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(names, [name("bucket"), name("later")]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_bucket_is_forgotten_even_by_an_answer_under_way() {
    let bench = bench(1).await;
    let fleet = bench.fleet.clone();
    bench.fleet.script(move |node, request| match request {
        Request::Root(RootRequest::Bucket { .. }) => {
            Reply::After(Duration::from_millis(15), fleet.node(node.0).soundly(request))
        }
        _ => Reply::Soundly,
    });
    let bucket = name("bucket");
    let (before, deleted) = tokio::join!(bench.router.bucket(&bucket), bench.router.delete_bucket(bucket.clone()));
    before.unwrap();
    deleted.unwrap();
    assert_eq!(bench.router.bucket(&bucket).await.unwrap_err(), RouteError::NoSuchBucket);
    assert_eq!(bench.router.delete_bucket(bucket).await.unwrap_err(), RouteError::NoSuchBucket);
}

#[tokio::test(start_paused = true)]
async fn changes_go_to_roots_leader_under_one_id_and_are_known_at_once() {
    let bench = bench(1).await;
    let mut first = true;
    bench.fleet.node(1).script(move |_| if std::mem::take(&mut first) { unknown() } else { Reply::Soundly });
    let make =
        |text| bench.router.create_bucket(name(text), "me".to_owned(), Placement::WholeKey, vec![], (false, vec![]));
    let made = make("fresh").await.unwrap();
    let calls = bench.fleet.node(1).calls();
    let [
        Request::Root(RootRequest::CreateBucket { request: a, .. }),
        Request::Root(RootRequest::CreateBucket { request: b, .. }),
    ] = &calls[..]
    else {
        panic!("{calls:?}")
    };
    assert_eq!(a, b);
    let before = bench.fleet.calls();
    assert_eq!(bench.router.bucket(&made.name).await.unwrap().id, made.id);
    let tags = bench.router.change_bucket(made.name.clone(), BucketChange::Tags(tagged("x"))).await.unwrap();
    assert_eq!(tags.tags, tagged("x"));
    assert_eq!(bench.router.bucket(&made.name).await.unwrap().tags, tagged("x"));
    assert_eq!(bench.fleet.calls() - before, 1);
    let none = bench.router.change_bucket(name("none"), BucketChange::Tags(vec![])).await;
    assert_eq!(none.unwrap_err(), RouteError::NoSuchBucket);
    bench.fleet.node(1).script(|_| ok(Response::RootRefused(RootRefusal::BucketNotEmpty)));
    let full = bench.router.delete_bucket(name("fresh")).await;
    assert_eq!(full.unwrap_err(), RouteError::Root(RootRefusal::BucketNotEmpty));
}

#[tokio::test(start_paused = true)]
async fn an_old_record_is_looked_up_anew_as_long_as_root_answers_soon() {
    let bench = bench(1).await;
    bench.router.bucket(&name("bucket")).await.unwrap();
    bench.fleet.put_bucket(Bucket { revision: 2, tags: tagged("new"), ..bench.bucket.clone() });
    sleep(Duration::from_secs(6)).await;
    let fleet = bench.fleet.clone();
    bench
        .fleet
        .script(move |node, request| Reply::After(Duration::from_millis(100), fleet.node(node.0).soundly(request)));
    assert_eq!(bench.router.bucket(&name("bucket")).await.unwrap().tags, tagged("new"));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_after_a_removal_is_kept_as_before() {
    let bench = bench(1).await;
    bench.fleet.put_bucket(bucket(9, "other"));
    bench.router.delete_bucket(name("other")).await.unwrap();
    let before = bench.fleet.calls();
    for _ in 0..5 {
        bench.router.bucket(&name("bucket")).await.unwrap();
    }
    assert_eq!(bench.fleet.calls() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_only_being_created_is_none_that_a_replica_knows() {
    let bench = bench(1).await;
    bench.fleet.put_bucket(Bucket { state: BucketState::Creating, ..bucket(10, "unborn") });
    let fleet = bench.fleet.clone();
    bench.fleet.script(move |node, request| match request {
        Request::Root(RootRequest::Bucket { .. }) => unavailable(),
        _ => Reply::Now(fleet.node(node.0).soundly(request)),
    });
    let unborn = bench.router.bucket(&name("unborn")).await;
    assert!(matches!(unborn, Err(RouteError::SlowDown(_))), "{unborn:?}");
}

#[tokio::test(start_paused = true)]
async fn identities_are_those_of_root() {
    let bench = bench(1).await;
    bench.fleet.script(|_, request| match request {
        Request::Root(RootRequest::Identities { known: 4 }) => ok(Response::Identities(None)),
        Request::Root(RootRequest::Identities { .. }) => {
            ok(Response::Identities(Some(Box::new(Identities { version: 4, ..Identities::default() }))))
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(bench.router.identities(3).await.unwrap().unwrap().version, 4);
    assert_eq!(bench.router.identities(4).await.unwrap(), None);
}
