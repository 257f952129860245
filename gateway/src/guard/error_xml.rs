//! Error documents: elements, escaping, and completing the document that s3s writes.
//!
//! Errors raised inside s3s never pass through our handlers and know no request id; their documents are completed on
//! the way out.

use time::OffsetDateTime;
use time::macros::format_description;

/// The longest error document that is completed, in bytes. Ours are far below.
const LONGEST: usize = 64 * 1024;
const END: &[u8] = b"</Error>";

/// Appends `<name>escaped value</name>`. Characters that XML 1.0 cannot carry are dropped.
pub fn element(xml: &mut String, name: &str, value: &str) {
    xml.push('<');
    xml.push_str(name);
    xml.push('>');
    escape(xml, value);
    xml.push_str("</");
    xml.push_str(name);
    xml.push('>');
}

fn escape(xml: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#13;"),
            '\n' | '\t' => xml.push(character),
            '\u{fffe}' | '\u{ffff}' => {}
            other if other < ' ' => {}
            other => xml.push(other),
        }
    }
}

/// A time as errors tell it, in seconds: `2026-11-30T12:00:00Z`.
pub fn iso_8601(unix_ms: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(unix_ms / 1000).ok()?).ok()?;
    time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).ok()
}

/// Whether `body` is an error document that can be completed.
pub fn is_error(body: &[u8]) -> bool {
    body.len() <= LONGEST && body.trim_ascii_end().ends_with(END)
}

/// The text of the error's `Code`, if there is one.
pub fn code(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

/// The message of an error document, as it stands there.
pub fn message(body: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Message>")?;
    rest.split_once("</Message>").map(|(message, _)| message)
}

/// `body` with another message, where one is given, and with the elements that it lacks before its end; `None` if it is no
/// error document.
pub fn complete(body: &[u8], message: Option<&str>, elements: &[(&str, &str)]) -> Option<String> {
    if !is_error(body) {
        return None;
    }
    let text = std::str::from_utf8(body.trim_ascii_end()).ok()?;
    let head = text.strip_suffix("</Error>")?;
    let mut xml = String::with_capacity(text.len() + 256);
    match (message, head.split_once("</Code>")) {
        (Some(message), Some((before, rest))) => {
            xml.push_str(before);
            xml.push_str("</Code>");
            element(&mut xml, "Message", message);
            xml.push_str(rest.split_once("</Message>").map_or(rest, |(_, rest)| rest));
        }
        (Some(_) | None, _) => xml.push_str(head),
    }
    for (name, value) in elements {
        if !head.contains(&format!("<{name}>")) {
            element(&mut xml, name, value);
        }
    }
    xml.push_str("</Error>");
    Some(xml)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_added_once() {
        let body = b"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><RequestId>mine</RequestId></Error>\n";
        let xml = complete(body, None, &[("Resource", "/b/<k>&"), ("RequestId", "R"), ("HostId", "H")]).unwrap();
        assert_eq!(
            xml,
            "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><RequestId>mine</RequestId>\
             <Resource>/b/&lt;k&gt;&amp;</Resource><HostId>H</HostId></Error>"
        );
        assert_eq!(code(body), Some("NoSuchKey"));
    }

    #[test]
    fn a_message_is_replaced_or_put_where_there_is_none() {
        for body in
            ["<Error><Code>C</Code><Message>old</Message><A>1</A></Error>", "<Error><Code>C</Code><A>1</A></Error>"]
        {
            let xml = complete(body.as_bytes(), Some("<new>"), &[("B", "2")]).unwrap();
            assert_eq!(xml, "<Error><Code>C</Code><Message>&lt;new&gt;</Message><A>1</A><B>2</B></Error>");
        }
    }

    #[test]
    fn times_are_told_in_seconds() {
        assert_eq!(iso_8601(1_000_000_000_999).as_deref(), Some("2001-09-09T01:46:40Z"));
    }

    #[test]
    fn anything_else_is_left_alone() {
        for body in [&b"not xml"[..], b"", b"<ListBucketResult/>", b"\xff</Error>"] {
            assert_eq!(complete(body, Some("other"), &[("RequestId", "R")]), None);
        }
    }

    #[test]
    fn what_xml_cannot_carry_is_dropped() {
        let mut xml = String::new();
        element(&mut xml, "K", "a\u{0}\u{1b}b\u{fffe}\"'\r\n");
        assert_eq!(xml, "<K>ab&quot;'&#13;\n</K>");
    }
}
