//! Corrects the inherited umask, so that this process and its children can use the files they make.
//!
//! The umask affects every file and directory created with a mode. Among them are the stage, a private server's
//! directory and its options, a copy's shadow, and its inventory. Files from the backup tool, and from other
//! tools and servers that we start, are affected as well.

use rustix::fs::Mode;
use rustix::process::umask;

/// Sets the umask of this process and its children, based on the inherited one.
pub fn bear() {
    let found = umask(Mode::RWXG | Mode::RWXO);
    umask(borne(found));
}

/// Keeps the owner's bits in every mode, and removes write access for others: servers ignore a world-writable
/// options file.
fn borne(found: Mode) -> Mode {
    (found - Mode::RWXU) | Mode::WOTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_keeps_all_bits_and_others_never_write() {
        for (found, expected) in [(0o022, 0o022), (0o177, 0o077), (0o777, 0o077), (0o077, 0o077), (0, 0o002)] {
            assert_eq!(borne(Mode::from_raw_mode(found)), Mode::from_raw_mode(expected), "{found:o}");
        }
    }
}
