//! What the outer layer costs: CPU per request of a gateway, less that of bare hyper and s3s behind the same requests.
//!
//! `cargo test -p holdfast-gateway --release -- --ignored --nocapture cost`

use bytes::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::*;

const REQUESTS: u32 = 5_000;

/// Nanoseconds of CPU that this thread has used.
#[expect(clippy::disallowed_methods, reason = "a measurement, not part of the product")]
fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default()
}

/// Microseconds of CPU per request, client included.
async fn measure(address: &str) -> f64 {
    let mut best = f64::MAX;
    let mut connection = Connection::open(address).await;
    let request = Request::new("GET", "/bucket/key?x-id=GetObject", address)
        .header("user-agent", "aws-sdk-rust/1.3.3 os/linux lang/rust/1.99.1")
        .header("amz-sdk-invocation-id", "7c2e2d0b-5a3e-4a0b-8a2c-3d1f0b9d7f10")
        .header("amz-sdk-request", "attempt=1; max=3")
        .header("accept", "*/*")
        .sign()
        .bytes();
    for _ in 0..5 {
        let begun = cpu_nanos();
        for _ in 0..REQUESTS {
            connection.write(&request).await;
            assert_eq!(connection.response(false).await.unwrap().status, 200);
        }
        best = best.min((cpu_nanos() - begun) as f64 / f64::from(REQUESTS) / 1000.0);
    }
    best
}

#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_the_outer_layer() {
    let harness = Harness::plain().await;
    harness.fake.put("key", "value");

    let domains = Domains::new(&[]).unwrap();
    let root = config(Limits::default()).root;
    let keyring = Arc::new(Keyring::new(root, &ClusterSecret::new(""), Seams::real().clock, None));
    let bare = protocol(&config(Limits::default()), &Seams::real(), domains, Bare, keyring, None).unwrap();
    let guarded =
        Gateway::start(config(Limits::default()), Seams::real(), Bare, None, Arc::new(|| Ok(())), Arc::default());
    let guarded = guarded.await.unwrap();
    let listener = Seams::real().net.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let tracker = TaskTracker::new();
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
            let bare = bare.clone();
            async move { bare.call(request.map(s3s::Body::from)).await }
        });
        let served = http(&Limits::default(), &tracker).serve_connection(TokioIo::new(stream), service).await;
        served.map_err(|error| error.to_string())
    });
    let without = measure(&address).await;
    let with = measure(&guarded.local_addr().to_string()).await;
    println!("µs of CPU per request: {without:.2} without, {with:.2} with, {:.2} for the outer layer", with - without);
}

struct Bare;

#[async_trait::async_trait]
impl s3s::S3 for Bare {
    async fn get_object(
        &self,
        _: s3s::S3Request<s3s::dto::GetObjectInput>,
    ) -> s3s::S3Result<s3s::S3Response<s3s::dto::GetObjectOutput>> {
        let output = s3s::dto::GetObjectOutput {
            content_length: Some(5),
            body: Some(s3s::dto::StreamingBlob::from(s3s::Body::from(Bytes::from_static(b"value")))),
            ..Default::default()
        };
        Ok(s3s::S3Response::new(output))
    }
}
