//! Settles the primary's data: when its server first answers, the data are a whole database and get the set's identity.

use std::path::Path;

use anyhow::{Context, Result};

use crate::datadir::first_start;
use crate::datadir::journal::{Journal, State};
use crate::model::event::{Event, info, warn};
use crate::model::identity::{Lineage, SetId};
use crate::model::ordinal::Ordinal;
use crate::model::position::Position;
use crate::model::position::history::{mariadb_covers, mysql_covers};
use crate::server::{Server, history, replication_status};
use crate::sys::random;

/// Brings the primary's journal up to the state of its server. Data without a journal count as the set's own, since the
/// server runs on them. Where first starts leave a mark, unmarked data are refused.
pub fn settle(journal: Option<Journal>, data_dir: &Path, first_starts_are_marked: bool) -> Result<Journal> {
    let is_new = journal.as_ref().is_some_and(|journal| journal.state == State::Initialising);
    if is_new && first_starts_are_marked && !first_start::is_done(data_dir) {
        return Err(Event::FirstStartInterrupted.error(
            "the server runs on the remains of an interrupted first start, which may be half a database: delete the \
             pod; its clone then refuses the remains, or sets them aside with --on-half-made set-aside",
        ));
    }
    let journal = journal.unwrap_or_else(|| Journal::new(State::Initialising));
    match journal.state {
        State::Receiving | State::Received | State::Preparing | State::Prepared | State::Publishing => {
            return Err(Event::DataUnproven.error(format!(
                "the server runs on data in state {} of the journal: stop it, and let `mysqlset clone` finish",
                journal.state
            )));
        }
        // A volume that was once a replica's stays what it is, and is just as complete.
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

/// Published → complete: makes a primary of a copy of one of its replicas, from which it was recovered. After a kill it
/// runs again from the start, with the same result.
///
/// It forgets the copy's source, and begins the log where the copy ends. So a replica that is as far as the copy can
/// follow, and one that is behind gets an error. A replica that is ahead has transactions whose numbers are now given
/// out again. The server would follow silently, so the new lineage marks the difference. File and offset of the lost
/// primary mean nothing in the new primary's log. Replicas that have only those must be cloned again, so the data get a
/// new identity.
pub async fn take_over(journal: Journal, server: &mut Server, data_dir: &Path) -> Result<Journal> {
    let clone = journal.clone.as_ref().context("the journal is in state published but names no clone")?;
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
            "the primary is recovered, but without GTIDs no replica can follow it: delete each replica's volume and \
             pod, one after the other, to clone them again"
        );
        return Ok(complete);
    }
    warn!(
        PrimaryRecovered,
        %position,
        from = clone.donor_pod,
        "the primary is recovered; its history continues from this position"
    );
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
        warn!(
            PrimaryWrittenEarly,
            %position,
            own,
            "the recovered primary was written to before its log began at the end of the copy: a replica that is \
             behind gets an error only with gtid_strict_mode"
        );
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

/// Why this primary must not be copied to replicas at all, where there is a reason.
pub async fn why_unfit_to_donate(server: &mut Server) -> Result<Option<String>> {
    let writes_log = writes_log(server).await?;
    let why = "the primary writes no binary log for replicas to follow: set log_bin in its configuration";
    Ok((!writes_log).then(|| why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_completes_the_data_with_one_identity() {
        for before in [Some(Journal::new(State::Initialising)), None, Some(Journal::new(State::Complete))] {
            let directory = tempfile::tempdir().unwrap();
            let first = settle(before, directory.path(), false).unwrap();
            assert_eq!(first.state, State::Complete);
            let written = Journal::read(directory.path()).unwrap();
            assert_eq!(settle(written, directory.path(), true).unwrap().set_id, first.set_id);
        }
    }

    #[test]
    fn a_first_start_without_its_mark_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let begun = || Some(Journal::new(State::Initialising));
        assert!(settle(begun(), directory.path(), true).is_err());
        let mark = directory.path().join(".mysqlset-first-start-done");
        std::fs::write(&mark, "").unwrap();
        assert_eq!(settle(begun(), directory.path(), true).unwrap().state, State::Complete);
        assert!(!mark.exists());
    }

    #[test]
    fn a_server_on_an_unfinished_clone_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(settle(Some(Journal::new(State::Receiving)), directory.path(), false).is_err());
    }
}
