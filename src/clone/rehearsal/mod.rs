//! The rehearsal: the pod's own server program is started on a prepared copy and opens every table, before the copy is
//! published.
//!
//! It proves that a server can start on the copy with the configuration that the pod's server will use, and that the files
//! of each table belong together. It reads next to no rows.
//!
//! | damage | MariaDB | MySQL |
//! |---|---|---|
//! | an InnoDB file is missing, cut, zeroed, another's | `SELECT 1 … LIMIT 0` | `SELECT 1 … LIMIT 1`; the server may die of it |
//! | files of Aria or MyISAM are missing or cut | `CHECK TABLE … QUICK` | the same |
//! | a cut `.frm`, a missing `.par` | either | – |
//! | another page size, an unknown option, other data files | the server does not start | the same |
//!
//! It can't see a table without any file, rows that are old but well formed, pages that nobody reads, or what the private
//! server's own options hide ([`crate::server::scratch`]): the inventory, prepare's own output and checks of those directories do.
//!
//! The copy stays as it is, byte for byte: the server runs on a [`shadow`] of it, which goes afterwards.

mod marks;
mod memory;
mod opening;
mod patience;
mod shadow;
mod statements;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use tokio::runtime::Handle;

use crate::clone::method::backup_tool::Prepared;
use crate::model::event::info;
use crate::model::exit::{Reason, reason_of};
use crate::observe::progress::Progress;
use crate::server::scratch::{Access, Configuration, Grants, PodConfiguration, Program, Setup};
use crate::sys::disk::disk_error;
use crate::sys::durable;
use opening::Opened;
pub use shadow::Shadow;

/// More than what isolates the server: little memory; and files are read through the page cache, which brings the two pages
/// that each table is opened by in one read.
const OPTIONS: [&str; 3] = ["--performance-schema=OFF", "--thread-cache-size=0", "--innodb-flush-method=fsync"];

/// What a server's own files take beside the shadow's, in bytes. (`ibtmp1` has 12 MiB in both families.)
const ROOM: u64 = 24 << 20;

/// What a copy is rehearsed with.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    program: Program,
}

impl Rehearsal {
    /// With this server; refused where the container has too little memory for it.
    pub fn with(program: Program) -> Result<Rehearsal> {
        memory::ensure_enough()?;
        Ok(Rehearsal { program })
    }

    /// Whether the server takes the pod's configuration, before there is a copy: no copy would change its answer. `scratch` is
    /// an empty directory.
    pub fn check_configuration(&self, scratch: &Path, server_config: &Path) -> Result<()> {
        let configuration = PodConfiguration::read(&self.program, server_config, scratch, Reason::Rehearsal)?;
        self.setup(scratch, scratch.join("data"), &configuration).check_configuration()
    }

    /// Whether a copy is one that this server can't start on without writing.
    pub fn lacks_log(&self, data: &Path) -> bool {
        self.program.lacks_log(data)
    }

    /// Refuses where the volume has no room for a shadow of the copy.
    pub fn ensure_room(data: &Path) -> Result<()> {
        let needed = Shadow::room(data)?.saturating_add(ROOM);
        let free = durable::free_bytes(data)
            .map_err(|error| disk_error(error, format!("asking how much is free at {}", data.display())))?;
        if needed <= free {
            return Ok(());
        }
        Err(Reason::DiskFull.error(format!(
            "the rehearsal needs {needed} bytes, for its server writes copies of the index files of Aria and MyISAM, and the volume \
             has {free} free. The copy is kept: make the volume larger, or say --rehearsal off"
        )))
    }

    /// Rehearses the copy in `data`, with the configuration of the pod. It may be done again, whenever it was interrupted.
    pub fn run(&self, data: &Path, server_config: &Path) -> Result<Prepared> {
        info!(RehearsalBegun, server = self.program.version, "rehearsing");
        let (started, progress) = (Instant::now(), Progress::of("rehearsing"));
        let outcome = Handle::current().block_on(self.rehearse(data, server_config));
        drop(progress);
        match outcome {
            Ok(opened) => {
                let seconds = started.elapsed().as_secs_f64();
                info!(RehearsalDone, tables = opened.tables, not_readable = opened.not_readable, seconds, "rehearsed");
                Ok(Prepared::Whole)
            }
            Err(error) if reason_of(&error) == Some(Reason::Rehearsal) => Ok(Prepared::Failed(error)),
            Err(error) if reason_of(&error) == Some(Reason::Limit) => Err(Reason::Limit.error(format!(
                "{error:#}. The copy is kept, and the next start rehearses it again; if that ends so too, raise the container's \
                 limit, or say --rehearsal off"
            ))),
            Err(error) => Err(error),
        }
    }

    async fn rehearse(&self, data: &Path, server_config: &Path) -> Result<Opened> {
        let stage = data.parent().unwrap_or(data);
        Rehearsal::ensure_room(data)?;
        let shadow = Shadow::of(data)?;
        let configuration = PodConfiguration::read(&self.program, server_config, stage, Reason::Rehearsal)?;
        let setup = self.setup(stage, shadow.path().to_owned(), &configuration);
        let mut server = setup.start(&|| true).await?;
        match opening::open_all(&mut server, shadow.path(), data).await {
            Ok(opened) => server.stop().await.map(|()| opened),
            Err(trouble) => Err(trouble.told(server).await),
        }
    }

    fn setup<'a>(&'a self, stage: &'a Path, data_dir: PathBuf, configuration: &'a PodConfiguration) -> Setup<'a> {
        Setup {
            program: &self.program,
            stage,
            data_dir,
            configuration: Configuration::OfPod(configuration),
            grants: Grants::Skipped,
            access: Access::ReadOnly,
            pool: memory::POOL,
            options: OPTIONS.iter().chain(self.program.options_on_copy()).map(Into::into).collect(),
            blame: Reason::Rehearsal,
        }
    }
}
