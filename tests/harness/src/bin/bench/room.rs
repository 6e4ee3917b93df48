//! The namespaces that everything measured lives in: processes, network and mounts of its own.
//!
//! The bench runs itself once more as the first process in them. So a port is free because nobody else is there, the
//! set's names can mean this machine, and whatever was started dies with the bench, however that ends: the outer bench
//! is watched by `setpriv`, that by `unshare`, and the kernel ends all processes of a namespace with its first.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use harness::variable;
use rustix::fs::{FlockOperation, flock};

use crate::disk;
use crate::process::run;
use crate::server::option;

/// Says to the bench that it is the inner one.
const INSIDE: &str = "MYSQLSET_BENCH_INSIDE";

/// The pods' names in their set.
const HOSTS: &str = "127.0.0.1 localhost mysql-0.mysql\n127.0.0.2 mysql-1.mysql\n";

/// Bytes of the file that holds the recipient's file system: two clones and what is needed besides.
const DISK: u64 = 12 << 30;

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
    std::fs::create_dir_all(work)?;
    mount_disk(work)?;
    std::fs::create_dir_all(work.join("tmp"))?;
    let hosts = work.join("hosts");
    std::fs::write(&hosts, HOSTS)?;
    run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    if let Some(rate) = link()? {
        let rate = format!("{}mbit", 8 * rate);
        run(Command::new("tc")
            .args(["qdisc", "add", "dev", "lo", "root", "tbf", "burst", "2m", "latency", "50ms", "rate", &rate]))?;
    }
    run(Command::new("mount").arg("--bind").arg(&hosts).arg("/etc/hosts"))?;
    Ok(())
}

/// The rate of the link between both pods in MB/s, where it is limited.
pub fn link() -> Result<Option<u32>> {
    let rate = variable("LINK")?;
    ensure!(rate.is_none_or(|rate| (1..=10_000).contains(&rate)), "LINK is 1 to 10000 (MB/s)");
    Ok(rate)
}

/// Whether clones are to be received into memory.
pub fn is_in_memory() -> Result<bool> {
    match std::env::var("DISK").unwrap_or_default().as_str() {
        "" => Ok(false),
        "memory" => Ok(true),
        other => bail!("DISK={other}: it can be memory, or be left out"),
    }
}

/// Gives the recipient a file system of its own, which in memory is the donor's, too: ext4 with a journal, as most volumes
/// have, whatever this machine's is, on a file in memory or on this machine's disk.
fn mount_disk(work: &Path) -> Result<()> {
    let file = if is_in_memory()? {
        run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(work))?;
        let file = work.join("disk");
        std::fs::File::create(&file)?.set_len(DISK)?;
        file
    } else {
        written_file(&work.with_file_name("disk"))?
    };
    run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=0"]).arg(&file))?;
    // In memory what is deleted is to be given back, and there is no direct I/O.
    let (how, options) = if is_in_memory()? { ("--direct-io=off", "discard") } else { ("--direct-io=on", "nodiscard") };
    let device = run(Command::new("losetup").args([how, "--show", "--find"]).arg(&file))?;
    let mounted = run(Command::new("mount").args(["-t", "ext4", "-o", options, device.trim()]).arg(work));
    // Once it is mounted it goes with the mount.
    run(Command::new("losetup").args(["--detach", device.trim()]))?;
    mounted.map(drop)
}

/// A file that was written to its end, once, and is kept: what lies below finds room for a block when that is written
/// first, which can take longer than the writing, and does so by turns for them and for us.
fn written_file(file: &Path) -> Result<PathBuf> {
    if std::fs::metadata(file).is_ok_and(|metadata| metadata.len() == DISK) {
        return Ok(file.to_owned());
    }
    let fill = ["if=/dev/zero", "bs=1M", "oflag=direct", "status=none"];
    run(Command::new("dd").args(fill).arg(format!("count={}", DISK >> 20)).arg(option("of=", file)))?;
    Ok(file.to_owned())
}
