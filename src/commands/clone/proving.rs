//! From a prepared copy to one that is proven whole and fit to be published. Each check may be made again by the next
//! start: what it changes is changed before, and named in the journal.

use anyhow::Result;

use super::copying::Copying;
use crate::backup_tool::Prepared;
use crate::datadir::journal::{CloneRecord, Journal};
use crate::datadir::{earlier_life, named_places};
use crate::exit::Reason;

/// The checks that a copy has passed, beside its prepare.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Proofs {
    /// Every table that the donor had is in the copy.
    pub inventory: bool,
    /// A server of this image opened every table.
    pub rehearsal: bool,
}

impl Proofs {
    /// What is missing of a copy whose prepare proves less than it should: such a one needs all of them.
    fn what_is_missing(self, clone: Option<&CloneRecord>) -> Option<String> {
        let unproven = clone.and_then(|clone| clone.unproven.first())?;
        let missing = match (self.inventory, self.rehearsal) {
            (true, true) => return None,
            (true, false) => "the rehearsal was not made",
            (false, true) => "the donor sent no list of its tables",
            (false, false) => "neither was the donor's list of its tables compared, nor the rehearsal made",
        };
        Some(format!(
            "{unproven}, and {missing}: use a version of the tool that is known (README, \"Servers and tools\")"
        ))
    }
}

impl Copying<'_> {
    /// Changes what must be changed, then proves. After this only names and owners change.
    pub(super) fn prove(&self, journal: &mut Journal) -> Result<Prepared> {
        let staged = self.layout.staged_data();
        earlier_life::remove(&staged, &self.config)?;
        named_places::make(&self.config, &self.layout.data_dir, &staged)?;
        if let Prepared::Failed(error) = self.settle_events(journal)? {
            return Ok(Prepared::Failed(error));
        }
        let mut proofs = Proofs::default();
        match self.compare_inventory(journal)? {
            Some(Prepared::Failed(error)) => return Ok(Prepared::Failed(error)),
            Some(Prepared::Whole) => proofs.inventory = true,
            None => {}
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
}
