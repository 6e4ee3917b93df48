//! The namespaces that everything measured lives in: processes, network and mounts of its own.
//!
//! The bench runs itself once more as the first process in them. So a port is free because nobody else is there, the
//! set's names can mean this machine, and whatever was started dies with the bench, however that ends: the outer bench
//! is watched by `setpriv`, that by `unshare`, and the kernel ends all processes of a namespace with its first.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::disk;
use crate::process::run;

/// Says to the bench that it is the inner one.
const INSIDE: &str = "MYSQLSET_BENCH_INSIDE";

/// The pods' names in their set.
const HOSTS: &str = "127.0.0.1 localhost mysql-0.mysql\n127.0.0.2 mysql-1.mysql\n";

/// A disk as fast as memory, where `DISK=memory` asks for it: a file in memory, with the file system that most volumes
/// have. Sparse, so only what is written counts.
const MEMORY_DISK: &str = "16G";

/// Runs the bench inside and returns how that ended, or `None` where this is the inside.
pub fn enter(work: &Path) -> Result<Option<ExitCode>> {
    if std::env::var_os(INSIDE).is_some() {
        furnish(work)?;
        return Ok(None);
    }
    let kept = work.parent().context("a parent")?;
    std::fs::create_dir_all(kept)?;
    let lock = std::fs::File::create(kept.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).context("another bench runs here")?;
    disk::remove(work)?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command.args(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    let ended = command.arg(std::env::current_exe()?).env(INSIDE, "1").status().context("starting the bench inside");
    disk::remove(work)?;
    Ok(Some(if ended?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

fn furnish(work: &Path) -> Result<()> {
    if is_in_memory()? {
        std::fs::create_dir_all(work)?;
        mount_memory(work)?;
    }
    std::fs::create_dir_all(work.join("tmp"))?;
    let hosts = work.join("hosts");
    std::fs::write(&hosts, HOSTS)?;
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    run(Command::new("mount").arg("--bind").arg(&hosts).arg("/etc/hosts"))?;
    Ok(())
}

/// Whether clones are to be received into memory.
pub fn is_in_memory() -> Result<bool> {
    match std::env::var("DISK").unwrap_or_default().as_str() {
        "" => Ok(false),
        "memory" => Ok(true),
        other => bail!("DISK={other}: it can be memory, or be left out"),
    }
}

fn mount_memory(work: &Path) -> Result<()> {
    run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(work))?;
    let file = work.join("disk");
    std::fs::File::create(&file)?;
    run(Command::new("truncate").args(["--size", MEMORY_DISK]).arg(&file))?;
    run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&file))?;
    run(Command::new("mount").args(["-o", "loop,discard"]).arg(&file).arg(work))?;
    Ok(())
}
