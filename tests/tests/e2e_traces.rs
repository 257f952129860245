//! One request, seen from everywhere: its spans at a collector, its id in the log of the node that carried it out.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it tests real processes")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_tests::client::raw::{Call, Raw};
use holdfast_tests::cluster::Options;
use holdfast_tests::failure::{Failure, on_cluster};
use holdfast_tests::wait;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Test = Result<(), Failure>;

const WITHIN: Duration = Duration::from_secs(30);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A field of a protobuf message: its number, and its bytes (of a number: little-endian).
type Field = (u64, Vec<u8>);

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a whole message");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    value
}

fn fields(mut bytes: &[u8]) -> Vec<Field> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            1 => {
                let (value, rest) = bytes.split_at(8);
                bytes = rest;
                value.to_vec()
            }
            2 => {
                let len = varint(&mut bytes) as usize;
                let (value, rest) = bytes.split_at(len);
                bytes = rest;
                value.to_vec()
            }
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, value));
    }
    found
}

fn all(of: &[Field], number: u64) -> impl Iterator<Item = &Vec<u8>> {
    of.iter().filter(move |(field, _)| *field == number).map(|(_, value)| value)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Clone, Debug)]
struct Span {
    service: String,
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u8,
    micros: u64,
}

fn spans(request: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for resource in all(&fields(request), 1).map(|bytes| fields(bytes)) {
        let attributes = all(&resource, 1).flat_map(|bytes| fields(bytes));
        let mut of = BTreeMap::new();
        for (_, attribute) in attributes {
            let pair = fields(&attribute);
            let value =
                all(&pair, 2).flat_map(|value| fields(value)).next().map(|(_, value)| value).unwrap_or_default();
            let key = all(&pair, 1).next().cloned().unwrap_or_default();
            of.insert(String::from_utf8_lossy(&key).into_owned(), String::from_utf8_lossy(&value).into_owned());
        }
        for span in all(&resource, 2).flat_map(|scope| fields(scope)).filter(|(field, _)| *field == 2) {
            let span = fields(&span.1);
            let one = |number| all(&span, number).next().cloned().unwrap_or_default();
            let time = |number| u64::from_le_bytes(one(number).try_into().expect("8 bytes"));
            found.push(Span {
                service: format!("{}/{}", of["service.name"], of["service.instance.id"]),
                trace: hex(&one(1)),
                id: hex(&one(2)),
                parent: hex(&one(4)),
                name: String::from_utf8_lossy(&one(5)).into_owned(),
                kind: one(6)[0],
                micros: (time(8) - time(7)) / 1000,
            });
        }
    }
    found
}

/// Takes what is exported, until it is dropped.
struct Collector {
    address: String,
    taken: Arc<Mutex<Vec<Span>>>,
    _tasks: JoinSet<()>,
}

impl Collector {
    async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, taken) = (listener.local_addr()?.to_string(), Arc::new(Mutex::new(Vec::new())));
        let mut tasks = JoinSet::new();
        let into = taken.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let into = into.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let into = into.clone();
                    async move {
                        let sound = request.uri().path() == "/v1/traces"
                            && request.headers().get("content-type").is_some_and(|it| it == "application/x-protobuf")
                            && request.headers().get("x-team").is_some_and(|it| it == "storage");
                        let body = request.into_body().collect().await?.to_bytes();
                        into.lock().extend(if sound { spans(&body) } else { Vec::new() });
                        Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::new())))
                    }
                });
                connections.spawn(async move {
                    // Whoever exports may leave at any time.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, taken, _tasks: tasks })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_followed_through_gateway_and_replicas() {
    let collector = Collector::start().await.expect("a collector");
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address)),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=storage".to_owned()),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_off".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned()),
        ("HOLDFAST_LOG", "info,holdfast_replica::service=debug".to_owned()),
        ("HOLDFAST_LOG_FORMAT", "json".to_owned()),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value)).to_vec();
    on_cluster(Options { env, ..Options::default() }, async |cluster| -> Test {
        let mut s3 = Raw::new(&cluster.gateways()[0], cluster.keys().clone(), Duration::from_secs(15));
        assert_eq!(s3.call(Call::bucket(Method::PUT, "traced")).await?.status, StatusCode::OK);
        // Whichever node leads: of several directories one is led elsewhere.
        let mut ids = Vec::new();
        for number in 0..12 {
            let call = Call::object(Method::PUT, "traced", &format!("d{number}/x")).body("x");
            let reply = s3.call(call.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).await?;
            assert_eq!(reply.status, StatusCode::OK);
            ids.push(reply.header("x-amz-request-id").unwrap_or_default().to_owned());
        }
        let chain = || async {
            let taken = collector.taken.lock().clone();
            let find = |wanted: &dyn Fn(&&Span) -> bool| taken.iter().filter(wanted).cloned().collect::<Vec<_>>();
            for top in find(&|span| span.name == "PutObject" && span.parent == PARENT && span.kind == 2) {
                for asked in find(&|span| span.name == "write" && span.parent == top.id && span.kind == 3) {
                    for carried in find(&|span| span.parent == asked.id && span.kind == 2) {
                        let inside = carried.micros <= asked.micros + 2000 && asked.micros <= top.micros + 2000;
                        if carried.service != top.service && inside {
                            return Ok(());
                        }
                    }
                }
            }
            Err(format!("{taken:#?}"))
        };
        wait::until("gateway, call and replica of one request", WITHIN, chain).await?;
        let taken = collector.taken.lock().clone();
        assert!(taken.iter().all(|span| span.trace == TRACE), "nothing else is sampled");
        assert!(taken.iter().all(|span| span.service.starts_with("holdfast/n")), "{taken:?}");

        // Another node's log names the client's request.
        let named = || async {
            let logs: String = cluster.nodes().skip(1).map(|node| node.log_tail(4000)).collect();
            let found = ids.iter().filter(|id| {
                logs.lines().any(|line| line.contains(id.as_str()) && line.contains("\"kind\":\"write\""))
            });
            if found.count() > 0 { Ok(()) } else { Err(format!("none of {ids:?}")) }
        };
        wait::until("a request's id in the log of a node that it went to", WITHIN, named).await?;
        Ok(())
    })
    .await;
}
