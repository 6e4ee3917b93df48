//! A clone by MySQL's CLONE plugin as the donor's sidecar sees it: the two servers do it between them, and the connection
//! to the recipient says how long it lasts.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use tokio::runtime::Handle;
use tracing::debug;

use super::Donor;
use super::admission::{Admitted, answer};
use super::backup::{Served, in_turn};
use super::preflight::Survey;
use super::relay::{self, HEARTBEAT};
use crate::cli::WireCompression;
use crate::deadline::DeadlineReader;
use crate::mysql::{Server, plugin};
use crate::wire::auth::Transcript;
use crate::wire::frame::{self, Kind};
use crate::wire::message::{Copied, Failed, Heartbeat, PluginOffer};

/// A recipient that has begun to say something says all of it in this time.
const MESSAGE_LIMIT: Duration = Duration::from_secs(5);

/// A recipient that is there and copies nothing keeps the turn for so many stall timeouts: first it makes a server.
const STALLS: u32 = 10;

/// Lets one admitted recipient copy the server. The turn is given back when this returns.
pub fn serve(donor: &Donor, recipient: Admitted) {
    let Admitted { stream, hello, transcript, turn, survey } = recipient;
    in_turn(donor, &hello.pod(), turn, || run(donor, &stream, transcript, survey));
}

fn run(donor: &Donor, mut stream: &TcpStream, transcript: Transcript, survey: Survey) -> Result<Served> {
    answer(donor, stream, transcript, Kind::PluginOffer, &offer(donor, survey))?;
    // Heartbeats fill no buffer: that nobody takes them is known by what the other end confirms.
    let stall = donor.settings.peering.stall_timeout.as_millis().try_into().unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, stall)?;
    let heartbeat = relay::heartbeat(donor.settings.peering.stall_timeout);
    let mut copied = Instant::now();
    while !speaks(stream, heartbeat)? {
        if is_copied(donor) {
            copied = Instant::now();
        } else if copied.elapsed() > donor.settings.peering.stall_timeout * STALLS {
            let text = format!("nothing was copied for {} seconds", copied.elapsed().as_secs());
            frame::write_control(&mut stream, Kind::Failed, &Failed { text: text.clone() })?;
            bail!("the recipient is there, but {text}");
        }
        frame::write_control(&mut stream, Kind::Heartbeat, &Heartbeat { bytes: 0 })?;
    }
    let mut input = DeadlineReader::new(stream, Instant::now() + MESSAGE_LIMIT);
    let header = frame::read_header(&mut input)?;
    let body = frame::read_body(&mut input, header)?;
    if header.kind != Kind::Copied {
        bail!("the recipient sent a {:?} message while it was to copy", header.kind);
    }
    let Copied { bytes } = frame::parse(Kind::Copied, &body)?;
    Ok(Served { bytes, sent: bytes })
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

/// Whether the plugin's account is being used, or may be: a server that doesn't tell says nothing against the recipient.
fn is_copied(donor: &Donor) -> bool {
    let settings = &donor.settings;
    let used = async {
        let mut server = Server::connect(&settings.server, &settings.sql).await?;
        let is_used = plugin::is_used(&mut server, &settings.plugin_user).await?;
        server.close().await;
        anyhow::Ok(is_used)
    };
    let used = Handle::current().block_on(used).unwrap_or_else(|error| {
        debug!("whether the recipient copies is not known: {error:#}");
        None
    });
    used.unwrap_or(true)
}

fn offer(donor: &Donor, survey: Survey) -> PluginOffer {
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
        compressed: settings.peering.wire_compression == WireCompression::On,
        expected_bytes: Some(survey.bytes),
        set_id: snapshot.set_id,
        lineage: snapshot.lineage,
        heartbeat_seconds: HEARTBEAT.as_secs(),
    }
}
