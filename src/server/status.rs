//! The state of replication as a server reports it, in either vocabulary.

use anyhow::Result;
use serde::Serialize;

use super::connection::Server;
use super::refusal::Refusal;
use super::rows::NamedRow;
use crate::model::host::HostPort;
use crate::model::position::Position;

/// One of replication's two threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thread {
    Running,
    /// The receiver only: it tries to reach the source.
    Connecting,
    #[default]
    Stopped,
}

/// One row of `SHOW REPLICA STATUS` or `SHOW SLAVE STATUS`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReplicationStatus {
    pub source_host: String,
    pub source_port: u16,
    pub source_user: String,
    /// Fetches the source's binary log.
    pub receiver: Thread,
    /// Applies what was fetched.
    pub applier: Thread,
    /// How far the applier is behind, in seconds, where the server knows.
    pub lag_seconds: Option<u64>,
    pub by_gtid: bool,
    /// How far the source's binary log was applied.
    pub applied_file: String,
    pub applied_offset: u64,
    /// How far it was fetched.
    pub fetched_file: String,
    pub fetched_offset: u64,
    /// The same by GTID, where replication is by GTID.
    pub fetched_gtid: String,
    /// The number of the receiver's latest error; 0 where there is none.
    pub receiver_error: u32,
    /// The receiver's latest error in the server's words.
    pub receiver_error_text: String,
    /// The number of the applier's latest error; 0 where there is none.
    pub applier_error: u32,
    /// The applier's latest error in the server's words, without the statement.
    pub applier_error_text: String,
    /// The latest error of either thread.
    pub error: Option<String>,
}

impl ReplicationStatus {
    /// Reads a row.
    pub fn from_row(row: &NamedRow) -> ReplicationStatus {
        let text =
            |names: [&str; 2]| names.iter().find_map(|name| row.get(*name).cloned().flatten()).unwrap_or_default();
        let by_gtid = match row.get("Using_Gtid").cloned().flatten() {
            Some(mariadb) => mariadb != "No",
            None => text(["Auto_Position", "Auto_Position"]) == "1",
        };
        let error = [("Last_IO_Errno", "Last_IO_Error"), ("Last_SQL_Errno", "Last_SQL_Error")].into_iter().find_map(
            |(number, message)| {
                let number = row.get(number).cloned().flatten().filter(|number| number != "0")?;
                Some(format!("error {number}: {}", without_statement(&text([message, message]))))
            },
        );
        ReplicationStatus {
            source_host: text(["Source_Host", "Master_Host"]),
            source_port: text(["Source_Port", "Master_Port"]).parse().unwrap_or_default(),
            source_user: text(["Source_User", "Master_User"]),
            receiver: thread(&text(["Replica_IO_Running", "Slave_IO_Running"])),
            applier: thread(&text(["Replica_SQL_Running", "Slave_SQL_Running"])),
            lag_seconds: text(["Seconds_Behind_Source", "Seconds_Behind_Master"]).parse().ok(),
            by_gtid,
            applied_file: text(["Relay_Source_Log_File", "Relay_Master_Log_File"]),
            applied_offset: text(["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"]).parse().unwrap_or_default(),
            fetched_file: text(["Source_Log_File", "Master_Log_File"]),
            fetched_offset: text(["Read_Source_Log_Pos", "Read_Master_Log_Pos"]).parse().unwrap_or_default(),
            fetched_gtid: text(["Gtid_IO_Pos", "Retrieved_Gtid_Set"]).replace(char::is_whitespace, ""),
            receiver_error: text(["Last_IO_Errno", "Last_IO_Errno"]).parse().unwrap_or_default(),
            receiver_error_text: without_statement(&text(["Last_IO_Error", "Last_IO_Error"])).to_owned(),
            applier_error: text(["Last_SQL_Errno", "Last_SQL_Errno"]).parse().unwrap_or_default(),
            applier_error_text: without_statement(&text(["Last_SQL_Error", "Last_SQL_Error"])).to_owned(),
            error,
        }
    }

    /// Whether both threads run.
    pub fn runs(&self) -> bool {
        self.receiver == Thread::Running && self.applier == Thread::Running
    }

    /// Whether neither thread does anything.
    pub fn stands_still(&self) -> bool {
        self.receiver == Thread::Stopped && self.applier == Thread::Stopped
    }

    /// Why the source lasts in refusing this server, where it is there and does.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.receiver {
            Thread::Running => None,
            _ => Refusal::of(self.receiver_error).or_else(|| self.refused_command()),
        }
    }

    /// A source lets an account in and refuses its first command: the number is in the text. (ER_SLAVE_MASTER_COM_FAILURE,
    /// and MySQL's as its log has it)
    fn refused_command(&self) -> Option<Refusal> {
        if ![1597, 13120].contains(&self.receiver_error) {
            return None;
        }
        let (_, rest) = self.receiver_error_text.split_once("(Errno: ")?;
        let code = rest.split(')').next()?.trim().parse().ok()?;
        // The password was right, or the account would not have come so far.
        Refusal::of(code).map(|refusal| if refusal == Refusal::Password { Refusal::Privilege } else { refusal })
    }

    /// Whether the server follows this source as this user.
    pub fn follows(&self, source: &HostPort, user: &str) -> bool {
        self.source_host == source.host && self.source_port == source.port && self.source_user == user
    }

    /// Whether the source's log was applied beyond a place in it.
    pub fn is_beyond(&self, file: &str, offset: u64) -> bool {
        let place = |file: &str, offset| Position::BinlogFile { file: file.to_owned(), offset };
        let place_before = place(file, offset);
        place_before.covers(&place(&self.applied_file, self.applied_offset)) == Some(false)
    }
}

