//! Plugins that prepare needs: for the keys of encrypted data, and for pages that a server compressed by a plugin.
//!
//! A stream may name one, no more. Where its library lies and what it is told comes from the recipient's own configuration:
//! the tools copy both from the donor's server into `backup-my.cnf` (`xb_plugin_backup_init` in xb_plugin.cc of
//! mariadb-backup), and read them from there (`get_plugin_from_cnf`; `xb_keyring_init_for_prepare` in keyring_plugins.cc of
//! XtraBackup) without regard to `--defaults-file`.
//!
//! mariadb-backup has no directory of plugins by default, and loads none without one (seen with 10.11: "Couldn't load plugin";
//! `--help` shows no default). In a backup it asks the server. So a prepare is told where the server's packages have theirs.

use std::fs::File;
use std::path::Path;

use anyhow::Result;

use crate::model::exit::Reason;
use crate::server::config_files::{ServerConfig, Setting};

/// Plugins of either family that hold keys.
const OF_KEYS: [&str; 9] = [
    "file_key_management",
    "hashicorp_key_management",
    "aws_key_management",
    "keyring_file",
    "keyring_vault",
    "keyring_encrypted_file",
    "keyring_aws",
    "keyring_okv",
    "keyring_udf",
];

/// MariaDB's for compressed pages: they take no settings, and the tool's own image has them.
const OF_COMPRESSION: [&str; 5] =
    ["provider_bzip2", "provider_lz4", "provider_lzma", "provider_lzo", "provider_snappy"];

/// Where MariaDB's packages have plugins: Debian's and the official images, and those of Red Hat's family.
const USUAL_DIRECTORIES: [&str; 2] = ["/usr/lib/mysql/plugin", "/usr/lib64/mysql/plugin"];

/// Settings whose values name files that MariaDB's plugin for keys reads at its start, and what stands before the name.
const KEY_FILES: [(&str, &str); 2] = [("file_key_management_filename", ""), ("file_key_management_filekey", "FILE:")];

/// Settings that have a server or a tool load a plugin.
pub const LOADING: [&str; 4] = ["plugin_load", "plugin_load_add", "early_plugin_load", "plugin_dir"];

/// Other settings by which code is loaded or run.
const CODE: [&str; 8] = [
    "init_file",
    "init_connect",
    "init_slave",
    "malloc_lib",
    "xtrabackup_plugin_dir",
    "component_keyring_config",
    "wsrep_provider",
    "thread_handling",
];

/// What a stream asks to be loaded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Plugins for keys.
    pub keys: Vec<&'static str>,
    pub compression: Vec<&'static str>,
}

impl Wanted {
    /// Takes note of a value of `plugin_load`: `NAME=LIBRARY;LIBRARY`. The error is what is no plugin that prepare needs.
    pub fn add(&mut self, value: &str) -> Result<(), String> {
        for plugin in value.split(';').map(str::trim).filter(|plugin| !plugin.is_empty()) {
            let parts: Vec<&str> = plugin.splitn(2, '=').map(without_suffix).collect();
            let known =
                |names: &[&'static str]| names.iter().copied().find(|name| parts.iter().all(|part| part == name));
            match (known(&OF_KEYS), known(&OF_COMPRESSION)) {
                (Some(name), _) if !self.keys.contains(&name) => self.keys.push(name),
                (_, Some(name)) if !self.compression.contains(&name) => self.compression.push(name),
                (Some(_), _) | (_, Some(_)) => {}
                (None, None) => return Err(plugin.to_owned()),
            }
        }
        Ok(())
    }

    /// The first of these directories with the libraries of all plugins. XtraBackup's own directory is its default.
    fn directory_among(&self, usual: &[&Path]) -> Option<String> {
        let all = || self.keys.iter().chain(&self.compression);
        let has_all = |directory: &&&Path| all().all(|name| directory.join(format!("{name}.so")).exists());
        usual.iter().find(has_all).map(|directory| directory.display().to_string())
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.compression.is_empty()
    }

    /// The lines that have the plugins loaded, the keys' by the recipient's own configuration where it reaches them.
    /// The error is a plugin that this doesn't load.
    pub fn lines(&self, config: Option<&ServerConfig>) -> Result<Vec<String>, &'static str> {
        self.lines_with(config, &USUAL_DIRECTORIES.map(Path::new))
    }

    fn lines_with(&self, config: Option<&ServerConfig>, usual: &[&Path]) -> Result<Vec<String>, &'static str> {
        let (mut plugins, mut settings) = (Vec::new(), Vec::new());
        plugins.extend(self.compression.iter().map(|name| format!("{name}={name}")));
        if let Some(config) = config {
            for name in &self.keys {
                if !config.settings().iter().any(|setting| loads(setting, name)) {
                    return Err(name);
                }
                plugins.push(format!("{name}={name}"));
                let is_its = |setting: &&Setting| setting.name.starts_with(name);
                settings.extend(config.settings().iter().filter(is_its).map(line));
            }
        }
        if plugins.is_empty() {
            return Ok(Vec::new());
        }
        let configured = config.and_then(|config| config.get("plugin_dir")).map(str::to_owned);
        let directory = configured.or_else(|| self.directory_among(usual));
        settings.extend(directory.map(|directory| format!("plugin_dir={}", quoted(&directory))));
        Ok([vec![format!("plugin_load={}", plugins.join(";"))], settings].concat())
    }
}

