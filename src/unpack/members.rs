//! The members of a stream that are open, and what may be done with those that aren't.

use std::collections::HashMap;

use super::compressed::{Compression, Memory};
use super::lost::Lost;
use super::member::Member;
use super::path::MemberPath;
use super::sink::{OPEN_FILES, Open, Sink};
use super::{UnpackError, malformed};

/// All of them, by the names of the files that they become.
pub struct Members<'a> {
    sink: &'a Sink,
    open: HashMap<MemberPath, Member>,
    memory: Memory,
    lost: Lost,
}

impl Members<'_> {
    pub fn new(sink: &Sink) -> Members<'_> {
        Members { sink, open: HashMap::new(), memory: Memory::default(), lost: Lost::default() }
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
            None => Member::create(self.sink, path, compression, Open::New, &self.memory)?,
        };
        member.check_compression(compression)?;
        self.lost.came(path);
        member.finish()
    }

    /// Replaces what has the new name: a table that is copied, altered and renamed over comes so.
    pub fn rename(&mut self, from: &MemberPath, to: &MemberPath) -> Result<(), UnpackError> {
        for name in [from, to] {
            self.must_be_closed(name)?;
        }
        if self.sink.rename(from, to)? || self.sink.has(to)? {
            self.lost.came(to);
            return Ok(());
        }
        self.lost.renamed(from, to)
    }

    /// A table, a database with all that is in it, or partitions by a pattern.
    pub fn remove(&mut self, path: &MemberPath) -> Result<(), UnpackError> {
        self.must_be_closed(path)?;
        self.lost.removed(path);
        self.sink.remove(path)
    }

    /// At the stream's end none may be open, and none lost.
    pub fn must_all_have_come(&self) -> Result<(), UnpackError> {
        match self.open.keys().min() {
            Some(path) => malformed(format!("it ends before the end of {path}")),
            None => self.lost.check(),
        }
    }

    fn must_be_closed(&self, path: &MemberPath) -> Result<(), UnpackError> {
        match self.open.keys().filter(|open| path.means(open)).min() {
            Some(open) => malformed(format!("{open} is renamed or removed before its end")),
            None => Ok(()),
        }
    }
}
