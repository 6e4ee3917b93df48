//! Checks that a prepared copy holds everything that its donor held.

use std::io::{BufReader, Read};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::job::CloneJob;
use crate::clone::completeness::{PreparedFiles, Verdict};
use crate::clone::method::backup_tool::Prepared;
use crate::datadir::journal::{Journal, ListedBy};
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::protocol::digest::Tally;
use crate::protocol::inventory::{Inventory, encoding};
use crate::protocol::message::InventoryEnd;
use crate::sys::disk::disk_error;

impl CloneJob<'_> {
    /// Compares the copy with the donor's inventories from before and after it. `None` for lack of an inventory.
    pub(super) fn compare_inventory(&self, journal: &Journal) -> Result<Option<Prepared>> {
        let failed = |why: String| Ok(Some(Prepared::Failed(Reason::Prepare.error(why))));
        let sent = match journal.clone.as_ref().map(|clone| &clone.inventory) {
            Some(ListedBy::Donor(sent)) => sent,
            Some(ListedBy::LegacyStream) => {
                warn!(
                    InventoryMissing,
                    "the donor sent no inventory (--take-unproven-stream): missing tables stay undetected"
                );
                return Ok(None);
            }
            Some(ListedBy::Nobody) | None => {
                return failed("an earlier version of mysqlset received the copy, without an inventory".to_owned());
            }
        };
        let began = Instant::now();
        let inventory = match self.inventory(sent) {
            Ok(inventory) => inventory,
            Err(error) => return failed(format!("cannot read the copy's inventory: {error:#}")),
        };
        let data = self.layout.staged_data();
        let copy = PreparedFiles::of(&data.way(), &inventory)
            .map_err(|error| disk_error(error, format!("looking at the files of {data}")))?;
        match copy.compare(&inventory) {
            Verdict::Whole => {
                let seconds = began.elapsed().as_secs_f64();
                info!(
                    InventoryWhole,
                    entries = inventory.entries.len(),
                    seconds,
                    "the copy holds everything that the donor held before and after it"
                );
                Ok(Some(Prepared::Whole))
            }
            lacking @ Verdict::Lacking { .. } => failed(lacking.to_string()),
        }
    }

    /// Reads the inventory and checks that it is exactly as received.
    fn inventory(&self, sent: &InventoryEnd) -> Result<Inventory> {
        let path = self.layout.staged_inventory();
        let file = path.open_file().with_context(|| format!("opening {path}"))?;
        let mut read = Tallied { input: BufReader::new(file), tally: Tally::default() };
        let inventory = encoding::decode(&mut read).with_context(|| path.to_string())?;
        let found = InventoryEnd { bytes: read.tally.bytes(), digest: read.tally.digest() };
        ensure!(found == *sent, "{path} has changed since it was received");
        Ok(inventory)
    }
}

/// Input that is digested as it is read.
struct Tallied<R> {
    input: R,
    tally: Tally,
}

impl<R: Read> Read for Tallied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.tally.add(&buffer[..count]);
        Ok(count)
    }
}
