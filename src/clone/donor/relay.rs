//! Relays the backup tool's pipe into frames.
//!
//! An xbstream's chunks carry their lengths and checksums. If the recipient compares the checksums, the relay reads
//! only the chunk heads and moves the data unseen. Otherwise it copies and digests everything.

use std::io;
use std::net::TcpStream;
use std::process::ChildStdout;
use std::time::Duration;

use super::compression_probe::CompressionProbe;
use super::rate_limit::RateLimit;
use super::relay_error::RelayError;
use super::splice;
use super::tool_pipe::{Sending, ToolPipe};
use crate::protocol::data::DataWriter;
use crate::protocol::digest::Coverage;
use crate::protocol::frame::WireError;
use crate::protocol::packing::ZSTD;
use crate::settings::Sidecar;
use crate::settings::WireCompression;
use crate::unpack::xbstream::Flavour;
use crate::unpack::xbstream::chunk::Chunks;
use crate::unpack::{Format, UnpackError};

/// The longest silence towards the recipient.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The heartbeat for peers that are given up after `stall`.
pub fn heartbeat(stall: Duration) -> Duration {
    HEARTBEAT.min(stall / 3).max(Duration::from_millis(100))
}

/// The heartbeat in whole seconds, as an offer states it.
pub fn heartbeat_seconds(stall: Duration) -> u64 {
    heartbeat(stall).as_millis().div_ceil(1000) as u64
}

/// How a relay ended.
pub enum Relayed {
    /// The tool closed its output. Whether it succeeded is a separate question.
    Whole,
    /// The tool closed its output inside an item.
    Cut(String),
    /// The recipient is gone.
    RecipientGone(WireError),
    /// The tool's output is unreadable or malformed.
    OutputBroken(String),
}

/// The digest for a stream of this format. The recipient names the digests that it can check in `asked_for`.
pub fn coverage(format: Format, asked_for: &[String]) -> Coverage {
    let heads = Coverage::Heads;
    let is_known = asked_for.iter().any(|name| name == heads.into_str());
    if is_known && format.xbstream().is_some() { heads } else { Coverage::Whole }
}

/// The frame compression for a recipient that names the ones that it can decompress.
pub fn packing(setting: WireCompression, asked_for: &[String]) -> Option<String> {
    let is_possible = setting != WireCompression::Off && asked_for.iter().any(|name| name == ZSTD);
    is_possible.then(|| ZSTD.to_owned())
}

/// Relays all of `output`. Every wait ends: heartbeats bound reading, the socket's timeout bounds writing.
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
    let probe = CompressionProbe::new(settings.peering.wire_compression, may_pack);
    if let Err(error) = writer.set_packing(probe.packs()) {
        return Relayed::OutputBroken(error.to_string());
    }
    let sending = Sending { rate_limit: RateLimit::new(settings.rate_limit), probe, heartbeat, stall };
    let flavour = format.xbstream().filter(|_| writer.coverage() == Coverage::Heads);
    let mut pipe = ToolPipe::new(output, writer, sending);
    let passed = match flavour {
        Some(flavour) => pass_chunks(&mut pipe, flavour),
        None => pipe.pass_all().map_err(|error| UnpackError::Input(error.into())),
    };
    match passed {
        Ok(()) => Relayed::Whole,
        Err(UnpackError::Input(error)) => match RelayError::of(error) {
            RelayError::Recipient(gone) => Relayed::RecipientGone(gone),
            RelayError::Tool(error) if pipe.has_ended() => Relayed::Cut(error.to_string()),
            RelayError::Tool(error) => Relayed::OutputBroken(error.to_string()),
        },
        Err(error) if pipe.has_ended() => Relayed::Cut(error.to_string()),
        Err(error) => Relayed::OutputBroken(error.to_string()),
    }
}

fn pass_chunks(pipe: &mut ToolPipe<'_, '_>, flavour: Flavour) -> Result<(), UnpackError> {
    let mut chunks = Chunks::new(pipe, flavour);
    while let Some(chunk) = chunks.next_chunk()? {
        let length = chunk.body.data_length();
        chunks.reader.pass(length).map_err(|error| match error {
            RelayError::Tool(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                UnpackError::Malformed(format!("it ends inside {}", chunk.path))
            }
            error => UnpackError::Input(error.into()),
        })?;
        chunks.offset = chunks.offset.saturating_add(length);
    }
    Ok(())
}
