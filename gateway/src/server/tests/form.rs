//! Form uploads: a form that breaks its policy is denied, and nothing is stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// A form for `key`, under a policy that lets only `allowed` be written.
fn form(harness: &Harness, key: &str, allowed: &str) -> Request {
    signed(harness.request("POST", "/bucket"), key, allowed)
}

fn signed(request: Request, key: &str, allowed: &str) -> Request {
    let (date, credential) = (request.stamp(), format!("{ACCESS_KEY}/{}", request.scope()));
    let policy = STANDARD.encode(format!(
        r#"{{"expiration":"2999-01-01T00:00:00.000Z","conditions":[{{"bucket":"bucket"}},{{"key":"{allowed}"}},
        {{"x-amz-algorithm":"AWS4-HMAC-SHA256"}},{{"x-amz-credential":"{credential}"}},{{"x-amz-date":"{date}"}}]}}"#
    ));
    let signature = request.signature(&policy);
    let mut body = String::new();
    for (name, value) in [
        ("key", key),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", &credential),
        ("x-amz-date", &date),
        ("policy", &policy),
        ("x-amz-signature", &signature),
    ] {
        body += &format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhello\r\n--edge--\r\n";
    request.header("content-type", "multipart/form-data; boundary=edge").body(&body)
}

#[tokio::test]
async fn a_form_may_do_what_its_policy_allows_and_no_more() {
    let harness = Harness::plain().await;
    let answer = harness.send(&form(&harness, "mine", "mine")).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(harness.fake.object("mine").as_deref(), Some(&b"hello"[..]));

    let answer = harness.send(&form(&harness, "yours", "mine")).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "AccessDenied"), "{}", answer.text());
    let message = answer.element("Message").unwrap_or_default();
    assert_eq!(
        message,
        "Invalid according to Policy: Policy Condition failed: [&quot;eq&quot;, &quot;$key&quot;, &quot;mine&quot;]"
    );
    assert_eq!(harness.fake.object("yours"), None);
}

#[tokio::test]
async fn a_form_of_the_future_is_told_what_time_it_is() {
    let harness = Harness::plain().await;
    let mut request = harness.request("POST", "/bucket");
    request.time += 16 * 60;
    let stamp = request.stamp();
    let answer = harness.send(&signed(request, "mine", "mine")).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "RequestTimeTooSkewed"));
    assert_eq!(answer.element("RequestTime"), Some(stamp));
    assert_eq!(answer.element("ServerTime").map(|time| time.len()), Some(20));
    assert_eq!(answer.element("MaxAllowedSkewMilliseconds").as_deref(), Some("900000"));
    assert_eq!(harness.fake.calls(), 0);
}
