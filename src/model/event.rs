//! The events that logs, refusals, `/status` and termination messages name. A name stays when wording changes.
//!
//! ```text
//! info!(ClonePublished, donor, bytes, "the clone is published")
//!   text  … INFO the clone is published event=clone.published donor="mysql-0" bytes=9
//!   JSON  {…, "level":"INFO", "message":"the clone is published", "event":"clone.published", "donor":"mysql-0", "bytes":9}
//! ```
//!
//! `docs/reference/events.md` has the same list. No line at info, warn or error is logged but by the macros here.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! events {
    ($($variant:ident, $name:literal, $meaning:literal;)+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Event {
            $(#[doc = $meaning] $variant,)+
        }

        impl Event {
            /// All of them, in the order of the reference.
            pub const ALL: &[Event] = &[$(Event::$variant),+];

            /// The name that programs may rely on.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Event::$variant => $name,)+
                }
            }

            /// One or two sentences for the reference.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Event::$variant => $meaning,)+
                }
            }
        }
    };
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Why something is as it is: the event for programs, the text for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub event: Event,
    pub text: String,
}

impl Event {
    /// This event in words.
    pub fn because(self, text: impl fmt::Display) -> Cause {
        Cause { event: self, text: text.to_string() }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {}

/// The event that an error carries, if any.
pub fn event_of(error: &anyhow::Error) -> Option<Event> {
    error.chain().find_map(|cause| cause.downcast_ref::<Cause>()).map(|cause| cause.event)
}

macro_rules! log {
    ($level:ident, = $event:expr, $($rest:tt)+) => {
        ::tracing::$level!(event = %$event, $($rest)+)
    };
    ($level:ident, $event:ident, $($rest:tt)+) => {
        ::tracing::$level!(event = %$crate::model::event::Event::$event, $($rest)+)
    };
}
pub(crate) use log;

macro_rules! info {
    ($($rest:tt)+) => { $crate::model::event::log!(info, $($rest)+) };
}
macro_rules! warn_ {
    ($($rest:tt)+) => { $crate::model::event::log!(warn, $($rest)+) };
}
macro_rules! error {
    ($($rest:tt)+) => { $crate::model::event::log!(error, $($rest)+) };
}
pub(crate) use {error, info, warn_ as warn};

events! {
    // What is logged.
    SecretUnusable, "secret.unusable", "The clone secret's file changed to something that cannot be used: the secret that was read before stays in use.";
    AccountNotKept, "account.not_kept", "An account that the sidecar manages cannot be made, or not given its password. Tried again.";
    AccountNotDropped, "account.not_dropped", "An account that nobody is to use any more cannot be dropped.";
    AccountDropped, "account.dropped", "The CLONE plugin's account was dropped: no copies are made by the plugin.";
    AccountKept, "account.kept", "An account was made, or given its password.";
    PrepareBegun, "prepare.begun", "The backup tool, or a server on a copy of its own, prepares the copy.";
    PrepareDone, "prepare.done", "The copy is prepared. It is not yet proven.";
    BackupSettingsUnknown, "backup.settings_unknown", "Settings in the stream's `backup-my.cnf` that this version does not know were left out.";
    KeyComponentRemoved, "backup.key_component_removed", "The donor's settings of a key component were removed from the copy.";
    KeyPluginUnneeded, "backup.key_plugin_unneeded", "The donor has a plugin for keys and no encrypted data: the plugin is not loaded here.";
    ToolWarned, "tool.warned", "A backup tool or a private server printed a warning or an error. Each kind is logged once.";
    ToolSaid, "tool.said", "A backup tool or a private server printed a line about its progress.";
    ToolRepeated, "tool.repeated", "How often a warning of a tool came.";
    ToolEnded, "tool.ended", "A tool's output has ended: how many lines it had.";
    InventoryMissing, "inventory.missing", "The donor said no inventory (`--take-unproven-stream`): missing tables would not be noticed.";
    InventoryWhole, "inventory.whole", "The copy holds every table that the donor held before and after it.";
    CloneProvenAgain, "clone.proven_again", "The server's configuration names other places than when the copy was proven: it is proven again.";
    CloneAnotherBackup, "clone.another_backup", "A copy could not be prepared or proven: another backup is received.";
    CloneDiscarded, "clone.discarded", "A copy is thrown away, and the volume has no room to note it. The next start begins again.";
    ClonePublished, "clone.published", "The copy is in the data directory.";
    EventsUnchangedByFlag, "events.unchanged_by_flag", "The copy may hold enabled events, and `--rehearsal off` forbids the server that would disable them.";
    EventsUnchanged, "events.unchanged", "The copy may hold enabled events, and no server program here can disable them.";
    EventsDisabled, "events.disabled", "Events that came with the copy do not run on this replica.";
    EventsEnabled, "events.enabled", "Events that replication had disabled run again on this recovered primary.";
    DataComplete, "data.complete", "The data directory holds what it should.";
    DataAdopted, "data.adopted", "The data directory holds a database that mysqlset did not make. It is taken as it is.";
    DataTaken, "data.taken", "The data directory holds another pod's data of the same set. They are taken.";
    PrimarysDataFollow, "data.primarys_follow", "What was the primary's data follows the primary of today, by GTID.";
    CloneResumed, "clone.resumed", "An earlier start was interrupted. This one goes on from there.";
    CloneAgainRefused, "clone.again_refused", "Replication is broken, and the replica is not cloned again.";
    DataSetAside, "data.untrusted", "The data cannot be trusted and are set aside.";
    DataNew, "data.new", "The primary's data directory is empty: its server makes a new database.";
    CloneAgainNotNeeded, "clone.again_not_needed", "The broken replica is not cloned again.";
    CloneAgainFailed, "clone.again_failed", "The broken replica could not be cloned again this time. The old data stay.";
    PrimaryStartedAnew, "primary.started_anew", "A new database is made although the set may have data (`--on-lost-primary start-anew`).";
    PrimaryRecoveredFromDonor, "primary.recovered_from_donor", "The primary lost its data and is recovered from `--donor`.";
    PrimaryRecoveredFromBest, "primary.recovered_from_best", "The primary lost its data and is recovered from the replica that has come furthest.";
    PrepareAgain, "prepare.again", "A prepare was killed before it touched the received log: it begins again.";
    PrepareFailed, "prepare.failed", "A server of mysqlset's own could not recover the copy: it is tried again, with less memory if that was the cause.";
    CopyUnproven, "copy.unproven", "The words of this version of the backup tool are not known: the prepare proves less than it should.";
    RehearsalOff, "rehearsal.off", "No rehearsal: `--rehearsal off`.";
    RehearsalNoProgram, "rehearsal.no_program", "No rehearsal: there is no server program in `PATH`.";
    RehearsalOtherServer, "rehearsal.other_server", "No rehearsal: the server program here is of another version than the copy.";
    RehearsalOldServer, "rehearsal.old_server", "No rehearsal: the server is older than MySQL 5.7.";
    RehearsalNoHardLinks, "rehearsal.no_hard_links", "No rehearsal: the volume has no hard links.";
    CopyPartGone, "clone.part_gone", "A part of a copy that was being published is gone: another copy is received.";
    StageImpostor, "clone.stage_impostor", "A link or a file had the name of a stage, and was removed.";
    JournalNotGiven, "clone.journal_not_given", "The journal of data that are whole cannot be given to the server's user.";
    StageStays, "clone.stage_stays", "What an interrupted start left beside data that are whole cannot be removed.";
    StageOfAnother, "clone.stage_of_another", "Run as root, a stage that another user made or may write in was removed. The clone begins again.";
    UnprovenNotTaken, "copy.unproven_not_taken", "`--take-unproven-stream` does not count: the tool here needs a donor's list of tables.";
    RehearsalNoLog, "rehearsal.no_log", "No rehearsal: MariaDB before 10.8 leaves no redo log to start on.";
    PrimaryNotAsked, "clone.primary_not_asked", "The primary does not say whether its binary log still begins before the clone. One that is there is asked on; where it is away the copy is published.";
    ServerVersionBeyond, "server.version_beyond", "The server is of a later version than those that were tried. It is spoken to as to the latest known one.";
    ServerVersionUnknown, "server.version_unknown", "The server program here does not say its version.";
    MethodPlugin, "clone.method_plugin", "The backup tool does not fit the server: the CLONE plugin makes the copy.";
    ConfigWritten, "config.written", "`init-config` wrote the server's configuration.";
    ConfigRemoved, "config.removed", "A role's file of an earlier start was removed.";
    Installed, "program.installed", "The program was copied.";
    Stopped, "process.stopped", "A signal ended the command. The next start goes on from there.";
    ListenSingleStack, "sidecar.single_stack", "The kernel has no IPv6: a port listens on IPv4 alone.";
    SidecarStarted, "sidecar.started", "The sidecar is up.";
    SidecarStopped, "sidecar.stopped", "The sidecar ends.";
    SidecarPartFailed, "sidecar.part_failed", "A part of the sidecar failed and is started again. Please report it.";
    SidecarHup, "sidecar.sighup", "SIGHUP came. There is nothing to read anew.";
    EarlierLifeRemoved, "copy.file_removed", "A file of the copied server's earlier life was removed.";
    LockWaits, "volume.lock_waits", "Another start holds the lock of the data directory. Waited for, up to 10 seconds.";
    LocksMissing, "volume.no_locks", "The volume's file system has no locks.";
    StoragesEntries, "volume.storages_entries", "Storage keeps entries of its own in the data directory. They are left alone.";
    PlaceMade, "copy.directory_made", "A directory was made that the server's configuration names.";
    PlaceMoved, "copy.file_moved", "A file was moved to where the server's configuration has it.";
    DataMovedAside, "data.set_aside", "The old data directory has another name now.";
    DonorHandshakeBroken, "donor.handshake_broken", "A connection to the clone port brought no request.";
    DonorTooSlow, "donor.too_slow", "A recipient took too little while others waited (`--least-rate`), and lost its turn.";
    DonorStrangers, "donor.strangers", "How many more connections to the clone port were refused or brought no request, without a line for each.";
    DonorCloneBegun, "donor.clone_begun", "A recipient's clone began.";
    DonorCloneServed, "donor.clone_served", "A recipient received a whole clone.";
    DonorCloneFailed, "donor.clone_failed", "A recipient's clone failed.";
    DonorSessionsNotEnded, "donor.sessions_not_ended", "Sessions of a backup tool that is gone could not be ended on the server.";
    DonorUnprovenStream, "donor.unproven_stream", "A peer that says nothing is sent the data (`--donate-unproven-stream-to-anyone`).";
    DonorNothingGiven, "donor.nothing_given", "A peer that says nothing was given nothing.";
    DonorPacking, "donor.packing", "Packing on the wire was switched on or off by what it costs.";
    DonorPacingOff, "donor.pacing_off", "Peers nearby are sent to without pacing.";
    DonorPacingUnset, "donor.pacing_unset", "Pacing cannot be set for a peer that is not nearby.";
    InventoryMade, "inventory.made", "The donor knows what the copy must hold.";
    DonorAcceptFailed, "donor.accept_failed", "The clone port cannot accept a connection.";
    DonorDraining, "donor.draining", "The sidecar stops when the running clone is done.";
    DonorCloneCut, "donor.clone_cut", "The running clone did not end in time and is broken off.";
    BackupOptionsIgnored, "backup.options_ignored", "Options in this container's option files do not count for clones.";
    DonorUnprovenAllowed, "donor.unproven_allowed", "Peers that say nothing are sent the data (`--donate-unproven-stream-to-anyone`).";
    DonorServing, "donor.serving", "Clones are served to peers that know the clone secret.";
    DonorServingAnyone, "donor.serving_anyone", "Clones are served to anyone (`--donate-to-anyone`).";
    DonorServingNobody, "donor.serving_nobody", "Clones are served to nobody: there is no clone secret.";
    BackupLockTooLong, "backup.lock_too_long", "The backup waits too long for a lock and is ended.";
    BackupSessionEnded, "backup.session_ended", "A session was ended whose backup tool is gone.";
    OwnPodShutOut, "sidecar.own_pod_shut_out", "The way that only this pod's containers have to the sidecar cannot be had. They ask over the port.";
    OwnPodReached, "sidecar.own_pod_reached", "The way that only this pod's containers have to the sidecar is there, after it could not be had.";
    HttpAcceptFailed, "http.accept_failed", "The HTTP port cannot accept a connection.";
    LimitNotRaised, "limit.not_raised", "A soft limit cannot be raised.";
    LimitHard, "limit.hard", "The container has a hard limit that data may exceed.";
    NamesByGlibc, "process.names_by_glibc", "Names are looked up by glibc.";
    OrphansNotReaped, "process.orphans_not_reaped", "Orphaned processes will not be reaped.";
    Progress, "clone.progress", "How far a long step has come.";
    ReceiveBegun, "receive.begun", "A backup is being received.";
    ReceiveDone, "receive.done", "The backup was received, whole to its end mark.";
    InventoryReceived, "inventory.received", "The list of what the copy must hold was received.";
    ReceiveSetback, "receive.setback", "A donor gave no clone.";
    ReceiveRetry, "receive.retry", "No donor gave a clone: all are asked again after a pause.";
    ReceiveUnprovenBegun, "receive.unproven_begun", "A stream is received from a donor that is no mysqlset (`--take-unproven-stream`).";
    ReceiveUnprovenDone, "receive.unproven_done", "A stream without an end mark was received.";
    RehearsalBegun, "rehearsal.begun", "A private server opens every table of the copy.";
    RehearsalDone, "rehearsal.done", "The private server could open every table.";
    RehearsalNotReadable, "rehearsal.not_readable", "A table cannot be read here, and the donor's server could not read it either.";
    ServerAnswers, "server.answers", "The server answers, after its start or the sidecar's.";
    ReplicationRuns, "replication.runs", "Replication runs.";
    ReplicationBroken, "replication.broken", "Replication cannot go on.";
    ApplierFault, "replication.applier_fault", "The applier stopped with an error.";
    ApplierFaultPassed, "replication.applier_fault_passed", "The applier has gone beyond its last error.";
    PrimaryComplete, "primary.complete", "The primary's data are complete.";
    PrimaryRecovered, "primary.recovered", "The primary is recovered.";
    PrimaryWrittenEarly, "primary.written_early", "The recovered primary was written to before its binary log was set.";
    ReplicationBeyond, "replication.beyond", "Replication has gone beyond the clone's position already.";
    ReplicationSet, "replication.source_set", "Replication starts where the clone ends.";
    ReplicationByGtid, "replication.by_gtid", "Replication goes on by GTID.";
    ReplicationOtherSource, "replication.source_changed", "The server had another source, which is set right.";
    ReplicationLostSource, "replication.source_lost", "The server had lost its source, which is set again.";
    ReplicationTurnedAway, "replication.password_renewed", "The primary turned replication away: the server gets the password anew.";
    ReplicationStarted, "replication.started", "The receiver was started.";
    SourceForeign, "replication.source_foreign", "The primary's data are another set's. It is not followed.";
    SourceSilent, "replication.source_silent", "Replication waits until the primary's sidecar answers.";
    DataFollow, "replication.lineage", "These data go with the primary's.";
    SourceUnproven, "replication.source_unproven", "The primary's sidecar is no mysqlset, and is followed all the same.";
    LeftoverStays, "scratch.not_removed", "A leftover cannot be removed.";

    // Why a donor refuses a recipient. Said to it, and in both logs.
    RefusedBusy, "donor.refused.busy", "Another clone is being served.";
    RefusedStopping, "donor.refused.stopping", "The donor's sidecar is about to stop.";
    RefusedUnauthorised, "donor.refused.unauthorised", "The recipient's clone secret is not the donor's.";
    RefusedNoSecret, "donor.refused.no_secret", "The donor has no clone secret and gives to nobody.";
    RefusedOtherSet, "donor.refused.other_set", "The recipient belongs to another set.";
    RefusedOtherData, "donor.refused.other_data", "The recipient's data are another set's.";
    RefusedUnknownWish, "donor.refused.unknown_wish", "The recipient asks for what this version does not know.";
    RefusedMethod, "donor.refused.method", "Donor and recipient have no method in common.";
    RefusedSlowServer, "donor.refused.slow_server", "The donor's server did not answer all questions in time.";
    RefusedServer, "donor.refused.server", "The donor's server cannot be asked what a copy depends on.";
    RefusedNoSource, "donor.refused.no_source", "A copy of this replica would have no position to start from.";
    RefusedPlugin, "donor.refused.plugin", "The CLONE plugin cannot copy this server: what it holds, or how it is set.";
    RefusedNotApplied, "donor.refused.not_applied", "This replica has not applied all that it fetched.";
    RefusedOutside, "donor.refused.outside", "The donor's server keeps data outside its data directory.";
    RefusedEncrypted, "donor.refused.encrypted", "The donor's data are encrypted, and the recipient has no keys (`--keyring`).";
    RefusedPageSize, "donor.refused.page_size", "The recipient's server is configured for another page size.";
    RefusedNameCase, "donor.refused.name_case", "The recipient's server has another `lower_case_table_names`.";
    RefusedPartial, "donor.refused.partial", "The donor's server may lack a part of the data.";
    RefusedLimit, "donor.refused.limit", "The donor's container has too low a limit.";
    RefusedNoRoom, "donor.refused.no_room", "The recipient's volume is too small.";
    RefusedPrimarySilent, "donor.refused.primary_silent", "The primary cannot be asked about this replica.";
    RefusedUnknownSet, "donor.refused.unknown_set", "This replica is not known to be of the primary's set.";
    RefusedOwnHistory, "donor.refused.own_history", "This replica has transactions that the primary has not.";
    RefusedPurged, "donor.refused.purged", "The primary no longer holds this replica's position.";
    RefusedNoPrivilege, "donor.refused.no_privilege", "The account may not ask for what a copy must hold.";
    RefusedUncopied, "donor.refused.uncopied", "The donor's server holds something that no copy would have.";
    RefusedDefinitionLost, "donor.refused.definition_lost", "The donor has lost a definition of a table.";
    RefusedTool, "donor.refused.tool", "The backup tool could not begin.";

    // Why a pod is not ready, or donates to nobody. On `/readyz` and `/status`.
    ServerSilent, "server.silent", "The server does not answer.";
    StatementKilled, "server.statement_killed", "A statement of ours took too long and was ended in the server, where it may have held locks.";
    ServerTemporary, "server.temporary", "The server has no TCP: it is the entrypoint's temporary one, and counts as not there.";
    ServerTurnsAway, "server.turns_away", "The server does not let the sidecar's account in.";
    ServerUnsettled, "server.unsettled", "The server's start is being looked at.";
    ServerIdDiffers, "server.id_differs", "The server has another server id than `init-config` wrote. Two servers with one id end each other's replication.";
    ServerRefused, "server.refused", "The server answers a statement with an error. The field `code` has its number.";
    SidecarTrouble, "sidecar.trouble", "The sidecar cannot do its work.";
    ReplicationNotSetUp, "replication.not_set_up", "No replication is set up.";
    ReplicationWaits, "replication.waits", "Replication does not run, and waits for the primary's sidecar.";
    ReplicationStopped, "replication.stopped", "Replication does not run.";
    ReplicationPasswordTooLong, "replication.password_too_long", "The replication password is longer than the server takes for its source (MariaDB 96 characters, MySQL 32).";
    ReplicationRefused, "replication.refused", "The primary refuses the replication account. After `--max-refusal` seconds the replica is not ready.";
    ReplicationUnacknowledged, "replication.unacknowledged", "The applier waits for a replica of this replica to acknowledge a transaction. After `--max-refusal` seconds the replica is not ready.";
    ReplicationLag, "replication.lag", "Replication is too far behind to donate.";
    ReplicationLagUnknown, "replication.lag_unknown", "The server does not say how far replication is behind.";
    ReplicationNone, "replication.none", "The pod is no replica.";
    DonorUnfit, "donor.unfit", "Something lasting keeps the server from being copied.";

    // How a command ends. In the termination message too, before the text.
    ExitUnexpected, "exit.unexpected", "1: A fault in mysqlset or in the machine.";
    ExitSettings, "exit.settings", "2: A flag or variable has a value that cannot be used.";
    ExitIdentity, "exit.identity", "10: The hostname has no ordinal, or the ordinal no valid server id.";
    ExitConfigMap, "exit.config_map", "11: The ConfigMap has not exactly one file for the pod's role.";
    ExitConfigTarget, "exit.config_target", "12: The directory for the server's configuration cannot be written.";
    ExitInstallTarget, "exit.install_target", "13: The program cannot be copied.";
    ExitNoDonor, "exit.no_donor", "20: No donor gave a whole copy in time.";
    ExitRefused, "exit.refused", "21: Every donor refused.";
    ExitHalfMade, "exit.half_made", "30: The data directory holds a half-made copy.";
    ExitFirstStart, "exit.first_start", "31: The primary's first start was interrupted.";
    ExitJournal, "exit.journal", "32: The journal cannot be understood.";
    ExitLocked, "exit.locked", "33: Another process works on the data directory.";
    ExitOwner, "exit.owner", "34: The owner of the data directory is not known.";
    ExitPrimaryLost, "exit.primary_lost", "35: The primary's volume is empty, and the set has data or may have.";
    ExitOtherPod, "exit.other_pod", "36: The volume holds another pod's data, which this one cannot go on with.";
    ExitNoBackupTool, "exit.no_backup_tool", "40: There is no backup tool.";
    ExitPrepare, "exit.prepare", "41: What was received could not be prepared or proven.";
    ExitNoPosition, "exit.no_position", "42: There is no position to start replication from.";
    ExitOwnServer, "exit.own_server", "43: The server for the CLONE plugin could not be started or stopped.";
    ExitRehearsal, "exit.rehearsal", "44: The server here cannot use the copy.";
    ExitDiskFull, "exit.disk_full", "50: The volume is full.";
    ExitDisk, "exit.disk", "51: The volume cannot be read or written, or a link, a fifo, a device, a hard link or a mount has the place of a plain file or directory.";
    ExitLimit, "exit.limit", "52: A limit of the container is too low.";
    ExitListen, "exit.listen", "60: A port cannot be had.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_name_is_one_events() {
        let names: HashSet<&str> = Event::ALL.iter().map(|event| event.name()).collect();
        assert_eq!(names.len(), Event::ALL.len());
        for event in Event::ALL {
            let is_name =
                |name: &str| name.split('.').all(|part| part.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
            assert!(is_name(event.name()) && event.name().contains('.'), "{event}");
            assert!(event.meaning().ends_with('.'), "{event}");
        }
    }

    #[test]
    fn an_error_keeps_its_event() {
        use anyhow::Context;
        let cause = Event::ReplicationStopped.because("it stopped");
        let error = Err::<(), _>(cause).context("looking").unwrap_err();
        assert_eq!(
            (event_of(&error), format!("{error:#}")),
            (Some(Event::ReplicationStopped), "looking: it stopped".into())
        );
        assert_eq!(event_of(&anyhow::anyhow!("no name")), None);
    }
}
