//! Random legal streams, with everything that the format allows and real writers seldom do.

use std::collections::{BTreeMap, BTreeSet};

use harness::dice::Dice;
use harness::xbstream::write::{REWRITE, end, payload, remove, rename, seek, sparse};
use mysqlset::unpack::Format;

use crate::tree;

/// A stream in the making.
pub struct Generator<'a> {
    dice: &'a mut Dice,
    format: Format,
    chunks: Vec<Vec<u8>>,
    open: BTreeMap<String, Open>,
    ended: BTreeSet<String>,
    /// The real tool makes no directory for the target of a rename.
    directories: BTreeSet<String>,
    /// At each end mark of a file, the real tool compares the last payload's checksum again. A rename overwrites that
    /// payload in its memory, so another payload must come between the two.
    renamed_since_payload: bool,
}

struct Open {
    flags: u8,
    position: u64,
}

/// Files open at once, as with `--parallel`.
const OPEN_AT_MOST: usize = 12;

impl<'a> Generator<'a> {
    /// The chunks of a stream of roughly this many steps.
    pub fn chunks(format: Format, steps: u64, dice: &'a mut Dice) -> Vec<Vec<u8>> {
        let mut generator = Generator {
            dice,
            format,
            chunks: Vec::new(),
            open: BTreeMap::new(),
            ended: BTreeSet::new(),
            directories: BTreeSet::from(["".to_owned()]),
            renamed_since_payload: false,
        };
        for _ in 0..steps {
            generator.step();
        }
        while !generator.open.is_empty() {
            generator.end();
        }
        generator.chunks
    }

    fn step(&mut self) {
        let maria_db = self.format == Format::XbstreamMariaDb;
        match self.dice.below(20) {
            0..3 => self.begin(),
            3..12 => self.payload(),
            12..14 => self.end(),
            14 => self.empty_file(),
            15..18 if !maria_db => self.sparse(),
            15 if maria_db => self.seek(),
            16 if maria_db => match self.dice.below(5) {
                0 => self.rename_a_missing_file(),
                _ => self.rename(),
            },
            17 if maria_db => match self.dice.below(5) {
                0 => self.remove_a_missing_file(),
                1 => self.remove_directory(),
                _ => self.remove(),
            },
            18 if maria_db => self.rewrite(),
            _ => {}
        }
    }

    fn begin(&mut self) {
        // A rewritten file may be new.
        let flags = if self.format == Format::XbstreamMariaDb && self.dice.below(8) == 0 { REWRITE } else { 0 };
        if let Some(name) = self.free_name() {
            self.open(name, flags);
        }
    }

    fn rewrite(&mut self) {
        if let Some(name) = pick(self.dice, self.ended.iter().cloned()) {
            self.ended.remove(&name);
            self.open(name, REWRITE);
        }
    }

    fn open(&mut self, name: String, flags: u8) {
        if self.open.len() == OPEN_AT_MOST {
            self.end();
        }
        let length = length(self.dice);
        self.open.insert(name.clone(), Open { flags, position: 0 });
        self.payload_of(&name, length);
    }

    fn payload(&mut self) {
        if let Some(name) = self.open_name() {
            let length = length(self.dice);
            self.payload_of(&name, length);
        }
    }

    fn payload_of(&mut self, name: &str, length: u64) {
        self.renamed_since_payload = false;
        let data = tree::contents(self.dice, length as usize);
        if let Some(file) = self.open.get_mut(name) {
            self.chunks.push(payload(file.flags, name.as_bytes(), file.position, &data));
            file.position += length;
        }
    }

    fn sparse(&mut self) {
        let Some(name) = self.open_name() else { return };
        let entries = 1 + self.dice.below(6);
        let map: Vec<(u32, u32)> =
            (0..entries).map(|_| (length(self.dice) as u32, length(self.dice) as u32 % (64 << 10))).collect();
        let (holes, bytes) = map.iter().fold((0, 0), |(holes, bytes), entry| (holes + entry.0, bytes + entry.1));
        let data = tree::contents(self.dice, bytes as usize);
        if let Some(file) = self.open.get_mut(&name) {
            self.chunks.push(sparse(name.as_bytes(), file.position, &map, &data));
            file.position += u64::from(holes) + u64::from(bytes);
        }
    }

    /// Except in an `.ibd`: where its bytes look like compressed pages, the real tool truncates the file after its last
    /// write.
    fn seek(&mut self) {
        let names: Vec<_> = self.open.keys().filter(|name| !name.contains(".ibd")).cloned().collect();
        let Some(name) = pick(self.dice, names.into_iter()) else { return };
        if let Some(file) = self.open.get_mut(&name) {
            file.position = self.dice.below(file.position + 300_000);
            self.chunks.push(seek(name.as_bytes(), file.position));
        }
    }

