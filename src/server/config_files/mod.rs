//! What the server's configuration files say, where a clone depends on it.
//!
//! The files are those that the server reads: `/etc/my.cnf` and `/etc/mysql/my.cnf` with what they include, and the directory
//! of `--server-config`, in which the pod's own settings lie. What stands only in the arguments of the server's container
//! is not seen.

mod option_file;
mod places;
pub mod server_id;

use std::path::Path;

use anyhow::Result;

use crate::model::exit::Reason;
pub use option_file::{Setting, lines, setting};
pub use places::{Elsewhere, Named, Place};

/// Where both families' servers look first.
const MAIN_FILES: [&str; 2] = ["/etc/my.cnf", "/etc/mysql/my.cnf"];

/// Groups that servers read.
const GROUPS: [&str; 5] = ["mysqld", "server", "mariadb", "mariadbd", "client-server"];

/// Groups that the servers of one series read: `mysqld-8.0`, `mariadb-10.11`.
const GROUPS_OF_SERIES: [&str; 3] = ["mysqld-", "mariadb-", "mariadbd-"];

/// The data directory of the packages and images.
const DEFAULT_DATA_DIR: &str = "/var/lib/mysql";

/// Where InnoDB's system tablespace lies, where nothing else is said.
const DEFAULT_DATA_FILE: &str = "ibdata1";

/// The settings of the server's groups.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    settings: Vec<Setting>,
}

impl ServerConfig {
    /// Reads the configuration of a server of this series (`10.11`); where none is known, of any.
    pub fn read(directory: &Path, series: Option<&str>) -> Result<ServerConfig> {
        ServerConfig::of_files(&MAIN_FILES.map(Path::new), directory, series).map_err(|error| {
            Reason::Refused.because(error.context("the server's configuration can't be read (--server-config)"))
        })
    }

    fn of_files(main: &[&Path], directory: &Path, series: Option<&str>) -> Result<ServerConfig> {
        let is_wanted = |group: &str| is_servers(group, series);
        let mut reader = option_file::Reader::of(&is_wanted);
        for file in main {
            reader.file(file)?;
        }
        reader.directory(directory)?;
        Ok(ServerConfig { settings: reader.settings() })
    }

    /// What a text in the form of an option file says.
    #[cfg(test)]
    pub fn of_text(text: &str) -> ServerConfig {
        ServerConfig { settings: text.lines().filter_map(setting).collect() }
    }

    /// All settings, the last of one name counts.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The value that counts: `None` where nothing is said or it is taken back (`skip-log-bin`), empty where none is
    /// given.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = None;
        for setting in &self.settings {
            let stripped = |prefix: &str| setting.name.strip_prefix(prefix) == Some(name);
            if setting.name == name || stripped("enable_") {
                found = Some(setting.value.as_deref().unwrap_or_default());
            } else if stripped("skip_") || stripped("disable_") {
                found = None;
            }
        }
        found
    }

    /// InnoDB's page size in bytes.
    pub fn page_size(&self) -> Option<u64> {
        bytes(self.get("innodb_page_size")?)
    }

    /// How the server writes and compares the names of tables: 0 as they are said, 1 and 2 without regard to case.
    pub fn lower_case_table_names(&self) -> Option<u8> {
        match self.get("lower_case_table_names")? {
            // Named without a value. Servers take it for 1.
            "" => Some(1),
            value => value.parse().ok(),
        }
    }

    /// The names of the files of InnoDB's system tablespace, as they are said.
    pub fn data_files(&self) -> Vec<String> {
        match self.get("innodb_data_file_path").filter(|path| !path.is_empty()) {
            Some(path) => data_files(path),
            None => vec![DEFAULT_DATA_FILE.to_owned()],
        }
    }

    /// The data directory, as the server calls it.
    pub fn data_dir(&self) -> &str {
        self.get("datadir").filter(|path| !path.is_empty()).unwrap_or(DEFAULT_DATA_DIR)
    }
}

/// The names in a value of `innodb_data_file_path`.
pub fn data_files(path: &str) -> Vec<String> {
    let names = path.split(';').filter_map(|file| file.split(':').next()).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn is_servers(group: &str, series: Option<&str>) -> bool {
    let of_series = GROUPS_OF_SERIES.iter().find_map(|start| group.strip_prefix(start));
    match (of_series, series) {
        (Some(version), Some(series)) => {
            version == series || series.split('.').next().is_some_and(|major| version == major)
        }
        (Some(version), None) => version.starts_with(|first: char| first.is_ascii_digit()),
        (None, _) => GROUPS.contains(&group),
    }
}

/// A number with one of the units that servers know.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_for_the_server_counts() {
        let directory = tempfile::tempdir().unwrap();
        let read = || ServerConfig::of_files(&[], directory.path(), None).unwrap();
        assert_eq!(read().page_size(), None);
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("a.cnf", "[mysqld]\ninnodb-page-size = 8k # small\n[client]\ninnodb_page_size=4k\n");
        write("b.cnf.off", "[mysqld]\ninnodb_page_size=64k\n");
        assert_eq!(read().page_size(), Some(8192));
        write("b.cnf", "[mariadb]\ninnodb_page_size=32768\n");
        assert_eq!(read().page_size(), Some(32768));
    }

    #[test]
    fn groups_of_another_series_do_not_count() {
        for (group, series, counts) in [
            ("mysqld", Some("8.0"), true),
            ("server", None, true),
            ("mysqld-8.0", Some("8.0"), true),
            ("mysqld-5.7", Some("8.0"), false),
            ("mariadb-10.11", Some("10.11"), true),
            ("mariadb-10.6", Some("10.11"), false),
            ("mariadbd-11", Some("11.8"), true),
            ("mysqld-8.0", None, true),
            ("mariadb-backup", None, false),
            ("mysqldump", None, false),
            ("client", Some("8.0"), false),
        ] {
            assert_eq!(is_servers(group, series), counts, "{group} {series:?}");
        }
    }

    #[test]
    fn a_setting_may_be_taken_back_and_given_in_many_words() {
        let get = |text: &str| ServerConfig::of_text(text).get("log_bin").map(str::to_owned);
        assert_eq!(get("log-bin = binlogs/b"), Some("binlogs/b".into()));
        assert_eq!(get("log_bin=a\nloose-log-bin=b"), Some("b".into()));
        assert_eq!(get("log_bin"), Some(String::new()));
        assert_eq!(get("log_bin=a\nskip-log-bin"), None);
        assert_eq!(get("disable_log_bin\nlog_bin=a"), Some("a".into()));
        assert_eq!(get("log_bin_index=a"), None);
    }

    #[test]
    fn system_tablespaces_are_what_the_server_is_told() {
        let files = |text: &str| ServerConfig::of_text(text).data_files();
        assert_eq!(files(""), ["ibdata1"]);
        assert_eq!(files("innodb_data_file_path = sys1:12M;sys2:12M:autoextend"), ["sys1", "sys2"]);
        assert_eq!(files("innodb-data-file-path=\"home/a:1G ; b:1G\""), ["home/a", "b"]);
    }
}
