//! Finds table definitions (`.frm`) that a donor's data directory has lost.
//!
//! A server notices the loss only when it opens the table again, and a backup tool silently copies the files that
//! exist. So a donor checks before each offer. A suspect is checked several times, because a running statement may be
//! creating or dropping the table.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::protocol::inventory::definition_of;
use crate::protocol::inventory::server_look::Look;
use crate::unpack::path::MemberPath;

/// Length of a definition's header, which every definition has. (`FRM_HEADER_SIZE` in MariaDB's sql/table.h; a view's
/// text is longer.)
const LEAST_LENGTH: u64 = 64;

/// Endings of files in which engines keep rows. Aria's and MyISAM's indexes go with them.
const ROWS: [&[u8]; 5] = [b".MAD", b".MYD", b".ARZ", b".CSV", b".MRG"];

/// InnoDB's auxiliary tables for full-text indexes. They have no definition.
const FULL_TEXT: &[u8] = b"/FTS_";

/// A fault must be seen this often, at this distance.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Describes the lost definitions: the first one, and how many more.
pub async fn lost(look: &Look, data_dir: &Path) -> Option<String> {
    let mut suspects = suspects(look);
    for _ in 0..LOOKS {
        suspects.retain(|suspect| suspect.is_still(data_dir));
        if suspects.is_empty() {
            return None;
        }
        sleep(PAUSE).await;
    }
    let first = suspects.first()?.to_string();
    let more = if suspects.len() > 1 { format!("; and {} more", suspects.len() - 1) } else { String::new() };
    Some(format!(
        "the donor has lost table definitions ({first}{more}): restore the file from a backup, or move the table's \
         other files away"
    ))
}

#[derive(Debug, PartialEq, Eq)]
enum Suspect {
    Missing { definition: MemberPath, data: MemberPath },
    Short { definition: MemberPath },
}

impl std::fmt::Display for Suspect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Suspect::Missing { definition, data } => write!(f, "{definition} is missing beside {data}"),
            Suspect::Short { definition } => write!(f, "{definition} is shorter than {LEAST_LENGTH} bytes"),
        }
    }
}

impl Suspect {
    fn is_still(&self, data_dir: &Path) -> bool {
        let length = |path: &MemberPath| data_dir.join(path.as_os_str()).symlink_metadata().map(|found| found.len());
        match self {
            Suspect::Missing { definition, data } => length(definition).is_err() && length(data).is_ok(),
            Suspect::Short { definition } => length(definition).is_ok_and(|length| length < LEAST_LENGTH),
        }
    }
}

fn suspects(look: &Look) -> Vec<Suspect> {
    if !look.keeps_definitions {
        return Vec::new();
    }
    let of_innodb =
        look.tablespaces.values().filter(|path| !path.as_os_str().as_bytes().windows(5).any(|part| part == FULL_TEXT));
    let of_others = look.files.keys().filter(|path| ROWS.iter().any(|end| path.ends_with(end)));
    let mut named = BTreeSet::new();
    let missing = of_innodb.chain(of_others).filter_map(|data| {
        let definition = definition_of(data).filter(|definition| !look.files.contains_key(definition))?;
        named.insert(definition.clone()).then(|| Suspect::Missing { definition, data: data.clone() })
    });
    let is_short = |length: u64| length < LEAST_LENGTH;
    let short = look.files.iter().filter(|(path, mark)| path.ends_with(b".frm") && is_short(mark.length));
    let short = short.map(|(definition, _)| Suspect::Short { definition: definition.clone() });
    missing.collect::<Vec<_>>().into_iter().chain(short).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::inventory::server_look::Mark;

    fn path(text: &str) -> MemberPath {
        MemberPath::new(text.as_bytes()).unwrap()
    }

    fn look(tablespaces: &[&str], files: &[(&str, u64)]) -> Look {
        let mark = |length| Mark { inode: 1, changed: (1, 0), length };
        Look {
            keeps_definitions: true,
            tablespaces: (1..).zip(tablespaces.iter().map(|name| path(name))).collect(),
            files: files.iter().map(|(name, length)| (path(name), mark(*length))).collect(),
            ..Look::default()
        }
    }

    fn found(look: &Look) -> Vec<String> {
        suspects(look).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn complete_tables_are_no_suspects() {
        let tablespaces = ["app/t.ibd", "app/p#P#a.ibd", "app/FTS_000000000000001e_CONFIG.ibd", "general.ibd"];
        let files = [
            ("app/t.frm", 900),
            ("app/p.frm", 900),
            ("app/p.par", 20),
            ("app/m.frm", 900),
            ("app/m.MYD", 0),
            ("app/m.MYI", 1024),
            ("app/db.opt", 20),
            ("aria_log_control", 52),
        ];
        assert_eq!(found(&look(&tablespaces, &files)), Vec::<String>::new());
    }

    #[test]
    fn every_engines_data_needs_its_definition() {
        let files = [("app/m#P#a.MYD", 1), ("app/m#P#b.MYD", 1), ("mysql/proc.MAD", 1), ("mysql/proc.MAI", 1)];
        let expected = [
            "app/t.frm is missing beside app/t.ibd",
            "app/m.frm is missing beside app/m#P#a.MYD",
            "mysql/proc.frm is missing beside mysql/proc.MAD",
        ];
        assert_eq!(found(&look(&["app/t.ibd"], &files)), expected);
        let mysql = Look { keeps_definitions: false, ..look(&["app/t.ibd"], &files) };
        assert_eq!(found(&mysql), Vec::<String>::new());
    }

    #[test]
    fn an_empty_definition_counts_as_lost() {
        let files = [("app/t.frm", 0), ("app/u.frm", 63), ("app/v.frm", 64)];
        let expected = ["app/t.frm is shorter than 64 bytes", "app/u.frm is shorter than 64 bytes"];
        assert_eq!(found(&look(&["app/t.ibd"], &files)), expected);
    }

    #[tokio::test]
    async fn a_table_that_is_just_being_created_is_checked_again() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("app")).unwrap();
        let write = |name: &str, length: usize| std::fs::write(directory.path().join(name), vec![0; length]).unwrap();
        write("app/t.ibd", 1);
        write("app/u.frm", 0);
        let look = look(&["app/t.ibd"], &[("app/u.frm", 0)]);
        let words = lost(&look, directory.path()).await.unwrap();
        assert!(words.contains("app/t.frm is missing beside app/t.ibd; and 1 more"), "{words}");
        write("app/t.frm", 900);
        write("app/u.frm", 900);
        assert_eq!(lost(&look, directory.path()).await, None);
    }
}
