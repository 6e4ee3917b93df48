//! The settings of `backup-my.cnf` that prepare depends on, and their allowed values.
//!
//! They are the ones that the tools write: `write_backup_config_file` in backup_mysql.cc of XtraBackup 2.3, 2.4, 8.0
//! and later, and of mariadb-backup 10.2 to 11.8.

use std::path::{Component, Path};

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A number up to this one.
    UpTo(u64),
    /// A power of two between these.
    PowerOfTwo(u64, u64),
    Boolean,
    Encryption,
    Checksum,
    /// Files of the system tablespace with their sizes.
    DataFiles,
    /// A file in the copy.
    File,
    /// A directory of the copy, or else its top.
    UndoDirectory,
    Uuid,
}

const KNOWN: [(&str, Kind); 21] = [
    ("innodb_checksum_algorithm", Kind::Checksum),
    ("innodb_log_checksum_algorithm", Kind::Checksum),
    ("innodb_log_checksums", Kind::Boolean),
    ("innodb_data_file_path", Kind::DataFiles),
    ("innodb_log_files_in_group", Kind::UpTo(100)),
    ("innodb_log_file_size", Kind::UpTo(1 << 50)),
    ("innodb_fast_checksum", Kind::Boolean),
    ("innodb_page_size", Kind::PowerOfTwo(4096, 65536)),
    ("innodb_log_block_size", Kind::PowerOfTwo(512, 4096)),
    ("innodb_undo_directory", Kind::UndoDirectory),
    ("innodb_undo_tablespaces", Kind::UpTo(1000)),
    ("innodb_compression_level", Kind::UpTo(9)),
    ("innodb_doublewrite_file", Kind::File),
    ("innodb_redo_log_encrypt", Kind::Boolean),
    ("innodb_undo_log_encrypt", Kind::Boolean),
    ("innodb_encrypt_log", Kind::Boolean),
    ("innodb_encrypt_tables", Kind::Encryption),
    ("server_id", Kind::UpTo(u32::MAX as u64)),
    ("redo_log_version", Kind::UpTo(1000)),
    ("server_uuid", Kind::Uuid),
    ("master_key_id", Kind::UpTo(u64::MAX)),
];

/// Written by the tools, but irrelevant to prepare.
const UNUSED: [&str; 1] = ["innodb_buffer_pool_filename"];

const CHECKSUMS: [&str; 8] =
    ["crc32", "strict_crc32", "innodb", "strict_innodb", "none", "strict_none", "full_crc32", "strict_full_crc32"];

/// The decision about a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Kept, with this value.
    Taken(String),
    /// Dropped: irrelevant to prepare.
    Unused,
    /// Dropped: unknown to this version.
    Unknown,
    /// Rejected: impossible on a server.
    Wrong,
}

/// Judges one setting of a backup in the directory `copy`.
pub fn verdict_of(name: &str, value: &str, copy: &Path) -> Verdict {
    if UNUSED.contains(&name) {
        return Verdict::Unused;
    }
    let Some((_, kind)) = KNOWN.iter().find(|(known, _)| *known == name) else { return Verdict::Unknown };
    let number = || value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse::<u64>().ok()).flatten();
    let is_right = match kind {
        Kind::UpTo(most) => number().is_some_and(|number| number <= *most),
        Kind::PowerOfTwo(least, most) => {
            number().is_some_and(|number| number.is_power_of_two() && (*least..=*most).contains(&number))
        }
        Kind::Boolean => ["0", "1", "on", "off", "true", "false"].iter().any(|known| value.eq_ignore_ascii_case(known)),
        Kind::Encryption => ["OFF", "ON", "FORCE"].contains(&value),
        Kind::Checksum => CHECKSUMS.contains(&value),
        Kind::DataFiles => !value.is_empty() && value.split(';').all(is_data_file),
        Kind::File => is_file(value),
        Kind::UndoDirectory => {
            let is_there = is_file(value) && copy.join(value).is_dir();
            return Verdict::Taken(if is_there { value.to_owned() } else { "./".to_owned() });
        }
        Kind::Uuid => value.len() == 36 && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'),
    };
    if is_right { Verdict::Taken(value.to_owned()) } else { Verdict::Wrong }
}

/// `ibdata1:12M:autoextend:max:1G`, with a name in the copy.
fn is_data_file(text: &str) -> bool {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default().trim();
    is_file(name)
        && parts.all(|part| {
            let digits = part.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(part);
            let is_size = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_size || part == "autoextend" || part == "max"
        })
}

/// A path that stays in the copy, made of characters that have no special meaning in an option file.
fn is_file(value: &str) -> bool {
    let is_plain = |character: char| character.is_alphanumeric() || "._-/@#$+".contains(character);
    let stays = |component: Component| matches!(component, Component::Normal(_) | Component::CurDir);
    !value.is_empty()
        && value.len() <= 255
        && !value.starts_with('#')
        && value.chars().all(is_plain)
        && Path::new(value).components().all(stays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_servers_have_are_kept() {
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("undo")).unwrap();
        for (name, value, expected) in [
            ("innodb_page_size", "8192", Some("8192")),
            ("innodb_page_size", "8k", None),
            ("innodb_page_size", "12288", None),
            ("innodb_page_size", "1048576", None),
            ("innodb_page_size", "-1", None),
            ("innodb_log_block_size", "512", Some("512")),
            ("innodb_data_file_path", "ibdata1:12M:autoextend", Some("ibdata1:12M:autoextend")),
            (
                "innodb_data_file_path",
                "sys1:12M;sys2:12M:autoextend:max:1G",
                Some("sys1:12M;sys2:12M:autoextend:max:1G"),
            ),
            ("innodb_data_file_path", "../../etc/passwd:12M", None),
            ("innodb_data_file_path", "/dev/sda:12Graw", None),
            ("innodb_data_file_path", "", None),
            ("innodb_undo_directory", "./", Some("./")),
            ("innodb_undo_directory", "undo", Some("undo")),
            ("innodb_undo_directory", "/undo", Some("./")),
            ("innodb_undo_directory", "../undo", Some("./")),
            ("innodb_checksum_algorithm", "full_crc32", Some("full_crc32")),
            ("innodb_checksum_algorithm", "md5", None),
            ("innodb_fast_checksum", "false", Some("false")),
            ("innodb_redo_log_encrypt", "OFF", Some("OFF")),
            ("server_uuid", "3e11fa47-71ca-11e1-9e33-c80aa9429562", Some("3e11fa47-71ca-11e1-9e33-c80aa9429562")),
            ("server_uuid", "x", None),
            ("innodb_doublewrite_file", "dblwr", Some("dblwr")),
        ] {
            let expected = expected.map_or(Verdict::Wrong, |value| Verdict::Taken(value.to_owned()));
            assert_eq!(verdict_of(name, value, copy.path()), expected, "{name} = {value}");
        }
        assert_eq!(verdict_of("innodb_buffer_pool_filename", "/etc/passwd", copy.path()), Verdict::Unused);
        assert_eq!(verdict_of("something_new", "1", copy.path()), Verdict::Unknown);
    }
}
