//! A server that we run ourselves: found, initialised, started and stopped.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;
use tracing::debug;

use crate::backup_tool::memory;
use crate::child::{self, Ended, Running, path_option};
use crate::durable;
use crate::exit::{self, Reason};
use crate::limits::Descriptors;
use crate::mysql::Server;
use crate::mysql::dialect::Dialect;
use crate::mysql::plugin::{LIBRARY, SHARED_SETTINGS};

const NAME: &str = "mysqld";

/// It serves nobody but us. (9.7 with a buffer pool of 64 MB: 487 MB resident of its own without these, 320 with.)
const SMALL: [&str; 4] =
    ["--max-connections=8", "--table-open-cache=64", "--table-definition-cache=400", "--innodb-log-buffer-size=8M"];

/// What it takes beside the buffer pool all the same: the rest of those 320 MB.
pub const BESIDE_POOL: u64 = 256 << 20;

/// The least buffer pool that it is given.
pub const LEAST_POOL: u64 = 64 << 20;

/// Between two tries to reach a server that is starting.
const PERIOD: Duration = Duration::from_millis(50);

/// Sockets have no longer names. (unix(7))
const LONGEST_SOCKET: usize = 107;

/// An installed server that has the plugin.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    pub version: String,
}

impl Program {
    /// Looks for one in `PATH`; `None` where there is none, or one without the plugin.
    pub fn find() -> Result<Option<Program>> {
        Program::find_in(&std::env::var_os("PATH").unwrap_or_default())
    }

    /// The same in directories that are separated as in `PATH`.
    fn find_in(path: &OsStr) -> Result<Option<Program>> {
        let Some(path) = child::in_path(path, NAME) else { return Ok(None) };
        // MariaDB's takes its time to say who it is.
        if Dialect::of_program(&path).is_some_and(|dialect| !dialect.has_clone_plugin()) {
            return Ok(None);
        }
        let output = child::output(Command::new(&path).arg("--version"))
            .with_context(|| format!("running {} --version", path.display()))?;
        let Some(version) = version_in(&String::from_utf8_lossy(&output.stdout)) else {
            bail!("{} --version: no version in what it says", path.display());
        };
        debug!(program = %path.display(), version, "server");
        Ok(Dialect::of(&version)?.has_clone_plugin().then_some(Program { path, version }))
    }
}

/// `mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)` → `8.4.3`.
fn version_in(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "Ver");
    words.nth(1).map(str::to_owned)
}

/// What a server of our own runs on, and with.
pub struct Setup<'a> {
    pub program: &'a Program,
    /// For its socket and its temporary files.
    pub directory: &'a Path,
    pub data_dir: PathBuf,
    /// The donor's, by name.
    pub settings: &'a BTreeMap<String, String>,
    /// Bytes of InnoDB's buffer pool.
    pub pool: u64,
    pub more: Vec<String>,
}

impl Setup<'_> {
    fn command(&self) -> Result<Command> {
        let mut command = Command::new(&self.program.path);
        command.arg("--no-defaults");
        if geteuid().is_root() {
            command.arg("--user=root");
        }
        command
            .arg(path_option("--datadir=", &self.data_dir))
            .arg(path_option("--socket=", &self.socket()))
            .arg(path_option("--pid-file=", &self.directory.join("own.pid")))
            .arg(path_option("--tmpdir=", self.directory))
            .args(["--skip-networking", "--loose-mysqlx=OFF", "--skip-log-bin", "--event-scheduler=OFF"])
            // Its name until 8.0.26, and since.
            .args(["--loose-skip-slave-start", "--loose-skip-replica-start"])
            .args(["--secure-file-priv=NULL", "--skip-name-resolve", "--loose-auto-generate-certs=OFF"])
            .args(["--loose-sha256-password-auto-generate-rsa-keys=OFF"])
            .args(["--loose-caching-sha2-password-auto-generate-rsa-keys=OFF"])
            .args(SMALL)
            .arg("--log-error-verbosity=2")
            .arg(format!("--innodb-buffer-pool-size={}", self.pool))
            .args(self.settings.iter().filter(is_safe_setting).map(|(name, value)| format!("--{name}={value}")))
            .args(&self.more)
            .current_dir(self.directory);
        child::end_with_this_thread(&mut command);
        Descriptors::for_server().map_err(|too_few| Reason::Limit.because(too_few))?.give_to(&mut command);
        Ok(command)
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("own.sock")
    }

    /// Makes a new database, unless that isn't wanted any more before it is done.
    pub fn initialise(&self, is_wanted: &dyn Fn() -> bool) -> Result<()> {
        let mut command = self.command()?;
        command.arg("--initialize-insecure");
        let ended = Running::start(&mut command, NAME, Stdio::null())
            .and_then(|running| running.below(memory::ceiling()).wait_while(is_wanted))
            .with_context(|| format!("running {}", self.program.path.display()))?;
        if !ended.status.success() {
            return Err(reason_of(&ended).error(format!(
                "initialising a server of our own: {NAME} {} {}",
                self.program.version,
                ended.why()
            )));
        }
        Ok(())
    }

    /// What a killed one left: the number in its lock may be another process's by now. That nobody uses them is known by our
    /// own lock.
    fn forget_an_earlier_one(&self) -> Result<()> {
        for name in ["own.sock", "own.sock.lock", "own.pid"] {
            let path = self.directory.join(name);
            durable::remove_if_there(&path)
                .map_err(|error| exit::disk_error(error, format!("removing {}", path.display())))?;
        }
        Ok(())
    }

    /// Starts it, and waits until it answers: on a copy that is recovered, for as long as that takes and is wanted.
    pub async fn start(&self, is_wanted: &dyn Fn() -> bool) -> Result<OwnServer> {
        let socket = self.socket();
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(Reason::OwnServer.error(format!(
                "{}: too long a name for a socket of a server of our own; mount the volume at a shorter path",
                socket.display()
            )));
        }
        self.forget_an_earlier_one()?;
        let mut command = self.command()?;
        command.arg(format!("--plugin-load-add={LIBRARY}"));
        let mut running = Running::start(&mut command, NAME, Stdio::null())
            .with_context(|| format!("running {}", self.program.path.display()))?
            .below(memory::ceiling());
        loop {
            if running.has_ended()? {
                let ended = running.wait()?;
                let hint = if ended.was_killed() { " (out of memory?)" } else { "" };
                return Err(reason_of(&ended).error(format!(
                    "a server of our own did not start: {NAME} {} {}{hint}",
                    self.program.version,
                    ended.why()
                )));
            }
            match Server::connect_to_own(&socket).await {
                Ok(server) => return Ok(OwnServer { running, socket, server }),
                Err(error) if !is_wanted() => return Err(error),
                Err(_) => tokio::time::sleep(PERIOD).await,
            }
        }
    }
}

