//! The mark that a first start leaves when it is done.
//!
//! The images' entrypoints take a directory `mysql` for a whole database; a container that was killed while it made one
//! starts a server on the half of it. The last step of the entrypoint's work is to run what lies in
//! `/docker-entrypoint-initdb.d`: there the shipped manifests have a script that leaves this mark.

use std::path::Path;

use anyhow::Result;

use crate::durable;
use crate::exit;

/// In the data directory.
const MARK: &str = ".mysqlset-first-start-done";

/// Whether the mark is there.
pub fn is_done(data_dir: &Path) -> bool {
    data_dir.join(MARK).exists()
}

/// Removes the mark, once the journal says more.
pub fn forget(data_dir: &Path) -> Result<()> {
    let path = data_dir.join(MARK);
    durable::remove_if_there(&path)
        .map(drop)
        .map_err(|error| exit::disk_error(error, format!("removing {}", path.display())))
}
