//! A sidecar without a server, and an honest recipient of a report.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mysqlset::cli::{Method, WireCompression};
use mysqlset::clone::connection::{Place, Questions, Silence, ask_for_report};
use mysqlset::model::ordinal::Member;
use mysqlset::protocol::clone_secret::CloneSecret;
use mysqlset::protocol::message::Report;
use mysqlset::settings::Peering;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use tempfile::TempDir;

use crate::program;

pub const SECRET: &str = "geheim-und-sehr-lang";

/// A sidecar without a server, with the clone secret; it ends when dropped.
pub struct Sidecar {
    child: Child,
    pub address: SocketAddr,
    pub http: SocketAddr,
    files: TempDir,
}

impl Sidecar {
    pub fn start(pod: &str) -> Sidecar {
        let host = own_address();
        Sidecar::start_at(pod, host, free_port(host))
    }

    pub fn start_at(pod: &str, host: Ipv4Addr, http_port: u16) -> Sidecar {
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        std::fs::write(path("secret"), SECRET).unwrap();
        std::fs::create_dir(path("data")).unwrap();
        let (address, http) = (SocketAddr::new(host.into(), 3307), SocketAddr::new(host.into(), http_port));
        let log = std::fs::File::create(path("log")).unwrap();
        let mut command = Command::new(program());
        command.args(["sidecar", "--log", "trace", "--hostname", pod, "--server-host", &own_address().to_string()]);
        command.args(["--clone-listen", &address.to_string(), "--http-listen", &http.to_string()]);
        command.arg("--data-dir").arg(path("data")).arg("--clone-secret-file").arg(path("secret"));
        command.arg("--termination-log").arg(path("last")).stdin(Stdio::null()).stderr(log);
        let sidecar = Sidecar { child: command.spawn().unwrap(), address, http, files };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() || TcpStream::connect(http).is_err() {
            assert!(Instant::now() < deadline, "{}", sidecar.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        sidecar
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap()
    }

    /// The peak of its memory, in KiB.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        most.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The number of its open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// It lives, all its parts work, and its most detailed log contains no secret.
    pub fn is_unharmed(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "{}", self.log());
        let log = self.log();
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert!(["0", "1"].contains(&core.split_whitespace().next().unwrap()), "core files: {core}");
        for word in ["panicked", "part_failed", SECRET] {
            assert!(!log.contains(word), "{word:?} is in:\n{log}");
        }
        assert!(log.contains("sidecar.started"), "the log is the sidecar's: {log}");
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Addresses of this process alone, one by one. A donor delays its answers to an address after each wrong proof.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [a, b] = (std::process::id() as u16).to_be_bytes();
    let base = u32::from(Ipv4Addr::new(127, 64 + a % 64, b, 0));
    Ipv4Addr::from(base + NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn free_port(host: Ipv4Addr) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}

/// A connection from an address of its own.
pub fn connect_to(address: SocketAddr) -> TcpStream {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let fd: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&fd, &SocketAddrV4::new(own_address(), 0)).unwrap();
    connect(&fd, &address).unwrap();
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub fn peering() -> Peering {
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    Peering {
        // Its file is removed; the secret that was read stays in use.
        secret: CloneSecret::read(Some(&file), "MYSQLSET_TEST_UNSET").unwrap(),
        stall_timeout: Duration::from_secs(30),
        wire_compression: WireCompression::Off,
        method: Method::Auto,
    }
}

/// The report that an honest recipient gets at an address.
pub fn ask(peering: &Peering, address: SocketAddr) -> Result<Report, Silence> {
    let member = Member::from_hostname("mysql-1").unwrap();
    ask_for_report(&member, peering, &Place::Address(address), &Questions::default())
}
