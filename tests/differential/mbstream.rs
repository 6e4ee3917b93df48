//! The real tool, of Debian's package mariadb-backup.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The stream of these files, which lie below `directory`.
pub fn pack<'a>(directory: &Path, files: impl Iterator<Item = &'a String>) -> Vec<u8> {
    let output = Command::new("mbstream").arg("-c").args(files).current_dir(directory).output().expect("mbstream");
    assert!(output.status.success(), "mbstream -c: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Unpacks a stream, good or not. The tool may stop before the end and still report success.
pub fn unpack(stream: &[u8], directory: &Path) -> Output {
    let mut child = Command::new("mbstream")
        .args(["-x", "-C"])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mbstream");
    let mut input = child.stdin.take().unwrap();
    // Its output is short, so its pipe has room while this one is written. It stops by breaking the pipe.
    let _ = input.write_all(stream);
    drop(input);
    child.wait_with_output().unwrap()
}

/// Unpacks a stream that is good.
#[track_caller]
pub fn unpack_good(stream: &[u8], directory: &Path, what: &str) {
    let output = unpack(stream, directory);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{what}: mbstream -x: {} {said}", output.status);
}
