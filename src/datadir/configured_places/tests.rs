use super::*;
use crate::model::exit::reason_of;

fn copy(names: &[&str]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(copy.path().join(name), name).unwrap();
    }
    copy
}

fn spot(copy: &tempfile::TempDir) -> Spot {
    Spot::of(copy.path()).unwrap()
}

fn made(text: &str, names: &[&str]) -> (tempfile::TempDir, Result<()>) {
    let copy = copy(names);
    let config = ServerConfig::of_text(text);
    let made = make(&config, Path::new("/volume/mysql"), &spot(&copy));
    let again = made.is_ok().then(|| make(&config, Path::new("/volume/mysql"), &spot(&copy)));
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
fn files_at_the_top_move_to_their_configured_places() {
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

/// As a start does it: announced, then made.
fn place(text: &str, copy: &Spot, placed: &mut Placed) -> Result<()> {
    let (config, data_dir) = (ServerConfig::of_text(text), Path::new("/volume/mysql"));
    gather(placed, copy)?;
    placed.add(Placed::plan(&config, data_dir, copy)?);
    make(&config, data_dir, copy)?;
    Ok(())
}

#[test]
fn another_configuration_gets_its_own_places() {
    let names = ["ibdata1", "ib_logfile0", "undo001"];
    let configurations = [
        (
            "innodb_data_home_dir=home\ninnodb_log_group_home_dir=redo\ninnodb_undo_directory=undo",
            "home/ibdata1 redo/ib_logfile0 undo/undo001",
        ),
        (
            "innodb_log_group_home_dir=undo\ninnodb_undo_directory=deep/undo",
            "ibdata1 undo/ib_logfile0 deep/undo/undo001",
        ),
        ("log_bin=binlogs/b", "ibdata1 ib_logfile0 undo001"),
        ("", "ibdata1 ib_logfile0 undo001"),
    ];
    for (first, before) in configurations {
        for (second, after) in configurations {
            let (copy, mut placed) = (copy(&names), Placed::default());
            let is_there = |all: &str| all.split(' ').all(|path| copy.path().join(path).is_file());
            place(first, &spot(&copy), &mut placed).unwrap();
            assert!(is_there(before), "{first}");
            let config = ServerConfig::of_text(second);
            let fits = placed.fits(&config, Path::new("/volume/mysql"), &spot(&copy)).unwrap();
            assert_eq!(fits, before == after, "{first}, then {second}");
            place(second, &spot(&copy), &mut placed).unwrap();
            assert!(is_there(after), "{first}, then {second}");
            gather(&placed, &spot(&copy)).unwrap();
            // Everything else is gone, directories included.
            let left = std::fs::read_dir(copy.path()).unwrap().count();
            assert!(left == names.len() && is_there(&names.join(" ")), "{first}, then {second}");
        }
    }
}

#[test]
fn files_that_a_server_made_at_a_place_are_gathered_or_refused() {
    let (copy, mut placed) = (copy(&["undo001"]), Placed::default());
    place("innodb_undo_directory=undo\ninnodb_log_group_home_dir=redo", &spot(&copy), &mut placed).unwrap();
    for name in ["undo/undo002", "redo/ib_logfile0", "undo/other"] {
        std::fs::write(copy.path().join(name), "").unwrap();
    }
    gather(&placed, &spot(&copy)).unwrap();
    assert!(["undo001", "undo002", "ib_logfile0", "undo/other"].iter().all(|name| copy.path().join(name).is_file()));
    std::fs::write(copy.path().join("undo/undo001"), "").unwrap();
    let error = gather(&placed, &spot(&copy)).unwrap_err();
    assert_eq!(reason_of(&error), Some(Reason::Refused));
    assert!(error.to_string().contains("both undo/undo001 and undo001"), "{error}");
}

#[test]
fn a_partly_published_copy_gets_directories_in_the_right_part() {
    let (data_dir, staged) = (copy(&[]), copy(&[]));
    std::fs::create_dir(data_dir.path().join("logs")).unwrap();
    let config = ServerConfig::of_text("log_bin=logs/binary/b\nrelay_log=relay/r");
    let data = Spot::of(data_dir.path()).unwrap();
    let paths = |made: Result<Vec<Spot>>| made.unwrap().iter().map(Spot::path).collect::<Vec<_>>();
    let make = |staged: &Spot| paths(make_directories(&config, data_dir.path(), &data, staged, true));
    let (logs, binary) = (data_dir.path().join("logs"), data_dir.path().join("logs/binary"));
    assert_eq!(make(&spot(&staged)), [binary.clone(), logs.clone(), staged.path().join("relay")]);
    assert!(binary.is_dir() && staged.path().join("relay").is_dir());
    // A file in its place is outside the copy.
    let beside = paths(make_directories(&config, data_dir.path(), &data, &spot(&staged), false));
    assert!(beside.iter().all(|directory| directory.starts_with(staged.path())), "{beside:?}");
    // The whole copy is published.
    std::fs::rename(staged.path().join("relay"), data_dir.path().join("relay")).unwrap();
    assert_eq!(make(&Spot::nowhere("/nowhere/at/all".into())), [binary, logs, data_dir.path().join("relay")]);
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
fn a_file_in_the_way_is_named() {
    let (_copy, made) = made("log_bin=binlogs/b", &["binlogs"]);
    let error = made.unwrap_err();
    assert!(error.to_string().contains("log_bin = binlogs/b"), "{error}");
    assert_eq!(reason_of(&error), Some(Reason::Refused));
}

#[test]
fn outside_places_are_refused_with_their_settings() {
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
