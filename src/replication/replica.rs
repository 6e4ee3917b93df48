//! A replica's part: from what the journal says and what the server says to replication that runs.
//!
//! ```text
//!  journal        server has                       done
//!  published                                       forget the source that was copied, once (the journal says so)
//!  published      not reached the clone's          GTID: declare the position; set the source (file and offset: with
//!                 position by its own word         the position)
//!  published      reached it or gone beyond        set the source without moving anything
//!     ── then the journal says configured ──
//!  configured,    the right source                 where nothing runs: set its password; on MariaDB, go over to GTID
//!  replicating    another host, port or user       set the source where it stands
//!                 no source, position by GTID      set the source: the server itself knows its GTID position
//!                 no source, file and offset       refuse: nobody knows how far it had come
//!  no journal     a source                         as configured
//!  complete       GTIDs                            the primary's data in a replica's pod: set the source by GTID
//!     ── then the applier is started; the receiver when the primary is known to be the right one (see [`super::source`]);
//!        and the watcher records replicating when both run ──
//! ```
//!
//! The position of a clone is declared in state `published` only, in which replication was never started; and even
//! there never below what the server has reached.

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::broken::ask_primary;
use super::primary_identity::{Identity, Primary};
use super::source_password::check_password;
use crate::clone::connection::Questions;
use crate::datadir::journal::{Journal, State};
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::model::position::{Position, history as order};
use crate::observe::status::Status;
use crate::server::dialect::Dialect;
use crate::server::status::{ReplicationStatus, Thread};
use crate::server::{Server, history, replication_status};
use crate::settings::Sidecar;

/// Sets the server's replication right and starts the applier; returns the journal as it is then.
pub async fn settle(
    journal: Option<Journal>,
    server: &mut Server,
    settings: &Arc<Sidecar>,
    primary: &mut Primary,
    known: &Status,
) -> Result<Journal> {
    let status = replication_status(server).await?;
    let journal = match (journal, &status) {
        (Some(journal), _) => journal,
        (None, Some(_)) => Journal::new(State::Configured),
        (None, None) => {
            return Err(Reason::Journal.error(
                "the data directory has no journal and the server no source: nobody knows where replication would \
                 start; set it up by hand once, or empty the volume to clone again",
            ));
        }
    };
    let configured = match journal.state {
        State::Published => start_from_clone(journal, server, settings, primary, known).await?,
        State::Complete => follow_with_primarys_data(journal, server, settings, primary, known).await?,
        State::Configured | State::Replicating => {
            keep_source(&journal, status.as_ref(), server, settings, primary, known).await?;
            journal
        }
        other => {
            return Err(Reason::Journal.error(format!(
                "a replica's server runs on data whose journal says {other}: no clone of the primary is in them"
            )));
        }
    };
    start_applier(server).await?;
    Ok(configured)
}

/// Published → configured. Killed anywhere in here, it runs again and does the same.
async fn start_from_clone(
    journal: Journal,
    server: &mut Server,
    settings: &Sidecar,
    primary: &mut Primary,
    known: &Status,
) -> Result<Journal> {
    let clone = journal.clone.clone().context("the journal says published, but not what")?;
    let position = by_gtid_where_it_can_be(clone.position()?, server, settings, primary, known).await?;
    // What the primary says of itself may have been noted in it.
    let journal = Journal::read(&settings.data_dir)?.unwrap_or(journal);
    let journal = forget_copied_source(journal, server, settings).await?;
    let status = stopped(server).await?;
    match (has_reached(&position, status.as_ref(), server).await?, &position) {
        (true, Position::BinlogFile { .. }) => {
            warn!(ReplicationBeyond, %position, "replication has gone beyond the clone's position already; it goes on from there");
            keep_source(&journal, status.as_ref(), server, settings, primary, known).await?;
        }
        (true, _) => set_source(&position, server, settings).await?,
        (false, _) => {
            for statement in server.dialect.set_reached_gtid(&position) {
                server.execute(&statement).await?;
            }
            set_source(&position, server, settings).await?;
        }
    }
    let mut configured = journal.entering(State::Configured);
    configured.source_forgotten = false;
    configured.write(&settings.data_dir)?;
    info!(ReplicationSet, source = %settings.source, %position, donor = clone.donor_pod, "replication starts where the clone ends");
    Ok(configured)
}

