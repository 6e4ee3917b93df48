//! Tests that are left out on a server without their needs.
//!
//! [`needs!`](crate::needs!) stands first in such a test and ends it. The runner counts that test as passed. So `make`
//! asks first ([`of_program`]), and has the runner skip those tests. All of them are listed at the end.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::pods::servers::tested;
use crate::project;

/// A subject of a test that only some servers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A tool beside the server: its stream, options, locks and sessions can break a clone.
    BackupTool,
    /// A server that can copy another by itself.
    ClonePlugin,
    /// Replicas that find their place in another primary's log, and know its transactions that they lack.
    Gtid,
    /// MariaDB's record of a replica's place: two files and `gtid_slave_pos`.
    MariadbsPlaces,
    /// Replicas that find their place in their primary's log by its file and offset.
    PlacesInTheLog,
    /// MariaDB's statements for accounts, or an image that upgrades accounts' tables with a server of its own.
    MariadbsAccounts,
    /// Plugins of a server's whole package, which the package of its program alone may lack.
    Plugins,
    /// MySQL's plugin `sha256_password`.
    Sha256Password,
    /// The tutorial's pipeline, with the options of one version of MariaDB's tool.
    Tutorial,
    /// A kernel that has IPv6.
    Ipv6,
    /// MariaDB's plugin that reads the keys of encrypted data from a file.
    KeyPlugin,
}

impl Needs {
    const ALL: [Needs; 11] = [
        Needs::BackupTool,
        Needs::ClonePlugin,
        Needs::Gtid,
        Needs::MariadbsPlaces,
        Needs::PlacesInTheLog,
        Needs::MariadbsAccounts,
        Needs::Plugins,
        Needs::Sha256Password,
        Needs::Tutorial,
        Needs::Ipv6,
        Needs::KeyPlugin,
    ];

    fn named(name: &str) -> Result<Needs> {
        let found = Needs::ALL.into_iter().find(|needs| format!("{needs:?}") == name);
        found.with_context(|| format!("needs!({name}): there is no such need"))
    }
}

/// A test by its name in the runner, and its need.
#[derive(Debug, PartialEq, Eq)]
pub struct Test {
    pub name: String,
    pub needs: Option<Needs>,
}

/// The tests of `tests/PROGRAM/`, read from its sources.
pub fn of_program(program: &str) -> Result<Vec<Test>> {
    let directory = project().join("tests").join(program);
    let mut tests = Vec::new();
    for file in sources(&directory)? {
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        tests.extend(of_source(&module(file.strip_prefix(&directory)?), &text)?);
    }
    ensure!(!tests.is_empty(), "{} holds no test", directory.display());
    Ok(tests)
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The names of a file's modules: `rehearsal/kills.rs` is `rehearsal::kills`.
fn module(file: &Path) -> String {
    let stem = file.with_extension("");
    let names = stem.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "mod" && name != "main").collect::<Vec<_>>().join("::")
}

fn of_source(module: &str, text: &str) -> Result<Vec<Test>> {
    let mut tests: Vec<Test> = Vec::new();
    let mut is_test = false;
    for line in text.lines() {
        let function = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        let need = line.trim().strip_prefix("needs!(").and_then(|rest| rest.strip_suffix(");"));
        if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = function.filter(|_| std::mem::take(&mut is_test)) {
            let name = if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") };
            tests.push(Test { name, needs: None });
        } else if let Some(need) = need {
            let test = tests.last_mut().with_context(|| format!("{module}: needs!({need}) is in no test"))?;
            test.needs = Some(Needs::named(need)?);
        }
    }
    Ok(tests)
}

/// Whether a test has to be left out. If so, it reports that outside the test runner's capture, and notes it
/// ([`note`]).
pub fn left_out(test: &str, needs: Needs) -> bool {
    let Some(why) = tested().lacks(needs) else { return false };
    let because = note(test, why);
    let _ = writeln!(std::io::stderr(), "{test}: {because}");
    true
}

/// Notes a test that is left out in the file that `NOT_TESTED` names, for `tests/on-servers.sh`. Returns the note.
pub fn note(test: &str, why: &str) -> String {
    let because = format!("left out on {}, for {why}", tested().title());
    if let Some(path) = std::env::var_os("NOT_TESTED") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        // In a single write: other tests write to it too.
        let line = format!("{because}\t{test}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file that NOT_TESTED names");
    }
    because
}

/// Ends a test whose subject the tested server lacks. It is the first statement of the test.
#[macro_export]
macro_rules! needs {
    ($what:ident) => {
        fn here() {}
        let test = std::any::type_name_of_val(&here).trim_end_matches("::here");
        if $crate::needs::left_out(test, $crate::needs::Needs::$what) {
            return Ok(());
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_modules_are_its_path() {
        for (file, name) in [("main.rs", ""), ("faults.rs", "faults"), ("rehearsal/mod.rs", "rehearsal")] {
            assert_eq!(module(Path::new(file)), name);
        }
        assert_eq!(module(Path::new("rehearsal/kills.rs")), "rehearsal::kills");
    }

    #[test]
    fn a_need_belongs_to_its_enclosing_test() {
        let text = "fn helper() {}\n#[test]\nfn one() -> Result<()> {\n    needs!(Gtid);\n}\n\n#[test]\nfn two() {}\n";
        let test = |name: &str, needs| Test { name: name.to_owned(), needs };
        let expected = [test("faults::one", Some(Needs::Gtid)), test("faults::two", None)];
        assert_eq!(of_source("faults", text).expect("tests"), expected);
        assert!(of_source("faults", "    needs!(Gtid);").is_err());
        assert!(of_source("faults", "#[test]\nfn one() {\n    needs!(Luck);\n").is_err());
    }
}
