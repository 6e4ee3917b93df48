//! The directory that a private server loads libraries from: links to those that its own configuration names.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

/// For us and the server, which runs as we do.
pub(super) const DIRECTORY_MODE: u32 = 0o700;

/// What MySQL 9.7 loads by itself, and the key components with their settings, which only its own manifest names.
const ALWAYS: [&str; 2] = ["component_reference_cache", "component_keyring_"];

/// Options whose values name libraries.
const LOADING: [&str; 3] = ["plugin_load", "plugin_load_add", "early_plugin_load"];

/// The libraries in an option's value: `auth_socket.so`, or `name=library.so;other.so`. No name leads out of the directory.
pub fn libraries(name: &str, value: &str) -> Vec<String> {
    if !LOADING.contains(&name.replace('-', "_").as_str()) {
        return Vec::new();
    }
    let parts = value.split(';').map(|part| part.rsplit('=').next().unwrap_or(part).trim());
    parts.filter(|library| !library.is_empty() && !library.contains('/')).map(str::to_owned).collect()
}

/// Makes it. A library that isn't there is none: the server says so, as the pod's will.
pub fn make(directory: &Path, installed: &Path, libraries: &[String]) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY_MODE).create(directory)?;
    let Ok(entries) = std::fs::read_dir(installed) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // MariaDB takes a name without its ending too.
        let is_named = libraries.iter().any(|library| *library == name || format!("{library}.so") == name);
        if is_named || ALWAYS.iter().any(|start| name.starts_with(start)) {
            symlink(entry.path(), directory.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_libraries() {
        for (name, value, expected) in [
            ("plugin_load_add", "auth_socket.so", vec!["auth_socket.so"]),
            ("plugin-load", "a=x.so;b=y.so;z", vec!["x.so", "y.so", "z"]),
            ("early_plugin_load", "", vec![]),
            ("plugin_load_add", "../evil.so", vec![]),
            ("log_bin", "x.so", vec![]),
        ] {
            assert_eq!(libraries(name, value), expected, "{name}={value}");
        }
    }

    #[test]
    fn only_what_is_named_can_be_loaded() {
        let there = tempfile::tempdir().unwrap();
        for name in ["a.so", "b.so", "named.so", "component_keyring_file.so", "component_keyring_file.cnf"] {
            std::fs::write(there.path().join(name), "").unwrap();
        }
        let made = there.path().join("made");
        make(&made, there.path(), &["a.so".to_owned(), "named".to_owned(), "gone.so".to_owned()]).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.so", "component_keyring_file.cnf", "component_keyring_file.so", "named.so"]);
    }
}
