//! One donor and single clones of it, for kills at a certain instruction.
//!
//! The donor has a real server and a real sidecar, in namespaces that die with the test.

pub mod demands;
pub mod disk;
pub mod points;
pub mod tool;
pub mod volume;

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::pods::network::{Network, V4_ONLY};
use crate::pods::servers::tested;
use crate::pods::{PATIENCE, work_directory};
use crate::program;
use points::Point;
use volume::{OWNER, Volume};

/// The variable that sets the log level.
const LOG: &str = "MYSQLSET_LOG";

/// The exit code of "another mysqlset, or a backup tool that outlived one, works on the same data directory".
pub const LOCKED: i32 = 33;

/// One table has no primary key. Both change during the test, so that the backup's log has content.
const SCHEMA: &str = "CREATE DATABASE app;
    CREATE TABLE app.keyed (id INT AUTO_INCREMENT PRIMARY KEY, n INT, text VARCHAR(200));
    CREATE TABLE app.keyless (n INT, text VARCHAR(200));
    INSERT INTO app.keyed (n, text)
        WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 300)
        SELECT n, REPEAT('x', n % 200) FROM numbers;
    INSERT INTO app.keyless (n, text) SELECT n, REPEAT('y', n % 200) FROM app.keyed;
    DELETE FROM app.keyless WHERE n % 7 = 0";

const CHECKSUMS: &str = "CHECKSUM TABLE app.keyed, app.keyless";

/// Options of a 34 MB server with little memory.
const SMALL: [&str; 5] = [
    "--no-defaults",
    "--user=root",
    "--innodb-buffer-pool-size=8M",
    "--skip-innodb-buffer-pool-load-at-startup",
    "--skip-innodb-buffer-pool-dump-at-shutdown",
];

/// The donor, and the place of its clones.
pub struct Lab {
    servers: Vec<Child>,
    /// The checksums of the donor's tables, which stay unchanged.
    checksums: String,
    // Fields are dropped in this order: the namespaces with their processes and mounts, then the files.
    network: Option<Network>,
    directory: Directory,
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.network.take());
        for server in &mut self.servers {
            let _ = server.wait();
        }
    }
}

impl Lab {
    pub fn start() -> Result<Lab> {
        let directory = Directory(work_directory()?);
        let mut lab =
            Lab { servers: Vec::new(), checksums: String::new(), network: Some(Network::new(V4_ONLY)?), directory };
        if !tested().is_the_machines() {
            // The lab has mounts of its own: its processes find the server, its tools and strace in the usual places.
            lab.run("mount", &["--bind", tested().usr()?.to_str().context("a path in UTF-8")?, "/usr"])?;
        }
        let data = lab.path("donor");
        let text = data.to_str().context("a path in UTF-8")?;
        std::fs::create_dir(&data)?;
        std::fs::create_dir(lab.path("tmp"))?;
        lab.make_a_database(text)?;
        let mut server = lab.server();
        server.args(["--bind-address=127.0.0.1", "--log-bin=mysql-bin", "--server-id=100"]);
        server.args([format!("--datadir={text}"), format!("--socket={}", lab.path("donor.sock").display())]);
        lab.spawn(server, "server.log")?;
        let over_tcp = ["--host=127.0.0.1"];
        lab.wait_for("the donor's server", || lab.sql(&over_tcp, "SELECT 1"))?;
        lab.sql(&over_tcp, SCHEMA)?;
        lab.checksums = lab.sql(&over_tcp, CHECKSUMS)?;
        let mut sidecar = lab.command(program());
        sidecar.envs(tested().method());
        sidecar.args(["sidecar", "--hostname", "mysql-0", "--data-dir", text, "--donate-to-anyone"]);
        lab.spawn(sidecar, "sidecar.log")?;
        let address = ([127, 0, 0, 1], 3307).into();
        lab.wait_for("the donor's sidecar", || lab.network()?.connect(address, Duration::from_secs(1)))?;
        Ok(lab)
    }

