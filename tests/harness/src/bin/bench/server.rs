//! A MariaDB server on a data directory.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::member::{Member, PRIMARY};
use crate::process::{self, Process, run};

/// The port of every server, each at its own address.
const PORT: u16 = 3306;

/// For a server that only has to be there.
pub const IDLE: [&str; 1] = ["--innodb-buffer-pool-size=64M"];

pub struct Server {
    process: Process,
    member: &'static Member,
}

/// Makes an empty database in a new directory.
pub fn install(data_dir: &Path) -> Result<()> {
    std::fs::create_dir_all(data_dir)?;
    let mut command = Command::new("mariadb-install-db");
    command.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    command.arg(option("--datadir=", data_dir));
    run(&mut command).map(drop)
}

impl Server {
    /// Starts a server and waits until it answers; its log and temporary files are in `work`.
    pub fn start(data_dir: &Path, work: &Path, member: &'static Member, options: &[&str]) -> Result<Server> {
        let named = |end: &str| -> PathBuf { work.join(format!("{}-server.{end}", member.name)) };
        let log = std::fs::File::create(named("log"))?;
        let mut command = Command::new("mariadbd");
        command
            .args(["--no-defaults", "--user=root", "--skip-name-resolve"])
            .args(["--log-bin=mysql-bin", "--sync-binlog=0", "--skip-slave-start"])
            .args(["--skip-innodb-buffer-pool-load-at-startup", "--skip-innodb-buffer-pool-dump-at-shutdown"])
            .arg(format!("--bind-address={}", member.address))
            .arg(format!("--server-id={}", member.server_id))
            .arg(option("--datadir=", data_dir))
            .arg(option("--socket=", &named("sock")))
            .arg(option("--pid-file=", &named("pid")))
            .arg(option("--tmpdir=", &work.join("tmp")))
            .args(options)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut server = Server { process: Process::start(&mut command)?, member };
        process::wait_for("the server to answer", || server.answers(&named("log")))?;
        Ok(server)
    }

    fn answers(&mut self, log: &Path) -> Result<Option<()>> {
        if let Some(status) = self.process.ended()? {
            bail!("mariadbd ended with {status}: {}", std::fs::read_to_string(log)?);
        }
        if TcpStream::connect((self.member.address, PORT)).is_err() {
            return Ok(None);
        }
        Ok(self.sql("SELECT 1").ok().map(drop))
    }

    /// Runs statements as root.
    pub fn sql(&self, statements: &str) -> Result<String> {
        run(&mut self.client(statements))
    }

    /// A client that runs statements as root.
    pub fn client(&self, statements: &str) -> Command {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "--user=root", "--batch", "--skip-column-names"]);
        command.arg(format!("--host={}", self.member.address)).args(["--execute", statements]);
        command
    }

    /// The first number that a query gives.
    pub fn number(&self, query: &str) -> Result<u64> {
        let text = self.sql(query)?;
        text.trim().parse().with_context(|| format!("{query}: {text:?}"))
    }

    /// Stops it cleanly.
    pub fn stop(mut self) -> Result<()> {
        self.sql("SHUTDOWN")?;
        self.process.finish()
    }
}

/// The backup tool as the tutorial runs XtraBackup, on the server of a data directory.
pub fn backup_arguments(data_dir: &Path) -> Vec<String> {
    let mut words: Vec<String> = ["--backup", "--slave-info", "--user=root"].map(str::to_owned).into();
    words.push(format!("--host={}", PRIMARY.address));
    words.push(format!("--datadir={}", data_dir.display()));
    words
}

/// A flag with a path.
pub fn option(flag: &str, path: &Path) -> std::ffi::OsString {
    let mut word = std::ffi::OsString::from(flag);
    word.push(path);
    word
}