/// Complete → configured: these data were the primary's, and `clone` has seen that they are of its set. They go on by
/// GTID, where the primary of today has all that they hold. Killed anywhere in here, it runs again and does the same.
async fn follow_with_primarys_data(
    journal: Journal,
    server: &mut Server,
    settings: &Arc<Sidecar>,
    primary: &mut Primary,
    known: &Status,
) -> Result<Journal> {
    let refuse = |why: &str| {
        Reason::OtherPod.error(format!(
            "these data were the primary's, and this replica can't go on with them: {why}; the data are kept: give the \
             volume back to the primary, or delete it to have a clone"
        ))
    };
    let position = history::own_position(server).await?;
    let position = position.ok_or_else(|| refuse("only GTIDs tell where they end, and the server has none"))?;
    match primary.identity(server, None, known).await? {
        Identity::Same => {}
        Identity::Trusted => return Err(refuse("the primary does not say which set its data are of")),
        Identity::Different(why) | Identity::Unknown(why) => bail!("whether these data go with the primary's: {why}"),
    }
    let questions = Questions { about: Some(position.clone()), history: Some(history::own_history(server).await?) };
    let report = ask_primary(settings, questions).await.context("the primary's sidecar does not answer")?;
    match (report.cannot_follow.as_deref(), report.unknown_history.as_deref()) {
        (Some(""), Some("")) => {}
        (Some(""), Some(extra)) => return Err(refuse(&format!("{} does not have {extra}", report.pod))),
        (Some(why), _) => return Err(refuse(why)),
        (None, _) => bail!("{} does not say whether replication can start from {position}", report.pod),
    }
    // What identity noted is in it.
    let journal = Journal::read(&settings.data_dir)?.unwrap_or(journal);
    if !has_reached(&position, None, server).await? {
        for statement in server.dialect.set_reached_gtid(&position) {
            server.execute(&statement).await?;
        }
    }
    stopped(server).await?;
    set_source(&position, server, settings).await?;
    let configured = journal.entering(State::Configured);
    configured.write(&settings.data_dir)?;
    info!(PrimarysDataFollow, source = %settings.source, %position, "what was the primary's data follows the primary");
    Ok(configured)
}

/// A source that came with the data is another server's, and so is how far it says that it was applied. Once it is
/// forgotten, which the journal says, what the server has of a source is our own word.
async fn forget_copied_source(journal: Journal, server: &mut Server, settings: &Sidecar) -> Result<Journal> {
    if journal.source_forgotten {
        return Ok(journal);
    }
    if stopped(server).await?.is_some() {
        server.execute(&server.dialect.forget_source()).await?;
    }
    let mut forgotten = journal;
    forgotten.source_forgotten = true;
    forgotten.write(&settings.data_dir)?;
    Ok(forgotten)
}

/// The state of replication, which doesn't move any more.
async fn stopped(server: &mut Server) -> Result<Option<ReplicationStatus>> {
    if replication_status(server).await?.is_some() {
        server.execute(&server.dialect.stop()).await?;
    }
    replication_status(server).await
}

