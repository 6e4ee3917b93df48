//! Proves that a prepared copy is whole and fit to be published. The next start may repeat each check: changes are made
//! before the check, and are named in the journal.

use anyhow::Result;

use super::job::CloneJob;
use crate::clone::method::backup_tool::Prepared;
use crate::datadir::configured_places::{self, Placed};
use crate::datadir::donor_leftovers;
use crate::datadir::journal::{CloneRecord, Journal, Unproven};
use crate::model::exit::{self, Reason};
use crate::protocol::inventory::engines;
use crate::sys::disk::disk_error;

/// The checks that a copy has passed, besides its prepare.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proofs {
    /// Every table of the donor is in the copy.
    pub inventory: bool,
    /// A server of this image opened every table.
    pub rehearsal: bool,
}

impl Proofs {
    /// Which check is missing for a copy with a gap in its prepare's proof. Such a copy needs all checks.
    fn what_is_missing(self, clone: Option<&CloneRecord>) -> Option<String> {
        let all = &clone?.unproven;
        let unproven = all.iter().find(|unproven| **unproven == Unproven::PrepareWords).or(all.first())?;
        // For a tool that hides how far it came, the rehearsal is optional: the tool compares the end itself. A tool
        // with unknown output may do anything.
        let rehearsal = self.rehearsal || *unproven == Unproven::PrepareEnd;
        let missing = match (self.inventory, rehearsal) {
            (true, true) => return None,
            (true, false) => "the rehearsal is missing",
            (false, true) => "the donor sent no inventory",
            (false, false) => "both the donor's inventory and the rehearsal are missing",
        };
        Some(format!("{unproven}, and {missing}: use a known version of the tool (docs/reference/servers.md)"))
    }
}

impl CloneJob<'_> {
    /// Makes the required changes, then proves the copy. A server finds files by the names in its configuration, and
    /// the donor's inventory by the tools' names. Between the two checks only names change, and after both only names
    /// and owners.
    pub(super) fn prove(&self, journal: &mut Journal) -> Result<Prepared> {
        let staged = self.layout.staged_data();
        // An interrupted start may have had another configuration.
        if let Prepared::Failed(error) = self.gather_places(journal)? {
            return Ok(Prepared::Failed(error));
        }
        donor_leftovers::remove(&staged, &self.config)?;
        if let Prepared::Failed(error) = self.make_places(journal)? {
            return Ok(Prepared::Failed(error));
        }
        if let Prepared::Failed(error) = self.settle_events(journal)? {
            return Ok(Prepared::Failed(error));
        }
        if let Prepared::Failed(error) = self.gather_places(journal)? {
            return Ok(Prepared::Failed(error));
        }
        let mut proofs = Proofs::default();
        match self.compare_inventory(journal)? {
            Some(Prepared::Failed(error)) => return Ok(Prepared::Failed(error)),
            Some(Prepared::Whole) => proofs.inventory = true,
            None => {}
        }
        let data = engines::lacking(&staged.way())
            .map_err(|error| disk_error(error, format!("looking at the definitions in {staged}")))?;
        if let Some(lacking) = data {
            return Ok(Prepared::Failed(Reason::Prepare.error(format!(
                "the copy lacks data: {lacking}. If the donor's server lacks them too, drop the table there"
            ))));
        }
        if let Prepared::Failed(error) = self.make_places(journal)? {
            return Ok(Prepared::Failed(error));
        }
        match self.rehearse()? {
            Some(Prepared::Failed(error)) => return Ok(Prepared::Failed(error)),
            Some(Prepared::Whole) => proofs.rehearsal = true,
            None => {}
        }
        if let Some(missing) = proofs.what_is_missing(journal.clone.as_ref()) {
            return Ok(Prepared::Failed(Reason::Prepare.error(missing)));
        }
        Ok(match self.why_useless(journal)? {
            None => Prepared::Whole,
            Some(why) => Prepared::Failed(Reason::NoPosition.error(why)),
        })
    }

    /// Two files for one place are the donor's fault: another backup may have one.
    fn make_places(&self, journal: &mut Journal) -> Result<Prepared> {
        let (data_dir, staged) = (&self.layout.data_dir, self.layout.staged_data());
        if journal.placed.add(Placed::plan(&self.config, data_dir, &staged)?) {
            self.write(journal)?;
        }
        or_failed(configured_places::make(&self.config, data_dir, &staged))
    }

    fn gather_places(&self, journal: &Journal) -> Result<Prepared> {
        or_failed(configured_places::gather(&journal.placed, &self.layout.staged_data()))
    }
}

fn or_failed(placed: Result<()>) -> Result<Prepared> {
    match placed {
        Err(error) if exit::reason_of(&error) == Some(Reason::Refused) => Ok(Prepared::Failed(error)),
        done => done.map(|()| Prepared::Whole),
    }
}
