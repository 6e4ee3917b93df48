//! `make audit` names each check that it could not make, and fails then. The audit itself needs crates.io and RustSec's
//! database of advisories, so no test runs it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The script with a stand-in for `cargo` that refuses some calls. Returns whether the script passed, and its output.
fn audit(refused: &[&str]) -> (bool, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let cargo = directory.path().join("cargo");
    let cases: String = refused.iter().map(|words| format!("*\"{words}\"*) exit 1 ;;\n")).collect();
    std::fs::write(&cargo, format!("#!/bin/sh\necho \"cargo $*\"\ncase \"$*\" in\n{cases}esac\n")).expect("a stand-in");
    std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).expect("a program");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audit/run.sh");
    let output = Command::new(script).env("CARGO", &cargo).output().expect("the script");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said.into_owned())
}

#[test]
fn an_audit_passes_when_everything_was_checked() {
    let (passed, said) = audit(&[]);
    assert!(passed, "{said}");
    for part in ["bans", "licenses", "sources", "advisories"] {
        assert!(said.lines().any(|line| line.contains(" check ") && line.contains(part)), "{part}: {said}");
    }
}

#[test]
fn a_missing_check_fails_an_audit_and_is_named() {
    let (passed, said) = audit(&["deny --version", "install"]);
    assert!(!passed && said.contains("nothing was checked") && said.contains("cargo install"), "{said}");
    let (passed, said) = audit(&["fetch db"]);
    assert!(!passed && said.contains("advisories were not checked"), "{said}");
    assert!(said.contains("check bans licenses sources"), "{said}");
    for part in ["check bans", "advisories"] {
        let (passed, said) = audit(&[part]);
        assert!(!passed, "{said}");
    }
}
