//! What the map in `src/lib.rs` says of the source is so.

use std::path::{Path, PathBuf};

/// Modules that know one tool or server from another.
const KNOWING: [&str; 3] = ["mysql", "backup_tool", "own_server"];

/// Words by which code would ask, or be told.
const FLAVOURS: [&str; 4] = ["Dialect::Mariadb", "Dialect::Mysql", "Family::Mariadb", "Family::Percona"];

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the source").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn nobody_else_asks_which_flavour_it_is_talking_to() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = [0, 0];
    for file in files(&source) {
        let text = std::fs::read_to_string(&file).expect("a file of the source");
        let knows = KNOWING.iter().any(|module| file.starts_with(source.join(module)));
        let asks: Vec<&str> = FLAVOURS.into_iter().filter(|word| text.contains(word)).collect();
        assert!(knows || asks.is_empty(), "{} says {asks:?}", file.display());
        found[usize::from(knows)] += asks.len();
    }
    assert!(found[1] > 0, "the words are no longer what they were");
}
