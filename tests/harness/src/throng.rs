//! Strangers in any number, from one address, on one or several ports of a pod.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::pods::Cluster;

/// Their behaviour.
#[derive(Clone, Copy)]
pub enum Throng {
    /// They hold this many connections to each port and send nothing. After a cut they return once this time has
    /// passed.
    Idle { count: usize, again: Duration },
    /// They come this many times a second, alternating between the ports, and send nonsense.
    Garbage { per_second: usize },
}

impl Throng {
    /// The number of connections that counts as the beginning.
    fn connections(self, ports: usize) -> u64 {
        match self {
            Throng::Idle { count, .. } => (count * ports) as u64,
            Throng::Garbage { .. } => 200,
        }
    }
}

/// Ends them with the work, and also when it fails.
struct Gone<'a>(&'a AtomicBool);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does some work while strangers throng a pod's ports. Returns the number of their connections too.
pub fn while_thronged<T>(
    cluster: &Cluster,
    pod: &str,
    ports: &[u16],
    throng: Throng,
    work: impl FnOnce() -> Result<T>,
) -> Result<(T, u64)> {
    let address = cluster.address(pod)?;
    let targets: Vec<SocketAddr> = ports.iter().map(|port| SocketAddr::new(address, *port)).collect();
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    std::thread::scope(|scope| {
        let (stopping, making) = (stop.clone(), made.clone());
        let thronging = scope.spawn(move || {
            cluster.shared.network.inside(move || {
                match throng {
                    Throng::Idle { count, again } => idle(&targets, count, again, &stopping, &making),
                    Throng::Garbage { per_second } => garbage(&targets, per_second, &stopping, &making),
                }
                Ok(())
            })
        });
        let gone = Gone(&stop);
        let (deadline, wanted) = (Instant::now() + Duration::from_secs(20), throng.connections(ports.len()));
        while made.load(Ordering::Relaxed) < wanted {
            ensure!(Instant::now() < deadline, "{made:?} connections in 20 seconds, not {wanted}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let outcome = work();
        drop(gone);
        thronging.join().map_err(|_| anyhow::anyhow!("the throng failed"))??;
        Ok((outcome?, made.load(Ordering::Relaxed)))
    })
}

fn connect(address: SocketAddr, made: &AtomicU64) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
    stream.set_nonblocking(true).ok()?;
    made.fetch_add(1, Ordering::Relaxed);
    Some(stream)
}

fn idle(targets: &[SocketAddr], count: usize, again: Duration, stop: &AtomicBool, made: &AtomicU64) {
    let mut held: Vec<Vec<TcpStream>> = targets.iter().map(|_| Vec::new()).collect();
    while !stop.load(Ordering::Relaxed) {
        for (address, held) in targets.iter().zip(&mut held) {
            held.retain_mut(|stream| match stream.read(&mut [0; 512]) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            });
            let missing = count.saturating_sub(held.len());
            held.extend((0..missing).map_while(|_| connect(*address, made)));
        }
        std::thread::sleep(again);
    }
}

fn garbage(targets: &[SocketAddr], per_second: usize, stop: &AtomicBool, made: &AtomicU64) {
    let begun = Instant::now();
    let mut held = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * per_second as f64) as u64;
        loop {
            let number = made.load(Ordering::Relaxed);
            let Some(address) = targets.get(number as usize % targets.len()).filter(|_| number < due) else { break };
            let Some(mut stream) = connect(*address, made) else { break };
            let _ = stream.write_all(b"GET / or MYSQLSET, whatever you like to hear\r\n");
            held.push_back(stream);
            if held.len() > 100 {
                held.pop_front();
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
