//! A program in front of the real backup tool, and of the server that a recipient starts. It is the proof itself,
//! called by a script of their name. It follows its orders around the real program.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, kill_process, set_parent_process_death_signal, setrlimit,
};

use crate::damage;
use crate::orders::{Kill, Of, Orders};
use crate::process::run;
use crate::server::client;
use crate::volume;

/// The first arguments that call the proof as one of these.
pub const TOOL: &str = "as-tool";
const DYING: &str = "as-dying";

/// The tool has copied InnoDB's tables. Commits continue until its last stage, and the definitions of many tables come
/// before that.
const TABLES_COPIED: &str = "Finished BACKUP STAGE START";

/// mariadb-backup's message when it has run out of descriptors.
const FAULTS: [&str; 5] =
    ["error number 24", "Error number 24", "Too many open files", "Cannot open '", "OS error 224"];

/// Puts a program of that name into a directory that precedes the machine's.
pub fn install(programs: &Path, name: &str, real: &Path) -> Result<()> {
    std::fs::create_dir_all(programs)?;
    let proof = std::env::current_exe()?;
    let script =
        format!("#!/bin/sh\nexec '{}' {TOOL} '{}' '{}' \"$@\"\n", proof.display(), programs.display(), real.display());
    let path = programs.join(name);
    // It is written under another name. Otherwise a child that starts meanwhile would hold it open, and it could not be
    // run.
    let text = programs.join(format!("{name}.text"));
    std::fs::write(&text, script)?;
    std::fs::set_permissions(&text, PermissionsExt::from_mode(0o755))?;
    run(Command::new("cp").arg(&text).arg(&path)).map(drop)
}

/// The exit code, if the process was called as such a program.
pub fn called() -> Option<Result<ExitCode>> {
    let mut words = std::env::args_os().skip(1);
    match words.next()?.to_str()? {
        TOOL => {
            let (programs, real) = (PathBuf::from(words.next()?), PathBuf::from(words.next()?));
            Some(act(&programs, &real, words.collect()))
        }
        DYING => {
            let parent: i32 = words.next()?.to_str()?.parse().ok()?;
            Some(die_with(parent, words.next()?, words.collect()))
        }
        _ => None,
    }
}

/// Becomes a program that is killed with its parent.
fn die_with(parent: i32, program: OsString, arguments: Vec<OsString>) -> Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        bail!("the parent is gone");
    }
    Err(Command::new(program).args(arguments).exec().into())
}

fn act(programs: &Path, real: &Path, arguments: Vec<OsString>) -> Result<ExitCode> {
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let of = match () {
        () if has("--backup") => Of::Backup,
        () if has("--prepare") => Of::Prepare,
        () if !real.ends_with("mariadb-backup") && !has("--version") && !has("--help") => Of::Server,
        // The tool answers queries itself.
        () => return Err(Command::new(real).args(arguments).exec().into()),
    };
    let orders = Orders::take(programs, of)?;
    if let Some(most) = orders.descriptors {
        setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    if let Some(fill) = &orders.fill {
        volume::leave_free(&fill.volume, fill.leave)?;
    }
    let is_heard = orders.kill.is_some() || orders.write.is_some();
    if !is_heard && orders.stream.is_none() && orders.stage.is_none() {
        return Err(Command::new(real).args(arguments).exec().into());
    }
    let target = arguments.iter().find_map(|word| word.to_str()?.strip_prefix("--target-dir=").map(PathBuf::from));
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(DYING).arg(getpid().as_raw_nonzero().get().to_string()).arg(real).args(&arguments);
    command.stderr(if is_heard { Stdio::piped() } else { Stdio::inherit() });
    command.stdout(if orders.stream.is_some() { Stdio::piped() } else { Stdio::inherit() });
    let mut child = command.spawn().context("starting the real one")?;
    let (words, stream, pid) = (child.stderr.take(), child.stdout.take(), Pid::from_child(&child));
    let status = std::thread::scope(|scope| {
        let hearing = words.map(|words| scope.spawn(|| hear(words, pid, &orders)));
        let passing = stream.map(|stream| scope.spawn(|| pass_on(stream, &orders)));
        if let Some(Kill::AfterMicroseconds(time)) = orders.kill {
            let deadline = Instant::now() + Duration::from_micros(time);
            while child.try_wait()?.is_none() {
                if Instant::now() >= deadline {
                    kill(pid, &orders)?;
                    break;
                }
                std::thread::sleep(Duration::from_micros(500));
            }
        }
        for thread in [hearing, passing].into_iter().flatten() {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(child.wait()?)
    })?;
    if let (true, Some((victim, harm)), Some(target)) = (status.success(), &orders.stage, target) {
        damage::files::damage(&target, victim, *harm, None)?;
    }
    if status.signal().is_some() {
        // It ends as the real program ended.
        kill_process(getpid(), Signal::KILL)?;
    }
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)))
}

/// Kills the real program, and its parent where that is ordered. The parent waits for us, so it cannot have noticed.
fn kill(pid: Pid, orders: &Orders) -> Result<()> {
    kill_process(pid, Signal::KILL)?;
    if let (true, Some(parent)) = (orders.kill_parent, getppid()) {
        kill_process(parent, Signal::KILL)?;
    }
    Ok(())
}

/// Passes on the output of the real program, and acts on it.
fn hear(words: ChildStderr, pid: Pid, orders: &Orders) -> Result<()> {
    let mut kills = orders.kill == Some(Kill::AtTheFirstFault);
    let mut write = orders.write.as_ref();
    for line in BufReader::new(words).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        if kills && FAULTS.iter().any(|fault| text.contains(fault)) {
            kill(pid, orders)?;
            kills = false;
        }
        if text.contains(TABLES_COPIED)
            && let Some(write) = write.take()
        {
            kill_process(pid, Signal::STOP)?;
            let written =
                run(client(&write.socket, &format!("source {}", write.statements.display())).stdin(Stdio::null()));
            kill_process(pid, Signal::CONT)?;
            written.context("writing while the tool copies")?;
        }
        let mut error = std::io::stderr().lock();
        error.write_all(&line)?;
        error.write_all(b"\n")?;
    }
    anyhow::ensure!(write.is_none(), "the tool did not say {TABLES_COPIED:?}: nothing was written meanwhile");
    Ok(())
}

/// Passes on the damaged stream. The real stream must have reached its end.
fn pass_on(mut stream: ChildStdout, orders: &Orders) -> Result<()> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    if let Some((victim, harm)) = &orders.stream {
        bytes = damage::stream::damage(&bytes, victim, *harm)?;
    }
    std::io::stdout().lock().write_all(&bytes)?;
    Ok(())
}
