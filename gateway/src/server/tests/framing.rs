//! What arrives on the wire: framing, sizes, `Expect: 100-continue`, hostile XML, HTTP/2.

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use md5::Digest as _;

use super::client::hex_sha256;
use super::*;

#[tokio::test]
async fn a_refused_upload_is_refused_before_it_is_asked_for() {
    let harness = Harness::plain().await;
    let anonymous = harness.request("PUT", "/bucket/key").body("hello").header("expect", "100-continue");
    let mut forged = anonymous.clone().sign();
    forged.set("x-amz-content-sha256", &hex_sha256(b"other"));
    let mut dropped = harness.request("PUT", "/bucket/key?nonsense").body("x").header("expect", "100-continue").sign();
    dropped.set("accept", "*/*");
    for (request, status) in [(anonymous.clone(), 403), (forged, 403), (dropped, 501)] {
        let mut connection = harness.connect().await;
        connection.write(&request.head()).await;
        assert_eq!(connection.response(false).await.unwrap().status, status);
        connection.closed().await;
    }
    assert_eq!(harness.fake.calls(), 0);

    let request = anonymous.sign();
    let mut connection = harness.connect().await;
    connection.write(&request.head()).await;
    assert_eq!(connection.response(false).await.unwrap().status, 100);
    connection.write(&request.body).await;
    assert_eq!(connection.response(false).await.unwrap().status, 200);
    assert_eq!(harness.fake.object("key").as_deref(), Some(&b"hello"[..]));
}

#[tokio::test]
async fn an_upload_of_nothing_that_waits_for_a_continue_ends_its_connection() {
    let harness = Harness::plain().await;
    let put = |expect: bool| {
        let request = harness.request("PUT", "/bucket/key").header("content-length", "0");
        if expect { request.header("expect", "100-continue").sign() } else { request.sign() }
    };
    let mut connection = harness.connect().await;
    connection.write(&put(false).head()).await;
    assert_eq!(connection.response(false).await.unwrap().header("connection"), None);
    connection.write(&put(true).head()).await;
    let answer = connection.response(false).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    connection.closed().await;
}

#[tokio::test]
async fn a_client_that_sends_on_still_reads_why_it_was_refused() {
    let harness = Harness::plain().await;
    let request = harness.request("PUT", "/bucket/key").header("content-length", "50000000");
    let mut connection = harness.connect().await;
    connection.write(&request.head()).await;
    // More than the socket buffers hold, while nobody reads it as a body.
    let chunk = vec![0; 1 << 20];
    for _ in 0..16 {
        if connection.try_write(&chunk).await.is_err() {
            break;
        }
    }
    let answer = connection.response(false).await.expect("the refusal is not overtaken by a reset");
    assert_eq!((answer.status, answer.header("connection")), (403, Some("close")));
}

#[tokio::test]
async fn heads_are_bounded() {
    let harness = Harness::plain().await;
    let long = format!("/bucket/{}", "k".repeat(17 << 10));
    for (request, status, code) in [
        (harness.request("GET", &long), 414, "RequestURITooLong"),
        (
            harness.request("GET", "/bucket").header("x-amz-meta-a", &"v".repeat(17 << 10)),
            431,
            "RequestHeaderSectionTooLarge",
        ),
        (harness.request("GET", &format!("/bucket?{}", "a=b&".repeat(4500))), 414, "RequestURITooLong"),
    ] {
        let answer = harness.send(&request).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
    }
    // Far too long for an answer in XML, but an answer all the same, and never a handler.
    for request in [
        harness.request("GET", "/bucket").header("x-amz-meta-a", &"v".repeat(200 << 10)),
        (0..200).fold(harness.request("GET", "/bucket"), |request, n| request.header(&format!("x-amz-meta-{n}"), "v")),
    ] {
        let mut connection = harness.connect().await;
        let _ = connection.try_write(&request.bytes()).await;
        if let Some(answer) = connection.response(false).await {
            assert_eq!(answer.status, 431);
        }
    }
    assert_eq!(harness.fake.calls(), 0);
}

