//! A server that is too old for a flag's feature. A stand-in has its version.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::logged::Said;
use harness::stand_ins::server;
use mysqlset::model::event::Event;

const BINARY: &str = env!("CARGO_BIN_EXE_mysqlset");

/// A process that ends when dropped.
struct Sidecar(Child);

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// MySQL 5.6 cannot parse the statements: once, its primary stayed unready for ever.
#[test]
fn accounts_are_refused_on_a_server_without_the_statements() {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 201, high, low.clamp(1, 254));
    server::start(TcpListener::bind((address, 3306)).unwrap(), "5.6.51-log");
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("data")).unwrap();
    let log = directory.path().join("log");
    let mut command = Command::new(BINARY);
    command.args(["sidecar", "--hostname", "mysql-0", "--donate-to-anyone", "--manage-accounts"]);
    command.args(["--backup-user", "backup", "--replication-user", "replication"]);
    command.envs(["BACKUP", "REPLICATION"].map(|purpose| (format!("MYSQLSET_{purpose}_PASSWORD"), "s3cret")));
    command.args(["--server-host", &address.to_string(), "--data-dir"]).arg(directory.path().join("data"));
    command.args(["--clone-listen", &format!("{address}:3307"), "--http-listen", &format!("{address}:8307")]);
    command.arg("--termination-log").arg(directory.path().join("last")).stdin(Stdio::null());
    let _sidecar = Sidecar(command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap());
    let said = || std::fs::read_to_string(&log).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !said().has(Event::AccountServerTooOld) {
        assert!(Instant::now() < deadline, "{}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
    for text in ["MySQL 5.7.6", "5.6.51", "remove the flag"] {
        assert!(said().has_with(Event::AccountServerTooOld, text), "{text}: {}", said());
    }
    let mut page = String::new();
    let mut stream = TcpStream::connect((address, 8307)).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: mysql-0\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 503"), "{page}");
}
