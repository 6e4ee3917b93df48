//! A proxy between each pod's sidecar and that pod's server. It reads the statements. It can hold one or its answer
//! while a test kills a process.
//!
//! A packet of MySQL's protocol is a length (3 bytes, little-endian), a number, and a body. A client's packet number 0
//! begins a command; the first byte of its body names the command.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;

use crate::pods::conditions::bridge;
use crate::pods::manifest::Manifests;
use crate::pods::network::Network;
use crate::pods::{Cluster, Shared};

const PORT: u16 = 4306;
const HEADER: usize = 4;
const COM_QUERY: u8 = 3;

/// Between two looks at whether a held connection may continue.
const PERIOD: Duration = Duration::from_millis(2);

/// The side of the server's work on which a statement is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the server has seen it.
    Before,
    /// After the server has executed it, before its answer.
    After,
}

/// A moment in the life of a pod's sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// A statement without its literals.
    pub shape: String,
    /// Its number among the statements of this shape.
    pub occurrence: usize,
    pub moment: Moment,
}

#[derive(Default)]
struct State {
    /// The statements of each pod's sidecars so far, by the pod's address. Each pod has an address of its own.
    statements: BTreeMap<IpAddr, Vec<String>>,
    awaited: Option<Awaited>,
}

struct Awaited {
    /// One after the other.
    points: VecDeque<Point>,
    /// Earlier pods, whose statements pass.
    older: Vec<IpAddr>,
    is_held: bool,
}

pub struct SqlProxy {
    state: Arc<Mutex<State>>,
    stopped: Arc<AtomicBool>,
}

/// Makes sidecars talk to the proxy instead of to their server.
pub fn use_sql_proxy(manifests: &mut Manifests) {
    manifests.set_env("sidecar", "MYSQLSET_SERVER_HOST", &bridge().to_string());
    manifests.set_env("sidecar", "MYSQLSET_SERVER_PORT", &PORT.to_string());
    // MariaDB's tool sees a stranger in the proxy if it demands a certificate.
    manifests.server_files().for_each(|file| file.insert_str(0, "[mariadb-backup]\nskip_ssl_verify_server_cert\n\n"));
}

impl SqlProxy {
    /// Listens, and passes each connection on to the server of the pod that it comes from.
    pub fn start(cluster: &Cluster) -> Result<SqlProxy> {
        let listener = cluster.shared.network.listen(PORT)?;
        listener.set_nonblocking(true)?;
        let proxy = SqlProxy { state: Arc::default(), stopped: Arc::default() };
        let (state, stopped, shared) = (proxy.state.clone(), proxy.stopped.clone(), cluster.shared.clone());
        std::thread::spawn(move || accept_all(&listener, &state, &stopped, &shared));
        Ok(proxy)
    }

    /// The statements of the sidecars of the pod at this address.
    pub fn statements(&self, pod: IpAddr) -> Vec<String> {
        self.state.lock().expect("state").statements.get(&pod).cloned().unwrap_or_default()
    }

    /// Holds these statements, one after the other, of a pod that is silent so far.
    pub fn hold_at(&self, points: &[Point]) {
        let mut state = self.state.lock().expect("state");
        let older = state.statements.keys().copied().collect();
        state.awaited = Some(Awaited { points: points.iter().cloned().collect(), older, is_held: false });
    }

    pub fn holds(&self) -> bool {
        self.state.lock().expect("state").awaited.as_ref().is_some_and(|awaited| awaited.is_held)
    }

    /// Ends the held connection: its statement, or its answer, never arrives.
    pub fn let_go(&self) {
        if let Some(awaited) = &mut self.state.lock().expect("state").awaited {
            awaited.points.pop_front();
            awaited.is_held = false;
        }
    }
}

impl Drop for SqlProxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        self.state.lock().expect("state").awaited = None;
    }
}

fn accept_all(listener: &TcpListener, state: &Arc<Mutex<State>>, stopped: &AtomicBool, shared: &Arc<Shared>) {
    while !stopped.load(Ordering::Acquire) {
        let Ok((sidecar, address)) = listener.accept() else {
            std::thread::sleep(PERIOD);
            continue;
        };
        let (state, shared) = (state.clone(), shared.clone());
        std::thread::spawn(move || {
            // Without a server, the sidecar sees the connection closed.
            let _ = serve(sidecar, address.ip(), &state, &shared.network);
        });
    }
}

