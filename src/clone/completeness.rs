//! Whether a prepared copy holds all that an inventory lists.
//!
//! Only after prepare: before it a good copy has files that are all zeros, and names that prepare changes.

mod first_page;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::{DirEntry, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::Builder;

use rustix::fs::{Advice, fadvise};

use crate::protocol::inventory::{Definition, Entry, Inventory, Kind, definition_of};
use crate::unpack::path::MemberPath;
use first_page::FirstPage;

/// Files are opened by so many threads: most of the time goes into waiting for the disk.
const THREADS: usize = 4;

/// Directories below a copy that are looked into, one in the other.
const DEPTH: usize = 8;

/// Ends of names of tablespaces.
const TABLESPACES: [&[u8]; 2] = [b".ibd", b".ibu"];

/// Ends of names of other engines' files that a table has.
const OF_TABLES: [&[u8]; 9] = [b".MAD", b".MAI", b".MYD", b".MYI", b".CSV", b".CSM", b".ARZ", b".MRG", b".par"];

/// How the definition of a view begins. (`view_file_type` in sql/sql_view.cc)
const VIEW: &[u8] = b"TYPE=VIEW";

/// What lies in a copy.
#[derive(Debug, Default)]
pub struct Copy {
    /// Lengths of all files.
    lengths: BTreeMap<MemberPath, u64>,
    /// What the first pages of those that may be tablespaces say.
    first_pages: HashMap<MemberPath, Result<FirstPage, String>>,
    /// Definitions that say of themselves that they are views'.
    views: HashSet<MemberPath>,
    /// Where each id was found. A copy may have left-overs that have an id too.
    by_id: HashMap<u32, Vec<MemberPath>>,
}

/// What came of a check.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Whole,
    /// It lacks something.
    Lacking {
        /// The first that was found, in words.
        first: String,
        count: usize,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Whole => f.write_str("the copy holds all that the donor held before and after it"),
            Verdict::Lacking { first, count } => {
                write!(f, "the copy lacks what the donor held before and after it: {first}")?;
                if *count > 1 { write!(f, "; and {} more", count - 1) } else { Ok(()) }
            }
        }
    }
}

impl Copy {
    /// Looks at each file of a copy once.
    pub fn of(directory: &Path, inventory: &Inventory) -> io::Result<Copy> {
        let mut lengths = BTreeMap::new();
        list(directory, &[], 0, &mut lengths)?;
        let mut named = HashSet::new();
        for entry in inventory.entries.iter().filter(|entry| matches!(entry.kind, Kind::System | Kind::Undo)) {
            named.extend(places(&entry.path));
        }
        let may_be = |path: &&MemberPath| named.contains(path) || TABLESPACES.iter().any(|end| path.ends_with(end));
        let paths: Vec<&MemberPath> = lengths.keys().filter(may_be).collect();
        let pages = in_parallel(&paths, |path| read(&directory.join(path.as_os_str())))?;
        let read: Vec<_> = paths.into_iter().cloned().zip(pages).collect();
        let definitions: Vec<&MemberPath> = lengths.keys().filter(|path| path.ends_with(b".frm")).collect();
        let are_views = in_parallel(&definitions, |path| is_view(&directory.join(path.as_os_str())))?;
        let views = definitions.into_iter().zip(are_views).filter(|(_, is_view)| *is_view);
        let views = views.map(|(path, _)| path.clone()).collect();
        Ok(Copy { views, ..Copy::with(lengths, read) })
    }

    fn with(lengths: BTreeMap<MemberPath, u64>, pages: Vec<(MemberPath, Result<FirstPage, String>)>) -> Copy {
        let mut by_id: HashMap<u32, Vec<MemberPath>> = HashMap::new();
        for (path, page) in &pages {
            if let Ok(page) = page {
                by_id.entry(page.id).or_default().push(path.clone());
            }
        }
        Copy { lengths, first_pages: pages.into_iter().collect(), by_id, views: HashSet::new() }
    }

    /// Compares it with what it must hold.
    pub fn compare(&self, inventory: &Inventory) -> Verdict {
        let mut faults = Faults::default();
        let names = names_in(inventory);
        let mut system = Vec::new();
        for Entry { path, kind } in &inventory.entries {
            match kind {
                Kind::Tablespace { id, renamed_to, definition } => {
                    let wanted = Wanted { id: *id, path, renamed_to: renamed_to.as_ref(), definition: *definition };
                    faults.take(self.tablespace(&wanted, inventory.keeps_definitions, &names));
                }
                Kind::System => system.push(path),
                Kind::Undo => faults.take(self.undo(path, inventory)),
                Kind::File { length } => {
                    let is_tables = OF_TABLES.iter().any(|end| path.ends_with(end));
                    faults.take(self.file(path, *length).and_then(|()| self.no_view(path, is_tables)));
                }
            }
        }
        faults.take(self.system(&system));
        faults.into()
    }

