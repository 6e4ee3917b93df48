//! Checks whether a clone can work at all, before the backup tool starts.

use std::path::Path;

use anyhow::{Result, ensure};

use super::context::Donor;
use super::copied_files::{self, Copier, DataDirectoryScan};
use super::listing;
use super::survey::{Survey, not_ready, unsupported};
use crate::clone::connection::{self, Questions};
use crate::clone::method::CloneMethod;
use crate::model::event::Event;
use crate::model::identity::{Kinship, SetId};
use crate::model::ordinal::Role;
use crate::protocol::message::{Hello, Refusal, Report, Wants, Why};
use crate::protocol::verdict::Verdict;
use crate::server::status::Thread;
use crate::server::storage::Storage;
use crate::server::{Server, filtered_data, history, replication_status};

/// Room for growth while the copy is made: one part in this many of the data, for data and log.
const GROWTH: u64 = 10;

/// Upper limit of the room for growth, in bytes.
const MOST_GROWTH: u64 = 4 << 30;

/// Room in bytes that prepare and a server's start need on any volume.
const LEAST_ROOM: u64 = 16 << 20;

/// Checks server, tool, volume and recipient. The error is the refusal for the recipient.
pub async fn check(donor: &Donor, method: &dyn CloneMethod, hello: &Hello) -> Result<Survey, Refusal> {
    let unknown = |error: anyhow::Error| not_ready(Event::RefusedServer, format!("{error:#}"));
    // The backup account may lack the privileges to see every table and to set variables.
    let mut server = Server::connect(&donor.settings.server, method.account(&donor.settings)).await.map_err(unknown)?;
    listing::may_look(donor, method, hello, &mut server).await?;
    let storage = Storage::of(&mut server).await.map_err(unknown)?;
    check_storage(&storage, hello)?;
    check_completeness(donor.settings.member.role(), &mut server, &storage).await?;
    if donor.settings.member.role() == Role::Replica
        && let Some(why) = method.why_without_source(&storage)
    {
        return Err(unsupported(Event::RefusedNoSource, why));
    }
    let found = copied(&donor.settings.data_dir, &storage, method.copier())?;
    let bytes = found.bytes;
    method.check_limits(found.open_files)?;
    check_room(bytes, method.recipients_own_room(), &storage, hello)?;
    let plugin = method.make_ready(&mut server, &storage).await?;
    match (donor.settings.member.role(), hello.wants) {
        (Role::Replica, Wants::Clone) => check_against_primary(donor, &mut server).await?,
        (Role::Replica, Wants::Recovery) => check_that_all_is_applied(&mut server).await?,
        _ => {}
    }
    // Last: tables that are created from now on may be missing from the copy.
    let look = listing::first_look(donor, method, hello, &mut server).await?.map(Box::new);
    server.close().await;
    Ok(Survey {
        bytes,
        mean_file_bytes: bytes / found.files.max(1),
        open_files: found.open_files,
        largest_file: found.largest,
        variables: storage.variables,
        plugin,
        look,
    })
}

/// Checks that the replica has applied everything that it fetched. By GTID, the fetched half of a transaction is left
/// out: if the primary never finished sending it, it stays in the relay logs for ever.
async fn check_that_all_is_applied(server: &mut Server) -> Result<(), Refusal> {
    let unknown = |why: String| not_ready(Event::RefusedServer, why);
    let status = replication_status(server).await.map_err(|error| unknown(format!("{error:#}")))?;
    let progress = history::progress(server, status.as_ref()).await.map_err(|error| unknown(format!("{error:#}")))?;
    match (progress.applied, progress.fetched) {
        (Some(applied), Some(fetched)) if applied.covers(&fetched) == Some(false) => {
            let text = format!("this replica has applied up to {applied} but fetched up to {fetched}");
            Err(not_ready(Event::RefusedNotApplied, text))
        }
        _ => Ok(()),
    }
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
                "the donor's data is encrypted ({what}), and the recipient does not report access to the keys \
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
                 miss tables of the copy: set the same value on all pods"
            ),
        ),
        _ => Ok(()),
    }
}

/// Refuses a replica that may lack data, and a primary that withholds data from its replicas.
async fn check_completeness(role: Role, server: &mut Server, storage: &Storage) -> Result<(), Refusal> {
    let unknown = |error: anyhow::Error| not_ready(Event::RefusedServer, format!("{error:#}"));
    let Some(setting) = filtered_data::what_by(server, role, &storage.variables).await.map_err(unknown)? else {
        return Ok(());
    };
    let text = match role {
        Role::Primary => {
            format!("the primary's binary log leaves out a part ({setting}) that its replicas would lack")
        }
        Role::Replica => format!("this replica may lack a part of the primary's data ({setting})"),
    };
    Err(unsupported(Event::RefusedPartial, text))
}

/// Scans the files that a backup copies. All of them must lie in the data directory.
fn copied(data_dir: &Path, storage: &Storage, copier: Copier) -> Result<DataDirectoryScan, Refusal> {
    let unknown =
        |error: std::io::Error| not_ready(Event::RefusedServer, format!("cannot scan {}: {error}", data_dir.display()));
    let found = copied_files::look(data_dir, storage, copier).map_err(unknown)?;
    if let Some(link) = &found.link {
        let text = format!("the donor keeps data outside its data directory ({} leads there)", link.display());
        return Err(unsupported(Event::RefusedOutside, text));
    }
    if let Some(name) = &found.clash {
        let text = format!(
            "the donor has a database {name}, and the backup tool keeps its own metadata under that name in each backup: \
             rename the database"
        );
        return Err(unsupported(Event::RefusedUncopied, text));
    }
    Ok(found)
}

