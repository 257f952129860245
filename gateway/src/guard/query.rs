//! The pairs of a query string, split and decoded as s3s does it (form encoding: `+` is a space).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// One parameter of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The decoded name.
    pub name: Cow<'a, str>,
    /// The decoded value; empty when there is none.
    pub value: Cow<'a, str>,
}

/// The parameters of `query` in the order sent. Empty segments (`a&&b`) are skipped.
pub fn pairs(query: &str) -> impl Iterator<Item = Pair<'_>> {
    query.split('&').filter(|segment| !segment.is_empty()).map(|segment| {
        let (name, value) = segment.split_once('=').unwrap_or((segment, ""));
        Pair { name: decode(name), value: decode(value) }
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_and_decoded() {
        let found: Vec<(String, String)> =
            pairs("acl&a=b=c&&%61cl=&x+y=%2B").map(|pair| (pair.name.into_owned(), pair.value.into_owned())).collect();
        let expected = [("acl", ""), ("a", "b=c"), ("acl", ""), ("x y", "+")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
