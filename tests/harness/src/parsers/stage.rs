//! A directory to unpack into, among things that must not be touched: two links in it lead out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use mysqlset::unpack::{Format, Summary, UnpackError, unpack};
use tempfile::TempDir;

use super::memory;

/// Below the limit of the whole program.
const MEMORY: usize = 32 << 20;

/// Errors of the file system that a stream may cause: a file beyond its limit.
const EFBIG: i32 = 27;

thread_local! {
    static STAGE: Stage = Stage::new();
}

/// ```text
///  place / between / stage / file → ../outside/kept
///                            link → ../outside
///                  / outside / kept
/// ```
struct Stage {
    place: TempDir,
    stage: PathBuf,
}

/// Unpacks, and passes the outcome to `look` before its removal. Fails if something outside changed, or if the memory
/// exceeded its limit. It also fails if the error blames the disk for a broken stream.
pub fn unpacked(format: Format, data: &[u8], look: impl FnOnce(&Summary, &Path)) -> Result<(), UnpackError> {
    unpacked_by(|stage| unpack(format, data, stage), look)
}

/// The same for another way of unpacking.
pub fn unpacked_by(
    unpack: impl FnOnce(&Path) -> Result<Summary, UnpackError>,
    look: impl FnOnce(&Summary, &Path),
) -> Result<(), UnpackError> {
    STAGE.with(|stage| {
        let result = memory::within(MEMORY, || unpack(&stage.stage));
        stage.must_be_untouched_around();
        match &result {
            Ok(summary) => look(summary, &stage.stage),
            Err(UnpackError::Output { source, .. }) if source.raw_os_error() != Some(EFBIG) => panic!("{source}"),
            Err(_) => {}
        }
        stage.clear();
        result.map(drop)
    })
}

impl Stage {
    fn new() -> Stage {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let place = tempfile::Builder::new().prefix("mysqlset-fuzz-").tempdir_in(parent).unwrap();
        let between = place.path().join("between");
        fs::create_dir_all(between.join("outside")).unwrap();
        fs::write(between.join("outside/kept"), "kept").unwrap();
        let stage = Stage { place, stage: between.join("stage") };
        stage.make();
        stage
    }

    fn make(&self) {
        fs::create_dir(&self.stage).unwrap();
        symlink("../outside/kept", self.stage.join("file")).unwrap();
        symlink("../outside", self.stage.join("link")).unwrap();
    }

    fn must_be_untouched_around(&self) {
        let between = self.place.path().join("between");
        let holds = |directory: &Path| fs::read_dir(directory).unwrap().count();
        let outside = between.join("outside");
        let found = (holds(self.place.path()), holds(&between), holds(&outside));
        assert_eq!(found, (1, 2, 1), "something was written outside");
        assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept");
    }

    /// Most streams are refused before they create a file.
    fn clear(&self) {
        let is_ours = |entry: fs::DirEntry| {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            is_link && (entry.file_name() == "file" || entry.file_name() == "link")
        };
        let mut entries = 0;
        if !fs::read_dir(&self.stage).unwrap().flatten().all(|entry| (entries += 1, is_ours(entry)).1) || entries != 2 {
            fs::remove_dir_all(&self.stage).unwrap();
            self.make();
        }
    }
}

/// The plain files below a directory, as relative paths; links are not followed.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path().strip_prefix(directory).unwrap().to_owned());
            }
        }
    }
    found
}
