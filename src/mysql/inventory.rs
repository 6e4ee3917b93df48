//! What a server holds: its tablespaces by its own dictionary, and what other engines have by their files.
//!
//! | server | asked | |
//! |---|---|---|
//! | MariaDB | `INNODB_SYS_TABLES`, which is read from the dictionary | never `INNODB_SYS_TABLESPACES`: it has only what was opened since the start, and crashes 11.8 where that is read-only |
//! | MySQL from 8.0 on | `INNODB_DATAFILES` and `INNODB_TABLESPACES` | `mysql.ibd` is not among the former |
//! | MySQL 5.6, 5.7 | `INNODB_SYS_DATAFILES` and `INNODB_SYS_TABLES` | |
//!
//! Names are as the files have them. A table whose tablespace was discarded has none; the dictionary says so by the root
//! of its clustered index, of which there is none then. All of it takes PROCESS: `information_schema.TABLES` would list
//! what the account may see, without a word about the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use super::client::{Error, Values};
use super::dialect::Dialect;
use super::{Server, innermost, text};
use crate::inventory::MOST_ENTRIES;
use crate::inventory::look::{Look, Mark};
use crate::unpack::path::MemberPath;

/// The longest that the server may take for all of it. 20,000 tables take MariaDB a tenth of a second, MySQL a few.
const LIMIT: Duration = Duration::from_secs(60);

/// ER_SPECIFIC_ACCESS_DENIED_ERROR.
const NO_PRIVILEGE: u16 = 1227;

/// Ends of the names of files that a backup tool copies beside InnoDB's: data of MyISAM, MERGE, Aria, ARCHIVE and CSV, and
/// what defines tables, partitions, triggers and databases. (XtraBackup's backup_copy.cc and mariadb-backup's have the
/// same list.) `.ARM` is there only while a table is optimised.
const COPIED: [&str; 14] =
    [".frm", ".par", ".TRG", ".TRN", ".opt", ".MYD", ".MYI", ".MRG", ".MAD", ".MAI", ".ARZ", ".CSM", ".CSV", ".sdi"];

/// Files at the top of a data directory: Aria's control file and logs.
const ARIA_LOG: &str = "aria_log";

/// A schema of the server's own, which has no rows and is made again.
const PERFORMANCE_SCHEMA: &str = "performance_schema";

/// The dictionary's own tablespace since MySQL 8.0.
const DICTIONARY: (u32, &str) = (4_294_967_294, "mysql.ibd");

/// From here on tablespaces are known by the new dictionary.
const NEW_DICTIONARY: (u16, u16, u16) = (8, 0, 0);

/// The first version whose INNODB_TABLESPACES has a column STATE.
const WITH_STATE: (u16, u16, u16) = (8, 0, 14);

/// What of a server is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All, as a backup tool does.
    AllEngines,
    /// InnoDB's alone, as the CLONE plugin does.
    InnodbOnly,
}

/// Why it can't be said what a server holds.
#[derive(Debug)]
pub enum Unknown {
    /// The account may not ask.
    NoPrivilege { user: String },
    /// It holds something that no copy would have.
    Uncopied(String),
    /// The server, or its disk, gave no answer.
    NoAnswer(anyhow::Error),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unknown::NoPrivilege { user } => write!(
                f,
                "the account {user:?} may not ask the server which tablespaces it has, and no copy can be proven without \
                 that: GRANT PROCESS ON *.* to it"
            ),
            Unknown::Uncopied(what) => f.write_str(what),
            Unknown::NoAnswer(error) => write!(f, "the server does not say which tables it has: {error:#}"),
        }
    }
}

impl std::error::Error for Unknown {}

impl From<anyhow::Error> for Unknown {
    fn from(error: anyhow::Error) -> Unknown {
        Unknown::NoAnswer(error)
    }
}

/// Looks at a server, and at the data directory that it has. `user` is the account by which it was connected to.
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
        // A walk that may take long on a slow volume: heartbeats go on meanwhile.
        let directory = data_dir.to_owned();
        let walked = tokio::task::spawn_blocking(move || files(&directory)).await;
        looking.look.files = walked.map_err(|error| anyhow::anyhow!("listing files: {error}"))?.map_err(on_disk)?;
    }
    Ok(looking.look)
}

/// Whether the account may ask, before it has to.
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
        Dialect::Mysql { version } => version < NEW_DICTIONARY,
    }
}

