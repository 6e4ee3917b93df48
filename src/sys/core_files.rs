//! Turns off core files for this process and its children: our memory holds passwords and clone secrets, and core
//! files stay on disk.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Too small for the kernel to write a core file. A limit of 1 also disables programs that collect cores, while 0
/// leaves them enabled. (`do_coredump` in fs/coredump.c)
const NONE: u64 = 1;

/// Applies to this process and its children. A kernel that refuses the limit leaves core files as they were.
pub fn leave_none() {
    let hard = getrlimit(Resource::Core).maximum;
    let most = hard.map_or(NONE, |hard| hard.min(NONE));
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: hard });
}
