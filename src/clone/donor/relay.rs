//! From the backup tool's pipe into frames.
//!
//! An xbstream's chunks say how long they are and carry checksums: where the recipient compares those, only what stands
//! before the data is read here, and the data go by unseen. Else everything is copied and digested.

use std::io;
use std::net::TcpStream;
use std::process::ChildStdout;
use std::time::Duration;

use super::compression_probe::Choice;
use super::rate_limit::Pace;
use super::splice;
use super::tool_pipe::{Passing, Sending};
use crate::protocol::data::DataWriter;
use crate::protocol::digest::Coverage;
use crate::protocol::frame::WireError;
use crate::protocol::packing::ZSTD;
use crate::settings::Sidecar;
use crate::settings::WireCompression;
use crate::unpack::xbstream::Flavour;
use crate::unpack::xbstream::chunk::Chunks;
use crate::unpack::{Format, UnpackError};

/// The longest that the recipient hears nothing.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The same for peers that are given up after so long.
pub fn heartbeat(stall: Duration) -> Duration {
    HEARTBEAT.min(stall / 3).max(Duration::from_millis(100))
}

/// The same in whole seconds, as an offer says it.
pub fn heartbeat_seconds(stall: Duration) -> u64 {
    heartbeat(stall).as_millis().div_ceil(1000) as u64
}

/// How passing on ended.
pub enum Relayed {
    /// The tool closed its output; whether it succeeded is another question.
    Whole,
    /// The tool closed its output in the middle of something.
    Cut(String),
    /// Nobody is there to receive.
    RecipientGone(WireError),
    /// The tool's output can't be read, or is not what it should be.
    OutputBroken(String),
}

/// The digest for a stream of this format, to a recipient that can check those `asked_for` by name.
pub fn coverage(format: Format, asked_for: &[String]) -> Coverage {
    let heads = Coverage::Heads;
    let is_known = asked_for.iter().any(|name| name == heads.name());
    if is_known && format.xbstream().is_some() { heads } else { Coverage::Whole }
}

/// How frames may be packed for a recipient that can unpack what it names.
pub fn packing(setting: WireCompression, asked_for: &[String]) -> Option<String> {
    let is_possible = setting != WireCompression::Off && asked_for.iter().any(|name| name == ZSTD);
    is_possible.then(|| ZSTD.to_owned())
}

/// Passes all of `output` on. Every wait in it ends: reading by heartbeats, writing by the socket's timeout.
pub fn relay(
    output: ChildStdout,
    writer: &mut DataWriter<&TcpStream>,
    format: Format,
    settings: &Sidecar,
    may_pack: bool,
) -> Relayed {
    splice::enlarge(&output);
    let stall = settings.peering.stall_timeout;
    let heartbeat = heartbeat(stall);
    let choice = Choice::new(settings.peering.wire_compression, may_pack);
    if let Err(error) = writer.set_packing(choice.packs()) {
        return Relayed::OutputBroken(error.to_string());
    }
    let sending = Sending { pace: Pace::new(settings.rate_limit), choice, heartbeat, stall };
    let flavour = format.xbstream().filter(|_| writer.coverage() == Coverage::Heads);
    let mut passing = Passing::new(output, writer, sending);
    let passed = match flavour {
        Some(flavour) => pass_chunks(&mut passing, flavour),
        None => passing.pass_all().map_err(UnpackError::Input),
    };
    match (passed, passing.take_gone()) {
        (_, Some(gone)) => Relayed::RecipientGone(gone),
        (Ok(()), None) => Relayed::Whole,
        (Err(error), None) if passing.has_ended() => Relayed::Cut(error.to_string()),
        (Err(error), None) => Relayed::OutputBroken(error.to_string()),
    }
}

fn pass_chunks(passing: &mut Passing<'_, '_>, flavour: Flavour) -> Result<(), UnpackError> {
    let mut chunks = Chunks::new(passing, flavour);
    while let Some(chunk) = chunks.next_chunk()? {
        let length = chunk.body.data_length();
        chunks.reader.pass(length).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => UnpackError::Malformed(format!("it ends inside {}", chunk.path)),
            _ => UnpackError::Input(error),
        })?;
        chunks.offset = chunks.offset.saturating_add(length);
    }
    Ok(())
}
