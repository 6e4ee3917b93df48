//! Tables that mariadb-backup has lost.
//!
//! One that is made and then renamed while it copies may have no copy: when the tool comes to the server's log of such
//! statements, nothing has the table's first name any more, and of its second name it copies the `.frm` alone (ddl_log.cc;
//! seen with 10.11.19). It ends with success all the same, and a server that is started on the copy has a table that it
//! can't open. The stream shows it: a file is renamed that never came, to a name that never comes.

use std::collections::BTreeSet;

use super::path::MemberPath;
use super::{UnpackError, malformed};

/// A server that renames more tables in the time of a backup has to wait for a quieter one.
const MOST: usize = 256;

/// What is renamed and never need be there: ARCHIVE has it only while it optimises a table.
const PASSING: &[u8] = b".ARM";

/// New names of what never came, as long as nothing has come by them.
#[derive(Default)]
pub struct Lost(BTreeSet<MemberPath>);

impl Lost {
    /// There is a file of this name.
    pub fn came(&mut self, path: &MemberPath) {
        self.0.remove(path);
    }

    /// What never came has another name now, of which nothing is there either.
    pub fn renamed(&mut self, from: &MemberPath, to: &MemberPath) -> Result<(), UnpackError> {
        self.0.remove(from);
        if !to.ends_with(PASSING) {
            self.0.insert(to.clone());
        }
        if self.0.len() > MOST {
            return malformed(format!("more than {MOST} files are renamed that never came"));
        }
        Ok(())
    }

    /// What was dropped in the end isn't missed.
    pub fn removed(&mut self, path: &MemberPath) {
        self.0.retain(|lost| !path.means(lost));
    }

    /// At the stream's end nothing may be lost.
    pub fn check(&self) -> Result<(), UnpackError> {
        match self.0.first() {
            Some(path) => malformed(format!(
                "it lacks {path}, whose table was made and renamed while the backup was taken: another backup has it"
            )),
            None => Ok(()),
        }
    }
}
