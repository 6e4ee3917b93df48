//! A clone from a real donor to a real recipient. Stand-ins take the place of both tools and of the donor's server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use harness::logged::Said;
use harness::stand_ins::server;
use harness::stand_ins::xtrabackup::{PASSWORD, SERIES, StandIn};
use mysqlset::model::event::Event;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_mysqlset");

/// Exit codes: all backups incomplete; all donors refused; every prepare failed; the volume is full.
const NO_DONOR: i32 = 20;
const REFUSED: i32 = 21;
const NOT_PREPARED: i32 = 41;
const FULL: i32 = 50;

/// Exit code: the prepare of the backup failed.
const NOT_WHOLE: i32 = 41;

const PATIENCE: Duration = Duration::from_secs(30);

/// An address of this machine for one test alone.
fn address() -> Ipv4Addr {
    static NUMBER: AtomicU8 = AtomicU8::new(64);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, NUMBER.fetch_add(1, Ordering::Relaxed), high, low.clamp(1, 254))
}

/// A donor, `mysql-0`, ended when dropped.
struct Donor {
    address: Ipv4Addr,
    sidecar: Child,
    directory: TempDir,
}

impl Drop for Donor {
    fn drop(&mut self) {
        let _ = self.sidecar.kill();
        let _ = self.sidecar.wait();
    }
}

