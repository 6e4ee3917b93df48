//! Sets up a replica: leads from the journal and the server's status to running replication.
//!
//! ```text
//!  journal        server has                       done
//!  published                                       forget the source that was copied, once (the journal says so)
//!  published      not reached the clone's          GTID: declare the position; set the source (file and offset: with
//!                 position, as it reports          the position)
//!  published      reached it or gone beyond        set the source without moving anything
//!     ── then the journal says configured ──
//!  configured,    the right source                 where nothing runs: set its password; on MariaDB, go over to GTID
//!  replicating    another host, port or user       set the source where it stands
//!                 no source, position by GTID      set the source: the server itself knows its GTID position
//!                 no source, file and offset       refuse: its position is unknown
//!  no journal     a source                         as configured
//!  complete       GTIDs                            the primary's data in a replica's pod: set the source by GTID
//!     ── then the applier is started; the receiver once the primary's set is confirmed (see [`super::source`]);
//!        and the watcher records replicating when both run ──
//! ```
//!
//! The position of a clone is declared only in state `published`, before replication first starts. Even there it never
//! falls below the position that the server has reached.

use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::broken::ask_primary;
use super::primary_identity::{Identity, Primary};
use super::source_password::check_password;
use crate::clone::connection::Questions;
use crate::datadir::journal::{Journal, State};
use crate::model::event::{Event, info, warn};
use crate::model::position::{Position, history as order};
use crate::observe::status::Status;
use crate::protocol::verdict::Verdict;
use crate::server::dialect::Dialect;
use crate::server::status::{ReplicationStatus, Thread};
use crate::server::{Server, history, replication_status};
use crate::settings::Sidecar;

/// Corrects the server's replication and starts the applier. Returns the resulting journal.
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
            return Err(Event::DataUnproven.error(
                "the data directory has no journal and the server has no source, so the start of replication is \
                 unknown: set it up by hand once, or empty the volume to clone again",
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
            return Err(Event::DataUnproven.error(format!(
                "a replica's server runs on data in state {other} of the journal, which hold no clone of the primary"
            )));
        }
    };
    start_applier(server).await?;
    Ok(configured)
}

