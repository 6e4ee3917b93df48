//! The mark that a completed first start leaves.
//!
//! The images' entrypoints take a directory `mysql` for a whole database. After a kill during its creation they start a
//! server on half a database. The entrypoint's last step runs the scripts in `/docker-entrypoint-initdb.d`. There the
//! shipped manifests have a script that leaves this mark.

use anyhow::Result;

use crate::sys::disk::disk_error;
use crate::sys::held_directory::Directory;

/// Its name in the data directory.
const MARK: &str = ".mysqlset-first-start-done";

/// Whether the mark is there.
pub fn is_done(data_dir: &(impl Directory + ?Sized)) -> bool {
    data_dir.spot().is_ok_and(|directory| directory.join(MARK).exists())
}

/// Removes the mark, once the journal has recorded more.
pub fn forget(data_dir: &(impl Directory + ?Sized)) -> Result<()> {
    let removed = data_dir.spot().and_then(|directory| directory.join(MARK).remove_if_there());
    removed.map(drop).map_err(|error| disk_error(error, format!("removing {}", data_dir.named().join(MARK).display())))
}
