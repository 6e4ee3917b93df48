//! Traps that a former server, another container or another user can leave in a volume, or set during a run. `clone`
//! runs as root there. Everything outside the volume keeps its owner, mode, name and content, and a fifo never blocks.
//!
//! Needs root and the right to mount, like the tests of crashes.

mod cases;
mod place;
mod swaps;

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use harness::logged::Said;
use mysqlset::model::event::Event;

use place::{Place, USER, give, publishing, tree, write};

/// A link of root's at the data directory is the user's own: it is followed once.
#[test]
fn a_link_of_roots_at_the_data_directory_is_followed() {
    let place = Place::new();
    let elsewhere = place.volume.path().join("elsewhere");
    std::fs::rename(place.data_dir(), &elsewhere).unwrap();
    symlink(&elsewhere, place.data_dir()).unwrap();
    write(&elsewhere.join(".mysqlset.json"), &publishing());
    write(&elsewhere.join("ibdata1"), "ours");
    write(&elsewhere.join(".mysqlset-stage/data/mysql/user"), "ours");
    let ended = place.clone(&[]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    for name in ["mysql", "mysql/user", ".mysqlset.json"] {
        assert_eq!(elsewhere.join(name).metadata().unwrap().uid(), USER, "{name}");
    }
    assert!(!elsewhere.join(".mysqlset-stage").exists());
}

/// Earlier versions gave the stage to the server's user. A partly moved copy is still finished, and only its own files
/// are given.
#[test]
fn an_earlier_versions_publishing_finishes_with_its_own_files_alone() {
    for (is_planted, code) in [(true, 51), (false, 0)] {
        let place = Place::new();
        write(&place.in_data_dir(".mysqlset.json"), &publishing());
        write(&place.in_data_dir("ibdata1"), "ours");
        write(&place.in_data_dir(".mysqlset-stage/data/mysql/user"), "ours");
        give(&place.data_dir());
        if is_planted {
            std::fs::hard_link(place.outside("file"), place.in_data_dir(".mysqlset-stage/data/mysql/file")).unwrap();
        }
        let before = tree(place.outside.path());
        let ended = place.clone(&[]);
        assert_eq!(ended.code, Some(code), "{}", ended.log);
        assert!(tree(place.outside.path()) == before, "{}", ended.log);
        assert_eq!(place.in_data_dir("mysql/user").exists(), !is_planted);
        assert_eq!(place.in_data_dir(".mysqlset-stage").exists(), is_planted);
    }
}

struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_mount_in_the_stage_is_kept_as_it_is() {
    let place = Place::new();
    place.stage_copy();
    let inside = place.staged("data/app");
    std::fs::create_dir(&inside).unwrap();
    let mounted = Command::new("mount").arg("--bind").arg(place.outside("data")).arg(&inside).status().unwrap();
    assert!(mounted.success());
    let mounted = Mounted(inside);
    let before = tree(place.outside.path());
    let ended = place.clone(&[]);
    assert_eq!(ended.code, Some(51), "{}", ended.log);
    assert!(ended.log.has_with(Event::ExitDisk, "data/app is a mount point"), "{}", ended.log);
    // The same where the stage is thrown away.
    std::fs::remove_file(place.staged(".mysqlset.json")).unwrap();
    let ended = place.clone(&[]);
    assert_eq!(ended.code, Some(51), "{}", ended.log);
    assert!(tree(place.outside.path()) == before, "{}", ended.log);
    drop(mounted);
    let ended = place.clone(&[]);
    assert_eq!(ended.code, Some(20), "{}", ended.log);
}