/// Published → configured. After a kill it runs again from the start, with the same result.
async fn start_from_clone(
    journal: Journal,
    server: &mut Server,
    settings: &Sidecar,
    primary: &mut Primary,
    known: &Status,
) -> Result<Journal> {
    let clone = journal.clone.clone().context("the journal is in state published but names no clone")?;
    let position = by_gtid_where_it_can_be(clone.position()?, server, settings, primary, known).await?;
    // The journal may hold a new note about the primary's identity.
    let journal = Journal::read(&settings.data_dir)?.unwrap_or(journal);
    let journal = forget_copied_source(journal, server, settings).await?;
    let status = stopped(server).await?;
    match (has_reached(&position, status.as_ref(), server).await?, &position) {
        (true, Position::BinlogFile { .. }) => {
            warn!(
                ReplicationBeyond,
                %position,
                "replication is already beyond the clone's position; it continues from there"
            );
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
    info!(
        ReplicationSet,
        source = %settings.source,
        %position,
        donor = clone.donor_pod,
        "replication starts where the clone ends"
    );
    Ok(configured)
}

/// Complete → configured: these data were the primary's, and `clone` has seen that they belong to its set. They
/// continue by GTID where today's primary has everything in them. After a kill it runs again from the start, with the
/// same result.
async fn follow_with_primarys_data(
    journal: Journal,
    server: &mut Server,
    settings: &Arc<Sidecar>,
    primary: &mut Primary,
    known: &Status,
) -> Result<Journal> {
    let refuse = |why: &str| {
        Event::ReplicationDataUnfit.error(format!(
            "these data were the primary's, and this replica cannot continue with them: {why}; the data are kept: \
             return the volume to the primary, or delete it to clone again"
        ))
    };
    let position = history::own_position(server).await?;
    let position = position.ok_or_else(|| refuse("their end is known by GTID only, and the server has none"))?;
    match primary.identity(server, None, known).await? {
        Identity::Same => {}
        Identity::Trusted => return Err(refuse("the primary does not name its set")),
        Identity::Different(why) | Identity::Unknown(why) => {
            bail!("cannot compare these data with the primary's: {why}")
        }
    }
    let questions = Questions { about: Some(position.clone()), history: Some(history::own_history(server).await?) };
    let report = ask_primary(settings, questions).await.context("the primary's sidecar does not answer")?;
    match (report.can_be_followed(), report.has_history()) {
        (Verdict::Yes, Verdict::Yes) => {}
        (Verdict::Yes, Verdict::No(extra)) => return Err(refuse(&format!("{} lacks {extra}", report.pod))),
        (Verdict::No(why), _) => return Err(refuse(why)),
        (Verdict::Unknown, _) => bail!("{} does not report whether replication can start from {position}", report.pod),
        (Verdict::Yes, Verdict::Unknown) => {
            bail!("{} does not report whether it has all transactions of this pod", report.pod)
        }
    }
    // The identity check may have written the journal.
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
    info!(PrimarysDataFollow, source = %settings.source, %position, "the former primary's data follow the primary");
    Ok(configured)
}

/// Forgets a source that came with the data: it belongs to another server, and so does its applied position. Once the
/// journal records this, the server's source is one that we set.
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

/// Stops replication and returns its final state.
async fn stopped(server: &mut Server) -> Result<Option<ReplicationStatus>> {
    if replication_status(server).await?.is_some() {
        server.execute(&server.dialect.stop()).await?;
    }
    replication_status(server).await
}

/// Leaves a right source alone except for its password. Corrects a wrong source without moving the position.
async fn keep_source(
    journal: &Journal,
    status: Option<&ReplicationStatus>,
    server: &mut Server,
    settings: &Sidecar,
    primary: &mut Primary,
    known: &Status,
) -> Result<()> {
    // An empty position means "continue where you are".
    let by_own_gtid = server.dialect.position_by_gtid(String::new());
    match status {
        Some(status) if status.follows(&settings.source, &settings.replication.user) => {
            if status.stands_still() && server.dialect.is_always_by_gtid() && !status.by_gtid {
                let (file, offset) = (status.applied_file.clone(), status.applied_offset);
                let here = Position::BinlogFile { file, offset };
                let position = by_gtid_where_it_can_be(&here, server, settings, primary, known).await?;
                info!(ReplicationByGtid, %here, %position, "replication switches from file and offset to GTID");
                // The server also keeps its position by file and offset, more safely than those files.
                if !has_reached(&position, None, server).await? {
                    for statement in server.dialect.set_reached_gtid(&position) {
                        server.execute(&statement).await?;
                    }
                }
                set_source(&position, server, settings).await?;
            } else if status.stands_still() {
                // The server hides its current password, so it is set again.
                check_password(server.dialect, settings)?;
                server.execute(&server.dialect.change_password(&settings.replication)).await?;
            }
            Ok(())
        }
        Some(_) => {
            warn!(
                ReplicationOtherSource,
                source = %settings.source,
                "the server follows another source: correcting it"
            );
            let status = stopped(server).await?.context("the source has disappeared")?;
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
            warn!(ReplicationLostSource, source = %settings.source, "the server has lost its source: setting it again");
            set_source(&by_own_gtid, server, settings).await
        }
        None => Err(Event::ReplicationNoPosition.error(
            "the server has lost its source and its position in the source's log: empty the volume to clone again",
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

/// Whether the server reports a position at or beyond the clone's, so that declaring the clone's could only go back.
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

/// Looks up the GTID of a file and offset at the source, for MariaDB. MariaDB keeps a GTID position in a table, safe
/// against power loss, but a file and offset in plain files.
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
        Identity::Different(why) | Identity::Unknown(why) => bail!("cannot look up the end of the clone: {why}"),
    }
    let mut source = Server::connect(&settings.source, &settings.replication).await?;
    let gtid = source.value(&query).await?;
    source.close().await;
    let gtid = gtid.ok_or_else(|| {
        Event::ReplicationNoPosition.error(format!(
            "the source {} has lost {file}:{offset}, where the clone ends: empty the volume to clone again",
            settings.source
        ))
    })?;
    Ok(server.dialect.position_by_gtid(gtid))
}

fn is_by_gtid(position: &Position, dialect: Dialect) -> bool {
    dialect.is_always_by_gtid() || !matches!(position, Position::BinlogFile { .. })
}
