//! Just enough XML to read S3's answers: the text of elements by name, in order.

/// The texts of all elements `name`, wherever they stand, with entities resolved.
pub fn texts(xml: &str, name: &str) -> Vec<String> {
    elements(xml, name).into_iter().map(unescape).collect()
}

/// The text of the first element `name`.
pub fn text(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).first().map(|inner| unescape(inner))
}

/// What stands inside all elements `name`, markup included. Elements of one name must not be nested.
pub fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let (close, empty) = (format!("</{name}>"), format!("<{name}/>"));
    let open = format!("<{name}");
    let mut found = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find(&open) {
        let after = &rest[at + open.len()..];
        if rest[at..].starts_with(&empty) {
            found.push("");
            rest = &rest[at + empty.len()..];
        } else if after.starts_with(['>', ' ']) {
            let Some(start) = after.find('>').map(|i| i + 1) else { break };
            let Some(end) = after[start..].find(&close) else { break };
            found.push(&after[start..start + end]);
            rest = &after[start + end + close.len()..];
        } else {
            rest = after;
        }
    }
    found
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

/// Text made fit for an element.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_elements_by_whole_name() {
        let xml = "<L><KeyCount>2</KeyCount><Key>a&amp;b</Key><E/><Key x='1'>c</Key><Prefix/></L>";
        assert_eq!(texts(xml, "Key"), ["a&b", "c"]);
        assert_eq!(text(xml, "Prefix").as_deref(), Some(""));
        assert_eq!(text(xml, "KeyCount").as_deref(), Some("2"));
        assert_eq!(text(xml, "Nope"), None);
    }
}
