//! Names the events of logs, refusals, `/status` and termination messages. A name stays the same when the wording
//! changes.
//!
//! ```text
//! info!(ClonePublished, donor, bytes, "the clone is published")
//!   text  … INFO the clone is published event=clone.published donor="mysql-0" bytes=9
//!   JSON  {…, "level":"INFO", "message":"the clone is published", "event":"clone.published", "donor":"mysql-0", "bytes":9}
//! ```
//!
//! `docs/reference/events.md` has the same list. Every line at info, warn or error is logged through the macros here.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! events {
    ($($variant:ident, $name:literal, $meaning:literal;)+) => {
        /// An event with a stable name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Event {
            $(#[doc = $meaning] $variant,)+
        }

        impl Event {
            /// All events, in the order of the reference.
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

/// A cause: the event for programs, the text for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{text}")]
pub struct Cause {
    pub event: Event,
    pub text: String,
}

impl Event {
    /// A cause with this event and the given text.
    pub fn because(self, text: impl fmt::Display) -> Cause {
        Cause { event: self, text: text.to_string() }
    }

    /// An error that carries this event.
    pub fn error(self, text: impl fmt::Display) -> anyhow::Error {
        self.because(text).into()
    }
}

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
    // Logged events.
    SecretUnusable, "secret.unusable", "The clone secret's file changed and is now unusable. The previous secret stays in use.";
    AccountNotKept, "account.not_kept", "The sidecar cannot create a managed account or set its password. It tries again.";
    AccountNotDropped, "account.not_dropped", "The sidecar cannot drop an obsolete account.";
    AccountDropped, "account.dropped", "The CLONE plugin's account was dropped, because clones here do without the plugin.";
    AccountKept, "account.kept", "An account was created, or its password was set.";
    PrepareBegun, "prepare.begun", "The backup tool, or a private server, prepares the copy.";
    PrepareDone, "prepare.done", "The copy is prepared. Its proof follows.";
    BackupSettingsUnknown, "backup.settings_unknown", "Unknown settings in the stream's `backup-my.cnf` were left out.";
    KeyComponentRemoved, "backup.key_component_removed", "The donor's settings of a key component were removed from the copy.";
    KeyPluginUnneeded, "backup.key_plugin_unneeded", "The donor has a key plugin but no encrypted data, so the plugin is not loaded here.";
    ToolWarned, "tool.warned", "A backup tool or a private server printed a warning or an error. Each kind is logged once.";
    ToolSaid, "tool.said", "A backup tool or a private server printed a line about its progress.";
    ToolRepeated, "tool.repeated", "How often a tool repeated a warning.";
    ToolEnded, "tool.ended", "A tool's output has ended. The line has its number of lines.";
    InventoryMissing, "inventory.missing", "The donor sent no inventory (`--take-unproven-stream`), so missing tables would go unnoticed.";
    InventoryWhole, "inventory.whole", "The copy holds every table that the donor held both before and after the backup.";
    CloneProvenAgain, "clone.proven_again", "The server's configuration has changed its directories since the copy was proven. The copy is proven again.";
    CloneAnotherBackup, "clone.another_backup", "Preparing or proving a copy failed. Another backup is received.";
    CloneDiscarded, "clone.discarded", "A copy is discarded, and the volume is too full to record that. The next start begins again.";
    ClonePublished, "clone.published", "The copy is in the data directory.";
    EventsUnchangedByFlag, "events.unchanged_by_flag", "The copy may hold enabled events, and `--rehearsal off` forbids the server that would disable them.";
    EventsUnchanged, "events.unchanged", "The copy may hold enabled events, and no server program here can disable them.";
    EventsDisabled, "events.disabled", "Events that came with the copy do not run on this replica.";
    EventsEnabled, "events.enabled", "Events that replication had disabled run again on this recovered primary.";
    DataComplete, "data.complete", "The data directory is complete.";
    DataAdopted, "data.adopted", "The data directory holds an existing database from outside mysqlset. It is used as it is.";
    DataTaken, "data.taken", "The data directory holds data of another pod of the same set. They are used.";
    PrimarysDataFollow, "data.primarys_follow", "A former primary's data now follow the present primary, by GTID.";
    CloneResumed, "clone.resumed", "An earlier start was interrupted. This start continues from there.";
    CloneAgainRefused, "clone.again_refused", "Replication is broken. Cloning the replica again is refused.";
    DataSetAside, "data.untrusted", "The data are untrusted and are set aside.";
    DataNew, "data.new", "The primary's data directory is empty: its server makes a new database.";
    CloneAgainNotNeeded, "clone.again_not_needed", "The broken replica keeps its data this time, and is not cloned again.";
    CloneAgainFailed, "clone.again_failed", "Cloning the broken replica again failed. The old data stay.";
    PrimaryStartedAnew, "primary.started_anew", "A new database is made although the set may have data (`--on-lost-primary start-anew`).";
    PrimaryRecoveredFromDonor, "primary.recovered_from_donor", "The primary lost its data and is recovered from `--donor`.";
    PrimaryRecoveredFromBest, "primary.recovered_from_best", "The primary lost its data and is recovered from the most advanced replica.";
    PrepareAgain, "prepare.again", "A prepare was killed before it changed the received log. It starts again.";
    PrepareFailed, "prepare.failed", "A private server failed to recover the copy. It is tried again, with less memory if that was the cause.";
    CopyUnproven, "copy.unproven", "This version of the backup tool prints unknown messages, so the prepare proves less than it should.";
    RehearsalOff, "rehearsal.off", "No rehearsal: `--rehearsal off`.";
    RehearsalNoProgram, "rehearsal.no_program", "No rehearsal: there is no server program in `PATH`.";
    RehearsalOtherServer, "rehearsal.other_server", "No rehearsal: the server program here and the copy have different versions.";
    RehearsalOldServer, "rehearsal.old_server", "No rehearsal: the server is older than MySQL 5.7.";
    RehearsalNoHardLinks, "rehearsal.no_hard_links", "No rehearsal: the volume has no hard links.";
    CopyPartGone, "clone.part_gone", "A part of a copy vanished while it was being published. Another copy is received.";
    StageImpostor, "clone.stage_impostor", "A link or a file had the name of a stage, and was removed.";
    JournalNotGiven, "clone.journal_not_given", "The data are complete, but the owner of their journal cannot be changed to the server's user.";
    StageStays, "clone.stage_stays", "The data are complete, but leftovers of an interrupted start cannot be removed.";
    StageOfAnother, "clone.stage_of_another", "As root, mysqlset removed a stage that another user made or can write. The clone begins again.";
    UnprovenNotTaken, "copy.unproven_not_taken", "`--take-unproven-stream` has no effect: the tool here needs a donor's list of tables.";
    RehearsalNoLog, "rehearsal.no_log", "No rehearsal: MariaDB before 10.8 leaves no redo log to start on.";
    PrimaryNotAsked, "clone.primary_not_asked", "The primary gave no answer on whether its binary log still reaches back to the clone. A running primary is asked again. If it is away, the copy is published.";
    ServerVersionBeyond, "server.version_beyond", "The server is newer than all tested versions. It is treated like the latest tested one.";
    ServerVersionUnknown, "server.version_unknown", "The server program here gives no version.";
    MethodPlugin, "clone.method_plugin", "The backup tool does not fit the server, so the CLONE plugin makes the copy.";
    ConfigWritten, "config.written", "`init-config` wrote the server's configuration.";
    ConfigRemoved, "config.removed", "A role's file of an earlier start was removed.";
    Installed, "program.installed", "The program was copied.";
    Stopped, "process.stopped", "A signal ended the command. The next start continues from there.";
    ListenSingleStack, "sidecar.single_stack", "The kernel has no IPv6, so a port listens on IPv4 only.";
    SidecarStarted, "sidecar.started", "The sidecar is up.";
    SidecarStopped, "sidecar.stopped", "The sidecar ends.";
    SidecarPartFailed, "sidecar.part_failed", "A part of the sidecar failed and is restarted. Please report it.";
    SidecarHup, "sidecar.sighup", "SIGHUP came. It has no effect.";
    EarlierLifeRemoved, "copy.file_removed", "A file that belongs to the donor alone was removed from the copy.";
    LockWaits, "volume.lock_waits", "Another start holds the lock of the data directory. This start waits up to 10 seconds.";
    LocksMissing, "volume.no_locks", "The volume's file system has no locks.";
    StoragesEntries, "volume.storages_entries", "The storage keeps entries of its own in the data directory. They stay.";
    PlaceMade, "copy.directory_made", "A directory from the server's configuration was created.";
    PlaceMoved, "copy.file_moved", "A file was moved to its place in the server's configuration.";
    DataMovedAside, "data.set_aside", "The old data directory was renamed.";
    DonorHandshakeBroken, "donor.handshake_broken", "A connection to the clone port brought no request.";
    DonorTooSlow, "donor.too_slow", "A recipient received too slowly while others waited (`--least-rate`), and lost its slot.";
    DonorStrangers, "donor.strangers", "How many more connections to the clone port were refused or brought no request. They have no lines of their own.";
    DonorCloneBegun, "donor.clone_begun", "A recipient's clone began.";
    DonorCloneServed, "donor.clone_served", "A recipient received a complete clone.";
    DonorCloneFailed, "donor.clone_failed", "A recipient's clone failed.";
    DonorSessionsNotEnded, "donor.sessions_not_ended", "Sessions of an ended backup tool could not be ended on the server.";
    DonorUnprovenStream, "donor.unproven_stream", "A recipient of the legacy stream is served (`--donate-unproven-stream-to-anyone`).";
    DonorNothingGiven, "donor.nothing_given", "A recipient of the legacy stream was refused.";
    DonorPacking, "donor.packing", "Compression on the wire was switched on or off, depending on its cost.";
    DonorPacingOff, "donor.pacing_off", "Pacing is off for nearby peers.";
    DonorPacingUnset, "donor.pacing_unset", "Pacing cannot be set for a distant peer.";
    InventoryMade, "inventory.made", "The donor has listed the tables that the copy must hold.";
    DonorAcceptFailed, "donor.accept_failed", "The clone port cannot accept a connection.";
    DonorDraining, "donor.draining", "The sidecar stops when the running clone is done.";
    DonorCloneCut, "donor.clone_cut", "The running clone missed the deadline and is aborted.";
    BackupOptionsIgnored, "backup.options_ignored", "Options in this container's option files are ignored for clones.";
    DonorUnprovenAllowed, "donor.unproven_allowed", "The legacy stream is open to anyone (`--donate-unproven-stream-to-anyone`).";
    DonorServing, "donor.serving", "Clones are served (clone secret required).";
    DonorServingAnyone, "donor.serving_anyone", "Clones are served to anyone (`--donate-to-anyone`).";
    DonorServingNobody, "donor.serving_nobody", "No clones are served: there is no clone secret.";
    BackupLockTooLong, "backup.lock_too_long", "The backup waited too long for a lock and is aborted.";
    BackupSessionEnded, "backup.session_ended", "A session of an ended backup tool was ended.";
    OwnPodShutOut, "sidecar.own_pod_shut_out", "The sidecar's private socket for its own pod cannot be opened. The pod's containers use the port.";
    OwnPodReached, "sidecar.own_pod_reached", "The sidecar's private socket for its own pod is open, after an earlier failure.";
    HttpAcceptFailed, "http.accept_failed", "The HTTP port cannot accept a connection.";
    LimitNotRaised, "limit.not_raised", "A soft limit cannot be raised.";
    LimitHard, "limit.hard", "The container has a hard limit that data may exceed.";
    NamesByGlibc, "process.names_by_glibc", "The NSS order of glibc cannot be overridden. Names are looked up by `/etc/nsswitch.conf`.";
    OrphansNotReaped, "process.orphans_not_reaped", "Orphaned processes cannot be reaped.";
    Progress, "clone.progress", "Progress of a long step.";
    ReceiveBegun, "receive.begun", "A backup is being received.";
    ReceiveDone, "receive.done", "The backup was received up to its end mark.";
    InventoryReceived, "inventory.received", "The list of tables that the copy must hold was received.";
    ReceiveSetback, "receive.setback", "A donor gave no clone.";
    ReceiveRetry, "receive.retry", "All donors failed. They are asked again after a pause.";
    ReceiveUnprovenBegun, "receive.unproven_begun", "A legacy stream is received, from a donor without mysqlset (`--take-unproven-stream`).";
    ReceiveUnprovenDone, "receive.unproven_done", "A legacy stream was received. It has no end mark.";
    RehearsalBegun, "rehearsal.begun", "A private server opens every table of the copy.";
    RehearsalDone, "rehearsal.done", "The private server could open every table.";
    RehearsalNotReadable, "rehearsal.not_readable", "A table is unreadable here, as it is on the donor's server.";
    ServerAnswers, "server.answers", "The server answers, after its start or the sidecar's.";
    ReplicationRuns, "replication.runs", "Replication runs.";
    ReplicationBroken, "replication.broken", "Replication is broken and cannot continue.";
    ApplierFault, "replication.applier_fault", "The applier stopped with an error.";
    ApplierFaultPassed, "replication.applier_fault_passed", "The applier has gone beyond its last error.";
    PrimaryComplete, "primary.complete", "The primary's data are complete.";
    PrimaryRecovered, "primary.recovered", "The primary is recovered.";
    PrimaryWrittenEarly, "primary.written_early", "Clients wrote to the recovered primary before its binary log was set.";
    ReplicationBeyond, "replication.beyond", "Replication is already beyond the clone's position.";
    ReplicationSet, "replication.source_set", "Replication starts at the clone's position.";
    ReplicationByGtid, "replication.by_gtid", "Replication continues by GTID.";
    ReplicationOtherSource, "replication.source_changed", "The server had a wrong source, which was corrected.";
    ReplicationLostSource, "replication.source_lost", "The server had lost its source, which was set again.";
    ReplicationTurnedAway, "replication.password_renewed", "The primary denied access to replication. The server is given the password again.";
    ReplicationStarted, "replication.started", "The receiver was started.";
    SourceForeign, "replication.source_foreign", "The primary has data of another set, so this replica does not follow it.";
    SourceSilent, "replication.source_silent", "Replication waits until the primary's sidecar answers.";
    DataFollow, "replication.lineage", "The pod adopted the primary's set id or lineage.";
    SourceUnproven, "replication.source_unproven", "The primary's sidecar is not mysqlset. This replica follows it all the same (`--follow-unproven-primary`).";
    LeftoverStays, "scratch.not_removed", "A leftover cannot be removed.";

    // Reasons for a donor to refuse a recipient. Sent to the recipient, and logged at both ends.
    RefusedBusy, "donor.refused.busy", "Another clone is being served.";
    RefusedStopping, "donor.refused.stopping", "The donor's sidecar is about to stop.";
    RefusedUnauthorised, "donor.refused.unauthorised", "Recipient and donor have different clone secrets.";
    RefusedNoSecret, "donor.refused.no_secret", "The donor has no clone secret and serves no clones.";
    RefusedOtherSet, "donor.refused.other_set", "The recipient belongs to another set.";
    RefusedOtherData, "donor.refused.other_data", "The recipient has data of another set.";
    RefusedUnknownWish, "donor.refused.unknown_wish", "The recipient's request is unknown to this version.";
    RefusedMethod, "donor.refused.method", "Donor and recipient have no method in common.";
    RefusedSlowServer, "donor.refused.slow_server", "The donor's server was too slow to answer all checks.";
    RefusedServer, "donor.refused.server", "The donor cannot query its server for a copy's requirements.";
    RefusedNoSource, "donor.refused.no_source", "A copy of this replica would have no replication position.";
    RefusedPlugin, "donor.refused.plugin", "The CLONE plugin cannot copy this server, because of its data or its settings.";
    RefusedNotApplied, "donor.refused.not_applied", "This replica still has fetched transactions to apply.";
    RefusedOutside, "donor.refused.outside", "The donor's server keeps data outside its data directory.";
    RefusedEncrypted, "donor.refused.encrypted", "The donor's data are encrypted, and the recipient has no keys (`--keyring`).";
    RefusedPageSize, "donor.refused.page_size", "The recipient's server is configured with a different page size.";
    RefusedNameCase, "donor.refused.name_case", "The recipient's server has a different `lower_case_table_names`.";
    RefusedPartial, "donor.refused.partial", "The donor's server may lack a part of the data.";
    RefusedLimit, "donor.refused.limit", "The donor's container has too low a limit.";
    RefusedNoRoom, "donor.refused.no_room", "The recipient's volume is too small.";
    RefusedPrimarySilent, "donor.refused.primary_silent", "The primary cannot be queried about this replica.";
    RefusedUnknownSet, "donor.refused.unknown_set", "This replica's membership in the primary's set is unproven.";
    RefusedOwnHistory, "donor.refused.own_history", "This replica has transactions that the primary lacks.";
    RefusedPurged, "donor.refused.purged", "The primary no longer holds this replica's position.";
    RefusedNoPrivilege, "donor.refused.no_privilege", "The account lacks the privilege to list what a copy must hold.";
    RefusedUncopied, "donor.refused.uncopied", "The donor's server holds data that a copy would lack.";
    RefusedDefinitionLost, "donor.refused.definition_lost", "The donor has lost a definition of a table.";
    RefusedTool, "donor.refused.tool", "The backup tool failed to start.";

    // Reasons why a pod is not ready or cannot donate. Shown on `/readyz` and `/status`.
    ServerSilent, "server.silent", "The server does not answer.";
    StatementKilled, "server.statement_killed", "A statement of ours took too long and was ended in the server, where it may have held locks.";
    ServerTemporary, "server.temporary", "Networking is disabled: this is the entrypoint's temporary server. It counts as absent.";
    ServerTurnsAway, "server.turns_away", "The server denies access to the sidecar's account.";
    ServerUnsettled, "server.unsettled", "The sidecar still checks the server after its start.";
    ServerIdDiffers, "server.id_differs", "The server id differs from the one that `init-config` wrote. Two servers with one id end each other's replication.";
    ServerRefused, "server.refused", "The server answers a statement with an error. The field `code` has its number.";
    SidecarTrouble, "sidecar.trouble", "The sidecar cannot do its work.";
    FirstStartInterrupted, "primary.first_start_interrupted", "The primary's first start was interrupted, so its data may be half a database.";
    DataUnproven, "data.unproven", "The server runs on data whose journal is missing, or shows no finished data for this pod.";
    AccountServerTooOld, "account.server_too_old", "The server is too old for `--manage-accounts`.";
    ReplicationNoPosition, "replication.no_position", "The position to replicate from is lost.";
    ReplicationDataUnfit, "replication.data_unfit", "The data were the primary's, and this replica cannot continue with them.";
    ReplicationNotSetUp, "replication.not_set_up", "No replication is set up.";
    ReplicationWaits, "replication.waits", "Replication waits until the primary's sidecar answers.";
    ReplicationStopped, "replication.stopped", "Replication is not running: a thread is stopped or connecting.";
    ReplicationPasswordTooLong, "replication.password_too_long", "The replication password is longer than the server allows (MariaDB 96 characters, MySQL 32).";
    ReplicationRefused, "replication.refused", "The primary refuses the replication account. After `--max-refusal` the replica is not ready.";
    ReplicationUnacknowledged, "replication.unacknowledged", "The applier waits for a replica of this replica to acknowledge a transaction. After `--max-refusal` the replica is not ready.";
    ReplicationLag, "replication.lag", "Replication is too far behind to donate.";
    ReplicationLagUnknown, "replication.lag_unknown", "The server does not report the replication lag.";
    ReplicationNone, "replication.none", "The pod is not a replica.";
    DonorUnfit, "donor.unfit", "A lasting obstacle keeps the server from being copied.";

    // Ends of a command. They also start the termination message.
    ExitUnexpected, "exit.unexpected", "1: A fault in mysqlset or in the machine.";
    ExitSettings, "exit.settings", "2: A flag or variable has an invalid value.";
    ExitIdentity, "exit.identity", "10: The hostname has no ordinal, or the ordinal no valid server id.";
    ExitConfigMap, "exit.config_map", "11: The ConfigMap lacks a file for the pod's role, or has more than one.";
    ExitConfigTarget, "exit.config_target", "12: The directory for the server's configuration cannot be written.";
    ExitInstallTarget, "exit.install_target", "13: The program cannot be copied.";
    ExitNoDonor, "exit.no_donor", "20: No donor served a complete copy in time.";
    ExitRefused, "exit.refused", "21: Every donor refused.";
    ExitHalfMade, "exit.half_made", "30: The data directory holds a half-made copy.";
    ExitFirstStart, "exit.first_start", "31: The primary's first start was interrupted.";
    ExitJournal, "exit.journal", "32: The journal is unreadable.";
    ExitLocked, "exit.locked", "33: Another process works on the data directory.";
    ExitOwner, "exit.owner", "34: The owner of the data directory is unknown.";
    ExitPrimaryLost, "exit.primary_lost", "35: The primary's volume is empty, and the set has data or may have.";
    ExitOtherPod, "exit.other_pod", "36: The volume holds another pod's data, which this pod cannot use.";
    ExitNoBackupTool, "exit.no_backup_tool", "40: There is no backup tool.";
    ExitPrepare, "exit.prepare", "41: The received backup could not be prepared or proven.";
    ExitNoPosition, "exit.no_position", "42: There is no position to start replication from.";
    ExitScratchServer, "exit.scratch_server", "43: The private server for the CLONE plugin could not be started or stopped.";
    ExitRehearsal, "exit.rehearsal", "44: The server here cannot use the copy.";
    ExitDiskFull, "exit.disk_full", "50: The volume is full.";
    ExitDisk, "exit.disk", "51: The volume cannot be read or written, or a link, a fifo, a device, a hard link or a mount has the place of a plain file or directory.";
    ExitLimit, "exit.limit", "52: A limit of the container is too low.";
    ExitListen, "exit.listen", "60: A port is unavailable.";
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
