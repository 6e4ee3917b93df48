//! The places that the server's configuration names below its data directory: made with the copy, and filled with what
//! belongs there.
//!
//! The backup tools lay InnoDB's system tablespace, undo tablespaces and log, and Aria's log, at the top of a backup,
//! wherever the donor has them (seen with mariadb-backup 10.11 and 11.8). A server looks for them where it is told to. So
//! they are moved as the tools' `--copy-back` would move them.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::contents::Contents;
use super::stage::DIRECTORY_MODE;
use crate::event::info;
use crate::exit::{self, Reason};
use crate::server_config::{Elsewhere, Place, ServerConfig};

/// Refuses a configuration with which no server could start on a copy, by the setting.
pub fn check(config: &ServerConfig, data_dir: &Path) -> Result<()> {
    for named in config.places(data_dir) {
        let Place::Outside(outside) = &named.place else { continue };
        let refuse = |why: &str| Err(Reason::Refused.error(format!("{}: {why}", named.setting)));
        match named.elsewhere {
            Elsewhere::Refused => {
                return refuse(
                    "the server would look for data outside its data directory, where no clone brings them: name a place \
                     in the data directory",
                );
            }
            Elsewhere::MustBeThere if !outside.is_dir() => {
                return refuse(
                    "the server can't start without this directory, and it is not here: name a place in the data \
                     directory, or mount it in this container too",
                );
            }
            Elsewhere::MustBeThere | Elsewhere::Fine => {}
        }
    }
    Ok(())
}

/// Makes the directories, and moves what belongs in them. Again and again does no harm.
pub fn make(config: &ServerConfig, data_dir: &Path, staged: &Path) -> Result<()> {
    for named in config.places(data_dir) {
        if let Place::Below(below) = &named.place {
            make_directory(staged, below, &named.setting)?;
        }
    }
    for (name, place) in moves(config, data_dir, &Contents::of(staged)?) {
        move_to(staged, &name, &place)?;
    }
    Ok(())
}

/// Moves back to the top what an interrupted start has moved: there the donor's list of its tables looks for it.
pub fn gather(config: &ServerConfig, data_dir: &Path, staged: &Path) -> Result<()> {
    let files = config.data_file_places(data_dir).into_iter().map(|(_, place)| place);
    let places = ["innodb_log_group_home_dir", "innodb_undo_directory", "aria_log_dir_path"]
        .map(|setting| config.place(setting, data_dir));
    for place in files.chain(places) {
        let Place::Below(below) = place else { continue };
        let directory = staged.join(&below);
        if below == Path::new("") || !directory.is_dir() {
            continue;
        }
        for (name, target) in moves(config, data_dir, &Contents::of(&directory)?) {
            let is_free = staged.join(&name).symlink_metadata().is_err();
            if target == below.join(&name) && is_free {
                let from = staged.join(&target);
                std::fs::rename(&from, staged.join(&name))
                    .map_err(|error| exit::disk_error(error, format!("moving {}", from.display())))?;
            }
        }
    }
    Ok(())
}

/// Names at a copy's top, and where they belong.
fn moves(config: &ServerConfig, data_dir: &Path, contents: &Contents) -> Vec<(String, PathBuf)> {
    let below = |place: Place| match place {
        Place::Below(below) => below,
        // It is refused before there is a copy.
        Place::Outside(_) => PathBuf::new(),
    };
    let [redo, undo, aria] = ["innodb_log_group_home_dir", "innodb_undo_directory", "aria_log_dir_path"]
        .map(|setting| below(config.place(setting, data_dir)));
    let files = config.data_file_places(data_dir);
    let mut found = Vec::new();
    for name in contents.foreign_names() {
        let numbered = |start: &str| name.strip_prefix(start).is_some_and(is_number);
        let directory = if let Some((_, home)) = files.iter().find(|(file, _)| is_called(file, name)) {
            below(home.clone())
        } else if numbered("ib_logfile") || name == "#innodb_redo" {
            redo.clone()
        } else if numbered("undo") || numbered("undo_") {
            undo.clone()
        } else if numbered("aria_log.") || name == "aria_log_control" {
            aria.clone()
        } else {
            continue;
        };
        if directory != Path::new("") {
            found.push((name.to_owned(), directory.join(name)));
        }
    }
    found
}

