//! Whether a clone could work at all, before the backup tool is started.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use anyhow::{Result, ensure};

use super::context::Donor;
use super::copied_files::{self, Copier, Lying};
use super::listing;
use super::method::Way;
use crate::clone::connection::{self, Questions};
use crate::model::event::Event;
use crate::model::ordinal::Role;
use crate::protocol::inventory::look::Look;
use crate::protocol::message::{Hello, Refusal, Wants, Why};
use crate::server::status::Thread;
use crate::server::storage::Storage;
use crate::server::{Server, history, left_out, plugin, replication_status};
use crate::sys::limits::{self, Descriptors, TooFew};
use crate::unpack::Format;

/// One part in so many is added to what the data take: they grow while they are copied, and the log with them.
const GROWTH: u64 = 10;

/// At most so many bytes.
const MOST_GROWTH: u64 = 4 << 30;

/// What prepare and a server's start need on any volume, in bytes.
const LEAST_ROOM: u64 = 16 << 20;

/// What the database takes on which a recipient's own server runs, with its log. (69 MB with 9.7)
const OWN_SERVERS_ROOM: u64 = 128 << 20;

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
    /// The length of the longest of them.
    pub largest_file: u64,
    /// The server's variables, by their names in small letters.
    pub variables: BTreeMap<String, String>,
    /// Where the CLONE plugin makes it: what the recipient needs to know of the server.
    pub plugin: Option<plugin::Facts>,
    /// What the server holds, where the recipient asks for an inventory.
    pub look: Option<Box<Look>>,
}