/// Refuses a configuration whose plugin for keys reads a file that is not here: no copy could be prepared.
pub fn check_key_files(config: &ServerConfig) -> Result<()> {
    for Setting { name, value, .. } in config.settings() {
        let named = KEY_FILES.iter().find(|(known, _)| known == name);
        let file = named.and_then(|(_, start)| value.as_deref()?.strip_prefix(start));
        if let Some(file) = file.filter(|file| !file.is_empty())
            && let Err(error) = File::open(file)
        {
            return Err(Reason::Refused.error(format!(
                "{name} = {file}: the keys of encrypted data can't be read ({error}): mount them in this container too, as \
                 in the server's"
            )));
        }
    }
    Ok(())
}

/// Whether a setting has code loaded or run, or belongs to what is loaded.
pub fn is_about_code(name: &str) -> bool {
    LOADING.contains(&name) || CODE.contains(&name) || name.starts_with("plugin_") || name.starts_with("component_")
}

/// Whether a setting is one of a plugin for keys.
pub fn is_of_keys(name: &str) -> bool {
    OF_KEYS.iter().any(|plugin| name.strip_prefix(plugin).is_some_and(|rest| rest.starts_with('_')))
}

fn loads(setting: &Setting, plugin: &str) -> bool {
    let value = setting.value.as_deref().unwrap_or_default();
    let names = value.split(';').flat_map(|part| part.split('='));
    LOADING[..3].contains(&setting.name.as_str()) && names.map(without_suffix).any(|name| name == plugin)
}

fn without_suffix(library: &str) -> &str {
    library.trim().strip_suffix(".so").unwrap_or(library.trim())
}

fn line(setting: &Setting) -> String {
    match &setting.value {
        Some(value) => format!("{}={}", setting.name, quoted(value)),
        None => setting.name.clone(),
    }
}

/// As it stands in an option file.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\r', "\\r");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plugins_that_prepare_needs_may_be_named() {
        let mut wanted = Wanted::default();
        wanted.add("file_key_management=file_key_management.so;provider_lz4=provider_lz4").unwrap();
        wanted.add("keyring_file.so").unwrap();
        assert_eq!(wanted.keys, ["file_key_management", "keyring_file"]);
        assert_eq!(wanted.compression, ["provider_lz4"]);
        for evil in ["evil.so", "evil=evil.so", "file_key_management=evil.so", "evil=file_key_management.so", "../evil"]
        {
            assert_eq!(Wanted::default().add(evil), Err(evil.to_owned()));
        }
    }

    #[test]
    fn keys_come_from_the_recipients_own_configuration() {
        let config = ServerConfig::of_text(
            "plugin_load_add = file_key_management\nfile-key-management-filename = /keys/k\n\
             file_key_management_filekey = FILE:/keys/a \"b\"\nplugin_dir = /usr/lib/p",
        );
        let mut wanted = Wanted::default();
        wanted.add("file_key_management=file_key_management").unwrap();
        let lines = wanted.lines(Some(&config)).unwrap();
        assert_eq!(lines[0], "plugin_load=file_key_management=file_key_management");
        assert!(lines.contains(&"file_key_management_filename=\"/keys/k\"".to_owned()), "{lines:?}");
        assert!(lines.contains(&r#"file_key_management_filekey="FILE:/keys/a \"b\"""#.to_owned()), "{lines:?}");
        assert!(lines.contains(&"plugin_dir=\"/usr/lib/p\"".to_owned()), "{lines:?}");
        assert_eq!(wanted.lines(Some(&ServerConfig::default())), Err("file_key_management"));
        // Nobody reaches keys here, so that no data are encrypted.
        assert_eq!(wanted.lines(None).unwrap(), [""; 0]);
    }

    #[test]
    fn plugins_are_loaded_from_where_they_are_installed_unless_the_configuration_names_a_place() {
        let (empty, installed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(installed.path().join("file_key_management.so"), "").unwrap();
        let usual = [empty.path(), installed.path()];
        let mut wanted = Wanted::default();
        wanted.add("file_key_management=file_key_management").unwrap();
        let directory = |text: &str, usual: &[&Path]| {
            let config = ServerConfig::of_text(&format!("plugin_load_add = file_key_management\n{text}"));
            let lines = wanted.lines_with(Some(&config), usual).unwrap();
            lines.into_iter().find_map(|line| Some(line.strip_prefix("plugin_dir=")?.to_owned()))
        };
        assert_eq!(directory("", &usual), Some(format!("\"{}\"", installed.path().display())));
        assert_eq!(directory("plugin_dir = /p", &usual).as_deref(), Some("\"/p\""));
        assert_eq!(directory("", &usual[..1]), None);
    }

    #[test]
    fn a_file_with_keys_that_is_not_here_is_named() {
        let keys = tempfile::NamedTempFile::new().unwrap();
        let there = keys.path().display();
        let check = |text: String| check_key_files(&ServerConfig::of_text(&text)).map_err(|error| error.to_string());
        assert!(check(format!("file_key_management_filename = {there}\nfile_key_management_filekey = secret")).is_ok());
        assert!(check(format!("file_key_management_filekey = FILE:{there}")).is_ok());
        for text in ["file_key_management_filename = /none/keys", "file_key_management_filekey = FILE:/none/keys"] {
            let error = check(text.to_owned()).unwrap_err();
            assert!(error.contains("/none/keys") && error.contains("mount them"), "{error}");
        }
    }

    #[test]
    fn compression_needs_no_settings() {
        let mut wanted = Wanted::default();
        wanted.add("provider_lz4=provider_lz4").unwrap();
        for config in [None, Some(&ServerConfig::default())] {
            assert_eq!(wanted.lines_with(config, &[]).unwrap(), ["plugin_load=provider_lz4=provider_lz4"]);
        }
    }
}
