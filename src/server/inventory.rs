//! Takes the inventory of a server: its tablespaces from its own dictionary ([`dictionary`]), and other engines' tables
//! by their files ([`files`]).
//!
//! Names are file names. The queries need PROCESS: `information_schema.TABLES` would silently list only the tables that
//! the account may see.

mod dictionary;
mod files;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::access_denied::innermost;
use super::client::Error;
use super::connection::Server;
use super::dialect::Dialect;
use crate::protocol::inventory::MOST_ENTRIES;
use crate::protocol::inventory::server_look::Look;
use crate::unpack::path::MemberPath;
use dictionary::Tablespace;

/// The longest that the server may take for all queries. For 20,000 tables MariaDB takes a tenth of a second, MySQL a
/// few.
const LIMIT: Duration = Duration::from_secs(60);

/// ER_SPECIFIC_ACCESS_DENIED_ERROR.
const NO_PRIVILEGE: u16 = 1227;

/// The dictionary's own tablespace since MySQL 8.0.
const DICTIONARY: (u32, &str) = (4_294_967_294, "mysql.ibd");

/// The part of a server that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All, as a backup tool does.
    AllEngines,
    /// InnoDB's alone, as the CLONE plugin does.
    InnodbOnly,
}

/// Why a server's inventory is unknown.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The account may not ask.
    #[error(
        "the account {user:?} may not list the server's tablespaces, and the proof of a copy needs that list: \
         GRANT PROCESS ON *.* to it"
    )]
    NoPrivilege { user: String },
    /// The server holds something that a copy would lack.
    #[error("{0}")]
    Uncopied(String),
    /// The server, or its disk, gave no answer.
    #[error("the server does not report its tables: {0:#}")]
    NoAnswer(anyhow::Error),
}

impl From<anyhow::Error> for Unknown {
    fn from(error: anyhow::Error) -> Unknown {
        Unknown::NoAnswer(error)
    }
}

/// Looks at a server and its data directory. `user` is the account of the connection.
pub async fn look(server: &mut Server, user: &str, data_dir: &Path, extent: Extent) -> Result<Look, Unknown> {
    let variables = variables(server).await?;
    let mut looking = Looking { variables, look: Look::default() };
    looking.look.keeps_definitions = keeps_definitions(server.dialect);
    let asked = looking.ask(server, user);
    timeout(LIMIT, asked).await.map_err(|_| no_answer())??;
    looking.list_system_files(data_dir)?;
    if extent == Extent::AllEngines {
        let on_disk =
            |error: io::Error| anyhow::Error::new(error).context(format!("looking at {}", data_dir.display()));
        // The walk may take long on a slow volume, so it leaves heartbeats running.
        let directory = data_dir.to_owned();
        let walked = tokio::task::spawn_blocking(move || files::files(&directory)).await;
        looking.look.files = walked.map_err(|error| anyhow::anyhow!("listing files: {error}"))?.map_err(on_disk)?;
    }
    Ok(looking.look)
}

/// Checks early whether the account may ask.
pub async fn may_look(server: &mut Server, user: &str) -> Result<(), Unknown> {
    let asked = server.connection.run("SELECT 1 FROM information_schema.INNODB_METRICS LIMIT 1");
    let answer = timeout(LIMIT, asked).await.map_err(|_| no_answer())?;
    answer.map_err(|error| unknown(error, user))
}

fn no_answer() -> Unknown {
    Unknown::NoAnswer(anyhow::anyhow!("no answer in {} seconds", LIMIT.as_secs()))
}

fn unknown(error: Error, user: &str) -> Unknown {
    match error {
        Error::Server(error) if error.code == NO_PRIVILEGE => Unknown::NoPrivilege { user: user.to_owned() },
        other => Unknown::NoAnswer(innermost(other)),
    }
}

fn keeps_definitions(dialect: Dialect) -> bool {
    match dialect {
        Dialect::Mariadb => true,
        Dialect::Mysql { version } => version < dictionary::NEW,
    }
}

async fn variables(server: &mut Server) -> anyhow::Result<BTreeMap<String, String>> {
    let query = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
                 ('datadir', 'innodb_data_file_path', 'innodb_data_home_dir', 'innodb_undo_directory')";
    let rows = server.rows(query).await?;
    let text = |row: &super::rows::NamedRow, name: &str| row.get(name).cloned().flatten();
    Ok(rows.iter().filter_map(|row| Some((text(row, "Variable_name")?, text(row, "Value")?))).collect())
}

struct Looking {
    variables: BTreeMap<String, String>,
    look: Look,
}

impl Looking {
    async fn ask(&mut self, server: &mut Server, user: &str) -> Result<(), Unknown> {
        for tablespace in dictionary::tablespaces(server).await.map_err(|error| unknown(error, user))? {
            self.take(tablespace)?;
        }
        if matches!(server.dialect, Dialect::Mysql { version } if version >= dictionary::NEW) {
            let (id, name) = DICTIONARY;
            self.look.tablespaces.insert(id, member(name)?);
        }
        Ok(())
    }

    fn take(&mut self, tablespace: Tablespace) -> Result<(), Unknown> {
        // Tablespaces of a running rebuild, and its remains.
        if tablespace.path.contains("/#sql") {
            return Ok(());
        }
        let path = self.relative(&tablespace.path)?;
        if tablespace.is_undo {
            self.look.undo_files.insert(path);
        } else {
            let id = tablespace.id;
            let id = id.parse().map_err(|_| anyhow::anyhow!("{path} has the tablespace id {id:?}"))?;
            self.look.tablespaces.insert(id, path);
        }
        if self.look.len() > MOST_ENTRIES {
            return Err(Unknown::Uncopied(format!("the server has more than {MOST_ENTRIES} tablespaces")));
        }
        Ok(())
    }