impl Donor {
    fn start(tool: &StandIn, server: &str) -> Donor {
        let (address, directory) = (address(), tempfile::tempdir().unwrap());
        server::start(TcpListener::bind((address, 3306)).unwrap(), server);
        let data = directory.path().join("mysql");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("ibdata1"), "not one").unwrap();
        let mut command = Command::new(BINARY);
        command.args(["sidecar", "--hostname", "mysql-0", "--donate-to-anyone", "--backup-user", "backup"]);
        // Where the tool does not fit, the plugin would replace it.
        command.args(["--method", "backup-tool"]);
        command.args(["--server-host", &address.to_string(), "--data-dir"]).arg(data);
        command.args(["--clone-listen", &format!("{address}:3307"), "--http-listen", &format!("{address}:8307")]);
        command.env("PATH", path(tool)).env("MYSQLSET_BACKUP_PASSWORD", PASSWORD);
        command.stderr(std::fs::File::create(directory.path().join("log")).unwrap());
        let donor = Donor { address, sidecar: command.stdin(Stdio::null()).spawn().unwrap(), directory };
        let deadline = Instant::now() + PATIENCE;
        while !donor.is_ready() {
            assert!(Instant::now() < deadline, "{}", donor.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        donor
    }

    fn is_ready(&self) -> bool {
        let mut answer = String::new();
        let Ok(mut stream) = TcpStream::connect((self.address, 8307)) else { return false };
        let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: mysql-0\r\nConnection: close\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

/// The stand-in comes first, then the machine's shell and its needs.
fn path(tool: &StandIn) -> String {
    format!("{}:/usr/bin:/bin", tool.directory().display())
}

/// The outcome of a clone.
struct Cloned {
    code: Option<i32>,
    log: String,
    data: PathBuf,
    volume: TempDir,
}

fn clone(donor: &Donor, tool: &StandIn) -> Cloned {
    clone_on(tempfile::tempdir().unwrap(), donor, tool)
}

/// The same on a volume that may hold the files of an earlier start.
fn clone_on(volume: TempDir, donor: &Donor, tool: &StandIn) -> Cloned {
    let data = volume.path().join("mysql");
    let output = Command::new(BINARY)
        .args(["clone", "--hostname", "mysql-1", "--give-up-after", "0", "--owner", "999:999"])
        .args(["--donor", &donor.address.to_string(), "--termination-log", "/dev/null", "--data-dir"])
        .arg(&data)
        .env("PATH", path(tool))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Cloned { code: output.status.code(), log, data, volume }
}

#[test]
fn each_series_clones_a_server_that_it_fits() {
    for (version, server) in [
        ("2.3.5", "5.6.51-log"),
        ("2.4.29", "5.7.44-log"),
        ("2.4.29", "5.6.51"),
        ("8.0.33-28", "8.0.33-25"),
        ("8.0.35-31", "8.0.44"),
        ("8.4.0-1", "8.4.7-7"),
        ("9.1.0-1", "9.1.0"),
        ("9.7.2-2", "9.7.0"),
    ] {
        let series = SERIES.into_iter().find(|(known, _)| *known == version).unwrap();
        let tool = StandIn::of(series);
        let donor = Donor::start(&tool, server);
        let cloned = clone(&donor, &tool);
        assert_eq!(cloned.code, Some(0), "{version} and {server}: {}{}", cloned.log, donor.log());
        let journal = std::fs::read_to_string(cloned.data.join(".mysqlset.json")).unwrap();
        assert!(journal.contains(&format!("xtrabackup {version}")), "{journal}");
        let by_file = version.starts_with('2');
        assert!(journal.contains(if by_file { "mysql-bin.000003" } else { "9e33-c80aa9429562:1-9" }), "{journal}");
        let checkpoints = std::fs::read_to_string(cloned.data.join("xtrabackup_checkpoints")).unwrap();
        assert!(checkpoints.contains("full-prepared"), "{checkpoints}");
        for text in [&cloned.log, &donor.log(), &tool.calls()] {
            assert!(!text.contains("s3c"), "a password is shown: {text}");
        }
    }
}

/// The default of MySQL since 8.0.27. A primary's backup names the primary's own position, which is enough.
#[test]
fn a_multi_threaded_primary_without_gtid_is_copied() {
    let tool = StandIn::of(SERIES[4]);
    tool.takes_the_way("multi-threaded");
    let donor = Donor::start(&tool, "8.4.7");
    let cloned = clone(&donor, &tool);
    assert_eq!(cloned.code, Some(0), "{}{}", cloned.log, donor.log());
}

/// The server has the table before and after the backup, and its tool reports success.
#[test]
fn a_table_that_the_tool_leaves_out_is_missed() {
    for (series, server) in [
        (SERIES[0], "5.6.51-lacking"),
        (SERIES[1], "5.7.44-lacking-log"),
        (SERIES[3], "8.0.44-lacking"),
        (SERIES[6], "9.7.0-lacking"),
    ] {
        let tool = StandIn::of(series);
        let donor = Donor::start(&tool, server);
        let failed = clone(&donor, &tool);
        assert_eq!(failed.code, Some(NOT_WHOLE), "{server}: {}{}", failed.log, donor.log());
        let says = "the copy lacks what the donor held before and after it: app/lost.ibd is missing event=";
        assert!(failed.log.has_with(Event::ExitPrepare, says), "{server}: {}", failed.log);
        assert_eq!(failed.log.count_of(Event::InventoryReceived), 2, "{}", failed.log);
        assert!(!failed.data.join("ibdata1").exists(), "{server}");
    }
}

/// MySQL 5.7 reports encryption by a flag. Its tool would crash where it finds no keys.
#[test]
fn encrypted_tables_are_refused_before_the_first_byte() {
    for (series, server) in [(SERIES[1], "5.7.18-encrypted"), (SERIES[4], "8.4.7-encrypted")] {
        let tool = StandIn::of(series);
        let donor = Donor::start(&tool, server);
        let refused = clone(&donor, &tool);
        assert_eq!(refused.code, Some(REFUSED), "{}{}", refused.log, donor.log());
        assert!(refused.log.names(Event::RefusedEncrypted), "{}", refused.log);
        assert!(refused.log.contains("app/secret") && refused.log.contains("--keyring"), "{}", refused.log);
        assert!(!tool.calls().contains("--backup") && !refused.data.exists(), "{}", tool.calls());
    }
}

#[test]
fn a_tool_that_does_not_fit_the_server_is_not_started() {
    for (series, server) in [
        (SERIES[0], "5.7.44"),
        (SERIES[1], "8.0.36"),
        (SERIES[2], "8.0.36-28"),
        (SERIES[3], "8.4.5"),
        (SERIES[3], "5.7.44-log"),
        (SERIES[4], "8.0.36"),
        (SERIES[5], "9.7.0"),
    ] {
        let tool = StandIn::of(series);
        let donor = Donor::start(&tool, server);
        let refused = clone(&donor, &tool);
        assert_eq!(refused.code, Some(REFUSED), "{}{}", refused.log, donor.log());
        let names_both = refused.log.contains(&format!("xtrabackup {}", series.0)) && refused.log.contains(server);
        assert!(refused.log.names(Event::RefusedMethod) && names_both, "{}", refused.log);
        assert!(!tool.calls().contains("--backup"), "{}", tool.calls());
        assert!(!refused.log.has(Event::ReceiveBegun) && !refused.data.exists(), "{}", refused.log);
    }
}

#[test]
fn a_recipient_with_a_tool_of_another_series_is_sent_nothing() {
    for (theirs, ours, server) in [(SERIES[4], SERIES[3], "8.4.5"), (SERIES[1], SERIES[0], "5.6.51")] {
        let tool = StandIn::of(theirs);
        let donor = Donor::start(&tool, server);
        let refused = clone(&donor, &StandIn::of(ours));
        assert_eq!(refused.code, Some(REFUSED), "{}", refused.log);
        let series = ours.0.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let names_both = refused.log.contains(&format!("xtrabackup {}", theirs.0)) && refused.log.contains(&series);
        assert!(refused.log.names(Event::RefusedMethod) && names_both, "{}", refused.log);
        assert!(!tool.calls().contains("--backup"), "{}", tool.calls());
    }
}

#[test]
fn the_recipient_gets_the_tools_error_and_publishes_nothing() {
    for (way, says) in [
        ("no-reload", "FLUSH NO_WRITE_TO_BINLOG TABLES: Access denied"),
        ("no-replication-client", "SHOW SLAVE STATUS: Access denied"),
        ("server-killed", "Lost connection to MySQL server during query"),
        ("terminated", "was killed by signal 15"),
        ("disk-full", "the volume is full: xtrabackup: Error writing file"),
        ("silent", "did not say \"completed OK!\""),
        ("cut", "ended with success, but its stream is not whole"),
        ("garbage", "the stream of xtrabackup"),
    ] {
        let tool = StandIn::of(SERIES[0]);
        tool.takes_the_way(way);
        let donor = Donor::start(&tool, "5.6.51");
        let failed = clone(&donor, &tool);
        assert_eq!(failed.code, Some(NO_DONOR), "{way}: {}{}", failed.log, donor.log());
        assert!(failed.log.contains(says), "{way}: {}", failed.log);
        assert!(donor.log().has(Event::DonorCloneFailed), "{way}: {}", donor.log());
        assert!(!failed.data.join("ibdata1").exists(), "{way}");
    }
}

#[test]
fn a_refused_password_is_reported_and_hidden() {
    let tool = StandIn::of(SERIES[3]);
    std::fs::write(tool.directory().join("account"), "[client]\nuser=\"backup\"\npassword=\"another\"\n").unwrap();
    let donor = Donor::start(&tool, "8.0.36");
    let failed = clone(&donor, &tool);
    assert_eq!(failed.code, Some(NO_DONOR), "{}", failed.log);
    assert!(failed.log.contains("Access denied for user 'backup'@'127.0.0.1'"), "{}", failed.log);
    for text in [&failed.log, &donor.log(), &tool.calls()] {
        assert!(!text.contains("s3c"), "a password is shown: {text}");
    }
}

/// How often the donor was asked for a backup, and the recipient's tool for a prepare.
fn counts(donors: &StandIn, recipients: &StandIn) -> (usize, usize) {
    (donors.calls().matches("--backup").count(), recipients.calls().matches("--prepare").count())
}

/// Each start of a prepare, with its memory.
fn memories(tool: &StandIn) -> Vec<u64> {
    let calls = tool.calls();
    let words = calls.split_whitespace().filter_map(|word| word.strip_prefix("--use-memory="));
    words.map(|bytes| bytes.parse().unwrap()).collect()
}

#[test]
fn recorded_prepares_of_damaged_backups_are_not_published() {
    for (version, base, server) in [("2.3.5", "5.6.24", "5.6.24"), ("2.4.20", "5.7.26", "5.7.18")] {
        for damage in ["good", "tail", "half", "all", "emfile"] {
            let (theirs, ours) = (StandIn::of((version, base)), StandIn::of((version, base)));
            ours.replays(&format!("{version}-{damage}"));
            let donor = Donor::start(&theirs, server);
            let cloned = clone(&donor, &ours);
            if damage == "good" {
                assert_eq!(cloned.code, Some(0), "{}", cloned.log);
                continue;
            }
            assert_eq!(cloned.code, Some(NOT_PREPARED), "{version} {damage}: {}", cloned.log);
            assert!(!cloned.data.join("ibdata1").exists(), "{version} {damage}");
            // Each try takes another backup, and prepares it once.
            assert_eq!(counts(&theirs, &ours), (2, 2), "{version} {damage}");
        }
    }
}

#[test]
fn a_killed_prepare_is_repeated_with_half_the_memory_while_the_log_is_untouched() {
    for (way, backups) in [("killed-once", 1), ("killed-late-once", 2)] {
        let (theirs, ours) = (StandIn::of(SERIES[4]), StandIn::of(SERIES[4]));
        ours.takes_the_way(way);
        let donor = Donor::start(&theirs, "8.4.7");
        let cloned = clone(&donor, &ours);
        assert_eq!(cloned.code, Some(0), "{way}: {}", cloned.log);
        assert_eq!(counts(&theirs, &ours), (backups, 2), "{way}: {}", cloned.log);
        // The same for another backup.
        let [first, second] = memories(&ours)[..] else { panic!("{}", ours.calls()) };
        assert_eq!(second, (first / 2).max(64 << 20), "{way}");
        let journal = std::fs::read_to_string(cloned.data.join(".mysqlset.json")).unwrap();
        assert!(!journal.contains("received_log") && !journal.contains("memory_halvings"), "{journal}");
    }
}

/// As when the kernel kills a container for its memory: only the journal records it.
#[test]
fn a_clone_killed_with_its_tool_continues_only_with_an_untouched_log() {
    for (way, forget, backups) in [
        ("both-killed-once", false, 1),
        ("both-killed-late-once", false, 2),
        // A journal of version 0.1.0 has no record of the log.
        ("both-killed-once", true, 2),
    ] {
        let (theirs, ours) = (StandIn::of(SERIES[4]), StandIn::of(SERIES[4]));
        ours.takes_the_way(way);
        let donor = Donor::start(&theirs, "8.4.7");
        let killed = clone(&donor, &ours);
        assert_eq!(killed.code, None, "{way}: {}", killed.log);
        let path = killed.volume.path().join(".mysqlset-mysql-stage/.mysqlset.json");
        let mut journal: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            (&journal["state"], &journal["received_log"]["name"]),
            (&"preparing".into(), &"xtrabackup_logfile".into())
        );
        if forget {
            journal.as_object_mut().unwrap().remove("received_log");
            std::fs::write(&path, journal.to_string()).unwrap();
        }
        let cloned = clone_on(killed.volume, &donor, &ours);
        assert_eq!(cloned.code, Some(0), "{way}: {}", cloned.log);
        assert_eq!(counts(&theirs, &ours), (backups, 2), "{way}: {}", cloned.log);
        let [first, second] = memories(&ours)[..] else { panic!("{}", ours.calls()) };
        assert_eq!(second, (first / 2).max(64 << 20), "{way}");
    }
}

#[test]
fn a_volume_full_during_prepare_is_reported_at_once_and_freed() {
    let (theirs, ours) = (StandIn::of(SERIES[1]), StandIn::of(SERIES[1]));
    ours.takes_the_way("volume-full");
    let donor = Donor::start(&theirs, "5.7.44");
    let started = Instant::now();
    let failed = clone(&donor, &ours);
    assert_eq!(failed.code, Some(FULL), "{}", failed.log);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(failed.log.lines().count() < 100, "{} lines", failed.log.lines().count());
    assert_eq!(counts(&theirs, &ours), (1, 1));
    assert!(!failed.data.parent().unwrap().join(".mysqlset-mysql-stage").exists() && !failed.data.exists());
}

/// Here a rehearsal lacks a server, and this version's words are unknown. Another backup would fail in the same way.
#[test]
fn an_unknown_tool_version_needs_every_other_proof() {
    let tool = StandIn::of(("10.7.1-1", "10.7.1"));
    let donor = Donor::start(&tool, "10.7.0");
    let refused = clone(&donor, &tool);
    assert_eq!(refused.code, Some(REFUSED), "{}{}", refused.log, donor.log());
    assert!(refused.log.has(Event::RehearsalNoProgram), "{}", refused.log);
    assert!(refused.log.has_with(Event::ExitRefused, "unknown"), "{}", refused.log);
    assert_eq!(counts(&tool, &tool).0, 0);
}