fn check_room(bytes: u64, own_room: u64, storage: &Storage, hello: &Hello) -> Result<(), Refusal> {
    let Some(free) = hello.free_bytes else { return Ok(()) };
    let redo_log = storage.redo_log_bytes();
    let growth = (bytes / GROWTH).min(MOST_GROWTH);
    // Saturating: a sum that wrapped would fit any volume.
    let needed = [growth, redo_log, own_room, LEAST_ROOM].into_iter().fold(bytes, u64::saturating_add);
    if needed > free {
        let text = format!(
            "a copy needs {needed} bytes ({bytes} of data with room for growth, {redo_log} for the server's redo log), but the \
             recipient's volume has {free} free"
        );
        return Err(Refusal::new(Event::RefusedNoRoom, Why::NoRoom, text));
    }
    Ok(())
}

/// Refuses a replica whose faults a clone would inherit.
async fn check_against_primary(donor: &Donor, server: &mut Server) -> Result<(), Refusal> {
    let Some(primary) = donor.settings.primary.clone() else { return Ok(()) };
    let silent = |why: String| not_ready(Event::RefusedPrimarySilent, why);
    let questions = questions(server).await.map_err(|error| not_ready(Event::RefusedServer, format!("{error:#}")))?;
    let (settings, has_position) = (donor.settings.clone(), questions.about.is_some());
    let asking = tokio::task::spawn_blocking(move || {
        connection::ask_primary(&settings.member, &settings.peering, &primary, &questions)
    });
    let report = match asking.await {
        Ok(Ok(report)) => report,
        Ok(Err(silence)) => return Err(silent(format!("cannot ask the primary about this replica: {silence}"))),
        Err(error) => return Err(silent(format!("cannot ask the primary: {error}"))),
    };
    compare_with_primary(&report, donor.status.get().set_id.as_ref(), has_position)
}

/// Decides from the primary's report. An answer that is missing is a refusal too: the primary's sidecar answers while its
/// server is away.
fn compare_with_primary(report: &Report, own: Option<&SetId>, has_position: bool) -> Result<(), Refusal> {
    if Kinship::of(own, report.set_id.as_ref()) != Kinship::Same {
        return Err(not_ready(
            Event::RefusedUnknownSet,
            "cannot confirm that this replica belongs to the primary's set",
        ));
    }
    let unanswered =
        || not_ready(Event::RefusedPrimarySilent, "the primary's server gives no answer about this replica");
    match report.has_history() {
        Verdict::Yes => {}
        Verdict::No(extra) => {
            return Err(not_ready(
                Event::RefusedOwnHistory,
                format!("this replica has transactions that the primary lacks: {extra}"),
            ));
        }
        Verdict::Unknown => return Err(unanswered()),
    }
    match report.can_be_followed() {
        Verdict::No(why) => {
            Err(not_ready(Event::RefusedPurged, format!("the primary no longer holds this replica's position: {why}")))
        }
        Verdict::Unknown if has_position => Err(unanswered()),
        Verdict::Yes | Verdict::Unknown => Ok(()),
    }
}

async fn questions(server: &mut Server) -> Result<Questions> {
    let status = replication_status(server).await?;
    // The applier may have stopped since the watcher last looked.
    ensure!(
        status.as_ref().is_some_and(|status| status.applier == Thread::Running),
        "this replica's applier has stopped"
    );
    let progress = history::progress(server, status.as_ref()).await?;
    Ok(Questions { about: progress.applied, history: Some(history::own_history(server).await?) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lower_case_table_names_must_match() {
        let storage = Storage { variables: [("lower_case_table_names".into(), "0".into())].into(), encrypted: None };
        let check = |theirs| check_storage(&storage, &Hello { lower_case_table_names: theirs, ..Hello::default() });
        assert!(check(None).is_ok() && check(Some(0)).is_ok());
        let refusal = check(Some(1)).unwrap_err();
        assert!(!refusal.why.may_pass() && refusal.text.contains("lower_case_table_names = 0"), "{refusal}");
    }

    /// A wrapped sum would be small enough for any volume.
    #[test]
    fn a_size_beyond_64_bits_fits_no_volume() {
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
    fn keys_and_page_sizes_must_match() {
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

    /// A replica was a donor while the primary's server was away, regardless of its data.
    #[test]
    fn a_primary_that_leaves_a_question_open_has_not_said_yes() {
        let set_id = SetId::of_random([1; 16]);
        let compare = |followed: Option<&str>, history: Option<&str>, has_position| {
            let mut report = json!({ "pod": "mysql-0", "ordinal": 0, "has_data": true, "set_id": set_id.to_string() });
            if let Some(followed) = followed {
                report["cannot_follow"] = followed.into();
            }
            if let Some(history) = history {
                report["unknown_history"] = history.into();
            }
            let report = serde_json::from_value(report).unwrap();
            compare_with_primary(&report, Some(&set_id), has_position).map_err(|refusal| refusal.event)
        };
        assert_eq!(compare(Some(""), Some(""), true), Ok(()));
        assert_eq!(compare(None, Some(""), false), Ok(()), "a replica without a position asks about none");
        let silent = Err(Event::RefusedPrimarySilent.name().to_owned());
        for (followed, history) in [(None, None), (Some(""), None), (None, Some(""))] {
            assert_eq!(compare(followed, history, true), silent, "{followed:?} {history:?}");
        }
        assert_eq!(compare(Some(""), Some("0-1-7"), true), Err(Event::RefusedOwnHistory.name().to_owned()));
        assert_eq!(compare(Some("gone"), Some(""), true), Err(Event::RefusedPurged.name().to_owned()));
    }
}
