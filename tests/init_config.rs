//! `mysqlset init-config`, run as in a container: its files, and the refusal of bad input.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use harness::logged::Said;
use mysqlset::model::event::Event;
use tempfile::TempDir;

const SERVER_ID_HEAD: &str = "# Written by mysqlset init-config at every start of the pod.\n";

/// A ConfigMap and a directory for the server's configuration.
struct Volumes {
    directory: TempDir,
}

/// The result of a run.
struct Ended {
    code: Option<i32>,
    log: String,
    termination: String,
}

impl Volumes {
    fn with(files: &[&str]) -> Volumes {
        let directory = tempfile::tempdir().unwrap();
        for part in ["config-map", "conf.d"] {
            std::fs::create_dir(directory.path().join(part)).unwrap();
        }
        for file in files {
            std::fs::write(directory.path().join("config-map").join(file), content(file)).unwrap();
        }
        Volumes { directory }
    }

    fn conf_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("conf.d")
    }

    fn run(&self, hostname: &str, offset: &str) -> Ended {
        self.run_with(&["--hostname", hostname, "--server-id-offset", offset])
    }

    fn run_with(&self, words: &[&str]) -> Ended {
        let path = self.directory.path();
        let termination = path.join("termination");
        std::fs::write(&termination, "").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_mysqlset"))
            .arg("init-config")
            .args(words)
            .arg("--config-map")
            .arg(path.join("config-map"))
            .arg("--conf-dir")
            .arg(self.conf_dir())
            .arg("--termination-log")
            .arg(&termination)
            .output()
            .unwrap();
        Ended {
            code: output.status.code(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
            termination: std::fs::read_to_string(termination).unwrap_or_default(),
        }
    }

    fn written(&self) -> BTreeMap<String, String> {
        files_in(&self.conf_dir())
    }
}

fn content(file: &str) -> String {
    format!("[mysqld]\n# {file}\n")
}

