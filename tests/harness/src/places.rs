//! The paths of the tested program, of the repository and of kept logs.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The program under test, of the same build as this process.
///
/// Cargo builds it before it runs a test of the package `mysqlset`. The Makefile builds it before a program of this
/// crate.
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let path = build_directory().join("mysqlset");
        assert!(path.exists(), "{} is not there: `cargo build --release --bin mysqlset` makes it", path.display());
        path.into_os_string().into_string().expect("a path in UTF-8")
    });
    &PROGRAM
}

/// Cargo's directory for the programs of this build. Tests lie in a directory below.
fn build_directory() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this process");
    let directory = own.parent().expect("a directory");
    if directory.ends_with("deps") { directory.parent().expect("its parent").to_owned() } else { directory.to_owned() }
}

/// The directory for the logs of failures: cargo's directory for the output of tests.
pub fn kept() -> PathBuf {
    build_directory().parent().expect("the target's directory").join("tmp")
}

/// The repository.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the repository")
}
