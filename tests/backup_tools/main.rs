//! Percona XtraBackup of each series, played by a script of the harness. The tests find it, ask its version, and have
//! it copy and prepare. Others place it between a real donor and a real recipient, whose server is a stand-in too.
//!
//! These tests prove how this program handles the tools' known behaviour. They take that behaviour itself as given.

mod clones;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use harness::stand_ins::xtrabackup::{SERIES, StandIn, account, install, recorded};
use mysqlset::clone::method::backup_tool::{Attempt, Backup, BackupLines, BackupTool, Proof, prepare, writer_of};
use mysqlset::datadir::backup_metadata::{self, Checkpoints};
use mysqlset::model::exit::{self, Reason};
use mysqlset::model::host::HostPort;
use mysqlset::model::position::Position;
use mysqlset::sys::child::{Ended, Running};
use mysqlset::sys::limits::Descriptors;
use mysqlset::unpack::{Format, unpack};

/// Starts the tool's backup and gives its output to `read`.
fn backup(tool: &BackupTool, read: impl FnOnce(ChildStdout)) -> Ended<BackupLines> {
    let scratch = tempfile::tempdir().unwrap();
    let mut running: Running<BackupLines> = tool
        .start_backup(&Backup {
            server: &HostPort { host: "127.0.0.1".into(), port: 3306 },
            account: &account(),
            data_dir: Path::new("/var/lib/mysql"),
            scratch: scratch.path(),
            lock_wait: Duration::from_secs(60),
            threads: 2,
            variables: &BTreeMap::new(),
            descriptors: Descriptors::for_files(0).unwrap(),
            mean_file_bytes: 1 << 20,
            of_replica: true,
        })
        .unwrap();
    read(running.take_stdout().unwrap());
    running.wait().unwrap()
}

fn backup_in_memory(tool: &BackupTool) -> (Vec<u8>, Ended<BackupLines>) {
    let mut stream = Vec::new();
    let ended = backup(tool, |mut output| {
        output.read_to_end(&mut stream).unwrap();
    });
    (stream, ended)
}

/// A backup of this series in a directory of its own, not prepared.
fn unpacked(stand_in: &StandIn) -> tempfile::TempDir {
    let (stream, _) = backup_in_memory(&stand_in.find());
    let outer = tempfile::tempdir().unwrap();
    let data = outer.path().join("data");
    std::fs::create_dir(&data).unwrap();
    unpack(Format::XbstreamPercona, stream.as_slice(), &data).unwrap();
    outer
}

#[test]
fn each_series_is_found_by_name_and_asked_for_its_version() {
    for (version, base) in SERIES {
        let stand_in = StandIn::of((version, base));
        let found = stand_in.find();
        assert_eq!(found.to_string(), format!("xtrabackup {version}"));
        assert_eq!(found.series(), version.splitn(3, '.').take(2).collect::<Vec<_>>().join("."));
        let takes_tar = found.formats().contains(&Format::Tar);
        assert_eq!((found.format(), takes_tar), (Format::XbstreamPercona, version.starts_with('2')), "{version}");
        assert_eq!(found.uncounted_options().unwrap(), [""; 0]);
    }
}

#[test]
fn mariadb_backup_is_found_by_either_name_and_after_xtrabackup() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["mariabackup", "mariadb-backup"] {
        let program = directory.path().join(name);
        let script = format!("#!/bin/sh\necho {name} based on MariaDB server 11.8.9-MariaDB Linux '(x86_64)' >&2\n");
        install(&script, &program);
        let found = BackupTool::find_in(directory.path().as_os_str()).unwrap();
        assert_eq!((found.to_string(), found.format()), (format!("{name} 11.8.9"), Format::XbstreamMariaDb));
    }
    let percona = StandIn::of(SERIES[3]);
    let path = std::env::join_paths([directory.path(), percona.directory()]).unwrap();
    assert_eq!(BackupTool::find_in(&path).unwrap().to_string(), "xtrabackup 8.0.35-31");
}

#[test]
fn a_path_without_a_tool_is_an_error() {
    let error = |path: &OsStr| {
        let error = BackupTool::find_in(path).unwrap_err();
        assert_eq!(exit::reason_of(&error), Some(Reason::NoBackupTool));
        format!("{error:#}")
    };
    assert!(error(OsStr::new("")).contains("looked for xtrabackup, mariadb-backup, mariabackup"));
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("xtrabackup");
    install("#!/bin/sh\necho a wrapper that has lost its tool >&2\nexit 127\n", &program);
    assert!(error(directory.path().as_os_str()).contains("a wrapper that has lost its tool"));
    // Root too may execute only a file with an execute bit.
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(error(directory.path().as_os_str()).contains("no backup tool in PATH"));
}

