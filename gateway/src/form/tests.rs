use bytes::Bytes;
use holdfast_wire::seam::Random;
use http_body_util::BodyExt as _;

use super::fields::{Fields, read};
use super::plain::Plain;
use super::*;

struct Sevens;

impl Random for Sevens {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

fn head(boundary: &str, body: &str) -> Parts {
    let request = http::Request::post("/bucket")
        .header("content-type", format!("multipart/form-data; boundary={boundary}"))
        .header("content-length", body.len());
    request.body(()).unwrap().into_parts().0
}

fn part(name: &str, value: &str) -> String {
    format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn form(fields: &[(&str, &str)], file: &str) -> String {
    let parts: String = fields.iter().map(|(name, value)| part(name, value)).collect();
    format!(
        "{parts}--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\n{file}\r\n--edge--\r\n"
    )
}

async fn refused(body: &str) -> &'static str {
    match read(&head("edge", body), s3s::Body::from(body.to_owned())).await {
        Ok(_) => "nothing",
        Err(refusal) => refusal.code,
    }
}

#[tokio::test]
async fn what_is_no_form_is_refused_as_what_it_is() {
    assert_eq!(refused("hello").await, "MalformedPOSTRequest");
    assert_eq!(refused(&format!("{}--edge--\r\n", part("key", "k"))).await, "InvalidArgument");
    assert_eq!(refused(&form(&[("key", &"k".repeat(70_000))], "")).await, "MaxPostPreDataLengthExceededError");
    let many: Vec<(&str, &str)> = std::iter::repeat_n(("x-ignore", "1"), 101).collect();
    assert_eq!(refused(&form(&many, "")).await, "MaxPostPreDataLengthExceededError");
    let nameless = "--edge\r\nContent-Disposition: form-data\r\n\r\nx\r\n--edge--\r\n";
    assert_eq!(refused(nameless).await, "MalformedPOSTRequest");
    assert_eq!(refused(&form(&[("key", "k")], "hello")).await, "nothing");
}

/// The fields and the file of the form that s3s would get.
async fn plain(fields: &[(&str, &str)], file: &str) -> Result<(Vec<(String, String)>, String), Refusal> {
    let body = form(fields, file);
    let (read_fields, found) = read(&head("edge", &body), s3s::Body::from(body.clone())).await?;
    assert_eq!(found.len, file.len() as u64);
    let plain = Plain::of(&read_fields, found.len, &Sevens)?;
    let (kind, len) = (plain.content_type(), plain.length());
    let bytes = plain.body(found.stream).collect().await.unwrap().to_bytes();
    assert_eq!(bytes.len() as u64, len, "the length that is declared");
    let mut parts = head("edge", "");
    parts.headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
    parts.headers.insert(header::CONTENT_LENGTH, len.into());
    let (fields, again) = read(&parts, s3s::Body::from(bytes)).await?;
    let pieces: Vec<Bytes> = futures::TryStreamExt::try_collect(again.stream).await.unwrap();
    let fields = fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok((fields, String::from_utf8(pieces.concat()).unwrap()))
}

#[tokio::test]
async fn what_goes_on_is_the_object_alone() {
    let tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>";
    let (fields, file) = plain(
        &[
            ("Key", "up/${filename}"),
            ("acl", "public-read"),
            ("x-amz-acl", "private"),
            ("tagging", tags),
            ("policy", "p"),
            ("X-Amz-Signature", "s"),
            ("x-amz-meta-Colour", "red\r\n--edg"),
            ("success_action_redirect", "nonsense"),
            ("success_action_status", "418"),
            ("submit", "Send"),
        ],
        "hello\r\n--edg",
    )
    .await
    .unwrap();
    let expected = [
        ("key", "up/f.txt"),
        ("x-amz-acl", "public-read"),
        ("x-amz-meta-colour", "red\r\n--edg"),
        ("x-amz-tagging", "a%20b=1%262"),
    ];
    assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(file, "hello\r\n--edg");

    let (fields, _) =
        plain(&[("key", "k"), ("redirect", "https://there/"), ("success_action_status", "201")], "").await.unwrap();
    assert!(fields.contains(&("success_action_redirect".to_owned(), "https://there/".to_owned())), "{fields:?}");
    assert!(fields.contains(&("success_action_status".to_owned(), "201".to_owned())), "{fields:?}");
    assert_eq!(plain(&[], "").await.unwrap_err().code, "InvalidArgument");
    assert_eq!(plain(&[("key", "k"), ("tagging", "<a")], "").await.unwrap_err().code, "MalformedXML");
}

#[tokio::test]
async fn nothing_may_stand_behind_the_file() {
    let body = form(&[("key", "k")], "hello").replace("--edge--", "--edge") + &part("key", "other") + "--edge--\r\n";
    let (_, found) = read(&head("edge", &body), s3s::Body::from(body)).await.unwrap();
    let pieces: Result<Vec<Bytes>, _> = futures::TryStreamExt::try_collect(found.stream).await;
    assert!(pieces.is_err());
}

#[test]
fn half_a_signature_is_none() {
    let code = |fields: Fields| signature::signed(&fields).map(|found| found.is_some()).map_err(|refusal| refusal.code);
    assert_eq!(code(Fields::default()), Ok(false));
    assert_eq!(code(Fields::from([("policy", "p")])), Err("InvalidArgument"));
    assert_eq!(code(Fields::from([("x-amz-signature", "s")])), Err("InvalidArgument"));
    assert_eq!(code(Fields::from([("AWSAccessKeyId", "a"), ("signature", "s")])), Err("AccessDenied"));
    assert_eq!(code(Fields::from([("x-amz-security-token", "t")])), Err("InvalidToken"));
}
