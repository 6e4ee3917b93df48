//! No core files of us or of what we start: passwords and clone secrets are in our memory, and a core file stays where it lies.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Less than the kernel writes; and this length has it start no program that takes cores either, which none at all does not.
/// (`do_coredump` in fs/coredump.c)
const NONE: u64 = 1;

/// For this process and its children. Where even that may not be set, there is no more to be done.
pub fn leave_none() {
    let hard = getrlimit(Resource::Core).maximum;
    let most = hard.map_or(NONE, |hard| hard.min(NONE));
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(most), maximum: hard });
}
