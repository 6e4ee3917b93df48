//! The memory that a rehearsal takes, and whether the container has it.

use crate::backup_tool::memory;
use crate::exit::Reason;
use crate::mysql::dialect::Dialect;

/// InnoDB's buffer pool. Tables are opened, not read.
pub const POOL: u64 = 32 << 20;

/// What the server takes of its own, which the kernel can't take back. See [`needed`].
const MARIADB: u64 = 320 << 20;
const MYSQL: u64 = 320 << 20;

/// What we take meanwhile.
const OURS: u64 = 32 << 20;

/// Bytes that a rehearsal needs.
fn needed(dialect: Dialect) -> u64 {
    OURS + if dialect == Dialect::Mariadb { MARIADB } else { MYSQL }
}

/// Refuses where the container's limit is too low.
pub fn ensure_enough(dialect: Dialect) -> anyhow::Result<()> {
    match memory::ceiling() {
        Some(ceiling) => enough(dialect, ceiling.bytes(), ceiling.limit()),
        None => Ok(()),
    }
}

fn enough(dialect: Dialect, usable: u64, limit: u64) -> anyhow::Result<()> {
    let needed = needed(dialect);
    if usable >= needed {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Reason::Limit.error(format!(
        "the rehearsal of a copy needs {} MiB of memory beside a reserve of {} MiB, and the container's limit is {} MiB: \
         raise it, or say --rehearsal off",
        mebibytes(needed),
        mebibytes(limit.saturating_sub(usable)),
        mebibytes(limit)
    )))
}