    fn tablespace(
        &self,
        wanted: &Wanted<'_>,
        keeps_definitions: bool,
        names: &HashSet<&MemberPath>,
    ) -> Result<(), String> {
        let found = self.by_id.get(&wanted.id).map_or(&[][..], Vec::as_slice);
        let is_named = |path: &&MemberPath| *path == wanted.path || Some(*path) == wanted.renamed_to;
        // Renamed twice in the time of the copy, and in between when the copy ended. No other table has that name, and the
        // definition went along.
        let is_between = |path: &&MemberPath| {
            !names.contains(*path)
                && (!keeps_definitions || wanted.definition == Definition::Changed && self.has_definition(path))
        };
        let path = match found.iter().find(is_named).or_else(|| found.iter().find(is_between)) {
            Some(path) => path,
            None => return Err(self.what_is_there_instead(wanted, found.first())),
        };
        if let Some(Ok(page)) = self.first_pages.get(path) {
            must_have(path, self.length(path), page.least_length())?;
        }
        self.no_view(path, wanted.definition != Definition::Unknown)?;
        match wanted.definition {
            Definition::Unknown => Ok(()),
            Definition::Changed if self.has_definition(path) => Ok(()),
            Definition::Changed => Err(format!("{path} is there without the definition of its table (.frm)")),
            Definition::Untouched { length } => match definition_of(path) {
                Some(definition) => self.file(&definition, Some(length)),
                None => Err(format!("{path} can have no definition")),
            },
        }
    }

    fn what_is_there_instead(&self, wanted: &Wanted<'_>, found: Option<&MemberPath>) -> String {
        let path = wanted.path;
        match (found, self.first_pages.get(path)) {
            (Some(place), _) => format!("{path} lies at {place}"),
            (None, Some(Err(why))) => format!("{path} is no tablespace: {why}"),
            (None, Some(Ok(page))) => format!("{path} has the tablespace id {} in the place of {}", page.id, wanted.id),
            (None, None) => format!("{path} is missing"),
        }
    }

    /// Its id is not the donor's for certain, for a truncation gives it another. But it has one that no other has.
    fn undo(&self, path: &MemberPath, inventory: &Inventory) -> Result<(), String> {
        let place = self.place_of(path)?;
        let page = self.first_page(&place)?;
        let is_of_others = |entry: &Entry| match &entry.kind {
            Kind::Tablespace { id, .. } => *id == page.id,
            Kind::Undo if entry.path != *path => self.id_of(&entry.path) == Some(page.id),
            _ => false,
        };
        let other = inventory.entries.iter().find(|entry| is_of_others(entry)).map(|entry| entry.path.to_string());
        let system = || "the system tablespace".to_owned();
        if let Some(other) = other.or_else(|| (page.id == 0).then(system)) {
            return Err(format!("{path} has the tablespace id {} of {other}", page.id));
        }
        must_have(path, self.length(&place), page.least_length())
    }

    fn id_of(&self, path: &MemberPath) -> Option<u32> {
        self.place_of(path).and_then(|place| self.first_page(&place)).ok().map(|page| page.id)
    }

