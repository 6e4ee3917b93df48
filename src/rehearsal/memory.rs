//! The memory that a rehearsal takes, and whether the container has it.

use anyhow::Result;

use crate::backup_tool::memory;
use crate::exit::Reason;

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
    memory::ceiling().map_or(Ok(()), |ceiling| enough(ceiling.bytes(), ceiling.limit()))
}

fn enough(usable: u64, limit: u64) -> Result<()> {
    if usable >= NEEDED {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Reason::Limit.error(format!(
        "the rehearsal of a copy needs {} MiB of memory beside a reserve of {} MiB, and the container's limit is {} MiB: \
         raise it, or say --rehearsal off",
        mebibytes(NEEDED),
        mebibytes(limit.saturating_sub(usable)),
        mebibytes(limit)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::Ceiling;

    #[test]
    fn too_low_a_limit_is_refused_with_both_numbers_and_the_flag() {
        let with = |mebibytes: u64| {
            let ceiling = Ceiling::below(mebibytes << 20);
            enough(ceiling.bytes(), ceiling.limit())
        };
        assert!(with(512).is_ok() && with(256).is_ok());
        let error = with(200).unwrap_err();
        assert_eq!(crate::exit::reason_of(&error), Some(Reason::Limit));
        for word in ["240 MiB", "200 MiB", "--rehearsal off"] {
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
