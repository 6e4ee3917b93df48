//! The mark that a first start leaves when it is done.
//!
//! The images' entrypoints take a directory `mysql` for a whole database; a container that was killed while it made one
//! starts a server on the half of it. The last step of the entrypoint's work is to run what lies in
//! `/docker-entrypoint-initdb.d`: there the shipped manifests have a script that leaves this mark.

use anyhow::Result;

use crate::sys::disk::disk_error;
use crate::sys::held::Directory;

/// In the data directory.
const MARK: &str = ".mysqlset-first-start-done";

/// Whether the mark is there.
pub fn is_done(data_dir: &(impl Directory + ?Sized)) -> bool {
    data_dir.spot().is_ok_and(|directory| directory.join(MARK).exists())
}

/// Removes the mark, once the journal says more.
pub fn forget(data_dir: &(impl Directory + ?Sized)) -> Result<()> {
    let removed = data_dir.spot().and_then(|directory| directory.join(MARK).remove_if_there());
    removed.map(drop).map_err(|error| disk_error(error, format!("removing {}", data_dir.named().join(MARK).display())))
}
