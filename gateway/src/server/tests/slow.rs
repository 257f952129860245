//! Slow clients: cut, whichever way they are slow; others are not touched.

use std::time::Duration;

use super::*;

fn impatient() -> Limits {
    Limits {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(600),
        body_timeout: Duration::from_millis(200),
        min_body_rate: 10_000,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_head_that_drips_is_cut() {
    let harness = Harness::start(impatient()).await;
    let mut connection = harness.connect().await;
    connection.write(b"GET /bucket/key HTTP/1.1\r\n").await;
    for _ in 0..1000 {
        if connection.try_write(b"x").await.is_err() || harness.metrics.refusals(Cause::SlowHead) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.closed().await;
    until("it is counted", || harness.metrics.refusals(Cause::SlowHead) == 1).await;
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let harness = Harness::start(impatient()).await;
    let mut silent = harness.connect().await;
    silent.closed().await;
    let mut once = harness.connect().await;
    once.write(&harness.request("GET", READY_PATH).bytes()).await;
    assert_eq!(once.response(false).await.unwrap().status, 200);
    once.closed().await;
    until("both are gone", || harness.metrics.connections() == 0).await;
    assert_eq!(harness.metrics.refusals(Cause::SlowHead), 0);
}

#[tokio::test]
async fn a_body_that_stands_still_is_cut_and_told_so() {
    let harness = Harness::start(impatient()).await;
    let request = harness.request("PUT", "/bucket/key").body("hello world").sign();
    let mut connection = harness.connect().await;
    connection.write(&request.head()).await;
    connection.write(b"hello").await;
    let answer = connection.response(false).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (400, "RequestTimeout"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(harness.metrics.refusals(Cause::SlowBody), 1);
    assert_eq!(harness.fake.object("key"), None);
}

#[tokio::test]
async fn a_body_that_drips_is_cut_too() {
    let harness = Harness::start(impatient()).await;
    let request = harness.request("PUT", "/bucket/key").body(&"x".repeat(100_000)).sign();
    let mut connection = harness.connect().await;
    connection.write(&request.head()).await;
    for _ in 0..1000 {
        if connection.try_write(b"x").await.is_err() || harness.metrics.refusals(Cause::SlowBody) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(connection.response(false).await.unwrap().code(), "RequestTimeout");
}

#[tokio::test]
async fn a_handler_that_takes_its_time_is_not_the_clients_fault() {
    let harness = Harness::start(impatient()).await;
    harness.fake.put("held", "value");
    let mut connection = harness.connect().await;
    connection.write(&harness.request("GET", "/bucket/held").sign().bytes()).await;
    until("the request waits", || harness.fake.held() == 1).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    harness.fake.release();
    assert_eq!(connection.response(false).await.unwrap().text(), "value");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let harness = Harness::start(impatient()).await;
    harness.fake.put("large", vec![7; 64 << 20]);
    let mut connection = harness.connect().await;
    connection.write(&harness.request("GET", "/bucket/large").sign().bytes()).await;
    until("it is cut", || harness.metrics.refusals(Cause::SlowRead) == 1).await;
    until("its place is given back", || harness.metrics.in_flight() == 0 && harness.metrics.connections() == 0).await;
    assert!(connection.response(false).await.is_none_or(|answer| answer.body.len() < 64 << 20));
    assert_eq!(harness.send(&harness.request("GET", READY_PATH)).await.status, 200);
}
