//! docs/s3-compatibility.md says of every operation of S3 what becomes of it: it must be what the code does.

use std::collections::BTreeMap;

use crate::auth::table::TABLE;
use crate::guard::table::REFUSED;
use crate::s3::OPERATIONS;

const PAGE: &str = include_str!("../../../../docs/s3-compatibility.md");
/// Operations that s3s knows.
const ALL: usize = 114;

/// What the page says of each operation: `yes`, `stub` or `refused`.
fn documented() -> BTreeMap<String, &'static str> {
    let table = PAGE.split_once("<!-- begin: operations -->").expect("the table begins").1;
    let table = table.split_once("<!-- end: operations -->").expect("the table ends").0;
    let mut found = BTreeMap::new();
    for line in table.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [state, _, names] = cells[..] else { continue };
        let Some(state) = ["yes", "stub", "refused"].into_iter().find(|known| state.starts_with(known)) else {
            continue;
        };
        for name in names.split(", ") {
            assert_eq!(found.insert(name.to_owned(), state), None, "{name} stands twice");
        }
    }
    found
}

/// `get_object` for `GetObject`.
fn method(operation: &str) -> String {
    let mut method = String::new();
    for (at, letter) in operation.chars().enumerate() {
        if letter.is_ascii_uppercase() && at > 0 {
            method.push('_');
        }
        method.push(letter.to_ascii_lowercase());
    }
    method
}

#[test]
fn every_operation_is_documented_as_it_is() {
    let documented = documented();
    assert_eq!(documented.len(), ALL);
    let mut carried_out = 0;
    for (name, state) in &documented {
        let line = OPERATIONS.iter().find(|(method_name, ..)| *method_name == method(name));
        carried_out += usize::from(line.is_some());
        let actual = match line {
            None => "refused",
            Some((_, "=", what)) if !what.starts_with("inert") && !what.starts_with("unconfigured") => "yes",
            Some(_) => "stub",
        };
        assert_eq!(*state, actual, "{name}");
    }
    assert_eq!(carried_out, OPERATIONS.len(), "an operation that the page does not know");
    let refused: Vec<&str> =
        documented.iter().filter(|(_, state)| **state == "refused").map(|(name, _)| &**name).collect();
    assert_eq!(refused, REFUSED, "what is refused before bodies are read is what the page says");
    for row in TABLE {
        assert!(documented.contains_key(row.operation), "{} is not documented", row.operation);
    }
}
