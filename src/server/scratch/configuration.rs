//! What the pod's server will read: the option files of the image, and those of the directory that the pod mounts.
//!
//! The server program itself is asked, and reads the same files when it is started: nothing here imitates how it looks for
//! them. Settings that stand only in the server container's arguments are not known here.
//!
//! [`crate::server::config_files`] reads files by itself, and neither can do the other's work. An image of a backup tool alone has no
//! server to ask, and places are judged there all the same, before any program runs; a private server has to read what the
//! pod's own will, by the names that are built into its program.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rustix::process::geteuid;

use super::program::{self, Program};
use super::words;
use crate::model::exit::Reason;
use crate::sys::child::path_option;
use crate::sys::disk::disk_error;
use crate::sys::environment;

/// Where the servers keep their data where nothing says otherwise.
const USUAL_DATA_DIR: &str = "/var/lib/mysql";

/// Settings with places that hold parts of the data. Below the data directory, they lie in the copy.
const PLACES: [&str; 6] = [
    "innodb_data_home_dir",
    "innodb_data_file_path",
    "innodb_log_group_home_dir",
    "innodb_undo_directory",
    "innodb_doublewrite_dir",
    "aria_log_dir_path",
];

/// What a server program finds in its files.
#[derive(Clone, Debug, Default)]
pub struct PodConfiguration {
    /// The pod's directory, where the image's files do not include it.
    directory: Option<PathBuf>,
    /// Files of the image, where what they say has to be headed.
    headed: Option<Vec<PathBuf>>,
    /// All that is found, by names with underscores, in the order in which it counts.
    settings: Vec<(String, String)>,
}

impl PodConfiguration {
    /// Asks the program. `directory` is where the pod's own files lie, `scratch` an existing directory of ours. Files that it
    /// can't read end `clone` with `blame`.
    pub fn read(program: &Program, directory: &Path, scratch: &Path, blame: Reason) -> Result<PodConfiguration> {
        let settings_by = |first| settings_by(program, first, blame);
        let of_image = settings_by(None)?;
        let whole = |directory: Option<PathBuf>, settings: Vec<(String, String)>| -> Result<PodConfiguration> {
            let is_headed =
                geteuid().is_root() && settings.iter().any(|(name, value)| name == "user" && value != "root");
            let headed = if is_headed { Some(files_of(program, scratch, blame)?) } else { None };
            Ok(PodConfiguration { directory, headed, settings })
        };
        if !directory.is_dir() {
            return whole(None, of_image);
        }
        let including = scratch.join("pod.cnf");
        write_including(&including, directory)?;
        let of_directory = settings_by(Some(path_option("--defaults-file=", &including)))?;
        let is_included =
            of_directory.is_empty() || of_image.windows(of_directory.len()).any(|settings| settings == of_directory);
        if is_included {
            return whole(None, of_image);
        }
        let settings = settings_by(Some(path_option("--defaults-extra-file=", &including)))?;
        whole(Some(directory.to_owned()), settings)
    }

    /// The options that have the server read the same. They come first.
    pub(super) fn options(&self, scratch: &Path) -> Result<Vec<OsString>> {
        let including = scratch.join("pod.cnf");
        if let Some(files) = &self.headed {
            // The first user counts, and an image names its own: as that one the server could not read what is ours.
            let files = files.iter().map(|file| format!("!include {}\n", file.display()));
            let directory = self.directory.iter().map(|directory| format!("!includedir {}\n", directory.display()));
            let text: String =
                std::iter::once("[mysqld]\nuser = root\n".to_owned()).chain(files).chain(directory).collect();
            write(&including, &text)?;
            return Ok(vec![path_option("--defaults-file=", &including)]);
        }
        let Some(directory) = &self.directory else { return Ok(Vec::new()) };
        write_including(&including, directory)?;
        Ok(vec![path_option("--defaults-extra-file=", &including)])
    }

    /// What is set, the last word of each.
    pub(super) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Options for what lies below the data directory and is set by its whole path: for data that lie elsewhere now.
    pub(super) fn relocated(&self, data_dir: &Path) -> Vec<String> {
        let own = self.settings.iter().rev().find(|(name, _)| name == "datadir").map(|(_, value)| value.as_str());
        let from = own.unwrap_or(USUAL_DATA_DIR).trim_end_matches('/');
        let to = data_dir.to_string_lossy();
        let places = self.settings().filter(|(name, _)| PLACES.contains(name));
        places.filter_map(|(name, value)| Some(format!("--{name}={}", moved(value, from, &to)?))).collect()
    }
}

/// A value whose paths below a directory lead below another; `None` where none does.
fn moved(value: &str, from: &str, to: &str) -> Option<String> {
    let is_below =
        |part: &str| part.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']));
    if !value.split(';').any(is_below) {
        return None;
    }
    let parts = value.split(';').map(|part| match part.strip_prefix(from) {
        Some(rest) if is_below(part) => format!("{to}{rest}"),
        _ => part.to_owned(),
    });
    Some(parts.collect::<Vec<_>>().join(";"))
}

