//! Option files, read as the servers read them (mysys/my_default.c of both families; `handle_options` in my_getopt).
//!
//! A file that everybody may write is ignored, as the servers do. A group or a line that a server would refuse is none here:
//! the server says it better.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Far more than any configuration has had, in bytes of one file.
const LARGEST: u64 = 1 << 20;

/// How deep files may include each other. (mysys/my_default.c)
const DEPTH: usize = 10;

/// Files in all.
const FILES: usize = 1000;

/// A line of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// With `_` for `-`, and without `loose-`.
    pub name: String,
    /// `None` where there is no `=`.
    pub value: Option<String>,
}

/// Reads files one after the other; what comes later counts.
pub struct Reader<'a> {
    /// Whether the settings of a group count.
    is_wanted: &'a dyn Fn(&str) -> bool,
    settings: Vec<Setting>,
    /// What was read, by real names.
    seen: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub fn of(is_wanted: &'a dyn Fn(&str) -> bool) -> Reader<'a> {
        Reader { is_wanted, settings: Vec::new(), seen: Vec::new() }
    }

    /// What was found, in order.
    pub fn settings(self) -> Vec<Setting> {
        self.settings
    }

    /// Reads a file, and what it includes; nothing where there is none.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        self.file_below(path, 0)
    }

    /// Reads all `.cnf` files of a directory, by the order of their names, but for what was read already: servers come to a
    /// directory once.
    pub fn directory(&mut self, path: &Path) -> Result<()> {
        self.directory_below(path, 0, true)
    }

    fn directory_below(&mut self, path: &Path, depth: usize, only_new: bool) -> Result<()> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("listing {}", path.display())),
        };
        let mut files = Vec::new();
        for entry in entries {
            let file = entry.with_context(|| format!("listing {}", path.display()))?.path();
            if file.extension().is_some_and(|extension| extension == "cnf") {
                ensure!(files.len() < FILES, "{} holds more than {FILES} files", path.display());
                files.push(file);
            }
        }
        files.sort();
        for file in files {
            let is_known = || file.canonicalize().is_ok_and(|real| self.seen.contains(&real));
            if !only_new || !is_known() {
                self.file_below(&file, depth)?;
            }
        }
        Ok(())
    }

    fn file_below(&mut self, path: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH {
            return Ok(());
        }
        let Some(text) = read(path)? else { return Ok(()) };
        ensure!(self.seen.len() < FILES, "the server's configuration has more than {FILES} files");
        self.seen.extend(path.canonicalize());
        let mut is_wanted = false;
        for line in text.lines().map(str::trim) {
            if let Some(directive) = line.strip_prefix('!') {
                self.directive(directive, path, depth)?;
            } else if let Some(rest) = line.strip_prefix('[') {
                is_wanted = rest.split_once(']').is_some_and(|(group, _)| (self.is_wanted)(group.trim()));
            } else if is_wanted {
                self.settings.extend(setting(line));
            }
        }
        Ok(())
    }

    fn directive(&mut self, directive: &str, file: &Path, depth: usize) -> Result<()> {
        let (word, argument) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
        let place = file.parent().unwrap_or(Path::new("")).join(argument.trim());
        match word {
            "include" => self.file_below(&place, depth + 1),
            "includedir" => self.directory_below(&place, depth + 1, false),
            _ => Ok(()),
        }
    }
}

/// One line of a group; `None` where it says nothing.
pub fn setting(line: &str) -> Option<Setting> {
    let line = without_comment(line).trim();
    if line.is_empty() || line.starts_with([';', '#']) {
        return None;
    }
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name.trim(), Some(unquoted(value.trim()))),
        None => (line, None),
    };
    let name = name.replace('-', "_");
    let name = name.strip_prefix("loose_").map(str::to_owned).unwrap_or(name);
    (!name.is_empty()).then_some(Setting { name, value })
}

/// The groups that a text has, and the lines of each that say something; `!` lines are under the name `!`.
pub fn lines(text: &str) -> Vec<(String, String)> {
    let mut group = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(directive) = line.strip_prefix('!') {
            found.push(("!".to_owned(), directive.to_owned()));
        } else if let Some(rest) = line.strip_prefix('[') {
            group = rest.split(']').next().unwrap_or_default().trim().to_owned();
            found.push((group.clone(), String::new()));
        } else if setting(line).is_some() {
            found.push((group.clone(), line.to_owned()));
        }
    }
    found
}

/// A `#` begins a comment where it is in no quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut is_escaped) = (None, false);
    for (at, character) in line.char_indices() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if character == open && !is_escaped => quote = None,
            ('#', None) => return &line[..at],
            _ => {}
        }
        is_escaped = character == '\\' && quote.is_some() && !is_escaped;
    }
    line
}

/// Without the quotes around it, and with what backslashes stand for.
fn unquoted(value: &str) -> String {
    let inner = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    let mut plain = String::new();
    let mut characters = inner.unwrap_or(value).chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('r') => plain.push('\r'),
                Some('b') => plain.push('\u{8}'),
                Some('s') => plain.push(' '),
                Some(quoted @ ('"' | '\'' | '\\')) => plain.push(quoted),
                Some(other) => plain.extend(['\\', other]),
                None => plain.push('\\'),
            },
            other => plain.push(other),
        }
    }
    plain
}

