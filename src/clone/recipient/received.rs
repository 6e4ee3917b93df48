//! The means for making a clone here, and a complete backup that was received.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::OFlags;

use super::failed_attempt::Setback;
use crate::datadir::journal::{CloneRecord, ListedBy, PluginCopy, now};
use crate::model::event::info;
use crate::model::host::HostPort;
use crate::model::identity::{Lineage, SetId};
use crate::model::position::Position;
use crate::protocol::inventory::encoding;
use crate::protocol::message::End;
use crate::server::config_files::ServerConfig;
use crate::server::scratch::Program;
use crate::sys::disk::disk_error;
use crate::unpack::Writing;

/// A complete, unpacked backup that the donor reported finished and that passed every check. It is still unsynced.
pub struct Received {
    pub donor: HostPort,
    pub donor_pod: String,
    pub tool: String,
    pub set_id: Option<SetId>,
    pub lineage: Option<Lineage>,
    pub bytes: u64,
    pub seconds: f64,
    /// Where replication starts from this copy, if that is already known.
    pub position: Option<Position>,
    /// Set if the plugin made the copy.
    pub plugin: Option<PluginCopy>,
    /// The donor's list that proves the copy.
    pub inventory: ListedBy,
}

impl Received {
    /// The record for the journal.
    pub fn record(&self) -> CloneRecord {
        CloneRecord {
            donor: self.donor.to_string(),
            donor_pod: self.donor_pod.clone(),
            tool: self.tool.clone(),
            bytes: self.bytes,
            seconds: self.seconds,
            received_at: now(),
            position: self.position.clone(),
            plugin: self.plugin.clone(),
            unproven: Vec::new(),
            inventory: self.inventory.clone(),
        }
    }
}

/// The local means for making a clone.
pub struct Means<'a> {
    /// Called when a donor has offered a copy, before its first byte; returns the empty directory for the copy.
    pub stage: &'a dyn Fn() -> anyhow::Result<PathBuf>,
    /// The path for the donor's inventory, in the stage.
    pub inventory: &'a dyn Fn() -> PathBuf,
    pub writing: Writing,
    /// A server program that has the CLONE plugin.
    pub server: Option<&'a Program>,
    /// Name of the headless service.
    pub service: &'a str,
    /// Configuration of the local server, if it gives access to the keys of encrypted data.
    pub keys: Option<&'a ServerConfig>,
}

/// Creates the file for the inventory; it is synced with the copy.
pub(in crate::clone) fn inventory_file(path: &Path) -> Result<BufWriter<File>, Setback> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| disk_error(error, format!("creating {}", path.display())));
    file.map(BufWriter::new).map_err(Setback::Fatal)
}

/// Checks that the received inventory is well-formed. A donor that sends anything else counts as broken.
pub(in crate::clone) fn checked_inventory(path: &Path, end: &End, bytes: u64) -> Result<ListedBy, Setback> {
    let broken = |why: String| Setback::Broken { why, bytes };
    let sent = end.inventory.clone().ok_or_else(|| broken("the donor's inventory is missing".to_owned()))?;
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display())).map_err(Setback::Fatal)?;
    let mut entries = 0u64;
    encoding::each_entry(io::BufReader::new(file), |_| entries += 1).map_err(|error| broken(error.to_string()))?;
    info!(InventoryReceived, entries, "received the donor's inventory");
    Ok(ListedBy::Donor(sent))
}
