//! What a clone is made with here, and a whole backup that was received.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::fs::OFlags;

use super::setback::Setback;
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

/// A whole backup that was unpacked, by the donor's word and by every check of ours; not yet synced.
pub struct Received {
    pub donor: HostPort,
    pub donor_pod: String,
    pub tool: String,
    pub set_id: Option<SetId>,
    pub lineage: Option<Lineage>,
    pub bytes: u64,
    pub seconds: f64,
    /// Where replication starts from it, where that can be known already.
    pub position: Option<Position>,
    /// Where the plugin made it.
    pub plugin: Option<PluginCopy>,
    /// By what list of the donor's it can be proven.
    pub inventory: ListedBy,
}

impl Received {
    /// What the journal keeps of it.
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

/// What a clone is made with here.
pub struct Means<'a> {
    /// Called once a donor has offered a copy, before the first byte of it; gives the empty directory that it goes to.
    pub stage: &'a dyn Fn() -> anyhow::Result<PathBuf>,
    /// Where the donor's inventory goes, in the stage.
    pub inventory: &'a dyn Fn() -> PathBuf,
    pub writing: Writing,
    /// A server that has the CLONE plugin.
    pub server: Option<&'a Program>,
    /// The headless service's name.
    pub service: &'a str,
    /// The configuration of the server here, where that reaches the keys of encrypted data.
    pub keys: Option<&'a ServerConfig>,
}

/// The file that an inventory is written to; it is synced with the copy.
pub(in crate::clone) fn inventory_file(path: &Path) -> Result<BufWriter<File>, Setback> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new().write(true).create(true).truncate(true).custom_flags(flags).open(path);
    let file = file.map_err(|error| disk_error(error, format!("making {}", path.display())));
    file.map(BufWriter::new).map_err(Setback::Fatal)
}

/// An inventory that came whole must also be one: a donor that sends something else is broken.
pub(in crate::clone) fn checked_inventory(path: &Path, end: &End, bytes: u64) -> Result<ListedBy, Setback> {
    let broken = |why: String| Setback::Broken { why, bytes };
    let sent = end.inventory.clone().ok_or_else(|| broken("the donor's inventory is missing".to_owned()))?;
    let file = File::open(path).with_context(|| format!("opening {}", path.display())).map_err(Setback::Fatal)?;
    let mut entries = 0u64;
    encoding::each_entry(io::BufReader::new(file), |_| entries += 1).map_err(|error| broken(error.to_string()))?;
    info!(InventoryReceived, entries, "what the copy must hold has come");
    Ok(ListedBy::Donor(sent))
}