/// A file's text; `None` where there is none, or one that servers ignore.
fn read(path: &Path) -> Result<Option<String>> {
    let reading = || format!("reading {}", path.display());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(reading),
    };
    let kind = metadata.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() {
        bail!("{} is no file: a server that reads it may wait for ever; remove it", path.display());
    }
    if !metadata.is_file() || metadata.permissions().mode() & 0o002 != 0 {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).with_context(reading)?;
    if bytes.len() as u64 > LARGEST {
        bail!(
            "{} has more than {LARGEST} bytes: make it shorter, or move parts of it to a file beside it",
            path.display()
        );
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_mysqld(directory: &Path) -> Vec<(String, Option<String>)> {
        let is_wanted = |group: &str| group == "mysqld";
        let mut reader = Reader::of(&is_wanted);
        reader.file(&directory.join("my.cnf")).unwrap();
        reader.directory(&directory.join("conf.d")).unwrap();
        reader.settings().into_iter().map(|setting| (setting.name, setting.value)).collect()
    }

    fn pair(name: &str, value: &str) -> (String, Option<String>) {
        (name.to_owned(), Some(value.to_owned()))
    }

    #[test]
    fn lines_as_servers_take_them() {
        let value = |line: &str| setting(line).map(|setting| (setting.name, setting.value));
        assert_eq!(value("innodb-page-size = 8k # small"), Some(pair("innodb_page_size", "8k")));
        assert_eq!(value("loose-log_bin=\"binlogs/a b#c\" # not yet"), Some(pair("log_bin", "binlogs/a b#c")));
        assert_eq!(value(r"x = 'it''s' "), Some(pair("x", "it''s")));
        assert_eq!(value(r"x = a\sb\\c"), Some(pair("x", "a b\\c")));
        assert_eq!(value("log-bin"), Some(("log_bin".to_owned(), None)));
        assert_eq!(value("log_bin ="), Some(pair("log_bin", "")));
        for nothing in ["", "  ", "# x=1", ";x=1", "   #"] {
            assert_eq!(value(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn includes_are_followed_by_the_order_of_names_and_once() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("my.cnf", "[mysqld]\na=1\n!include more.cnf\nb=2\n!includedir conf.d\n[client]\nc=3\n");
        write("more.cnf", "[mysqld]\nd=4\n!include my.cnf\n");
        write("conf.d/2.cnf", "[ mysqld ]\ne=6\n");
        write("conf.d/1.cnf", "[mysqld]\ne=5\n");
        write("conf.d/0.cnf.off", "[mysqld]\ne=7\n");
        let found = of_mysqld(directory.path());
        assert_eq!(found[..2], [pair("a", "1"), pair("d", "4")]);
        assert_eq!(found.last(), Some(&pair("e", "6")));
        let without_main = tempfile::tempdir().unwrap();
        assert_eq!(of_mysqld(without_main.path()), []);
        std::fs::create_dir(without_main.path().join("conf.d")).unwrap();
        std::fs::write(without_main.path().join("conf.d/x.cnf"), "[mysqld]\nx\n").unwrap();
        assert_eq!(of_mysqld(without_main.path()), [("x".to_owned(), None)]);
    }

    #[test]
    fn what_everybody_may_write_is_ignored_and_what_is_far_too_long_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("my.cnf");
        std::fs::write(&file, "[mysqld]\nx=1\n").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
        assert_eq!(of_mysqld(directory.path()), []);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        File::options().write(true).open(&file).unwrap().set_len(3000 << 20).unwrap();
        let is_wanted = |_: &str| true;
        let error = Reader::of(&is_wanted).file(&file).unwrap_err().to_string();
        assert!(error.contains("my.cnf has more than"), "{error}");
    }

    #[test]
    fn what_is_no_file_of_options_ends_no_start_without_a_word() {
        let directory = tempfile::tempdir().unwrap();
        let conf_d = directory.path().join("conf.d");
        std::fs::create_dir_all(conf_d.join("directory.cnf")).unwrap();
        std::os::unix::fs::symlink("/dev/null", conf_d.join("masked.cnf")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", conf_d.join("dangling.cnf")).unwrap();
        std::fs::write(conf_d.join("garbage.cnf"), [0, 255, 91, 10, 128]).unwrap();
        std::fs::write(conf_d.join("loop.cnf"), "!include loop.cnf\n!includedir ../conf.d\n[mysqld]\nx=1\n").unwrap();
        let is_wanted = |_: &str| true;
        // Each file of the directory reads the whole of it again, ten deep.
        let read = || Reader::of(&is_wanted).directory(&conf_d);
        let error = read().unwrap_err().to_string();
        assert!(error.contains("more than 1000 files"), "{error}");
        std::fs::write(conf_d.join("loop.cnf"), "!include loop.cnf\n[mysqld]\nx=1\n").unwrap();
        read().unwrap();
        let made = std::process::Command::new("mkfifo").arg(conf_d.join("pipe.cnf")).status().unwrap();
        assert!(made.success());
        let error = read().unwrap_err().to_string();
        assert!(error.contains("pipe.cnf is no file"), "{error}");
    }
}
