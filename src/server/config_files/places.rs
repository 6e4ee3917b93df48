//! The places that a server's settings name, and where they lie: below its data directory or elsewhere.

use std::path::{Component, Path, PathBuf};

use super::ServerConfig;

/// What a setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A directory.
    Directory,
    /// A file, or the beginning of files' names, whose directory must be there.
    File,
    /// Several directories, with colons between them.
    Directories,
}

/// What a place outside the data directory means for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Data of the copy would have to lie there, and no copy brings them there.
    Refused,
    /// A server does not start without it: another volume, which the copy needs nothing of.
    MustBeThere,
    /// A server starts without it, or its image has it.
    Fine,
}

/// Settings that name a place.
const SETTINGS: [(&str, What, Elsewhere); 30] = [
    ("innodb_data_home_dir", What::Directory, Elsewhere::Refused),
    ("innodb_log_group_home_dir", What::Directory, Elsewhere::Refused),
    ("innodb_undo_directory", What::Directory, Elsewhere::Refused),
    ("aria_log_dir_path", What::Directory, Elsewhere::Refused),
    ("rocksdb_datadir", What::Directory, Elsewhere::Refused),
    ("rocksdb_wal_dir", What::Directory, Elsewhere::Refused),
    ("log_bin", What::File, Elsewhere::MustBeThere),
    ("log_bin_index", What::File, Elsewhere::MustBeThere),
    ("binlog_directory", What::Directory, Elsewhere::MustBeThere),
    ("relay_log", What::File, Elsewhere::MustBeThere),
    ("relay_log_index", What::File, Elsewhere::MustBeThere),
    ("relay_log_info_file", What::File, Elsewhere::MustBeThere),
    ("master_info_file", What::File, Elsewhere::MustBeThere),
    ("innodb_doublewrite_dir", What::Directory, Elsewhere::MustBeThere),
    ("innodb_temp_tablespaces_dir", What::Directory, Elsewhere::MustBeThere),
    ("general_log_file", What::File, Elsewhere::Fine),
    ("slow_query_log_file", What::File, Elsewhere::Fine),
    ("log_slow_query_file", What::File, Elsewhere::Fine),
    ("log_error", What::File, Elsewhere::Fine),
    ("pid_file", What::File, Elsewhere::Fine),
    ("socket", What::File, Elsewhere::Fine),
    ("tmpdir", What::Directories, Elsewhere::Fine),
    ("innodb_tmpdir", What::Directory, Elsewhere::Fine),
    ("slave_load_tmpdir", What::Directory, Elsewhere::Fine),
    ("replica_load_tmpdir", What::Directory, Elsewhere::Fine),
    ("secure_file_priv", What::Directory, Elsewhere::Fine),
    ("keyring_file_data", What::File, Elsewhere::Fine),
    ("server_audit_file_path", What::File, Elsewhere::Fine),
    ("audit_log_file", What::File, Elsewhere::Fine),
    ("wsrep_data_home_dir", What::Directory, Elsewhere::Fine),
];

/// A directory that a setting names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Below the data directory, by its name in it; empty where it is that itself.
    Below(PathBuf),
    Outside(PathBuf),
}

/// A place, and who names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The setting, as `name = value`.
    pub setting: String,
    pub place: Place,
    /// What it means where the place is outside.
    pub elsewhere: Elsewhere,
}

