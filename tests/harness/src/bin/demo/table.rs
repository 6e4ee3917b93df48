//! One row for each pod: the reports of its server and its sidecar.

use anyhow::{Context, Result};
use harness::pods::Cluster;
use harness::set;
use serde_json::Value;

const COLUMNS: [&str; 9] =
    ["pod", "server id", "role", "source", "replication", "rows", "cloned from", "bytes", "seconds"];

/// The table as text.
pub fn of(cluster: &Cluster, pods: u32) -> Result<String> {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    for ordinal in 0..pods {
        let pod = format!("mysql-{ordinal}");
        rows.push(row(cluster, &pod).with_context(|| format!("looking at {pod}"))?);
    }
    Ok(laid_out(&rows))
}

fn row(cluster: &Cluster, pod: &str) -> Result<[String; 9]> {
    let status = cluster.status_page(pod)?;
    let status: Value = serde_json::from_str(&status)?;
    let (replication, clone) = (&status["replication"], &status["clone"]);
    Ok([
        pod.to_owned(),
        cluster.value(pod, "SELECT @@server_id")?,
        text(&status["role"]),
        text(&replication["source_host"]),
        match replication {
            Value::Null => "–".to_owned(),
            _ => format!("{}, {} s behind", text(&replication["applier"]), text(&replication["lag_seconds"])),
        },
        rows(cluster, pod)?.to_string(),
        text(&clone["donor_pod"]),
        text(&clone["bytes"]),
        clone["seconds"].as_f64().map_or("–".to_owned(), |seconds| format!("{seconds:.2}")),
    ])
}

/// The checksums of every table, in one line.
pub fn checksums(cluster: &Cluster, pod: &str) -> Result<String> {
    let rows = cluster.sql(pod, &format!("CHECKSUM TABLE {}", set::tables().join(", ")))?;
    Ok(rows.iter().map(|row| row.join(" ")).collect::<Vec<_>>().join("  "))
}

/// The number of rows in InnoDB's tables together. Aria's count may be late on a replica: before a flush of its table
/// it misses the last row events. CHECKSUM TABLE sees them all (MariaDB 10.11.19).
fn rows(cluster: &Cluster, pod: &str) -> Result<u64> {
    let counts = set::INNODB_TABLES.map(|table| format!("(SELECT COUNT(*) FROM {table})")).join(" + ");
    Ok(cluster.value(pod, &format!("SELECT {counts}"))?.parse()?)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn laid_out(rows: &[[String; 9]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let mut lines = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| {
                let is_number = number > 0 && cell.starts_with(|first: char| first.is_ascii_digit());
                if is_number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            })
            .collect();
        lines.push(format!("  {}", cells.join("  ")).trim_end().to_owned());
        if number == 0 {
            lines.push(format!("  {}", widths.iter().map(|width| "─".repeat(*width)).collect::<Vec<_>>().join("  ")));
        }
    }
    lines.join("\n") + "\n"
}
