//! Which element of a document makes it no XML. Pure.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements that are looked at; documents of S3 have some tens of thousands at most.
const ELEMENTS_MAX: usize = 100_000;
/// Bytes of a name that are told back.
const NAME_MAX: usize = 64;

/// The path of the innermost element that is open where the document stops being well-formed: `Delete/Object`. `None`
/// where it is well-formed, or is broken before its first element.
pub fn element(document: &[u8]) -> Option<String> {
    let mut reader = Reader::from_reader(document);
    let mut open: Vec<String> = Vec::new();
    for _ in 0..ELEMENTS_MAX {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let name = String::from_utf8_lossy(start.name().as_ref()).chars().take(NAME_MAX).collect();
                open.push(name);
            }
            Ok(Event::End(_)) => {
                open.pop();
            }
            Ok(Event::Eof) if open.is_empty() => return None,
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    (!open.is_empty()).then(|| open.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_open_element_is_named() {
        for (document, expected) in [
            ("<Delete><Object><Key>a</Object></Delete>", Some("Delete/Object/Key")),
            ("<Delete><Object><Key>a</Key>", Some("Delete/Object")),
            ("<Tagging><TagSet><Tag a></Tag", Some("Tagging/TagSet/Tag")),
            ("<Delete><Object/></Delete>", None),
            ("hello", None),
            ("", None),
        ] {
            assert_eq!(element(document.as_bytes()).as_deref(), expected, "{document}");
        }
    }
}
