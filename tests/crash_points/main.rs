//! `clone` is killed by a real SIGKILL from strace at each of its calls that change the disk. The shipped binary then
//! leaves nothing that a server could mistake for data. The next start ends in a copy that equals the donor's, row by
//! row. The same is repeated with a loss of power.
//!
//! Needs root, loop devices, and Debian's mariadb-server, mariadb-backup, strace, e2fsprogs and mount; `make test`
//! installs them. `SERVER` names another server, whose directory has all of these.

mod kills;
mod power_loss;
mod swapped;
mod tool;
