//! Whether a clone could work at all, before the backup tool is started.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::Donor;
use super::way::Way;
use crate::limits::{self, Descriptors, TooFew};
use crate::mysql::status::Thread;
use crate::mysql::storage::Storage;
use crate::mysql::{Server, history, left_out, plugin, replication_status};
use crate::ordinal::Role;
use crate::peer::{self, Place, Questions};
use crate::unpack::Format;
use crate::unpack::path::OUR_PREFIX;
use crate::wire::message::{Hello, Refusal, Wants, Why};

/// One part in so many is added to what the data take: they grow while they are copied, and the log with them.
const GROWTH: u64 = 10;

/// At most so many bytes.
const MOST_GROWTH: u64 = 4 << 30;

/// What prepare and a server's start need on any volume, in bytes.
const LEAST_ROOM: u64 = 16 << 20;

/// What the database takes on which a recipient's own server runs, with its log. (69 MB with 9.7)
const OWN_SERVERS_ROOM: u64 = 128 << 20;

/// Beginnings of names in a data directory that a backup doesn't copy.
const UNCOPIED: [&str; 6] = ["ib_logfile", "#innodb_redo", "ibtmp", "#innodb_temp", "lost+found", OUR_PREFIX];

/// A replica that was found unfit now may be fit later, in seconds.
const RETRY_AFTER: u64 = 5;

/// What is known of a backup before it is made.
pub struct Survey {
    /// About how long it will be.
    pub bytes: u64,
    /// Of the files that are copied, on average.
    pub mean_file_bytes: u64,
    /// How many of them a backup tool has open at once.
    pub open_files: u64,
    /// The server's variables, by their names in small letters.
    pub variables: BTreeMap<String, String>,
    /// Where the CLONE plugin makes it: what the recipient needs to know of the server.
    pub plugin: Option<plugin::Facts>,
}

/// Looks at server, tool, volume and recipient; an error is what the recipient is told.
pub async fn check(donor: &Donor, way: Way<'_>, hello: &Hello) -> Result<Survey, Refusal> {
    let unknown = |error: anyhow::Error| refusal(Why::NotReady, format!("{error:#}"), Some(RETRY_AFTER));
    // Whoever backs up need not see every table, nor set anything.
    let account = match way {
        Way::Tool(_) => &donor.settings.backup,
        Way::Plugin => &donor.settings.sql,
    };
    let mut server = Server::connect(&donor.settings.server, account).await.map_err(unknown)?;
    let storage = Storage::of(&mut server).await.map_err(unknown)?;
    check_storage(&storage, hello)?;
    check_completeness(donor.settings.member.role(), &mut server, &storage).await?;
    if let (Way::Tool(tool), Role::Replica) = (way, donor.settings.member.role())
        && let Some(why) = tool.why_without_source(&storage.variables)
    {
        return Err(refusal(Why::Unsupported, why, None));
    }
    // mariadb-backup sends the holes of `page_compressed` tables as zeros, and zeros they become.
    let fills_holes = matches!(way, Way::Tool(tool) if tool.format() == Format::XbstreamMariaDb);
    let lying = copied(&donor.settings.data_dir, &storage)?;
    let bytes = if fills_holes { lying.bytes_with_holes } else { lying.bytes };
    if matches!(way, Way::Tool(_)) {
        check_descriptors(lying.open_files)?;
    }
    let own_room = if matches!(way, Way::Plugin) { OWN_SERVERS_ROOM } else { 0 };
    check_room(bytes, own_room, &storage, hello)?;
    let plugin = match way {
        Way::Tool(_) => None,
        Way::Plugin => Some(ready_plugin(&mut server, &storage).await?),
    };
    match (donor.settings.member.role(), hello.wants) {
        (Role::Replica, Wants::Clone) => check_against_primary(donor, &mut server).await?,
        (Role::Replica, Wants::Recovery) => check_that_all_is_applied(&mut server).await?,
        _ => {}
    }
    server.close().await;
    Ok(Survey {
        bytes,
        mean_file_bytes: bytes / lying.files.max(1),
        open_files: lying.open_files,
        variables: storage.variables,
        plugin,
    })
}

