//! Listings: whom they ask, and that they are whole or fail.

use holdfast_wire::error::CallError;
use holdfast_wire::object::Summary;
use holdfast_wire::placement::HashRange;
use holdfast_wire::request::{
    ListFrom, ListObjects, ListPage, ListUploads, ListVersions, Read, ReadRequest, VersionPage,
};

use super::*;
use crate::fake::{err, object};

fn list(bucket: &Bucket, prefix: &str, limit: u32) -> ListObjects {
    let (prefix, delimiter, after) = (prefix.to_owned(), None, ListFrom::Start);
    ListObjects { bucket: bucket.id, prefix, delimiter, after, limit }
}

fn page(keys: &[String], more: bool) -> ListPage {
    let summary: Summary = object(Seq::default(), 1).summary;
    let objects = keys.iter().map(|key| (key.clone(), summary.clone())).collect();
    ListPage { objects, prefixes: Vec::new(), more }
}

/// Every shard holds three keys that carry its number.
fn shard_page(request: &Request) -> Reply {
    let Request::Read(ReadRequest { group, read: Read::List(list), .. }) = request else { return Reply::Soundly };
    let keys: Vec<_> = (0..3).map(|at| format!("{at}-{group}")).collect();
    let shown = keys.len().min(list.limit as usize);
    ok(Response::Listed(page(&keys[..shown], shown < keys.len())))
}

fn shown(page: &ListPage) -> Vec<&str> {
    page.objects.iter().map(|(key, _)| key.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn pages_of_all_shards_become_one() {
    let bench = bench(3).await;
    bench.fleet.script(|_, request| shard_page(request));
    let page = bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "", 4)).await.unwrap();
    assert_eq!((shown(&page), page.more), (vec!["0-1", "0-2", "0-3", "1-1"], true));
    let page = bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "", 9)).await.unwrap();
    assert_eq!((page.objects.len(), page.more), (9, false));
    let none = bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "", 0)).await.unwrap();
    assert_eq!(none, ListPage::default());
}

#[tokio::test(start_paused = true)]
async fn a_prefix_with_a_root_directory_asks_one_shard() {
    let bench = bench(8).await;
    bench.fleet.script(|_, request| shard_page(request));
    bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "logs/20", 10)).await.unwrap();
    let calls: Vec<_> = bench.fleet.nodes.iter().flat_map(|node| node.calls()).collect();
    let [Request::Read(read)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(read.group, bench.shard("logs/2026"));
    bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "logs", 10)).await.unwrap();
    assert_eq!(bench.fleet.calls(), 9);
}

#[tokio::test(start_paused = true)]
async fn one_shard_that_fails_fails_the_listing() {
    let bench = bench(3).await;
    bench.fleet.script(|_, request| match request {
        Request::Read(read) if read.group == GroupId(2) => err(CallError::NotFresh),
        _ => shard_page(request),
    });
    let (page, took) = timed(bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "", 9))).await;
    assert!(matches!(page, Err(RouteError::SlowDown(_))), "{page:?}");
    assert!(took < NEVER_LONGER, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_listing_over_two_maps_is_made_anew() {
    let bench = bench(1).await;
    let fleet = bench.fleet.clone();
    let mut first = true;
    bench.fleet.script(move |node, request| {
        if std::mem::take(&mut first) {
            fleet.remap(HashRange::tile(2));
            let answer = Ok((Response::Listed(page(&[], false)), holdfast_wire::service::Body::empty()));
            // Slow enough for the news of the map to arrive first.
            return Reply::After(Duration::from_millis(15), answer);
        }
        let _ = node;
        shard_page(request)
    });
    let page = bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "", 9)).await.unwrap();
    assert_eq!(shown(&page), ["0-1", "0-2", "1-1", "1-2", "2-1", "2-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_without_an_end_is_refused() {
    let bench = bench(2).await;
    bench.fleet.script(|_, _| ok(Response::Listed(page(&[], true))));
    let page = bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "", 9)).await;
    assert!(matches!(page, Err(RouteError::SlowDown(_))));
}

