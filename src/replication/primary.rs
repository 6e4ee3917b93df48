//! The primary's part: when its server first answers, its data are a whole database and get the set's identity.

use std::path::Path;

use anyhow::{Context, Result};

use crate::datadir::first_start;
use crate::datadir::journal::{Journal, State};
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::model::identity::{Lineage, SetId};
use crate::model::ordinal::Ordinal;
use crate::model::position::Position;
use crate::model::position::history::{mariadb_covers, mysql_covers};
use crate::server::{Server, history, replication_status};
use crate::sys::random;

/// Brings the primary's journal up to what its server shows. Data without a journal are taken for the set's own: the
/// server runs on them. Where first starts leave a mark, data without it are not taken for a database.
pub fn settle(journal: Option<Journal>, data_dir: &Path, first_starts_are_marked: bool) -> Result<Journal> {
    let is_new = journal.as_ref().is_some_and(|journal| journal.state == State::Initialising);
    if is_new && first_starts_are_marked && !first_start::is_done(data_dir) {
        return Err(Reason::FirstStartInterrupted.error(
            "the server runs on what an interrupted first start left, which may be half a database: delete the pod; its \
             clone then refuses it, or sets it aside with --on-half-made set-aside",
        ));
    }
    let journal = journal.unwrap_or_else(|| Journal::new(State::Initialising));
    match journal.state {
        State::Receiving | State::Received | State::Preparing | State::Prepared | State::Publishing => {
            return Err(Reason::Journal.error(format!(
                "the server runs on data whose journal says {}: stop it, and let `mysqlset clone` finish",
                journal.state
            )));
        }
        // A volume that once was a replica's stays what it is; it is complete all the same.
        State::Complete | State::Published | State::Configured | State::Replicating if journal.set_id.is_some() => {
            return Ok(journal);
        }
        _ => {}
    }
    let set_id = SetId::of_random(random::bytes()?);
    let mut complete = journal.entering(State::Complete);
    complete.set_id = Some(set_id.clone());
    complete.ordinal.get_or_insert(Ordinal::PRIMARY.0);
    complete.write(data_dir)?;
    first_start::forget(data_dir)?;
    info!(PrimaryComplete, %set_id, "the primary's data are complete");
    Ok(complete)
}

/// Published → complete: makes a primary of a copy of one of its replicas, which it was recovered from. Killed anywhere
/// in here, it runs again and does the same.
///
/// The copy's source is forgotten, and the log begins where the copy ends: so a replica that is as far as the copy can
/// follow, and one that is behind is told so. One that is further has transactions whose numbers are now given out again,
/// and would be followed by the server without a word: the new lineage is how it is known. File and offset of the lost
/// primary mean nothing in the new one's log; replicas that know no more have to be cloned again, so the data get a new
/// identity.
pub async fn take_over(journal: Journal, server: &mut Server, data_dir: &Path) -> Result<Journal> {
    let clone = journal.clone.as_ref().context("the journal says published, but not what")?;
    if replication_status(server).await?.is_some() {
        server.execute(&server.dialect.stop()).await?;
        server.execute(&server.dialect.forget_source()).await?;
    }
    let position = clone.position()?;
    begin_log_at(position, server).await?;
    let mut complete = journal.entering(State::Complete);
    let mut replaces = None;
    let cannot_be_followed = matches!(position, Position::BinlogFile { .. });
    if complete.set_id.is_none() || cannot_be_followed {
        replaces = complete.set_id.replace(SetId::of_random(random::bytes()?));
    }
    complete.lineage = Some(Lineage { id: SetId::of_random(random::bytes()?), began_at: position.clone(), replaces });
    complete.write(data_dir)?;
    if cannot_be_followed {
        warn!(
            PrimaryRecovered,
            %position,
            from = clone.donor_pod,
            "the primary is recovered, without GTIDs: no replica can follow it; delete each replica's volume and pod, one after \
             the other, to have them cloned from it"
        );
        return Ok(complete);
    }
    warn!(PrimaryRecovered, %position, from = clone.donor_pod, "the primary is recovered; its history goes on from there");
    Ok(complete)
}

async fn begin_log_at(position: &Position, server: &mut Server) -> Result<()> {
    if !writes_log(server).await? {
        return Ok(());
    }
    let own = history::own_history(server).await?;
    let (begun, written) = match position {
        Position::BinlogFile { .. } => return Ok(()),
        Position::MariadbGtid { slave_pos } => {
            (mariadb_covers(&history::beginning_of_logs(server).await?, slave_pos), !own.is_empty())
        }
        Position::MysqlGtid { executed } => (mysql_covers(&own, executed), !mysql_covers(executed, &own)),
    };
    if begun {
        return Ok(());
    }
    if written {
        warn!(PrimaryWrittenEarly, %position, own, "the recovered primary was written to before its log was set to begin where the copy ends: \
              a replica that is behind is told so only where gtid_strict_mode is on");
        return Ok(());
    }
    for statement in server.dialect.begin_log_at(position) {
        server.execute(&statement).await?;
    }
    Ok(())
}

async fn writes_log(server: &mut Server) -> Result<bool> {
    Ok(server.value("SELECT @@GLOBAL.log_bin").await?.as_deref() != Some("0"))
}

/// What keeps a primary from being copied to replicas, whatever else; `None` where nothing does.
pub async fn why_unfit_to_donate(server: &mut Server) -> Result<Option<String>> {
    let writes_log = writes_log(server).await?;
    let why = "the primary writes no binary log, which replicas would follow: set log_bin in its configuration";
    Ok((!writes_log).then(|| why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_makes_the_data_complete_and_gives_them_an_identity_once() {
        for before in [Some(Journal::new(State::Initialising)), None, Some(Journal::new(State::Complete))] {
            let directory = tempfile::tempdir().unwrap();
            let first = settle(before, directory.path(), false).unwrap();
            assert_eq!(first.state, State::Complete);
            let written = Journal::read(directory.path()).unwrap();
            assert_eq!(settle(written, directory.path(), true).unwrap().set_id, first.set_id);
        }
    }

    #[test]
    fn a_first_start_without_its_mark_is_not_complete() {
        let directory = tempfile::tempdir().unwrap();
        let begun = || Some(Journal::new(State::Initialising));
        assert!(settle(begun(), directory.path(), true).is_err());
        let mark = directory.path().join(".mysqlset-first-start-done");
        std::fs::write(&mark, "").unwrap();
        assert_eq!(settle(begun(), directory.path(), true).unwrap().state, State::Complete);
        assert!(!mark.exists());
    }

    #[test]
    fn a_server_on_an_unfinished_clone_is_trouble() {
        let directory = tempfile::tempdir().unwrap();
        assert!(settle(Some(Journal::new(State::Receiving)), directory.path(), false).is_err());
    }
}
