//! How a server stores its data, as far as a copy of them depends on it.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Server;
use super::dialect::Dialect;

/// Variables that name a place where data lie; relative to the data directory where they don't begin with a slash.
const PLACES: [&str; 7] = [
    "innodb_data_home_dir",
    "innodb_log_group_home_dir",
    "innodb_undo_directory",
    "aria_log_dir_path",
    "log_bin_basename",
    "relay_log_basename",
    "rocksdb_datadir",
];

/// Variables of logs that a backup doesn't copy.
const LOGS: [&str; 2] = ["log_bin_basename", "relay_log_basename"];

/// Variables that say that what a backup copies is encrypted beside tables. Encrypted binary and relay logs, and temporary
/// files, are in no copy.
const ENCRYPTING: [&str; 5] = [
    "innodb_encrypt_log",
    "aria_encrypt_tables",
    "innodb_redo_log_encrypt",
    "innodb_undo_log_encrypt",
    "innodb_sys_tablespace_encrypt",
];

/// What was found.
#[derive(Debug)]
pub struct Storage {
    /// All of the server's, by their names in small letters.
    pub variables: BTreeMap<String, String>,
    /// Whether tables or logs are encrypted, and which.
    pub encrypted: Option<String>,
}

impl Storage {
    /// Asks a server. The account needs PROCESS to see which tables are encrypted.
    pub async fn of(server: &mut Server) -> Result<Storage> {
        let rows = server.rows("SHOW GLOBAL VARIABLES").await?;
        let text = |row: &super::NamedRow, name: &str| row.get(name).cloned().flatten();
        let variables: BTreeMap<String, String> = rows
            .iter()
            .filter_map(|row| Some((text(row, "Variable_name")?.to_ascii_lowercase(), text(row, "Value")?)))
            .collect();
        let mut storage = Storage { variables, encrypted: None };
        storage.encrypted = storage.encrypted_part(server).await?;
        Ok(storage)
    }

    /// InnoDB's page size in bytes.
    pub fn page_size(&self) -> Option<u64> {
        self.get("innodb_page_size")?.parse().ok()
    }

    /// The longest message that the server takes or sends, in bytes.
    pub fn max_allowed_packet(&self) -> Option<u64> {
        self.get("max_allowed_packet")?.parse().ok()
    }

    /// How the server writes and compares the names of tables.
    pub fn lower_case_table_names(&self) -> Option<u8> {
        self.get("lower_case_table_names")?.parse().ok()
    }

    /// Bytes that the redo log takes: a server makes it anew on a copy.
    pub fn redo_log_bytes(&self) -> u64 {
        let number = |name: &str| self.get(name).and_then(|value| value.parse::<u64>().ok());
        let files = number("innodb_log_files_in_group").unwrap_or(1);
        let by_file = number("innodb_log_file_size").unwrap_or_default().saturating_mul(files);
        number("innodb_redo_log_capacity").unwrap_or(by_file)
    }

