//! Answers of the admin API as text: a list of objects is a table, an object is one line per member.

use serde_json::Value;

/// The answer as text.
pub fn text(answer: &Value) -> String {
    match answer {
        Value::Array(rows) if rows.iter().all(Value::is_object) => table(rows),
        Value::Array(items) => items.iter().map(|item| cell(item) + "\n").collect(),
        Value::Object(members) => {
            let (tables, lines): (Vec<_>, Vec<_>) = members.iter().partition(|(_, value)| rows(value).is_some());
            let lines: Vec<(String, &Value)> = lines.into_iter().flat_map(|(name, value)| named(name, value)).collect();
            let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            let lines = lines.iter().map(|(name, value)| format!("{name:width$}  {}\n", cell(value)));
            let tables = tables.iter().filter_map(|(name, value)| Some(format!("\n{name}\n{}", table(rows(value)?))));
            lines.chain(tables).collect()
        }
        other => cell(other) + "\n",
    }
}

/// The rows of a member that is a table.
fn rows(value: &Value) -> Option<&[Value]> {
    value.as_array().map(Vec::as_slice).filter(|rows| !rows.is_empty() && rows.iter().all(Value::is_object))
}

/// A member, or those of a member: `done.last`.
fn named<'a>(name: &str, value: &'a Value) -> Vec<(String, &'a Value)> {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            inner.iter().map(|(within, value)| (format!("{name}.{within}"), value)).collect()
        }
        value => vec![(name.to_owned(), value)],
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            if items.is_empty() {
                "–".to_owned()
            } else {
                items.iter().map(cell).collect::<Vec<_>>().join(",")
            }
        }
        other => other.to_string(),
    }
}

fn table(rows: &[Value]) -> String {
    let Some(first) = rows.first().and_then(Value::as_object) else { return String::new() };
    let names: Vec<&String> = first.keys().collect();
    let mut lines = vec![names.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| names.iter().map(|name| cell(&row[name.as_str()])).collect()));
    let widths: Vec<usize> = (0..names.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_tables_and_objects_are_lines() {
        let users = json!([{ "name": "ann", "policies": ["a", "b"] }, { "name": "b", "policies": [] }]);
        assert_eq!(text(&users), "NAME  POLICIES\nann   a,b\nb     –\n");
        assert_eq!(text(&json!({ "a": 1, "long": null })), "a     1\nlong  –\n");
        assert_eq!(text(&json!({})), "");
        let nested = json!({ "rules": [{ "id": "a", "days": 1 }], "done": { "last": null, "objects": 2 }, "x": [] });
        let expected = "done.last     –\ndone.objects  2\nx             –\n\nrules\nDAYS  ID\n1     a\n";
        assert_eq!(text(&nested), expected);
    }
}
