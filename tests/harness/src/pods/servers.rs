//! The servers that the tests can run on, and their differences.
//!
//! `SERVER` names the tested server or its kind, by default the machine's own MariaDB. `make servers` unpacks the
//! others below target/. `GTID=off` turns GTIDs off on MySQL; MariaDB's replicas always use them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

use super::manifest::Manifests;
use super::{conditions, kustomize};
use crate::needs::Needs;

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name in `SERVER`, and of its directory from `make servers`.
    name: &'static str,
    /// The overlay that ships it.
    pub overlay: &'static str,
    /// The same with passwords.
    pub overlay_with_passwords: &'static str,
    image: &'static str,
    is_the_machines: bool,
    family: Family,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Mariadb,
    Mysql { gtid: bool },
}

const ALL: [Server; 3] = [
    Server {
        name: "mariadb-10.11",
        overlay: "mariadb",
        overlay_with_passwords: "mariadb-secrets",
        image: "mariadb:10.11",
        is_the_machines: true,
        family: Family::Mariadb,
    },
    Server {
        name: "mariadb-11.8",
        overlay: "mariadb",
        overlay_with_passwords: "mariadb-secrets",
        image: "mariadb:11.8",
        is_the_machines: false,
        family: Family::Mariadb,
    },
    Server {
        name: "mysql-9.7",
        overlay: "mysql",
        overlay_with_passwords: "mysql-secrets",
        image: "mysql:9.7",
        is_the_machines: false,
        family: Family::Mysql { gtid: true },
    },
];

/// The names of all servers.
pub fn names() -> [&'static str; 3] {
    ALL.map(|server| server.name)
}

/// The server under test.
pub fn tested() -> &'static Server {
    static TESTED: OnceLock<Server> = OnceLock::new();
    TESTED.get_or_init(|| from_environment().unwrap_or_else(|error| panic!("{error:#}")))
}

fn from_environment() -> Result<Server> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let name = variable("SERVER").unwrap_or_else(|| ALL[0].name.to_owned());
    let names = ALL.map(|server| server.name).join(", ");
    let is_meant = |server: &Server| server.name == name || server.name.split('-').next() == Some(&name);
    let found = ALL.into_iter().find(is_meant);
    let mut server = found.with_context(|| format!("SERVER={name}: it is one of {names}"))?;
    match (variable("GTID").as_deref(), &mut server.family) {
        (None | Some("on"), _) => {}
        (Some("off"), Family::Mysql { gtid }) => *gtid = false,
        (Some(value), _) => bail!("GTID={value}: {name} can't do that"),
    }
    server.usr()?;
    Ok(server)
}

/// The manifests of an overlay with some components, for the tested server.
pub fn manifests(overlay: &str, components: &[&str]) -> Result<Manifests> {
    parse(&kustomize::build(overlay, components)?)
}

/// The same for manifests that were built elsewhere.
pub fn parse(text: &str) -> Result<Manifests> {
    let mut manifests = Manifests::parse(text)?;
    tested().move_in(&mut manifests);
    Ok(manifests)
}

/// The path of an image's programs and libraries.
pub fn usr_of(image: &str) -> Result<PathBuf> {
    let found = ALL.iter().find(|server| server.image == image);
    found
        .with_context(|| format!("no image {image:?} in the harness's table (tests/harness/src/pods/servers.rs)"))?
        .usr()
}

/// The plugin directory of MariaDB's image.
pub const PLUGINS: &str = "/usr/lib/mysql/plugin";

/// Whether the tested server's image has a plugin, by its file's name.
pub fn has_plugin(file: &str) -> bool {
    let own = tested().usr().map(|usr| usr.join("lib/mysql/plugin"));
    let fetched = if tested().is_the_machines { fetched_plugins() } else { None };
    own.into_iter().chain(fetched).any(|directory| directory.join(file).exists())
}

/// The fetched plugins of the machine's server: the package of its program has none.
pub fn fetched_plugins() -> Option<PathBuf> {
    let directory = crate::project().join("target/plugins/mariadb-10.11");
    let is_wanted = directory.join("fetched").exists() && !Path::new(PLUGINS).exists();
    is_wanted.then(|| directory.join("root/usr/lib/mysql/plugin"))
}

impl Server {
    /// The name for readers of a test's output.
    pub fn title(&self) -> String {
        match self.family {
            Family::Mariadb => self.name.to_owned(),
            Family::Mysql { gtid } => format!("{} with GTID {}", self.name, if gtid { "on" } else { "off" }),
        }
    }

    pub fn is_mariadb(&self) -> bool {
        self.family == Family::Mariadb
    }

