//! Checks that the container has the memory that a rehearsal needs.

use anyhow::Result;

use crate::sys::container_memory;

/// InnoDB's buffer pool. Tables are opened, not read.
pub const POOL: u64 = 32 << 20;

/// The server's own memory that the kernel cannot reclaim, with a margin. It was 160 MiB with 20,031 tables on MariaDB
/// 10.11, and 157 with 4,039 on MySQL 9.7, both with that pool. Both fit a limit of 256 MiB.
const SERVER: u64 = 208 << 20;

/// This program's own memory meanwhile.
const OURS: u64 = 32 << 20;

/// Bytes that a rehearsal needs.
const NEEDED: u64 = SERVER + OURS;

/// Refuses if the container's limit is too low.
pub fn ensure_enough() -> Result<()> {
    container_memory::ensure("the rehearsal of a copy", NEEDED, "pass --rehearsal off")
}
