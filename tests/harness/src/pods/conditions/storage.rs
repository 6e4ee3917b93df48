//! Volumes with other properties than a directory of this machine.

use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use super::{Condition, Subject, Surroundings};
use crate::pods::groups::{self, Controller};
use crate::pods::spawner;

/// The storage behind a claim.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    pub kind: Kind,
    /// Whether storage's own directories lie in the root.
    pub has_own_directories: bool,
    /// The fault of the first volume of the first replica, until it is mended.
    pub fault: Option<Fault>,
    /// Operations a second, for each container.
    pub operations: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A directory of the cluster.
    #[default]
    Directory,
    /// A file system in memory.
    Tmpfs,
    /// One on a file, made by this program.
    Made(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    ReadOnly,
    Full,
}

/// Bytes of a volume that is a file system of its own.
pub const SIZE: u64 = 2 << 30;

/// Volumes with `lost+found` (ext4), a read-only `.snapshot` (NetApp), and `.Trash-0` (a desktop's).
pub struct OwnDirectories;

impl Condition for OwnDirectories {
    fn name(&self) -> &'static str {
        "storage-directories"
    }

    fn subject(&self) -> Subject {
        Subject::Volume
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.storage.has_own_directories = true;
    }
}

/// A file system without O_DIRECT.
pub struct NoDirect;

impl Condition for NoDirect {
    fn name(&self) -> &'static str {
        "no-o-direct"
    }

    fn subject(&self) -> Subject {
        Subject::Volume
    }

    fn why_not(&self) -> Option<String> {
        let path = std::path::Path::new("/dev/shm").join(format!("mysqlset-direct-{}", std::process::id()));
        let flags = rustix::fs::OFlags::DIRECT.bits() as i32;
        let opened = std::fs::File::options().create(true).append(true).custom_flags(flags).open(&path);
        let _ = std::fs::remove_file(&path);
        opened.is_ok().then(|| "its kernel's tmpfs has O_DIRECT (since 6.6)".to_owned())
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.storage.kind = Kind::Tmpfs;
    }
}

/// The reason why a program's file system cannot be mounted from a file.
fn why_not_made(program: &str) -> Option<String> {
    if std::env::split_paths(&crate::pods::PATH).all(|place| !place.join(program).exists()) {
        return Some(format!("it has no {program}"));
    }
    let test = format!(
        "set -e; d=$(mktemp -d); trap 'rm -rf $d' EXIT; truncate -s 16M $d/i; {program} -q -F $d/i; mkdir $d/m; \
         unshare --mount sh -c \"mount --make-rprivate / && mount -o loop $d/i $d/m\""
    );
    spawner::run(Command::new("sh").args(["-c", &test])).err().map(|error| format!("no file can be mounted: {error:#}"))
}

/// A file system without fallocate(2): ext2.
pub struct NoFallocate;

impl Condition for NoFallocate {
    fn name(&self) -> &'static str {
        "no-fallocate"
    }

    fn subject(&self) -> Subject {
        Subject::Volume
    }

    fn why_not(&self) -> Option<String> {
        why_not_made("mkfs.ext2")
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.storage.kind = Kind::Made("mkfs.ext2");
    }
}

/// A disk of a few hundred operations a second.
pub struct Slow;

impl Condition for Slow {
    fn name(&self) -> &'static str {
        "slow-volume"
    }

    fn subject(&self) -> Subject {
        Subject::Volume
    }

    fn why_not(&self) -> Option<String> {
        groups::why_not(Controller::Disk).or_else(|| why_not_made("mkfs.ext4"))
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.storage.kind = Kind::Made("mkfs.ext4");
        surroundings.storage.operations = Some(300);
        surroundings.patience *= 3;
    }
}

/// The first replica's volume refuses writes at first.
pub struct Faulty {
    name: &'static str,
    fault: Fault,
}

impl Faulty {
    pub const READ_ONLY: Faulty = Faulty { name: "read-only-volume", fault: Fault::ReadOnly };
    pub const FULL: Faulty = Faulty { name: "full-volume", fault: Fault::Full };
}

impl Condition for Faulty {
    fn name(&self) -> &'static str {
        self.name
    }

    fn subject(&self) -> Subject {
        Subject::Volume
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        surroundings.storage.fault = Some(self.fault);
    }
}