/// Leaves a right source alone but for its password, and corrects a wrong one without moving the position.
async fn keep_source(
    journal: &Journal,
    status: Option<&ReplicationStatus>,
    server: &mut Server,
    settings: &Sidecar,
    primary: &mut Primary,
    known: &Status,
) -> Result<()> {
    // "Go on where you are".
    let by_own_gtid = server.dialect.position_by_gtid(String::new());
    match status {
        Some(status) if status.follows(&settings.source, &settings.replication.user) => {
            if status.stands_still() && server.dialect.is_always_by_gtid() && !status.by_gtid {
                let (file, offset) = (status.applied_file.clone(), status.applied_offset);
                let here = Position::BinlogFile { file, offset };
                let position = by_gtid_where_it_can_be(&here, server, settings, primary, known).await?;
                info!(ReplicationByGtid, %here, %position, "replication was by file and offset, and is by GTID from here on");
                // The server keeps it by file and offset too, safer than those.
                if !has_reached(&position, None, server).await? {
                    for statement in server.dialect.set_reached_gtid(&position) {
                        server.execute(&statement).await?;
                    }
                }
                set_source(&position, server, settings).await?;
            } else if status.stands_still() {
                // The server doesn't show the password that it has.
                check_password(server.dialect, settings)?;
                server.execute(&server.dialect.change_password(&settings.replication)).await?;
            }
            Ok(())
        }
        Some(_) => {
            warn!(ReplicationOtherSource, source = %settings.source, "the server has another source: setting it");
            let status = stopped(server).await?.context("the source went away")?;
            let position = match status.by_gtid {
                true => by_own_gtid,
                false => Position::BinlogFile { file: status.applied_file, offset: status.applied_offset },
            };
            set_source(&position, server, settings).await
        }
        None if journal
            .clone
            .as_ref()
            .and_then(|clone| clone.position.as_ref())
            .is_some_and(|position| is_by_gtid(position, server.dialect)) =>
        {
            warn!(ReplicationLostSource, source = %settings.source, "the server has lost its source: setting it");
            set_source(&by_own_gtid, server, settings).await
        }
        None => Err(Reason::NoPosition.error(
            "the server has lost its source, and with it how far it had come in the source's log: empty the volume to \
             clone again",
        )),
    }
}

async fn start_applier(server: &mut Server) -> Result<()> {
    let status = replication_status(server).await?.context("the server has no source after it was set")?;
    if status.applier == Thread::Stopped {
        server.execute(&server.dialect.start_applier()).await?;
    }
    Ok(())
}

async fn set_source(position: &Position, server: &mut Server, settings: &Sidecar) -> Result<()> {
    check_password(server.dialect, settings)?;
    let statement = server.dialect.change_source(&settings.source, &settings.replication, position);
    server.execute(&statement).await
}

/// Whether the server's own word is at or beyond a clone's position, so that declaring it could only go back.
async fn has_reached(position: &Position, status: Option<&ReplicationStatus>, server: &mut Server) -> Result<bool> {
    Ok(match position {
        Position::BinlogFile { file, offset } => status.is_some_and(|status| status.is_beyond(file, *offset)),
        Position::MariadbGtid { slave_pos } => {
            let reached = server.value(server.dialect.reached_gtid()).await?.unwrap_or_default();
            order::mariadb_covers(&reached, slave_pos)
        }
        Position::MysqlGtid { executed } => {
            let reached = server.value(server.dialect.reached_gtid()).await?.unwrap_or_default();
            order::mysql_covers(&reached, executed)
        }
    })
}

/// MariaDB keeps a GTID position in a table, safe against power loss, but a file and offset in files that are not;
/// so there a file and offset is looked up at the source, which knows the GTID position that belongs to it.
async fn by_gtid_where_it_can_be(
    position: &Position,
    server: &mut Server,
    settings: &Sidecar,
    primary: &mut Primary,
    known: &Status,
) -> Result<Position> {
    let Position::BinlogFile { file, offset } = position else { return Ok(position.clone()) };
    let Some(query) = server.dialect.gtid_at(file, *offset) else { return Ok(position.clone()) };
    // Another database has another history under the same names.
    match primary.identity(server, None, known).await? {
        Identity::Same | Identity::Trusted => {}
        Identity::Different(why) | Identity::Unknown(why) => bail!("where the clone ends can't be looked up: {why}"),
    }
    let mut source = Server::connect(&settings.source, &settings.replication).await?;
    let gtid = source.value(&query).await?;
    source.close().await;
    let gtid = gtid.ok_or_else(|| {
        Reason::NoPosition.error(format!(
            "the source {} no longer has {file}:{offset}, where the clone ends: empty the volume to clone again",
            settings.source
        ))
    })?;
    Ok(server.dialect.position_by_gtid(gtid))
}

fn is_by_gtid(position: &Position, dialect: Dialect) -> bool {
    dialect.is_always_by_gtid() || !matches!(position, Position::BinlogFile { .. })
}
