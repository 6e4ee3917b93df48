//! One clone by the backup tool, on the donor's side: start the tool, offer, relay the stream, report how it ended.

use std::net::TcpStream;
use std::process::ChildStdout;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::{Backup, BackupLines, BackupTool};
use crate::clone::donor::admitted::{Admitted, answer, refuse};
use crate::clone::donor::context::{Donor, Slot};
use crate::clone::donor::copied_files::Copier;
use crate::clone::donor::listing;
use crate::clone::donor::relay::{self, Relayed};
use crate::clone::donor::slowness::SlownessWatch;
use crate::clone::donor::survey::{Survey, unsupported};
use crate::clone::donor::tool_sessions::{ToolSessions, Watch};
use crate::clone::method::{Answer, CloneMethod};
use crate::model::event::{Event, info, warn};
use crate::model::ordinal::Role;
use crate::observe::status::Status;
use crate::protocol::data::DataWriter;
use crate::protocol::frame::Kind;
use crate::protocol::handshake::donor::Said;
use crate::protocol::message::{Hello, Offer, Refusal, Why};
use crate::server::account::Account;
use crate::server::inventory::Extent;
use crate::server::storage::Storage;
use crate::server::{Server, aria, plugin};
use crate::settings::Sidecar;
use crate::sys::child::{Ended, Running};
use crate::sys::limits::{self, Descriptors, TooFew};
use crate::sys::temporary_directory;
use crate::unpack::Format;

/// How long a statement may keep an Aria table open before the donor refuses for now.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// A tool that reads, writes and prints nothing for this long has hung. A working backup reads the server's log every
/// second, or waits for a lock of the server for a bounded time.
const STANDSTILL: Duration = Duration::from_secs(600);

/// Time for the rest of the tool's work after it has closed its output.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

/// A backup that was sent completely.
pub struct Served {
    pub bytes: u64,
    /// Bytes on the wire: fewer if frames were compressed.
    pub sent: u64,
}

/// The clone method by the backup tool.
pub struct ByTool<'t>(pub &'t BackupTool);

impl CloneMethod for ByTool<'_> {
    fn tool(&self) -> Option<&BackupTool> {
        Some(self.0)
    }

    fn account<'a>(&self, settings: &'a Sidecar) -> &'a Account {
        // The backup account may lack the privileges to see every table and to set variables.
        &settings.backup
    }

    fn extent(&self) -> Extent {
        Extent::AllEngines
    }

    fn copier(&self) -> Copier {
        Copier::Tool { fills_holes: self.0.format() == Format::XbstreamMariaDb }
    }

    fn why_without_source(&self, storage: &Storage) -> Option<String> {
        self.0.why_without_source(&storage.variables)
    }

    fn check_limits(&self, open_files: u64) -> Result<(), Refusal> {
        check_descriptors(open_files)?;
        limits::ensure_room().map_err(|none| unsupported(Event::RefusedLimit, format!("at the donor, {none}")))
    }

    fn recipients_own_room(&self) -> u64 {
        0
    }

    fn make_ready<'a>(&'a self, _: &'a mut Server, _: &'a Storage) -> Answer<'a, Option<plugin::Facts>> {
        Box::pin(async { Ok(None) })
    }

    fn serve(&self, donor: &Donor, recipient: Admitted) {
        let Admitted { stream, hello, said, slot, survey } = recipient;
        in_slot(donor, &hello.pod(), slot, || run(donor, self.0, &stream, &hello, said, &survey));
    }
}

/// Checks the limit on descriptors: a tool that exceeds it reports corrupted pages.
fn check_descriptors(files: u64) -> Result<(), Refusal> {
    let too_few = |error: TooFew| unsupported(Event::RefusedLimit, format!("at the donor, {error}"));
    Descriptors::for_files(files).map(drop).map_err(too_few)
}

/// Runs a clone in its slot, logs it and counts it.
pub fn in_slot(donor: &Donor, pod: &str, slot: Slot, clone: impl FnOnce() -> Result<Served>) {
    let started = Instant::now();
    info!(DonorCloneBegun, recipient = pod, "serving a clone");
    let outcome = clone();
    drop(slot);
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Ok(Served { bytes, sent }) => {
            info!(DonorCloneServed, recipient = pod, bytes, sent, seconds, "clone served");
            donor.metrics.donated(bytes, seconds);
        }
        Err(error) => {
            warn!(DonorCloneFailed, recipient = pod, seconds, "serving a clone failed: {error:#}");
            donor.metrics.donation_failed();
        }
    }
}

