//! Whole conversations on the network in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::SHARED_MAX;
use crate::error::CallError;
use crate::handshake::{ClusterSecret, Identity};
use crate::seam::{MemoryNet, OsRandom, Seams, SystemClock};
use crate::service::Body;
use crate::transport::{Client, Handler, Identities, Target, serve};

const WITHIN: Duration = Duration::from_secs(3);

/// Echoes after as many milliseconds as the head says; `/long` answers with that many bytes.
#[derive(Default)]
struct Echo {
    begun: AtomicU64,
    ended: AtomicU64,
    asked: Notify,
}

impl Handler for Arc<Echo> {
    fn handle(&self, path: &str, head: Bytes, payload: Body) -> BoxFuture<'static, Result<(Bytes, Body), CallError>> {
        let echo = self.clone();
        let number = u64::from_le_bytes(head[..8].try_into().expect("the tests send 8 bytes"));
        let path = path.to_owned();
        async move {
            echo.begun.fetch_add(1, Ordering::SeqCst);
            echo.asked.notify_waiters();
            let answer = match path.as_str() {
                "/echo" => {
                    sleep(Duration::from_millis(number)).await;
                    Ok((head, payload.collect(1 << 20).await?.into()))
                }
                "/long" => Ok((head, Bytes::from(vec![7; number as usize]).into())),
                _ => Err(CallError::Overloaded),
            };
            echo.ended.fetch_add(1, Ordering::SeqCst);
            answer
        }
        .boxed()
    }
}

impl Identities for Arc<Echo> {
    fn identity(&self) -> Identity {
        Identity::default()
    }
}

struct Bench {
    net: MemoryNet,
    client: Client,
    target: Target,
    echo: Arc<Echo>,
    stop: CancellationToken,
    serving: AbortOnDropHandle<()>,
}

fn seams(net: &MemoryNet, host: &str) -> Seams {
    Seams { net: net.host(host), clock: Arc::new(SystemClock), random: Arc::new(OsRandom) }
}

async fn bench() -> Bench {
    let net = MemoryNet::default();
    let echo = Arc::new(Echo::default());
    let stop = CancellationToken::new();
    let listener = net.host("far").listen("far:1").await.expect("a free address");
    let secret = ClusterSecret::new("secret");
    let (own, handler) = (Arc::new(echo.clone()), Arc::new(echo.clone()));
    let serving = serve(listener, seams(&net, "far"), secret.clone(), own, handler, stop.clone());
    let client = Client::new(seams(&net, "near"), secret);
    let target = Target { address: "far:1".to_owned(), cluster: None, node: None };
    Bench { net, client, target, echo, stop, serving: AbortOnDropHandle::new(tokio::spawn(serving)) }
}

impl Bench {
    async fn ask(&self, path: &'static str, number: u64, payload: &'static [u8]) -> Result<Bytes, CallError> {
        let head = Bytes::copy_from_slice(&number.to_le_bytes());
        let (back, body) = self.client.ask(&self.target, path, head.clone(), payload.into(), WITHIN).await?;
        assert_eq!(back, head, "the answer to another question");
        body.collect(1 << 20).await
    }
}

#[tokio::test(start_paused = true)]
async fn answers_find_their_questions_and_overtake_slower_ones() {
    let bench = bench().await;
    let slow = bench.ask("/echo", 500, b"slow");
    let quick = futures::future::join_all((0..200).map(|number| bench.ask("/echo", number % 50, b"quick")));
    let quick = async { tokio::time::timeout(Duration::from_millis(100), quick).await.expect("the slow one is first") };
    let (slow, quick) = tokio::join!(slow, quick);
    assert_eq!(slow.as_deref(), Ok(&b"slow"[..]));
    assert!(quick.iter().all(|answer| answer.as_deref() == Ok(&b"quick"[..])));
    assert_eq!(bench.ask("/nonsense", 0, b"").await, Err(CallError::Overloaded), "refusals come as they are");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_for_sharing_comes_all_the_same() {
    let bench = bench().await;
    for len in [0, SHARED_MAX as u64 - 8, SHARED_MAX as u64, 900_000] {
        assert_eq!(bench.ask("/long", len, b"").await.map(|bytes| bytes.len() as u64), Ok(len));
    }
    let payload: &'static [u8] = vec![1; SHARED_MAX + 1].leak();
    assert_eq!(bench.ask("/echo", 0, payload).await.as_deref(), Ok(payload));
}

#[tokio::test(start_paused = true)]
async fn a_question_given_up_is_given_up_on_the_other_side() {
    let bench = bench().await;
    let asked = bench.echo.asked.notified();
    tokio::select! {
        _ = bench.ask("/echo", 1000, b"") => panic!("it takes a second"),
        () = asked => {}
    }
    sleep(Duration::from_secs(2)).await;
    let counts = (bench.echo.begun.load(Ordering::SeqCst), bench.echo.ended.load(Ordering::SeqCst));
    assert_eq!(counts, (1, 0));
    assert!(bench.ask("/echo", 1, b"").await.is_ok(), "the connection stands");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answers_what_it_has_and_takes_nothing_new() {
    let mut bench = bench().await;
    let asked = bench.echo.asked.notified();
    let stopping = async {
        asked.await;
        bench.stop.cancel();
    };
    let (answer, ()) = tokio::join!(bench.ask("/echo", 300, b"last"), stopping);
    assert_eq!(answer.as_deref(), Ok(&b"last"[..]));
    let stopped = tokio::time::timeout(Duration::from_secs(1), &mut bench.serving).await;
    assert!(stopped.is_ok(), "the client hangs up once it waits for nothing");
    let refused = bench.ask("/echo", 0, b"").await;
    assert!(matches!(refused, Err(CallError::Unreachable { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_death_is_known_at_once_and_a_silent_connection_is_replaced() {
    let bench = bench().await;
    let asked = bench.echo.asked.notified();
    let dying = async {
        asked.await;
        bench.net.kill("far");
    };
    let (answer, ()) = tokio::join!(bench.ask("/echo", 2000, b""), dying);
    assert!(matches!(answer, Err(CallError::Unknown { .. })), "{answer:?}");

    let bench = self::bench().await;
    bench.ask("/echo", 0, b"").await.expect("it answers");
    bench.net.cut("near", "far");
    let silent = bench.ask("/echo", 0, b"").await;
    assert!(matches!(silent, Err(CallError::Unknown { .. })), "{silent:?}");
    bench.net.heal("near", "far");
    assert!(bench.ask("/echo", 0, b"").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn impatience_does_not_hide_that_a_connection_is_dead() {
    let bench = bench().await;
    bench.ask("/echo", 0, b"").await.expect("it answers");
    // The other machine is gone without a word, and another is there in its place.
    bench.net.cut("near", "far");
    for _ in 0..30 {
        let head = Bytes::copy_from_slice(&0u64.to_le_bytes());
        let within = Duration::from_millis(100);
        assert!(bench.client.ask(&bench.target, "/echo", head, Bytes::new(), within).await.is_err());
    }
    let begun = bench.echo.begun.load(Ordering::SeqCst);
    bench.net.heal("near", "far");
    assert!(bench.ask("/echo", 0, b"").await.is_ok(), "a new connection is made");
    assert!(bench.echo.begun.load(Ordering::SeqCst) <= begun + 16, "what waited for the new one was not sent");
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_waited_for_on_a_connection_that_is_silent_otherwise() {
    let bench = bench().await;
    let slow = bench.ask("/echo", 2900, b"slow");
    assert_eq!(slow.await.as_deref(), Ok(&b"slow"[..]));
}
