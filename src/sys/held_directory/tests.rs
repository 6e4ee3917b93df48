use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

fn volume() -> (tempfile::TempDir, Spot) {
    let volume = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(volume.path().join("outside/deep")).unwrap();
    std::fs::write(volume.path().join("outside/file"), "theirs").unwrap();
    std::fs::create_dir_all(volume.path().join("held/app")).unwrap();
    std::fs::write(volume.path().join("held/app/t"), "ours").unwrap();
    let held = Spot::of(&volume.path().join("held")).unwrap();
    (volume, held)
}

fn both(top: &Spot, below: &str, flags: OFlags) -> [rustix::io::Result<OwnedFd>; 2] {
    let fd = top.top().unwrap();
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    [
        open_below(fd, Path::new(below), flags, ResolveFlags::empty()),
        open_name_by_name(fd, Path::new(below), flags, ResolveFlags::empty()),
    ]
}

#[test]
fn links_and_parent_paths_are_refused_with_and_without_openat2() {
    let (volume, held) = volume();
    symlink("../outside", volume.path().join("held/link")).unwrap();
    symlink("../../outside/file", volume.path().join("held/app/leaf")).unwrap();
    for below in ["link/file", "link/deep", "link", "app/leaf", "../outside/file", "app/../../outside/file", "/etc"] {
        for opened in both(&held, below, OFlags::RDONLY) {
            assert!(opened.is_err(), "{below}");
        }
    }
    for below in ["app/t", "app", "./app/./t"] {
        for opened in both(&held, below, OFlags::RDONLY) {
            assert!(opened.is_ok(), "{below}");
        }
    }
    let error = held.join("link/file").open_file().unwrap_err();
    assert!(is_strange(&error) && error.to_string().contains("held/link is a symbolic link"), "{error}");
    let error = held.join("link/new").replace(b"", 0o600, None).unwrap_err();
    assert!(is_strange(&error), "{error}");
    assert!(held.join("link").entries().is_err() && held.join("link").remove_tree().is_err());
    assert!(!held.join("link/file").exists() && held.join("link").is_link());
}

/// The tests run as root.
#[test]
fn a_configured_path_may_be_a_link_of_roots_own() {
    let (volume, _held) = volume();
    let link = volume.path().join("link");
    symlink("held", &link).unwrap();
    assert!(link.spot().unwrap().join("app/t").exists());
    std::os::unix::fs::lchown(&link, Some(999), Some(999)).unwrap();
    let error = link.spot().unwrap_err();
    assert!(is_strange(&error) && error.to_string().contains("a user other than root"), "{error}");
}