#[test]
fn each_series_gets_only_known_options_and_no_password() {
    for series in SERIES {
        let stand_in = StandIn::of(series);
        let (stream, ended) = backup_in_memory(&stand_in.find());
        assert!(ended.status.success(), "{series:?}: {}", ended.why());
        assert!(ended.lines.is_completed());
        let calls = stand_in.calls();
        assert!(calls.contains("--backup --stream=xbstream ") && calls.contains(" --slave-info"), "{calls}");
        assert!(!calls.contains("s3c"), "{calls}");
        let data = tempfile::tempdir().unwrap();
        let summary = unpack(Format::XbstreamPercona, stream.as_slice(), data.path()).unwrap();
        summary.require_backup_metadata().unwrap();
        backup_metadata::position_of_primary(data.path(), writer_of(Format::XbstreamPercona)).unwrap();
    }
}

/// Proves that the tests above would notice an unknown option.
#[test]
fn an_unknown_option_ends_a_tool() {
    for option in ["--slave-info", "--parallel", "--ftwrl-wait-timeout", "--no-version-check"] {
        let stand_in = StandIn::of(SERIES[1]);
        stand_in.lacks(option);
        let (stream, ended) = backup_in_memory(&stand_in.find());
        assert_eq!((stream.len(), ended.in_words()), (0, "ended with 2".to_owned()), "{option}");
        assert!(ended.why().contains(option), "{}", ended.why());
    }
}

/// An option that is deprecated today will be removed one day.
#[test]
fn a_release_without_the_version_check_works() {
    let stand_in = StandIn::of(("10.7.1-1", "10.7.1"));
    stand_in.lacks("--no-version-check");
    let (_, ended) = backup_in_memory(&stand_in.find());
    assert!(ended.status.success(), "{}", ended.why());
}

#[test]
fn a_replicas_backup_says_where_its_source_was() {
    let stand_in = StandIn::of(SERIES[0]);
    stand_in.streams(&recorded("replica-5.6"));
    let outer = unpacked(&stand_in);
    let data = outer.path().join("data");
    let source = Position::BinlogFile { file: "mysql-bin.000003".into(), offset: 1575 };
    assert_eq!(backup_metadata::position_of_source(&data).unwrap(), source);
}

#[test]
fn a_multi_threaded_replica_without_gtid_is_not_copied() {
    let stand_in = StandIn::of(SERIES[4]);
    stand_in.takes_the_way("multi-threaded");
    let (stream, ended) = backup_in_memory(&stand_in.find());
    assert_eq!((stream.len(), ended.in_words()), (0, "ended with 1".to_owned()));
    assert!(ended.why().contains("requires GTID"), "{}", ended.why());
}

#[test]
fn a_tool_ends_after_its_reader() {
    let stand_in = StandIn::of(SERIES[1]);
    stand_in.takes_the_way("endless");
    let ended = backup(&stand_in.find(), |mut output| output.read_exact(&mut [0; 100_000]).unwrap());
    assert_eq!(ended.in_words(), "ended with 1");
    assert!(ended.why().contains("Errcode: 32 - Broken pipe"), "{}", ended.why());
}

fn attempt(stand_in: &StandIn, data: &Path) -> Attempt {
    prepare(&stand_in.find(), data, 64 << 20, 0).unwrap()
}

fn failure(stand_in: &StandIn, data: &Path) -> anyhow::Error {
    match attempt(stand_in, data) {
        Attempt::Failed(error) => error,
        Attempt::Whole(proof) => panic!("prepared: {proof:?}"),
        Attempt::Killed { error, .. } => panic!("killed: {error}"),
    }
}

#[test]
fn each_series_prepares_once() {
    for series in SERIES {
        let stand_in = StandIn::of(series);
        let outer = unpacked(&stand_in);
        let data = outer.path().join("data");
        assert_eq!(backup_metadata::checkpoints(&data).unwrap(), Some(Checkpoints::Unprepared));
        assert!(matches!(attempt(&stand_in, &data), Attempt::Whole(Proof::Complete)), "{series:?}");
        assert_eq!(backup_metadata::checkpoints(&data).unwrap(), Some(Checkpoints::Prepared));
        assert!(stand_in.calls().contains("--prepare --use-memory=67108864 --target-dir="), "{}", stand_in.calls());
        // A second try says nothing about the first.
        let failure = failure(&stand_in, &data).to_string();
        assert!(failure.contains("prepared already"), "{failure}");
    }
}

