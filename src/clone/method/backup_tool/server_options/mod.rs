//! Rebuilds `backup-my.cnf`, a backup's settings of its server, before a tool reads it.
//!
//! The file comes from the donor, and a tool obeys it: it loads the plugins that the file names, and runs a server with
//! its options. So the file in the copy is replaced by one of this program's own, with known settings and checked
//! values. The tool is told to read only this file (`--defaults-file`). It has to lie in the copy: both tools always
//! read a plugin's name from there.
//!
//! A setting unknown to this version is left out and logged once. The backup is refused if the file would load code,
//! read another file, or set options of another group: a tool never writes that.

mod known;
mod plugins;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;

use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::server::config_files::{ServerConfig, lines, setting};
use crate::sys::child::path_option;
use crate::sys::disk::disk_error;
use crate::sys::held_directory::Spot;
use crate::unpack::forbidden::{self, TOOLS_SETTINGS};
use known::Verdict;
use plugins::Wanted;
pub use plugins::check_key_files;

/// Far more than the file has ever had, in bytes.
const LARGEST: u64 = 64 << 10;

/// mariadb-backup reads the file in pieces of 511 bytes, and takes the beginning of a piece for that of a line.
const LONGEST_LINE: usize = 500;

/// The group that the tools write.
const GROUP: &str = "mysqld";

/// Readable by the own user only: if keys are configured, the file may contain some.
const MODE: u32 = 0o600;

/// The option that makes a tool read this copy's settings only. It must be the first.
pub fn argument(copy: &Path) -> OsString {
    path_option("--defaults-file=", &copy.join(TOOLS_SETTINGS))
}

