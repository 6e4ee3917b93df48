//! Fetching a copy into the stage, by a server that is thrown away afterwards.

use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::own_server::{LEAST_POOL, OwnServer, Program, Setup, is_about_space, loading};
use crate::durable;
use crate::exit::{self, Reason};
use crate::mysql::{Server, plugin};
use crate::progress::Progress;
use crate::secret::Secret;
use crate::settings::HostPort;
use crate::wire::frame::{self, Kind, WireError};
use crate::wire::message::{Failed, Heartbeat, PluginOffer, in_one_line};

/// Between two looks at how much has come.
const PERIOD: Duration = Duration::from_secs(1);

/// A copy to be fetched.
pub struct Fetch<'a> {
    pub program: &'a Program,
    pub offer: &'a PluginOffer,
    /// The donor's server.
    pub server: HostPort,
    pub password: Secret,
    /// The connection to the donor's sidecar, which lasts as long as the offer does.
    pub lease: &'a TcpStream,
    /// The directory that the copy is to be in. It is there, and empty.
    pub data: &'a Path,
}

/// A copy that has come whole, by the server's word; not yet synced.
pub struct Fetched {
    /// Bytes that came over the network.
    pub bytes: u64,
}

/// Why there is no copy.
pub enum Trouble {
    /// The donor's end, or the way to it; after so many bytes.
    Broken { why: String, bytes: u64 },
    /// Our own.
    Fatal(anyhow::Error),
}

impl Fetch<'_> {
    pub fn run(&self) -> Result<Fetched, Trouble> {
        let stage = self.data.parent().unwrap_or(self.data);
        let own = stage.join("own");
        let setup = Setup {
            program: self.program,
            directory: stage,
            data_dir: own.clone(),
            settings: &self.offer.settings,
            pool: LEAST_POOL,
            more: loading(&self.offer.libraries).chain(["--loose-innodb-redo-log-capacity=8M".to_owned()]).collect(),
        };
        let is_wanted = || !is_over(self.lease);
        setup.initialise(&is_wanted).map_err(|error| self.trouble(error))?;
        let fetched = Handle::current().block_on(async {
            let own_server = setup.start(&is_wanted).await.map_err(|error| self.trouble(error))?;
            self.fetch_with(own_server).await
        })?;
        // The server is gone: killed, for it has nothing that anybody needs.
        remove(&own).map_err(Trouble::Fatal)?;
        Ok(fetched)
    }

    /// Nothing was copied yet. Our server is not to blame where it was given up because the donor had gone.
    fn trouble(&self, error: anyhow::Error) -> Trouble {
        match is_over(self.lease) {
            true => Trouble::Broken { why: how_it_ends(self.lease).to_string(), bytes: 0 },
            false => Trouble::Fatal(error),
        }
    }

    async fn fetch_with(&self, own_server: OwnServer) -> Result<Fetched, Trouble> {
        let mut watching = own_server.connect().await.map_err(Trouble::Fatal)?;
        let mut fetching = own_server.connect().await.map_err(Trouble::Fatal)?;
        for setting in plugin::settings(&self.server, self.offer.rate_limit, self.offer.compressed) {
            fetching.execute(&setting).await.map_err(Trouble::Fatal)?;
        }
        std::fs::remove_dir(self.data)
            .map_err(|error| Trouble::Fatal(exit::disk_error(error, format!("removing {}", self.data.display()))))?;
        let statement = plugin::copy(&self.server, &self.offer.user, &self.password, &self.data.to_string_lossy());
        let progress = Progress::of_bytes("receiving", self.offer.expected_bytes);
        let lease = self.lease.try_clone().context("the connection to the donor").map_err(Trouble::Fatal)?;
        let mut lost = tokio::task::spawn_blocking(move || how_it_ends(&lease));
        let outcome = tokio::select! {
            copied = fetching.execute_at_length(&statement) => copied.map_err(|error| format!("{error:#}")),
            why = &mut lost => Err(why.map_or_else(|error| error.to_string(), |why| why.to_string())),
            () = follow(&mut watching, &progress) => unreachable!("it is followed for ever"),
        };
        let bytes = bytes_so_far(&mut watching).await.unwrap_or_else(|| progress.done());
        let outcome = outcome.map_err(|why| in_one_line(&own_server.end_in_words().unwrap_or(why)));
        outcome.map(|()| Fetched { bytes }).map_err(|why| match is_about_space(&why) {
            true => Trouble::Fatal(Reason::DiskFull.error(why)),
            false => Trouble::Broken { why, bytes },
        })
    }
}

/// Reads heartbeats until the donor says something else, or nothing any more.
fn how_it_ends(mut lease: &TcpStream) -> WireError {
    loop {
        let next =
            frame::read_header(&mut lease).and_then(|header| Ok((header.kind, frame::read_body(&mut lease, header)?)));
        match next {
            Ok((Kind::Heartbeat, body)) => match frame::parse::<Heartbeat>(Kind::Heartbeat, &body) {
                Ok(_) => {}
                Err(error) => return error,
            },
            Ok((Kind::Failed, body)) => {
                return match frame::parse::<Failed>(Kind::Failed, &body) {
                    Ok(failed) => WireError::Malformed(format!("the donor gave up: {}", failed.text)),
                    Err(error) => error,
                };
            }
            Ok((other, _)) => return WireError::Malformed(format!("a {other:?} message while the copy is fetched")),
            Err(error) => return error,
        }
    }
}

async fn follow(server: &mut Server, progress: &Progress) {
    loop {
        sleep(PERIOD).await;
        if let Some(bytes) = bytes_so_far(server).await {
            progress.set(bytes);
        }
    }
}

async fn bytes_so_far(server: &mut Server) -> Option<u64> {
    server.value(plugin::PROGRESS).await.ok()??.parse().ok()
}

fn remove(own: &Path) -> Result<()> {
    std::fs::remove_dir_all(own)
        .and_then(|()| durable::sync_directory(own.parent().unwrap_or(own)))
        .map_err(|error| exit::disk_error(error, format!("removing {}", own.display())))
}

/// Whether the donor has closed its end of a lease.
fn is_over(lease: &TcpStream) -> bool {
    let mut descriptor = [PollFd::new(lease, PollFlags::RDHUP)];
    poll(&mut descriptor, Some(&Timespec::default())).is_ok_and(|count| count > 0)
}

/// Ends a lease, and with it whoever reads it.
pub fn release(lease: &TcpStream) {
    let _ = lease.shutdown(Shutdown::Both);
}
