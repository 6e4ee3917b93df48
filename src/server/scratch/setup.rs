//! Sets up a private server: initialises and starts it.

use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::configuration::PodConfiguration;
use super::patience::Load;
use super::plugin_directory::DIRECTORY_MODE;
use super::program::{self, Program};
use super::running::{PERIOD, ScratchServer, failure, remove, socket_in};
use super::{options, plugin_directory, words};
use crate::model::exit::Reason;
use crate::server::Server;
use crate::sys::child::{self, Running, path_option};
use crate::sys::container_memory;
use crate::sys::disk::disk_error;
use crate::sys::environment;
use crate::sys::limits::Descriptors;

/// How long the creation of a new database may take.
const TIME_TO_INITIALISE: Duration = Duration::from_secs(900);

/// The longest name of a socket. (unix(7))
const LONGEST_SOCKET: usize = 107;

/// The source of a private server's options.
#[derive(Clone, Copy, Debug)]
pub enum Configuration<'a> {
    /// Only this code.
    None,
    /// The files that the pod's server will read. Options that isolate the server take precedence.
    OfPod(&'a PodConfiguration),
}

/// Whether grant tables are used. If they are skipped, the libraries that `mysql.plugin` or `mysql.func` list stay
/// unloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grants {
    Asked,
    Skipped,
}

/// Whether InnoDB may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    Writable,
}

/// The program, data and options of a private server.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    pub program: &'a Program,
    /// The stage: a directory below it holds the socket and temporary files.
    pub stage: &'a Path,
    pub data_dir: PathBuf,
    pub configuration: Configuration<'a>,
    pub grants: Grants,
    pub access: Access,
    /// Bytes of InnoDB's buffer pool.
    pub pool: u64,
    /// More options. They take precedence over all others.
    pub options: Vec<OsString>,
    /// The reason with which a failing server ends `clone`.
    pub blame: Reason,
}

