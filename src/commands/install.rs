//! `mysqlset install`: copies this program into a volume, from which the containers of unchanged images run it.

use std::path::Path;

use anyhow::{Context, Result};

use crate::model::event::info;
use crate::model::exit::Reason;
use crate::sys::durable;

/// The running program in the kernel's view, under any name.
const OWN_PROGRAM: &str = "/proc/self/exe";

const NAME: &str = "mysqlset";

/// All users may run it, and only its owner may change it.
const MODE: u32 = 0o755;

/// Runs the command. Replaces an older version at once, even while that runs.
pub fn run(directory: &Path) -> Result<()> {
    let program = std::fs::read(OWN_PROGRAM).with_context(|| format!("reading {OWN_PROGRAM}"))?;
    let target = directory.join(NAME);
    durable::replace(&target, &program, MODE).map_err(|error| {
        Reason::InstallTarget.error(format!(
            "cannot copy mysqlset to {}: {error}; mount a volume there that this container's user may write to",
            directory.display()
        ))
    })?;
    info!(Installed, version = env!("CARGO_PKG_VERSION"), to = %target.display(), "installed");
    Ok(())
}
