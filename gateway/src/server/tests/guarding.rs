//! Request ids, error documents, the allow-list, health, CORS, limits.

use holdfast_wire::configuration::Document;

use super::*;

#[tokio::test]
async fn every_response_carries_the_ids_and_every_error_names_them() {
    let harness = Harness::plain().await;
    harness.fake.put("key", "value");
    let mut forged = harness.request("GET", "/bucket/key").sign();
    forged.set("x-amz-meta-extra", "1");
    let answers = [
        (harness.signed("GET", "/bucket/key", "").await, 200, ""),
        (harness.signed("GET", "/bucket/absent", "").await, 404, "NoSuchKey"),
        (harness.signed("GET", "/bucket/key?torrent", "").await, 501, "NotImplemented"),
        (harness.signed("DELETE", "/bucket?nonsense", "").await, 501, "NotImplemented"),
        (harness.send(&harness.request("GET", "/bucket/key")).await, 403, "AccessDenied"),
        (harness.send(&forged).await, 403, "AccessDenied"),
        (harness.send(&harness.request("PATCH", "/bucket/key")).await, 405, "MethodNotAllowed"),
        (harness.signed("GET", "/BAD_NAME/key", "").await, 400, "InvalidBucketName"),
        (harness.signed("GET", "/bucket/busy", "").await, 503, "SlowDown"),
        (harness.send(&harness.request("GET", READY_PATH)).await, 200, ""),
    ];
    let mut seen = std::collections::HashSet::new();
    for (answer, status, code) in &answers {
        assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{answer:?}");
        let id = answer.header("x-amz-request-id").unwrap_or_else(|| panic!("no request id: {answer:?}"));
        assert_eq!(id.len(), 16);
        assert!(seen.insert(id.to_owned()), "{id} was given twice");
        let host = answer.header("x-amz-id-2").unwrap();
        if !code.is_empty() {
            assert_eq!(answer.element("RequestId").as_deref(), Some(id), "{answer:?}");
            assert_eq!(answer.element("HostId").as_deref(), Some(host), "{answer:?}");
            assert!(answer.element("Resource").is_some_and(|resource| resource.starts_with('/')), "{answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/xml"));
        }
    }
    // The handlers saw the ids that the clients got.
    for id in harness.fake.ids() {
        assert!(seen.contains(&id));
    }
}

#[tokio::test]
async fn errors_of_head_requests_have_ids_but_no_body() {
    let harness = Harness::plain().await;
    for (request, status) in [
        (harness.request("HEAD", "/bucket/absent").sign(), 404),
        (harness.request("HEAD", "/bucket/key"), 403),
        (harness.request("HEAD", "/bucket/key?acl").sign(), 501),
    ] {
        let mut connection = harness.connect().await;
        connection.write(&request.bytes()).await;
        let answer = connection.response(true).await.unwrap();
        assert_eq!(answer.status, status);
        assert!(answer.header("x-amz-request-id").is_some());
        // Nothing of a body precedes the next response.
        connection.write(&harness.request("GET", READY_PATH).bytes()).await;
        assert_eq!(connection.response(false).await.unwrap().text(), "ready\n");
    }
}

#[tokio::test]
async fn a_subresource_that_is_not_there_never_reaches_the_plain_operation() {
    let harness = Harness::plain().await;
    for (method, target, status) in [
        ("DELETE", "/bucket?nonsense", 501),
        ("DELETE", "/bucket?acl", 501),
        ("DELETE", "/bucket?versioning", 501),
        ("DELETE", "/bucket/key?acl", 501),
        ("DELETE", "/bucket/key?%61cl", 501),
        ("DELETE", "/bucket%2Fkey?acl", 501),
        ("DELETE", "/bucket/key?versionId=", 400),
        ("PUT", "/bucket/key?partNumber=1", 400),
        ("PUT", "/bucket/key?uploadId=1", 400),
        ("PUT", "/bucket/key?acl&tagging", 400),
        ("PUT", "/bucket/key?nonsense", 501),
        ("GET", "/bucket?acl&policy", 400),
        ("POST", "/bucket", 405),
    ] {
        assert_eq!(harness.signed(method, target, "").await.status, status, "{method} {target}");
    }
    assert_eq!(harness.fake.calls(), 0);
    for target in ["/bucket/key?x-id=DeleteObject", "/bucket/key?trace=1", "/bucket/key"] {
        assert_eq!(harness.signed("DELETE", target, "").await.status, 204, "{target}");
    }
    // The declared operation does not overrule the request's own shape.
    assert_eq!(harness.signed("DELETE", "/bucket/key?x-id=GetObject", "").await.status, 204);
    assert_eq!(harness.signed("DELETE", "/bucket", "").await.status, 204);
    assert_eq!(harness.fake.calls(), 5);
}

