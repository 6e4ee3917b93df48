//! `mysqlset install`: puts this program into a volume from which the containers of unchanged images run it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::model::event::info;
use crate::model::exit::Reason;
use crate::sys::durable;

/// The program as the kernel has it, by whatever name it was started.
const OWN_PROGRAM: &str = "/proc/self/exe";

const NAME: &str = "mysqlset";

/// Run by other users, changed by none but its owner.
const MODE: u32 = 0o755;

/// Runs the command. An older version gives way at once, also while it runs.
pub fn run(directory: &Path) -> Result<()> {
    let program = std::fs::read(OWN_PROGRAM).with_context(|| format!("reading {OWN_PROGRAM}"))?;
    let target = directory.join(NAME);
    durable::replace(&target, &program, MODE).map_err(|error| {
        Reason::InstallTarget.error(format!(
            "cannot copy mysqlset to {}: {error}; mount a volume there, one that this container's user may write to",
            directory.display()
        ))
    })?;
    info!(Installed, version = env!("CARGO_PKG_VERSION"), to = %target.display(), "installed");
    Ok(())
}