/// `Error '…' on query. Default database: '…'. Query: '…'`: the statement at the end may hold a password.
fn without_statement(error: &str) -> &str {
    let before = |text: &'_ str, words: &str| text.find(words).unwrap_or(text.len());
    // A syntax error quotes a part of it: `… for the right syntax to use near '…' at line 1'`.
    &error[..before(error, ". Query: '").min(before(error, " near '"))]
}

fn thread(text: &str) -> Thread {
    match text {
        "Yes" => Thread::Running,
        "Connecting" | "Preparing" => Thread::Connecting,
        _ => Thread::Stopped,
    }
}

/// What a server says about replication; `None` where it has no source.
pub async fn replication_status(server: &mut Server) -> Result<Option<ReplicationStatus>> {
    let rows = server.rows(server.dialect.show_status()).await?;
    // MySQL lists named channels too, which are none of ours.
    let named = |row: &&NamedRow| row.get("Channel_Name").cloned().flatten().is_some_and(|name| !name.is_empty());
    Ok(rows.iter().find(|row| !named(row)).map(ReplicationStatus::from_row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_privilege_that_is_missing_is_told_behind_another_number() {
        let of = |receiver_error, text: &str| {
            let receiver_error_text = text.to_owned();
            let receiver = Thread::Connecting;
            ReplicationStatus { receiver, receiver_error, receiver_error_text, ..Default::default() }.refusal()
        };
        let denied = "Master command COM_REGISTER_SLAVE failed: Access denied for user 'r'@'%' (using password: YES) (Errno: 1045)";
        assert_eq!(of(1597, denied), Some(Refusal::Privilege));
        assert_eq!(of(13120, &denied.replace("Master", "Source")), Some(Refusal::Privilege));
        assert_eq!(of(1597, "Master command COM_REGISTER_SLAVE failed: failed registering on master"), None);
        assert_eq!(of(2003, denied), None);
    }

    fn row(columns: &[(&str, &str)]) -> NamedRow {
        columns.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect()
    }

    #[test]
    fn reads_both_vocabularies() {
        let mariadb = ReplicationStatus::from_row(&row(&[
            ("Master_Host", "mysql-0.mysql"),
            ("Master_Port", "3306"),
            ("Master_User", "root"),
            ("Slave_IO_Running", "Connecting"),
            ("Slave_SQL_Running", "Yes"),
            ("Using_Gtid", "Slave_Pos"),
            ("Last_IO_Errno", "2003"),
            ("Last_IO_Error", "can't connect"),
            ("Last_SQL_Errno", "0"),
        ]));
        assert!(mariadb.follows(&HostPort { host: "mysql-0.mysql".into(), port: 3306 }, "root"));
        assert_eq!((mariadb.receiver, mariadb.applier), (Thread::Connecting, Thread::Running));
        assert!(mariadb.by_gtid && !mariadb.runs());
        assert_eq!(mariadb.error.as_deref(), Some("error 2003: can't connect"));
        assert_eq!(mariadb.lag_seconds, None);

        let mysql = ReplicationStatus::from_row(&row(&[
            ("Source_Host", "mysql-0.mysql"),
            ("Replica_IO_Running", "Yes"),
            ("Replica_SQL_Running", "Yes"),
            ("Auto_Position", "0"),
            ("Seconds_Behind_Source", "3"),
        ]));
        assert!(mysql.runs() && !mysql.by_gtid);
        assert_eq!(mysql.lag_seconds, Some(3));
    }

    #[test]
    fn a_statement_that_failed_is_shown_nowhere() {
        let status = ReplicationStatus::from_row(&row(&[
            ("Slave_SQL_Running", "No"),
            ("Last_SQL_Errno", "1396"),
            (
                "Last_SQL_Error",
                "Error 'Operation CREATE USER failed for 'a'@'%'' on query. Default database: 'd'. Query: 'CREATE USER a \
                 IDENTIFIED BY 'geheim''",
            ),
        ]));
        let expected = "Error 'Operation CREATE USER failed for 'a'@'%'' on query. Default database: 'd'";
        assert_eq!((status.applier_error, status.applier_error_text.as_str()), (1396, expected));
        assert!(!serde_json::to_string(&status).unwrap().contains("geheim"));
        let syntax = "Error 'You have an error in your SQL syntax; check the manual for the right syntax to use near \
                      'IDENTIFIED BY 'geheim'' at line 1' on query. Default database: ''. Query: 'x'";
        assert!(!without_statement(syntax).contains("geheim"));
    }

    #[test]
    fn places_in_a_log_are_ordered_by_file_number_then_offset() {
        let status = ReplicationStatus::from_row(&row(&[
            ("Relay_Master_Log_File", "mysql-bin.000010"),
            ("Exec_Master_Log_Pos", "500"),
        ]));
        assert!(status.is_beyond("mysql-bin.000009", 9999));
        assert!(status.is_beyond("mysql-bin.000010", 499));
        assert!(!status.is_beyond("mysql-bin.000010", 500));
        assert!(!status.is_beyond("mysql-bin.000011", 4));
    }
}
