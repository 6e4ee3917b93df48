//! Our donor: an idle server with a sidecar beside it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::data::Database;
use crate::member::{PRIMARY, Sidecar};
use crate::process::{Usage, quoted};
use crate::server::{IDLE, Server};

pub struct Donor {
    sidecar: Sidecar,
    server: Server,
}

impl Donor {
    /// Starts one, ready to donate.
    pub fn start(database: &Database, work: &Path, programs: Option<&Path>) -> Result<Donor> {
        // Perhaps of another version. Without one the sidecar takes the data for its set's own.
        let _ = std::fs::remove_file(database.data_dir.join(".mysqlset.json"));
        let server = Server::start(&database.data_dir, work, &PRIMARY, &IDLE)?;
        let mut sidecar = Sidecar::start(&PRIMARY, &database.data_dir, work, programs)?;
        sidecar.wait_ready(work)?;
        Ok(Donor { sidecar, server })
    }

    /// The processor time of the relay and of its tools.
    pub fn usage(&self) -> Result<Usage> {
        self.sidecar.usage()
    }

    pub fn stop(self) -> Result<()> {
        drop(self.sidecar);
        self.server.stop()
    }
}

/// A backup tool that writes a recorded stream in place of a new one. Asked to prepare, it waits to be killed. It
/// passes all else to the real tool. Returns its directory.
pub fn stand_in(stream: &Path, work: &Path) -> Result<PathBuf> {
    let directory = work.join("programs");
    std::fs::create_dir_all(&directory)?;
    let program = directory.join("mariadb-backup");
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in\n\
         *' --backup '*) cat {} && echo 'completed OK!' >&2 ;;\n\
         *' --prepare '*) exec sleep infinity ;;\n\
         *) exec /usr/bin/mariadb-backup \"$@\" ;;\nesac\n",
        quoted(stream)
    );
    std::fs::write(&program, script)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}
