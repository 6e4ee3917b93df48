//! The files that arrived, to compare both sides.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use xxhash_rust::xxh3::Xxh3;

use crate::disk::files_below;

/// The settings inside a backup. Our recipient rewrites them.
const REWRITTEN: &str = "backup-my.cnf";

/// The files below a directory with their lengths and, where asked for, digests.
#[derive(PartialEq, Eq)]
pub struct Manifest(BTreeMap<PathBuf, (u64, Option<u64>)>);

impl Manifest {
    /// With the files' whole content.
    pub fn of_content(directory: &Path) -> Result<Manifest> {
        let mut buffer = vec![0; 1 << 20];
        let mut digest = |path: &Path| -> Result<Option<u64>> {
            let (mut file, mut hasher) = (std::fs::File::open(path)?, Xxh3::new());
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(Some(hasher.finish())),
                    count => hasher.write(&buffer[..count]),
                }
            }
        };
        Manifest::of(directory, &mut digest)
    }

    /// With their lengths only.
    pub fn of_lengths(directory: &Path) -> Result<Manifest> {
        Manifest::of(directory, &mut |_| Ok(None))
    }

    fn of(directory: &Path, digest: &mut dyn FnMut(&Path) -> Result<Option<u64>>) -> Result<Manifest> {
        let mut files = BTreeMap::new();
        for path in files_below(directory)? {
            let name = path.strip_prefix(directory)?;
            let content = match name == Path::new(REWRITTEN) {
                true => (0, None),
                false => (path.symlink_metadata()?.len(), digest(&path)?),
            };
            files.insert(name.to_owned(), content);
        }
        Ok(Manifest(files))
    }

    /// Demands the same files on both sides, and at least one.
    pub fn demand_same(ours: &Manifest, peer: &Manifest) -> Result<()> {
        ensure!(!peer.0.is_empty(), "the peer has no files");
        let differing = |(path, content): &(&PathBuf, &(u64, Option<u64>))| peer.0.get(*path) != Some(content);
        let first = ours.0.iter().find(differing);
        ensure!(
            ours == peer,
            "we have {} files, the peer {}; ours that differ begin with {first:?}",
            ours.0.len(),
            peer.0.len()
        );
        Ok(())
    }
}
