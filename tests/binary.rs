//! The release binary, run as in an image from scratch: static, small, and able to look up names in an otherwise empty
//! root.
//!
//! Needs root and Debian's bubblewrap and iproute2; `make test` installs them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::pods::network::{BRIDGE, Network, V4_ONLY};

const BINARY: &str = env!("CARGO_BIN_EXE_mysqlset");

/// A smaller image spares Kubernetes' registries and nodes.
const SIZE_LIMIT: u64 = 10_000_000;

#[test]
fn it_is_static() -> Result<()> {
    let output = Command::new("ldd").arg(BINARY).env("LC_ALL", "C").output()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(text.contains("statically linked") || text.contains("not a dynamic executable"), "ldd says: {text}");
    Ok(())
}

#[test]
fn it_is_small() -> Result<()> {
    let size = std::fs::metadata(BINARY)?.len();
    // A debug build is larger; the release build is the one that ships.
    ensure!(size < SIZE_LIMIT || cfg!(debug_assertions), "{size} bytes");
    Ok(())
}

#[test]
fn it_finds_names_in_the_hosts_file_of_an_empty_root() -> Result<()> {
    finds_its_server("10.97.0.1 mysql-0.mysql\n", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", None)
}

#[test]
fn it_finds_names_by_dns_from_an_empty_root() -> Result<()> {
    // As in a pod: the name is short, and the search path completes it.
    let resolv_conf = "nameserver 10.97.0.1\nsearch default.svc.cluster.local svc.cluster.local\noptions ndots:5\n";
    finds_its_server("127.0.0.1 localhost\n", resolv_conf, Some("mysql-0.mysql.default.svc.cluster.local"))
}

/// Runs a sidecar in a root that holds its binary and two files. Waits until it connects to its server under that name.
fn finds_its_server(hosts: &str, resolv_conf: &str, name: Option<&'static str>) -> Result<()> {
    let network = Network::new(V4_ONLY)?;
    if let Some(name) = name {
        answer_dns(&network, name)?;
    }
    let server = network.inside(|| Ok(TcpListener::bind((BRIDGE, 3306))?))?;
    server.set_nonblocking(true)?;
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join("hosts"), hosts)?;
    std::fs::write(files.path().join("resolv.conf"), resolv_conf)?;

    let mut command = network.command("bwrap");
    command.args(["--die-with-parent", "--unshare-pid", "--clearenv", "--ro-bind", BINARY, "/mysqlset"]);
    // An image has no such file: it would make the program load another service's library, of another glibc.
    std::fs::write(files.path().join("nsswitch.conf"), "hosts: myhostname\n")?;
    for file in ["hosts", "resolv.conf", "nsswitch.conf"] {
        command.arg("--ro-bind").arg(files.path().join(file)).arg(Path::new("/etc").join(file));
    }
    command.args(["/mysqlset", "sidecar", "--hostname", "mysql-1", "--server-host", "mysql-0.mysql"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut sidecar = command.spawn()?;
    let found = accepts_within(&server, Duration::from_secs(30));
    sidecar.kill()?;
    sidecar.wait()?;
    let log = sidecar.stderr.take().map(std::io::read_to_string).transpose()?.unwrap_or_default();
    ensure!(found, "the sidecar did not find mysql-0.mysql:\n{log}");
    Ok(())
}

fn accepts_within(server: &TcpListener, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if server.accept().is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// A name server that knows one name's address, and reports every other name as missing. (RFC 1035, section 4)
fn answer_dns(network: &Network, name: &'static str) -> Result<()> {
    let socket = network.inside(|| Ok(UdpSocket::bind((BRIDGE, 53))?))?;
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            if let Some(answer) = answer(&query[..length], name) {
                let _ = socket.send_to(&answer, client as SocketAddr);
            }
        }
    });
    Ok(())
}

fn answer(query: &[u8], known: &str) -> Option<Vec<u8>> {
    let question = query.get(12..)?;
    let (mut name, mut at) = (String::new(), 0);
    while let length @ 1.. = usize::from(*question.get(at)?) {
        name += &String::from_utf8_lossy(question.get(at + 1..at + 1 + length)?);
        name.push('.');
        at += 1 + length;
    }
    let question = question.get(..at + 5)?;
    let (is_known, wants_address) = (name.trim_end_matches('.') == known, question[at + 1..at + 3] == [0, 1]);
    let answers = u8::from(is_known && wants_address);
    // A response, recursion available; NXDOMAIN (3) for an unknown name.
    let flags = [0x81, if is_known { 0x80 } else { 0x83 }];
    let mut reply = [&query[..2], &flags, &[0, 1, 0, answers, 0, 0, 0, 0], question].concat();
    if answers > 0 {
        // The name as in the question, type A, class IN, a second to live, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        reply.extend(Ipv4Addr::octets(&BRIDGE));
    }
    Some(reply)
}