#[tokio::test]
async fn readiness_is_told_without_credentials() {
    let harness = Harness::plain().await;
    assert_eq!(harness.send(&harness.request("GET", READY_PATH)).await.text(), "ready\n");
    let unready = Gateway::start(
        config(Limits::default()),
        Seams::real(),
        Fake::default(),
        None,
        Arc::new(|| Err("no leader for group 0".to_owned())),
        Arc::default(),
    );
    let unready = unready.await.unwrap();
    let address = unready.local_addr().to_string();
    let mut connection = Connection::open(&address).await;
    connection.write(&Request::new("GET", READY_PATH, &address).bytes()).await;
    let answer = connection.response(false).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (503, "no leader for group 0\n"));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_buckets_rules_answer_preflights_and_stand_on_every_answer() {
    let harness = Harness::plain().await;
    let rules = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedMethod>HEAD</AllowedMethod>\
                 <AllowedOrigin>https://*.example.org</AllowedOrigin></CORSRule></CORSConfiguration>";
    harness.fake.configure(|bucket| {
        bucket.configuration.documents.insert(Document::Cors, rules.to_owned());
    });
    let from = |method: &str, target: &str| {
        let request = harness.request(method, target).header("origin", "https://app.example.org");
        if method == "OPTIONS" { request.header("access-control-request-method", "GET") } else { request }
    };
    let answer = harness.send(&from("OPTIONS", "/bucket/key")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (200, Some("GET, HEAD")));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.org"));
    assert!(answer.header("x-amz-request-id").is_some());
    // Errors too: of the access check, and of the guard.
    for target in ["/bucket/key", "/bucket/key?acl&tagging"] {
        let refused = harness.send(&from("GET", target)).await;
        assert!(refused.status >= 400);
        assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example.org"), "{target}");
    }
    assert_eq!(harness.send(&from("DELETE", "/bucket/key")).await.header("access-control-allow-origin"), None);
    assert_eq!(harness.send(&from("GET", "/other/key")).await.header("vary"), None);
}

#[tokio::test]
async fn a_preflight_is_refused_as_without_cors_rules() {
    let harness = Harness::plain().await;
    let preflight = harness
        .request("OPTIONS", "/other/key")
        .header("origin", "https://example.com")
        .header("access-control-request-method", "PUT");
    let answer = harness.send(&preflight).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessForbidden"));
    assert_eq!(answer.element("Method").as_deref(), Some("PUT"));
    assert_eq!(answer.element("ResourceType").as_deref(), Some("OBJECT"));
    assert_eq!(harness.send(&harness.request("OPTIONS", "/bucket")).await.status, 400);
}

#[tokio::test]
async fn an_anonymous_request_learns_only_that_a_bucket_is_absent() {
    let harness = Harness::plain().await;
    for (method, target, code) in [
        ("GET", "/bucket/key", "AccessDenied"),
        ("GET", "/absent-bucket/key", "NoSuchBucket"),
        ("GET", "/absent-bucket", "NoSuchBucket"),
        ("PUT", "/absent-bucket", "AccessDenied"),
        ("GET", "/unknown/key", "AccessDenied"),
        ("GET", "/", "AccessDenied"),
    ] {
        assert_eq!(harness.send(&harness.request(method, target)).await.code(), code, "{method} {target}");
    }
    assert_eq!(harness.fake.calls(), 0);
}

