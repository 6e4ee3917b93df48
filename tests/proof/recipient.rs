//! A recipient: `mysqlset clone` into a volume, killed, limited and started again.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::comparison::Contents;
use crate::orders::Orders;
use crate::process::{Process, wait_for};
use crate::room;
use crate::server::Server;
use crate::tool;
use crate::volume::Volume;

/// A clone that runs longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(450);

/// Descriptors: the soft and the hard limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub soft: u64,
    pub hard: u64,
}

/// The tested program, or the one that `PROGRAM` names, to see that the proof can fail.
pub fn program() -> PathBuf {
    match std::env::var_os("PROGRAM").filter(|name| !name.is_empty()) {
        Some(name) => name.into(),
        None => harness::program().into(),
    }
}

/// A command that runs with these limits.
pub fn limited(program: &Path, limits: Option<Limits>) -> Command {
    let Some(Limits { soft, hard }) = limits else { return Command::new(program) };
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"")]).arg(program);
    command
}

pub struct Recipient {
    pub volume: Volume,
    directory: PathBuf,
}

/// The options and the planned end of a clone.
#[derive(Clone, Copy, Default)]
pub struct Start {
    pub limits: Option<Limits>,
    pub kill_after: Option<Duration>,
    /// With this it does not ask again where a donor or its stream fails.
    pub impatient: bool,
}

/// The outcome of a clone.
pub struct Ended {
    /// Its exit code; `None` after a kill.
    pub code: Option<i32>,
    pub hung: bool,
    pub log: String,
    pub time: Duration,
}

impl Recipient {
    pub fn new(directory: &Path) -> Result<Recipient> {
        let programs = directory.join("programs");
        tool::install(&programs, "mariadb-backup", Path::new("/usr/bin/mariadb-backup"))?;
        let configuration = directory.join("conf.d");
        std::fs::create_dir_all(&configuration)?;
        std::fs::write(configuration.join("server.cnf"), "[mysqld]\nlog_bin = mysql-bin\n")?;
        tool::install(&programs, "mariadbd", Path::new("/usr/sbin/mariadbd"))?;
        Ok(Recipient { volume: Volume::mount(&directory.join("volume"))?, directory: directory.to_owned() })
    }

    pub fn programs(&self) -> PathBuf {
        self.directory.join("programs")
    }

    /// An empty volume with room, without orders and without processes.
    pub fn begin_again(&self) -> Result<()> {
        self.end_what_is_left()?;
        Orders::revoke_all(&self.programs())?;
        self.volume.make_roomy()?;
        for entry in std::fs::read_dir(self.volume.path())? {
            room::remove(&entry?.path())?;
        }
        Ok(())
    }

    /// A tool may outlive its killed clone, and would block the next one. All processes here are the proof's own.
    fn end_what_is_left(&self) -> Result<()> {
        let path = self.volume.path().to_owned();
        wait_for("what is left of a round to end", Duration::from_secs(20), || {
            let mut is_left = false;
            for entry in std::fs::read_dir("/proc")?.flatten() {
                // Arguments name the stage by a descriptor.
                let descriptors = std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
                let mut links = descriptors.map(|link| link.path()).chain([entry.path().join("cwd")]);
                let works_there = links.any(|link| std::fs::read_link(link).is_ok_and(|it| it.starts_with(&path)));
                let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
                else {
                    continue;
                };
                if pid != getpid() && works_there {
                    is_left = true;
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            Ok((!is_left).then_some(()))
        })
    }

    pub fn clone(&self, donor: Ipv4Addr, start: &Start) -> Result<Ended> {
        self.watched(donor, start, |_| Ok(()))
    }

    /// The same; `look` is called repeatedly with the time since the start.
    pub fn watched(
        &self,
        donor: Ipv4Addr,
        start: &Start,
        mut look: impl FnMut(Duration) -> Result<()>,
    ) -> Result<Ended> {
        let log = self.directory.join("clone.log");
        let mut command = limited(&program(), start.limits);
        command.args(["clone", "--hostname", "mysql-1", "--owner", "0:0", "--termination-log", "/dev/null"]);
        command.args(["--prepare-memory", "64M", "--give-up-after", if start.impatient { "0" } else { "30" }]);
        command.args(["--donor", &donor.to_string(), "--data-dir"]).arg(self.volume.data());
        command.arg("--server-config").arg(self.directory.join("conf.d"));
        let path = std::env::var("PATH")?;
        command.env("PATH", format!("{}:{path}", self.programs().display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let (began, mut hung) = (Instant::now(), false);
        let mut process = Process::start(&mut command)?;
        let status = loop {
            let kill_at = start.kill_after.map_or(began + PATIENCE, |time| began + time);
            if let Some(status) = process.wait_until(kill_at.min(Instant::now() + Duration::from_millis(5)))? {
                break status;
            }
            look(began.elapsed())?;
            if Instant::now() >= kill_at {
                hung = start.kill_after.is_none();
                process.kill()?;
            }
        };
        let log = String::from_utf8_lossy(&std::fs::read(&log)?).into_owned();
        Ok(Ended { code: status.code(), hung, log, time: began.elapsed() })
    }

    /// The contents of a server that is started on the published copy.
    pub fn contents(&self) -> Result<Contents> {
        let options = ["--skip-networking", "--innodb-fast-shutdown=2", "--server-id=101", "--log-bin=mysql-bin"];
        let server = Server::start(&self.volume.data(), &self.directory.join("server"), &options.map(str::to_owned))
            .context("no server starts on the copy")?;
        Contents::of(&server)
    }
}

impl Ended {
    /// The last reason that it gave.
    pub fn reason(&self) -> &str {
        let errors = self.log.lines().rfind(|line| line.contains(" ERROR "));
        errors.and_then(|line| line.split_once(" ERROR ")).map_or("", |(_, reason)| reason)
    }
}
