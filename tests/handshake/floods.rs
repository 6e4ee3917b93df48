//! A captured pod, and strangers in any number.

use std::collections::VecDeque;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::sidecar::{SECRET, Sidecar, ask, connect_to, own_address, peering};
use mysqlset::protocol::auth::{Side, Transcript};
use mysqlset::protocol::frame::{self, Kind};
use mysqlset::protocol::message::{Hello, Proof};
use mysqlset::protocol::preface;
use mysqlset::sys::secret::Secret;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::process::{Resource, getrlimit, setrlimit};

/// The usual limit of a shell is 1024, and this program's tests run in parallel.
fn raise_descriptors() {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    setrlimit(Resource::Nofile, limits).unwrap();
}

/// Opens connections as fast as it can, from few addresses, and sends nothing.
fn flood(address: SocketAddr, stop: &AtomicBool, made: &AtomicU64) {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let from: Vec<_> = (0..50).map(|_| own_address()).collect();
    let (mut held, mut next) = (VecDeque::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let source = from[next % from.len()];
        next += 1;
        let Ok(fd) = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None) else {
            continue;
        };
        if bind(&fd, &SocketAddrV4::new(source, 0)).is_err() {
            continue;
        }
        if matches!(connect(&fd, &address), Ok(()) | Err(Errno::INPROGRESS)) {
            made.fetch_add(1, Ordering::Relaxed);
        }
        held.push_back(fd);
        if held.len() > 100 {
            held.pop_front();
        }
    }
}

/// Ends the other threads, also when the test fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Once, evicted connections outlived the accepts of the next ones: 15,000 a second took 10,000 descriptors and 99 MB
/// within four seconds.
#[test]
fn an_evicted_connection_closes_before_many_more_come() {
    let (mut sidecar, peering) = (Sidecar::start("mysql-0"), peering());
    raise_descriptors();
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let most = std::thread::scope(|scope| {
        let _ended = Ended(&stop);
        for _ in 0..3 {
            scope.spawn(|| flood(sidecar.address, &stop, &made));
        }
        let (begun, mut most) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_secs(6) {
            most = most.max(sidecar.descriptors());
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let made = made.into_inner();
    assert!(made > 10_000, "only {made} connections were made");
    assert!(most < 300, "{most} descriptors at once");
    assert!(ask(&peering, sidecar.address).is_ok());
    sidecar.is_unharmed();
}

/// It knows the secret, and asks for a clone 600 times at once without reading the answers. Once, that took 600
/// descriptors and as many lines.
#[test]
fn a_captured_pod_cannot_exhaust_descriptors_or_log() {
    let (mut sidecar, peering) = (Sidecar::start("mysql-0"), peering());
    raise_descriptors();
    let hello = Hello { set: "mysql".into(), ordinal: 7, formats: vec!["xbstream-mariadb".into()], ..Hello::default() };
    let mut held = Vec::new();
    for _ in 0..600 {
        let mut stream = connect_to(sidecar.address);
        preface::send(&mut stream).unwrap();
        let mut said = Transcript::begin(preface::OWN, preface::OWN);
        said.add(&frame::write_control(&mut stream, Kind::Hello, &hello).unwrap());
        preface::receive(&mut stream).unwrap();
        let header = frame::read_header(&mut stream).unwrap();
        let challenge = frame::read_body(&mut stream, header).unwrap();
        said.add(&frame::header_bytes(header.kind, challenge.len()));
        said.add(&challenge);
        let proof = Proof { hmac: said.prove(&Secret::new(SECRET), Side::Recipient) };
        frame::write_control(&mut stream, Kind::Proof, &proof).unwrap();
        held.push(stream);
    }
    let descriptors = sidecar.descriptors();
    assert!(descriptors < 300, "{descriptors} descriptors for {} connections", held.len());
    assert!(ask(&peering, sidecar.address).is_ok(), "an honest peer is answered meanwhile");
    let hears_no = |mut stream: &TcpStream| frame::read_header(&mut stream).is_ok_and(|no| no.kind == Kind::Refusal);
    assert!(held.iter().filter(|stream| hears_no(stream)).count() > 100, "they have proven themselves");
    let lines = sidecar.log().lines().filter(|line| line.contains("refused: ")).count();
    // A new period of ten seconds may have begun meanwhile.
    assert!((1..=200).contains(&lines), "{lines} lines");
    sidecar.is_unharmed();
}
