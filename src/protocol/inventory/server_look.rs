//! Compares two looks at a server's tables, and keeps what exists unchanged in both.

use std::collections::{BTreeMap, BTreeSet};

use super::{Definition, Entry, Inventory, Kind, definition_of};
use crate::unpack::path::MemberPath;

/// Extensions of data files that their engine writes through at once.
const WRITTEN_THROUGH: [&[u8]; 4] = [b".CSV", b".MRG", b".MYD", b".ARZ"];

/// Extensions of defining files, which only DDL writes.
const DEFINING: [&[u8]; 5] = [b".frm", b".par", b".TRG", b".TRN", b".opt"];

/// A server's tables and files at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub keeps_definitions: bool,
    /// InnoDB's tablespaces with a stable id, and the path of each.
    pub tablespaces: BTreeMap<u32, MemberPath>,
    /// The system tablespace's files, in the order of the configuration.
    pub system_files: Vec<MemberPath>,
    pub undo_files: BTreeSet<MemberPath>,
    /// Files of other engines, and defining files.
    pub files: BTreeMap<MemberPath, Mark>,
}

/// Identifies a file. DDL creates another file, or changes the inode's time, as a rename does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub inode: u64,
    /// The inode's last change: seconds and nanoseconds.
    pub changed: (i64, i64),
    pub length: u64,
}