    /// A setting by which data lie outside the data directory, as `name = value`.
    pub fn outside(&self) -> Option<String> {
        let data_dir = self.get("datadir").unwrap_or_default().trim_end_matches('/');
        let is_outside = |place: &str| {
            let below = place.strip_prefix(data_dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (place.starts_with('/') && !below) || place.split('/').any(|part| part == "..")
        };
        let files = self.get("innodb_data_file_path").unwrap_or_default();
        let files = files.split(';').filter_map(|file| file.split(':').next());
        let places = PLACES.into_iter().filter_map(|name| Some((name, self.get(name)?)));
        let mut all = places.chain(files.map(|file| ("innodb_data_file_path", file)));
        all.find(|(_, place)| is_outside(place)).map(|(name, place)| format!("{name} = {place}"))
    }

    /// What the names of files begin with that a backup doesn't copy.
    pub fn uncopied_logs(&self) -> Vec<String> {
        let base = |name: &str| Some(self.get(name)?.rsplit('/').next()?.to_owned());
        LOGS.into_iter().filter_map(base).filter(|base| !base.is_empty()).map(|base| format!("{base}.")).collect()
    }

    /// The server's socket, by its full name.
    pub fn socket(&self) -> Option<&str> {
        self.get("socket")
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// A setting by which logs or system tablespaces are encrypted. Percona Server's have more values than ON and OFF.
    fn encrypting_setting(&self) -> Option<String> {
        let is_on = |name: &&str| self.get(name).is_some_and(|value| !matches!(value, "OFF" | "0" | "NO" | ""));
        ENCRYPTING.iter().find(|name| is_on(name)).map(|name| (*name).to_owned())
    }

    async fn encrypted_part(&self, server: &mut Server) -> Result<Option<String>> {
        if let Some(setting) = self.encrypting_setting() {
            return Ok(Some(setting));
        }
        let Some(query) = query_for_encrypted(server.dialect) else { return Ok(None) };
        Ok(server.value(query).await?.map(|table| format!("the table {table}")))
    }
}

/// Asks for an encrypted table, of servers that may have one. A column says so since 8.0.13; before, InnoDB's own flag of a
/// tablespace does. (`FSP_FLAGS_POS_ENCRYPTION` in fsp0types.h; seen with 5.7.18: 8225 against 33)
fn query_for_encrypted(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Mariadb => Some(
            "SELECT NAME FROM information_schema.INNODB_TABLESPACES_ENCRYPTION WHERE ENCRYPTION_SCHEME <> 0 LIMIT 1",
        ),
        Dialect::Mysql { version } if version >= (8, 0, 13) => {
            Some("SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE ENCRYPTION = 'Y' LIMIT 1")
        }
        Dialect::Mysql { version } if version >= (8, 0, 0) => {
            Some("SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE FLAG & 8192 LIMIT 1")
        }
        Dialect::Mysql { version } if version >= (5, 7, 0) => {
            Some("SELECT NAME FROM information_schema.INNODB_SYS_TABLESPACES WHERE FLAG & 8192 LIMIT 1")
        }
        // No table is encrypted before 5.7.11.
        Dialect::Mysql { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(variables: &[(&str, &str)]) -> Storage {
        let all = [("datadir", "/var/lib/mysql/")].iter().chain(variables);
        let variables = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Storage { variables, encrypted: None }
    }

    #[test]
    fn what_lies_elsewhere_is_named() {
        for (name, place) in [
            ("innodb_log_group_home_dir", "/redo"),
            ("innodb_undo_directory", "/var/lib/mysql-undo/"),
            ("innodb_undo_directory", "../undo"),
            ("log_bin_basename", "/binlogs/mysql-bin"),
            ("innodb_data_file_path", "/fast/ibdata1:12M:autoextend"),
        ] {
            let found = storage(&[(name, place)]).outside();
            assert!(found.is_some_and(|found| found.starts_with(name)), "{name} = {place}");
        }
        let usual = storage(&[
            ("innodb_log_group_home_dir", "./"),
            ("innodb_undo_directory", "/var/lib/mysql/undo"),
            ("innodb_data_home_dir", ""),
            ("log_bin_basename", "/var/lib/mysql/mysql-bin"),
            ("innodb_data_file_path", "ibdata1:12M:autoextend;ibdata2:12M"),
        ]);
        assert_eq!(usual.outside(), None);
        assert_eq!(usual.uncopied_logs(), ["mysql-bin."]);
    }

    #[test]
    fn each_series_is_asked_for_encrypted_tables_in_its_words() {
        for (version, words) in [
            ((5, 6, 51), None),
            ((5, 7, 11), Some("INNODB_SYS_TABLESPACES WHERE FLAG & 8192")),
            ((5, 7, 44), Some("INNODB_SYS_TABLESPACES WHERE FLAG & 8192")),
            ((8, 0, 12), Some("INNODB_TABLESPACES WHERE FLAG & 8192")),
            ((8, 0, 13), Some("INNODB_TABLESPACES WHERE ENCRYPTION = 'Y'")),
            ((9, 7, 4), Some("INNODB_TABLESPACES WHERE ENCRYPTION = 'Y'")),
        ] {
            let query = query_for_encrypted(Dialect::Mysql { version });
            assert_eq!(query.is_some(), words.is_some(), "{version:?}");
            assert!(query.unwrap_or_default().contains(words.unwrap_or_default()), "{version:?}");
        }
        assert!(query_for_encrypted(Dialect::Mariadb).is_some());
    }

    #[test]
    fn encrypted_logs_are_known_by_the_servers_variables() {
        let found = |name, value| storage(&[(name, value)]).encrypting_setting();
        for (name, value) in [
            ("innodb_encrypt_log", "ON"),
            ("innodb_redo_log_encrypt", "MASTER_KEY"),
            ("innodb_undo_log_encrypt", "ON"),
            ("innodb_sys_tablespace_encrypt", "ON"),
        ] {
            assert_eq!(found(name, value).as_deref(), Some(name));
            assert_eq!(found(name, "OFF"), None);
        }
        assert_eq!(found("encrypt_binlog", "ON"), None);
    }

    #[test]
    fn the_redo_log_of_each_series() {
        let mysql57 = storage(&[("innodb_log_file_size", "50331648"), ("innodb_log_files_in_group", "2")]);
        assert_eq!(mysql57.redo_log_bytes(), 96 << 20);
        assert_eq!(storage(&[("innodb_log_file_size", "100663296")]).redo_log_bytes(), 96 << 20);
        let mysql8 = storage(&[("innodb_redo_log_capacity", "104857600"), ("innodb_log_file_size", "50331648")]);
        assert_eq!(mysql8.redo_log_bytes(), 100 << 20);
    }
}
