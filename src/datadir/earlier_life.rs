//! What an earlier life of the copied server left in a copy, and must not be published: its UUID, its replication settings
//! in files, its logs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tracing::info;

use super::contents::Contents;
use crate::durable;
use crate::exit;

/// Removes it from a copy that was prepared. Again and again does no harm.
pub fn remove(staged: &Path) -> Result<()> {
    for path in remains(staged)? {
        durable::remove_if_there(&path)
            .map_err(|error| exit::disk_error(error, format!("removing {}", path.display())))?;
        info!(file = %path.display(), "removed a file of the copied server's earlier life");
    }
    Ok(())
}

/// The copied server's UUID (a replica needs its own), its replication settings in files, and its binary and relay
/// logs with their indexes: they describe another server's past.
fn remains(staged: &Path) -> Result<Vec<PathBuf>> {
    let mut remains = Vec::new();
    for name in Contents::of(staged)?.foreign_names() {
        let path = staged.join(name);
        let settings = name.ends_with(".info")
            && ["master", "relay-log", "multi-master"].iter().any(|stem| name.starts_with(stem));
        if name == "auto.cnf" || settings {
            remains.push(path);
        } else if let Some(log) = name.strip_suffix(".index") {
            remains.extend(indexed_files(&path)?);
            remains.extend([staged.join(format!("{log}.state")), path]);
        }
    }
    Ok(remains)
}

/// The logs that an index lists, where they lie beside it.
fn indexed_files(index: &Path) -> Result<Vec<PathBuf>> {
    let text = std::fs::read(index).map_err(|error| exit::disk_error(error, format!("reading {}", index.display())))?;
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| Path::new(line.trim()).file_name());
    Ok(names.map(|name| index.with_file_name(name)).filter(|path| path.is_file()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_settings_and_logs_go() {
        let copy = tempfile::tempdir().unwrap();
        for name in ["ibdata1", "auto.cnf", "mysql-bin.000007", "aria_log.00000001", "relay-log.info"] {
            std::fs::write(copy.path().join(name), name).unwrap();
        }
        std::fs::write(copy.path().join("mysql-bin.index"), "./mysql-bin.000007\n").unwrap();
        remove(copy.path()).unwrap();
        let left: Vec<String> = Contents::of(copy.path()).unwrap().foreign_names().map(str::to_owned).collect();
        assert_eq!(left, ["aria_log.00000001", "ibdata1"]);
        remove(copy.path()).unwrap();
    }
}
