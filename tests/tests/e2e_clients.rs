//! Clients that vanish, stall or crawl, and gateways that die in the middle of uploads: nothing partial is ever seen,
//! nothing of it stays, and others are served. `TEST_ROUNDS=20` runs the figures of the report.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_tests::bench::load::{self, Case, Kind, Target};
use holdfast_tests::body;
use holdfast_tests::client::raw::{Call, Raw, Reply};
use holdfast_tests::client::xml;
use holdfast_tests::cluster::{Cluster, Options};
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::fault;
use holdfast_tests::storm::rounds;
use holdfast_tests::wait;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Test = Result<(), Failure>;

const SIZE: usize = 8 << 20;
/// Per mille of a body that was sent when the gateway dies; -1 stands for one byte.
const SENT: [i64; 6] = [0, -1, 250, 500, 990, 1000];
/// Copies that a gateway may leave without a name: a body that was sent whole, of a put and of a part, may be on all three
/// nodes when it dies, its entry not yet asked for.
const NAMELESS: u64 = 2 * 3;

fn raw(cluster: &Cluster, at: usize) -> Raw {
    Raw::new(&cluster.gateways()[at], cluster.keys().clone(), Duration::from_secs(15))
}

async fn expect(raw: &mut Raw, call: Call, status: StatusCode) -> Result<Reply, Failure> {
    let what = format!("{} {}", call.method, call.path);
    let reply = raw.call(call).await?;
    match reply.status == status {
        true => Ok(reply),
        false => Err(Failure::new(format!("{what}: {} instead of {status}: {}", reply.status, reply.text()))),
    }
}

fn part_of(body: &Bytes, sent: i64) -> Bytes {
    let len = if sent < 0 { 1 } else { body.len() * sent as usize / 1000 };
    body.slice(..len.min(body.len()))
}

/// Sends the head of a request and some of its body to whoever listens at `address`, and leaves it at that.
async fn begin(signer: &mut Raw, address: &str, call: Call, body: &Bytes, sent: i64) -> Result<TcpStream, Failure> {
    let head = signer.head(call, body.len() as u64);
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&part_of(body, sent)).await?;
    Ok(stream)
}

async fn upload(s3: &mut Raw, key: &str) -> Result<String, Failure> {
    let made = expect(s3, Call::object(Method::POST, "cut", key).query("uploads", ""), StatusCode::OK).await?;
    xml::text(&made.text(), "UploadId").ok_or_else(|| Failure::new("no upload id"))
}

fn part(key: &str, upload: &str, number: u32) -> Call {
    Call::object(Method::PUT, "cut", key).query("partNumber", number).query("uploadId", upload)
}

fn complete(key: &str, upload: &str) -> Call {
    Call::object(Method::POST, "cut", key).query("uploadId", upload)
}

/// All under way at once when the gateway dies.
struct Wave {
    puts: Vec<(String, u64)>,
    parts: Vec<(String, String, u64)>,
    completes: Vec<(String, String, u64, Bytes)>,
}

/// Objects of which nothing or everything may be seen; how many are there.
async fn judge(s3: &mut Raw, wave: &Wave) -> Result<u64, Failure> {
    let mut there = 0;
    for (key, id) in
        wave.puts.iter().map(|(key, id)| (key, id)).chain(wave.completes.iter().map(|(k, _, id, _)| (k, id)))
    {
        let got = s3.call(Call::object(Method::GET, "cut", key)).await?;
        match got.status {
            StatusCode::NOT_FOUND => {}
            StatusCode::OK => {
                assert_eq!(body::verify(*id, &got.body), Ok(()), "{key} is there in part");
                there += 1;
            }
            other => return Err(Failure::new(format!("{key}: {other} {}", got.text()))),
        }
    }
    for (key, upload, _) in &wave.parts {
        let listed = s3.call(Call::object(Method::GET, "cut", key).query("uploadId", upload)).await?;
        assert_eq!(listed.status, StatusCode::OK, "{key}: {}", listed.text());
        let sizes = listed.text().matches("<Size>").count();
        assert!(
            sizes <= 1 && (sizes == 0 || listed.text().contains(&format!("<Size>{SIZE}</Size>"))),
            "{}",
            listed.text()
        );
    }
    Ok(there)
}

