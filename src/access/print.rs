//! Answers of the admin API as text: a list of objects is a table, an object is one line per member.

use serde_json::Value;

/// The answer as text.
pub fn text(answer: &Value) -> String {
    match answer {
        Value::Array(rows) if rows.iter().all(Value::is_object) => table(rows),
        Value::Array(items) => items.iter().map(|item| cell(item) + "\n").collect(),
        Value::Object(members) if members.is_empty() => String::new(),
        Value::Object(members) => {
            let width = members.keys().map(String::len).max().unwrap_or(0);
            members.iter().map(|(name, value)| format!("{name:width$}  {}\n", cell(value))).collect()
        }
        other => cell(other) + "\n",
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
    }
}
