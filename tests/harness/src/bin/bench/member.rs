//! The two pods of the measured set: their names, addresses and sidecars.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use harness::program;

use crate::process::{self, Process, Usage, usage};
use crate::server::option;

/// A pod. All pods use the same ports, each at an address of its own.
pub struct Member {
    pub name: &'static str,
    pub address: &'static str,
    pub server_id: u32,
}

pub const PRIMARY: Member = Member { name: "mysql-0", address: "127.0.0.1", server_id: 100 };

pub const REPLICA: Member = Member { name: "mysql-1", address: "127.0.0.2", server_id: 101 };

/// `mysqlset sidecar` beside a server.
pub struct Sidecar {
    process: Process,
    member: &'static Member,
}

impl Sidecar {
    /// Starts one. Its `programs`, if any, precede the machine's.
    pub fn start(member: &'static Member, data_dir: &Path, work: &Path, programs: Option<&Path>) -> Result<Sidecar> {
        let mut command = Command::new(program());
        command
            .args(["sidecar", "--hostname", member.name, "--donate-to-anyone"])
            .arg(option("--data-dir=", data_dir))
            .arg(format!("--clone-listen={}:3307", member.address))
            .arg(format!("--http-listen={}:8307", member.address))
            .args(["--server-host", member.address])
            .stdin(Stdio::null())
            .stderr(File::create(work.join(format!("{}.log", member.name)))?);
        prefer(&mut command, programs)?;
        Ok(Sidecar { process: Process::start(&mut command)?, member })
    }

    /// Waits until its pod is ready.
    pub fn wait_ready(&mut self, work: &Path) -> Result<()> {
        process::wait_for("the sidecar to be ready", || {
            if let Some(status) = self.process.ended()? {
                bail!("it ended with {status}: {}", process::tail(&work.join(format!("{}.log", self.member.name))));
            }
            Ok(is_ready(self.member.address).unwrap_or(false).then_some(()))
        })
    }

    pub fn usage(&self) -> Result<Usage> {
        usage(self.process.pid())
    }
}

/// Has a command find these programs first.
pub fn prefer(command: &mut Command, programs: Option<&Path>) -> Result<()> {
    if let Some(programs) = programs {
        command.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH")?));
    }
    Ok(())
}

fn is_ready(address: &str) -> Result<bool> {
    let mut stream = TcpStream::connect((address, 8307))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}