fn files_in(directory: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

#[test]
fn each_name_of_a_role_file_is_known_for_its_role() {
    let names = [("mysql-0", "primary.cnf"), ("mysql-0", "master.cnf"), ("mysql-1", "replica.cnf")];
    for (hostname, file) in names.into_iter().chain([("db-7", "slave.cnf"), ("a-b-2", "secondary.cnf")]) {
        // The other role's file is present too, and ignored.
        let other = if hostname == "mysql-0" { "replica.cnf" } else { "primary.cnf" };
        let volumes = Volumes::with(&[file, other]);
        let ended = volumes.run(hostname, "100");
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        let ordinal: u32 = hostname.rsplit('-').next().unwrap().parse().unwrap();
        // The content leaves events out: replicas run none.
        let events = if ordinal == 0 { "" } else { "event_scheduler=OFF\n" };
        let server_id =
            ("server-id.cnf".to_owned(), format!("{SERVER_ID_HEAD}[mysqld]\nserver-id={}\n{events}", 100 + ordinal));
        assert_eq!(volumes.written(), [server_id, (file.to_owned(), content(file))].into());
    }
}

#[test]
fn it_also_installs_the_program_into_a_given_directory() {
    let volumes = Volumes::with(&["primary.cnf"]);
    let target = volumes.directory.path().join("program");
    let ended = volumes.run_with(&["--hostname", "mysql-0", "--install", target.to_str().unwrap()]);
    assert_eq!(ended.code, Some(13), "{}", ended.log);
    assert!(ended.log.has_with(Event::ExitInstallTarget, "program"), "{}", ended.log);
    assert_eq!(volumes.written(), BTreeMap::new());

    std::fs::create_dir(&target).unwrap();
    let ended = volumes.run_with(&["--hostname", "mysql-0", "--install", target.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let installed = std::fs::read(target.join("mysqlset")).unwrap();
    assert!(installed == std::fs::read(env!("CARGO_BIN_EXE_mysqlset")).unwrap());
    assert_eq!(volumes.written().len(), 2);
}

#[test]
fn it_can_be_repeated_and_removes_only_the_other_roles_file() {
    let volumes = Volumes::with(&["primary.cnf", "replica.cnf"]);
    for file in ["master.cnf", "slave.cnf", "mine.cnf", "server-id.cnf"] {
        std::fs::write(volumes.conf_dir().join(file), "stale").unwrap();
    }
    for hostname in ["mysql-1", "mysql-1", "mysql-0"] {
        let ended = volumes.run(hostname, "100");
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        let written = volumes.written();
        let role_file = if hostname == "mysql-0" { "primary.cnf" } else { "replica.cnf" };
        assert_eq!(written.keys().collect::<Vec<_>>(), {
            let mut names = vec!["mine.cnf", role_file, "server-id.cnf"];
            names.sort_unstable();
            names
        });
        assert_eq!(written[role_file], content(role_file));
        assert_eq!(written["mine.cnf"], "stale");
    }
}

#[test]
fn bad_input_is_one_line_and_writes_nothing() {
    /// Each error names its path at the end.
    type Case = (&'static str, &'static str, &'static [&'static str], (i32, Event), &'static [&'static str]);
    let both: &[&str] = &["primary.cnf", "replica.cnf"];
    let (identity, config_map) = ((10, Event::ExitIdentity), (11, Event::ExitConfigMap));
    let cases: [Case; 9] = [
        ("mysql", "100", both, identity, &["\"mysql\""]),
        ("mysql-", "100", both, identity, &["\"mysql-\""]),
        ("mysql-x1", "100", both, identity, &["\"mysql-x1\""]),
        ("mysql-4294967296", "100", both, identity, &["4294967296", "4294967295"]),
        ("mysql-4294967295", "100", both, identity, &["4294967295"]),
        ("mysql-0", "0", both, identity, &["0"]),
        ("mysql-1", "100", &["primary.cnf"], config_map, &["replica.cnf", "secondary.cnf", "slave.cnf"]),
        ("mysql-0", "100", &["primary.cnf", "master.cnf"], config_map, &["primary.cnf", "master.cnf"]),
        ("mysql-0", "100", &[], config_map, &["primary.cnf", "master.cnf"]),
    ];
    for (hostname, offset, files, (code, event), names) in cases {
        let volumes = Volumes::with(files);
        let ended = volumes.run(hostname, offset);
        assert_eq!(ended.code, Some(code), "{hostname} {offset}: {}", ended.log);
        let told = ended.termination.strip_prefix(&format!("{event}: ")).expect(&ended.termination);
        assert!(names.iter().all(|name| told.contains(name)), "{hostname} {offset}: {told}");
        assert_eq!(ended.log.trim_end().lines().count(), 1, "{}", ended.log);
        assert!(ended.log.has_with(event, told.trim_end()), "{}", ended.log);
        assert_eq!(volumes.written(), BTreeMap::new(), "{hostname} {offset}");
    }
}

#[test]
fn an_unusable_path_is_named() {
    let volumes = Volumes::with(&["primary.cnf"]);
    std::fs::remove_dir(volumes.conf_dir()).unwrap();
    let ended = volumes.run("mysql-0", "100");
    assert_eq!(ended.code, Some(12), "{}", ended.log);
    assert!(ended.log.has_with(Event::ExitConfigTarget, "conf.d"), "{}", ended.log);

    let volumes = Volumes::with(&["primary.cnf"]);
    std::fs::remove_dir_all(volumes.directory.path().join("config-map")).unwrap();
    let ended = volumes.run("mysql-0", "100");
    assert_eq!(ended.code, Some(11), "{}", ended.log);
    assert!(ended.log.has_with(Event::ExitConfigMap, "config-map"), "{}", ended.log);
    assert_eq!(volumes.written(), BTreeMap::new());

    let volumes = Volumes::with(&["replica.cnf"]);
    std::fs::create_dir(volumes.directory.path().join("config-map/primary.cnf")).unwrap();
    let ended = volumes.run("mysql-0", "100");
    assert_eq!(ended.code, Some(11), "{}", ended.log);
    assert_eq!(volumes.written(), BTreeMap::new());
}

/// The server obeys the later file: two pods with one server id end each other's replication.
#[test]
fn a_later_file_with_another_server_id_is_refused_and_named() {
    let lines = [
        ("slave.cnf", "[mysqld]\nserver_id = 5\n"),
        ("slave.cnf", "[mysqld]\nserver-id=5 # all of them\n"),
        ("slave.cnf", "[mysqld-9.7]\nloose-server_id = \"5\"\n"),
        ("slave.cnf", "[mariadb]\nserver-id = 1K\n"),
        ("slave.cnf", "[server]\nserver_id\n"),
        ("zz.cnf", "[mysqld]\nserver-id = 101\n"),
    ];
    for (file, text) in lines {
        let volumes = Volumes::with(&["slave.cnf"]);
        let directory = if file == "slave.cnf" { "config-map" } else { "conf.d" };
        std::fs::write(volumes.directory.path().join(directory).join(file), text).unwrap();
        let before = volumes.written();
        let ended = volumes.run("mysql-2", "100");
        assert_eq!(ended.code, Some(11), "{text}: {}", ended.log);
        for word in [file, "server_id", "102"] {
            assert!(ended.log.has_with(Event::ExitConfigMap, word), "{word}: {}", ended.log);
        }
        assert_eq!(volumes.written(), before);
    }
}

#[test]
fn ineffective_and_equal_server_ids_are_left_alone() {
    for (file, text) in [
        ("slave.cnf", "[mysqld]\nserver_id = 102\n"),
        ("slave.cnf", "[mysqld]\nserver_id = 5\nserver_id = 102\n"),
        ("slave.cnf", "[client]\nserver_id = 5\n"),
        ("slave.cnf", "[mysqld]\n# server_id = 5\nserver_id_bits = 31\n"),
        // The server reads it before `server-id.cnf`.
        ("replica.cnf", "[mysqld]\nserver_id = 5\n"),
    ] {
        let volumes = Volumes::with(&[file]);
        std::fs::write(volumes.directory.path().join("config-map").join(file), text).unwrap();
        let ended = volumes.run("mysql-2", "100");
        assert_eq!(ended.code, Some(0), "{text}: {}", ended.log);
        assert_eq!(volumes.written()[file], text);
    }
}
