//! Planted contents of the volume, before a start of `clone`.

use std::os::unix::fs::{lchown, symlink};
use std::process::Command;

use crate::place::{Ended, Place, USER, give, journal, make_fifo, publishing, tree, write};

/// The planted content, and the output of `clone`.
struct Case {
    name: &'static str,
    plant: fn(&Place),
    arguments: &'static [&'static str],
    code: i32,
    says: &'static str,
}

const fn case(name: &'static str, plant: fn(&Place), code: i32, says: &'static str) -> Case {
    Case { name, plant, arguments: &["--rehearsal", "off"], code, says }
}

/// The content before a start, without a second process at the same time.
const CASES: &[Case] = &[
    case("a link at the stage", |place| symlink(place.outside.path(), place.stage()).unwrap(), 20, "stage_impostor"),
    case("a fifo at the stage", |place| make_fifo(&place.stage()), 20, "stage_impostor"),
    case(
        "a link at the copy",
        |place| {
            write(&place.staged(".mysqlset.json"), &publishing());
            symlink(place.outside("data"), place.staged("data")).unwrap();
        },
        20,
        "stage_impostor",
    ),
    case(
        "a stage that the server's user has made, with a hard link",
        |place| {
            place.stage_copy();
            std::fs::remove_file(place.staged("data/ibdata1")).unwrap();
            give(&place.stage());
            std::fs::hard_link(place.outside("file"), place.staged("data/ibdata1")).unwrap();
        },
        20,
        "stage_of_another",
    ),
    case(
        "a hard link in a stage of root's",
        |place| {
            place.stage_copy();
            std::fs::hard_link(place.outside("file"), place.staged("data/mysql/file")).unwrap();
        },
        51,
        "data/mysql/file is a file that has another name too",
    ),
    case(
        "a link in the copy",
        |place| {
            place.stage_copy();
            symlink(place.outside("data/app"), place.staged("data/app")).unwrap();
        },
        51,
        "data/app is a symbolic link",
    ),
    case(
        "a fifo in the copy",
        |place| {
            place.stage_copy();
            make_fifo(&place.staged("data/mysql/fifo"));
        },
        51,
        "data/mysql/fifo is a fifo",
    ),
    case(
        "a device in the copy",
        |place| {
            place.stage_copy();
            let null = Command::new("mknod").arg(place.staged("data/null")).args(["c", "1", "3"]).status().unwrap();
            assert!(null.success());
        },
        51,
        "data/null is a device",
    ),
    case(
        "a fifo in the place of the donor's list",
        |place| {
            place.stage_copy();
            write(&place.staged(".mysqlset.json"), &publishing().replace("publishing", "prepared"));
            make_fifo(&place.staged("inventory"));
        },
        20,
        "stage_impostor",
    ),
    case(
        "a link at the journal",
        |place| {
            place.with_database();
            symlink(place.outside("journal"), place.in_data_dir(".mysqlset.json")).unwrap();
        },
        32,
        "is a symbolic link",
    ),
    case(
        "a link where the journal is written",
        |place| {
            place.with_database();
            write(&place.in_data_dir(".mysqlset.json"), &journal("published"));
            symlink(place.outside("file"), place.in_data_dir(".mysqlset.json.new")).unwrap();
        },
        0,
        "data.complete",
    ),
    case(
        "a hard link where the journal is written",
        |place| {
            place.with_database();
            write(&place.in_data_dir(".mysqlset.json"), &journal("published"));
            std::fs::hard_link(place.outside("file"), place.in_data_dir(".mysqlset.json.new")).unwrap();
        },
        0,
        "data.complete",
    ),
    case(
        "a directory where the journal is written",
        |place| {
            place.with_database();
            write(&place.in_data_dir(".mysqlset.json"), &journal("published"));
            std::fs::create_dir(place.in_data_dir(".mysqlset.json.new")).unwrap();
        },
        51,
        ".mysqlset.json.new is a directory",
    ),
    case(
        "a link of the server's user at the data directory",
        |place| {
            std::fs::remove_dir(place.data_dir()).unwrap();
            symlink(place.outside("empty"), place.data_dir()).unwrap();
            lchown(place.data_dir(), Some(USER), Some(USER)).unwrap();
        },
        51,
        "is a symbolic link of user 999",
    ),
    case(
        "a fifo at the log of a database that mysqlset did not make",
        |place| {
            place.with_database();
            make_fifo(&place.in_data_dir("ib_logfile0"));
        },
        51,
        "ib_logfile0 is a fifo",
    ),
    Case {
        name: "a fifo at the index of another pod's logs",
        plant: |place| {
            place.with_database();
            write(&place.in_data_dir(".mysqlset.json"), &journal("published"));
            make_fifo(&place.in_data_dir("shop-1-bin.index"));
            write(&place.volume.path().join("conf/x.cnf"), "[mysqld]\nlog_bin=mysql-1-bin\n");
        },
        arguments: &["--server-config", "VOLUME/conf"],
        code: 51,
        says: "shop-1-bin.index is a fifo",
    },
    Case {
        name: "a link at a place that the server's configuration names",
        plant: |place| {
            place.stage_copy();
            symlink(place.outside("empty"), place.staged("data/undo")).unwrap();
            write(&place.volume.path().join("conf/x.cnf"), "[mysqld]\ninnodb_undo_directory=undo\n");
        },
        arguments: &["--server-config", "VOLUME/conf"],
        code: 21,
        says: "innodb_undo_directory",
    },
    Case {
        name: "a link where the rehearsal tries the volume",
        plant: |place| symlink(place.outside("empty"), place.volume.path().join(".mysqlset-check")).unwrap(),
        arguments: &[],
        code: 20,
        says: "exit.no_donor",
    },
];

fn said(place: &Place, arguments: &[&str]) -> Ended {
    let volume = place.volume.path().to_str().unwrap();
    let arguments: Vec<String> = arguments.iter().map(|word| word.replace("VOLUME", volume)).collect();
    place.clone(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn planted_entries_change_nothing_outside() {
    let mut wrong = Vec::new();
    for case in CASES {
        let place = Place::new();
        (case.plant)(&place);
        let before = tree(place.outside.path());
        // A second start finds the leftovers of the first.
        for start in ["first", "second"] {
            let ended = said(&place, case.arguments);
            if tree(place.outside.path()) != before {
                wrong.push(format!("{}, {start} start: something outside has changed\n{}", case.name, ended.log));
            }
            let is_expected = ended.code == Some(case.code) && ended.log.contains(case.says);
            if start == "first" && !is_expected {
                wrong.push(format!("{}: {:?}, {}\n{}", case.name, ended.code, case.says, ended.log));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}
