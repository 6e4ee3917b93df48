//! Serves legacy recipients: the tutorial's `ncat --recv-only … | xbstream -x`, which stays silent and takes the backup
//! tool's stream as it is.
//!
//! Such a recipient proves nothing, so the operator must have allowed anonymous clones. The stream's end looks like its
//! breaking off, because `xbstream` and `mbstream` accept a stream that stops between two chunks. So a failed stream
//! ends with a line that differs from any chunk: the tools fail at it, and the recipient's pod retries. If the whole
//! sidecar is killed, that line is missing.

use std::io::Write;
use std::net::TcpStream;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::clone::donor::admitted;
use crate::clone::donor::context::{Donor, Slot};
use crate::clone::donor::rate_limit::RateLimit;
use crate::clone::donor::relay_error::RelayError;
use crate::clone::donor::slot as slots;
use crate::clone::donor::slowness::SlownessWatch;
use crate::clone::donor::splice;
use crate::clone::donor::survey::Survey;
use crate::clone::method::backup_tool::BackupTool;
use crate::clone::method::backup_tool::donor::{self, RunningTool, Served};
use crate::model::event::{info, warn};
use crate::protocol::message::{Hello, Refusal};
use crate::unpack::Format;

/// Time between two looks at a silent tool.
const PERIOD: Duration = Duration::from_secs(1);

/// Stands for the recipient's name in logs.
const NAME: &str = "legacy recipient";

/// Takes the slot for a legacy recipient, if a clone may start now.
pub fn take_slot(donor: &Donor) -> Result<Slot, Refusal> {
    slots::take_slot(donor, &nobody(donor))
}

/// Serves one legacy recipient that holds the slot.
pub fn serve(donor: &Donor, stream: &TcpStream, slot: Slot) {
    warn!(
        DonorUnprovenStream,
        "serving the legacy stream to a silent peer without proof (--donate-unproven-stream-to-anyone)"
    );
    let _ = stream.set_write_timeout(Some(donor.settings.peering.stall_timeout));
    let nobody = nobody(donor);
    match slots::survey(donor, &nobody) {
        Ok((method, survey)) => match method.tool() {
            Some(tool) => donor::in_slot(donor, NAME, slot, || run(donor, tool, stream, &survey)),
            None => info!(DonorNothingGiven, "refused a legacy recipient: no backup tool available"),
        },
        Err(refusal) => {
            slots::tell_refusal(donor, &refusal, false);
            spoil(stream, &refusal.text);
        }
    }
}

/// The request of an unknown recipient: it accepts any format and decompresses nothing. Its free room is unknown. The
/// largest number is used, so that the donor's files are still scanned.
fn nobody(donor: &Donor) -> Hello {
    Hello {
        set: donor.settings.member.set.clone(),
        formats: Format::ALL.map(|format| format.to_string()).to_vec(),
        free_bytes: Some(u64::MAX),
        ..Hello::default()
    }
}

fn run(donor: &Donor, tool: &BackupTool, stream: &TcpStream, survey: &Survey) -> Result<Served> {
    let _slowness = SlownessWatch::begin(stream, NAME, donor);
    let started = RunningTool::start(donor, tool, survey);
    let mut running = started.inspect_err(|error| spoil(stream, &format!("{error:#}")))?;
    let output = running.take_output()?;
    let mut bytes = 0;
    match relay(donor, output, stream, &mut bytes) {
        Ok(()) => {}
        Err(RelayError::Recipient(gone)) => {
            running.end_by_force();
            // The recipient may only have been slow and may still read.
            spoil(stream, "the recipient accepted no bytes for too long");
            bail!("the recipient was lost after {bytes} bytes: {gone}");
        }
        Err(RelayError::Tool(error)) => {
            running.end_by_force();
            let fault = format!("cannot read the backup tool's output: {error}");
            spoil(stream, &fault);
            bail!(fault);
        }
    }
    let finished = running.finish(|| {}).inspect_err(|error| spoil(stream, &format!("{error:#}")))?;
    if let Err(fault) = finished {
        spoil(stream, &fault);
        bail!(fault);
    }
    admitted::let_it_read(stream);
    Ok(Served { bytes, sent: bytes })
}

/// Relays the whole output and counts it.
fn relay(donor: &Donor, output: ChildStdout, recipient: &TcpStream, bytes: &mut u64) -> Result<(), RelayError> {
    splice::enlarge(&output);
    let mut limit = RateLimit::new(donor.settings.rate_limit);
    loop {
        let pause = limit.wait().min(PERIOD);
        let patience = if pause.is_zero() { PERIOD } else { pause };
        if !splice::is_ready(pause.is_zero().then_some(&output), recipient, patience)? {
            continue;
        }
        let (since, count) = (Instant::now(), splice::there(&output)?.min(limit.frame_limit()));
        if count == 0 {
            return Ok(());
        }
        splice::splice(&output, recipient, count, donor.settings.peering.stall_timeout)?;
        limit.spent(count as u64, since);
        *bytes += count as u64;
    }
}

/// Makes the recipient's `xbstream` or `mbstream` fail: sends a line that is longer than a chunk's head and differs
/// from any chunk.
fn spoil(mut stream: &TcpStream, why: &str) {
    if stream.write_all(&spoiling(why)).is_ok() {
        admitted::let_it_read(stream);
    }
}

/// The line that spoils a stream.
pub fn spoiling(why: &str) -> Vec<u8> {
    format!("\nmysqlset: this is no whole backup: {why}\n").into_bytes()
}