impl Setup<'_> {
    /// Makes a new database. Stops early once `is_wanted` says no.
    pub fn initialise(&self, is_wanted: &dyn Fn() -> bool) -> Result<()> {
        self.make_directory()?;
        let mut command = self.command()?;
        command.arg("--initialize-insecure");
        let deadline = Instant::now() + TIME_TO_INITIALISE;
        let ended = Running::start(&mut command, &self.program.name(), Stdio::null())
            .and_then(|running| {
                running.below(container_memory::ceiling()).wait_while(|| is_wanted() && Instant::now() < deadline)
            })
            .with_context(|| format!("running {}", self.program.path.display()))?;
        if Instant::now() >= deadline && !ended.status.success() {
            return Err(self.blame.error(format!(
                "initialising a private server: {} did not end within {} seconds, and was killed",
                self.named(),
                TIME_TO_INITIALISE.as_secs()
            )));
        }
        if !ended.status.success() {
            return Err(failure(
                &format!("initialising a private server: {self_}", self_ = self.named()),
                &ended,
                self.blame,
            ));
        }
        Ok(())
    }

    /// Starts the server, and waits until it answers. The limit depends on the data, and `is_wanted` may end the wait.
    pub async fn start(&self, is_wanted: &dyn Fn() -> bool) -> Result<ScratchServer> {
        let socket = socket_in(&self.run());
        if socket.as_os_str().len() > LONGEST_SOCKET {
            return Err(self.blame.error(format!(
                "{}: the name is too long for a private server's socket; mount the volume at a shorter path",
                socket.display()
            )));
        }
        self.make_directory()?;
        let limit = Load::of(&self.data_dir).time_to_start();
        let deadline = Instant::now() + limit;
        let mut running = Running::start(&mut self.command()?, &self.program.name(), Stdio::null())
            .with_context(|| format!("running {}", self.program.path.display()))?
            .below(container_memory::ceiling());
        loop {
            if running.has_ended()? {
                let ended = running.wait()?;
                return Err(failure(&format!("a private server did not start: {}", self.named()), &ended, self.blame));
            }
            match Server::connect_to_own(&socket).await {
                Ok(server) => return Ok(ScratchServer { running, run: self.run(), blame: self.blame, server }),
                Err(error) if !is_wanted() => return Err(error),
                Err(_) if Instant::now() >= deadline => {
                    return Err(self.blame.error(format!(
                        "a private server did not start: {} did not answer within {} seconds, and was killed",
                        self.named(),
                        limit.as_secs()
                    )));
                }
                Err(_) => tokio::time::sleep(PERIOD).await,
            }
        }
    }

    /// Whether the program accepts its configuration. The stage may still lack a copy.
    pub fn check_configuration(&self) -> Result<()> {
        self.make_directory()?;
        let checked = self.command().map(drop);
        remove(&self.run())?;
        checked
    }

    fn named(&self) -> String {
        format!("{} {}", self.program.name(), self.program.version)
    }

    fn run(&self) -> PathBuf {
        self.stage.join("run")
    }

    fn tmp(&self) -> PathBuf {
        self.run().join("tmp")
    }

    /// Makes the server's directory. Removes the remains of a killed server first: our lock shows that they are unused.
    fn make_directory(&self) -> Result<()> {
        let run = self.run();
        remove(&run)?;
        let mut private = std::fs::DirBuilder::new();
        private.mode(DIRECTORY_MODE);
        let made = private
            .create(&run)
            .and_then(|()| private.create(self.tmp()))
            .and_then(|()| std::fs::write(run.join("init.sql"), ""));
        made.map_err(|error| disk_error(error, format!("making {}", run.display())))
    }

    /// The command; its directory must exist.
    fn command(&self) -> Result<Command> {
        let run = self.run();
        let mut command = Command::new(&self.program.path);
        let mut libraries: Vec<String> = Vec::new();
        let text = |option: &OsString| option.to_string_lossy().into_owned();
        match self.configuration {
            Configuration::None => drop(command.arg("--no-defaults")),
            Configuration::OfPod(pod) => {
                command.args(pod.options(&run)?);
                libraries.extend(pod.settings().flat_map(|(name, value)| plugin_directory::libraries(name, value)));
            }
        }
        for option in self.options.iter().map(text) {
            if let Some((name, value)) = option.trim_start_matches("--").split_once('=') {
                libraries.extend(plugin_directory::libraries(name, value));
            }
        }
        let plugins = run.join("plugins");
        plugin_directory::make(&plugins, &self.installed_plugins(&command)?, &libraries)
            .map_err(|error| disk_error(error, format!("making {}", plugins.display())))?;
        if geteuid().is_root() {
            command.arg("--user=root");
        }
        command
            .arg(path_option("--datadir=", &self.data_dir))
            .arg(path_option("--socket=", &socket_in(&run)))
            .arg(path_option("--pid-file=", &run.join("pid")))
            .arg(path_option("--tmpdir=", &self.tmp()))
            .arg(path_option("--secure-file-priv=", &self.tmp()))
            .arg(path_option("--plugin-dir=", &plugins))
            .arg(path_option("--init-file=", &run.join("init.sql")))
            .args(options::isolating(self.program.dialect))
            .arg(format!("--innodb-buffer-pool-size={}", self.pool))
            .args((self.grants == Grants::Skipped).then_some("--skip-grant-tables"))
            .args((self.access == Access::ReadOnly).then_some("--innodb-read-only"));
        if let Configuration::OfPod(pod) = self.configuration {
            command.args(pod.relocated(&self.data_dir));
        }
        command.args(&self.options).current_dir(&run);
        child::end_with_this_thread(&mut command);
        Descriptors::for_server().map_err(|too_few| Reason::Limit.because(too_few))?.give_to(&mut command);
        Ok(command)
    }

    /// Where the server's libraries are installed, by its own answer.
    fn installed_plugins(&self, begun: &Command) -> Result<PathBuf> {
        let mut command = program::question(&self.program.path);
        command.args(begun.get_args());
        if geteuid().is_root() {
            command.arg("--user=root");
        }
        environment::withhold_from(&mut command);
        // The program looks into its data directory, so it gets an empty one.
        command.arg(path_option("--datadir=", &self.tmp())).args(["--verbose", "--help"]).current_dir(self.run());
        let asking = format!("asking {} for its settings", self.program.path.display());
        let output = program::answer(&mut command, &asking, self.blame)?;
        let said = String::from_utf8_lossy(&output.stdout);
        if let Some(directory) = value_in(&said, "plugin-dir") {
            return Ok(directory.into());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        match words::errors(complaint.lines()) {
            Some(errors) => Err(self.blame.error(format!("{} refuses its configuration: {errors}", self.named()))),
            None => bail!("{} --verbose --help does not report its plugin_dir", self.program.path.display()),
        }
    }
}

/// A value in the table at the end of a server's help.
fn value_in<'a>(help: &'a str, name: &str) -> Option<&'a str> {
    let values = help.lines().filter_map(|line| line.split_once(char::is_whitespace));
    values.filter(|(its_name, _)| *its_name == name).map(|(_, value)| value.trim()).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_from_the_servers_help() {
        let help =
            "  --plugin-dir=name   Directory for plugins\n\nVariables\nplugin-dir            /usr/lib/mysql/plugin/\n";
        assert_eq!(value_in(help, "plugin-dir"), Some("/usr/lib/mysql/plugin/"));
        assert_eq!(value_in(help, "plugin-maturity"), None);
    }
}
