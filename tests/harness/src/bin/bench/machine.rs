//! The machine behind the figures.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::process::run;

/// Facts about the machine, the file system of `work`, and the programs.
pub fn describe(work: &Path) -> Result<Value> {
    let version = |program: &str, argument: &str| -> Result<String> {
        let output = Command::new(program).arg(argument).output()?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    };
    let file_system =
        run(Command::new("findmnt").args(["--noheadings", "--output", "FSTYPE,OPTIONS", "--target"]).arg(work))?;
    Ok(json!({
        "cores": std::thread::available_parallelism()?.get(),
        "cpu": line_of("/proc/cpuinfo", "model name")?,
        "memory": line_of("/proc/meminfo", "MemTotal")?,
        "kernel": std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        "congestion_control": std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?.trim(),
        "file_system": file_system.trim(),
        "mysqlset": version(harness::program(), "--version")?,
        "server": version("mariadbd", "--version")?,
        "tool": version("mariadb-backup", "--version")?,
        "ncat": version("ncat", "--version")?,
    }))
}

/// The first `NAME: VALUE` of a file.
fn line_of(file: &str, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(str::trim));
    Ok(value.unwrap_or("unknown").to_owned())
}