#[test]
fn an_incomplete_prepare_is_refused() {
    for (missing, way, says) in [
        (Some("xtrabackup_checkpoints"), "good", "cannot open ./xtrabackup_checkpoints"),
        (Some("xtrabackup_logfile"), "good", "xtrabackup_init_temp_log() failed"),
        (None, "short-log", "part of its log is missing or damaged"),
        (None, "endless-log", "does not say which log sequence number it reached"),
        (None, "forgetful", "does not say that the backup is prepared"),
        (None, "speechless", "did not say \"completed OK!\""),
    ] {
        for series in [SERIES[0], SERIES[4]] {
            let stand_in = StandIn::of(series);
            let outer = unpacked(&stand_in);
            let data = outer.path().join("data");
            if let Some(missing) = missing {
                std::fs::remove_file(data.join(missing)).unwrap();
            }
            stand_in.takes_the_way(way);
            let error = failure(&stand_in, &data);
            assert_eq!(exit::reason_of(&error), Some(Reason::Prepare));
            let failure = error.to_string();
            assert!(failure.contains(says) && failure.contains(&stand_in.find().to_string()), "{failure}");
        }
    }
}

/// The consequence of a fault is no reason. Where the tool said nothing known, its status is reported.
#[test]
fn an_unknown_complaint_is_not_shown() {
    let stand_in = StandIn::of(SERIES[1]);
    let outer = unpacked(&stand_in);
    stand_in.takes_the_way("unhelpful");
    let failure = failure(&stand_in, &outer.path().join("data")).to_string();
    assert_eq!(failure, "xtrabackup 2.4.29 ended with 1");
}

#[test]
fn a_full_volume_ends_a_prepare_that_would_go_on_for_ever() {
    let stand_in = StandIn::of(SERIES[1]);
    let outer = unpacked(&stand_in);
    stand_in.takes_the_way("volume-full");
    let started = Instant::now();
    let error = failure(&stand_in, &outer.path().join("data"));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(exit::reason_of(&error), Some(Reason::DiskFull));
    assert!(error.to_string().contains("the volume is full"), "{error}");
}

/// Recorded with real tools and damaged logs. All ended with success, except the first one of `emfile`.
#[test]
fn recorded_prepares_succeed_only_for_whole_backups() {
    for (version, base) in [("2.3.5", "5.6.24"), ("2.4.20", "5.7.26")] {
        for (damage, says) in [
            ("good", None),
            ("tail", Some("part of its log is missing or damaged")),
            ("half", Some("")),
            ("all", Some("It is possible that the database is now corrupt")),
            ("emfile", Some("too many open files")),
        ] {
            let stand_in = StandIn::of((version, base));
            stand_in.replays(&format!("{version}-{damage}"));
            let outer = unpacked(&stand_in);
            let data = outer.path().join("data");
            match (attempt(&stand_in, &data), says) {
                (Attempt::Whole(Proof::Complete), None) => {}
                (Attempt::Failed(error), Some(says)) => {
                    assert!(error.to_string().contains(says), "{version} {damage}: {error}");
                }
                (Attempt::Whole(proof), _) => panic!("{version} {damage}: taken for whole: {proof:?}"),
                (Attempt::Failed(error) | Attempt::Killed { error, .. }, _) => panic!("{version} {damage}: {error}"),
            }
            // The second prepare reports success each time. This program never believes it.
            assert!(matches!(attempt(&stand_in, &data), Attempt::Failed(_)), "{version} {damage}");
        }
    }
}

#[test]
fn an_unknown_version_proves_less() {
    let stand_in = StandIn::of(("10.7.1-1", "10.7.1"));
    let outer = unpacked(&stand_in);
    assert!(matches!(attempt(&stand_in, &outer.path().join("data")), Attempt::Whole(Proof::UnknownWords)));
    // A fault that it reports still counts.
    let outer = unpacked(&stand_in);
    stand_in.takes_the_way("short-log");
    assert!(failure(&stand_in, &outer.path().join("data")).to_string().contains("missing or damaged"));
}