    /// A path of the lab, valid outside and, where nothing is mounted, inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.0.join(name)
    }

    fn make_a_database(&self, data_dir: &str) -> Result<()> {
        let data_dir = format!("--datadir={data_dir}");
        if tested().is_mariadb() {
            let as_root =
                ["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"];
            self.run("mariadb-install-db", &[&as_root[..], &[&data_dir]].concat())?;
        } else {
            self.run("mysqld", &["--no-defaults", "--user=root", "--initialize-insecure", &data_dir])?;
        }
        Ok(())
    }

    /// A server with little memory, before its data directory is set.
    fn server(&self) -> Command {
        let mut server = self.command(tested().process());
        server.args(SMALL).args(tested().small_logs());
        server
    }

    /// The test's path to a path of the lab's processes, mounts included.
    pub fn seen(&self, path: &Path) -> Result<PathBuf> {
        let root = format!("/proc/{}/root", self.network()?.pid());
        Ok(Path::new(&root).join(path.strip_prefix("/")?))
    }

    /// A command among the lab's processes, in its network and with its mounts.
    pub fn command(&self, program: &str) -> Command {
        let holder = self.network.as_ref().map_or(0, Network::pid).to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &holder, "-n", "-m", "-p", "--", program]).stdin(Stdio::null());
        // Servers name files there by their process ids, and all labs count from 1.
        command.env("TMPDIR", self.path("tmp"));
        command
    }

    /// Runs a short command of the lab to its end; on failure the error quotes its output.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(program).args(arguments).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {arguments:?} ended with {}: {error}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Clones, and returns the result.
    pub fn clone(&self, volume: &Volume) -> Result<Output> {
        Ok(cloning(&mut self.command(program()), volume).output()?)
    }

    /// Clones under strace. A clone that fails is an error.
    pub fn clone_traced(&self, volume: &Volume, strace: &[String]) -> Result<()> {
        let output = cloning(self.command("strace").args(strace).arg(program()), volume).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "a clone under strace ended with {}: {error}", output.status);
        Ok(())
    }

    /// Clones with a directory of programs before the machine's, and with warnings in its log.
    pub fn clone_with(&self, volume: &Volume, programs: &Path) -> Result<Output> {
        let path = std::env::var("PATH")?;
        let mut command = self.command(program());
        command.env("PATH", format!("{}:{path}", programs.display()));
        Ok(cloning(&mut command, volume).env(LOG, "warn").output()?)
    }

    /// Clones, and has strace kill the clone at `point`. Returns whether it came there.
    pub fn clone_and_kill(&self, volume: &Volume, point: &Point) -> Result<bool> {
        self.clone_and_kill_with(volume, point, Path::new("/nowhere/at/all"))
    }

    /// Clones and kills, with a directory of programs before the machine's.
    pub fn clone_and_kill_with(&self, volume: &Volume, point: &Point, programs: &Path) -> Result<bool> {
        let mut command = self.command("strace");
        command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH")?));
        command.args(point.arguments()).arg(program());
        let output = cloning(&mut command, volume).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        let killed = output.status.signal() == Some(rustix::process::Signal::KILL.as_raw());
        ensure!(killed || output.status.success(), "{point}: ended with {}: {error}", output.status);
        Ok(killed)
    }

    /// Clones until it succeeds. A tool that outlives a killed clone holds its lock, and the next clone refuses
    /// clearly. Then the container is started again.
    pub fn clone_to_the_end(&self, volume: &Volume) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.clone(volume)?;
            if output.status.code() == Some(LOCKED) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            let error = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "the next start ended with {}: {error}", output.status);
            return Ok(());
        }
    }

    /// Starts a server on a data directory, demands the donor's rows of it, and ends it.
    pub fn demand_the_donors_rows(&self, data_dir: &Path) -> Result<()> {
        let socket = format!("--socket={}", self.path("copy.sock").display());
        let log = self.path("copy.log");
        let mut server = self.server();
        server.args(["--skip-networking", "--innodb-fast-shutdown=2", &socket]);
        server.arg(format!("--datadir={}", data_dir.display()));
        server.stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let mut server = server.spawn()?;
        let found = self.wait_for("a server on the copy", || {
            if let Some(status) = server.try_wait()? {
                // An error is the answer here, and ends the wait.
                return Ok(Err(anyhow::anyhow!("ended with {status}")));
            }
            self.sql(&[&socket], CHECKSUMS).map(Ok)
        });
        let ended = self.sql(&[&socket], "SHUTDOWN");
        let found = found
            .and_then(|found| found)
            .with_context(|| format!("no server on the copy: {}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        ended.context("stopping the server on the copy")?;
        server.wait()?;
        ensure!(found == self.checksums, "the copy has\n{found}and the donor\n{}", self.checksums);
        Ok(())
    }

    fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("the lab is closed")
    }

    fn sql(&self, server: &[&str], statements: &str) -> Result<String> {
        let options = ["--no-defaults", "--user=root", "--batch", "--skip-column-names", "--execute", statements];
        self.run(tested().client(), &[&options[..1], server, &options[1..]].concat())
    }

    fn spawn(&mut self, mut command: Command, log: &str) -> Result<()> {
        let log = std::fs::File::create(self.path(log))?;
        command.stdout(log.try_clone()?).stderr(log);
        self.servers.push(command.spawn()?);
        Ok(())
    }

    fn wait_for<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match attempt() {
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                result => return result.with_context(|| format!("waiting for {what}")),
            }
        }
    }
}

/// Logs errors only: then a clone writes to nothing but files.
fn cloning<'a>(command: &'a mut Command, volume: &Volume) -> &'a mut Command {
    command
        .args(["clone", "--hostname", "mysql-1", "--donor", "127.0.0.1", "--prepare-memory", "32M"])
        .args(["--give-up-after", "20"])
        .env(LOG, "error")
        .envs(tested().method())
        .args(["--owner", &format!("{OWNER}"), "--termination-log", "/dev/null", "--data-dir"])
        .arg(volume.data_dir())
}