fn write_including(file: &Path, directory: &Path) -> Result<()> {
    let text = format!("!includedir {}\n", directory.display());
    write(file, &text)
}

/// On the volume: it may be full.
fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).map_err(|error| disk_error(error, format!("writing {}", file.display())))
}

fn settings_by(program: &Program, first: Option<OsString>, blame: Reason) -> Result<Vec<(String, String)>> {
    let mut command = program::question(&program.path);
    command.args(first).arg("--print-defaults");
    environment::withhold_from(&mut command);
    let asking = format!("asking {} for its configuration", program.path.display());
    let output = program::answer(&mut command, &asking, blame)?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(blame.error(format!(
            "{} can't read its configuration: {}",
            program.path.display(),
            words::errors(complaint.lines()).unwrap_or_else(|| complaint.trim().replace('\n', "; "))
        )));
    }
    Ok(settings_in(&String::from_utf8_lossy(&output.stdout)))
}

/// The files that the program reads by itself, in their order.
fn files_of(program: &Program, scratch: &Path, blame: Reason) -> Result<Vec<PathBuf>> {
    let mut command = program::question(&program.path);
    command
        .args(["--no-defaults", "--user=root"])
        .arg(path_option("--datadir=", scratch))
        .args(["--verbose", "--help"]);
    environment::withhold_from(&mut command);
    let asking = format!("asking {} for its files", program.path.display());
    let output = program::answer(&mut command, &asking, blame)?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let listed = listed_in(&String::from_utf8_lossy(&output.stdout), home.as_deref());
    ensure!(!listed.is_empty(), "{} does not tell which files it reads", program.path.display());
    Ok(listed.into_iter().filter(|file| file.is_file()).collect())
}

fn listed_in(help: &str, home: Option<&Path>) -> Vec<PathBuf> {
    let mut lines = help.lines().skip_while(|line| !line.starts_with("Default options are read from"));
    let names = lines.nth(1).unwrap_or_default().split_whitespace();
    let whole = |name: &str| match name.strip_prefix("~/") {
        Some(rest) => home.map(|home| home.join(rest)),
        None => Some(PathBuf::from(name)),
    };
    names.filter_map(whole).collect()
}

/// The program repeats what it found as arguments, on a line of its own.
fn settings_in(printed: &str) -> Vec<(String, String)> {
    let arguments = printed.lines().find(|line| line.starts_with("--")).unwrap_or_default();
    let arguments = format!(" {arguments}");
    let settings = arguments.split(" --").filter(|argument| !argument.trim().is_empty()).map(|argument| {
        let (name, value) = argument.trim_end().split_once('=').unwrap_or((argument.trim_end(), ""));
        let name = name.replace('-', "_");
        (name.strip_prefix("loose_").unwrap_or(&name).to_owned(), value.to_owned())
    });
    settings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_what_the_program_prints() {
        let printed = "/usr/sbin/mysqld would have been started with the following arguments:\n\
                       --plugin-load-add=a.so --log_bin --sql_mode=A B --innodb_data_home_dir=/var/lib/mysql \n";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            settings_in(printed),
            [
                pair("plugin_load_add", "a.so"),
                pair("log_bin", ""),
                pair("sql_mode", "A B"),
                pair("innodb_data_home_dir", "/var/lib/mysql")
            ]
        );
        assert_eq!(settings_in("mysqld would have been started with the following arguments:\n\n"), []);
    }

    #[test]
    fn the_files_are_those_that_the_program_names() {
        let help =
            "x\nDefault options are read from the following files in the given order:\n/etc/my.cnf ~/.my.cnf \nThe";
        let files = listed_in(help, Some(Path::new("/home/x")));
        assert_eq!(files, [Path::new("/etc/my.cnf"), Path::new("/home/x/.my.cnf")]);
        assert!(listed_in("nothing", None).is_empty());
    }

    #[test]
    fn a_place_below_the_data_directory_is_one_in_the_copy() {
        for (value, expected) in [
            ("/var/lib/mysql", Some("/stage/data")),
            ("/var/lib/mysql/redo", Some("/stage/data/redo")),
            ("/var/lib/mysql-redo", None),
            ("redo", None),
            ("/var/lib/mysql/a:12M;/other/b:1M:autoextend", Some("/stage/data/a:12M;/other/b:1M:autoextend")),
        ] {
            assert_eq!(moved(value, "/var/lib/mysql", "/stage/data").as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn the_data_directory_is_the_one_that_the_server_is_told() {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let configuration = PodConfiguration {
            directory: None,
            headed: None,
            settings: vec![
                setting("datadir", "/data/"),
                setting("innodb_undo_directory", "/data/undo"),
                setting("log_bin", "/data/b"),
            ],
        };
        assert_eq!(configuration.relocated(Path::new("/stage/data")), ["--innodb_undo_directory=/stage/data/undo"]);
    }
}