/// Rebuilds the file in a copy. `keys` is the recipient's own configuration, if it gives access to the keys of
/// encrypted data. An error with the reason "refused" is the donor's fault. Repeating it gives the same result.
pub fn rebuild(copy: &Path, keys: Option<&ServerConfig>) -> Result<()> {
    let held = Spot::of(copy).map_err(|error| disk_error(error, format!("cannot open {}", copy.display())))?;
    remove_key_components(&held)?;
    let file = held.join(TOOLS_SETTINGS);
    let reading = |error| disk_error(error, format!("cannot read {file}"));
    let text = match file.read_bounded(LARGEST) {
        Ok(Some(text)) => String::from_utf8_lossy(&text).into_owned(),
        Ok(None) => return refuse(format!("has more than {LARGEST} bytes")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return refuse("is missing".to_owned()),
        Err(error) => return Err(reading(error)),
    };
    let Rebuilt { text: rebuilt, unknown } = rebuilt(&text, copy, keys).or_else(refuse)?;
    if !unknown.is_empty() {
        warn!(
            BackupSettingsUnknown,
            settings = unknown.join(", "),
            "dropped settings of {TOOLS_SETTINGS} that this version does not know"
        );
    }
    if rebuilt == text {
        return Ok(());
    }
    file.replace(rebuilt.as_bytes(), MODE, None).map_err(|error| disk_error(error, format!("cannot write {file}")))
}

fn refuse<T>(why: String) -> Result<T> {
    Err(Reason::Refused.error(format!("the backup is refused: its {TOOLS_SETTINGS} {why}")))
}

/// Removes XtraBackup's file about the donor's access to its keys. A recipient has an access of its own.
fn remove_key_components(copy: &Spot) -> Result<()> {
    for entry in copy.entries().map_err(|error| disk_error(error, format!("cannot list {copy}")))? {
        let name = entry.name;
        if name != TOOLS_SETTINGS && forbidden::is_settings_of_tool(name.as_encoded_bytes()) {
            let path = copy.join(&name);
            path.remove_if_there().map_err(|error| disk_error(error, format!("cannot remove {path}")))?;
            info!(KeyComponentRemoved, file = %name.to_string_lossy(), "removed the settings of the donor's key component");
        }
    }
    Ok(())
}

/// The new file.
#[derive(Debug)]
struct Rebuilt {
    text: String,
    /// Settings that were left out.
    unknown: Vec<String>,
}

/// Builds the new text. The error says why a tool cannot have written the old one.
fn rebuilt(text: &str, copy: &Path, keys: Option<&ServerConfig>) -> Result<Rebuilt, String> {
    let (mut kept, mut unknown) = (Vec::new(), BTreeSet::new());
    let (mut wanted, mut asks_for_code) = (Wanted::default(), None);
    for (group, line) in lines(text) {
        if group == "!" {
            return Err(format!("includes another file (!{})", shown(&line)));
        }
        if group != GROUP {
            return Err(format!("has options of another group ([{}])", shown(&group)));
        }
        let Some(setting) = setting(&line) else { continue };
        let (name, value) = (setting.name, setting.value.unwrap_or_default());
        match known::verdict_of(&name, &value, copy) {
            Verdict::Taken(value) => kept.push(format!("{name}={value}")),
            Verdict::Wrong => return Err(format!("sets {} = {}, an impossible value", name, shown(&value))),
            Verdict::Unused => {}
            Verdict::Unknown if name == "plugin_load" => wanted
                .add(&value)
                .map_err(|plugin| format!("loads a plugin that backups do not need ({})", shown(&plugin)))?,
            Verdict::Unknown if plugins::is_about_code(&name) => asks_for_code = Some(name),
            Verdict::Unknown if plugins::is_of_keys(&name) => {}
            Verdict::Unknown => drop(unknown.insert(shown(&name))),
        }
    }
    // mariadb-backup also writes its server's directory of plugins.
    if let Some(name) = asks_for_code.filter(|name| name != "plugin_dir" || wanted.is_empty()) {
        return Err(format!("sets where code is loaded from or run ({name})"));
    }
    if keys.is_none() && !wanted.keys.is_empty() {
        info!(
            KeyPluginUnneeded,
            plugins = wanted.keys.join(", "),
            "skipping the donor's plugins for keys: its data is unencrypted"
        );
    }
    kept.extend(wanted.lines(keys).map_err(|plugin| {
        format!("needs the plugin {plugin}, but the server's configuration here does not load it (--server-config)")
    })?);
    if let Some(long) = kept.iter().find(|line| line.len() > LONGEST_LINE) {
        return Err(format!("has a line of {} bytes", long.len()));
    }
    let head = "# Made by mysqlset of what the backup brought and this version knows.\n[mysqld]\n";
    let text = kept.iter().fold(head.to_owned(), |text, line| text + line + "\n");
    Ok(Rebuilt { text, unknown: unknown.into_iter().collect() })
}

/// Escaped and shortened, because it comes from outside.
fn shown(text: &str) -> String {
    text.chars().take(60).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::reason_of;

    fn made(text: &str) -> Result<Rebuilt, String> {
        let copy = tempfile::tempdir().unwrap();
        rebuilt(text, copy.path(), None)
    }

    /// The lines of the new file.
    fn kept(text: &str) -> Vec<String> {
        made(text).unwrap().text.lines().skip(2).map(str::to_owned).collect()
    }

    const OF_MARIADB: &str = "# This options file was generated by innobackupex.\n\n# The server\n[mysqld]\n\
        innodb_checksum_algorithm=crc32\ninnodb_data_file_path=sys1:12M;sys2:12M:autoextend\n\
        innodb_log_file_size=100663296\ninnodb_page_size=8192\ninnodb_undo_directory=./\ninnodb_undo_tablespaces=3\n\
        innodb_compression_level=6\n\n\n";

    const OF_XTRABACKUP_24: &str = "# This MySQL options file was generated by innobackupex.\n\n# The MySQL server\n\
        [mysqld]\ninnodb_checksum_algorithm=crc32\ninnodb_log_checksum_algorithm=strict_crc32\n\
        innodb_data_file_path=ibdata1:12M:autoextend\ninnodb_log_files_in_group=2\ninnodb_log_file_size=50331648\n\
        innodb_fast_checksum=false\ninnodb_page_size=16384\ninnodb_log_block_size=512\ninnodb_undo_directory=./\n\
        innodb_undo_tablespaces=0\nserver_id=1000\n\nredo_log_version=1\n\
        server_uuid=74b64a5b-cfba-11e9-95d0-000c2994d425\nmaster_key_id=0\n";

    const OF_XTRABACKUP_80: &str = "# This MySQL options file was generated by innobackupex.\n\n# The MySQL server\n\
        [mysqld]\ninnodb_checksum_algorithm=crc32\ninnodb_log_checksums=1\ninnodb_data_file_path=ibdata1:12M:autoextend\n\
        innodb_log_file_size=50331648\ninnodb_page_size=16384\ninnodb_undo_directory=./\ninnodb_undo_tablespaces=2\n\
        server_id=1\ninnodb_log_checksums=ON\ninnodb_redo_log_encrypt=OFF\ninnodb_undo_log_encrypt=OFF\n\
        server_uuid=74b64a5b-cfba-11e9-95d0-000c2994d425\nmaster_key_id=0\n";

    #[test]
    fn the_tools_settings_are_kept_and_a_second_rebuild_changes_nothing() {
        for (text, settings) in [(OF_MARIADB, 7), (OF_XTRABACKUP_24, 14), (OF_XTRABACKUP_80, 13)] {
            let first = made(text).unwrap();
            assert_eq!((kept(text).len(), first.unknown.len()), (settings, 0), "{}", first.text);
            assert!(kept(text).iter().all(|line| text.contains(line.as_str())), "{}", first.text);
            assert_eq!(made(&first.text).unwrap().text, first.text);
        }
    }

    #[test]
    fn settings_of_a_newer_tool_are_left_out_and_named() {
        let rebuilt = made("[mysqld]\ninnodb-page-size=16384\nsomething_new=1\nskip-x\nsomething_new=2\n").unwrap();
        assert_eq!(rebuilt.unknown, ["skip_x", "something_new"]);
        assert!(rebuilt.text.ends_with("[mysqld]\ninnodb_page_size=16384\n"), "{}", rebuilt.text);
    }

    #[test]
    fn settings_that_load_code_or_further_options_are_refused() {
        for (text, word) in [
            ("[mysqld]\nplugin_load=evil.so\nplugin_dir=.\n", "evil.so"),
            ("[mysqld]\nplugin-load=evil.so\n", "evil.so"),
            ("[mysqld]\nloose-plugin_load=\"x=evil.so\"\n", "evil.so"),
            ("[mysqld]\nplugin_dir=.\n", "plugin_dir"),
            ("[mysqld]\nplugin_load_add=evil.so\n", "plugin_load_add"),
            ("[mysqld]\nearly-plugin-load=evil.so\n", "early_plugin_load"),
            (
                "[mysqld]\nplugin_load=file_key_management=file_key_management\nplugin_load_add=evil.so\n",
                "plugin_load_add",
            ),
            ("[mysqld]\ninit_file=evil.sql\n", "init_file"),
            ("[mysqld]\nxtrabackup-plugin-dir=.\n", "xtrabackup_plugin_dir"),
            ("[mysqld]\n[mariadb-backup]\nexport\n", "[mariadb-backup]"),
            ("[mysqld]\n[mariadb-backup]\n", "[mariadb-backup]"),
            ("[xtrabackup]\nexport\n[mysqld]\n", "[xtrabackup]"),
            ("[mysqld-10.11]\ninnodb_page_size=8192\n", "[mysqld-10.11]"),
            ("innodb_page_size=8192\n", "[]"),
            ("[mysqld]\n!include evil\n", "!include evil"),
            ("!includedir .\n", "!includedir ."),
            ("[mysqld]\ninnodb_page_size=7\n", "innodb_page_size = 7"),
            ("[mysqld]\ninnodb_data_file_path=../../ibdata1:12M\n", "innodb_data_file_path"),
        ] {
            let why = made(text).unwrap_err();
            assert!(why.contains(word), "{text}: {why}");
        }
    }

    #[test]
    fn a_plugin_for_keys_has_the_recipients_own_settings() {
        let stream = "[mysqld]\ninnodb_page_size=16384\nplugin_dir=\"/evil\"\n\
            plugin_load=file_key_management=file_key_management\nfile_key_management_filename=/evil/keys\n\
            innodb_encrypt_log=0\n";
        assert_eq!(kept(stream), ["innodb_page_size=16384", "innodb_encrypt_log=0"]);
        let copy = tempfile::tempdir().unwrap();
        let own =
            ServerConfig::of_text("plugin_load_add=file_key_management.so\nfile_key_management_filename=/own/keys\n");
        let first = rebuilt(stream, copy.path(), Some(&own)).unwrap().text;
        assert!(first.contains("\nplugin_load=file_key_management=file_key_management\n"), "{first}");
        assert!(first.contains("/own/keys") && !first.contains("evil"), "{first}");
        assert_eq!(rebuilt(&first, copy.path(), Some(&own)).unwrap().text, first);
        let why = rebuilt(stream, copy.path(), Some(&ServerConfig::default())).unwrap_err();
        assert!(why.contains("file_key_management") && why.contains("--server-config"), "{why}");
    }

    #[test]
    fn the_file_in_the_copy_is_replaced() {
        let copy = tempfile::tempdir().unwrap();
        let refused = |copy: &tempfile::TempDir| {
            let error = rebuild(copy.path(), None).unwrap_err();
            assert_eq!(reason_of(&error), Some(Reason::Refused));
            error.to_string()
        };
        assert!(refused(&copy).contains("is missing"));
        let file = copy.path().join(TOOLS_SETTINGS);
        std::fs::write(&file, OF_MARIADB.to_owned() + "new_one=1\n").unwrap();
        std::fs::write(copy.path().join("xtrabackup_component_keyring_file.cnf"), "{}").unwrap();
        rebuild(copy.path(), None).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("innodb_page_size=8192\n") && !text.contains("new_one"), "{text}");
        assert_eq!(std::fs::read_dir(copy.path()).unwrap().count(), 1);
        std::fs::File::create(&file).unwrap().set_len(3000 << 20).unwrap();
        assert!(refused(&copy).contains("more than"));
    }
}
