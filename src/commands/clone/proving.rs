//! From a prepared copy to one that is proven whole and fit to be published. Each check may be made again by the next
//! start: what it changes is changed before, and named in the journal.

use anyhow::Result;

use super::copying::Copying;
use crate::backup_tool::Prepared;
use crate::datadir::earlier_life;
use crate::datadir::journal::Journal;
use crate::exit::Reason;

impl Copying<'_> {
    /// Changes what must be changed, then proves. After this only names and owners change.
    pub(super) fn prove(&self, journal: &mut Journal) -> Result<Prepared> {
        earlier_life::remove(&self.layout.staged_data())?;
        if let Prepared::Failed(error) = self.rehearse()? {
            return Ok(Prepared::Failed(error));
        }
        Ok(match self.why_useless(journal)? {
            None => Prepared::Whole,
            Some(why) => Prepared::Failed(Reason::NoPosition.error(why)),
        })
    }
}