    /// The path of its programs and libraries.
    pub fn usr(&self) -> Result<PathBuf> {
        if self.is_the_machines {
            return Ok("/usr".into());
        }
        let directory = crate::project().join("target/servers").join(self.name);
        ensure!(directory.join("fetched").exists(), "{} is not there: `make servers` fetches it", self.name);
        Ok(directory.join("root/usr"))
    }

    /// Whether the tests find its programs in their own path.
    pub fn is_the_machines(&self) -> bool {
        self.is_the_machines
    }

    /// Replaces an overlay's images, and sets the tested options in its configuration files.
    fn move_in(&self, manifests: &mut Manifests) {
        let spec = &mut manifests.stateful_set.spec.template.spec;
        let containers = spec.init_containers.iter_mut().chain(&mut spec.containers);
        for container in containers.filter(|container| !container.image.starts_with("mysqlset")) {
            container.image = self.image.to_owned();
        }
        if self.family == (Family::Mysql { gtid: false }) {
            // Set explicitly, though 9.7 has it on by default.
            for text in manifests.server_files() {
                *text = text.replace("gtid_mode = ON\nenforce_gtid_consistency = ON\n", "gtid_mode = OFF\n");
            }
        }
    }

    /// A command on the machine that finds this server's programs.
    pub fn command(&self, program: &str) -> Result<Command> {
        if self.is_the_machines {
            return Ok(Command::new(program));
        }
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", "sh", "-c", r#"mount --bind "$0" /usr && exec "$@""#])
            .arg(self.usr()?)
            .arg(program);
        Ok(command)
    }

    /// A file that its backup tool leaves.
    pub fn left_by_its_tool(&self, what: &str) -> String {
        let start = if self.is_the_machines { "xtrabackup" } else { "mariadb_backup" };
        format!("{start}_{what}")
    }

