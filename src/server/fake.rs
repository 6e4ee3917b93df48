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
    /// Says to each connection what `talk` gives for its number, all at once, and then no more.
    pub fn saying(talk: impl Fn(usize) -> Vec<u8> + Send + 'static) -> Fake {
        Fake::listen(move |number, mut stream| {
            stream.write_all(&talk(number))?;
            stream.shutdown(std::net::Shutdown::Write)?;
            std::io::copy(&mut stream, &mut std::io::sink()).map(drop)
        })
    }

    /// Greets each connection, and answers each packet of the client's with the next of these.
    pub fn start(answers: &[Vec<u8>]) -> Fake {
        let mut all = vec![greeting("8.4.0", "caching_sha2_password")];
        all.extend_from_slice(answers);
        Fake::listen(move |_, stream| serve(stream, &all))
    }

    fn listen(serve: impl Fn(usize, UnixStream) -> std::io::Result<()> + Send + 'static) -> Fake {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("mysqld.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let _ = serve(number, stream);
            }
        });
        Fake { socket, _directory: directory }
    }
}

fn serve(mut stream: UnixStream, answers: &[Vec<u8>]) -> std::io::Result<()> {
    let mut sequence = 0;
    for answer in answers {
        stream.write_all(&packet(sequence, answer))?;
        let mut header = [0; 4];
        stream.read_exact(&mut header)?;
        sequence = header[3].wrapping_add(1);
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        std::io::copy(&mut (&mut stream).take(length.into()), &mut std::io::sink())?;
    }
    Ok(())
}

/// A packet as it is sent.
pub fn packet(sequence: u8, content: &[u8]) -> Vec<u8> {
    let mut packet = u32::try_from(content.len()).unwrap().to_le_bytes().to_vec();
    packet[3] = sequence;
    packet.extend_from_slice(content);
    packet
}

/// An answer with rows, in packets.
pub fn table(columns: &[&str], rows: &[&[&str]]) -> Vec<Vec<u8>> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let column =
        |name: &&str| [text("def"), text(""), text(""), text(""), text(name), text(name), vec![0; 13]].concat();
    let end = vec![0xfe, 0, 0, 2, 0];
    let mut packets = vec![vec![u8::try_from(columns.len()).unwrap()]];
    packets.extend(columns.iter().map(column));
    packets.push(end.clone());
    packets.extend(rows.iter().map(|row| row.iter().flat_map(|value| text(value)).collect()));
    packets.push(end);
    packets
}

/// An answer without rows.
pub fn ok() -> Vec<u8> {
    vec![0, 0, 0, 2, 0, 0, 0]
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
