//! The imports between the files of `src/`, read from their text: `use` lines, and paths in code.
//!
//! A re-export (`pub use`) is no import of its own: an item belongs to the file that defines it. Tests inside files do
//! not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file's path below the crate, as `clone::donor::relay`.
pub type Module = String;

pub struct Imports {
    texts: BTreeMap<Module, String>,
    /// From a module and a name to the path that the module re-exports under that name.
    exports: BTreeMap<(Module, String), String>,
}

impl Imports {
    pub fn of(source: &Path, files: &[std::path::PathBuf]) -> Imports {
        let mut texts = BTreeMap::new();
        for file in files {
            let module = module(source, file);
            let is_test =
                ["tests", "fake", "hostile_tests"].iter().any(|name| module.split("::").any(|part| part == *name));
            if !is_test && !["lib", "main"].contains(&module.as_str()) {
                texts.insert(module, code(&std::fs::read_to_string(file).expect("a file of the source")));
            }
        }
        let mut exports = BTreeMap::new();
        for (module, text) in &texts {
            for (is_public, path) in uses(text) {
                if let Some(name) = path.rsplit("::").next().filter(|_| is_public) {
                    exports.insert((module.clone(), name.to_owned()), path.clone());
                }
            }
        }
        Imports { texts, exports }
    }

    /// The imports of each module.
    pub fn edges(&self) -> BTreeMap<&str, BTreeSet<String>> {
        self.texts.keys().map(|module| (module.as_str(), self.imports_of(module))).collect()
    }

    fn imports_of(&self, module: &str) -> BTreeSet<String> {
        let text = &self.texts[module];
        let own: Vec<String> =
            uses(text).into_iter().filter(|(is_public, _)| !is_public).map(|(_, path)| path).collect();
        // Modules that this file calls by their last name.
        let mut known = BTreeMap::new();
        for path in &own {
            if let Some(path) = self.absolute(module, path).filter(|path| self.texts.contains_key(path)) {
                known.insert(path.rsplit("::").next().unwrap_or_default().to_owned(), path);
            }
        }
        let mut found = BTreeSet::new();
        for path in own.into_iter().chain(paths(text)) {
            let (first, rest) = path.split_once("::").unwrap_or((&path, ""));
            let path = match known.get(first) {
                Some(place) => Some(format!("{place}::{rest}")),
                None => self.absolute(module, &path),
            };
            if let Some(target) = path.and_then(|path| self.definer(&path, 0)).filter(|target| target != module) {
                found.insert(target);
            }
        }
        found
    }

    /// A path from the crate's root; `None` for one of another crate.
    fn absolute(&self, module: &str, path: &str) -> Option<String> {
        let path = path.trim_end_matches("::*").trim_end_matches("::self");
        if let Some(path) = path.strip_prefix("crate::") {
            return Some(path.to_owned());
        }
        let (mut base, mut rest) = (module, path.strip_prefix("self::").unwrap_or(path));
        while let Some(above) = rest.strip_prefix("super::") {
            (base, rest) = (base.rsplit_once("::").map_or("", |(base, _)| base), above);
        }
        if rest.len() < path.len() {
            return Some(format!("{base}::{rest}").trim_start_matches("::").to_owned());
        }
        let first = rest.split("::").next().unwrap_or_default();
        self.texts.contains_key(&format!("{module}::{first}")).then(|| format!("{module}::{rest}"))
    }

    /// The file that defines the target of a path.
    fn definer(&self, path: &str, depth: u8) -> Option<Module> {
        let parts: Vec<&str> = path.split("::").filter(|part| !part.is_empty()).collect();
        for end in (1..=parts.len()).rev() {
            let module = parts[..end].join("::");
            if !self.texts.contains_key(&module) {
                continue;
            }
            let export = parts.get(end).and_then(|name| self.exports.get(&(module.clone(), (*name).to_owned())));
            return match export.filter(|_| depth < 8).and_then(|path| self.absolute(&module, path)) {
                Some(path) => self.definer(&path, depth + 1),
                None => Some(module),
            };
        }
        None
    }
}

fn module(source: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(source).expect("below it").with_extension("");
    let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let parts = parts.strip_suffix(&["mod".to_owned()]).unwrap_or(&parts);
    parts.join("::")
}

/// The code alone: comments and the tests at the end are removed.
fn code(text: &str) -> String {
    let end =
        ["#[cfg(test)]\nmod tests", "#[cfg(test)]\npub mod tests"].iter().filter_map(|begin| text.find(begin)).min();
    let lines = text[..end.unwrap_or(text.len())].lines();
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths of `use` lines, and whether each is a re-export.
fn uses(text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for statement in statements(text) {
        let (visibility, tree) = statement.split_once("use ").unwrap_or_default();
        let mut paths = Vec::new();
        expand("", &tree.split_whitespace().collect::<Vec<_>>().join(" "), &mut paths);
        found.extend(paths.into_iter().map(|path| (visibility.trim_start().starts_with("pub"), path)));
    }
    found
}

/// `use` statements at the beginning of a line.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("use ").filter(|(at, _)| {
        let line = text[..*at].rsplit('\n').next().unwrap_or_default().trim();
        line.is_empty()
            || (line.starts_with("pub") && !line.contains(' '))
            || line.starts_with("pub(in ") && line.ends_with(')')
    });
    starts.map(|(at, _)| {
        let begin = text[..at].rfind('\n').map_or(0, |line| line + 1);
        let end = text[at..].find(';').map_or(text.len(), |end| at + end);
        &text[begin..end]
    })
}

fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        if !path.is_empty() {
            found.push(format!("{prefix}{path}"));
        }
        return;
    };
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let (mut depth, mut begin) = (0, 0);
    for (at, character) in body.char_indices().chain([(body.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&format!("{prefix}{}", head.trim()), body[begin..at].trim(), found);
                begin = at + 1;
            }
            _ => {}
        }
    }
}

/// Paths in code other than `use` lines: words that `::` joins.
fn paths(text: &str) -> Vec<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    let mut rest = text.to_owned();
    for statement in statements(text) {
        rest = rest.replace(statement, "");
    }
    let words = rest.split(|character| !is_part(character)).filter(|word| word.contains("::"));
    words.map(|word| word.trim_matches(':').to_owned()).collect()
}

/// Groups of modules that import each other, directly or through others.
pub fn knots(edges: &BTreeMap<&str, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reached = |from: &str| {
        let (mut reached, mut left) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(module) = left.pop() {
            for next in edges.get(module.as_str()).into_iter().flatten() {
                if reached.insert(next.clone()) {
                    left.push(next.clone());
                }
            }
        }
        reached
    };
    let all: BTreeMap<&str, BTreeSet<String>> = edges.keys().map(|module| (*module, reached(module))).collect();
    let mut knots: Vec<Vec<String>> = Vec::new();
    for (module, reached) in &all {
        let is_in = |other: &&String| all.get(other.as_str()).is_some_and(|back| back.contains(*module));
        let knot: Vec<String> = reached.iter().filter(is_in).cloned().collect();
        if knot.len() > 1 && !knots.contains(&knot) {
            knots.push(knot);
        }
    }
    knots
}
