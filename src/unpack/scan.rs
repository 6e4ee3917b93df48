//! Checks a copy made by MySQL's CLONE plugin for names and file types that a stream may not contain. Our own
//! server writes its files, but the donor's server decides their contents.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::path::MemberPath;
use super::{UnpackError, malformed};

/// Refuses links, devices, and names that a server would follow, load or obey.
pub fn scan(directory: &Path) -> Result<(), UnpackError> {
    scan_below(directory, Path::new(""))
}

fn scan_below(top: &Path, below: &Path) -> Result<(), UnpackError> {
    let failed = |source| UnpackError::Output { path: top.join(below), source };
    for entry in std::fs::read_dir(top.join(below)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = below.join(entry.file_name());
        let path = MemberPath::new(name.as_os_str().as_bytes())?;
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            scan_below(top, &name)?;
        } else if !kind.is_file() {
            return malformed(format!("{path} must be a plain file"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_names_that_a_server_obeys_are_refused() {
        let copy = tempfile::tempdir().unwrap();
        for directory in ["app", "#innodb_redo", "#clone", "mysql"] {
            std::fs::create_dir(copy.path().join(directory)).unwrap();
        }
        for name in ["ibdata1", "mysql.ibd", "undo_001", "#clone/#view_status", "#innodb_redo/#ib_redo0", "app/t.ibd"] {
            std::fs::write(copy.path().join(name), "").unwrap();
        }
        scan(copy.path()).unwrap();
        for name in ["app/evil.so", "mysqld-auto.cnf", "app/t.isl"] {
            std::fs::write(copy.path().join(name), "").unwrap();
            let error = scan(copy.path()).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            std::fs::remove_file(copy.path().join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", copy.path().join("app/u.ibd")).unwrap();
        assert!(scan(copy.path()).unwrap_err().to_string().contains("app/u.ibd must be a plain file"));
    }
}
