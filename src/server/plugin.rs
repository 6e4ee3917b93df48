//! MySQL's CLONE plugin: what it can copy, what it needs on either server, and where it leaves the position. (MySQL
//! reference manual, "The Clone Plugin".)

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::dialect::{Dialect, Statement};
use super::storage::Storage;
use super::{Server, literal, secret_literal};
use crate::model::host::HostPort;
use crate::model::position::Position;
use crate::sys::secret::Secret;

/// The plugin's library.
pub const LIBRARY: &str = "mysql_clone.so";

/// The first version that has it.
const FIRST: (u16, u16, u16) = (8, 0, 17);

/// The least `max_allowed_packet` of either server, in bytes. (MySQL 8.4, `plugin/clone/src/clone_plugin.cc`,
/// `validate_local_params`; 3957, ER_CLONE_NETWORK_PACKET.)
const LEAST_PACKET: u64 = 2 << 20;

/// From here on servers of one series copy each other; before only those of one version.
const BY_SERIES: (u16, u16, u16) = (8, 0, 37);

/// Settings in which both servers must agree: the plugin compares them, or the copy can't be opened without.
pub const SHARED_SETTINGS: [&str; 6] = [
    "character_set_filesystem",
    "character_set_server",
    "collation_server",
    "innodb_data_file_path",
    "innodb_page_size",
    "lower_case_table_names",
];

/// Schemas of the server's own, whose tables that aren't InnoDB's hold logs and views of its state.
const OWN_SCHEMAS: &str = "'mysql', 'sys', 'information_schema', 'performance_schema'";

/// Engines whose rows are lost with the server's memory anyway.
const FLEETING: &str = "'InnoDB', 'MEMORY', 'PERFORMANCE_SCHEMA', 'BLACKHOLE'";

impl Dialect {
    /// Whether servers of this version have the plugin.
    pub fn has_clone_plugin(self) -> bool {
        matches!(self, Dialect::Mysql { version } if version >= FIRST)
    }

    /// Whether a server of this version can fetch a copy of one of that.
    pub fn can_copy(self, donor: Dialect) -> bool {
        let (Dialect::Mysql { version: own }, Dialect::Mysql { version: theirs }) = (self, donor) else { return false };
        let same_series = (own.0, own.1) == (theirs.0, theirs.1) && own.min(theirs) >= BY_SERIES;
        self.has_clone_plugin() && (own == theirs || same_series)
    }
}

/// What a recipient needs to know of a donor's server.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub port: u16,
    pub by_gtid: bool,
    pub settings: BTreeMap<String, String>,
    pub libraries: Vec<String>,
}

/// What a server holds that the plugin doesn't copy, or copies to elsewhere, in words. Asked of the donor before, and of
/// the copy after: tables may have been made meanwhile.
pub async fn what_is_not_copied(server: &mut Server) -> Result<Option<String>> {
    let query = format!(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, ' is of ', ENGINE) FROM information_schema.TABLES \
         WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE NOT IN ({FLEETING}) AND TABLE_SCHEMA NOT IN ({OWN_SCHEMAS}) LIMIT 1"
    );
    if let Some(table) = server.value(&query).await? {
        return Ok(Some(format!("the CLONE plugin copies InnoDB's tables only, and {table}: change it to InnoDB")));
    }
    let outside = "SELECT PATH FROM information_schema.INNODB_DATAFILES WHERE PATH LIKE '/%' LIMIT 1";
    let path = server.value(outside).await?;
    Ok(path.map(|path| format!("the donor keeps data outside its data directory ({path})")))
}

/// Why a server can't be copied by the plugin, in words; `None` where it can.
pub async fn why_not(server: &mut Server, storage: &Storage) -> Result<Option<String>> {
    if let Some(what) = what_is_not_copied(server).await? {
        return Ok(Some(what));
    }
    if let Some(bytes) = storage.max_allowed_packet().filter(|bytes| *bytes < LEAST_PACKET) {
        return Ok(Some(format!(
            "the CLONE plugin needs max_allowed_packet = 2M or more at the donor, which has {bytes} bytes: raise it there"
        )));
    }
    if let Some(what) = &storage.encrypted {
        return Ok(Some(format!(
            "the donor's data are encrypted ({what}): such data are copied by a backup tool only"
        )));
    }
    let setting = |names: [&str; 2]| names.iter().find_map(|name| storage.variables.get(*name)).map(String::as_str);
    let is_parallel = setting(["replica_parallel_workers", "slave_parallel_workers"])
        .is_some_and(|workers| !matches!(workers, "0" | "1"));
    let keeps_order = setting(["replica_preserve_commit_order", "slave_preserve_commit_order"]) == Some("ON");
    if has_gtid(storage) || !has_source(server).await? {
        return Ok(None);
    }
    if let Err(error) = position(server, PositionIn::ReplicationTables).await {
        return Ok(Some(format!("{error:#}")));
    }
    if is_parallel && !keeps_order {
        return Ok(Some(
            "the donor is a replica that applies in parallel and out of order, without GTID: set replica_preserve_commit_order"
                .to_owned(),
        ));
    }
    Ok(None)
}

