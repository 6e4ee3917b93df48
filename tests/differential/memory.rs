//! A backup that asks for as much memory as it can, from a donor that proves nothing, to a real recipient.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mysqlset::unpack::members::OPEN_FILES;

use crate::sample::scratch;
use crate::xbstream::write::{end, file, payload, sparse};

/// Asked for its version only, by which the recipient knows how to read the stream.
const TOOL: &str = "#!/bin/sh\necho 'xtrabackup version 8.0.35-31 based on MySQL server 8.0.35 Linux (x86_64)' >&2\n";

const PATIENCE: Duration = Duration::from_secs(60);

/// KiB of the whole process, but for its program.
const ALLOWED: u64 = 32 << 10;

/// As long as a name may be.
fn name(number: usize, suffix: &str) -> Vec<u8> {
    let digits = 255 - suffix.len();
    format!("{number:0digits$}{suffix}").into_bytes()
}

/// Logarithms of windows that members may need at once: the largest that is taken, and two more beside it.
const WINDOWS: [u32; 3] = [23, 20, 20];

/// A member of 24 MiB that needs such a window.
fn packed(window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & 0x3f
    };
    let content: Vec<u8> = std::iter::repeat_with(&mut next).take(24 << 20).collect();
    encoder.write_all(&content).unwrap();
    encoder.finish().unwrap()
}

/// A stream that is right in all its parts: refused only at its end, for what is missing.
fn stream() -> Vec<u8> {
    let packed = WINDOWS.map(packed);
    let packed_name = |number| name(number, ".ibd.zst");
    let halves = packed.each_ref().map(|packed| packed.split_at(packed.len() / 2));
    let mut chunks = Vec::new();
    chunks.extend((0..).zip(halves).map(|(number, (begun, _))| payload(0, &packed_name(number), 0, begun)));
    // All files that may be open, filled in turn, so that each holds memory.
    let piece = vec![7; 100_003];
    for round in 0..3 {
        chunks.extend((WINDOWS.len()..OPEN_FILES).map(|number| payload(0, &name(number, ""), round * 100_003, &piece)));
    }
    for (number, (begun, rest)) in (0..).zip(halves) {
        chunks.push(payload(0, &packed_name(number), begun.len() as u64, rest));
    }
    chunks.extend((WINDOWS.len()..OPEN_FILES).map(|number| end(&name(number, ""))));
    chunks.extend((0..WINDOWS.len()).map(|number| end(&packed_name(number))));
    // A hole at every other byte, as many as there may be in a chunk; a chunk larger than the memory; many names.
    chunks.extend([sparse(b"holes", 0, &vec![(1, 1); 1 << 16], &vec![7; 1 << 16]), end(b"holes")]);
    chunks.extend(file(b"large", &vec![7; 40 << 20]));
    chunks.extend((0..3000).flat_map(|number| file(&[b"many/".as_slice(), &name(number, "")].concat(), b"x")));
    chunks.concat()
}

/// Sends it to whoever comes, and lets nobody go before all of it has surely been looked at.
fn send_to_all(listener: TcpListener, stream: Vec<u8>) {
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            if connection.write_all(&stream).is_ok() {
                std::thread::sleep(Duration::from_millis(300));
                let _ = connection.shutdown(Shutdown::Write);
                let _ = connection.read(&mut [0]);
            }
        }
    });
}

/// KiB at most, until the process is gone, without what it maps of files: of its program, which a debug build makes long,
/// the kernel maps as much as it likes. (VmHWM and RssFile, proc_pid_status(5))
fn watch_peak(process: u32) -> JoinHandle<u64> {
    std::thread::spawn(move || {
        let (mut peak, deadline) = (0, Instant::now() + PATIENCE);
        while Instant::now() < deadline {
            let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let (Some(most), Some(of_files)) = (kibibytes(&text, "VmHWM:"), kibibytes(&text, "RssFile:")) else {
                return peak;
            };
            peak = peak.max(most.saturating_sub(of_files));
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the clone has not ended after {} seconds", PATIENCE.as_secs())
    })
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches(" kB").parse().unwrap())
}

/// By another process: a child that a test starts meanwhile would have the file open for a moment, and nobody could run it.
fn install(script: &str, program: &Path) {
    let text = program.with_extension("text");
    std::fs::write(&text, script).unwrap();
    assert!(Command::new("install").args(["-m", "755"]).args([&text, program]).status().unwrap().success());
}

#[test]
fn no_stream_takes_more_memory_than_is_allowed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, place) = (listener.local_addr().unwrap(), scratch());
    send_to_all(listener, stream());
    install(TOOL, &place.path().join("xtrabackup"));
    let clone = Command::new(env!("CARGO_BIN_EXE_mysqlset"))
        .args([
            "clone",
            "--hostname",
            "mysql-1",
            "--give-up-after",
            "0",
            "--owner",
            "999:999",
            "--take-unproven-stream",
        ])
        .args(["--donor", &address.to_string(), "--termination-log", "/dev/null", "--data-dir"])
        .arg(place.path().join("mysql"))
        .env("PATH", format!("{}:/usr/bin:/bin", place.path().display()))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let peak = watch_peak(clone.id());
    let output = clone.wait_with_output().unwrap();
    let (peak, log) = (peak.join().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    // To its end: nothing in it was refused.
    assert!(log.contains("the backup has no "), "{log}");
    assert!(peak <= ALLOWED, "{peak} KiB were taken, {ALLOWED} are allowed");
}