impl ServerConfig {
    /// All places that the configuration names; `data_dir` is how the data directory is called here.
    pub fn places(&self, data_dir: &Path) -> Vec<Named> {
        let mut found = Vec::new();
        for (name, what, elsewhere) in SETTINGS {
            let Some(value) = self.get(name).filter(|value| !value.is_empty()) else { continue };
            let parts: Vec<&str> = if what == What::Directories { value.split(':').collect() } else { vec![value] };
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                let setting = format!("{name} = {value}");
                found.push(Named { setting, place: self.place_of(Path::new(part), what, data_dir), elsewhere });
            }
        }
        for (file, place) in self.data_file_places(data_dir) {
            let setting = format!("innodb_data_file_path, {file}");
            found.push(Named { setting, place, elsewhere: Elsewhere::Refused });
        }
        found
    }

    /// The files of InnoDB's system tablespace, and the directory of each.
    pub fn data_file_places(&self, data_dir: &Path) -> Vec<(String, Place)> {
        let home = Path::new(self.get("innodb_data_home_dir").unwrap_or_default());
        // Absolute names take the home's place.
        let place = |file: &String| self.place_of(&home.join(file), What::File, data_dir);
        self.data_files().into_iter().map(|file| (file.clone(), place(&file))).collect()
    }

    /// The directory of a setting, which is the data directory where nothing is said.
    pub fn place(&self, setting: &str, data_dir: &Path) -> Place {
        self.place_of(Path::new(self.get(setting).unwrap_or_default()), What::Directory, data_dir)
    }

    fn place_of(&self, path: &Path, what: What, data_dir: &Path) -> Place {
        let directory = match what {
            What::File => path.parent().unwrap_or(Path::new("")),
            What::Directory | What::Directories => path,
        };
        let own = [Path::new(self.data_dir()), data_dir];
        let inside = match directory.is_absolute() {
            true => own.into_iter().find_map(|own| directory.strip_prefix(own).ok()),
            false => Some(directory),
        };
        match inside.and_then(plain) {
            Some(below) => Place::Below(below),
            None => Place::Outside(directory.to_owned()),
        }
    }
}

/// Without `.`; `None` where it goes up.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(Place, Elsewhere)> {
        let all = ServerConfig::of_text(text).places(Path::new("/volume/mysql"));
        let is_default = |named: &Named| named.setting.starts_with("innodb_data_file_path, ibdata1");
        all.into_iter().filter(|named| !is_default(named)).map(|named| (named.place, named.elsewhere)).collect()
    }

    #[test]
    fn below_the_data_directory_by_whatever_name() {
        for (text, below) in [
            ("log_bin = binlogs/mysql-bin", "binlogs"),
            ("log-bin = ./binlogs/deep/mysql-bin", "binlogs/deep"),
            ("log_bin = mysql-bin", ""),
            ("relay_log = /var/lib/mysql/relay/r", "relay"),
            ("relay_log = /volume/mysql/relay/r", "relay"),
            ("datadir=/data\nslow_query_log_file = /data/logs/slow.log", "logs"),
            ("tmpdir = tmp/", "tmp"),
            ("innodb_log_group_home_dir = ./", ""),
        ] {
            let found = places(text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].0, Place::Below(below.into()), "{text}");
        }
    }

    #[test]
    fn elsewhere_is_told_by_what_it_means() {
        for (text, outside, elsewhere) in [
            ("innodb_undo_directory = /undo", "/undo", Elsewhere::Refused),
            ("innodb_log_group_home_dir = ../redo", "../redo", Elsewhere::Refused),
            ("innodb_data_file_path = /fast/ibdata1:12M", "/fast", Elsewhere::Refused),
            ("log_bin = /binlogs/mysql-bin", "/binlogs", Elsewhere::MustBeThere),
            ("log_bin = ../binlogs/mysql-bin", "../binlogs", Elsewhere::MustBeThere),
            ("log_error = /var/log/mysql/error.log", "/var/log/mysql", Elsewhere::Fine),
            ("tmpdir = /tmp", "/tmp", Elsewhere::Fine),
            ("datadir=/data\nrelay_log = /var/lib/mysql/r", "/var/lib/mysql", Elsewhere::MustBeThere),
        ] {
            assert_eq!(places(text), [(Place::Outside(outside.into()), elsewhere)], "{text}");
        }
        assert_eq!(places("log_bin\nskip_log_bin\nrelay_log"), []);
    }

    #[test]
    fn system_tablespaces_lie_in_their_home() {
        let all = ServerConfig::of_text("innodb_data_home_dir=home\ninnodb_data_file_path=a:1M;sub/b:1M");
        let places: Vec<Place> = all.places(Path::new("/d")).into_iter().map(|named| named.place).collect();
        assert_eq!(places, ["home", "home", "home/sub"].map(|below| Place::Below(below.into())));
    }
}