    /// The first file has the header, and says how long all of them are.
    fn system(&self, paths: &[&MemberPath]) -> Result<(), String> {
        let places = paths.iter().map(|path| self.place_of(path)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = places.first() else { return Ok(()) };
        let page = self.first_page(first)?;
        if page.id != 0 {
            return Err(format!("{first} has the tablespace id {} in the place of 0", page.id));
        }
        let length = places.iter().map(|place| self.length(place)).fold(0, u64::saturating_add);
        must_have(first, length, page.least_length())
    }

    fn file(&self, path: &MemberPath, length: Option<u32>) -> Result<(), String> {
        match (self.lengths.get(path), length.map(u64::from)) {
            (None, _) => Err(format!("{path} is missing")),
            (Some(found), Some(length)) if *found != length => {
                Err(format!("{path} has {found} bytes in the place of {length}"))
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// What holds a table's rows has a table's definition.
    fn no_view(&self, path: &MemberPath, is_tables: bool) -> Result<(), String> {
        match definition_of(path).filter(|definition| is_tables && self.views.contains(definition)) {
            Some(definition) => Err(format!("{definition} defines a view, and {path} holds a table's rows")),
            None => Ok(()),
        }
    }

    fn has_definition(&self, path: &MemberPath) -> bool {
        definition_of(path).is_some_and(|definition| self.lengths.get(&definition).is_some_and(|length| *length > 0))
    }

    fn length(&self, path: &MemberPath) -> u64 {
        self.lengths.get(path).copied().unwrap_or_default()
    }

    fn first_page(&self, path: &MemberPath) -> Result<FirstPage, String> {
        match self.first_pages.get(path) {
            Some(Ok(page)) => Ok(*page),
            Some(Err(why)) => Err(format!("{path} is no tablespace: {why}")),
            None => Err(format!("{path} was not read")),
        }
    }

    fn place_of(&self, path: &MemberPath) -> Result<MemberPath, String> {
        let place = places(path).find(|place| self.lengths.contains_key(place));
        place.ok_or_else(|| format!("{path} is missing"))
    }
}

/// A tablespace to be looked for.
struct Wanted<'a> {
    id: u32,
    path: &'a MemberPath,
    renamed_to: Option<&'a MemberPath>,
    definition: Definition,
}

/// Where a file of the system's may lie: the backup tools put those at the top that a server keeps in a directory.
fn places(path: &MemberPath) -> impl Iterator<Item = MemberPath> {
    let at_top = MemberPath::new(path.split().1.as_encoded_bytes()).ok();
    [Some(path.clone()), at_top].into_iter().flatten()
}

fn names_in(inventory: &Inventory) -> HashSet<&MemberPath> {
    let mut names = HashSet::new();
    for entry in &inventory.entries {
        names.insert(&entry.path);
        if let Kind::Tablespace { renamed_to: Some(later), .. } = &entry.kind {
            names.insert(later);
        }
    }
    names
}

fn must_have(path: &MemberPath, length: u64, least: u64) -> Result<(), String> {
    if length < least { Err(format!("{path} has {length} bytes of {least}")) } else { Ok(()) }
}

#[derive(Default)]
struct Faults {
    first: Option<String>,
    count: usize,
}

impl Faults {
    fn take(&mut self, outcome: Result<(), String>) {
        if let Err(fault) = outcome {
            self.first.get_or_insert(fault);
            self.count += 1;
        }
    }
}

impl From<Faults> for Verdict {
    fn from(faults: Faults) -> Verdict {
        match faults.first {
            None => Verdict::Whole,
            Some(first) => Verdict::Lacking { first, count: faults.count },
        }
    }
}

/// Lists the files below a directory. What is no file of a name that a backup could bring is none of the donor's.
fn list(directory: &Path, parent: &[u8], depth: usize, lengths: &mut BTreeMap<MemberPath, u64>) -> io::Result<()> {
    let name = |entry: &DirEntry| [parent, entry.file_name().as_bytes()].concat();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < DEPTH {
            list(&entry.path(), &[&name(&entry), &b"/"[..]].concat(), depth + 1, lengths)?;
        } else if kind.is_file()
            && let Ok(path) = MemberPath::new(&name(&entry))
        {
            lengths.insert(path, entry.metadata()?.len());
        }
    }
    Ok(())
}

/// Does the same with each path, on some threads.
fn in_parallel<T: Send>(paths: &[&MemberPath], of: impl Fn(&MemberPath) -> T + Sync) -> io::Result<Vec<T>> {
    let share = paths.len().div_ceil(THREADS).max(1);
    let mut all = Vec::with_capacity(paths.len());
    std::thread::scope(|scope| {
        let of = &of;
        let begin = |share| Builder::new().spawn_scoped(scope, move || all_of(share, of));
        let working: Vec<_> = paths.chunks(share).map(begin).collect();
        for share in working {
            all.extend(share?.join().map_err(|_| io::Error::other("a thread that reads files has panicked"))?);
        }
        Ok(all)
    })
}

fn all_of<T>(paths: &[&MemberPath], of: impl Fn(&MemberPath) -> T) -> Vec<T> {
    paths.iter().map(|path| of(path)).collect()
}

/// One that can't be read is noticed elsewhere.
fn is_view(path: &Path) -> bool {
    let mut head = [0; VIEW.len()];
    File::open(path).and_then(|file| file.read_exact_at(&mut head, 0)).is_ok() && head == VIEW
}

/// Nothing is read ahead: of many files a few bytes are needed.
fn read(path: &Path) -> Result<FirstPage, String> {
    let bytes = File::open(path).and_then(|file| {
        fadvise(&file, 0, None, Advice::Random)?;
        let mut bytes = [0; first_page::LENGTH];
        file.read_exact_at(&mut bytes, 0).map(|()| bytes)
    });
    match bytes {
        Ok(bytes) => FirstPage::of(&bytes).map_err(str::to_owned),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err("it is too short for a page".to_owned()),
        Err(error) => Err(format!("it can't be read: {error}")),
    }
}

#[cfg(test)]
mod tests;