fn serve(sidecar: TcpStream, pod: IpAddr, state: &Mutex<State>, network: &Network) -> Result<()> {
    sidecar.set_nonblocking(false)?;
    let server = network.connect(SocketAddr::new(pod, 3306), Duration::from_secs(5))?;
    for end in [&sidecar, &server] {
        end.set_nodelay(true)?;
    }
    let answers = Arc::new(Answers::default());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = answers.pass_on(&server, &sidecar);
            close(&sidecar, &server);
        });
        let _ = pass_on_statements(&sidecar, &server, pod, state, &answers);
        close(&sidecar, &server);
    });
    Ok(())
}

fn close(sidecar: &TcpStream, server: &TcpStream) {
    let _ = sidecar.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn pass_on_statements(
    mut sidecar: &TcpStream,
    mut server: &TcpStream,
    pod: IpAddr,
    state: &Mutex<State>,
    answers: &Answers,
) -> Result<()> {
    loop {
        let packet = read_packet(&mut sidecar)?;
        if asks_for_tls(&packet) {
            // A backup tool, which is never held.
            server.write_all(&packet)?;
            std::io::copy(&mut sidecar, &mut server)?;
            return Ok(());
        }
        let held = statement_of(&packet).and_then(|statement| note(statement, pod, state));
        match held {
            None => server.write_all(&packet)?,
            Some(moment) => {
                if moment == Moment::After {
                    answers.are_held.store(true, Ordering::Release);
                    server.write_all(&packet)?;
                    answers.wait();
                }
                hold(state);
                return Ok(());
            }
        }
    }
}

/// A server's answers. A held answer proves the statement's execution; it is read and thrown away.
#[derive(Default)]
struct Answers {
    are_held: AtomicBool,
    has_come: AtomicBool,
}

impl Answers {
    fn pass_on(&self, mut server: &TcpStream, mut sidecar: &TcpStream) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let count = server.read(&mut buffer)?;
            if self.are_held.load(Ordering::Acquire) {
                self.has_come.store(true, Ordering::Release);
            } else {
                sidecar.write_all(&buffer[..count])?;
            }
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// A server that closes the connection instead of answering counts as an answer.
    fn wait(&self) {
        while !self.has_come.load(Ordering::Acquire) {
            std::thread::sleep(PERIOD);
        }
    }
}

fn read_packet(stream: &mut impl Read) -> Result<Vec<u8>> {
    let mut packet = vec![0; HEADER];
    stream.read_exact(&mut packet)?;
    let length = u32::from_le_bytes([packet[0], packet[1], packet[2], 0]) as usize;
    packet.resize(HEADER + length, 0);
    stream.read_exact(&mut packet[HEADER..])?;
    Ok(packet)
}

/// Only a client's first packet can be one. It ends right after its capabilities, a limit, a character set and a
/// filler.
fn asks_for_tls(packet: &[u8]) -> bool {
    packet[3] == 1 && packet.len() == HEADER + 32 && packet[HEADER + 1] & 0x08 != 0
}

fn statement_of(packet: &[u8]) -> Option<String> {
    let is_statement = packet[3] == 0 && packet.get(HEADER) == Some(&COM_QUERY);
    is_statement.then(|| String::from_utf8_lossy(&packet[HEADER + 1..]).into_owned())
}

/// Remembers the statement, and returns its moment if it is the one to be held.
fn note(statement: String, pod: IpAddr, state: &Mutex<State>) -> Option<Moment> {
    let mut state = state.lock().expect("state");
    let shape = shape(&statement);
    let said = state.statements.entry(pod).or_default();
    said.push(statement);
    let occurrence = said.iter().filter(|said| self::shape(said) == shape).count();
    let awaited = state.awaited.as_mut().filter(|awaited| !awaited.is_held && !awaited.older.contains(&pod))?;
    let point = awaited.points.front().filter(|point| point.shape == shape && point.occurrence == occurrence)?;
    Some(point.moment)
}

fn hold(state: &Mutex<State>) {
    if let Some(awaited) = &mut state.lock().expect("state").awaited {
        awaited.is_held = true;
    }
    while state.lock().expect("state").awaited.as_ref().is_some_and(|awaited| awaited.is_held) {
        std::thread::sleep(PERIOD);
    }
}

/// A statement without its literals, which vary between runs.
pub fn shape(statement: &str) -> String {
    let without_texts = statement.split('\'').step_by(2).collect::<Vec<_>>().join("…");
    match without_texts.split_once("_LOG_POS = ") {
        None => without_texts,
        Some((before, place)) => {
            format!("{before}_LOG_POS = …{}", place.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
    }
}
