//! The map in `src/lib.rs` holds: imports point down, no two files import each other, and knowledge stays in its place.

mod imports;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use imports::{Imports, knots};

/// The folders of `src/`, from top to bottom, as its map has them.
const FOLDERS: [&str; 14] = [
    "cli",
    "commands",
    "primary_loss",
    "replication",
    "accounts",
    "clone",
    "settings",
    "observe",
    "datadir",
    "server",
    "protocol",
    "unpack",
    "sys",
    "model",
];

/// Modules that may distinguish one tool or server from another.
const KNOWING: [&str; 2] = ["server", "clone/method/backup_tool"];

/// Words by which code would ask for a flavour, or be told of one.
const FLAVOURS: [&str; 4] = ["Dialect::Mariadb", "Dialect::Mysql", "Family::Mariadb", "Family::Percona"];

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the source").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Code that works on the stage and the data directory, where a link may be planted.
const HELD: [&str; 2] = ["datadir", "commands/clone"];

/// Ways to a file by its path, which would follow a link.
const BY_PATH: [&str; 7] =
    ["std::fs", "File::open", "File::create", "OpenOptions", "DirBuilder", "CWD", "os::unix::fs"];

/// The kernel's list of mounts lies outside the volume.
const NO_FILE_OF_THE_VOLUME: &str = r#"std::fs::read("/proc/self/mountinfo")"#;

#[test]
fn stage_and_data_directory_are_reached_by_held_directories_alone() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for part in HELD {
        let part = source.join(part);
        for file in if part.is_dir() { files(&part) } else { vec![part] } {
            if file.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).expect("a file of the source");
            let text =
                text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().replace(NO_FILE_OF_THE_VOLUME, "");
            let found: Vec<&str> = BY_PATH.into_iter().filter(|word| text.contains(word)).collect();
            assert!(found.is_empty(), "{} says {found:?}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} files");
}

#[test]
fn only_listed_modules_ask_for_the_flavour() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = [0, 0];
    for file in files(&source) {
        let text = std::fs::read_to_string(&file).expect("a file of the source");
        let knows = KNOWING.iter().any(|module| file.starts_with(source.join(module)));
        let asks: Vec<&str> = FLAVOURS.into_iter().filter(|word| text.contains(word)).collect();
        assert!(knows || asks.is_empty(), "{} says {asks:?}", file.display());
        found[usize::from(knows)] += asks.len();
    }
    assert!(found[1] > 0, "the list of words is outdated");
}

fn place(module: &str) -> usize {
    let folder = module.split("::").next().unwrap_or_default();
    FOLDERS.iter().position(|name| *name == folder).unwrap_or_else(|| panic!("{folder} is not in the map"))
}

#[test]
fn imports_point_down() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let imports = Imports::of(&source, &files(&source));
    let edges = imports.edges();
    let mut wrong = String::new();
    for (module, targets) in &edges {
        for target in targets.iter().filter(|target| place(target) < place(module)) {
            writeln!(wrong, "{module} imports {target}, which lies above it").expect("a string takes all");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let count: usize = edges.values().map(|targets| targets.len()).sum();
    assert!(count > 500, "only {count} imports were found");
}

#[test]
fn no_two_files_import_each_other() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let imports = Imports::of(&source, &files(&source));
    let knots = knots(&imports.edges());
    assert!(knots.is_empty(), "{knots:#?}");
}

#[test]
fn the_map_names_the_folders_in_this_order() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = std::fs::read_to_string(source.join("lib.rs")).expect("the map");
    let places: Vec<usize> = FOLDERS
        .iter()
        .map(|folder| map.find(&format!("| [`{folder}`] |")).unwrap_or_else(|| panic!("{folder} is not in the map")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
}

/// An exit code belongs to a command that ends. The sidecar names an obstacle by its event, and tries again.
#[test]
fn replication_makes_no_exit_codes() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let imports = Imports::of(&source, &files(&source));
    let (mut held, mut others) = (0, 0);
    for (module, imported) in imports.edges() {
        let is_held = ["replication", "accounts"].iter().any(|part| module.split("::").next() == Some(part));
        let makes_some = imported.contains("model::exit");
        assert!(!is_held || !makes_some, "{module} imports model::exit");
        (held, others) = (held + usize::from(is_held), others + usize::from(makes_some));
    }
    assert!(held > 10 && others > 10, "{held} held, {others} others");
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files(&source) {
        let lines = std::fs::read_to_string(&file).expect("a file of the source").lines().count();
        assert!(lines <= 400, "{} has {lines} lines: look for the second noun", file.display());
    }
}
