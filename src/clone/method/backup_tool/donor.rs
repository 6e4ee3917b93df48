//! One clone as the donor sees it: start the backup tool, offer, relay, and say how it ended.

use std::net::TcpStream;
use std::process::ChildStdout;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::{Backup, BackupLines, BackupTool};
use crate::clone::donor::admitted::{Admitted, Said, answer, refuse};
use crate::clone::donor::context::{Donor, Turn};
use crate::clone::donor::listing;
use crate::clone::donor::method::Way;
use crate::clone::donor::preflight::Survey;
use crate::clone::donor::relay::{self, Relayed};
use crate::clone::donor::slowness::SlownessWatch;
use crate::clone::donor::tool_sessions::{Sessions, Watch};
use crate::model::event::{Event, info, warn};
use crate::model::ordinal::Role;
use crate::observe::status::Status;
use crate::protocol::data::DataWriter;
use crate::protocol::frame::Kind;
use crate::protocol::message::{Hello, Offer, Refusal, Why};
use crate::server::{Server, aria};
use crate::sys::child::{Ended, Running};
use crate::sys::limits::Descriptors;
use crate::sys::scratch;

/// How long a statement may keep an Aria table open before the donor gives up for now.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// A backup that works reads the server's log every second, or waits for a lock of the server's, whose time is bounded: one
/// that neither reads, writes nor says anything for so long never ends.
const STANDSTILL: Duration = Duration::from_secs(600);

/// The tool has closed its output; what it still has to do takes no longer.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

/// A backup that went out whole.
pub struct Served {
    pub bytes: u64,
    /// What went over the wire: less, where frames were packed.
    pub sent: u64,
}

/// Serves one admitted recipient. The turn is given back when this returns, the tool having been reaped.
pub fn serve(donor: &Donor, tool: &BackupTool, recipient: Admitted) {
    let Admitted { stream, hello, said, turn, survey } = recipient;
    in_turn(donor, &hello.pod(), turn, || run(donor, tool, &stream, &hello, said, &survey));
}

/// Has a clone made, and counts it.
pub fn in_turn(donor: &Donor, pod: &str, turn: Turn, clone: impl FnOnce() -> Result<Served>) {
    let started = Instant::now();
    info!(DonorCloneBegun, recipient = pod, "a clone begins");
    let outcome = clone();
    drop(turn);
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Ok(Served { bytes, sent }) => {
            info!(DonorCloneServed, recipient = pod, bytes, sent, seconds, "a clone was served");
            donor.metrics.donated(bytes, seconds);
        }
        Err(error) => {
            warn!(DonorCloneFailed, recipient = pod, seconds, "a clone failed: {error:#}");
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

/// The backup tool at work, its sessions on the server watched.
pub struct RunningTool<'a> {
    tool: &'a BackupTool,
    running: Running<BackupLines>,
    sessions: Sessions,
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
        let (settings, scratch) = (&donor.settings, scratch::directory_in(&donor.scratch)?);
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
            Sessions { server: settings.server.clone(), account: settings.backup.clone(), tool: running.id() };
        let watch = Watch::begin(sessions.clone(), settings.lock_wait);
        let (lock_wait, status) = (settings.lock_wait, donor.status.clone());
        Ok(RunningTool { tool, running, sessions, watch, lock_wait, status, _scratch: scratch })
    }

    /// The pipe from its output; once.
    pub fn take_output(&mut self) -> Result<ChildStdout> {
        self.running.take_stdout().with_context(|| format!("{}: no output", self.tool))
    }

    /// Kills the tool, and has the server forget it: what it waited for or held there must not stay.
    pub fn end_by_force(&self) {
        let ports = self.sessions.ports();
        self.running.kill();
        if let Err(error) = Handle::current().block_on(self.sessions.end_all(&ports)) {
            warn!(DonorSessionsNotEnded, "ending the backup tool's sessions on the server: {error:#}");
        }
    }

    /// Waits for the end of a tool that has closed its output. Either it ended with success, by its status and by its
    /// own last word, or the inner error says why what it wrote is worth nothing. As long as it takes, `meanwhile` is done
    /// every few milliseconds.
    pub fn finish(self, mut meanwhile: impl FnMut()) -> Result<Result<Ended<BackupLines>, String>> {
        let RunningTool { tool, running, watch, lock_wait, status, _scratch, .. } = self;
        let deadline = Instant::now() + EXIT_LIMIT;
        let goes_on = || {
            meanwhile();
            Instant::now() < deadline
        };
        let ended = running.wait_while(goes_on).with_context(|| format!("waiting for {tool}"))?;
        // What was copied while the applier stopped has what it stopped at.
        Ok(match fault(tool, &ended).or_else(|| status.get().beyond_fault().err().map(|cause| cause.text)) {
            None => Ok(ended),
            Some(_) if watch.has_struck() => {
                Err(format!("the backup waited for a lock of the server for more than {} seconds", lock_wait.as_secs()))
            }
            Some(fault) => Err(fault),
        })
    }
}

/// Has the server write out what the tool would miss.
async fn flush_aria(donor: &Donor) -> Result<()> {
    let data_dir = &donor.settings.data_dir;
    let tables =
        aria::tables(data_dir).with_context(|| format!("looking for Aria tables in {}", data_dir.display()))?;
    let mut server = Server::connect(&donor.settings.server, &donor.settings.sql).await?;
    for statement in server.dialect.flush_aria(&tables, FLUSH_LIMIT) {
        server.execute(&statement).await.context("flushing Aria tables before the backup")?;
    }
    server.close().await;
    Ok(())
}

/// Refuses after all, with a reason that may pass.
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
        // Ours are never compressed one by one; older donors' may be.
        members: None,
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

/// Passes the stream on to its end; the tool is killed where the recipient goes first. Says what is missing where the
/// stream ends in the middle of something.
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
            bail!("the recipient went away after {} bytes: {why}", writer.bytes())
        }
        Relayed::OutputBroken(why) => {
            running.end_by_force();
            let text = format!("the stream of {tool}: {why}");
            let _ = writer.failed(text.clone());
            bail!(text)
        }
    }
}

/// Only here is an end frame sent: the tool has ended with success, its stream is whole, and the server has said what it
/// holds now.
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
            // Whether anybody heard it is seen at the end.
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
        match listing::inventory(donor, Way::Tool(tool), before, heartbeat, tell) {
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
