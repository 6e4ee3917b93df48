//! Serves a clone by MySQL's CLONE plugin, on the donor's side: the two servers copy, and the connection to the
//! recipient marks how long that lasts.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clone::donor::admitted::{Admitted, answer};
use crate::clone::donor::context::Donor;
use crate::clone::donor::copied_files::Copier;
use crate::clone::donor::listing;
use crate::clone::donor::relay;
use crate::clone::donor::survey::{Survey, not_ready, unsupported};
use crate::clone::method::backup_tool::BackupTool;
use crate::clone::method::backup_tool::donor::{Served, in_slot};
use crate::clone::method::{Answer, CloneMethod};
use crate::model::event::Event;
use crate::protocol::data::DataWriter;
use crate::protocol::frame::{self, Kind};
use crate::protocol::handshake::donor::Said;
use crate::protocol::inventory::server_look::Look;
use crate::protocol::message::{Copied, Failed, Heartbeat, Hello, PluginOffer, Refusal};
use crate::server::account::Account;
use crate::server::inventory::Extent;
use crate::server::storage::Storage;
use crate::server::{Server, plugin};
use crate::settings::Sidecar;
use crate::settings::WireCompression;
use crate::sys::deadline::DeadlineReader;

/// Time for the rest of a message that has begun.
const MESSAGE_LIMIT: Duration = Duration::from_secs(5);

/// The clone method by MySQL's CLONE plugin.
pub struct ByPlugin;

impl CloneMethod for ByPlugin {
    fn tool(&self) -> Option<&BackupTool> {
        None
    }

    fn account<'a>(&self, settings: &'a Sidecar) -> &'a Account {
        &settings.sql
    }

    fn extent(&self) -> Extent {
        Extent::InnodbOnly
    }

    fn copier(&self) -> Copier {
        Copier::Plugin
    }

    /// Always recorded: the copy holds the whole server, its source included.
    fn why_without_source(&self, _: &Storage) -> Option<String> {
        None
    }

    /// The donor's server makes the copy, so the sidecar starts no process.
    fn check_limits(&self, _: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn recipients_own_room(&self) -> u64 {
        SCRATCH_SERVERS_ROOM
    }

    fn make_ready<'a>(&'a self, server: &'a mut Server, storage: &'a Storage) -> Answer<'a, Option<plugin::Facts>> {
        Box::pin(async { ready_plugin(server, storage).await.map(Some) })
    }

    fn serve(&self, donor: &Donor, recipient: Admitted) {
        let Admitted { stream, hello, said, slot, survey } = recipient;
        in_slot(donor, &hello.pod(), slot, || run(donor, &stream, &hello, said, survey));
    }
}

/// Room for the database on which a recipient's own server runs, with its log. (69 MB with 9.7)
const SCRATCH_SERVERS_ROOM: u64 = 128 << 20;

/// Prepares the plugin, if it can copy everything that the server holds.
async fn ready_plugin(server: &mut Server, storage: &Storage) -> Result<plugin::Facts, Refusal> {
    let unknown = |error: anyhow::Error| not_ready(Event::RefusedServer, format!("{error:#}"));
    if let Some(why) = plugin::why_not(server, storage).await.map_err(unknown)? {
        return Err(unsupported(Event::RefusedPlugin, why));
    }
    plugin::make_ready(server).await.map_err(unknown)?;
    plugin::facts(server, storage).await.map_err(unknown)
}

fn run(donor: &Donor, stream: &TcpStream, hello: &Hello, said: Said, mut survey: Survey) -> Result<Served> {
    let before = survey.look.take();
    answer(stream, said, Kind::PluginOffer, &offer(donor, hello, survey, before.is_some()))?;
    let stall = donor.settings.peering.stall_timeout;
    let period = relay::heartbeat(stall);
    let mut beat = Instant::now() + period;
    // The oldest unanswered heartbeat.
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
            // The copy so far contains the fault that stopped the applier.
            let _ = frame::write_control(&mut &*stream, Kind::Failed, &Failed { text: why.text.clone() });
            bail!(why.text);
        }
        if Instant::now() >= beat {
            // Errors are ignored: the recipient's last message is still to be read.
            let _ = frame::write_control(&mut &*stream, Kind::Heartbeat, &Heartbeat { bytes: 0 });
            asked.get_or_insert_with(Instant::now);
            beat = Instant::now() + period;
        }
    }
    let text = format!("the recipient was silent for {} seconds", stall.as_secs());
    let _ = frame::write_control(&mut &*stream, Kind::Failed, &Failed { text: text.clone() });
    bail!(text)
}

/// Sends the inventory in answer to the message that the copy is complete. The answer carries no data.
fn send_inventory(donor: &Donor, stream: &TcpStream, before: &Look, period: Duration) -> Result<()> {
    let mut writer = DataWriter::new(stream);
    // A failed heartbeat shows up at the end.
    let tell = || drop(writer.heartbeat());
    match listing::inventory(donor, &ByPlugin, before, period, tell) {
        Ok(inventory) => writer.send_inventory(&inventory)?,
        Err(fault) => {
            writer.failed(fault.clone())?;
            bail!(fault);
        }
    }
    writer.end(None)?;
    Ok(())
}

/// Reads the recipient's message: a heartbeat, or that the copy is complete.
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
        other => bail!("the recipient sent an unexpected {other:?} message during the copy"),
    }
}

/// Whether something arrives within the limit: a message, or the end of the connection.
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

/// Whether the plugin compresses. It compresses the whole copy or nothing, regardless of whether that pays. So the
/// donor must ask for it and the recipient must accept compressed streams. (clone_enable_compression)
fn is_compressed(setting: WireCompression, asked_for: &[String]) -> bool {
    setting == WireCompression::On && relay::packing(setting, asked_for).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::packing::ZSTD;

    #[test]
    fn the_copy_is_compressed_if_both_ends_ask_for_it() {
        let takes = [ZSTD.to_owned()];
        assert!(is_compressed(WireCompression::On, &takes));
        assert!(!is_compressed(WireCompression::On, &[]));
        assert!(!is_compressed(WireCompression::Auto, &takes));
        assert!(!is_compressed(WireCompression::Off, &takes));
    }
}
