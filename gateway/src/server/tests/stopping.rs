//! Starting and stopping.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn stopping_lets_requests_finish() {
    let harness = Harness::plain().await;
    harness.fake.put("held", "value");
    let address = harness.host();
    let mut idle = harness.connect().await;
    idle.write(&harness.request("GET", READY_PATH).bytes()).await;
    idle.response(false).await.unwrap();
    let mut busy = harness.connect().await;
    busy.write(&harness.request("GET", "/bucket/held").sign().bytes()).await;
    until("the request waits", || harness.fake.held() == 1).await;

    let Harness { gateway, fake, .. } = harness;
    let stop = gateway.stop();
    tokio::pin!(stop);
    // Idle connections go at once, the one with a request stays.
    tokio::select! {
        () = &mut stop => panic!("stopped although a request is under way"),
        () = idle.closed() => {}
    }
    assert!(futures::poll!(&mut stop).is_pending());
    assert!(Seams::real().net.connect(&address).await.is_err());
    fake.release();
    let finish = async {
        assert_eq!(busy.response(false).await.unwrap().text(), "value");
        busy.closed().await;
    };
    tokio::join!(stop, finish);
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let harness = Harness::start(Limits { drain_timeout: Duration::from_millis(50), ..Limits::default() }).await;
    let mut busy = harness.connect().await;
    busy.write(&harness.request("GET", "/bucket/held").sign().bytes()).await;
    until("the request waits", || harness.fake.held() == 1).await;
    let metrics = harness.metrics.clone();
    harness.gateway.stop().await;
    assert!(busy.response(false).await.is_none());
    assert_eq!((metrics.in_flight(), metrics.connections()), (0, 0));
}

#[tokio::test]
async fn a_dropped_gateway_ends_its_connections() {
    let harness = Harness::plain().await;
    let mut connection = harness.connect().await;
    connection.write(&harness.request("GET", "/bucket/held").sign().bytes()).await;
    until("the request waits", || harness.fake.held() == 1).await;
    drop(harness);
    assert!(connection.response(false).await.is_none());
}

#[tokio::test]
async fn what_cannot_start_says_why_in_one_line() {
    let harness = Harness::plain().await;
    let start =
        |config| Gateway::start(config, Seams::real(), Fake::default(), None, Arc::new(|| Ok(())), Arc::default());
    let taken = GatewayConfig { listen: harness.host(), ..config(Limits::default()) };
    let error = start(taken).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen for S3 on {}: ", harness.host())), "{error}");
    assert!(!error.contains('\n'));
    let domain = GatewayConfig { domains: vec!["not a name".to_owned()], ..config(Limits::default()) };
    assert!(matches!(start(domain).await.err().unwrap(), GatewayError::Domain(_)));
    let region = GatewayConfig { region: "No Region".to_owned(), ..config(Limits::default()) };
    assert!(matches!(start(region).await.err().unwrap(), GatewayError::Region(_)));
}
