//! Reads with a range, entity tags and dates, against a plain reading of RFC 9110 §13 and §14.

use arbitrary::Unstructured;
use bytes::Bytes;

use super::sigv4::{scope, sign};
use super::{one, word};
use crate::second::http::Request;
use crate::second::reading::{Ranged, http_date, range};
use crate::second::sigv4::sha256;
use crate::stand::Stand;

const TEXTS: [&str; 3] = ["", "h", "holdfast-holdfast"];
/// What the replica says of what was put there without a time.
const MODIFIED: i64 = 1_000_000_000;

fn number(u: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    Ok(match u.int_in_range(0..=5)? {
        0 => String::new(),
        1 => u.arbitrary::<u64>()?.to_string(),
        2 => "9".repeat(u.int_in_range(1..=40)?),
        3 => word(u, 3, "")?,
        _ => u.int_in_range(0..=20)?.to_string(),
    })
}

fn ranged(u: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    Ok(match u.int_in_range(0..=7)? {
        0 => word(u, 16, "")?,
        1 => format!("{}={}-{}", one(u, &["octets", "Bytes", "bytes "])?, number(u)?, number(u)?),
        2 => format!("bytes={}-{},{}-{}", number(u)?, number(u)?, number(u)?, number(u)?),
        _ => format!("bytes={}-{}", number(u)?, number(u)?),
    })
}

/// A list of tags, and which of them are weak.
fn tags(u: &mut Unstructured<'_>) -> arbitrary::Result<(String, Vec<(bool, String)>)> {
    if u.ratio(1, 6)? {
        return Ok(("*".to_owned(), Vec::new()));
    }
    let count = u.int_in_range(1..=3)?;
    let mut list = Vec::new();
    for _ in 0..count {
        let tag = if u.ratio(1, 2)? { "0".repeat(32) } else { word(u, 4, "\"\\, *")? };
        list.push((u.ratio(1, 4)?, tag));
    }
    let written = list.iter().map(|(weak, tag)| format!("{}\"{tag}\"", if *weak { "W/" } else { "" }));
    Ok((written.collect::<Vec<_>>().join(", "), list))
}

/// The target.
pub fn run(data: &[u8]) {
    let _ = judge(&mut Unstructured::new(data));
}

fn judge(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let text = *one(u, &TEXTS)?;
    let head = u.ratio(1, 4)?;
    let mut headers = Vec::new();
    let (mut matches, mut none_match, mut since, mut unless) = (None, None, None, None);
    let etag = "0".repeat(32);
    if u.ratio(1, 3)? {
        let (text, list) = tags(u)?;
        matches = Some(text == "*" || list.iter().any(|(weak, tag)| !weak && *tag == etag));
        headers.push(("if-match", text));
    }
    if u.ratio(1, 3)? {
        let (text, list) = tags(u)?;
        none_match = Some(text != "*" && list.iter().all(|(_, tag)| *tag != etag));
        headers.push(("if-none-match", text));
    }
    for (name, found) in [("if-modified-since", &mut since), ("if-unmodified-since", &mut unless)] {
        if u.ratio(1, 3)? {
            let at = *one(u, &[MODIFIED, MODIFIED - 1, MODIFIED + 1, 0, 951_782_400, 4_000_000_000])?;
            *found = Some(at);
            headers.push((name, http_date(at)));
        }
    }
    let mut asked = None;
    if u.ratio(2, 3)? {
        let range = ranged(u)?;
        let range = range.trim().to_owned();
        asked = (!range.is_empty()).then(|| range.clone());
        headers.push(("range", range));
    }
    let size = text.len() as u64;
    let expected = match (matches, unless, none_match, since) {
        (Some(false), ..) => 412,
        (None, Some(at), ..) if MODIFIED > at => 412,
        (_, _, Some(false), _) => 304,
        (_, _, None, Some(at)) if MODIFIED <= at => 304,
        _ => match asked.as_deref().map_or(Ranged::All, |asked| range(asked, size)) {
            Ranged::All => 200,
            Ranged::Part(..) => 206,
            Ranged::Beyond => 416,
        },
    };
    let method = if head { "HEAD" } else { "GET" };
    let mut request = Request { method: method.to_owned(), target: "/bucket/a".to_owned(), ..Request::default() };
    request.add("host", "stand");
    headers.iter().for_each(|(name, value)| request.add(name, value));
    sign(&mut request, &scope(0), &sha256(b""));
    Stand::with(|stand| {
        stand.replica().set("a", text);
        let answer = stand.ask([Bytes::from(request.bytes())]);
        let shown = || format!("expected {expected}: {answer:?}\n{headers:?} of {size} bytes");
        assert_eq!(answer.status, expected, "{}", shown());
        match asked.as_deref().map_or(Ranged::All, |asked| range(asked, size)) {
            Ranged::Part(first, count) if answer.status == 206 => {
                let last = (first + count).saturating_sub(1);
                let told = format!("bytes {first}-{last}/{size}");
                assert_eq!(answer.header("content-range"), Some(&*told), "{}", shown());
                let part = &text.as_bytes()[first as usize..(first + count) as usize];
                assert!(head || answer.body == part, "{}", shown());
            }
            _ if answer.status == 200 => assert!(head || answer.body == text.as_bytes(), "{}", shown()),
            _ => {}
        }
        if head {
            assert!(answer.body.is_empty(), "{}", shown());
        }
    });
    Ok(())
}
