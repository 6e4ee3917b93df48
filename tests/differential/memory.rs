//! A backup that asks for as much memory as it can, sent to a real recipient. One donor proves nothing; another one
//! packs its frames.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use harness::dice::Dice;
use harness::stand_ins::donor;
use harness::xbstream::write::{end, file, payload, sparse};
use mysqlset::protocol::data::DataWriter;
use mysqlset::protocol::frame::{self, DATA_LIMIT, Kind, WireError};
use mysqlset::protocol::inventory::{self, Entry, Inventory, MOST_BYTES, encoding};
use mysqlset::protocol::message::Offer;
use mysqlset::protocol::packing::{Packer, ZSTD};
use mysqlset::unpack::Format;
use mysqlset::unpack::path::MemberPath;
use mysqlset::unpack::sink::OPEN_FILES;

use crate::sample::scratch;

/// The recipient asks only for its version, and reads the stream accordingly.
const TOOL: &str = "#!/bin/sh\necho 'xtrabackup version 8.0.35-31 based on MySQL server 8.0.35 Linux (x86_64)' >&2\n";

const PATIENCE: Duration = Duration::from_secs(60);

/// KiB of the whole process without its program.
const ALLOWED: u64 = 20 << 10;

/// The longest legal name.
fn name(number: usize) -> Vec<u8> {
    format!("{number:0255}").into_bytes()
}

/// The same bytes in every run.
fn random(length: usize) -> impl Iterator<Item = u8> {
    let mut dice = Dice::new(0, 0);
    std::iter::repeat_with(move || dice.roll().to_le_bytes()).flatten().take(length)
}

/// Bytes that zstd shortens only a little.
fn noise(length: usize) -> Vec<u8> {
    random(length).enumerate().map(|(at, byte)| if at % 8 == 0 { 0 } else { byte }).collect()
}

/// A stream that is right in all its parts, and refused only at its end for missing members.
fn stream() -> Vec<u8> {
    let mut chunks = Vec::new();
    // Every file that may be open is filled in rotation, so that each holds memory.
    let piece = vec![7; 100_003];
    for round in 0..3 {
        chunks.extend((0..OPEN_FILES).map(|number| payload(0, &name(number), round * 100_003, &piece)));
    }
    // Between them comes a hole at every other byte, as many as a chunk may have, and data that fills packed frames.
    let last = name(OPEN_FILES - 1);
    let (map, noise) = (vec![(1, 1); 1 << 16], noise(4 << 20));
    chunks.push(sparse(&last, 300_009, &map, &vec![7; map.len()]));
    chunks.push(payload(0, &last, 300_009 + 2 * map.len() as u64, &noise));
    chunks.extend((0..OPEN_FILES).map(|number| end(&name(number))));
    // A chunk larger than the memory; many names.
    chunks.extend(file(b"large", &vec![7; 40 << 20]));
    chunks.extend((0..3000).flat_map(|number| file(&[b"many/".as_slice(), &name(number)].concat(), b"x")));
    chunks.concat()
}

/// Serves every recipient in this way.
fn serve(listener: TcpListener, donate: impl Fn(&TcpStream) -> Result<(), WireError> + Send + 'static) {
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            match donate(&connection) {
                Ok(()) => {
                    // The donor stays until the recipient has surely read everything.
                    std::thread::sleep(Duration::from_millis(300));
                    let _ = connection.shutdown(Shutdown::Write);
                    let _ = connection.read(&mut [0]);
                }
                Err(error) => eprintln!("the donor: {error}"),
            }
        }
    });
}

/// A complete donor, which packs frames where that shortens them.
fn offer_packed(mut connection: &TcpStream, stream: &[u8]) -> Result<(), WireError> {
    donor::greet(connection)?;
    let offer = donor::offer(Format::XbstreamPercona, "xtrabackup 8.0.35-31", "8.0.35");
    let offer = Offer { packing: Some(ZSTD.into()), ..offer };
    frame::write_control(&mut connection, Kind::Offer, &offer)?;
    let mut writer = DataWriter::new(connection);
    writer.set_packing(true)?;
    for piece in stream.chunks(DATA_LIMIT) {
        writer.gather(piece, false)?;
    }
    writer.send_inventory(&long_inventory())?;
    writer.end(None).map(drop)
}

/// Nearly the longest legal inventory.
fn long_inventory() -> Vec<u8> {
    let directory = "d".repeat(200);
    let path = |number: u32| format!("{directory}/{directory}{number}");
    let entry = |number| Entry { path: MemberPath::new(path(number).as_bytes()).unwrap(), kind: inventory::Kind::Undo };
    let inventory = Inventory { keeps_definitions: false, entries: (0..80_000).map(entry).collect() };
    let encoded = encoding::encode(&inventory).unwrap();
    assert!(encoded.len() as u64 > MOST_BYTES / 10 * 9);
    encoded
}

/// The most KiB until the process is gone, without its mapped files. The kernel maps as much of the program as it
/// likes, and a debug build is long. (VmHWM and RssFile, proc_pid_status(5))
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
        let process = rustix::process::Pid::from_raw(process as i32).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        panic!("the clone has not ended after {} seconds", PATIENCE.as_secs())
    })
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches(" kB").parse().unwrap())
}

/// Another process writes it: a child that a test starts meanwhile would hold the file open and block its execution.
fn install(script: &str, program: &Path) {
    let text = program.with_extension("text");
    std::fs::write(&text, script).unwrap();
    assert!(Command::new("install").args(["-m", "755"]).args([&text, program]).status().unwrap().success());
}

/// Clones with these flags from a donor that acts in this way, and checks the peak.
fn stays_below(flags: &[&str], donate: impl Fn(&TcpStream) -> Result<(), WireError> + Send + 'static) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let donor = listener.local_addr().unwrap();
    serve(listener, donate);
    let place = scratch();
    install(TOOL, &place.path().join("xtrabackup"));
    let clone = Command::new(env!("CARGO_BIN_EXE_mysqlset"))
        .args(["clone", "--hostname", "mysql-1", "--give-up-after", "0", "--owner", "999:999"])
        .args(["--donor", &donor.to_string(), "--termination-log", "/dev/null", "--data-dir"])
        .arg(place.path().join("mysql"))
        .args(flags)
        .env("PATH", format!("{}:/usr/bin:/bin", place.path().display()))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let peak = watch_peak(clone.id());
    let output = clone.wait_with_output().unwrap();
    let (peak, log) = (peak.join().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    // It read to the end: every part was accepted.
    assert!(log.contains("the backup has no "), "{log}");
    assert!(peak <= ALLOWED, "{peak} KiB were taken, {ALLOWED} are allowed");
}

#[test]
fn every_stream_stays_within_its_memory() {
    let stream = stream();
    stays_below(&["--take-unproven-stream"], move |mut recipient| recipient.write_all(&stream).map_err(WireError::Io));
}

#[test]
fn packed_frames_stay_within_their_memory() {
    // Packed frames that need memory for themselves and the same again for their content.
    let packed = Packer::new().unwrap().pack(&noise(DATA_LIMIT)).map(<[u8]>::len);
    assert!(packed.is_some_and(|length| length > DATA_LIMIT / 10 * 9), "{packed:?}");
    let stream = stream();
    stays_below(&["--wire-compression", "on"], move |recipient| offer_packed(recipient, &stream));
}