#[tokio::test(start_paused = true)]
async fn a_bucket_made_anew_is_listed_under_its_new_id() {
    let bench = bench(2).await;
    bench.fleet.put_bucket(bucket(8, "bucket"));
    bench.fleet.script(|_, request| match request {
        Request::Read(ReadRequest { read: Read::List(list), .. }) if list.bucket.0 != 8 => {
            ok(Response::NotRead(NotRead::NoSuchBucket))
        }
        _ => shard_page(request),
    });
    let page = bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "", 9)).await.unwrap();
    assert_eq!(page.objects.len(), 6);
    bench.fleet.remove_bucket("bucket");
    let gone = bench.router.list(&bench.bucket, Modes::default(), list(&bench.bucket, "", 9)).await;
    assert_eq!(gone.unwrap_err(), RouteError::NoSuchBucket);
}

#[tokio::test(start_paused = true)]
async fn uploads_are_listed_over_all_shards() {
    let bench = bench(3).await;
    bench.fleet.script(|_, request| match request {
        Request::Read(ReadRequest { group, read: Read::ListUploads(_), .. }) => ok(Response::Uploads {
            uploads: vec![],
            prefixes: vec!["a/".to_owned(), format!("b{group}/")],
            more: false,
        }),
        _ => Reply::Soundly,
    });
    let (prefix, delimiter, after) = (String::new(), Some("/".to_owned()), None);
    let list = ListUploads { bucket: bench.bucket.id, prefix, delimiter, after, limit: 3 };
    let (uploads, prefixes, more) = bench.router.list_uploads(&bench.bucket, list).await.unwrap();
    assert!(uploads.is_empty());
    assert_eq!((prefixes, more), (vec!["a/".to_owned(), "b1/".to_owned(), "b2/".to_owned()], true));
}

#[tokio::test(start_paused = true)]
async fn versions_and_uploads_of_a_bucket_made_anew_are_listed_under_its_new_id() {
    let bench = bench(2).await;
    bench.fleet.put_bucket(bucket(8, "bucket"));
    bench.fleet.script(|_, request| {
        let Request::Read(ReadRequest { read, .. }) = request else { return Reply::Soundly };
        match read {
            Read::ListVersions(list) if list.bucket.0 == 8 => ok(Response::ListedVersions(VersionPage::default())),
            Read::ListUploads(list) if list.bucket.0 == 8 => {
                ok(Response::Uploads { uploads: vec![], prefixes: vec![], more: false })
            }
            _ => ok(Response::NotRead(NotRead::NoSuchBucket)),
        }
    });
    let (bucket, prefix) = (bench.bucket.id, String::new());
    let versions = ListVersions {
        bucket,
        prefix: prefix.clone(),
        delimiter: None,
        after: ListFrom::Start,
        after_version: None,
        limit: 9,
    };
    let page = bench.router.list_versions(&bench.bucket, Modes::default(), versions).await;
    assert_eq!(page.unwrap(), VersionPage::default());
    let uploads = ListUploads { bucket, prefix, delimiter: None, after: None, limit: 9 };
    let page = bench.router.list_uploads(&bench.bucket, uploads).await;
    assert_eq!(page.unwrap(), (vec![], vec![], false));
}

#[tokio::test(start_paused = true)]
async fn a_listing_waits_for_a_map_and_not_for_ever() {
    let fleet = Fleet::new(1, 2);
    fleet.script(|_, request| shard_page(request));
    let membership = Membership::start_with(fleet.clone(), None, vec!["n1".to_owned()], Seams::real());
    let router = Router::new(membership, Seams::real(), RouterOptions::default());
    let bucket = bucket(7, "bucket");
    let page = router.list(&bucket, Modes::default(), list(&bucket, "", 9)).await;
    assert_eq!(page.unwrap().objects.len(), 6, "before the first heartbeat");

    let fleet = Fleet::new(1, 2);
    fleet.node(1).die();
    let membership = Membership::start_with(fleet, None, vec!["n1".to_owned()], Seams::real());
    let router = Router::new(membership, Seams::real(), RouterOptions::default());
    let (page, took) = timed(router.list(&bucket, Modes::default(), list(&bucket, "", 9))).await;
    assert!(matches!(page, Err(RouteError::SlowDown(_))), "{page:?}");
    assert!(took < NEVER_LONGER && took > Duration::from_secs(7), "{took:?}");
}