/// Has the plugin ready, where all that the server holds can be copied by it.
async fn ready_plugin(server: &mut Server, storage: &Storage) -> Result<plugin::Facts, Refusal> {
    let unknown = |error: anyhow::Error| refusal(Why::NotReady, format!("{error:#}"), Some(RETRY_AFTER));
    if let Some(why) = plugin::why_not(server, storage).await.map_err(unknown)? {
        return Err(refusal(Why::Unsupported, why, None));
    }
    plugin::make_ready(server).await.map_err(unknown)?;
    plugin::facts(server, storage).await.map_err(unknown)
}

/// Half of a transaction, which the primary did not finish sending, may stay in the relay logs for ever; by GTID it
/// doesn't count.
async fn check_that_all_is_applied(server: &mut Server) -> Result<(), Refusal> {
    let unknown = |why: String| refusal(Why::NotReady, why, Some(RETRY_AFTER));
    let status = replication_status(server).await.map_err(|error| unknown(format!("{error:#}")))?;
    let progress = history::progress(server, status.as_ref()).await.map_err(|error| unknown(format!("{error:#}")))?;
    match (progress.applied, progress.fetched) {
        (Some(applied), Some(fetched)) if applied.covers(&fetched) == Some(false) => {
            Err(unknown(format!("this replica has applied up to {applied}, and has fetched up to {fetched}")))
        }
        _ => Ok(()),
    }
}

fn refusal(why: Why, text: String, retry_after: Option<u64>) -> Refusal {
    Refusal { why, text, retry_after }
}

fn check_storage(storage: &Storage, hello: &Hello) -> Result<(), Refusal> {
    let refuse = |text: String| Err(refusal(Why::Unsupported, text, None));
    if let Some(outside) = storage.outside() {
        return refuse(format!("the donor's server keeps data outside its data directory ({outside})"));
    }
    if let (Some(what), false) = (&storage.encrypted, hello.keyring) {
        return refuse(format!(
            "the donor's data are encrypted ({what}), and the recipient does not say that it reaches the keys \
             (--keyring)"
        ));
    }
    match (storage.page_size(), hello.page_size) {
        (Some(ours), Some(theirs)) if ours != theirs => refuse(format!(
            "the donor's InnoDB pages have {ours} bytes, the recipient's server is configured for {theirs}"
        )),
        _ => Ok(()),
    }
}

/// A server that lacks something is no donor, nor is a primary that keeps something from its replicas.
async fn check_completeness(role: Role, server: &mut Server, storage: &Storage) -> Result<(), Refusal> {
    let unknown = |error: anyhow::Error| refusal(Why::NotReady, format!("{error:#}"), Some(RETRY_AFTER));
    let Some(setting) = left_out::what_by(server, role, &storage.variables).await.map_err(unknown)? else {
        return Ok(());
    };
    let text = match role {
        Role::Primary => {
            format!("the primary's binary log leaves a part out ({setting}), which its replicas would lack")
        }
        Role::Replica => format!("this replica may lack a part of the primary's data ({setting})"),
    };
    Err(refusal(Why::Unsupported, text, None))
}

/// A tool that runs out of descriptors says that pages are corrupted.
fn check_descriptors(files: u64) -> Result<(), Refusal> {
    let too_few = |error: TooFew| refusal(Why::Unsupported, format!("at the donor, {error}"), None);
    Descriptors::for_files(files).map(drop).map_err(too_few)
}

/// The files that a backup copies, all of which must lie in the data directory.
fn copied(data_dir: &Path, storage: &Storage) -> Result<Lying, Refusal> {
    let unknown = |error: std::io::Error| {
        refusal(Why::NotReady, format!("looking at {}: {error}", data_dir.display()), Some(RETRY_AFTER))
    };
    let found = look(data_dir, &storage.uncopied_logs(), storage.socket()).map_err(unknown)?;
    match &found.link {
        Some(link) => {
            let text = format!("the donor keeps data outside its data directory ({} leads there)", link.display());
            Err(refusal(Why::Unsupported, text, None))
        }
        None => Ok(found),
    }
}

