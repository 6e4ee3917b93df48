//! A bad network between a recipient and its donor. The proxy cuts, damages or delays the donor's data.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;

use crate::pods::Cluster;
use crate::pods::conditions::bridge;
use crate::pods::manifest::Manifests;

pub const PORT: u16 = 4307;

/// The change to the donor's bytes.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Unchanged.
    None,
    /// The connection is closed after this many bytes.
    CutAfter(u64),
    /// A bit of this byte is flipped.
    FlipAt(u64),
    /// The proxy goes silent after this many bytes, and the connection stays.
    SilenceAfter(u64),
    /// The proxy goes silent, and sends the rest after its next change of fault.
    HoldAfter(u64),
}

/// Relays between the recipients of a cluster and one donor.
pub struct Proxy {
    fault: Arc<Mutex<Fault>>,
    donor: Arc<Mutex<SocketAddr>>,
    connections: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
}

/// The address on which it listens.
pub fn address() -> SocketAddr {
    SocketAddr::new(bridge(), PORT)
}

/// Makes recipients connect to the proxy instead of the pods.
pub fn use_proxy(manifests: &mut Manifests) {
    manifests.set_env("clone", "MYSQLSET_DONOR", &address().to_string());
}

impl Proxy {
    /// Listens, and passes connections on to the sidecar of `donor`.
    pub fn start(cluster: &Cluster, donor: &str, fault: Fault) -> Result<Proxy> {
        let listener = cluster.shared.network.listen(PORT)?;
        let donor = Arc::new(Mutex::new(SocketAddr::new(cluster.address(donor)?, 3307)));
        let fault = Arc::new(Mutex::new(fault));
        let proxy = Proxy { fault, donor: donor.clone(), connections: Arc::default(), stopped: Arc::default() };
        let (fault, connections, stopped) = (proxy.fault.clone(), proxy.connections.clone(), proxy.stopped.clone());
        let shared = cluster.shared.clone();
        listener.set_nonblocking(true)?;
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Acquire) {
                let Ok(recipient) = accept(&listener) else { continue };
                connections.fetch_add(1, Ordering::AcqRel);
                let address = *donor.lock().expect("donor");
                let Ok(donor) = shared.network.connect(address, Duration::from_secs(5)) else { continue };
                let (now, fault, stopped) = (*fault.lock().expect("fault"), fault.clone(), stopped.clone());
                std::thread::spawn(move || pass_on(recipient, donor, now, &fault, &stopped));
            }
        });
        Ok(proxy)
    }

    /// Sets the fault, from the next connection on.
    pub fn set(&self, fault: Fault) {
        *self.fault.lock().expect("fault") = fault;
    }

    /// Looks the donor's address up again. A new pod has a new address.
    pub fn find_again(&self, cluster: &Cluster, donor: &str) -> Result<()> {
        *self.donor.lock().expect("donor") = SocketAddr::new(cluster.address(donor)?, 3307);
        Ok(())
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

fn accept(listener: &TcpListener) -> Result<TcpStream> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(false)?;
            Ok(stream)
        }
        Err(error) => {
            std::thread::sleep(Duration::from_millis(5));
            Err(error.into())
        }
    }
}

fn pass_on(mut recipient: TcpStream, mut donor: TcpStream, fault: Fault, set: &Mutex<Fault>, stopped: &AtomicBool) {
    if let (Ok(mut from), Ok(mut to)) = (recipient.try_clone(), donor.try_clone()) {
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    let mut passed: u64 = 0;
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = donor.read(&mut buffer) {
        let mut bytes = &mut buffer[..count];
        let end = passed.saturating_add(count as u64);
        match fault {
            Fault::FlipAt(at) if (passed..end).contains(&at) => bytes[(at - passed) as usize] ^= 0x10,
            Fault::CutAfter(limit) | Fault::SilenceAfter(limit) if end > limit => {
                bytes = &mut bytes[..(limit - passed) as usize]
            }
            Fault::HoldAfter(limit) if end > limit && passed <= limit => {
                let is_held = || matches!(*set.lock().expect("fault"), Fault::HoldAfter(_));
                let mut held = bytes.to_vec();
                let _ = donor.set_read_timeout(Some(Duration::from_millis(20)));
                let mut more = [0; 64 << 10];
                while is_held() && !stopped.load(Ordering::Acquire) {
                    let count = donor.read(&mut more).unwrap_or_default();
                    held.extend(&more[..count]);
                }
                let _ = donor.set_read_timeout(None);
                passed = u64::MAX - 1;
                if recipient.write_all(&held).is_err() {
                    break;
                }
                continue;
            }
            _ => {}
        }
        if recipient.write_all(bytes).is_err() {
            break;
        }
        passed = passed.saturating_add(bytes.len() as u64);
        if bytes.len() < count {
            while matches!(fault, Fault::SilenceAfter(_))
                && !stopped.load(Ordering::Acquire)
                && is_connected(&recipient)
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            break;
        }
    }
    let _ = recipient.shutdown(Shutdown::Both);
    let _ = donor.shutdown(Shutdown::Both);
}

fn is_connected(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    !matches!(stream.peek(&mut [0]), Ok(0))
}
