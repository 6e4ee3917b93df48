//! For recipients that know nothing of the protocol: the tutorial's `ncat --recv-only … | xbstream -x`, which says nothing
//! and takes the backup tool's stream as it is.
//!
//! Nobody has proven anything, so this is done only where the operator has said that anyone may have the data; and
//! nothing tells the end of such a stream from its breaking off, for `xbstream` and `mbstream` take one that stops between
//! two chunks for whole. So a stream that is worth nothing ends with a line that no chunk begins with: they fail at it, and
//! the recipient's pod tries again. Where the whole sidecar is killed nobody sends that line.

use std::io::{self, Write};
use std::net::TcpStream;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::clone::donor::admitted;
use crate::clone::donor::context::{Donor, Turn};
use crate::clone::donor::method::Way;
use crate::clone::donor::preflight::Survey;
use crate::clone::donor::rate_limit::Pace;
use crate::clone::donor::slot;
use crate::clone::donor::slowness::SlownessWatch;
use crate::clone::donor::splice;
use crate::clone::method::backup_tool::BackupTool;
use crate::clone::method::backup_tool::donor::{self, RunningTool, Served};
use crate::model::event::{info, warn};
use crate::protocol::frame::WireError;
use crate::protocol::message::{Hello, Refusal};
use crate::unpack::Format;

/// Between two looks at a tool that writes nothing.
const PERIOD: Duration = Duration::from_secs(1);

/// How such a recipient is called.
const NAME: &str = "a silent one";

/// Whether one may have a clone now.
pub fn take_turn(donor: &Donor) -> Result<Turn, Refusal> {
    slot::take_turn(donor, &nobody(donor))
}

/// Serves one silent recipient that has the turn.
pub fn serve(donor: &Donor, stream: &TcpStream, turn: Turn) {
    warn!(
        DonorUnprovenStream,
        "the peer says nothing: it gets the data all the same (--donate-unproven-stream-to-anyone)"
    );
    let _ = stream.set_write_timeout(Some(donor.settings.peering.stall_timeout));
    let nobody = nobody(donor);
    match slot::survey(donor, &nobody) {
        Ok((Way::Tool(tool), survey)) => {
            donor::in_turn(donor, NAME, turn, || run(donor, tool, stream, &survey));
        }
        Ok((Way::Plugin, _)) => info!(DonorNothingGiven, "nothing was given: it needs a backup tool's stream"),
        Err(refusal) => {
            slot::tell_refusal(donor, &refusal, false);
            spoil(stream, &refusal.text);
        }
    }
}

/// What a recipient of whom nothing is known would say: it takes any format and undoes no compression. How much room it
/// has nobody knows; saying that it has all has the donor's files looked at.
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
        Ok(Ok(())) => {}
        Ok(Err(gone)) => {
            running.end_by_force();
            // It may only have been slow, and read on.
            spoil(stream, "the recipient took nothing for too long");
            bail!("the recipient went away after {bytes} bytes: {gone}");
        }
        Err(error) => {
            running.end_by_force();
            let fault = format!("the backup tool's output can't be read: {error}");
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

/// Moves all of the output on, and counts it.
fn relay(
    donor: &Donor,
    output: ChildStdout,
    recipient: &TcpStream,
    bytes: &mut u64,
) -> io::Result<Result<(), WireError>> {
    splice::enlarge(&output);
    let mut pace = Pace::new(donor.settings.rate_limit);
    loop {
        let pause = pace.wait().min(PERIOD);
        match splice::is_ready(
            pause.is_zero().then_some(&output),
            recipient,
            if pause.is_zero() { PERIOD } else { pause },
        )? {
            Ok(true) => {}
            Ok(false) => continue,
            Err(gone) => return Ok(Err(gone)),
        }
        let (since, count) = (Instant::now(), splice::there(&output)?.min(pace.frame_limit()));
        if count == 0 {
            return Ok(Ok(()));
        }
        if let Err(gone) = splice::splice(&output, recipient, count, donor.settings.peering.stall_timeout)? {
            return Ok(Err(gone));
        }
        pace.spent(count as u64, since);
        *bytes += count as u64;
    }
}

/// Ends a stream so that the recipient's `xbstream` or `mbstream` fails: with a line that is longer than what stands
/// before a chunk's name, and is no chunk.
fn spoil(mut stream: &TcpStream, why: &str) {
    if stream.write_all(&spoiling(why)).is_ok() {
        admitted::let_it_read(stream);
    }
}

/// That line.
pub fn spoiling(why: &str) -> Vec<u8> {
    format!("\nmysqlset: this is no whole backup: {why}\n").into_bytes()
}