    /// The name that its processes have.
    pub fn process(&self) -> &'static str {
        if self.is_mariadb() { "mariadbd" } else { "mysqld" }
    }

    /// Whether a small clone takes only one or two seconds, so that hundreds are affordable.
    pub fn is_quick(&self) -> bool {
        self.is_mariadb()
    }

    /// The options that keep its logs small, and turn on GTID where a run tests it.
    pub fn small_logs(&self) -> &'static [&'static str] {
        match self.family {
            Family::Mariadb => &["--innodb-log-file-size=8M"],
            Family::Mysql { gtid: true } => &[
                "--innodb-redo-log-capacity=8M",
                "--mysqlx=OFF",
                "--secure-file-priv=NULL",
                "--gtid-mode=ON",
                "--enforce-gtid-consistency=ON",
            ],
            Family::Mysql { gtid: false } => {
                &["--innodb-redo-log-capacity=8M", "--mysqlx=OFF", "--secure-file-priv=NULL"]
            }
        }
    }

    /// The clone method for `clone` and `sidecar`, where no overlay sets it.
    pub fn method(&self) -> Option<(&'static str, &'static str)> {
        (!self.is_mariadb()).then_some(("MYSQLSET_METHOD", "clone-plugin"))
    }

    /// The client in its image.
    pub fn client(&self) -> &'static str {
        if self.is_mariadb() { "mariadb" } else { "mysql" }
    }

    /// Whether `VERSION()` returned this for it.
    pub fn is_version(&self, version: &str) -> bool {
        version.contains("MariaDB") == self.is_mariadb()
    }

    /// Asks a primary for the end of its log; the columns are for [`Server::reach`].
    pub fn end_of_log(&self) -> &'static str {
        match self.family {
            Family::Mariadb => "SELECT @@gtid_binlog_pos",
            // Sets of several servers are on several lines.
            Family::Mysql { gtid: true } => r"SELECT REPLACE(@@GLOBAL.gtid_executed, '\n', '')",
            Family::Mysql { gtid: false } => self.log_status(),
        }
    }

    /// Asks a primary for its log's file and offset.
    pub fn log_status(&self) -> &'static str {
        if self.is_mariadb() { "SHOW MASTER STATUS" } else { "SHOW BINARY LOG STATUS" }
    }

    /// Has a replica wait up to two minutes for the end of its primary's log. The answer is 1 if it got there.
    pub fn reach(&self, end_of_log: &[String]) -> Result<String> {
        Ok(match (self.family, end_of_log) {
            (Family::Mariadb, [position]) => format!("SELECT MASTER_GTID_WAIT('{position}', 120) = 0"),
            (Family::Mysql { gtid: true }, [set]) => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', 120) = 0"),
            (Family::Mysql { gtid: false }, [file, offset, ..]) => {
                format!("SELECT SOURCE_POS_WAIT('{file}', {offset}, 120) >= 0")
            }
            _ => bail!("{end_of_log:?} is no end of a log"),
        })
    }

    /// Asks a replica for its progress, in any form that can be compared.
    pub fn applied(&self) -> &'static str {
        match self.family {
            Family::Mariadb => "SELECT @@gtid_slave_pos",
            Family::Mysql { gtid: true } => "SELECT @@GLOBAL.gtid_executed",
            Family::Mysql { gtid: false } => {
                "SELECT CONCAT(Master_log_name, ':', Master_log_pos) FROM mysql.slave_relay_log_info"
            }
        }
    }

    /// The value in `SHOW REPLICA STATUS` that identifies a replica with GTID, if there is one.
    pub fn by_gtid(&self) -> Option<&'static str> {
        self.is_mariadb().then_some("Slave_Pos")
    }

    /// The journal's name for the kind of a clone's position.
    pub fn position_by(&self) -> &'static str {
        match self.family {
            Family::Mariadb => "mariadb-gtid",
            Family::Mysql { gtid: true } => "mysql-gtid",
            Family::Mysql { gtid: false } => "binlog-file",
        }
    }

    /// The beginning of the statement that sets a replica's source.
    pub fn change_source(&self) -> &'static str {
        if self.is_mariadb() { "CHANGE MASTER" } else { "CHANGE REPLICATION SOURCE" }
    }

    /// The beginning of the statement that sets a replica's delay, in seconds.
    pub fn change_delay(&self) -> &'static str {
        if self.is_mariadb() { "CHANGE MASTER TO MASTER_DELAY" } else { "CHANGE REPLICATION SOURCE TO SOURCE_DELAY" }
    }

    /// A configuration file that has the server write no binary log.
    pub fn without_binary_log(&self, file: &str) -> String {
        let lines = ["log_bin", "log_slave_updates"];
        let kept = file.split_inclusive('\n').filter(|line| !lines.iter().any(|name| line.starts_with(name)));
        kept.chain(if self.is_mariadb() { None } else { Some("skip_log_bin\n") }).collect()
    }

    /// The statement that lets root write on a replica, put before root's own.
    pub fn let_root_write(&self) -> &'static str {
        if self.is_mariadb() { "" } else { "SET GLOBAL super_read_only = OFF; " }
    }

    /// The statement that stops both threads of a replica. The servers know both words.
    pub fn stop_replica(&self) -> &'static str {
        if self.is_mariadb() { "STOP SLAVE" } else { "STOP REPLICA" }
    }

    /// The reason why a test with this need has to be left out.
    pub fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match (needs, self.family) {
            (Needs::Plugins, Family::Mysql { .. }) => None,
            (Needs::Plugins, _)
                if self.is_the_machines && (fetched_plugins().is_some() || Path::new(PLUGINS).exists()) =>
            {
                None
            }
            (Needs::Plugins, _) => Some("its plugins are fetched for MariaDB 10.11 only, by `make packages`"),
            (Needs::ClonePlugin | Needs::Sha256Password, Family::Mysql { .. })
            | (Needs::PlacesInTheLog, Family::Mysql { gtid: false }) => None,
            (Needs::PlacesInTheLog, _) => Some("it is about MySQL without GTID"),
            (Needs::Ipv6, _) => (!conditions::machine_has_ipv6()).then_some("this machine's kernel has no IPv6"),
            (Needs::ClonePlugin, Family::Mariadb) => Some("it is about MySQL's CLONE plugin"),
            (Needs::Sha256Password, Family::Mariadb) => Some("MariaDB has no sha256_password"),
            (Needs::Tutorial, _) if self.is_the_machines => None,
            (Needs::Tutorial, _) => Some("the tutorial's pods in it know mariadb-backup 10.11 only"),
            (Needs::KeyPlugin, _)
                if self.is_the_machines && (fetched_plugins().is_some() || Path::new(PLUGINS).exists()) =>
            {
                None
            }
            (Needs::KeyPlugin, _) if self.is_the_machines => Some("its plugin for keys is not there: `make packages`"),
            (Needs::KeyPlugin, _) => Some("a plugin for keys is fetched for MariaDB 10.11 only"),
            (_, Family::Mariadb) | (Needs::Gtid, Family::Mysql { gtid: true }) => None,
            (Needs::BackupTool, _) => Some("it is about a backup tool and its stream, and this server has none"),
            (Needs::Gtid, _) => Some("only GTIDs tell what another server has"),
            (Needs::MariadbsPlaces, _) => Some("this server keeps a replica's place elsewhere"),
            (Needs::MariadbsAccounts, _) => Some("what it does to accounts' tables is MariaDB's"),
        }
    }
}