async fn has_source(server: &mut Server) -> Result<bool> {
    Ok(!server.rows(server.dialect.show_status()).await?.is_empty())
}

fn has_gtid(storage: &Storage) -> bool {
    storage.variables.get("gtid_mode").is_some_and(|mode| mode == "ON")
}

/// What the donor's server says of itself.
pub async fn facts(server: &mut Server, storage: &Storage) -> Result<Facts> {
    let shared =
        SHARED_SETTINGS.into_iter().filter_map(|name| Some((name.to_owned(), storage.variables.get(name)?.clone())));
    let libraries = "SELECT DISTINCT PLUGIN_LIBRARY FROM information_schema.PLUGINS \
                     WHERE PLUGIN_STATUS = 'ACTIVE' AND PLUGIN_LIBRARY IS NOT NULL";
    let port = storage.variables.get("port").and_then(|port| port.parse().ok()).context("the server has no port")?;
    Ok(Facts {
        port,
        by_gtid: has_gtid(storage),
        settings: shared.collect(),
        libraries: server.column(libraries).await?,
    })
}

/// Has the plugin active on a donor. One whose recipient is gone need not wait for it: the next one comes anew.
pub async fn make_ready(server: &mut Server) -> Result<()> {
    let active = "SELECT 1 FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone' AND PLUGIN_STATUS = 'ACTIVE'";
    if server.value(active).await?.is_none() {
        let install = format!("INSTALL PLUGIN clone SONAME '{LIBRARY}'");
        server.execute(&Statement::new(install, "INSTALL PLUGIN clone")).await.with_context(|| {
            format!("the CLONE plugin is not active: set plugin_load_add = {LIBRARY} in the server's configuration")
        })?;
    }
    // Since 8.0.24.
    let known = "SHOW GLOBAL VARIABLES LIKE 'clone_donor_timeout_after_network_failure'";
    if server.value(known).await?.is_some() {
        let impatient = "SET GLOBAL clone_donor_timeout_after_network_failure = 0";
        server.execute(&Statement::new(impatient, impatient)).await?;
    }
    Ok(())
}

/// What a recipient's own server is told before it copies.
pub fn settings(donor: &HostPort, rate_limit: Option<u64>, compressed: bool) -> Vec<Statement> {
    let mut settings = vec![
        format!("SET GLOBAL clone_valid_donor_list = {}", literal(&donor.to_string())),
        format!("SET GLOBAL clone_enable_compression = {}", u8::from(compressed)),
    ];
    if let Some(bytes) = rate_limit {
        // In MiB a second; 0 would be none.
        settings.push(format!("SET GLOBAL clone_max_network_bandwidth = {}", (bytes >> 20).max(1)));
    }
    settings.into_iter().map(|text| Statement::new(text.clone(), "setting up the CLONE plugin")).collect()
}

/// Fetches a copy into a directory that must not exist.
pub fn copy(donor: &HostPort, user: &str, password: &Secret, directory: &str) -> Statement {
    let from = format!("CLONE INSTANCE FROM {}@{}:{} IDENTIFIED BY ", literal(user), literal(&donor.host), donor.port);
    let to = format!(" DATA DIRECTORY = {}", literal(directory));
    let text = Secret::joined(&[&from, secret_literal(password).reveal(), &to]);
    Statement::with_password_that_is_not_quoted(text, "CLONE INSTANCE")
}

/// How far a copy has come that a server fetches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetching {
    /// Over the network.
    pub bytes: u64,
    pub stages_done: u64,
}

/// Asks how far it has come.
pub async fn fetching(server: &mut Server) -> Result<Fetching> {
    let query = "SELECT CAST(SUM(NETWORK) AS UNSIGNED) AS bytes, \
                 CAST(SUM(STATE = 'Completed') AS UNSIGNED) AS stages_done FROM performance_schema.clone_progress";
    let rows = server.rows(query).await?;
    let number = |name| rows.first()?.get(name)?.as_deref()?.parse().ok();
    let fetching = || Some(Fetching { bytes: number("bytes")?, stages_done: number("stages_done")? });
    fetching().context("the server says nothing of a copy")
}