fn is_called(file: &str, name: &str) -> bool {
    Path::new(file).file_name() == Some(name.as_ref())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Makes one directory, and those above it, as long as nothing else has the name.
fn make_directory(staged: &Path, below: &Path, setting: &str) -> Result<()> {
    let mut directory = staged.to_owned();
    for component in below {
        directory.push(component);
        match directory.symlink_metadata() {
            Ok(found) if found.is_dir() => continue,
            Ok(_) => {
                let what = format!("{setting}: the copy has a file {}, where a directory is needed", below.display());
                return Err(Reason::Refused.error(what));
            }
            Err(_) => {}
        }
        std::fs::DirBuilder::new()
            .mode(DIRECTORY_MODE)
            .create(&directory)
            .map_err(|error| exit::disk_error(error, format!("making the directory {}", directory.display())))?;
        info!(PlaceMade, directory = %below.display(), setting, "made a directory that the server's configuration names");
    }
    Ok(())
}

/// Never over something.
fn move_to(staged: &Path, name: &str, place: &Path) -> Result<()> {
    let (from, to) = (staged.join(name), staged.join(place));
    if let Some(directory) = place.parent() {
        make_directory(staged, directory, name)?;
    }
    let moved = match renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE) {
        // File systems that don't know the flag: nobody else writes there.
        Err(Errno::INVAL) if to.symlink_metadata().is_err() => std::fs::rename(&from, &to),
        Err(Errno::INVAL) => Err(Errno::EXIST.into()),
        result => result.map_err(Into::into),
    };
    moved.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Reason::Refused
            .error(format!("the copy has both {name} and {}: only one of them can be right", place.display())),
        _ => exit::disk_error(error, format!("moving {} to {}", from.display(), to.display())),
    })?;
    info!(PlaceMoved, file = name, place = %place.display(), "moved to where the server's configuration has it");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::reason_of;

    fn copy(names: &[&str]) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(copy.path().join(name), name).unwrap();
        }
        copy
    }

    fn made(text: &str, names: &[&str]) -> (tempfile::TempDir, Result<()>) {
        let copy = copy(names);
        let config = ServerConfig::of_text(text);
        let made = make(&config, Path::new("/volume/mysql"), copy.path());
        let again = made.is_ok().then(|| make(&config, Path::new("/volume/mysql"), copy.path()));
        (copy, again.unwrap_or(made))
    }

    #[test]
    fn directories_that_the_configuration_names_are_made() {
        let text = "log_bin=binlogs/mysql-bin\nrelay_log=/var/lib/mysql/relay/deep/r\nslow_query_log_file=logs/slow\n\
                    innodb_undo_directory=undo\ntmpdir=tmp";
        let (copy, made) = made(text, &["ibdata1"]);
        made.unwrap();
        for directory in ["binlogs", "relay/deep", "logs", "undo", "tmp"] {
            assert_eq!(std::fs::read_dir(copy.path().join(directory)).unwrap().count(), 0, "{directory}");
        }
        assert!(copy.path().join("ibdata1").is_file());
    }

    #[test]
    fn what_the_tools_lay_at_the_top_goes_where_the_server_looks_for_it() {
        let text = "innodb_data_home_dir=home\ninnodb_data_file_path=sys1:12M;sub/sys2:12M:autoextend\n\
                    innodb_log_group_home_dir=redo\ninnodb_undo_directory=undo\naria_log_dir_path=aria";
        let names = ["sys1", "sys2", "ib_logfile0", "undo001", "undo_002", "aria_log.00000001", "aria_log_control"];
        let (copy, made) = made(text, &[&names[..], &["undo.txt", "xtrabackup_info"]].concat());
        made.unwrap();
        for place in [
            "home/sys1",
            "home/sub/sys2",
            "redo/ib_logfile0",
            "undo/undo001",
            "undo/undo_002",
            "aria/aria_log.00000001",
            "aria/aria_log_control",
            "undo.txt",
            "xtrabackup_info",
        ] {
            assert!(copy.path().join(place).is_file(), "{place}");
        }
        assert!(names.iter().all(|name| !copy.path().join(name).exists()));
    }

    #[test]
    fn what_was_moved_is_gathered_again() {
        let text = "innodb_data_home_dir=home\ninnodb_log_group_home_dir=redo\ninnodb_undo_directory=undo";
        let names = ["ibdata1", "ib_logfile0", "undo001"];
        let (copy, made) = made(text, &names);
        made.unwrap();
        std::fs::write(copy.path().join("undo/other"), "").unwrap();
        let config = ServerConfig::of_text(text);
        for _ in 0..2 {
            gather(&config, Path::new("/volume/mysql"), copy.path()).unwrap();
            assert!(names.iter().all(|name| copy.path().join(name).is_file()));
        }
        assert!(copy.path().join("undo/other").is_file());
        make(&config, Path::new("/volume/mysql"), copy.path()).unwrap();
        assert!(copy.path().join("undo/undo001").is_file() && !copy.path().join("undo001").exists());
    }

    #[test]
    fn usual_places_change_nothing() {
        let names = ["ibdata1", "ib_logfile0", "undo001", "aria_log_control"];
        let (copy, made) = made("log_bin=mysql-bin\ninnodb_log_group_home_dir=./\ninnodb_data_home_dir=", &names);
        made.unwrap();
        assert!(names.iter().all(|name| copy.path().join(name).is_file()));
        assert_eq!(std::fs::read_dir(copy.path()).unwrap().count(), names.len());
    }

    #[test]
    fn a_file_in_the_way_is_told() {
        let (_copy, made) = made("log_bin=binlogs/b", &["binlogs"]);
        let error = made.unwrap_err();
        assert!(error.to_string().contains("log_bin = binlogs/b"), "{error}");
        assert_eq!(reason_of(&error), Some(Reason::Refused));
    }

    #[test]
    fn places_elsewhere_are_refused_by_their_settings() {
        let there = tempfile::tempdir().unwrap();
        let checked = |text: &str| check(&ServerConfig::of_text(text), Path::new("/volume/mysql"));
        for text in ["innodb_undo_directory=/undo", "log_bin=/nowhere/at/all/b", "innodb_data_home_dir=/data"] {
            let error = checked(text).unwrap_err();
            assert!(error.to_string().starts_with(&text.replace('=', " = ")), "{error}");
            assert_eq!(reason_of(&error), Some(Reason::Refused));
        }
        for text in [
            format!("log_bin={}/b", there.path().display()),
            "log_error=/nowhere/at/all/error.log".into(),
            "log_bin=binlogs/b\ntmpdir=/tmp".into(),
        ] {
            checked(&text).unwrap();
        }
    }
}
