//! What a server's binary log still holds, and what it has applied of its source's.

use anyhow::{Context, Result};

use super::dialect::Dialect;
use super::status::ReplicationStatus;
use super::{Server, literal};
use crate::model::position::{Position, history};

/// What a server has applied and fetched of the set's history.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    pub applied: Option<Position>,
    pub fetched: Option<Position>,
}

/// How far a server has come: by GTID where it has any, a replica else by its source's file and offset.
pub async fn progress(server: &mut Server, status: Option<&ReplicationStatus>) -> Result<Progress> {
    let dialect = server.dialect;
    let reached = match goes_by_gtid(server, status).await? {
        true => server.value(dialect.reached_gtid()).await?.unwrap_or_default(),
        false => String::new(),
    };
    let by_gtid = |gtid: String| dialect.position_by_gtid(gtid);
    let fetched_gtid = status.map(|status| status.fetched_gtid.as_str()).unwrap_or_default();
    let in_log = |file: &str, offset| Position::BinlogFile { file: file.to_owned(), offset };
    Ok(match (dialect, status) {
        (Dialect::Mariadb, Some(_)) => {
            let fetched = (!fetched_gtid.is_empty()).then(|| by_gtid(fetched_gtid.to_owned()));
            Progress { applied: Some(by_gtid(reached)), fetched }
        }
        (Dialect::Mysql { .. }, _) if !reached.is_empty() => {
            // A union of sets is their texts in one.
            let fetched = (!fetched_gtid.is_empty()).then(|| by_gtid(format!("{reached},{fetched_gtid}")));
            Progress { applied: Some(by_gtid(reached)), fetched }
        }
        (Dialect::Mysql { .. }, Some(status)) => Progress {
            applied: Some(in_log(&status.applied_file, status.applied_offset)),
            fetched: Some(in_log(&status.fetched_file, status.fetched_offset)),
        },
        // A primary's, or a replica's that has lost its source: what it wrote itself counts too.
        (Dialect::Mariadb, None) => {
            let current = server.value("SELECT @@GLOBAL.gtid_current_pos").await?.unwrap_or_default();
            Progress { applied: Some(Position::MariadbGtid { slave_pos: current }), fetched: None }
        }
        (Dialect::Mysql { .. }, None) => Progress::default(),
    })
}

/// Where a server's data end that were a primary's, by GTID: all that it wrote itself, whatever its server id was, and all
/// that it once applied. `None` where it has no GTIDs.
pub async fn own_position(server: &mut Server) -> Result<Option<Position>> {
    let dialect = server.dialect;
    if !goes_by_gtid(server, None).await? {
        return Ok(None);
    }
    let gtid = match dialect {
        Dialect::Mariadb => {
            let written = server.value("SELECT @@GLOBAL.gtid_binlog_pos").await?.unwrap_or_default();
            let applied = server.value("SELECT @@GLOBAL.gtid_slave_pos").await?.unwrap_or_default();
            history::mariadb_furthest(&written, &applied)
        }
        Dialect::Mysql { .. } => server.value(dialect.reached_gtid()).await?.unwrap_or_default(),
    };
    Ok((!gtid.is_empty()).then(|| dialect.position_by_gtid(gtid)))
}

/// Whether GTIDs say how far a server has come. One that once had them keeps those that it knew.
async fn goes_by_gtid(server: &mut Server, status: Option<&ReplicationStatus>) -> Result<bool> {
    let dialect = server.dialect;
    if dialect == Dialect::Mariadb || status.is_some_and(|status| status.by_gtid) {
        return Ok(true);
    }
    Ok(server.value("SELECT @@GLOBAL.gtid_mode").await?.is_some_and(|mode| mode == "ON"))
}

/// Why no replica can start from `position` on this server; `None` where one can.
pub async fn why_cannot_follow(server: &mut Server, position: &Position) -> Result<Option<String>> {
    match position {
        Position::BinlogFile { file, offset } => {
            let logs = server.rows("SHOW BINARY LOGS").await?;
            let size = logs.iter().find_map(|log| {
                let is_it = log.get("Log_name")?.as_deref() == Some(file);
                is_it.then(|| log.get("File_size")?.as_deref()?.parse::<u64>().ok())?
            });
            Ok(match size {
                Some(size) if size >= *offset => None,
                Some(size) => Some(format!("{file} ends at {size}, before {offset}")),
                None => Some(format!("{file} was purged")),
            })
        }
        Position::MariadbGtid { slave_pos } => {
            let written = server.value("SELECT @@GLOBAL.gtid_current_pos").await?.unwrap_or_default();
            let logged = server.value("SELECT @@GLOBAL.gtid_binlog_pos").await?.unwrap_or_default();
            let begins_after = beginning_of_logs(server).await?;
            Ok(if !history::mariadb_covers(&format!("{written},{logged}"), slave_pos) {
                Some(format!("its log ends at {written}, before {slave_pos}"))
            } else if !history::mariadb_covers(slave_pos, &begins_after) {
                Some(format!("its log begins after {begins_after}; what comes after {slave_pos} was purged"))
            } else {
                None
            })
        }
        Position::MysqlGtid { executed } => {
            let has = server.value("SELECT @@GLOBAL.gtid_executed").await?.unwrap_or_default();
            let purged = server.value("SELECT @@GLOBAL.gtid_purged").await?.unwrap_or_default();
            Ok(if !history::mysql_covers(&has, executed) {
                Some(format!("it has executed {has}, which {executed} goes beyond"))
            } else if !history::mysql_covers(executed, &purged) {
                Some(format!("it has purged {purged}, of which {executed} lacks some"))
            } else {
                None
            })
        }
    }
}

/// The GTID position before the first event that MariaDB still has.
pub async fn beginning_of_logs(server: &mut Server) -> Result<String> {
    let logs = server.rows("SHOW BINARY LOGS").await?;
    let Some(first) = logs.first().and_then(|log| log.get("Log_name").cloned().flatten()) else {
        return Ok(String::new());
    };
    // NULL is no position. MariaDB 12.3 may keep its logs in InnoDB, with other names and places.
    let position = server.value(&format!("SELECT BINLOG_GTID_POS({}, 4)", literal(&first))).await?;
    position.with_context(|| format!("the server does not say which GTIDs lie before its first binary log, {first}"))
}

/// All that a server ever wrote to its binary log, in the form that [`what_is_unknown`] takes.
pub async fn own_history(server: &mut Server) -> Result<String> {
    let query = match server.dialect {
        Dialect::Mariadb => "SELECT @@GLOBAL.gtid_binlog_state",
        Dialect::Mysql { .. } => "SELECT @@GLOBAL.gtid_executed",
    };
    Ok(server.value(query).await?.unwrap_or_default())
}

/// What this server doesn't have of another's history; empty where it has all of it.
pub async fn what_is_unknown(server: &mut Server, other: &str) -> Result<String> {
    let own = own_history(server).await?;
    Ok(match server.dialect {
        Dialect::Mariadb => {
            let position = server.value("SELECT @@GLOBAL.gtid_slave_pos").await?.unwrap_or_default();
            history::mariadb_unknown(other, &own, &position).join(",")
        }
        Dialect::Mysql { .. } if history::mysql_covers(&own, other) => String::new(),
        Dialect::Mysql { .. } => format!("something of {other}"),
    })
}
