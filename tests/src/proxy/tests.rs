//! The proxy before a server that says everything twice as an echo would; who dials is this process, a stranger.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{Proxy, STRANGER, Weather};

const SOON: Duration = Duration::from_millis(150);
const LATE: Duration = Duration::from_secs(20);

/// A proxy before an echo, and a connection through it over which something has gone already.
async fn echo() -> (Proxy, TcpStream) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    let mut proxy = Proxy::bind(1).await.unwrap();
    let mut stream = TcpStream::connect(&proxy.dialled()[0]).await.unwrap();
    proxy.serve(vec![address]);
    assert!(said(&mut stream, LATE).await, "nothing is wrong yet");
    (proxy, stream)
}

/// Whether what is sent comes back in time.
async fn said(stream: &mut TcpStream, within: Duration) -> bool {
    let mut back = [0; 5];
    stream.write_all(b"hello").await.unwrap();
    matches!(timeout(within, stream.read_exact(&mut back)).await, Ok(Ok(_))) && &back == b"hello"
}

#[tokio::test]
async fn what_a_shut_link_keeps_back_comes_when_it_opens() {
    for (from, to) in [(STRANGER, "n1"), ("n1", STRANGER)] {
        let (proxy, mut stream) = echo().await;
        proxy.set(from, to, Weather::SHUT);
        assert!(!said(&mut stream, SOON).await, "{from} to {to} is shut");
        assert!(proxy.counts().kept() > 0);
        proxy.heal();
        let mut back = [0; 5];
        timeout(LATE, stream.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(&back, b"hello", "{from} to {to}");
        assert_eq!(proxy.counts().strangers(), 1);
    }
}

#[tokio::test]
async fn an_end_is_kept_back_as_well() {
    let (proxy, mut stream) = echo().await;
    proxy.set_both(STRANGER, "n1", Weather::SHUT);
    stream.shutdown().await.unwrap();
    assert!(timeout(SOON, stream.read(&mut [0; 1])).await.is_err(), "nobody is told");
    proxy.heal();
    assert_eq!(timeout(LATE, stream.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_connection_is_reset_by_order_and_others_begin() {
    let (proxy, mut stream) = echo().await;
    proxy.reset();
    let broken = timeout(LATE, stream.read(&mut [0; 1])).await.unwrap();
    assert_eq!(broken.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(proxy.counts().reset(), 1);
    let mut next = TcpStream::connect(&proxy.dialled()[0]).await.unwrap();
    assert!(said(&mut next, LATE).await);
}

#[tokio::test]
async fn weather_slows_and_splits_and_loses_nothing() {
    let (proxy, mut stream) = echo().await;
    let counted = || (proxy.counts().delayed(), proxy.counts().held_ms(), proxy.counts().single());
    assert_eq!(counted(), (0, 0, 0), "nothing is wrong yet");
    let slow = Weather { latency: Duration::from_millis(60), ..Weather::FINE };
    proxy.set_all(&[STRANGER, "n1"], slow);
    let began = Instant::now();
    assert!(said(&mut stream, LATE).await);
    assert!(began.elapsed() >= Duration::from_millis(120), "both ways take 60 ms");
    assert_eq!(counted(), (10, 0, 0), "five bytes both ways");
    for weather in [Weather { rate: Some(100_000), ..Weather::FINE }, Weather { singly: 300, ..Weather::FINE }] {
        proxy.set_all(&[STRANGER, "n1"], weather);
        let sent: Vec<u8> = (0..20_000u32).map(|number| number as u8).collect();
        let mut back = vec![0; sent.len()];
        let (mut from, mut to) = stream.split();
        let both = async { tokio::try_join!(to.write_all(&sent), from.read_exact(&mut back)) };
        timeout(LATE, both).await.unwrap().unwrap();
        assert_eq!(back, sent, "{weather:?}");
    }
    let (delayed, held, single) = counted();
    assert!(delayed == 10 && held >= 400 && single >= 600, "20,000 bytes both ways: {held} ms, {single} segments");
}