impl Look {
    /// The number of tablespaces and files.
    pub fn len(&self) -> usize {
        self.tablespaces.len() + self.system_files.len() + self.undo_files.len() + self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tables and files in both this look and a later one.
    pub fn and(&self, later: &Look) -> Inventory {
        let mut entries = Vec::new();
        // Definitions that belong to tablespaces in the list.
        let mut spoken_for = BTreeSet::new();
        for (id, path) in &self.tablespaces {
            let Some(now) = later.tablespaces.get(id) else { continue };
            let definition = self.definition(path, later, now);
            if now == path && definition != Definition::Unknown {
                spoken_for.extend(definition_of(path));
            }
            let renamed_to = (now != path).then(|| now.clone());
            entries.push(Entry { path: path.clone(), kind: Kind::Tablespace { id: *id, renamed_to, definition } });
        }
        let system_files = self.system_files.iter().filter(|path| later.system_files.contains(path));
        entries.extend(system_files.map(|path| Entry { path: path.clone(), kind: Kind::System }));
        let undo_files = self.undo_files.intersection(&later.undo_files);
        entries.extend(undo_files.map(|path| Entry { path: path.clone(), kind: Kind::Undo }));
        for (path, mark) in &self.files {
            if !self.is_of_no_table(path)
                && !spoken_for.contains(path)
                && let Some(now) = later.files.get(path)
                && self.is_continuous(path, mark, later, now)
            {
                let is_exact = is_defining(path) || (is_written_through(path) && mark == now);
                let length = is_exact.then_some(mark.length).and_then(|length| u32::try_from(length).ok());
                entries.push(Entry { path: path.clone(), kind: Kind::File { length } });
            }
        }
        Inventory { keeps_definitions: self.keeps_definitions && later.keeps_definitions, entries }
    }

    /// Whether a file lies beside tables and belongs to none, as after a crash. The backup tools leave such files
    /// out.
    fn is_of_no_table(&self, path: &MemberPath) -> bool {
        let has_definition = |definition: MemberPath| self.files.contains_key(&definition);
        self.keeps_definitions && !is_defining(path) && definition_of(path).is_some_and(|found| !has_definition(found))
    }

    /// The state of the definition of a table with a single tablespace of these names.
    fn definition(&self, path: &MemberPath, later: &Look, later_path: &MemberPath) -> Definition {
        let mark = |look: &Look, path| look.files.get(&definition_of(path)?).copied();
        match (mark(self, path), mark(later, later_path)) {
            (Some(before), Some(after)) if before == after => match u32::try_from(before.length) {
                Ok(length) => Definition::Untouched { length },
                Err(_) => Definition::Changed,
            },
            (Some(_), Some(_)) => Definition::Changed,
            _ => Definition::Unknown,
        }
    }

    /// Whether a file with the same name in both looks existed all the time. A defining file decides, if there is
    /// one, because an engine may write its data file again. Otherwise the file itself decides.
    fn is_continuous(&self, path: &MemberPath, mark: &Mark, later: &Look, now: &Mark) -> bool {
        if is_defining(path) {
            return mark == now;
        }
        match definition_of(path).and_then(|definition| Some((self.files.get(&definition)?, definition))) {
            Some((before, definition)) => later.files.get(&definition) == Some(before),
            None => mark.inode == now.inode,
        }
    }
}

/// Such a file has the same length in the copy, unless it was written to.
fn is_written_through(path: &MemberPath) -> bool {
    WRITTEN_THROUGH.iter().any(|end| path.ends_with(end))
}

fn is_defining(path: &MemberPath) -> bool {
    DEFINING.iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> MemberPath {
        MemberPath::new(text.as_bytes()).unwrap()
    }

    /// Tablespaces by their ids, and files by their inodes and the times of their last change.
    fn look(tablespaces: &[(u32, &str)], files: &[(&str, u64, i64)]) -> Look {
        let mark = |inode, changed| Mark { inode, changed: (changed, 0), length: 900 };
        Look {
            keeps_definitions: true,
            tablespaces: tablespaces.iter().map(|(id, name)| (*id, path(name))).collect(),
            files: files.iter().map(|(name, inode, changed)| (path(name), mark(*inode, *changed))).collect(),
            ..Look::default()
        }
    }

    /// `path (state)` of each entry.
    fn in_both(before: &Look, after: &Look) -> Vec<String> {
        let shown = |entry: &Entry| match &entry.kind {
            Kind::Tablespace { id, renamed_to, definition } => {
                let renamed = renamed_to.as_ref().map_or(String::new(), |path| format!(" → {path}"));
                format!("{id} {}{renamed} ({definition:?})", entry.path)
            }
            Kind::System | Kind::Undo => format!("{} ({:?})", entry.path, entry.kind),
            Kind::File { length } => format!("{} ({length:?})", entry.path),
        };
        before.and(after).entries.iter().map(shown).collect()
    }

    #[test]
    fn an_untouched_table_is_in_both() {
        let look = look(&[(7, "app/t.ibd")], &[("app/t.frm", 1, 1), ("app/db.opt", 2, 1)]);
        let known = ["7 app/t.ibd (Untouched { length: 900 })", "app/db.opt (Some(900))"];
        assert_eq!(in_both(&look, &look), known);
    }

    #[test]
    fn created_dropped_and_truncated_tables_are_in_neither() {
        let before = look(&[(7, "app/dropped.ibd"), (8, "app/emptied.ibd")], &[("app/dropped.frm", 1, 1)]);
        let after = look(&[(9, "app/made.ibd"), (10, "app/emptied.ibd")], &[("app/made.frm", 2, 2)]);
        assert_eq!(in_both(&before, &after), Vec::<String>::new());
    }

    #[test]
    fn a_renamed_table_keeps_its_id_and_needs_a_definition() {
        let before = look(&[(7, "app/a.ibd")], &[("app/a.frm", 1, 1)]);
        let after = look(&[(7, "app/b.ibd")], &[("app/b.frm", 1, 2)]);
        assert_eq!(in_both(&before, &after), ["7 app/a.ibd → app/b.ibd (Changed)"]);
    }

    #[test]
    fn altering_in_place_or_renaming_back_changes_the_definition() {
        let before = look(&[(7, "app/a.ibd")], &[("app/a.frm", 1, 1)]);
        for (inode, changed) in [(1, 2), (2, 2)] {
            let after = look(&[(7, "app/a.ibd")], &[("app/a.frm", inode, changed)]);
            assert_eq!(in_both(&before, &after), ["7 app/a.ibd (Changed)"]);
        }
    }

    #[test]
    fn a_tablespace_without_a_definition_is_identified_by_its_id() {
        let look = look(&[(7, "app/FTS_01_CONFIG.ibd")], &[]);
        assert_eq!(in_both(&look, &look), ["7 app/FTS_01_CONFIG.ibd (Unknown)"]);
    }

    #[test]
    fn data_without_a_definition_are_left_out() {
        let look =
            look(&[], &[("app/z.MYD", 1, 1), ("app/a.frm", 2, 1), ("app/a.MYD", 3, 1), ("aria_log.00000001", 4, 1)]);
        let known = ["app/a.MYD (Some(900))", "app/a.frm (Some(900))", "aria_log.00000001 (None)"];
        assert_eq!(in_both(&look, &look), known);
    }

    /// The marks tell: the first was left alone, the second was written to.
    #[test]
    fn untouched_data_that_are_written_through_have_a_known_length() {
        let before = look(&[], &[("app/c.frm", 1, 1), ("app/c.CSV", 2, 1), ("app/d.frm", 3, 1), ("app/d.CSV", 4, 1)]);
        let after = look(&[], &[("app/c.frm", 1, 1), ("app/c.CSV", 2, 1), ("app/d.frm", 3, 1), ("app/d.CSV", 4, 2)]);
        let known = ["app/c.CSV (Some(900))", "app/c.frm (Some(900))", "app/d.CSV (None)", "app/d.frm (Some(900))"];
        assert_eq!(in_both(&before, &after), known);
    }

    #[test]
    fn partitions_share_a_definition() {
        let look = look(&[(7, "app/p#P#a.ibd"), (8, "app/p#P#b.ibd")], &[("app/p.frm", 1, 1), ("app/p.par", 2, 1)]);
        let known = [
            "7 app/p#P#a.ibd (Untouched { length: 900 })",
            "8 app/p#P#b.ibd (Untouched { length: 900 })",
            "app/p.par (Some(900))",
        ];
        assert_eq!(in_both(&look, &look), known);
    }

    #[test]
    fn other_engines_files_count_if_their_definition_is_the_same() {
        let before = look(&[], &[("app/a.frm", 1, 1), ("app/a.MAD", 2, 1), ("app/a.MAI", 3, 1)]);
        // Written to, or replaced by a repair.
        let after = look(&[], &[("app/a.frm", 1, 1), ("app/a.MAD", 2, 9), ("app/a.MAI", 4, 9)]);
        assert_eq!(in_both(&before, &after), ["app/a.MAD (None)", "app/a.MAI (None)", "app/a.frm (Some(900))"]);
        // Dropped and made again.
        let again = look(&[], &[("app/a.frm", 5, 9), ("app/a.MAD", 6, 9), ("app/a.MAI", 7, 9)]);
        assert_eq!(in_both(&before, &again), Vec::<String>::new());
        // Renamed to another name and back.
        let back = look(&[], &[("app/a.frm", 1, 9), ("app/a.MAD", 2, 9), ("app/a.MAI", 3, 9)]);
        assert_eq!(in_both(&before, &back), Vec::<String>::new());
    }

    #[test]
    fn files_without_a_definition_identify_themselves() {
        let before = look(&[], &[("aria_log_control", 1, 1), ("mysql/t_361.sdi", 2, 1)]);
        let after = look(&[], &[("aria_log_control", 1, 9), ("mysql/t_361.sdi", 3, 9)]);
        assert_eq!(in_both(&before, &after), ["aria_log_control (None)"]);
    }

    #[test]
    fn system_and_undo_files_are_identified_by_their_names() {
        let with = |system: &[&str], undo: &[&str]| Look {
            system_files: system.iter().map(|name| path(name)).collect(),
            undo_files: undo.iter().map(|name| path(name)).collect(),
            ..Look::default()
        };
        let (before, after) = (with(&["sys2", "sys1"], &["undo001", "undo002"]), with(&["sys2", "sys1"], &["undo001"]));
        assert_eq!(in_both(&before, &after), ["sys2 (System)", "sys1 (System)", "undo001 (Undo)"]);
    }
}
