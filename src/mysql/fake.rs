//! A server that says what it is told to, for tests: packets to each connection in turn, whatever the client sends.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// It listens on a socket of its own until the test ends.
pub struct Fake {
    pub socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Fake {
    /// Greets each connection, and answers each packet of the client's with the next of these.
    pub fn start(answers: &[Vec<u8>]) -> Fake {
        let mut all = vec![greeting("8.4.0", "caching_sha2_password")];
        all.extend_from_slice(answers);
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("mysqld.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &all);
            }
        });
        Fake { socket, _directory: directory }
    }
}

fn serve(mut stream: UnixStream, answers: &[Vec<u8>]) -> std::io::Result<()> {
    let mut sequence = 0;
    for answer in answers {
        let mut packet = u32::try_from(answer.len()).unwrap().to_le_bytes();
        packet[3] = sequence;
        stream.write_all(&packet)?;
        stream.write_all(answer)?;
        let mut header = [0; 4];
        stream.read_exact(&mut header)?;
        sequence = header[3].wrapping_add(1);
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        std::io::copy(&mut (&mut stream).take(length.into()), &mut std::io::sink())?;
    }
    Ok(())
}

/// The first packet of a server.
pub fn greeting(version: &str, plugin: &str) -> Vec<u8> {
    let mut packet = vec![10];
    packet.extend_from_slice(version.as_bytes());
    // The connection's id, and the first part of the nonce.
    packet.extend_from_slice(&[0, 7, 0, 0, 0]);
    packet.extend_from_slice(b"12345678\0");
    // Capabilities of 4.1 with plugins, in two halves; between them the character set and the status.
    packet.extend_from_slice(&[0xff, 0xf7, 45, 2, 0, 0x09, 0x00, 21]);
    packet.extend_from_slice(&[0; 10]);
    packet.extend_from_slice(b"123456789012\0");
    packet.extend_from_slice(plugin.as_bytes());
    packet.push(0);
    packet
}

/// Asks for a proof by another plugin.
pub fn switch(plugin: &str) -> Vec<u8> {
    let mut packet = vec![0xfe];
    packet.extend_from_slice(plugin.as_bytes());
    packet.extend_from_slice(b"\x0012345678901234567890\0");
    packet
}

/// An error.
pub fn error(code: u16, text: &str) -> Vec<u8> {
    let mut packet = vec![0xff];
    packet.extend_from_slice(&code.to_le_bytes());
    packet.extend_from_slice(b"#HY000");
    packet.extend_from_slice(text.as_bytes());
    packet
}