#[tokio::test]
async fn a_head_that_is_none_gets_an_error_document_with_an_id() {
    let harness = Harness::plain().await;
    let long = format!("GET /bucket HTTP/1.1\r\nhost: h\r\nx: {}", "x".repeat(400 << 10));
    for (head, status, code) in [
        ("GET /bucket HTTP/1.1\r\nno header\r\n\r\n", 400, "BadRequest"),
        ("hello there\r\n\r\n", 400, "BadRequest"),
        ("GET /bu cket HTTP/1.1\r\nhost: h\r\n\r\n", 400, "BadRequest"),
        ("GET /bucket HTTP/1.1\r\nhost: h\r\ncontent-length: x\r\n\r\n", 400, "BadRequest"),
        (&long, 431, "RequestHeaderSectionTooLarge"),
    ] {
        let shown = &head[..head.len().min(40)];
        let mut connection = harness.connect().await;
        connection.write(head.as_bytes()).await;
        let answer = connection.response(false).await.unwrap_or_else(|| panic!("no answer to {shown}"));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{shown}: {}", answer.text());
        let id = answer.header("x-amz-request-id").expect("an id").to_owned();
        assert_eq!(answer.element("RequestId"), Some(id), "{shown}");
        assert!(answer.header("x-amz-id-2").is_some());
        assert_eq!(answer.header("connection"), Some("close"));
        connection.closed().await;
    }
    assert_eq!(harness.fake.calls(), 0);
}

#[tokio::test]
async fn an_object_that_looks_like_such_an_answer_is_left_alone() {
    let harness = Harness::plain().await;
    let bytes = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    harness.fake.put("key", bytes);
    let get = harness.request("GET", "/bucket/key").sign();
    let mut connection = harness.connect().await;
    // One after the other, and then with what is no head right behind it.
    for behind in ["", "", "nonsense\r\n\r\n"] {
        connection.write(&[&get.head()[..], behind.as_bytes()].concat()).await;
        let answer = connection.response(false).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, bytes));
    }
    assert_eq!(connection.response(false).await.unwrap().status, 400);
}

#[tokio::test]
async fn nothing_can_be_smuggled_behind_a_body() {
    let harness = Harness::plain().await;
    let hidden = "GET /_health/ready HTTP/1.1\r\nhost: x\r\n\r\n";
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut connection = harness.connect().await;
        let request = format!("PUT /bucket/key HTTP/1.1\r\nhost: x\r\n{framing}\r\n0\r\n\r\n{hidden}");
        connection.write(request.as_bytes()).await;
        let answer = connection.response(false).await.unwrap();
        assert!((400..500).contains(&answer.status) || answer.status == 501, "{framing}: {answer:?}");
        assert!(
            connection.response(false).await.is_none(),
            "{framing}: what followed the body was taken for a request"
        );
    }
    for head in [
        "PUT /bucket/key HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "PUT /bucket/key HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "PUT /bucket/key HTTP/1.1\r\nhost: x\r\ncontent-length: 5, 5\r\n\r\nhello",
        "PUT /bucket/key HTTP/1.1\r\nhost: x\r\ncontent-length : 5\r\n\r\nhello",
        "PUT /bucket/key HTTP/1.1\r\nhost: x\r\ntransfer-encoding: identity\r\n\r\nhello",
        "GET /bucket/key HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        "GET /bucket/key HTTP/1.1\r\n\r\n",
        "GET http://y/bucket/key HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /bucket/key HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
        "GET /bucket/\u{1}key HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET bucket/key HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let mut connection = harness.connect().await;
        connection.write(head.as_bytes()).await;
        if let Some(answer) = connection.response(false).await {
            assert!((400..500).contains(&answer.status) || answer.status == 501, "{head:?}: {answer:?}");
        }
    }
    assert_eq!(harness.fake.calls(), 0);
}