fn run(
    donor: &Donor,
    tool: &BackupTool,
    stream: &TcpStream,
    hello: &Hello,
    said: Said,
    survey: &Survey,
) -> Result<Served> {
    let mut running = match RunningTool::start(donor, tool, survey) {
        Ok(running) => running,
        Err(error) => return give_up(stream, said, error),
    };
    let offer = offer(donor, tool, hello, survey);
    answer(stream, said, Kind::Offer, &offer)?;
    let _slowness = SlownessWatch::begin(stream, &hello.pod(), donor);
    let writer = DataWriter::covering(offer.digest, stream);
    let (writer, cut) = relay(donor, tool, writer, offer.packing.is_some(), &mut running)?;
    end(donor, running, writer, cut, survey)
}

/// A running backup tool, and the watch over its sessions on the server.
pub struct RunningTool<'a> {
    tool: &'a BackupTool,
    running: Running<BackupLines>,
    sessions: ToolSessions,
    watch: Watch,
    lock_wait: Duration,
    status: Arc<Status>,
    _scratch: TempDir,
}

impl<'a> RunningTool<'a> {
    pub fn start(donor: &Donor, tool: &'a BackupTool, survey: &Survey) -> Result<RunningTool<'a>> {
        if tool.loses_unflushed_aria() {
            Handle::current().block_on(flush_aria(donor))?;
        }
        let (settings, scratch) = (&donor.settings, temporary_directory::directory_in(&donor.scratch)?);
        let backup = Backup {
            server: &settings.server,
            account: &settings.backup,
            data_dir: &settings.data_dir,
            scratch: scratch.path(),
            lock_wait: settings.lock_wait,
            threads: settings.tool_threads,
            mean_file_bytes: survey.mean_file_bytes,
            variables: &survey.variables,
            descriptors: Descriptors::for_files(survey.open_files)?,
            of_replica: settings.member.role() == Role::Replica,
        };
        let patience = STANDSTILL.max(2 * settings.lock_wait).max(2 * settings.peering.stall_timeout);
        let running = tool.start_backup(&backup)?.killed_at_standstill(patience)?;
        let sessions =
            ToolSessions { server: settings.server.clone(), account: settings.backup.clone(), tool: running.id() };
        let watch = Watch::begin(sessions.clone(), settings.lock_wait);
        let (lock_wait, status) = (settings.lock_wait, donor.status.clone());
        Ok(RunningTool { tool, running, sessions, watch, lock_wait, status, _scratch: scratch })
    }

    /// The pipe from the tool's output. It can be taken once.
    pub fn take_output(&mut self) -> Result<ChildStdout> {
        self.running.take_stdout().with_context(|| format!("{}: cannot read its output", self.tool))
    }

    /// Kills the tool and ends its sessions on the server, so that its locks and waits for locks end with it.
    pub fn end_by_force(&self) {
        let ports = self.sessions.ports();
        self.running.kill();
        if let Err(error) = Handle::current().block_on(self.sessions.end_all(&ports)) {
            warn!(DonorSessionsNotEnded, "cannot end the backup tool's sessions on the server: {error:#}");
        }
    }

    /// Waits for a tool that has closed its output to end, and calls `meanwhile` every few milliseconds.
    ///
    /// The inner result is `Ok` if both the exit status and the tool's last line report success. Otherwise it says why
    /// the backup is worthless.
    pub fn finish(self, mut meanwhile: impl FnMut()) -> Result<Result<Ended<BackupLines>, String>> {
        let RunningTool { tool, running, watch, lock_wait, status, _scratch, .. } = self;
        let deadline = Instant::now() + EXIT_LIMIT;
        let goes_on = || {
            meanwhile();
            Instant::now() < deadline
        };
        let ended = running.wait_while(goes_on).with_context(|| format!("cannot wait for {tool}"))?;
        // A copy made while the applier was stopped contains the fault that stopped it.
        Ok(match fault(tool, &ended).or_else(|| status.get().beyond_fault().err().map(|cause| cause.text)) {
            None => Ok(ended),
            Some(_) if watch.has_struck() => {
                Err(format!("the backup waited longer than {} seconds for a lock of the server", lock_wait.as_secs()))
            }
            Some(fault) => Err(fault),
        })
    }
}

/// Makes the server write out the Aria tables that the tool would miss.
async fn flush_aria(donor: &Donor) -> Result<()> {
    let data_dir = &donor.settings.data_dir;
    let tables =
        aria::tables(data_dir).with_context(|| format!("cannot list the Aria tables in {}", data_dir.display()))?;
    let mut server = Server::connect(&donor.settings.server, &donor.settings.sql).await?;
    for statement in server.dialect.flush_aria(&tables, FLUSH_LIMIT) {
        server.execute(&statement).await.context("cannot flush Aria tables before the backup")?;
    }
    server.close().await;
    Ok(())
}

/// Refuses after admission, with a temporary reason.
fn give_up(stream: &TcpStream, said: Said, error: anyhow::Error) -> Result<Served> {
    let refusal = Refusal::passing(Event::RefusedTool, Why::NotReady, format!("{error:#}"), 10);
    refuse(stream, said, &refusal);
    Err(error)
}

fn offer(donor: &Donor, tool: &BackupTool, hello: &Hello, survey: &Survey) -> Offer {
    let snapshot = donor.status.get();
    Offer {
        pod: snapshot.pod,
        ordinal: donor.settings.member.ordinal.0,
        format: tool.format(),
        packing: relay::packing(donor.settings.peering.wire_compression, &hello.packing),
        inventory: survey.look.as_ref().and_then(|_| listing::encoding(&hello.inventory)),
        expected_bytes: Some(survey.bytes),
        files: Some(survey.open_files),
        largest_file: Some(survey.largest_file),
        digest: relay::coverage(tool.format(), &hello.digests),
        tool: tool.to_string(),
        server: snapshot.server.unwrap_or_default(),
        set_id: snapshot.set_id,
        lineage: snapshot.lineage,
        heartbeat_seconds: relay::heartbeat_seconds(donor.settings.peering.stall_timeout),
    }
}

type Writer<'a> = DataWriter<&'a TcpStream>;

/// Relays the stream to its end. Kills the tool if the recipient leaves first. Returns what is missing if the stream
/// ends inside an item.
fn relay<'a>(
    donor: &Donor,
    tool: &BackupTool,
    mut writer: Writer<'a>,
    may_pack: bool,
    running: &mut RunningTool<'_>,
) -> Result<(Writer<'a>, Option<String>)> {
    let output = running.take_output()?;
    match relay::relay(output, &mut writer, tool.format(), &donor.settings, may_pack) {
        Relayed::Whole => Ok((writer, None)),
        Relayed::Cut(what) => Ok((writer, Some(what))),
        Relayed::RecipientGone(why) => {
            running.end_by_force();
            bail!("the recipient was lost after {} bytes: {why}", writer.bytes())
        }
        Relayed::OutputBroken(why) => {
            running.end_by_force();
            let text = format!("the stream of {tool}: {why}");
            let _ = writer.failed(text.clone());
            bail!(text)
        }
    }
}

