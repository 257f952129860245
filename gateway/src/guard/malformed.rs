//! Which element of a document makes it no XML, or another document than the one that was to come. Pure.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Elements that are looked at; documents of S3 have some tens of thousands at most.
const ELEMENTS_MAX: usize = 100_000;
/// Bytes of a name that are told back.
const NAME_MAX: usize = 64;
/// Names of a path that are told back. Documents of S3 are a third as deep.
const DEPTH_MAX: usize = 24;

/// The path of the element that is at fault, `Delete/Object`: the innermost that is open where the document stops being
/// well-formed, or else the innermost that holds all of it. `None` where it is broken before its first element.
pub fn element(document: &[u8]) -> Option<String> {
    let mut reader = Reader::from_reader(document);
    let mut open: Vec<String> = Vec::new();
    let mut around = Around::default();
    for _ in 0..ELEMENTS_MAX {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                open.push(name(&start));
                around.enter(&open);
            }
            Ok(Event::Empty(start)) => {
                open.push(name(&start));
                around.enter(&open);
                open.pop();
            }
            Ok(Event::End(_)) => {
                open.pop();
            }
            Ok(Event::Eof) if open.is_empty() => return path(&around.path),
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    path(&open)
}

fn name(start: &BytesStart<'_>) -> String {
    String::from_utf8_lossy(start.name().as_ref()).chars().take(NAME_MAX).collect()
}

fn path(elements: &[String]) -> Option<String> {
    (!elements.is_empty()).then(|| elements[..elements.len().min(DEPTH_MAX)].join("/"))
}

/// The innermost element that holds all that was seen of a document.
#[derive(Default)]
struct Around {
    path: Vec<String>,
    /// An element with more than one child was found: it gets no longer.
    parted: bool,
}

impl Around {
    /// An element begins, the last of those that are open.
    fn enter(&mut self, open: &[String]) {
        let outside = open.len() - 1;
        if outside < self.path.len() {
            self.path.truncate(outside);
            self.parted = true;
        } else if let (false, Some(last)) = (self.parted, open.last()) {
            self.path.push(last.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_bounded() {
        let deep = format!("{}{}", "<A>".repeat(1000), "</A>".repeat(1000));
        assert_eq!(element(deep.as_bytes()), Some(["A"; DEPTH_MAX].join("/")));
        assert_eq!(element("<A>".repeat(1000).as_bytes()), Some(["A"; DEPTH_MAX].join("/")));
    }

    #[test]
    fn the_innermost_element_is_named() {
        for (document, expected) in [
            ("<Delete><Object><Key>a</Object></Delete>", Some("Delete/Object/Key")),
            ("<Delete><Object><Key>a</Key>", Some("Delete/Object")),
            ("<Tagging><TagSet><Tag a></Tag", Some("Tagging/TagSet/Tag")),
            ("<Delete><Object/></Delete>", Some("Delete/Object")),
            ("<Delete><Object><Key/></Object><Quiet/></Delete>", Some("Delete")),
            ("<A><B><C/><D><E/></D></B></A>", Some("A/B")),
            ("<A><B><C/></B><B><C/></B><B/></A>", Some("A")),
            ("<Versioning><Status>On</Status></Versioning>", Some("Versioning/Status")),
            ("<?xml version='1.0'?>\n<Nothing/>", Some("Nothing")),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(element(document.as_bytes()).as_deref(), expected, "{document}");
        }
    }
}