/// The same again, through a gateway that lives: a retry works, whatever became of the first try.
async fn retry(s3: &mut Raw, wave: &Wave) -> Test {
    for (key, id) in &wave.puts {
        expect(s3, Call::object(Method::PUT, "cut", key).body(body::make(*id, SIZE)), StatusCode::OK).await?;
    }
    for (key, upload, id) in &wave.parts {
        expect(s3, part(key, upload, 1).body(body::make(*id, SIZE)), StatusCode::OK).await?;
        expect(s3, Call { method: Method::DELETE, ..complete(key, upload) }, StatusCode::NO_CONTENT).await?;
    }
    for (key, upload, id, xml) in &wave.completes {
        let done = s3.call(complete(key, upload).body(xml.clone())).await?;
        assert!(
            done.status == StatusCode::OK || done.text().contains("NoSuchUpload"),
            "{} {}",
            done.status,
            done.text()
        );
        let got = expect(s3, Call::object(Method::GET, "cut", key), StatusCode::OK).await?;
        assert_eq!(body::verify(*id, &got.body), Ok(()));
    }
    Ok(())
}

/// Everything that is there is taken away.
async fn clear(s3: &mut Raw, wave: &Wave) -> Test {
    let keys = wave.puts.iter().map(|(key, _)| key).chain(wave.completes.iter().map(|(key, ..)| key));
    for key in keys {
        expect(s3, Call::object(Method::DELETE, "cut", key), StatusCode::NO_CONTENT).await?;
    }
    Ok(())
}

/// Files of uploads that are not done, on all nodes.
fn unfinished(cluster: &mut Cluster) -> Vec<PathBuf> {
    let files = (0..cluster.len()).flat_map(|at| cluster.node(at).files()).map(|(path, _)| path);
    files.filter(|path| path.extension().is_some_and(|extension| extension == "part")).collect()
}

/// Blobs that nothing names, on all nodes, by `holdfast verify`. The nodes are ended for that, in order, so that the index
/// has on disk what it names, and started again.
async fn orphans(cluster: &mut Cluster) -> Result<u64, Failure> {
    for at in 0..cluster.len() {
        cluster.node(at).terminate(Duration::from_secs(30)).await?;
    }
    let mut sum = 0;
    for at in 0..cluster.len() {
        let data = cluster.node(at).data.clone();
        let output = Command::new(cluster.binary()).args(["verify", "-o", "json", "--data"]).arg(data).output()?;
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| Failure::new(format!("n{}: {}", at + 1, String::from_utf8_lossy(&output.stderr))))?;
        if report["sound"] != true {
            return Err(Failure::new(format!("n{} is not sound: {report}", at + 1)));
        }
        sum += report["orphans"].as_u64().ok_or_else(|| Failure::harness("no count of orphans"))?;
        cluster.node(at).start()?;
    }
    cluster.ready().await?;
    Ok(sum)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_dies_in_an_upload_leaves_nothing_partial() {
    on_cluster(Options::default(), async |cluster| -> Test {
        let mut s3 = raw(cluster, 0);
        expect(&mut s3, Call::bucket(Method::PUT, "cut"), StatusCode::OK).await?;
        let mut gateway = cluster.gateway(3);
        let address = gateway.at(gateway.ports.s3);
        let mut signer = Raw::new(&address, cluster.keys().clone(), Duration::from_secs(15));
        let (mut uploads, mut whole, mut unsent, mut nameless, mut before) = (0, 0, 0, 0, 0);
        for round in 0..rounds(1) {
            gateway.start()?;
            let up = wait::until("the gateway to serve", Duration::from_secs(20), async || {
                match signer.call(Call::bucket(Method::HEAD, "cut")).await {
                    Ok(reply) if reply.status == StatusCode::OK => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            });
            up.await?;
            let mut wave = Wave { puts: Vec::new(), parts: Vec::new(), completes: Vec::new() };
            let mut open = Vec::new();
            for (at, sent) in SENT.into_iter().enumerate() {
                let id = (round * 100 + at * 10) as u64;
                let (put, parted, completed) = (format!("p{id}/k"), format!("u{id}/k"), format!("c{id}/k"));
                let (by_part, by_complete) = (upload(&mut s3, &parted).await?, upload(&mut s3, &completed).await?);
                let bytes = body::make(id + 2, SIZE);
                let stored = expect(&mut s3, part(&completed, &by_complete, 1).body(bytes), StatusCode::OK).await?;
                let etag = stored.header("etag").unwrap_or_default();
                let xml: Bytes = format!(
                    "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
                     </CompleteMultipartUpload>"
                )
                .into();
                let body = body::make(id, SIZE);
                open.push(begin(&mut signer, &address, Call::object(Method::PUT, "cut", &put), &body, sent).await?);
                let body = body::make(id + 1, SIZE);
                open.push(begin(&mut signer, &address, part(&parted, &by_part, 1), &body, sent).await?);
                open.push(begin(&mut signer, &address, complete(&completed, &by_complete), &xml, sent).await?);
                wave.puts.push((put, id));
                wave.parts.push((parted, by_part, id + 1));
                wave.completes.push((completed, by_complete, id + 2, xml));
            }
            gateway.kill();
            uploads += open.len();
            unsent += open.len() - 3;
            drop(open);
            whole += judge(&mut s3, &wave).await?;
            // What ends early takes its bytes along at once: nothing of it is left to the collector, which would wait for
            // a day. What is deleted below would be in the trash for a while, so it is looked at before.
            let none = async || match unfinished(cluster) {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            };
            wait::until("uploads to be given up", Duration::from_secs(30), none).await?;
            let found = orphans(cluster).await?.saturating_sub(before);
            assert!(found <= NAMELESS, "blobs that nothing names: {found}");
            nameless += found;
            retry(&mut s3, &wave).await?;
            clear(&mut s3, &wave).await?;
            if round + 1 < rounds(1) {
                // What was deleted has no name either, for as long as it is kept.
                before = orphans(cluster).await?;
            }
        }
        fault::counted("24", "a gateway killed in uploads", uploads as u64, "uploads under way")?;
        println!("FIGURE a gateway killed in uploads: {uploads}, {unsent} of them not sent whole; {whole} objects whole, 0 partial");
        println!("FIGURE a gateway killed in uploads: {nameless} blobs that nothing names, left to the collector");
        Ok(())
    })
    .await;
}

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    WithReset,
    WithEnd,
    Stalls,
}