/// The only place that sends an end frame. The tool has succeeded, its stream is complete, and the server has listed
/// its tables again.
fn end(
    donor: &Donor,
    running: RunningTool<'_>,
    mut writer: Writer<'_>,
    cut: Option<String>,
    survey: &Survey,
) -> Result<Served> {
    let (tool, heartbeat) = (running.tool, relay::heartbeat(donor.settings.peering.stall_timeout));
    let mut beat = Instant::now() + heartbeat;
    let tell = || {
        if Instant::now() >= beat {
            // A failed heartbeat shows up at the end.
            let _ = writer.heartbeat();
            beat = Instant::now() + heartbeat;
        }
    };
    let whole = running.finish(tell)?.and_then(|ended| match cut {
        None => Ok(ended),
        Some(what) => Err(format!("{tool} ended with success, but its stream is not whole: {what}")),
    });
    let ended = match whole {
        Ok(ended) => ended,
        Err(fault) => {
            writer.failed(fault.clone())?;
            bail!(fault);
        }
    };
    if let Some(before) = &survey.look {
        let tell = || drop(writer.heartbeat());
        match listing::inventory(donor, &ByTool(tool), before, heartbeat, tell) {
            Ok(inventory) => writer.send_inventory(&inventory)?,
            Err(fault) => {
                writer.failed(fault.clone())?;
                bail!(fault);
            }
        }
    }
    let position = ended.lines.position().map(str::to_owned);
    writer.flush()?;
    let sent = writer.sent();
    Ok(Served { bytes: writer.end(position)?, sent })
}

fn fault(tool: &BackupTool, ended: &Ended<BackupLines>) -> Option<String> {
    if !ended.status.success() {
        return Some(format!("{tool} {}", ended.why()));
    }
    let complete = ended.lines.is_completed();
    (!complete).then(|| format!("{tool} did not say \"completed OK!\": it {}", ended.why()))
}
