//! Keeps the open members of a stream, and applies renames and removals to the others.

use std::collections::{BTreeSet, HashMap};

use super::ddl_replay::{self, Lost};
use super::path::MemberPath;
use super::sink::{OPEN_FILES, Open, Sink, SinkFile};
use super::xbstream::Flavour;
use super::{UnpackError, malformed};

/// All open members, by the names of their files.
pub struct Members<'a> {
    sink: &'a Sink,
    flavour: Flavour,
    open: HashMap<MemberPath, SinkFile>,
    lost: Lost,
    /// Names that the tool's log of changes has encoded twice, in their correct spelling.
    misspelt: BTreeSet<MemberPath>,
}

impl Members<'_> {
    pub fn new(sink: &Sink, flavour: Flavour) -> Members<'_> {
        Members { sink, flavour, open: HashMap::new(), lost: Lost::default(), misspelt: BTreeSet::new() }
    }

    /// The member for a chunk with bytes. Its file is created at the first one.
    pub fn opened(&mut self, path: &MemberPath, how: Open) -> Result<&mut SinkFile, UnpackError> {
        if !self.open.contains_key(path) {
            if self.open.len() >= OPEN_FILES {
                return malformed(format!("more than {OPEN_FILES} files are open at once"));
            }
            self.open.insert(path.clone(), self.sink.create(path, how)?);
        }
        self.already_open(path)
    }

    /// A member that is already open.
    pub fn already_open(&mut self, path: &MemberPath) -> Result<&mut SinkFile, UnpackError> {
        let Some(file) = self.open.get_mut(path) else {
            return malformed(format!("a seek in {path}, which is not open"));
        };
        Ok(file)
    }

    /// Ends a member. Without any bytes it becomes an empty file.
    pub fn end(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        let file = match self.open.remove(path) {
            Some(file) => file,
            None => self.sink.create(path, self.how_empty(path)?)?,
        };
        self.lost.came(path);
        file.finish()
    }

    /// mariadb-backup copies some files again after their table's definition. It marks their data as a
    /// replacement, except for an empty file.
    fn how_empty(&self, path: &MemberPath) -> Result<Open, UnpackError> {
        let (Flavour::MariaDb, Some(definition)) = (self.flavour, ddl_replay::definition_of(path)) else {
            return Ok(Open::New);
        };
        let is_copied_again = self.sink.has(path)? && self.sink.has(&definition)?;
        Ok(if is_copied_again { Open::Replace } else { Open::New })
    }

    /// Renames a file. The new name must be free, because the tool's log has renamed or removed its earlier
    /// owner.
    pub fn rename(&mut self, from: &MemberPath, to: &MemberPath) -> Result<(), UnpackError> {
        for name in [from, to] {
            self.must_be_closed(name)?;
        }
        self.lost.said_of(from)?;
        self.note_misspelt(from)?;
        let (has_from, has_to) = (self.sink.has(from)?, self.sink.has(to)?);
        if has_from && has_to {
            return malformed(format!(
                "{from} is renamed to {to}, but both exist: tables were renamed and created during the backup; \
                 another backup will have them"
            ));
        }
        if has_to {
            self.lost.found(from, to);
            return Ok(());
        }
        if !self.sink.rename(from, to)? {
            return self.lost.renamed(from, to);
        }
        let definition = ddl_replay::definition_of(from).filter(|definition| definition != from);
        let is_reused = definition.map_or(Ok(false), |definition| self.sink.has(&definition))?;
        self.lost.moved(from, to, is_reused)
    }

    /// Removes a table, a database with its contents, or partitions by a pattern.
    pub fn remove(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        self.must_be_closed(path)?;
        self.lost.said_of(path)?;
        self.note_misspelt(path)?;
        self.lost.removed(path);
        let mut gone = false;
        self.sink.remove(path, &mut |file| {
            gone = true;
            self.lost.gone(&file)
        })?;
        match ddl_replay::definition_of(path) {
            Some(definition) if gone && *path != definition && self.sink.has(&definition)? => {
                self.lost.emptied(definition)
            }
            _ => Ok(()),
        }
    }

    /// mariadb-backup 10.11 encodes the names of other engines' tables twice in its log of changes. The files of
    /// `a-b` are called `a@002db`, but the log has `a@0040002db`. So the change has no effect, and the old data
    /// stay beside the new definition.
    fn note_misspelt(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        if let Some(meant) = path.decoded_once().filter(|_| self.flavour == Flavour::MariaDb) {
            if self.misspelt.len() >= ddl_replay::MOST {
                return ddl_replay::too_many();
            }
            self.misspelt.insert(meant);
        }
        Ok(())
    }

    /// Fails at the stream's end if a member is open or lost.
    pub fn must_all_have_come(&self) -> Result<(), UnpackError> {
        if let Some(path) = self.open.keys().min() {
            return malformed(format!("it ends before the end of {path}"));
        }
        self.lost.check()?;
        for path in &self.misspelt {
            let definition = ddl_replay::definition_of(path);
            if self.sink.has(path)? || definition.map_or(Ok(false), |definition| self.sink.has(&definition))? {
                return malformed(format!(
                    "it reports a change of {path} during the backup under a wrong name, as the tool does with \
                     names that have to be encoded: another backup will have it"
                ));
            }
        }
        for definition in self.lost.without_data() {
            if self.sink.has(definition)? && !self.has_data(definition)? {
                return malformed(format!(
                    "it lacks the data of {definition}, whose engine or partitions were changed during the backup: \
                     another backup will have them"
                ));
            }
        }
        for definition in self.lost.doubtful() {
            if self.sink.has(definition)? && !self.is_innodbs(definition)? {
                return malformed(format!(
                    "it may have another table's data for {definition}, because tables exchanged that name during the \
                     backup: another backup will have the right ones"
                ));
            }
        }
        Ok(())
    }

    /// Whether a table has data. Data of an earlier InnoDB table of the same name are ignored.
    fn has_data(&self, definition: &MemberPath) -> Result<bool, UnpackError> {
        let is_stale = self.has_notes(definition)?;
        let counts =
            |path: &MemberPath| ddl_replay::is_data_of(definition, path) && !(is_stale && path.ends_with(b".ibd"));
        self.sink.has_beside(definition, counts)
    }

    /// InnoDB's tables are absent from the log that the tool replays.
    fn is_innodbs(&self, definition: &MemberPath) -> Result<bool, UnpackError> {
        let is_stale = self.has_notes(definition)?;
        let is_its = |path: &MemberPath| {
            ddl_replay::is_data_of(definition, path)
                && (path.ends_with(b".new") || !is_stale && path.ends_with(b".ibd"))
        };
        self.sink.has_beside(definition, is_its)
    }

    fn has_notes(&self, definition: &MemberPath) -> Result<bool, UnpackError> {
        let is_note = |path: &MemberPath| {
            ddl_replay::NOTES.iter().any(|note| path.ends_with(note))
                && ddl_replay::definition_of(path).as_ref() == Some(definition)
        };
        self.sink.has_beside(definition, is_note)
    }

    fn must_be_closed(&self, path: &MemberPath) -> Result<(), UnpackError> {
        match self.open.keys().filter(|open| path.means(open)).min() {
            Some(open) => malformed(format!("{open} is renamed or removed before its end")),
            None => Ok(()),
        }
    }
}