/// Name and id of each tablespace, and whether it was discarded.
fn statement(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Mariadb => {
            "SELECT CONCAT(t.NAME, '.ibd'), t.SPACE, t.TABLE_ID IN (SELECT TABLE_ID \
             FROM information_schema.INNODB_SYS_INDEXES WHERE TYPE & 1 AND (PAGE_NO IS NULL OR PAGE_NO = 4294967295)) \
             FROM information_schema.INNODB_SYS_TABLES t WHERE t.SPACE <> 0"
        }
        // Without a state: such a server's discarded tablespaces are missed.
        Dialect::Mysql { version } if version >= NEW_DICTIONARY && version < WITH_STATE => {
            "SELECT d.PATH, CAST(d.SPACE AS UNSIGNED), 0, COALESCE(t.SPACE_TYPE, '') \
             FROM information_schema.INNODB_DATAFILES d \
             LEFT JOIN information_schema.INNODB_TABLESPACES t ON t.SPACE = d.SPACE WHERE d.SPACE <> 0"
        }
        Dialect::Mysql { version } if version >= NEW_DICTIONARY => {
            "SELECT d.PATH, CAST(d.SPACE AS UNSIGNED), COALESCE(t.STATE = 'discarded', 0), COALESCE(t.SPACE_TYPE, '') \
             FROM information_schema.INNODB_DATAFILES d \
             LEFT JOIN information_schema.INNODB_TABLESPACES t ON t.SPACE = d.SPACE WHERE d.SPACE <> 0"
        }
        // A tablespace of several tables has no root of its own that could be gone. These series show a root that is gone as
        // -1: the column is signed.
        Dialect::Mysql { .. } => {
            "SELECT d.PATH, d.SPACE, d.SPACE IN (SELECT t.SPACE FROM information_schema.INNODB_SYS_TABLES t \
             JOIN information_schema.INNODB_SYS_INDEXES i ON i.TABLE_ID = t.TABLE_ID \
             WHERE i.TYPE & 1 AND (i.PAGE_NO IS NULL OR i.PAGE_NO < 0 OR i.PAGE_NO = 4294967295)) \
             FROM information_schema.INNODB_SYS_DATAFILES d WHERE d.SPACE <> 0"
        }
    }
}

async fn variables(server: &mut Server) -> anyhow::Result<BTreeMap<String, String>> {
    let query = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
                 ('datadir', 'innodb_data_file_path', 'innodb_data_home_dir', 'innodb_undo_directory')";
    let rows = server.rows(query).await?;
    let text = |row: &super::NamedRow, name: &str| row.get(name).cloned().flatten();
    Ok(rows.iter().filter_map(|row| Some((text(row, "Variable_name")?, text(row, "Value")?))).collect())
}

struct Looking {
    variables: BTreeMap<String, String>,
    look: Look,
}

impl Looking {
    /// Row by row: there may be very many.
    async fn ask(&mut self, server: &mut Server, user: &str) -> Result<(), Unknown> {
        let failed = |error| unknown(error, user);
        let dialect = server.dialect;
        server.connection.begin(statement(dialect)).await.map_err(failed)?;
        while let Some(row) = server.connection.next().await.map_err(failed)? {
            self.take(row)?;
        }
        if matches!(dialect, Dialect::Mysql { version } if version >= NEW_DICTIONARY) {
            let (id, name) = DICTIONARY;
            self.look.tablespaces.insert(id, member(name)?);
        }
        Ok(())
    }