    fn end(&mut self) {
        let Some(name) = self.open_name() else { return };
        if self.renamed_since_payload {
            self.payload_of(&name, 1);
        }
        self.open.remove(&name);
        self.end_of(name);
    }

    fn empty_file(&mut self) {
        if !self.renamed_since_payload
            && let Some(name) = self.free_name()
        {
            self.end_of(name);
        }
    }

    fn end_of(&mut self, name: String) {
        self.chunks.push(end(name.as_bytes()));
        self.ended.insert(name);
    }

    /// A rename to a free name, or to one that is freed first.
    fn rename(&mut self) {
        let Some(from) = pick(self.dice, self.ended.iter().cloned()) else { return };
        let over = self.dice.below(3) == 0;
        let to = if over { pick(self.dice, self.ended.iter().cloned()) } else { self.free_name_in_a_directory() };
        if let Some(to) = to.filter(|to| *to != from) {
            if over {
                self.chunks.push(remove(to.as_bytes()));
            }
            self.chunks.push(rename(from.as_bytes(), to.as_bytes()));
            self.renamed_since_payload = true;
            self.ended.remove(&from);
            self.ended.insert(to);
        }
    }

    fn remove(&mut self) {
        if let Some(name) = pick(self.dice, self.ended.iter().cloned()) {
            self.chunks.push(remove(name.as_bytes()));
            self.ended.remove(&name);
        }
    }

    /// The server's log names the table, copied or not.
    fn rename_a_missing_file(&mut self) {
        let (from, to) = (tree::name(self.dice), tree::name(self.dice));
        if self.was_never(&from) && !self.directories.contains(&to) && !self.open.contains_key(&to) {
            self.chunks.push(rename(from.as_bytes(), to.as_bytes()));
            self.renamed_since_payload = true;
            // A table that comes under neither name would be reported as missing.
            if !self.ended.contains(&to) {
                self.chunks.push(remove(to.as_bytes()));
            }
        }
    }

    fn remove_a_missing_file(&mut self) {
        let name = tree::name(self.dice);
        if self.was_never(&name) {
            self.chunks.push(remove(name.as_bytes()));
        }
    }

    fn remove_directory(&mut self) {
        let directories: Vec<_> = self.directories.iter().filter(|name| !name.is_empty()).cloned().collect();
        let Some(directory) = pick(self.dice, directories.into_iter()) else { return };
        if !self.open.keys().any(|name| directory_of(name) == directory) {
            self.chunks.push(remove(directory.as_bytes()));
            self.ended.retain(|name| directory_of(name) != directory);
            self.directories.remove(&directory);
        }
    }

    fn was_never(&self, name: &str) -> bool {
        self.is_free(name) && !self.directories.contains(name)
    }

    fn open_name(&mut self) -> Option<String> {
        pick(self.dice, self.open.keys().cloned())
    }

    fn free_name(&mut self) -> Option<String> {
        let name = tree::name(self.dice);
        let free = self.is_free(&name);
        free.then(|| {
            self.directories.insert(directory_of(&name).to_owned());
            name
        })
    }

    fn free_name_in_a_directory(&mut self) -> Option<String> {
        let name = tree::name(self.dice);
        let there = self.is_free(&name) && self.directories.contains(directory_of(&name));
        there.then_some(name)
    }

    /// The definition of a table or trigger reveals a lost one. The real tool makes no such check.
    fn is_free(&self, name: &str) -> bool {
        let is_definition = [".frm", ".par", ".TRG", ".TRN"].iter().any(|suffix| name.ends_with(suffix));
        let is_asked_for = self.format == Format::XbstreamMariaDb && is_definition;
        !is_asked_for && !self.open.contains_key(name) && !self.ended.contains(name)
    }
}

fn directory_of(name: &str) -> &str {
    name.split_once('/').map_or("", |(directory, _)| directory)
}

fn pick<T>(dice: &mut Dice, from: impl ExactSizeIterator<Item = T>) -> Option<T> {
    let mut from = from;
    let count = from.len() as u64;
    if count == 0 { None } else { from.nth(dice.below(count) as usize) }
}

/// Mostly an odd length, often zero, now and then near the size of one write.
fn length(dice: &mut Dice) -> u64 {
    match dice.below(24) {
        0..3 => 0,
        3 => 1,
        4 => 511 + dice.below(3),
        5 => (4 << 10) - 1 + dice.below(3),
        6 => (128 << 10) - 1 + dice.below(3),
        7 => (256 << 10) - 1 + dice.below(3),
        8 if dice.below(8) == 0 => (1 << 20) - 1 + dice.below(3),
        _ => dice.below(9000),
    }
}
