//! Tests the client against a hostile server: whole conversations with bytes changed, cut out, doubled and swapped at
//! random.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use anyhow::Result;

use super::account::Account;
use super::fake::{self, Fake};
use super::inventory::{Extent, look};
use super::*;
use crate::model::host::HostPort;
use crate::sys::secret::Password;

const CONVERSATIONS: usize = 12_000;

/// A conversation must end within this time.
const LIMIT: Duration = Duration::from_secs(3);

/// The packets of a series of conversations, as real servers send them: connecting by each plugin, then queries.
fn conversation(number: usize) -> Vec<Vec<u8>> {
    let plugins = ["mysql_native_password", "caching_sha2_password", "sha256_password", "client_ed25519", "dialog", ""];
    let mut packets = vec![fake::greeting(["8.4.0", "5.5.5-10.11.19-MariaDB", ""][number % 3], plugins[number % 6])];
    if number.is_multiple_of(2) {
        packets.push(fake::switch(plugins[number / 2 % 6]));
    }
    match number / 3 % 4 {
        0 => packets.push(vec![1, 3]),
        1 => packets.push(vec![1, 4]),
        2 => packets.push([&[1], client::KEY_FOR_TESTS.as_bytes()].concat()),
        _ => {}
    }
    packets.push(fake::ok());
    packets.extend(fake::table(&["@@skip_networking"], &[&["0"]]));
    packets.extend(fake::table(&["VERSION()"], &[&["8.4.0"]]));
    packets.extend([fake::ok(), fake::ok()]);
    packets.extend(fake::table(&["Variable_name", "Value"], &[&["Uptime", "7"]]));
    let status = ["Source_Host", "Source_Port", "Replica_IO_Running", "Last_IO_Errno", "Last_IO_Error"];
    packets.extend(fake::table(&status, &[&["mysql-0", "3306", "Yes", "1236", "a text"]]));
    packets.push(fake::error(1227, "Access denied"));
    packets.extend(fake::table(&["Variable_name", "Value"], &[&["datadir", "/var/lib/mysql/"]]));
    packets.extend(fake::table(&["PATH", "SPACE", "STATE", "TYPE"], &[&["./app/t.ibd", "7", "0", "Single"]]));
    packets.push(vec![0xfb, b'/', b'e', b't', b'c']);
    packets
}

/// A generator with a fixed sequence.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    /// Half the bytes are significant in the protocol, the others are random.
    fn byte(&mut self) -> u8 {
        let telling = [0, 1, 2, 3, 4, 0x7f, 0x80, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];
        if self.below(2) == 0 { telling[self.below(telling.len())] } else { u8::try_from(self.below(256)).unwrap() }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.below(bytes.len());
        match self.below(5) {
            0 | 1 => bytes[at] = self.byte(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..(at + 1 + self.below(8)).min(bytes.len()))),
            _ => {
                let more: Vec<u8> = (0..=self.below(9)).map(|_| self.byte()).collect();
                drop(bytes.splice(at..at, more));
            }
        }
    }
}

/// A conversation with changes: in packets, whose lengths stay right, or in the stream.
fn changed(number: usize) -> Vec<u8> {
    let mut dice = Dice((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut packets = conversation(number);
    for _ in 0..dice.below(3) {
        let at = dice.below(packets.len());
        match dice.below(6) {
            0 => drop(packets.remove(at)),
            1 => packets.insert(at, packets[at].clone()),
            2 => packets.swap(at, 0),
            _ => dice.change(&mut packets[at]),
        }
    }
    let mut stream = Vec::new();
    for (sequence, content) in packets.iter().enumerate() {
        stream.extend(fake::packet(u8::try_from(sequence % 256).unwrap(), content));
    }
    for _ in 0..dice.below(3) {
        dice.change(&mut stream);
    }
    stream
}

async fn talk(address: &HostPort, account: &Account) -> Result<()> {
    let mut server = Server::connect(address, account).await?;
    let _ = server.uptime().await;
    let _ = replication_status(&mut server).await;
    let _ = server.column("SELECT 1").await;
    let _ = look(&mut server, "backup", Path::new("/nowhere"), Extent::InnodbOnly).await;
    let _ = server.tables("app", true, LIMIT).await;
    let _ = server.check("CHECK TABLE t", LIMIT).await;
    let _ = server.value("SELECT 1").await;
    server.close().await;
    Ok(())
}

#[tokio::test]
async fn a_hostile_server_cannot_end_or_hold_up_its_client() {
    let fake = Fake::saying(|number| if number == 0 { stream_of(&whole()) } else { changed(number) });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = HostPort { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let mut connected = 0;
    for number in 0..CONVERSATIONS {
        let password = if number % 5 == 0 { "" } else { "s3cret" };
        let socket = Some(fake.socket.clone());
        let account = Account { user: "mysql".into(), password: Password::fixed(password), socket };
        let talked = timeout(LIMIT, talk(&address, &account)).await;
        let talked = talked.unwrap_or_else(|_| panic!("conversation {number} hangs"));
        connected += usize::from(talked.is_ok());
        if number == 0 {
            talked.unwrap();
        }
    }
    // Changes that break every conversation would prove nothing.
    assert!((CONVERSATIONS / 10..CONVERSATIONS).contains(&connected), "{connected}");
}

/// A conversation that a client follows to its end.
fn whole() -> Vec<Vec<u8>> {
    conversation(9)
}

fn stream_of(packets: &[Vec<u8>]) -> Vec<u8> {
    packets
        .iter()
        .enumerate()
        .flat_map(|(number, content)| fake::packet(u8::try_from(number).unwrap(), content))
        .collect()
}

/// Packets that made the earlier driver panic or abort, one by one.
#[tokio::test]
async fn known_traps() {
    let switch = |plugin: &str, nonce: &[u8]| [b"\xfe", plugin.as_bytes(), b"\0", nonce].concat();
    let many = |bytes: &[u8]| [&[0xfe], bytes].concat();
    for packets in [
        vec![switch("client_ed25519", &[7; 32]), fake::ok()],
        vec![switch("client_ed25519", &[7; 20])],
        vec![switch("caching_sha2_password", b""), vec![1, 4]],
        vec![switch("caching_sha2_password", &[7; 20]), vec![1, 4], vec![1]],
        vec![switch("caching_sha2_password", &[7; 20]), vec![1, 4], b"\x01-----BEGIN PUBLIC KEY-----\n".to_vec()],
        vec![switch("mysql_old_password", b"")],
        vec![vec![]],
        vec![fake::ok(), many(&[0, 0, 0, 0, 0, 4, 0, 0])],
        vec![fake::ok(), many(&[255; 8])],
        vec![fake::ok(), vec![]],
        vec![fake::ok(), vec![1], vec![3, b'd', b'e', b'f']],
    ] {
        let mut all = vec![fake::greeting("8.4.0", "caching_sha2_password")];
        all.extend(packets);
        let text = format!("{all:?}");
        let fake = Fake::saying(move |_| stream_of(&all));
        let account =
            Account { user: "mysql".into(), password: Password::fixed("s3cret"), socket: Some(fake.socket.clone()) };
        let address = HostPort { host: "127.0.0.1".into(), port: 1 };
        let talked = timeout(LIMIT, talk(&address, &account)).await;
        assert!(talked.expect("no hang").is_err(), "{text}");
    }
}
