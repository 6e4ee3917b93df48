//! A test's own database, staged as a prepared copy and damaged; and the outcome of `clone`.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mysqlset::model::event::Event;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::logged::Said;
use crate::pods::PATIENCE;
use crate::pods::servers::tested;
use crate::program;

const ODD: &str = include_str!("rehearsal/odd.sql");
const MARIADBS: &str = include_str!("rehearsal/mariadb.sql");
const MYSQLS: &str = include_str!("rehearsal/mysql.sql");

/// The database of all tests here, made once: tables of every kind and name.
pub fn odd() -> &'static Path {
    static MADE: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    &MADE.get_or_init(|| make_odd().unwrap_or_else(|error| panic!("{error:#}"))).1
}

fn make_odd() -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    // MySQL finds no file in a data directory whose own name begins with a dot, and temporary directories have such
    // names.
    let data_dir = directory.path().join("data");
    std::fs::create_dir(&data_dir)?;
    initialise(&data_dir)?;
    let server = Running::start(&data_dir, &[])?;
    server.sql(ODD)?;
    server.sql(if tested().is_mariadb() { MARIADBS } else { MYSQLS })?;
    server.stop()?;
    Ok((directory, data_dir))
}

fn initialise(directory: &Path) -> Result<()> {
    let data_dir = format!("--datadir={}", directory.display());
    let mut command = if tested().is_mariadb() {
        let mut command = tested().command("mariadb-install-db")?;
        command.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        command
    } else {
        let mut command = tested().command("mysqld")?;
        command.args(["--no-defaults", "--user=root", "--initialize-insecure"]);
        command
    };
    let output = command.arg(data_dir).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A server on such a database.
pub struct Running {
    child: Child,
    work: TempDir,
}

impl Running {
    /// Starts one with these options, and waits until it answers.
    pub fn start(data_dir: &Path, options: &[&str]) -> Result<Running> {
        let work = tempfile::tempdir()?;
        let log = std::fs::File::create(work.path().join("log"))?;
        let path = |option: &str, name: &str| format!("--{option}={}", work.path().join(name).display());
        let mut command = tested().command(if tested().is_mariadb() { "mariadbd" } else { "mysqld" })?;
        // Options files come first or never.
        let (files, options): (Vec<&str>, Vec<&str>) =
            options.iter().partition(|option| option.starts_with("--defaults-file="));
        command.args(if files.is_empty() { vec!["--no-defaults"] } else { files });
        command
            .args([
                "--user=root",
                "--skip-networking",
                "--innodb-buffer-pool-size=32M",
                "--skip-log-bin",
                "--loose-mysqlx=OFF",
            ])
            .arg(format!("--datadir={}", data_dir.display()))
            .args([path("socket", "sock"), path("pid-file", "pid"), path("tmpdir", ""), path("secure-file-priv", "")])
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut running = Running { child: command.spawn()?, work };
        let deadline = Instant::now() + PATIENCE;
        while running.sql("SELECT 1").is_err() {
            let log = || std::fs::read_to_string(running.work.path().join("log")).unwrap_or_default();
            ensure!(running.child.try_wait()?.is_none(), "the server ended: {}", log());
            ensure!(Instant::now() < deadline, "the server does not answer: {}", log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Ok(running)
    }

    pub fn sql(&self, statements: &str) -> Result<String> {
        let output = tested()
            .command(tested().client())?
            .args(["--no-defaults", "--user=root", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"])
            .arg(format!("--socket={}", self.work.path().join("sock").display()))
            .args(["--execute", statements])
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    pub fn stop(mut self) -> Result<()> {
        self.sql("SHUTDOWN")?;
        ensure!(self.child.wait()?.success(), "the server did not stop well");
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A volume with a staged copy, prepared according to its journal.
pub struct Staged {
    volume: TempDir,
    config: TempDir,
}

/// The result of `clone`.
pub struct Ended {
    pub code: Option<i32>,
    pub log: String,
}

impl Ended {
    /// Tables that a finished rehearsal could not read.
    pub fn not_readable(&self) -> Option<u64> {
        self.log.lines_of(Event::RehearsalDone).first()?.field("not_readable")?.parse().ok()
    }
}

impl Staged {
    /// A copy of a database, after this many failed backups.
    pub fn of(database: &Path, failed_backups: u32) -> Result<Staged> {
        let staged = Staged { volume: tempfile::tempdir()?, config: tempfile::tempdir()? };
        std::fs::create_dir(staged.volume.path().join("mysql"))?;
        std::fs::create_dir(staged.stage())?;
        let copied = Command::new("cp").arg("--archive").arg(database).arg(staged.data()).status()?;
        ensure!(copied.success(), "cp failed");
        // The stage belongs to root, as `clone` makes it.
        for path in [staged.volume.path().join("mysql"), staged.data()] {
            chown(path, Some(999), Some(999))?;
        }
        staged.forget_earlier_life();
        let clone = r#""clone":{"donor":"x","donor_pod":"mysql-0","tool":"x","bytes":1,"seconds":1.0,"received_at":1,"inventory":"legacy-stream",
            "position":{"by":"mariadb-gtid","slave_pos":"0-100-1"}}"#;
        let journal = format!(
            r#"{{"version":1,"state":"prepared","since":1,{clone},"prepare_attempts":1,"failed_backups":{failed_backups}}}"#
        );
        std::fs::write(staged.stage().join(".mysqlset.json"), journal)?;
        Ok(staged)
    }

    /// The files that prepare and the check of an earlier life remove.
    pub fn forget_earlier_life(&self) {
        for name in ["auto.cnf", "multi-master.info", "mysqld-auto.cnf"] {
            let _ = std::fs::remove_file(self.data().join(name));
        }
    }

    pub fn stage(&self) -> PathBuf {
        self.volume.path().join(".mysqlset-mysql-stage")
    }

    pub fn data(&self) -> PathBuf {
        self.stage().join("data")
    }

    pub fn published(&self) -> PathBuf {
        self.volume.path().join("mysql")
    }

    pub fn is_published(&self) -> bool {
        self.published().join("ibdata1").exists()
    }

    /// Writes this into the pod's configuration.
    pub fn configure(&self, text: &str) -> Result<()> {
        Ok(std::fs::write(self.config.path().join("pod.cnf"), text)?)
    }

    pub fn config(&self) -> &Path {
        self.config.path()
    }

    /// Gives everything to a user, and opens the directories to it.
    pub fn give_to(&self, user: &str) -> Result<()> {
        for directory in [&self.volume, &self.config] {
            std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755))?;
        }
        let given = Command::new("chown").arg("-R").arg(user).arg(self.volume.path()).status()?;
        ensure!(given.success(), "chown failed");
        Ok(())
    }

    /// `clone`, without a reachable donor.
    pub fn command(&self) -> Result<Command> {
        self.command_in("mysql-1")
    }

    pub fn command_in(&self, pod: &str) -> Result<Command> {
        let mut command = tested().command(program())?;
        command
            .env("MYSQLSET_ON_LOST_PRIMARY", "recover")
            .args(["clone", "--hostname", pod, "--give-up-after", "0", "--donor", "127.0.0.1:1"])
            .arg("--data-dir")
            .arg(self.published())
            .arg("--server-config")
            .arg(self.config.path());
        Ok(command)
    }

    pub fn clone(&self, arguments: &[&str]) -> Result<Ended> {
        let output = self.command()?.args(arguments).output()?;
        Ok(Ended { code: output.status.code(), log: String::from_utf8_lossy(&output.stderr).into_owned() })
    }
}

/// Digests of all files of a database, except the journal.
pub fn digests(directory: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut digests = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(within) = directories.pop() {
        for entry in std::fs::read_dir(&within)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else if entry.file_name() != ".mysqlset.json" {
                let digest = Sha256::digest(std::fs::read(entry.path())?);
                let name = entry.path().strip_prefix(directory).context("a file elsewhere")?.to_owned();
                digests.insert(name, format!("{digest:x}"));
            }
        }
    }
    Ok(digests)
}
