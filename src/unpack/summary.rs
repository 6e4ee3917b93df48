//! The files of a backup that came to their end, and whether the last ones are among them.

use super::error::{UnpackError, malformed};
use super::path::MemberPath;

/// What was unpacked.
#[derive(Debug, Default)]
pub struct Summary {
    /// Files that came to their end.
    pub files: u64,
    /// Those of [`METADATA`] that came to their end.
    metadata: Vec<&'static str>,
}

/// The metadata files that end a good backup, old names and new. (MDEV-18931)
const METADATA: [[&str; 2]; 2] =
    [["xtrabackup_checkpoints", "mariadb_backup_checkpoints"], ["xtrabackup_info", "mariadb_backup_info"]];

impl Summary {
    pub(super) fn ended(&mut self, path: &MemberPath) {
        self.files += 1;
        if let Some(known) = METADATA.iter().flatten().find(|known| path.as_os_str() == **known)
            && !self.metadata.contains(known)
        {
            self.metadata.push(known);
        }
    }

    /// What was written last, and shows that all came, isn't there any more.
    pub(super) fn gone(&mut self, path: &MemberPath) {
        self.metadata.retain(|known| path.as_os_str() != *known);
    }

    /// Whether the files that a backup tool writes last, when all else went well, are there: a stream that was cut
    /// between two files has nothing else to show for it.
    pub fn require_backup_metadata(&self) -> Result<(), UnpackError> {
        for names in METADATA {
            if !names.iter().any(|name| self.metadata.contains(name)) {
                return malformed(format!("the backup has no {}: it was cut before its end", names.join(" or ")));
            }
        }
        Ok(())
    }
}
