//! Finds filters: settings by which a server lacks a part of the set's data, or withholds a part from the others.
//!
//! A copy of such a replica would lack the same data, and so would a primary that is recovered from it. A primary whose
//! binary log omits databases has them itself, but each replica made of it soon has old rows.
//!
//! Traceless filters stay undetected: a used-up `sql_slave_skip_counter`, `SET gtid_slave_pos` or an empty transaction
//! in the place of a failed one, and filters of an earlier start. (`verify` compares rows.)

use std::collections::BTreeMap;

use anyhow::Result;

use super::{NamedRow, Server};
use crate::model::ordinal::Role;

/// Filters of an applier or a receiver, from a server's variables (MariaDB) or its replication status.
const FILTERS: [&str; 10] = [
    "replicate_do_db",
    "replicate_ignore_db",
    "replicate_do_table",
    "replicate_ignore_table",
    "replicate_wild_do_table",
    "replicate_wild_ignore_table",
    "replicate_rewrite_db",
    "replicate_ignore_server_ids",
    "replicate_do_domain_ids",
    "replicate_ignore_domain_ids",
];

/// Filters of a binary log: variables of MariaDB's newer series, and columns of the log's state in all.
const LOG_FILTERS: [&str; 2] = ["binlog_do_db", "binlog_ignore_db"];

/// Settings with which an applier skips what it fails to apply, and their harmless values. MySQL has some under two
/// names; the newer one is reported.
const LENIENT: [(&str, &[&str]); 7] = [
    ("replica_skip_errors", &["", "OFF"]),
    ("slave_skip_errors", &["", "OFF"]),
    ("replica_exec_mode", &["STRICT"]),
    ("slave_exec_mode", &["STRICT"]),
    ("replicate_events_marked_for_skip", &["REPLICATE"]),
    ("sql_replica_skip_counter", &["", "0"]),
    ("sql_slave_skip_counter", &["", "0"]),
];

/// The name of a setting that leaves data out, where there is one.
pub async fn what(server: &mut Server, role: Role) -> Result<Option<String>> {
    let rows = server.rows("SHOW GLOBAL VARIABLES").await?;
    let text = |row: &NamedRow, name: &str| row.get(name).cloned().flatten();
    let variables = rows
        .iter()
        .filter_map(|row| Some((text(row, "Variable_name")?.to_ascii_lowercase(), text(row, "Value")?)))
        .collect();
    what_by(server, role, &variables).await
}

/// The same, with the server's variables already known, by their names in lower case.
pub async fn what_by(server: &mut Server, role: Role, variables: &BTreeMap<String, String>) -> Result<Option<String>> {
    let query = match role {
        Role::Primary => server.dialect.show_log_state(),
        Role::Replica => server.dialect.show_status(),
    };
    let rows = server.rows(query).await?;
    Ok(found(role, variables, &rows))
}

fn found(role: Role, variables: &BTreeMap<String, String>, rows: &[NamedRow]) -> Option<String> {
    let filters: &[&str] = match role {
        Role::Primary => &LOG_FILTERS,
        Role::Replica => &FILTERS,
    };
    let in_words = |name: &str, value: &str| {
        let shown: String = value.chars().filter(|character| !character.is_control()).take(100).collect();
        format!("{name} = {shown}")
    };
    for name in filters {
        let in_rows = rows.iter().flatten().filter(|(column, _)| column.eq_ignore_ascii_case(name));
        let values = in_rows.filter_map(|(_, value)| value.as_deref()).chain(variables.get(*name).map(String::as_str));
        if let Some(value) = values.map(str::trim).find(|value| !value.is_empty()) {
            return Some(in_words(name, value));
        }
    }
    if role == Role::Primary {
        return None;
    }
    LENIENT.iter().find_map(|(name, strict)| {
        let value = variables.get(*name)?;
        (!strict.iter().any(|strict| strict.eq_ignore_ascii_case(value))).then(|| in_words(name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn row(pairs: &[(&str, &str)]) -> NamedRow {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect()
    }

    #[test]
    fn a_replica_that_applies_everything_passes() {
        let usual = [
            ("replicate_do_db", ""),
            ("replicate_events_marked_for_skip", "REPLICATE"),
            ("slave_skip_errors", "OFF"),
            ("slave_exec_mode", "STRICT"),
            ("sql_slave_skip_counter", "0"),
            ("binlog_ignore_db", "scratch"),
        ];
        let status = row(&[("Replicate_Do_DB", ""), ("Replicate_Ignore_Server_Ids", ""), ("Slave_IO_Running", "Yes")]);
        assert_eq!(found(Role::Replica, &variables(&usual), &[status]), None);
        assert_eq!(found(Role::Replica, &variables(&[]), &[]), None);
    }

    #[test]
    fn each_filter_is_named() {
        for (name, value) in [
            ("replicate_ignore_db", "app"),
            ("replicate_wild_do_table", "app.%"),
            ("replicate_rewrite_db", "a->b"),
            ("slave_skip_errors", "1062"),
            ("replica_skip_errors", "ALL"),
            ("slave_exec_mode", "IDEMPOTENT"),
            ("replicate_events_marked_for_skip", "FILTER_ON_SLAVE"),
            ("sql_slave_skip_counter", "1"),
        ] {
            let named = found(Role::Replica, &variables(&[(name, value)]), &[]);
            assert_eq!(named.as_deref(), Some(&*format!("{name} = {value}")));
            assert_eq!(found(Role::Primary, &variables(&[(name, value)]), &[]), None, "{name} of a primary");
        }
        // As MySQL has them; a named channel's too.
        for column in ["Replicate_Do_DB", "Replicate_Ignore_Table", "Replicate_Rewrite_DB", "Replicate_Do_Domain_Ids"] {
            let rows = [row(&[(column, "")]), row(&[(column, "x"), ("Channel_Name", "other")])];
            let named = found(Role::Replica, &variables(&[]), &rows);
            assert_eq!(named.as_deref(), Some(&*format!("{} = x", column.to_lowercase())));
        }
    }

    #[test]
    fn a_primary_must_log_everything() {
        let state = |value| row(&[("File", "mysql-bin.000001"), ("Binlog_Do_DB", ""), ("Binlog_Ignore_DB", value)]);
        assert_eq!(found(Role::Primary, &variables(&[]), &[state("")]), None);
        let named = found(Role::Primary, &variables(&[]), &[state("app,other")]);
        assert_eq!(named.as_deref(), Some("binlog_ignore_db = app,other"));
    }
}