    /// A path below the data directory.
    fn relative(&self, path: &str) -> Result<MemberPath, Unknown> {
        let data_dir = self.variable("datadir").trim_end_matches('/');
        let below = match path.strip_prefix(data_dir).and_then(|rest| rest.strip_prefix('/')) {
            Some(below) if !data_dir.is_empty() => below,
            _ => path,
        };
        let below = below.trim_start_matches("./");
        if below.starts_with('/') {
            return Err(Unknown::Uncopied(format!("the donor keeps data outside its data directory ({path})")));
        }
        member(below)
    }

    /// Lists the system tablespace's files by the server's configuration, and undo tablespaces by their names. MySQL's
    /// dictionary has already listed the latter.
    fn list_system_files(&mut self, data_dir: &Path) -> Result<(), Unknown> {
        let home = self.variable("innodb_data_home_dir").trim_end_matches('/').to_owned();
        let files = self.variable("innodb_data_file_path").to_owned();
        for name in files.split(';').filter_map(|file| file.split(':').next()).filter(|name| !name.is_empty()) {
            let path =
                if home.is_empty() || name.starts_with('/') { name.to_owned() } else { format!("{home}/{name}") };
            let path = self.relative(&path)?;
            self.look.system_files.push(path);
        }
        let undo = self.variable("innodb_undo_directory").trim_end_matches('/');
        let undo = if matches!(undo, "" | ".") || undo == self.variable("datadir").trim_end_matches('/') {
            String::new()
        } else {
            format!("{}/", self.relative(undo)?)
        };
        let directory = data_dir.join(&undo);
        let unread = |error: std::io::Error| {
            let what = format!("listing undo tablespaces in {}", directory.display());
            Unknown::NoAnswer(anyhow::Error::new(error).context(what))
        };
        for entry in std::fs::read_dir(&directory).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name().to_string_lossy().into_owned();
            if is_undo(&name) {
                self.look.undo_files.insert(member(&format!("{undo}{name}"))?);
            }
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }
}

/// `undo001`, as MariaDB and MySQL before 8.0 name them.
fn is_undo(name: &str) -> bool {
    name.strip_prefix("undo")
        .is_some_and(|number| number.len() == 3 && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Refuses a path that a recipient would reject, since leaving it out must never be silent.
fn member(path: &str) -> Result<MemberPath, Unknown> {
    MemberPath::new(path.as_bytes()).map_err(|error| Unknown::Uncopied(format!("a copy cannot hold {path:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<'a>(paths: impl IntoIterator<Item = &'a MemberPath>) -> Vec<String> {
        paths.into_iter().map(ToString::to_string).collect()
    }

    fn looking(variables: &[(&str, &str)]) -> Looking {
        let all = [("datadir", "/var/lib/mysql/"), ("innodb_data_file_path", "ibdata1:12M:autoextend")];
        let variables = all.iter().chain(variables).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Looking { variables: variables.collect(), look: Look::default() }
    }

    #[test]
    fn every_form_of_a_path_is_below_the_data_directory() {
        let relative =
            |path: &str| looking(&[]).relative(path).map(|path| path.to_string()).map_err(|why| why.to_string());
        for path in ["./app/t.ibd", "app/t.ibd", "/var/lib/mysql/app/t.ibd"] {
            assert_eq!(relative(path).unwrap(), "app/t.ibd");
        }
        for path in ["/elsewhere/app/t.ibd", "/var/lib/mysql-data/t.ibd"] {
            assert!(relative(path).unwrap_err().contains("outside its data directory"), "{path}");
        }
        assert!(relative("../t.ibd").unwrap_err().contains("a copy cannot hold"));
    }

    #[test]
    fn the_configuration_locates_the_system_tablespace() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("undo")).unwrap();
        for name in ["undo/undo001", "undo/undo002", "undo/other", "undo003"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let path = ("innodb_data_file_path", "sys2:12M;sys1:12M:autoextend");
        let mut looking =
            looking(&[path, ("innodb_data_home_dir", "/var/lib/mysql/sys/"), ("innodb_undo_directory", "./undo")]);
        looking.list_system_files(directory.path()).unwrap();
        assert_eq!(names(&looking.look.system_files), ["sys/sys2", "sys/sys1"]);
        assert_eq!(names(&looking.look.undo_files), ["undo/undo001", "undo/undo002"]);
        for undo in ["./", ".", "", "/var/lib/mysql", "/var/lib/mysql/"] {
            let mut looking = self::looking(&[("innodb_undo_directory", undo)]);
            looking.list_system_files(directory.path()).unwrap();
            assert_eq!(names(&looking.look.undo_files), ["undo003"], "{undo:?}");
        }
    }

    #[test]
    fn an_account_without_process_gets_the_remedy() {
        let text = Unknown::NoPrivilege { user: "backup".into() }.to_string();
        assert!(text.contains("\"backup\"") && text.contains("GRANT PROCESS"), "{text}");
    }

    #[test]
    fn definitions_lie_in_files_before_mysql_8() {
        let keeps = |version: &str| keeps_definitions(Dialect::of(version).unwrap());
        assert_eq!([keeps("11.8.9-MariaDB"), keeps("5.7.44"), keeps("8.0.36")], [true, true, false]);
    }
}