/// What a gateway has open: connections and requests.
async fn held(cluster: &Cluster) -> Result<(f64, f64), Failure> {
    let connections = cluster.metric(0, "holdfast_gateway_connections").await?.unwrap_or(0.0);
    let requests = cluster.metric(0, "holdfast_gateway_requests_in_flight").await?.unwrap_or(0.0);
    Ok((connections, requests))
}

/// Leaves in the middle of uploads and downloads, in every way; how many clients did, and those that only stall.
async fn leave(signer: &mut Raw, address: &str, body: &Bytes) -> Result<(u64, Vec<TcpStream>), Failure> {
    let (mut stalled, mut left) = (Vec::new(), 0);
    for round in 0..4 * rounds(1) {
        for leaves in [Leaves::WithReset, Leaves::WithEnd, Leaves::Stalls] {
            let call = Call::object(Method::PUT, "cut", &format!("gone{round}{leaves:?}"));
            let up = begin(signer, address, call, body, 500).await?;
            let head = signer.head(Call::object(Method::GET, "cut", "there"), 0);
            let mut down = TcpStream::connect(address).await?;
            down.write_all(head.as_bytes()).await?;
            down.read_exact(&mut [0; 1000]).await?;
            left += 2;
            for mut stream in [up, down] {
                match leaves {
                    Leaves::WithReset => stream.set_zero_linger()?,
                    Leaves::WithEnd => stream.shutdown().await?,
                    Leaves::Stalls => stalled.push(stream),
                }
            }
        }
    }
    // Bodies whose length is not the one that was promised, and chunks that end early.
    for (name, value, sent) in
        [("content-length", "100000", &b"short"[..]), ("transfer-encoding", "chunked", b"5\r\nhel")]
    {
        let mut head = signer.head(Call::object(Method::PUT, "cut", "gone-short"), 5);
        head = head.replace("content-length: 5\r\n", &format!("{name}: {value}\r\n"));
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(sent).await?;
        stream.shutdown().await?;
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        if said.starts_with(b"HTTP/1.1 200") {
            return Err(Failure::new(format!("{name}: {}", String::from_utf8_lossy(&said))));
        }
        left += 1;
    }
    Ok((left, stalled))
}

