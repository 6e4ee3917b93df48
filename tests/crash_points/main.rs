//! Every call of `clone` that changes the disk may be the last one that happens: killed at each of them, by a real
//! SIGKILL from strace, the shipped binary leaves nothing that a server could take for data, and its next start ends
//! in a copy that is the donor's, row by row. Then the same with the power lost.
//!
//! Needs root, loop devices, and Debian's mariadb-server, mariadb-backup, strace, e2fsprogs and mount; `make test`
//! installs them. `SERVER` names another server, whose directory has all of these.

mod kills;
mod power_loss;
mod swapped;
mod tool;
