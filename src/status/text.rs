//! The status for people.

use std::fmt::Write;

use super::{Health, Status};

/// Rows with columns padded to the widest cell.
fn columns(rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0))
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(text, "{}", cells.join("  ").trim_end()).expect("writing to a string");
    }
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// The status as text: a summary, what is wrong, nodes, groups.
pub fn table(status: &Status) -> String {
    let health = match status.health {
        Health::Ok => "ok",
        Health::Degraded => "degraded",
        Health::Unavailable => "unavailable",
    };
    let mut text = format!("cluster {}  {health}\n", status.cluster);
    for problem in &status.problems {
        writeln!(text, "  ! {problem}").expect("writing to a string");
    }
    for (title, lines) in [("being done", &status.doing), ("to do", &status.todo)] {
        for line in lines {
            writeln!(text, "  {title}: {line}").expect("writing to a string");
        }
    }
    if status.health != Health::Ok && status.todo.is_empty() {
        text += "  to do: nothing, for now; look again in a minute\n";
    }

    let mut rows =
        vec![row(["NODE", "NAME", "ADDRESS", "ALIVE", "VERSION", "CPU", "MEMORY", "DISK FREE", "IN FLIGHT"])];
    for node in &status.nodes {
        let mut cells = row([
            &node.id.to_string(),
            &node.name,
            &node.address,
            if node.alive { "yes" } else { "no" },
            &node.version,
        ]);
        if let Some(load) = node.load.as_ref().filter(|_| node.alive) {
            cells.push(format!("{} %", load.cpu_millis / 10));
            cells.push(format!("{} MiB", load.memory_bytes >> 20));
            cells.push(format!("{:.1} GiB", load.disk_free_bytes as f64 / f64::from(1 << 30)));
            cells.push(load.in_flight.to_string());
        }
        rows.push(cells);
    }
    text = text + "\n" + &columns(&rows);

    let name =
        |id: u64| status.nodes.iter().find(|node| node.id == id).map_or(id.to_string(), |node| node.name.clone());
    let mut rows = vec![row(["GROUP", "KIND", "RANGE", "EPOCH", "LEADER", "TERM", "VOTERS", "LOG/COMMITTED/APPLIED"])];
    for group in &status.groups {
        let range =
            group.range.as_ref().map_or("–".to_owned(), |(first, last)| format!("{}…–{}…", &first[..4], &last[..4]));
        let voters: Vec<_> = group.voters.iter().map(|id| name(*id)).collect();
        let members: Vec<_> = group
            .members
            .iter()
            .map(|m| format!("{}:{}/{}/{}", name(m.node), m.last_log, m.committed, m.applied))
            .collect();
        rows.push(row([
            &group.id.to_string(),
            &group.kind,
            &range,
            &group.epoch.to_string(),
            &group.leader.map_or("none".to_owned(), name),
            &group.term.to_string(),
            &voters.join(","),
            &members.join(" "),
        ]));
    }
    text + "\n" + &columns(&rows)
}
