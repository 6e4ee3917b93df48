//! The lower bound of a transfer: a loop that reads a socket and writes one file.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process::{Process, time_in, timed};

/// The word that makes the bench the receiving end.
pub const COMMAND: &str = "floor";

const PIECE: usize = 1 << 20;

/// The time, in seconds.
pub struct Floor {
    pub wall: f64,
    pub cpu: f64,
}

/// Sends a file to a process that writes it to another.
pub fn run(stream: &Path, work: &Path) -> Result<Floor> {
    let (time, copy) = (work.join("floor.time"), work.join("floor"));
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port().to_string();
    let mut file = std::fs::File::open(stream)?;
    let length = file.metadata()?.len();
    let program = std::env::current_exe()?;
    let mut command = timed(&time, program.to_str().context("a path in UTF-8")?);
    let started = Instant::now();
    let mut receiver = Process::start(command.args([COMMAND, &port]).arg(&copy))?;
    let (mut connection, _) = listener.accept()?;
    std::io::copy(&mut file, &mut connection)?;
    drop(connection);
    receiver.finish()?;
    let wall = started.elapsed().as_secs_f64();
    let arrived = std::fs::metadata(&copy)?.len();
    std::fs::remove_file(&copy)?;
    anyhow::ensure!(arrived == length, "{arrived} bytes of {length} arrived");
    Ok(Floor { wall, cpu: time_in(&time)? })
}

/// The receiving end: `floor PORT FILE`.
pub fn receive(arguments: &[String]) -> Result<()> {
    let [port, path] = arguments else { bail!("{COMMAND} PORT FILE") };
    let mut connection = TcpStream::connect(("127.0.0.1", port.parse()?))?;
    let mut file = std::fs::File::create(path)?;
    let mut piece = vec![0; PIECE];
    loop {
        let mut filled = 0;
        while filled < PIECE {
            match connection.read(&mut piece[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        file.write_all(&piece[..filled])?;
        if filled < PIECE {
            return Ok(rustix::fs::syncfs(&file)?);
        }
    }
}
