//! What we and our children make must be usable by us, whatever umask an image or a shell has left.
//!
//! Every directory and file that is made by a mode goes by it: the stage, a private server's directory and its options, a
//! copy's shadow, its inventory, what a backup tool unpacks, and what the tools and servers make that we start.

use rustix::fs::Mode;
use rustix::process::umask;

/// Sets it for this process and its children, by the one that it was started with.
pub fn bear() {
    let found = umask(Mode::RWXG | Mode::RWXO);
    umask(borne(found));
}

/// The owner's bits stay in every mode. Nobody but owner and group ever writes: servers ignore a file of options that
/// everybody may write.
fn borne(found: Mode) -> Mode {
    (found - Mode::RWXU) | Mode::WOTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_loses_nothing_and_others_never_write() {
        for (found, expected) in [(0o022, 0o022), (0o177, 0o077), (0o777, 0o077), (0o077, 0o077), (0, 0o002)] {
            assert_eq!(borne(Mode::from_raw_mode(found)), Mode::from_raw_mode(expected), "{found:o}");
        }
    }
}
