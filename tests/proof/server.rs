//! A MariaDB server on a data directory: a donor's, or one that is started to check a copy.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use harness::pods::servers::tested;

use crate::process::{Process, run, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Memory and log are so large that it writes no changed page by itself. The tables of a new server are then in its log
/// alone. Most of the memory stays unused.
const SMALL: [&str; 7] = [
    "--no-defaults",
    "--user=root",
    "--innodb-buffer-pool-size=320M",
    "--innodb-log-file-size=96M",
    "--skip-innodb-buffer-pool-load-at-startup",
    "--skip-innodb-buffer-pool-dump-at-shutdown",
    "--skip-name-resolve",
];

pub struct Server {
    process: Process,
    socket: PathBuf,
}

/// Makes an empty database.
pub fn install(data: &Path) -> Result<()> {
    std::fs::create_dir_all(data)?;
    let mut command = Command::new("mariadb-install-db");
    command.args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    // Several are created at once, with the same names for their temporary files.
    let tmp = data.with_extension("tmp");
    std::fs::create_dir_all(&tmp)?;
    command.arg(format!("--tmpdir={}", tmp.display()));
    run(command.arg(format!("--datadir={}", data.display()))).map(drop)
}

impl Server {
    /// Starts one with its socket, log and temporary files at `place`, and waits until it answers.
    pub fn start(data: &Path, place: &Path, options: &[String]) -> Result<Server> {
        let named = |end: &str| place.with_extension(end);
        let (socket, log) = (named("sock"), named("log"));
        let tmp = named("tmp");
        std::fs::create_dir_all(&tmp)?;
        let output = std::fs::File::create(&log)?;
        let mut command = Command::new(tested().process());
        command.args(SMALL).args(options);
        command.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", socket.display()));
        command.arg(format!("--pid-file={}", named("pid").display())).arg(format!("--tmpdir={}", tmp.display()));
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut server = Server { process: Process::start(&mut command)?, socket };
        wait_for("a server to answer", PATIENCE, || {
            if let Some(status) = server.process.wait_until(Instant::now())? {
                let words = std::fs::read_to_string(&log).unwrap_or_default();
                let errors: Vec<&str> = words.lines().filter(|line| line.contains("[ERROR]")).take(4).collect();
                bail!("the server ended with {status}: {}", errors.join(" / "));
            }
            Ok(server.sql("SELECT 1").ok())
        })?;
        Ok(server)
    }

    /// Runs statements as root. Returns the rows, with tabs between columns.
    pub fn sql(&self, statements: &str) -> Result<String> {
        run(&mut client(&self.socket, statements))
    }

    /// The same, but it continues after an error: an unreadable table leaves the others readable.
    pub fn sql_of_each(&self, statements: &str) -> Result<String> {
        let output = client(&self.socket, statements).arg("--force").output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        let is_gone = ["2002", "2006", "2013"].iter().any(|number| error.contains(&format!("ERROR {number}")));
        ensure!(!is_gone, "the server went away: {error}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub fn number(&self, query: &str) -> Result<u64> {
        Ok(self.sql(query)?.trim().parse()?)
    }

    /// Writes every changed page, so that a backup's log begins after them.
    pub fn flush(&self) -> Result<()> {
        self.sql("SET GLOBAL innodb_max_dirty_pages_pct = 0")?;
        let dirty = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_buffer_pool_pages_dirty'";
        wait_for("changed pages to be written", PATIENCE, || Ok((self.number(dirty)? == 0).then_some(())))?;
        self.sql("SET GLOBAL innodb_max_dirty_pages_pct = 90").map(drop)
    }

    /// Stops it in order, which writes every page.
    pub fn stop(mut self) -> Result<()> {
        self.sql("SHUTDOWN")?;
        let ended = self.process.wait_until(Instant::now() + PATIENCE)?;
        ensure!(ended.is_some_and(|status| status.success()), "the server ended with {ended:?}");
        Ok(())
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// A client that runs statements as root.
pub fn client(socket: &Path, statements: &str) -> Command {
    let mut command = Command::new(tested().client());
    command.args(["--no-defaults", "--user=root", "--batch", "--skip-column-names"]);
    command.arg(format!("--socket={}", socket.display())).args(["--execute", statements]);
    command
}
