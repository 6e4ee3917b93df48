//! Unpacking onto faulty file systems: one that writes only through the page cache, and one whose disk fails after it
//! reported success.
//!
//! Each test runs itself again with mounts of its own, which vanish when it ends in any way. It needs root, and
//! Debian's mount, util-linux and e2fsprogs; `make test` installs them.

use std::io::{self, Read};
use std::path::Path;
use std::process::Command;

use harness::xbstream::write;
use mysqlset::unpack::{Format, Undigested, UnpackError, Writing, unpack_by};
use rustix::fs::{Mode, OFlags, open};
use tempfile::TempDir;

/// Tells a test that it is the inner one, and names its directory.
const INSIDE: &str = "MYSQLSET_TEST_INSIDE";

/// Runs this test again, behind a script that mounts something on the directory `$DIR`. Returns the directory to the
/// inner test. Returns `None` to the outer one after that has passed.
fn inside(mount: &str) -> Option<String> {
    if let Ok(directory) = std::env::var(INSIDE) {
        return Some(directory);
    }
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread bears its name");
    let directory = TempDir::new().unwrap();
    let script = format!("DIR=${INSIDE}; {mount}; exec \"$@\"");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-euc", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "inside, {test} ended with {}: {said}",
        output.status
    );
    None
}

fn unpack(writing: Writing, stream: impl Read, directory: &Path) -> Result<(), UnpackError> {
    unpack_by(writing, Format::XbstreamMariaDb, Undigested(stream), directory).map(drop)
}

/// A member's bytes, different at every place.
fn content(length: usize, salt: u32) -> Vec<u8> {
    (0..length as u32 / 4 + 1).flat_map(|number| (number ^ salt << 24).to_le_bytes()).take(length).collect()
}

/// Two large files in alternation, of odd lengths, and a small one. One large file is patched at its beginning after
/// its last byte was sent.
fn stream_and_files() -> (Vec<u8>, [(&'static str, Vec<u8>); 3]) {
    const CHUNK: usize = 3_000_001;
    let (mut a, b, small) = (content(4 * CHUNK + 4095, 1), content(3 * CHUNK, 2), content(50_000, 3));
    let mut stream = Vec::new();
    for number in 0..5 {
        for (path, file) in [("d/a", &a), ("d/b", &b)] {
            let at = number * CHUNK;
            if let Some(data) = file.get(at..) {
                let data = &data[..data.len().min(CHUNK)];
                stream.extend(write::payload(0, path.as_bytes(), at as u64, data));
            }
        }
    }
    a[8192..12_288].fill(9);
    stream.extend(write::seek(b"d/a", 8192));
    stream.extend(write::payload(0, b"d/a", 8192, &[9; 4096]));
    stream.extend([write::end(b"d/b"), write::end(b"d/a")].concat());
    stream.extend(write::file(b"small", &small).concat());
    (stream, [("d/a", a), ("d/b", b), ("small", small)])
}

fn must_come_whole(writing: Writing, directory: &Path) {
    let (stream, files) = stream_and_files();
    unpack(writing, stream.as_slice(), directory).unwrap();
    for (path, content) in files {
        assert!(std::fs::read(directory.join(path)).unwrap() == content, "{path}, {writing:?}");
    }
}

#[test]
fn both_ways_of_writing_yield_the_same_files() {
    for writing in [Writing::Direct, Writing::Cached] {
        must_come_whole(writing, TempDir::new().unwrap().path());
    }
}

#[test]
fn without_direct_io_all_goes_through_the_page_cache() {
    let Some(directory) = inside("mount -t ramfs none \"$DIR\"") else { return };
    let directory = Path::new(&directory);
    let direct = OFlags::WRONLY | OFlags::CREATE | OFlags::DIRECT;
    let refused = open(directory.join("probe"), direct, Mode::RWXU).map(drop);
    assert_eq!(refused, Err(rustix::io::Errno::INVAL), "this file system supports direct I/O");
    must_come_whole(Writing::Direct, directory);
}

/// The disk has less room than its file system believes: it cannot write everything that the page cache accepted.
#[test]
fn a_disk_that_fails_behind_the_page_cache_is_noticed() {
    let mount = "mount -t tmpfs -o size=24m none \"$DIR\"; truncate --size 1G \"$DIR/disk\"; mkdir \"$DIR/on\"; \
                 mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=1 \"$DIR/disk\"; \
                 mount -o loop \"$DIR/disk\" \"$DIR/on\"";
    let Some(directory) = inside(mount) else { return };
    let directory = Path::new(&directory).join("on");
    // Enough data to start the background sync.
    const CHUNK: usize = 8 << 20;
    let data = content(CHUNK, 4);
    let mut parts: Vec<Vec<u8>> =
        (0..40).map(|number| write::payload(0, b"large", (number * CHUNK) as u64, &data)).collect();
    parts.push(write::end(b"large"));
    let stream = parts.iter().fold(Box::new(io::empty()) as Box<dyn Read>, |all, part| Box::new(all.chain(&part[..])));
    let error = unpack(Writing::Cached, stream, &directory).unwrap_err().to_string();
    assert!(error.contains("Input/output error") || error.contains("No space left"), "{error}");
}
