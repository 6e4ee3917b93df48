//! One clone as the donor sees it: start the backup tool, offer, relay, and say how it ended.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::runtime::Handle;
use tracing::{info, warn};

use super::Donor;
use super::admission::{Admitted, refuse};
use super::preflight::Survey;
use super::relay::{self, Relayed};
use super::sessions::{Sessions, Watch};
use crate::backup_tool::{Backup, BackupTool};
use crate::child::{Ended, Running};
use crate::mysql::{Server, aria};
use crate::scratch;
use crate::wire::auth::{Side, Transcript};
use crate::wire::data::DataWriter;
use crate::wire::frame::{self, Kind};
use crate::wire::message::{Hello, Offer, Proof, Refusal, Why};

/// How long a statement may keep an Aria table open before the donor gives up for now.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// The tool has closed its output; what it still has to do takes no longer.
const EXIT_LIMIT: Duration = Duration::from_secs(20);

/// A backup that went out whole.
struct Served {
    bytes: u64,
    /// What went over the wire: less, where frames were packed.
    sent: u64,
}

/// Serves one admitted recipient. The turn is given back when this returns, the tool having been reaped.
pub fn serve(donor: &Donor, recipient: Admitted) {
    let started = Instant::now();
    let Admitted { stream, hello, transcript, turn, survey } = recipient;
    let pod = hello.pod();
    info!(recipient = pod, "a clone begins");
    let outcome = run(donor, &stream, &hello, transcript, &survey);
    drop(turn);
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Ok(Served { bytes, sent }) => {
            info!(recipient = pod, bytes, sent, seconds, "a clone was served");
            donor.metrics.donated(bytes, seconds);
        }
        Err(error) => {
            warn!(recipient = pod, seconds, "a clone failed: {error:#}");
            donor.metrics.donation_failed();
        }
    }
}

fn run(
    donor: &Donor,
    stream: &TcpStream,
    hello: &Hello,
    mut transcript: Transcript,
    survey: &Survey,
) -> Result<Served> {
    let tool = donor.tool()?;
    if tool.loses_unflushed_aria()
        && let Err(error) = Handle::current().block_on(flush_aria(donor))
    {
        return give_up(stream, error);
    }
    let scratch = match scratch::directory_in(&donor.scratch) {
        Ok(scratch) => scratch,
        Err(error) => return give_up(stream, error),
    };
    let backup = Backup {
        server: &donor.settings.server,
        account: &donor.settings.backup,
        data_dir: &donor.settings.data_dir,
        scratch: scratch.path(),
        lock_wait: donor.settings.lock_wait,
    };
    let mut running = match tool.start_backup(&backup) {
        Ok(running) => running,
        Err(error) => return give_up(stream, error),
    };
    let offer = offer(donor, tool, hello, survey);
    let offered = frame::write_control(&mut &*stream, Kind::Offer, &offer)?;
    if let Some(secret) = &donor.settings.peering.secret {
        transcript.add(&offered);
        let proof = Proof { hmac: transcript.prove(secret, Side::Donor) };
        frame::write_control(&mut &*stream, Kind::Proof, &proof)?;
    }
    let sessions =
        Sessions { server: donor.settings.server.clone(), account: donor.settings.backup.clone(), tool: running.id() };
    let watch = Watch::begin(sessions.clone(), donor.settings.lock_wait);
    let writer = DataWriter::covering(offer.digest, stream);
    let (writer, cut) = relay(donor, tool, writer, offer.packing.is_some(), &mut running, &sessions)?;
    end(tool, running, writer, cut, &watch, donor.settings.lock_wait)
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
    Ok(())
}

/// Refuses after all, with a reason that may pass.
fn give_up(stream: &TcpStream, error: anyhow::Error) -> Result<Served> {
    refuse(stream, &Refusal { why: Why::NotReady, text: format!("{error:#}"), retry_after: Some(10) });
    Err(error)
}

fn offer(donor: &Donor, tool: &BackupTool, hello: &Hello, survey: &Survey) -> Offer {
    let snapshot = donor.status.get();
    Offer {
        pod: snapshot.pod,
        ordinal: donor.settings.member.ordinal.0,
        format: tool.format(),
        members: survey.members,
        packing: relay::packing(donor.settings.peering.wire_compression, &hello.packing),
        expected_bytes: Some(survey.bytes),
        digest: relay::coverage(tool.format(), &hello.digests),
        tool: tool.to_string(),
        server: snapshot.server.unwrap_or_default(),
        set_id: snapshot.set_id,
        lineage: snapshot.lineage,
        heartbeat_seconds: relay::HEARTBEAT.as_secs(),
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
    running: &mut Running,
    sessions: &Sessions,
) -> Result<(Writer<'a>, Option<String>)> {
    let output = running.take_stdout().with_context(|| format!("{tool}: no output"))?;
    match relay::relay(output, &mut writer, tool.format(), &donor.settings, may_pack) {
        Relayed::Whole => Ok((writer, None)),
        Relayed::Cut(what) => Ok((writer, Some(what))),
        Relayed::RecipientGone(why) => {
            end_by_force(running, sessions);
            bail!("the recipient went away after {} bytes: {why}", writer.bytes())
        }
        Relayed::OutputBroken(why) => {
            end_by_force(running, sessions);
            let text = format!("the stream of {tool}: {why}");
            let _ = writer.failed(text.clone());
            bail!(text)
        }
    }
}

/// Kills the tool, and has the server forget it: what it waited for or held there must not stay.
fn end_by_force(running: &mut Running, sessions: &Sessions) {
    let ports = sessions.ports();
    running.kill();
    if let Err(error) = Handle::current().block_on(sessions.end_all(&ports)) {
        warn!("ending the backup tool's sessions on the server: {error:#}");
    }
}

/// Only here is an end frame sent: the tool has ended, with success, by its status and by its own last word.
fn end(
    tool: &BackupTool,
    running: Running,
    writer: Writer<'_>,
    cut: Option<String>,
    watch: &Watch,
    lock_wait: Duration,
) -> Result<Served> {
    let ended = running.wait_at_most(EXIT_LIMIT).with_context(|| format!("waiting for {tool}"))?;
    let cut = cut.map(|what| format!("{tool} ended with success, but its stream is not whole: {what}"));
    if let Some(fault) = fault(tool, &ended).or(cut) {
        let fault = match watch.has_struck() {
            true => format!("the backup waited for a lock of the server for more than {} seconds", lock_wait.as_secs()),
            false => fault,
        };
        writer.failed(fault.clone())?;
        bail!(fault);
    }
    let position = ended.tail.line_holding("binlog position").map(str::to_owned);
    let sent = writer.sent();
    Ok(Served { bytes: writer.end(position)?, sent })
}

fn fault(tool: &BackupTool, ended: &Ended) -> Option<String> {
    if !ended.status.success() {
        return Some(format!("{tool} {}: {}", ended.in_words(), ended.tail.complaint()));
    }
    let complete = ended.tail.ends_with_line_holding("completed OK!");
    (!complete).then(|| format!("{tool} ended with 0 but did not say \"completed OK!\": {}", ended.tail.complaint()))
}
