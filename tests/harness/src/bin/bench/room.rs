//! The namespaces around the measured processes, with their own processes, network and mounts.
//!
//! The bench runs itself again as the first process in them. There every port is free, and the set's names can mean
//! this machine. Every process dies with the bench, however that ends: `setpriv` watches the outer bench, `unshare`
//! watches `setpriv`. The kernel ends all processes of a namespace with its first.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use harness::variable;
use rustix::fs::{FlockOperation, flock};

use crate::disk;
use crate::process::run;
use crate::server::option;

/// Tells the bench that it is the inner one.
const INSIDE: &str = "MYSQLSET_BENCH_INSIDE";

/// The pods' names in their set.
const HOSTS: &str = "127.0.0.1 localhost mysql-0.mysql\n127.0.0.2 mysql-1.mysql\n";

/// Bytes of the file that holds the recipient's file system: two clones and some reserve.
const DISK: u64 = 12 << 30;

/// Runs the bench inside and returns its result. Returns `None` on the inside.
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

/// Gives the recipient a file system of its own, which in memory is the donor's too. It is ext4 with a journal, like
/// most volumes, independent of this machine's own. It lies on a file in memory or on this machine's disk.
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
    // In memory deleted blocks must be freed, and direct I/O is missing.
    let (how, options) = if is_in_memory()? { ("--direct-io=off", "discard") } else { ("--direct-io=on", "nodiscard") };
    let device = run(Command::new("losetup").args([how, "--show", "--find"]).arg(&file))?;
    let mounted = run(Command::new("mount").args(["-t", "ext4", "-o", options, device.trim()]).arg(work));
    // The unlinked file goes with the mount.
    run(Command::new("losetup").args(["--detach", device.trim()]))?;
    mounted.map(drop)
}

/// A file that was written to its end once, and is kept. The storage below allocates a block at its first write, which
/// can take longer than the write itself. The delay would hit both sides at random.
fn written_file(file: &Path) -> Result<PathBuf> {
    if std::fs::metadata(file).is_ok_and(|metadata| metadata.len() == DISK) {
        return Ok(file.to_owned());
    }
    let fill = ["if=/dev/zero", "bs=1M", "oflag=direct", "status=none"];
    run(Command::new("dd").args(fill).arg(format!("count={}", DISK >> 20)).arg(option("of=", file)))?;
    Ok(file.to_owned())
}