/// Where the position of a copy stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PositionIn {
    /// The set of the transactions that it holds.
    GtidExecuted,
    /// The donor's own place in its log when it was copied: right where the donor was the primary.
    CloneStatus,
    /// A replica's place in its source's log, as its tables have it, transaction by transaction.
    ReplicationTables,
}

/// Reads a copy's position from a server that runs on it.
pub async fn position(server: &mut Server, place: PositionIn) -> Result<Position> {
    match place {
        PositionIn::GtidExecuted => {
            let executed = server.value("SELECT @@GLOBAL.gtid_executed").await?.unwrap_or_default();
            // Long sets come in lines.
            Ok(Position::MysqlGtid { executed: executed.split_whitespace().collect() })
        }
        PositionIn::CloneStatus => {
            let rows = server.rows("SELECT BINLOG_FILE, BINLOG_POSITION FROM performance_schema.clone_status").await?;
            let found = rows.iter().filter_map(|row| in_log(row, "BINLOG_FILE", "BINLOG_POSITION"));
            furthest(found).context("the copy has no position: the donor's server has no binary log; set log_bin there")
        }
        PositionIn::ReplicationTables => {
            let named = "SELECT Channel_name FROM mysql.slave_relay_log_info WHERE Channel_name <> '' LIMIT 1";
            if let Some(channel) = server.value(named).await? {
                bail!("the donor has a source besides its primary (channel {channel:?}): only one is supported");
            }
            // With several appliers the first table lags, and each of them keeps its own place in the second; they commit
            // in order, so the furthest of all is how far all has come.
            let rows = server
                .rows(
                    "SELECT Master_log_name, Master_log_pos FROM mysql.slave_relay_log_info \
                     UNION SELECT Master_log_name, Master_log_pos FROM mysql.slave_worker_info",
                )
                .await?;
            let found = rows.iter().filter_map(|row| in_log(row, "Master_log_name", "Master_log_pos"));
            furthest(found).context("the donor is a replica, but its copy does not say where its source was")
        }
    }
}

fn in_log(row: &super::NamedRow, file: &str, offset: &str) -> Option<Position> {
    let text = |name: &str| row.get(name).cloned().flatten().filter(|text| !text.is_empty());
    Some(Position::BinlogFile { file: text(file)?, offset: text(offset)?.parse().ok()? })
}

fn furthest(positions: impl Iterator<Item = Position>) -> Option<Position> {
    positions.reduce(|furthest, other| if other.covers(&furthest) == Some(true) { other } else { furthest })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(version: &str) -> Dialect {
        Dialect::of(version).unwrap()
    }

    #[test]
    fn who_copies_whom() {
        let can = |own: &str, theirs: &str| dialect(own).can_copy(dialect(theirs));
        assert!(
            can("8.0.17", "8.0.17") && can("8.0.36-28", "8.0.36") && can("8.4.3", "8.4.0") && can("8.0.40", "8.0.37")
        );
        assert!(
            !can("8.0.36", "8.0.35") && !can("8.0.37", "8.0.36") && !can("8.4.0", "8.0.40") && !can("9.7.4", "9.6.0")
        );
        assert!(!can("8.0.16", "8.0.16") && !can("5.7.44", "5.7.44") && !can("10.11.19-MariaDB", "10.11.19-MariaDB"));
    }

    #[test]
    fn a_password_stands_in_no_statements_short_form() {
        let donor = HostPort { host: "mysql-0.mysql".into(), port: 3306 };
        let statement = copy(&donor, "it's", &Secret::new("geheim"), "/volume/stage");
        assert_eq!(
            statement.text(),
            "CLONE INSTANCE FROM 'it''s'@'mysql-0.mysql':3306 IDENTIFIED BY 'geheim' DATA DIRECTORY = '/volume/stage'"
        );
        assert!(!statement.what.contains("geheim"));
        assert_eq!(settings(&donor, Some(1), true)[2].text(), "SET GLOBAL clone_max_network_bandwidth = 1");
    }

    #[test]
    fn the_furthest_place_counts() {
        let at = |file: &str, offset| Position::BinlogFile { file: file.into(), offset };
        let places = [at("b.000009", 900), at("b.000010", 4), at("b.000010", 700), at("b.000010", 500)];
        assert_eq!(furthest(places.into_iter()), Some(at("b.000010", 700)));
        assert_eq!(furthest([].into_iter()), None);
    }
}