    fn take(&mut self, row: Values) -> Result<(), Unknown> {
        let mut columns = row.into_iter().map(|value| text(value).unwrap_or_default());
        let mut column = || columns.next().unwrap_or_default();
        let (path, id, discarded, kind) = (column(), column(), column(), column());
        // A rebuild's that is under way, and what it left.
        if discarded == "1" || path.contains("/#sql") {
            return Ok(());
        }
        let path = self.relative(&path)?;
        if kind == "Undo" {
            self.look.undo_files.insert(path);
        } else {
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

    /// The system tablespace's files by the server's configuration, and tablespaces of undo logs by their names; MySQL's
    /// dictionary has told of the latter.
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
        for entry in std::fs::read_dir(data_dir.join(&undo)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
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

/// `undo001`, as MariaDB and MySQL before 8.0 call them.
fn is_undo(name: &str) -> bool {
    name.strip_prefix("undo")
        .is_some_and(|number| number.len() == 3 && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// What a recipient would not take must not be listed, and not left out without a word.
fn member(path: &str) -> Result<MemberPath, Unknown> {
    MemberPath::new(path.as_bytes()).map_err(|error| Unknown::Uncopied(format!("no copy can have {path:?}: {error}")))
}

/// What lies in the databases' directories. Files come and go while a server runs.
fn files(data_dir: &Path) -> io::Result<BTreeMap<MemberPath, Mark>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let kind = entry.file_type()?;
        // Neither ours, nor lost+found, nor a server's own for temporary tables or caches.
        let is_database = kind.is_dir() && !text.starts_with(['.', '#']) && text != "lost+found";
        if kind.is_file() && text.starts_with(ARIA_LOG) {
            add(&mut found, &entry.path(), name.as_bytes())?;
        } else if is_database && text != PERFORMANCE_SCHEMA {
            add_database(&mut found, &entry.path(), name.as_bytes())?;
        }
    }
    Ok(found)
}

fn add_database(found: &mut BTreeMap<MemberPath, Mark>, directory: &Path, database: &[u8]) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        // `#sql…` is a statement's that runs, or was killed.
        if !text.starts_with('#') && COPIED.iter().any(|end| text.ends_with(end)) {
            add(found, &entry.path(), &[database, b"/", name.as_bytes()].concat())?;
        }
    }
    Ok(())
}

fn add(found: &mut BTreeMap<MemberPath, Mark>, path: &Path, name: &[u8]) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    let name = MemberPath::new(name).map_err(io::Error::other)?;
    if metadata.is_file() {
        found.insert(name, mark(&metadata));
    }
    if found.len() > MOST_ENTRIES {
        return Err(io::Error::other(format!("more than {MOST_ENTRIES} files")));
    }
    Ok(())
}

fn mark(metadata: &Metadata) -> Mark {
    Mark { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()), length: metadata.len() }
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
    fn paths_are_below_the_data_directory_however_they_are_said() {
        let relative =
            |path: &str| looking(&[]).relative(path).map(|path| path.to_string()).map_err(|why| why.to_string());
        for path in ["./app/t.ibd", "app/t.ibd", "/var/lib/mysql/app/t.ibd"] {
            assert_eq!(relative(path).unwrap(), "app/t.ibd");
        }
        for path in ["/elsewhere/app/t.ibd", "/var/lib/mysql-data/t.ibd"] {
            assert!(relative(path).unwrap_err().contains("outside its data directory"), "{path}");
        }
        assert!(relative("../t.ibd").unwrap_err().contains("no copy can have"));
    }

    #[test]
    fn the_system_tablespace_is_where_the_configuration_has_it() {
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
    fn files_of_other_engines_and_definitions_are_listed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        let listed =
            ["aria_log.00000001", "aria_log_control", "app/a#P#p0.MAD", "app/a.frm", "app/db.opt", "app/t.TRG"];
        for name in listed {
            write(name);
        }
        for name in [
            "app/t.ibd",
            "app/#sql-alter-1-2.frm",
            "app/notes.txt",
            "performance_schema/x.sdi",
            "#innodb_temp/t.frm",
            ".mysqlset-stage/a.frm",
            "ib_buffer_pool",
            "lost+found/x.frm",
        ] {
            write(name);
        }
        let found = names(files(directory.path()).unwrap().keys());
        let mut expected = listed.map(str::to_owned);
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_account_that_may_not_ask_is_told_what_it_needs() {
        let text = Unknown::NoPrivilege { user: "backup".into() }.to_string();
        assert!(text.contains("\"backup\"") && text.contains("GRANT PROCESS"), "{text}");
    }

    #[test]
    fn what_only_lists_opened_tablespaces_is_never_asked() {
        for version in ["10.11.19-MariaDB", "11.8.9-MariaDB"] {
            assert!(!statement(Dialect::of(version).unwrap()).contains("SYS_TABLESPACES"));
        }
        assert!(statement(Dialect::of("5.7.44").unwrap()).contains("INNODB_SYS_DATAFILES"));
        assert!(statement(Dialect::of("8.0.36").unwrap()).contains("INNODB_DATAFILES"));
        let keeps = |version: &str| keeps_definitions(Dialect::of(version).unwrap());
        assert_eq!([keeps("11.8.9-MariaDB"), keeps("5.7.44"), keeps("8.0.36")], [true, true, false]);
    }
}
