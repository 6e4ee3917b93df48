//! The memory that a rehearsal takes, and whether the container has it.

use anyhow::Result;

use crate::sys::memory;

/// InnoDB's buffer pool. Tables are opened, not read.
pub const POOL: u64 = 32 << 20;

/// What a server takes of its own, which the kernel can't take back: 160 MiB with 20,031 tables on MariaDB 10.11, 157 with
/// 4,039 on MySQL 9.7, both with that pool; and a margin. Both fit
/// a limit of 256 MiB.
const SERVER: u64 = 208 << 20;

/// What we take meanwhile.
const OURS: u64 = 32 << 20;

/// Bytes that a rehearsal needs.
const NEEDED: u64 = SERVER + OURS;

/// Refuses where the container's limit is too low.
pub fn ensure_enough() -> Result<()> {
    memory::ensure("the rehearsal of a copy", NEEDED, "say --rehearsal off")
}