#[tokio::test]
async fn a_bucket_may_stand_in_the_host_name() {
    let harness = Harness::plain().await;
    harness.fake.put("key", "value");
    for (host, target, status) in [
        ("bucket.s3.test", "/key", 200),
        ("bucket.S3.test:9000", "/key", 200),
        ("s3.test", "/bucket/key", 200),
        ("anything.example.org", "/bucket/key", 200),
        ("bucket.s3.test", "/bucket/key", 404),
        ("bad host", "/bucket/key", 400),
    ] {
        let answer = harness.send(&Request::new("GET", target, host).sign()).await;
        assert_eq!(answer.status, status, "{host} {answer:?}");
    }
}

#[tokio::test]
async fn too_many_requests_are_told_to_slow_down() {
    let limits = Limits { max_in_flight: 1, ..Limits::default() };
    let harness = Harness::start(limits).await;
    harness.fake.put("held", "value");
    let mut first = harness.connect().await;
    first.write(&harness.request("GET", "/bucket/held").sign().bytes()).await;
    until("the first request waits", || harness.fake.held() == 1).await;
    let second = harness.signed("GET", "/bucket/held", "").await;
    assert_eq!((second.status, second.code().as_str()), (503, "SlowDown"));
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(harness.metrics.refusals(Cause::InFlight), 1);
    // Health is told all the same.
    assert_eq!(harness.send(&harness.request("GET", READY_PATH)).await.status, 200);
    harness.fake.release();
    assert_eq!(first.response(false).await.unwrap().text(), "value");
    until("the place is given back", || harness.metrics.in_flight() == 0).await;
    harness.fake.release();
    assert_eq!(harness.signed("GET", "/bucket/held", "").await.status, 200);
}

#[tokio::test]
async fn too_many_bytes_are_told_to_slow_down() {
    let limits = Limits { max_in_flight_bytes: 1000, body_window: 600, ..Limits::default() };
    let harness = Harness::start(limits).await;
    let body = "x".repeat(600);
    let request = harness.request("PUT", "/bucket/key").body(&body).sign();
    let mut first = harness.connect().await;
    first.write(&request.head()).await;
    until("the first upload is under way", || harness.fake.calls() == 1).await;
    let second = harness.signed("PUT", "/bucket/other", &body).await;
    assert_eq!((second.status, second.code().as_str()), (503, "SlowDown"));
    assert_eq!(harness.metrics.refusals(Cause::InFlightBytes), 1);
    first.write(body.as_bytes()).await;
    assert_eq!(first.response(false).await.unwrap().status, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_turned_away() {
    let harness = Harness::start(Limits { max_connections: 1, ..Limits::default() }).await;
    let mut first = harness.connect().await;
    first.write(&harness.request("GET", READY_PATH).bytes()).await;
    assert_eq!(first.response(false).await.unwrap().status, 200);
    let second = harness.signed("GET", "/bucket/key", "").await;
    assert_eq!((second.status, second.code().as_str()), (503, "SlowDown"));
    assert_eq!(second.header("retry-after"), Some("1"));
    assert_eq!(second.element("RequestId").as_deref(), second.header("x-amz-request-id"));
    drop(first);
    until("the place is given back", || harness.metrics.connections() == 0).await;
    assert_eq!(harness.send(&harness.request("GET", READY_PATH)).await.status, 200);
}

#[tokio::test]
async fn what_happens_is_counted() {
    let harness = Harness::plain().await;
    harness.fake.put("key", "value");
    harness.signed("GET", "/bucket/key", "").await;
    harness.signed("PUT", "/bucket/new", "seven b").await;
    harness.signed("GET", "/bucket/absent", "").await;
    until("all requests ended", || harness.metrics.in_flight() == 0).await;
    let text = crate::metrics::render(&harness.metrics);
    for expected in [
        "holdfast_s3_requests_total{operation=\"GetObject\",code=\"200\"} 1\n",
        "holdfast_s3_requests_total{operation=\"GetObject\",code=\"404\"} 1\n",
        "holdfast_s3_requests_total{operation=\"PutObject\",code=\"200\"} 1\n",
        "holdfast_gateway_received_bytes_total 7\n",
        "holdfast_gateway_aborted_total 0\n",
        "holdfast_gateway_connections_total 3\n",
    ] {
        assert!(text.contains(expected), "{expected} is missing from\n{text}");
    }
}