#[tokio::test]
async fn an_upload_must_say_how_long_it_is() {
    let harness = Harness::plain().await;
    let head = "PUT /bucket/key HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut connection = harness.connect().await;
    connection.write(head.as_bytes()).await;
    let answer = connection.response(false).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (411, "MissingContentLength"));
    let form = harness
        .request("POST", "/bucket")
        .header("content-type", "multipart/form-data; boundary=x")
        .header("transfer-encoding", "chunked");
    assert_eq!(harness.send(&form).await.status, 411);
}

fn deletion(harness: &Harness, xml: &str) -> Request {
    harness.request("POST", "/bucket?delete").body(xml).sign()
}

#[tokio::test]
async fn hostile_xml_is_refused_quickly() {
    let harness = Harness::plain().await;
    let key = |key: &str| format!("<Delete><Object><Key>{key}</Key></Object></Delete>");
    assert_eq!(harness.send(&deletion(&harness, &key("k"))).await.status, 200);
    let bomb = "<!DOCTYPE z [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">]>";
    for (name, xml) in [
        ("entities", format!("{bomb}{}", key("&b;"))),
        ("external", format!("<!DOCTYPE z [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>{}", key("&x;"))),
        ("nesting", "<a>".repeat(100_000)),
        ("unknown entity", key("&nothing;")),
        ("cut off", "<Delete><Object><Key>k".to_owned()),
        ("no document", "delete everything".to_owned()),
        ("not UTF-8", "<Delete>\u{fffd}".replace('\u{fffd}', "\u{1}")),
        ("too large", key(&"k".repeat(2 << 20))),
    ] {
        let begun = tokio::time::Instant::now();
        let answer = harness.send(&deletion(&harness, &xml)).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{name}");
    }
    // In chunks, nobody knows how long it will be.
    let xml = key(&"k".repeat(2 << 20));
    let mut chunked = harness.request("POST", "/bucket?delete").presign(60).header("transfer-encoding", "chunked");
    chunked.body = format!("{:x}\r\n{xml}\r\n0\r\n\r\n", xml.len()).into_bytes();
    assert_eq!(harness.send(&chunked).await.code(), "MaxMessageLengthExceeded");
    assert_eq!(harness.fake.calls(), 1);
}

#[tokio::test]
async fn malformed_xml_is_told_where() {
    let harness = Harness::plain().await;
    let body = "<Delete><Object><Key>k</Object></Delete>";
    let md5 = base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body));
    let request = harness.request("POST", "/bucket?delete").header("content-md5", &md5).body(body).sign();
    let answer = harness.send(&request).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "MalformedXML"), "{}", answer.text());
    assert_eq!(answer.element("Element").as_deref(), Some("Delete/Object/Key"));
    assert_eq!(harness.fake.calls(), 0);
}

#[tokio::test]
async fn a_document_that_is_not_the_signed_one_is_the_clients_fault() {
    let harness = Harness::plain().await;
    let mut request = deletion(&harness, "<Delete><Object><Key>k</Key></Object></Delete>");
    request.body = b"<Delete><Object><Key>z</Key></Object></Delete>".to_vec();
    let answer = harness.send(&request).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "XAmzContentSHA256Mismatch"));
    assert!(answer.element("RequestId").is_some());
    assert_eq!(harness.fake.calls(), 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_stored() {
    let harness = Harness::plain().await;
    let request = harness.request("PUT", "/bucket/key").body("hello world").sign();
    let mut connection = harness.connect().await;
    connection.write(&request.head()).await;
    connection.write(b"hello").await;
    until("the upload is under way", || harness.fake.calls() == 1).await;
    drop(connection);
    until("the upload is over", || harness.metrics.in_flight() == 0).await;
    assert_eq!(harness.fake.object("key"), None);
}

#[tokio::test]
async fn http2_is_spoken_too() {
    let harness = Harness::plain().await;
    let stream = Seams::real().net.connect(&harness.host()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    for (path, status) in [(READY_PATH, 200), ("/bucket/key", 403), ("/bucket?acl&policy", 400)] {
        let uri = format!("http://{}{path}", harness.host());
        let request = http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert!(answer.headers().contains_key("x-amz-request-id"));
        assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
}