/// Looks at server, tool, volume and recipient; an error is what the recipient is told.
pub async fn check(donor: &Donor, way: Way<'_>, hello: &Hello) -> Result<Survey, Refusal> {
    let unknown = |error: anyhow::Error| not_ready(Event::RefusedServer, format!("{error:#}"));
    // Whoever backs up need not see every table, nor set anything.
    let account = match way {
        Way::Tool(_) => &donor.settings.backup,
        Way::Plugin => &donor.settings.sql,
    };
    let mut server = Server::connect(&donor.settings.server, account).await.map_err(unknown)?;
    listing::may_look(donor, way, hello, &mut server).await?;
    let storage = Storage::of(&mut server).await.map_err(unknown)?;
    check_storage(&storage, hello)?;
    check_completeness(donor.settings.member.role(), &mut server, &storage).await?;
    if let (Way::Tool(tool), Role::Replica) = (way, donor.settings.member.role())
        && let Some(why) = tool.why_without_source(&storage.variables)
    {
        return Err(unsupported(Event::RefusedNoSource, why));
    }
    let copier = match way {
        Way::Tool(tool) => Copier::Tool { fills_holes: tool.format() == Format::XbstreamMariaDb },
        Way::Plugin => Copier::Plugin,
    };
    let lying = copied(&donor.settings.data_dir, &storage, copier)?;
    let bytes = lying.bytes;
    if matches!(way, Way::Tool(_)) {
        check_descriptors(lying.open_files)?;
        limits::ensure_room().map_err(|none| unsupported(Event::RefusedLimit, format!("at the donor, {none}")))?;
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
    // Last: what is made from now on need not be in the copy.
    let look = listing::first_look(donor, way, hello, &mut server).await?.map(Box::new);
    server.close().await;
    Ok(Survey {
        bytes,
        mean_file_bytes: bytes / lying.files.max(1),
        open_files: lying.open_files,
        largest_file: lying.largest,
        variables: storage.variables,
        plugin,
        look,
    })
}

/// Has the plugin ready, where all that the server holds can be copied by it.
async fn ready_plugin(server: &mut Server, storage: &Storage) -> Result<plugin::Facts, Refusal> {
    let unknown = |error: anyhow::Error| not_ready(Event::RefusedServer, format!("{error:#}"));
    if let Some(why) = plugin::why_not(server, storage).await.map_err(unknown)? {
        return Err(unsupported(Event::RefusedPlugin, why));
    }
    plugin::make_ready(server).await.map_err(unknown)?;
    plugin::facts(server, storage).await.map_err(unknown)
}

/// Half of a transaction, which the primary did not finish sending, may stay in the relay logs for ever; by GTID it
/// doesn't count.
async fn check_that_all_is_applied(server: &mut Server) -> Result<(), Refusal> {
    let unknown = |why: String| not_ready(Event::RefusedServer, why);
    let status = replication_status(server).await.map_err(|error| unknown(format!("{error:#}")))?;
    let progress = history::progress(server, status.as_ref()).await.map_err(|error| unknown(format!("{error:#}")))?;
    match (progress.applied, progress.fetched) {
        (Some(applied), Some(fetched)) if applied.covers(&fetched) == Some(false) => {
            let text = format!("this replica has applied up to {applied}, and has fetched up to {fetched}");
            Err(not_ready(Event::RefusedNotApplied, text))
        }
        _ => Ok(()),
    }
}

fn not_ready(event: Event, text: impl Display) -> Refusal {
    Refusal::passing(event, Why::NotReady, text, RETRY_AFTER)
}

fn unsupported(event: Event, text: impl Display) -> Refusal {
    Refusal::new(event, Why::Unsupported, text)
}

fn check_storage(storage: &Storage, hello: &Hello) -> Result<(), Refusal> {
    let refuse = |event: Event, text: String| Err(unsupported(event, text));
    if let Some(outside) = storage.outside() {
        return refuse(
            Event::RefusedOutside,
            format!("the donor's server keeps data outside its data directory ({outside})"),
        );
    }
    if let (Some(what), false) = (&storage.encrypted, hello.keyring) {
        return refuse(
            Event::RefusedEncrypted,
            format!(
                "the donor's data are encrypted ({what}), and the recipient does not say that it reaches the keys \
                 (--keyring)"
            ),
        );
    }
    if let (Some(ours), Some(theirs)) = (storage.page_size(), hello.page_size)
        && ours != theirs
    {
        return refuse(
            Event::RefusedPageSize,
            format!("the donor's InnoDB pages have {ours} bytes, the recipient's server is configured for {theirs}"),
        );
    }
    match (storage.lower_case_table_names(), hello.lower_case_table_names) {
        (Some(ours), Some(theirs)) if ours != theirs => refuse(
            Event::RefusedNameCase,
            format!(
                "the donor's server has lower_case_table_names = {ours}, the recipient's is configured for {theirs} and would \
                 not find tables of the copy: set it alike on all pods"
            ),
        ),
        _ => Ok(()),
    }
}

/// A server that lacks something is no donor, nor is a primary that keeps something from its replicas.
async fn check_completeness(role: Role, server: &mut Server, storage: &Storage) -> Result<(), Refusal> {
    let unknown = |error: anyhow::Error| not_ready(Event::RefusedServer, format!("{error:#}"));
    let Some(setting) = left_out::what_by(server, role, &storage.variables).await.map_err(unknown)? else {
        return Ok(());
    };
    let text = match role {
        Role::Primary => {
            format!("the primary's binary log leaves a part out ({setting}), which its replicas would lack")
        }
        Role::Replica => format!("this replica may lack a part of the primary's data ({setting})"),
    };
    Err(unsupported(Event::RefusedPartial, text))
}

/// A tool that runs out of descriptors says that pages are corrupted.
fn check_descriptors(files: u64) -> Result<(), Refusal> {
    let too_few = |error: TooFew| unsupported(Event::RefusedLimit, format!("at the donor, {error}"));
    Descriptors::for_files(files).map(drop).map_err(too_few)
}

/// The files that a backup copies, all of which must lie in the data directory.
fn copied(data_dir: &Path, storage: &Storage, copier: Copier) -> Result<Lying, Refusal> {
    let unknown =
        |error: std::io::Error| not_ready(Event::RefusedServer, format!("looking at {}: {error}", data_dir.display()));
    let found = copied_files::look(data_dir, storage, copier).map_err(unknown)?;
    if let Some(link) = &found.link {
        let text = format!("the donor keeps data outside its data directory ({} leads there)", link.display());
        return Err(unsupported(Event::RefusedOutside, text));
    }
    if let Some(name) = &found.clash {
        let text = format!(
            "the donor has a database {name}, by whose name the backup tool keeps notes of its own in each backup: give \
             the database another name"
        );
        return Err(unsupported(Event::RefusedUncopied, text));
    }
    Ok(found)
}

fn check_room(bytes: u64, own_room: u64, storage: &Storage, hello: &Hello) -> Result<(), Refusal> {
    let Some(free) = hello.free_bytes else { return Ok(()) };
    let redo_log = storage.redo_log_bytes();
    let growth = (bytes / GROWTH).min(MOST_GROWTH);
    // A sum that wrapped would fit any volume.
    let needed = [growth, redo_log, own_room, LEAST_ROOM].into_iter().fold(bytes, u64::saturating_add);
    if needed > free {
        let text = format!(
            "a copy needs {needed} bytes ({bytes} of data and what they may grow by meanwhile, {redo_log} for the server's \
             redo log), and the recipient's volume has {free} free"
        );
        return Err(Refusal::new(Event::RefusedNoRoom, Why::NoRoom, text));
    }
    Ok(())
}

/// A replica whose faults a clone would inherit doesn't donate.
async fn check_against_primary(donor: &Donor, server: &mut Server) -> Result<(), Refusal> {
    let Some(primary) = donor.settings.primary.clone() else { return Ok(()) };
    let silent = |why: String| not_ready(Event::RefusedPrimarySilent, why);
    let questions = questions(server).await.map_err(|error| not_ready(Event::RefusedServer, format!("{error:#}")))?;
    let settings = donor.settings.clone();
    let asking = tokio::task::spawn_blocking(move || {
        connection::ask_primary(&settings.member, &settings.peering, &primary, &questions)
    });
    let report = match asking.await {
        Ok(Ok(report)) => report,
        Ok(Err(silence)) => return Err(silent(format!("the primary can't be asked about this replica: {silence}"))),
        Err(error) => return Err(silent(format!("asking the primary: {error}"))),
    };
    let own = donor.status.get().set_id;
    if report.set_id.is_none() || report.set_id != own {
        return Err(not_ready(Event::RefusedUnknownSet, "this replica is not known to be of the primary's set"));
    }
    if let Some(extra) = report.unknown_history.filter(|extra| !extra.is_empty()) {
        return Err(not_ready(
            Event::RefusedOwnHistory,
            format!("this replica has transactions that the primary has not: {extra}"),
        ));
    }
    if let Some(why) = report.cannot_follow.filter(|why| !why.is_empty()) {
        return Err(not_ready(
            Event::RefusedPurged,
            format!("the primary no longer holds this replica's position: {why}"),
        ));
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
    fn the_case_of_names_must_meet() {
        let storage = Storage { variables: [("lower_case_table_names".into(), "0".into())].into(), encrypted: None };
        let check = |theirs| check_storage(&storage, &Hello { lower_case_table_names: theirs, ..Hello::default() });
        assert!(check(None).is_ok() && check(Some(0)).is_ok());
        let refusal = check(Some(1)).unwrap_err();
        assert!(!refusal.why.may_pass() && refusal.text.contains("lower_case_table_names = 0"), "{refusal}");
    }

    /// Wrapped, the sum was small enough for any volume.
    #[test]
    fn no_volume_has_room_for_more_bytes_than_can_be_counted() {
        let storage =
            Storage { variables: [("innodb_log_file_size".into(), u64::MAX.to_string())].into(), encrypted: None };
        let hello = |free_bytes| Hello { free_bytes: Some(free_bytes), ..Hello::default() };
        assert!(check_room(1 << 30, 0, &storage, &hello(1 << 40)).is_err());
        let storage = Storage { variables: [].into(), encrypted: None };
        assert!(check_room(u64::MAX - LEAST_ROOM, 0, &storage, &hello(1 << 40)).is_err());
        assert!(check_room(1 << 30, u64::MAX, &storage, &hello(1 << 40)).is_err());
        assert!(check_room(1 << 30, 0, &storage, &hello(1 << 40)).is_ok());
    }

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
}