fn check_room(bytes: u64, own_room: u64, storage: &Storage, hello: &Hello) -> Result<(), Refusal> {
    let Some(free) = hello.free_bytes else { return Ok(()) };
    let redo_log = storage.redo_log_bytes();
    let growth = (bytes / GROWTH).min(MOST_GROWTH);
    let needed = bytes + growth + redo_log + own_room + LEAST_ROOM;
    if needed > free {
        let text = format!(
            "a copy needs {needed} bytes ({bytes} of data and what they may grow by meanwhile, {redo_log} for the server's \
             redo log), and the recipient's volume has {free} free"
        );
        return Err(refusal(Why::NoRoom, text, None));
    }
    Ok(())
}

/// What lies in a data directory.
#[derive(Default)]
struct Lying {
    /// Space taken by what a backup copies.
    bytes: u64,
    /// The same where holes in tables are filled.
    bytes_with_holes: u64,
    files: u64,
    /// Of them, those that a backup tool has open all the time.
    open_files: u64,
    /// A file that stands for one elsewhere.
    link: Option<PathBuf>,
}

fn look(data_dir: &Path, uncopied_logs: &[String], socket: Option<&str>) -> std::io::Result<Lying> {
    let mut found = Lying::default();
    let data_dir = &data_dir.canonicalize()?;
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_uncopied = UNCOPIED.iter().any(|start| name.starts_with(start))
            || uncopied_logs.iter().any(|start| name.starts_with(start.as_str()));
        // MySQL's images leave a link to the server's socket there, at each start.
        let is_socket = socket.is_some() && entry.path().read_link().ok().map(in_run) == socket.map(in_run);
        if !is_uncopied && !is_socket {
            add(&mut found, &entry.path(), data_dir);
        }
    }
    Ok(found)
}

/// `/var/run` has long been another name of `/run`; whether this container has both says nothing about the server's.
fn in_run(path: impl Into<PathBuf>) -> PathBuf {
    let path = path.into();
    path.strip_prefix("/var/run").map(|rest| Path::new("/run").join(rest)).unwrap_or(path)
}

/// Files come and go while a server runs.
fn add(found: &mut Lying, path: &Path, data_dir: &Path) {
    let Ok(metadata) = path.symlink_metadata() else { return };
    if metadata.is_symlink() || path.extension().is_some_and(|extension| extension == "isl") {
        let leads_inside = metadata.is_symlink() && path.canonicalize().is_ok_and(|end| end.starts_with(data_dir));
        if !leads_inside {
            found.link.get_or_insert_with(|| path.to_owned());
        }
    } else if metadata.is_dir() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            add(found, &entry.path(), data_dir);
        }
    } else {
        // Blocks of 512 bytes, whatever the file system's are. (stat(2))
        let taken = metadata.blocks() * 512;
        found.bytes += taken;
        let has_pages = path.extension().is_some_and(|extension| extension == "ibd");
        found.bytes_with_holes += if has_pages { taken.max(metadata.len()) } else { taken };
        found.files += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        found.open_files += u64::from(limits::is_kept_open(&name));
    }
}