#[test]
fn a_fifo_a_socket_and_a_device_are_refused_without_blocking() {
    let (volume, held) = volume();
    rustix::fs::mknodat(CWD, volume.path().join("held/fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(volume.path().join("held/sock")).unwrap();
    symlink("/dev/zero", volume.path().join("held/dev")).unwrap();
    for (name, what) in [("fifo", "a fifo"), ("sock", "a socket"), ("dev", "a symbolic link"), ("app", "a directory")] {
        for outcome in [held.join(name).open_file().map(drop), held.join(name).read_bounded(10).map(drop)] {
            let error = outcome.unwrap_err();
            assert!(is_strange(&error) && error.to_string().contains(what), "{error}");
        }
    }
}

#[test]
fn a_held_directory_stays_the_same_after_its_name_is_taken() {
    let (volume, held) = volume();
    std::fs::rename(volume.path().join("held"), volume.path().join("elsewhere")).unwrap();
    symlink("outside", volume.path().join("held")).unwrap();
    held.join("new").replace(b"x", 0o600, None).unwrap();
    assert!(volume.path().join("elsewhere/new").exists() && !volume.path().join("outside/new").exists());
    let way = held.clone().way();
    assert_eq!(std::fs::read(way.join("app/t")).unwrap(), b"ours");
    assert_eq!(held.real_path().unwrap().file_name().unwrap(), "elsewhere");
    held.clear().unwrap();
    assert!(volume.path().join("outside/file").exists() && !volume.path().join("elsewhere/app").exists());
}

#[test]
fn children_reach_a_held_directory_by_the_same_path() {
    let (volume, held) = volume();
    let held = held.for_children().unwrap();
    std::fs::rename(volume.path().join("held"), volume.path().join("elsewhere")).unwrap();
    let output = std::process::Command::new("cat").arg(held.way().join("app/t")).output().unwrap();
    assert_eq!(output.stdout, b"ours");
    let told = in_words(&format!("reading {}", held.join("app").way().display())).into_owned();
    assert_eq!(told, format!("reading {}", volume.path().join("held/app").display()));
}

#[test]
fn a_file_replaces_links_and_leftovers_and_never_writes_through_them() {
    let (volume, held) = volume();
    let there = |name: &str| volume.path().join("held").join(name);
    symlink("../outside/file", there("file")).unwrap();
    symlink("../outside/file", there(".file.new")).unwrap();
    held.join("file").replace(b"one", 0o640, None).unwrap();
    assert_eq!(std::fs::read(there("file")).unwrap(), b"one");
    assert_eq!(there("file").symlink_metadata().unwrap().mode() & 0o7777, 0o640);
    // The hard link is replaced, and the file it shares stays as it is.
    std::fs::hard_link(volume.path().join("outside/file"), there(".file.new")).unwrap();
    held.join("file").replace(b"two", 0o600, None).unwrap();
    assert_eq!(std::fs::read(volume.path().join("outside/file")).unwrap(), b"theirs");
    std::fs::create_dir(there(".file.new")).unwrap();
    let error = held.join("file").replace(b"three", 0o600, None).unwrap_err();
    assert!(is_strange(&error), "{error}");
    assert_eq!(std::fs::read(there("file")).unwrap(), b"two");
    let names = held.entries().unwrap().into_iter().map(|entry| entry.name).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names, [".file.new", "app", "file"].map(OsString::from).into());
}

#[test]
fn a_tree_is_removed_with_its_links_and_not_through_them() {
    let (volume, held) = volume();
    symlink("../../outside", volume.path().join("held/app/link")).unwrap();
    assert!(held.join("app").remove_tree().unwrap());
    assert!(!held.join("app").remove_tree().unwrap());
    assert!(volume.path().join("outside/deep").is_dir() && volume.path().join("outside/file").exists());
    symlink("../outside", volume.path().join("held/app")).unwrap();
    held.join("app").remove_whatever_it_is().unwrap();
    assert!(!held.join("app").exists() && volume.path().join("outside/file").exists());
}

/// The tests run as root.
#[test]
fn files_that_may_belong_to_others_keep_their_owner() {
    const TAKER: Taker = Taker { uid: Some(999), gid: 998 };
    let (volume, held) = volume();
    let owner = |name: &str| {
        let found = volume.path().join(name).symlink_metadata().unwrap();
        (found.uid(), found.gid())
    };
    held.give_tree(TAKER).unwrap();
    assert!(["held", "held/app", "held/app/t"].into_iter().all(|name| owner(name) == (999, 998)));
    type Plant = fn(&Path, &Path);
    let plant: [(&str, Plant); 3] = [
        ("symbolic link", |path, _| symlink("../../outside", path).unwrap()),
        ("another name", |path, volume| std::fs::hard_link(volume.join("outside/file"), path).unwrap()),
        ("fifo", |path, _| rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap()),
    ];
    for (what, plant) in plant {
        let planted = volume.path().join("held/app/planted");
        plant(&planted, volume.path());
        let error = held.give_tree(TAKER).unwrap_err();
        assert!(is_strange(&error) && error.to_string().contains(what), "{error}");
        assert!(error.to_string().contains("held/app/planted"), "{error}");
        std::fs::remove_file(planted).unwrap();
    }
    assert!(["outside", "outside/file", "outside/deep"].into_iter().all(|name| owner(name) == (0, 0)));
    // A second name is harmless on a file that the new owner already has.
    std::fs::hard_link(volume.path().join("held/app/t"), volume.path().join("held/app/again")).unwrap();
    held.give_tree(TAKER).unwrap();
}

/// Mounts inside the directory. Only the node's root can mount: without CAP_SYS_ADMIN the test fails.
#[test]
fn another_mount_keeps_its_owner_and_its_files() {
    let (volume, held) = volume();
    let (outside, inside) = (volume.path().join("outside"), volume.path().join("held/app"));
    let mount = |arguments: &[&std::ffi::OsStr]| {
        std::process::Command::new("mount").args(arguments).status().unwrap().success()
    };
    assert!(mount(&["--bind".as_ref(), outside.as_ref(), inside.as_ref()]), "mount --bind");
    let given = held.give_tree(Taker { uid: Some(999), gid: 998 });
    let cleared = held.clear();
    assert!(std::process::Command::new("umount").arg(&inside).status().unwrap().success());
    for outcome in [given, cleared] {
        let error = outcome.unwrap_err();
        assert!(is_strange(&error) && error.to_string().contains("held/app is a mount point"), "{error}");
    }
    assert!(outside.join("file").exists() && outside.metadata().unwrap().uid() == 0);
}
