//! A clone by MySQL's CLONE plugin as the donor's sidecar sees it: the two servers do it between them, and the connection
//! to the recipient says how long it lasts.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clone::donor::admitted::{Admitted, Said, answer};
use crate::clone::donor::context::Donor;
use crate::clone::donor::listing;
use crate::clone::donor::method::Way;
use crate::clone::donor::preflight::Survey;
use crate::clone::donor::relay;
use crate::clone::method::backup_tool::donor::{Served, in_turn};
use crate::protocol::data::DataWriter;
use crate::protocol::frame::{self, Kind};
use crate::protocol::inventory::look::Look;
use crate::protocol::message::{Copied, Failed, Heartbeat, Hello, PluginOffer};
use crate::settings::WireCompression;
use crate::sys::deadline::DeadlineReader;

/// A recipient that has begun to say something says all of it in this time.
const MESSAGE_LIMIT: Duration = Duration::from_secs(5);

/// Lets one admitted recipient copy the server. The turn is given back when this returns.
pub fn serve(donor: &Donor, recipient: Admitted) {
    let Admitted { stream, hello, said, turn, survey } = recipient;
    in_turn(donor, &hello.pod(), turn, || run(donor, &stream, &hello, said, survey));
}

fn run(donor: &Donor, stream: &TcpStream, hello: &Hello, said: Said, mut survey: Survey) -> Result<Served> {
    let before = survey.look.take();
    answer(stream, said, Kind::PluginOffer, &offer(donor, hello, survey, before.is_some()))?;
    let stall = donor.settings.peering.stall_timeout;
    let period = relay::heartbeat(stall);
    let mut beat = Instant::now() + period;
    // The oldest heartbeat that was not answered yet.
    let mut asked: Option<Instant> = None;
    loop {
        if speaks(stream, beat.saturating_duration_since(Instant::now()))? {
            if let Some(Copied { bytes }) = read_word(stream)? {
                if let Some(before) = &before {
                    send_inventory(donor, stream, before, period)?;
                }
                return Ok(Served { bytes, sent: bytes });
            }
            asked = None;
        } else if asked.is_some_and(|asked| asked.elapsed() >= stall) {
            break;
        }
        if let Err(why) = donor.status.get().beyond_fault() {
            // What was copied until now has what the applier stopped at.
            let _ = frame::write_control(&mut &*stream, Kind::Failed, &Failed { text: why.text.clone() });
            bail!(why.text);
        }
        if Instant::now() >= beat {
            // Where it can't be said, what the recipient said before is still to be read.
            let _ = frame::write_control(&mut &*stream, Kind::Heartbeat, &Heartbeat { bytes: 0 });
            asked.get_or_insert_with(Instant::now);
            beat = Instant::now() + period;
        }
    }
    let text = format!("the recipient was silent for {} seconds", stall.as_secs());
    let _ = frame::write_control(&mut &*stream, Kind::Failed, &Failed { text: text.clone() });
    bail!(text)
}

/// What the copy must hold, in the answer to the word that it is there. No data come with it.
fn send_inventory(donor: &Donor, stream: &TcpStream, before: &Look, period: Duration) -> Result<()> {
    let mut writer = DataWriter::new(stream);
    // Whether anybody heard it is seen at the end.
    let tell = || drop(writer.heartbeat());
    match listing::inventory(donor, Way::Plugin, before, period, tell) {
        Ok(inventory) => writer.send_inventory(&inventory)?,
        Err(fault) => {
            writer.failed(fault.clone())?;
            bail!(fault);
        }
    }
    writer.end(None)?;
    Ok(())
}

/// What the recipient says: that it is there, or that it has all.
fn read_word(stream: &TcpStream) -> Result<Option<Copied>> {
    let mut input = DeadlineReader::new(stream, Instant::now() + MESSAGE_LIMIT);
    let header = frame::read_header(&mut input)?;
    let body = frame::read_body(&mut input, header)?;
    match header.kind {
        Kind::Heartbeat => {
            frame::parse::<Heartbeat>(Kind::Heartbeat, &body)?;
            Ok(None)
        }
        Kind::Copied => Ok(Some(frame::parse(Kind::Copied, &body)?)),
        other => bail!("the recipient sent a {other:?} message while it was to copy"),
    }
}

/// Whether there is something to read, an end too, within so long.
fn speaks(stream: &TcpStream, within: Duration) -> Result<bool> {
    let mut descriptor = [PollFd::new(stream, PollFlags::IN | PollFlags::RDHUP)];
    let within = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
    match poll(&mut descriptor, Some(&within)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn offer(donor: &Donor, hello: &Hello, survey: Survey, has_look: bool) -> PluginOffer {
    let (snapshot, settings) = (donor.status.get(), &donor.settings);
    let facts = survey.plugin.unwrap_or_default();
    PluginOffer {
        pod: snapshot.pod,
        ordinal: settings.member.ordinal.0,
        server_port: facts.port,
        user: settings.plugin_user.clone(),
        server: snapshot.server.unwrap_or_default(),
        by_gtid: facts.by_gtid,
        settings: facts.settings,
        libraries: facts.libraries,
        rate_limit: settings.rate_limit,
        compressed: is_compressed(settings.peering.wire_compression, &hello.packing),
        inventory: listing::encoding(&hello.inventory).filter(|_| has_look),
        expected_bytes: Some(survey.bytes),
        largest_file: Some(survey.largest_file),
        set_id: snapshot.set_id,
        lineage: snapshot.lineage,
        heartbeat_seconds: relay::heartbeat_seconds(donor.settings.peering.stall_timeout),
    }
}

/// The plugin packs all of it or nothing, and doesn't find out what pays: where the donor says so and the recipient takes
/// packed streams. (clone_enable_compression)
fn is_compressed(setting: WireCompression, asked_for: &[String]) -> bool {
    setting == WireCompression::On && relay::packing(setting, asked_for).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::packing::ZSTD;

    #[test]
    fn it_is_compressed_where_both_say_so() {
        let takes = [ZSTD.to_owned()];
        assert!(is_compressed(WireCompression::On, &takes));
        assert!(!is_compressed(WireCompression::On, &[]));
        assert!(!is_compressed(WireCompression::Auto, &takes));
        assert!(!is_compressed(WireCompression::Off, &takes));
    }
}