/// A replica whose faults a clone would inherit doesn't donate.
async fn check_against_primary(donor: &Donor, server: &mut Server) -> Result<(), Refusal> {
    let Some(primary) = donor.settings.primary.clone() else { return Ok(()) };
    let unknown = |why: String| refusal(Why::NotReady, why, Some(RETRY_AFTER));
    let questions = questions(server).await.map_err(|error| unknown(format!("{error:#}")))?;
    let settings = donor.settings.clone();
    let asking = tokio::task::spawn_blocking(move || {
        peer::ask_for_report(&settings.member, &settings.peering, &Place::Name(primary), &questions)
    });
    let report = match asking.await {
        Ok(Ok(report)) => report,
        Ok(Err(silence)) => return Err(unknown(format!("the primary can't be asked about this replica: {silence}"))),
        Err(error) => return Err(unknown(format!("asking the primary: {error}"))),
    };
    let own = donor.status.get().set_id;
    if report.set_id.is_none() || report.set_id != own {
        return Err(unknown("this replica is not known to be of the primary's set".to_owned()));
    }
    if let Some(extra) = report.unknown_history.filter(|extra| !extra.is_empty()) {
        return Err(unknown(format!("this replica has transactions that the primary has not: {extra}")));
    }
    if let Some(why) = report.cannot_follow.filter(|why| !why.is_empty()) {
        return Err(unknown(format!("the primary no longer holds this replica's position: {why}")));
    }
    Ok(())
}

async fn questions(server: &mut Server) -> Result<Questions> {
    let status = replication_status(server).await?;
    // The watcher may not have looked since it stopped.
    ensure!(
        status.as_ref().is_some_and(|status| status.applier == Thread::Running),
        "this replica's applier has stopped"
    );
    let progress = history::progress(server, status.as_ref()).await?;
    Ok(Questions { about: progress.applied, history: Some(history::own_history(server).await?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_page_sizes_must_meet() {
        let mut storage = Storage { variables: [("innodb_page_size".into(), "16384".into())].into(), encrypted: None };
        let hello = |page_size, keyring| Hello { page_size, keyring, ..Hello::default() };
        assert!(check_storage(&storage, &hello(None, false)).is_ok());
        assert!(check_storage(&storage, &hello(Some(16384), false)).is_ok());
        assert!(check_storage(&storage, &hello(Some(8192), false)).is_err());
        storage.encrypted = Some("the table app/t".into());
        let refusal = check_storage(&storage, &hello(None, false)).unwrap_err();
        assert!(!refusal.why.may_pass() && refusal.text.contains("app/t"), "{refusal}");
        assert!(check_storage(&storage, &hello(None, true)).is_ok());
    }

    #[test]
    fn logs_that_are_not_copied_take_no_room_and_links_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str| std::fs::write(directory.path().join(name), vec![1; 8192]).unwrap();
        for name in ["ibdata1", "ib_logfile0", "mysql-bin.000001", "ibtmp1", ".mysqlset.json"] {
            write(name);
        }
        std::fs::create_dir(directory.path().join("app")).unwrap();
        write("app/t.ibd");
        let found = look(directory.path(), &["mysql-bin.".to_owned()], None).unwrap();
        assert_eq!((found.bytes, found.bytes_with_holes, found.files, found.link), (16384, 16384, 2, None));
        std::fs::File::create(directory.path().join("app/holes.ibd")).unwrap().set_len(1 << 20).unwrap();
        let found = look(directory.path(), &["mysql-bin.".to_owned()], None).unwrap();
        assert_eq!((found.bytes, found.bytes_with_holes, found.files), (16384, 16384 + (1 << 20), 3));
        std::fs::File::create(directory.path().join("core")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(look(directory.path(), &[], None).unwrap().bytes_with_holes, 16384 + 8192 + (1 << 20));
        let symlink = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, directory.path().join(name)).unwrap();
        };
        symlink("/run/mysqld/mysqld.sock", "mysql.sock");
        let link = |socket| look(directory.path(), &[], socket).unwrap().link;
        assert_eq!(link(Some("/run/mysqld/mysqld.sock")), None);
        assert_eq!(link(Some("/var/run/mysqld/mysqld.sock")), None);
        assert!(link(Some("/tmp/mysql.sock")).is_some_and(|link| link.ends_with("mysql.sock")));
        symlink("/elsewhere/u.ibd", "app/u.ibd");
        assert!(link(Some("/run/mysqld/mysqld.sock")).is_some_and(|link| link.ends_with("app/u.ibd")));
    }
}