/// Heads, bodies and answers that go on by a byte now and then; so many of each.
async fn crawl(signer: &mut Raw, address: &str, body: &Bytes, each: usize) -> Result<Vec<TcpStream>, Failure> {
    let mut crawling = Vec::with_capacity(3 * each);
    for number in 0..each {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /cut/there HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
        crawling.push(stream);
        let call = Call::object(Method::PUT, "cut", &format!("slow{number}"));
        crawling.push(begin(signer, address, call, body, -1).await?);
        let head = signer.head(Call::object(Method::GET, "cut", "there"), 0);
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(head.as_bytes()).await?;
        crawling.push(stream);
    }
    Ok(crawling)
}

/// 99th percentile of puts and gets of 4 KiB, and that all succeeded.
async fn served(cluster: &Cluster) -> Result<Duration, Failure> {
    let target = Target::new(vec![cluster.gateways()[0].clone()], cluster.keys().clone(), "cut", 4096);
    let mut worst = Duration::ZERO;
    for kind in [Kind::Create, Kind::Get] {
        let span = Duration::from_secs(60);
        let case = Case { kind, size: 4096, clients: 8, objects: 400, span, operations: Some(400) };
        let done = load::run(&target, &case).await;
        if (done.operations, done.errors, done.wrong) != (400, 0, 0) {
            return Err(Failure::new(format!("{kind:?}: {} done, {:?}", done.operations, done.first_error)));
        }
        worst = worst.max(Duration::from_micros(done.latency.value_at_quantile(0.99)));
    }
    Ok(worst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_leave_stall_or_crawl_hold_nobody_up_and_take_everything_with_them() {
    const EACH: usize = 333;
    on_cluster(Options { shards: 1, ..Options::default() }, async |cluster| -> Test {
        let address = cluster.gateways()[0].clone();
        let mut s3 = raw(cluster, 1);
        expect(&mut s3, Call::bucket(Method::PUT, "cut"), StatusCode::OK).await?;
        let body = body::make(1, SIZE);
        expect(&mut s3, Call::object(Method::PUT, "cut", "there").body(body.clone()), StatusCode::OK).await?;
        let mut signer = Raw::new(&address, cluster.keys().clone(), Duration::from_secs(15));
        let (well, idle) = (served(cluster).await?, held(cluster).await?);
        let (left, stalled) = leave(&mut signer, &address, &body).await?;
        fault::counted("25", "clients that leave in the middle", left, "clients left")?;
        let mut crawling = crawl(&mut signer, &address, &body, EACH).await?;
        fault::counted("33", "clients that crawl", crawling.len() as u64, "connections")?;
        // Their bodies begin all at once, on the disks of three nodes, while the first of these are served.
        let (beginning, among) = (served(cluster).await?, served(cluster).await?);
        println!(
            "FIGURE {} clients that crawl: p99 of the others {} ms, {} ms while they begin, {} ms without them; none refused",
            crawling.len(),
            among.as_millis(),
            beginning.as_millis(),
            well.as_millis()
        );
        for stream in &mut crawling {
            // A byte more is no sign of life.
            let _ = stream.write_all(b"x").await;
        }
        let began = Instant::now();
        let freed = async || {
            let now = held(cluster).await.map_err(|failure| failure.to_string())?;
            let parts = unfinished(cluster);
            // A few connections more are those that the last questions came over.
            match now.0 <= idle.0 + 4.0 && now.1 <= idle.1 && parts.is_empty() {
                true => Ok(()),
                false => Err(format!("connections and requests {now:?}, idle {idle:?}; {parts:?}")),
            }
        };
        wait::until("everything to be freed", Duration::from_secs(60), freed).await?;
        println!(
            "FIGURE {left} clients that leave and {} that crawl: everything freed after {} ms",
            crawling.len(),
            began.elapsed().as_millis()
        );
        drop((stalled, crawling));
        let whole = Call::bucket(Method::GET, "cut").query("list-type", 2);
        for prefix in ["gone", "slow"] {
            let listed = expect(&mut s3, whole.clone().query("prefix", prefix), StatusCode::OK).await?;
            assert!(listed.text().contains("<KeyCount>0</KeyCount>"), "{}", listed.text());
        }
        Ok(())
    })
    .await;
}
