//! The members of a stream that are open, and what may be done with those that aren't.

use std::collections::{BTreeSet, HashMap};

use super::compressed::{Compression, Memory};
use super::ddl_replay::{self, Lost};
use super::member::Member;
use super::path::MemberPath;
use super::sink::{OPEN_FILES, Open, Sink};
use super::xbstream::Flavour;
use super::{UnpackError, malformed};

/// All of them, by the names of the files that they become.
pub struct Members<'a> {
    sink: &'a Sink,
    flavour: Flavour,
    open: HashMap<MemberPath, Member>,
    memory: Memory,
    lost: Lost,
    /// Names that the tool's log of changes has encoded twice, as they should be.
    misspelt: BTreeSet<MemberPath>,
}

impl Members<'_> {
    pub fn new(sink: &Sink, flavour: Flavour) -> Members<'_> {
        Members {
            sink,
            flavour,
            open: HashMap::new(),
            memory: Memory::default(),
            lost: Lost::default(),
            misspelt: BTreeSet::new(),
        }
    }

    /// The member of a chunk that brings bytes; its file is made with the first of them.
    pub fn opened(
        &mut self,
        path: &MemberPath,
        compression: Option<Compression>,
        how: Open,
    ) -> Result<&mut Member, UnpackError> {
        if !self.open.contains_key(path) {
            if self.open.len() >= OPEN_FILES {
                return malformed(format!("more than {OPEN_FILES} files are open at once"));
            }
            let member = Member::create(self.sink, path, compression, how, &self.memory)?;
            self.open.insert(path.clone(), member);
        }
        self.already_open(path, compression)
    }

    /// One that is open already.
    pub fn already_open(
        &mut self,
        path: &MemberPath,
        compression: Option<Compression>,
    ) -> Result<&mut Member, UnpackError> {
        let Some(member) = self.open.get_mut(path) else {
            return malformed(format!("a seek in {path}, which is not open"));
        };
        member.check_compression(compression)?;
        Ok(member)
    }

    /// Nothing more comes of this one; where nothing came at all, it is an empty file.
    pub fn end(&mut self, path: &MemberPath, compression: Option<Compression>) -> Result<(), UnpackError> {
        let member = match self.open.remove(path) {
            Some(member) => member,
            None => Member::create(self.sink, path, compression, self.how_empty(path)?, &self.memory)?,
        };
        member.check_compression(compression)?;
        self.lost.came(path);
        member.finish()
    }

    /// mariadb-backup says of the data of a file that it copies again that they replace what came before, and of an empty
    /// one nothing. It copies again when the table's definition has come.
    fn how_empty(&self, path: &MemberPath) -> Result<Open, UnpackError> {
        let (Flavour::MariaDb, Some(definition)) = (self.flavour, ddl_replay::definition_of(path)) else {
            return Ok(Open::New);
        };
        let is_copied_again = self.sink.has(path)? && self.sink.has(&definition)?;
        Ok(if is_copied_again { Open::Replace } else { Open::New })
    }

    /// Nothing may have the new name: the log of renames that it is from has what had it removed or renamed before.
    pub fn rename(&mut self, from: &MemberPath, to: &MemberPath) -> Result<(), UnpackError> {
        for name in [from, to] {
            self.must_be_closed(name)?;
        }
        self.lost.said_of(from)?;
        self.note_misspelt(from)?;
        let (has_from, has_to) = (self.sink.has(from)?, self.sink.has(to)?);
        if has_from && has_to {
            return malformed(format!(
                "{from} is renamed to {to}, and both are there: tables were renamed and made while the backup was taken, \
                 another backup has them"
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

    /// A table, a database with all that is in it, or partitions by a pattern.
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

    /// mariadb-backup 10.11 encodes the names of other engines' tables twice when it says that they were changed. The files of
    /// `a-b` are called `a@002db`, and it says `a@0040002db`. The change is carried out on nothing, and the old data stay beside
    /// the new definition.
    fn note_misspelt(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        if let Some(meant) = path.decoded_once().filter(|_| self.flavour == Flavour::MariaDb) {
            if self.misspelt.len() >= ddl_replay::MOST {
                return ddl_replay::too_many();
            }
            self.misspelt.insert(meant);
        }
        Ok(())
    }

    /// At the stream's end none may be open, and none lost.
    pub fn must_all_have_come(&self) -> Result<(), UnpackError> {
        if let Some(path) = self.open.keys().min() {
            return malformed(format!("it ends before the end of {path}"));
        }
        self.lost.check()?;
        for path in &self.misspelt {
            let definition = ddl_replay::definition_of(path);
            if self.sink.has(path)? || definition.map_or(Ok(false), |definition| self.sink.has(&definition))? {
                return malformed(format!(
                    "it says of {path} by a wrong name that it was changed while the backup was taken, as the tool does with \
                     names that have to be encoded: another backup has it"
                ));
            }
        }
        for definition in self.lost.without_data() {
            if self.sink.has(definition)? && !self.has_data(definition)? {
                return malformed(format!(
                    "it lacks the data of {definition}, whose engine or partitions were changed while the backup was taken: \
                     another backup has them"
                ));
            }
        }
        for definition in self.lost.doubtful() {
            if self.sink.has(definition)? && !self.is_innodbs(definition)? {
                return malformed(format!(
                    "it may have another table's data for {definition}, whose name was given from table to table while the \
                     backup was taken: another backup has the right ones"
                ));
            }
        }
        Ok(())
    }

    /// Whether there are data of a table, and not only InnoDB's of one that had its name.
    fn has_data(&self, definition: &MemberPath) -> Result<bool, UnpackError> {
        let is_stale = self.has_notes(definition)?;
        let counts =
            |path: &MemberPath| ddl_replay::is_data_of(definition, path) && !(is_stale && path.ends_with(b".ibd"));
        self.sink.has_beside(definition, counts)
    }

    /// InnoDB's tables aren't in the log that the tool goes through.
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
