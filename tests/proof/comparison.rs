//! The contents of a server, in lines that can be compared.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use crate::server::Server;

/// The number of differences that a message lists.
const SHOWN: usize = 3;

/// Tables and their rows by checksum, definitions of databases and triggers, and what full-text indexes find.
#[derive(Clone, PartialEq)]
pub struct Contents(BTreeSet<String>);

const USERS: &str = "NOT IN ('information_schema', 'performance_schema')";

/// Tables that each server writes for itself.
const OWN: [&str; 6] = [
    "mysql.innodb_table_stats",
    "mysql.innodb_index_stats",
    "mysql.gtid_slave_pos",
    "mysql.general_log",
    "mysql.slow_log",
    "mysql.transaction_registry",
];

impl Contents {
    pub fn of(server: &Server) -> Result<Contents> {
        let tables = server.sql(&format!(
            "SELECT CONCAT('`', table_schema, '`.`', table_name, '`'), CONCAT(table_schema, '.', table_name), table_type \
             FROM information_schema.tables WHERE table_schema {USERS}"
        ))?;
        let mut lines: BTreeSet<String> = tables.lines().map(|line| format!("there is {line}")).collect();
        let rows: Vec<&str> = tables
            .lines()
            .filter_map(|line| {
                let mut columns = line.split('\t');
                let (quoted, name, kind) = (columns.next()?, columns.next()?, columns.next()?);
                (kind == "BASE TABLE" && !OWN.contains(&name)).then_some(quoted)
            })
            .collect();
        ensure!(rows.len() > 20, "the server lists {} tables", rows.len());
        lines.extend(server.sql_of_each(&format!("CHECKSUM TABLE {}", rows.join(", ")))?.lines().map(str::to_owned));
        for definitions in [
            format!(
                "SELECT 'trigger', trigger_schema, trigger_name, event_object_table, action_statement FROM information_schema.triggers WHERE trigger_schema {USERS}"
            ),
            format!(
                "SELECT 'database', schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata WHERE schema_name {USERS}"
            ),
        ] {
            lines.extend(server.sql_of_each(&definitions)?.lines().map(str::to_owned));
        }
        if tables.contains("zoo.words") {
            let found = server
                .sql_of_each("SELECT 'found', COUNT(*), SUM(id) FROM zoo.words WHERE MATCH (text) AGAINST ('tiger')")?;
            lines.insert(found.trim().to_owned());
        }
        Ok(Contents(lines))
    }

    /// In a few words the differences of a copy; empty where it is equal.
    pub fn differences(&self, copy: &Contents) -> Option<String> {
        let differing: Vec<&String> = self.0.symmetric_difference(&copy.0).collect();
        let first: Vec<&str> = differing.iter().take(SHOWN).map(|line| line.as_str()).collect();
        let missing = self.0.difference(&copy.0).count();
        (!differing.is_empty()).then(|| format!("{missing} of {} lines differ: {}", self.0.len(), first.join("; ")))
    }

    /// Every table with a checksum must have one, as evidence that it was read.
    pub fn demand_readable(&self) -> Result<()> {
        let unreadable = self.0.iter().find(|line| line.ends_with("\tNULL"));
        unreadable.map_or(Ok(()), |line| Err(anyhow::anyhow!("{line}")).context("the donor cannot read a table"))
    }
}