/// A server of our own that runs. Dropped, it is killed.
pub struct OwnServer {
    running: Running,
    socket: PathBuf,
    pub server: Server,
}

impl OwnServer {
    /// How it ended, where it has.
    pub fn end_in_words(mut self) -> Option<String> {
        if !self.running.has_ended().ok()? {
            return None;
        }
        let ended = self.running.wait().ok()?;
        Some(format!("the server that copies {}", ended.why()))
    }

    /// Another connection.
    pub async fn connect(&self) -> Result<Server> {
        Server::connect_to_own(&self.socket).await
    }

    /// Has it stop as it should, which leaves nothing to be recovered.
    pub async fn stop(self) -> Result<()> {
        let OwnServer { running, mut server, .. } = self;
        server.shut_down().await?;
        let ended = running.wait()?;
        if !ended.status.success() {
            return Err(reason_of(&ended).error(format!("a server of our own did not stop well: it {}", ended.why())));
        }
        Ok(())
    }
}

fn reason_of(ended: &Ended) -> Reason {
    if ended.lines.is_about_space() { Reason::DiskFull } else { Reason::OwnServer }
}

/// A donor's word goes no further than the settings that it is asked for, and none of those leads out of the stage.
fn is_safe_setting((name, value): &(&String, &String)) -> bool {
    SHARED_SETTINGS.contains(&name.as_str())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:;.,-".contains(&byte))
        && !value.contains("..")
}

/// Options that load the donor's plugins, by library.
pub fn loading(libraries: &[String]) -> impl Iterator<Item = String> + '_ {
    let is_safe = |library: &&String| {
        library.ends_with(".so") && library.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    let others = libraries.iter().filter(is_safe).filter(|library| *library != LIBRARY);
    others.map(|library| format!("--plugin-load-add={library}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_server_that_is_mariadbs_by_its_name_is_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let [linked, link] = ["mariadbd", NAME].map(|name| directory.path().join(name));
        std::fs::write(&linked, "#!/not/there\n").unwrap();
        std::fs::set_permissions(&linked, PermissionsExt::from_mode(0o755)).unwrap();
        symlink(&linked, &link).unwrap();
        let find = || Program::find_in(directory.path().as_os_str());
        assert!(find().unwrap().is_none());
        std::fs::rename(&linked, &link).unwrap();
        assert!(find().unwrap_err().to_string().contains("mysqld --version"));
    }

    #[test]
    fn versions_as_the_servers_say_them() {
        for (text, version) in [
            ("/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "9.7.4-2"),
            (
                "/usr/sbin/mysqld  Ver 8.0.36-28 for Linux on x86_64 (Percona Server (GPL), Release 28, Revision 47601f19)",
                "8.0.36-28",
            ),
            (
                "mysqld  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)",
                "10.11.19-MariaDB-0+deb12u1",
            ),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version));
        }
        assert_eq!(version_in("nonsense"), None);
    }

    #[test]
    fn a_donor_sets_nothing_else_here() {
        let pass = |name: &str, value: &str| is_safe_setting(&(&name.to_owned(), &value.to_owned()));
        assert!(pass("innodb_page_size", "16384") && pass("innodb_data_file_path", "ibdata1:12M:autoextend"));
        assert!(!pass("innodb_data_file_path", "../../mysql/ibdata1:12M") && !pass("innodb_data_file_path", "/x:12M"));
        assert!(!pass("innodb_data_file_path", "..:12M"));
        assert!(!pass("init_file", "/tmp/x.sql") && !pass("collation_server", "x y") && !pass("plugin_dir", "/tmp"));
        let libraries = ["mysql_clone.so", "auth_socket.so", "../evil.so", "x.so --init-file=/x"].map(str::to_owned);
        assert_eq!(loading(&libraries).collect::<Vec<_>>(), ["--plugin-load-add=auth_socket.so"]);
    }
}
