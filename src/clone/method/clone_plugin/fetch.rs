//! Fetches a copy into the stage, by a scratch server that is thrown away afterwards.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::donor_lease::DonorLease;
use super::donors_settings;
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::observe::progress::Progress;
use crate::protocol::message::PluginOffer;
use crate::protocol::text::in_one_line;
use crate::server::Server;
use crate::server::plugin::{self, Fetching};
use crate::server::scratch::{Access, Configuration, Grants, LEAST_POOL, Program, ScratchServer, Setup};
use crate::sys::child::is_about_space;
use crate::sys::disk::disk_error;
use crate::sys::durable;
use crate::sys::secret::Secret;

/// Time between two looks at the progress.
const PERIOD: Duration = Duration::from_secs(1);

/// Limit for the last look at the bytes of a finished copy.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// A copy to fetch.
pub struct Fetch<'a> {
    pub program: &'a Program,
    pub offer: &'a PluginOffer,
    /// The donor's server.
    pub server: HostPort,
    pub password: Secret,
    /// The offer lasts while this is held.
    pub lease: &'a DonorLease,
    /// The directory for the copy. It exists and is empty.
    pub data: &'a Path,
}

/// A complete copy, as the server reports; still unsynced.
pub struct Fetched {
    /// Bytes received over the network.
    pub bytes: u64,
}

/// Why the fetch failed.
pub enum Trouble {
    /// The donor or the network failed, after this many bytes.
    Broken { why: String, bytes: u64 },
    /// The fault is local.
    Fatal(anyhow::Error),
}

impl Fetch<'_> {
    pub fn run(&self) -> Result<Fetched, Trouble> {
        let stage = self.data.parent().unwrap_or(self.data);
        let own = stage.join("own");
        let setup = Setup {
            program: self.program,
            stage,
            data_dir: own.clone(),
            configuration: Configuration::None,
            grants: Grants::Asked,
            access: Access::Writable,
            pool: LEAST_POOL,
            options: {
                let mut options = donors_settings::options(&self.offer.settings, &self.offer.libraries);
                options.push("--loose-innodb-redo-log-capacity=8M".into());
                options
            },
            blame: Reason::ScratchServer,
        };
        let is_wanted = || self.lease.end().is_none();
        setup.initialise(&is_wanted).map_err(|error| self.trouble(error))?;
        self.lease.moved(0);
        let fetched = Handle::current().block_on(async {
            let scratch = setup.start(&is_wanted).await.map_err(|error| self.trouble(error))?;
            self.fetch_with(scratch).await
        })?;
        // The server is gone by now: it was killed, because all of its own data is disposable.
        remove(&own).map_err(Trouble::Fatal)?;
        Ok(fetched)
    }

    /// Classifies an error before the first byte. If the donor had left, the scratch server was ended for that reason
    /// and is innocent.
    fn trouble(&self, error: anyhow::Error) -> Trouble {
        match self.lease.end() {
            Some(why) => Trouble::Broken { why, bytes: 0 },
            None => Trouble::Fatal(error),
        }
    }

    async fn fetch_with(&self, scratch: ScratchServer) -> Result<Fetched, Trouble> {
        let mut watching = scratch.connect().await.map_err(Trouble::Fatal)?;
        let mut fetching = scratch.connect().await.map_err(Trouble::Fatal)?;
        for setting in plugin::settings(&self.server, self.offer.rate_limit, self.offer.compressed) {
            fetching.execute(&setting).await.map_err(Trouble::Fatal)?;
        }
        std::fs::remove_dir(self.data)
            .map_err(|error| Trouble::Fatal(disk_error(error, format!("cannot remove {}", self.data.display()))))?;
        let statement = plugin::copy(&self.server, &self.offer.user, &self.password, &self.data.to_string_lossy());
        let progress = Progress::of_bytes("receiving", self.offer.expected_bytes);
        let outcome = tokio::select! {
            copied = fetching.execute_at_length(&statement) => copied.map_err(|error| format!("{error:#}")),
            why = self.lease.ended() => Err(why),
            () = self.follow(&scratch, &mut watching, &progress) => unreachable!("following never ends"),
        };
        if let Ok(Ok(seen)) = timeout(LAST_LOOK, plugin::fetching(&mut watching)).await {
            progress.set(seen.bytes);
        }
        let bytes = progress.done();
        if outcome.is_err() {
            // Before the scratch server is killed: one that hangs on a disk would keep the slot.
            self.lease.let_go();
        }
        let outcome = outcome.map_err(|why| {
            let end = scratch.end().map(|end| format!("the server that copies {}", end.words));
            in_one_line(&end.unwrap_or(why))
        });
        outcome.map(|()| Fetched { bytes }).map_err(|why| match is_about_space(&why) {
            true => Trouble::Fatal(Reason::DiskFull.error(why)),
            false => Trouble::Broken { why, bytes },
        })
    }

    /// Reports the progress, here and to the donor.
    async fn follow(&self, scratch: &ScratchServer, server: &mut Server, progress: &Progress) {
        let mut last = Fetching::default();
        loop {
            sleep(PERIOD).await;
            match plugin::fetching(server).await {
                Ok(seen) if seen != last => {
                    last = seen;
                    progress.set(seen.bytes);
                    self.lease.moved(seen.bytes);
                }
                Ok(_) => {}
                // The connection may be broken.
                Err(_) => {
                    if let Ok(another) = scratch.connect().await {
                        *server = another;
                    }
                }
            }
        }
    }
}

fn remove(own: &Path) -> Result<()> {
    std::fs::remove_dir_all(own)
        .and_then(|()| durable::sync_directory(own.parent().unwrap_or(own)))
        .map_err(|error| disk_error(error, format!("cannot remove {}", own.display())))
}
