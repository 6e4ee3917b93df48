//! The cluster's private network: one namespace with a bridge, and one for each pod, all of them nameless. A process
//! namespace contains all processes of the cluster. A process that reads from a pipe holds each namespace, and only the
//! test has the pipe's other end. So any end of the test removes them all, at any moment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::spawner;

/// The bridge's own IPv4 address; pods count up from it.
pub const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);

/// The bridge's own IPv6 address, of a private network like a cluster's. (RFC 4193)
const BRIDGE_V6: Ipv6Addr = Ipv6Addr::new(0xfd97, 0, 0, 0, 0, 0, 0, 1);

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// The families of every pod's addresses. The first is the cluster's own, and probes use it.
pub type Families = &'static [Family];

/// The usual cluster.
pub const V4_ONLY: Families = &[Family::V4];

impl Family {
    /// The bridge's address of this family.
    pub fn bridge(self) -> IpAddr {
        match self {
            Family::V4 => BRIDGE.into(),
            Family::V6 => BRIDGE_V6.into(),
        }
    }

    fn of_pod(self, number: u32) -> IpAddr {
        match self {
            Family::V4 => {
                let [a, b, ..] = BRIDGE.octets();
                Ipv4Addr::new(a, b, 1 + (number / 250) as u8, 1 + (number % 250) as u8).into()
            }
            Family::V6 => {
                let [a, ..] = BRIDGE_V6.segments();
                Ipv6Addr::new(a, 0, 0, 0, 0, 0, 1, number as u16).into()
            }
        }
    }

    /// Gives a device an address, and skips the search for duplicates: until its end the address is unusable.
    fn add(self, address: IpAddr, device: &str) -> String {
        match self {
            Family::V4 => format!("ip addr add {address}/16 dev {device}"),
            Family::V6 => format!("ip addr add {address}/64 dev {device} nodad"),
        }
    }
}

/// A process that only holds namespaces, until the test closes its input.
pub struct Holder {
    starter: Child,
    pid: u32,
}

impl Holder {
    /// Has `starter` run a shell that does `first` and then holds.
    fn start(mut starter: Command, first: &str) -> Result<Holder> {
        starter.args(["sh", "-c", &format!("set -e; {first}; exec cat")]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut starter = spawner::spawn(starter)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(pid) = spawner::child_of(starter.id())
                && std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "cat")
            {
                return Ok(Holder { starter, pid });
            }
            if let Some(status) = starter.try_wait()? {
                bail!("making namespaces ended with {status}");
            }
            anyhow::ensure!(Instant::now() < deadline, "namespaces are not there after 20 seconds");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.starter.stdin.take());
        let _ = self.starter.wait();
    }
}

/// The network of one cluster, and its private mounts.
pub struct Network {
    holder: Holder,
    families: Families,
}

impl Network {
    pub fn new(families: Families) -> Result<Network> {
        let addresses: Vec<String> = families.iter().map(|family| family.add(family.bridge(), "br0")).collect();
        // The bridge gets an address of its own. Otherwise it takes the lowest of its ports', which changes with new
        // pods. Then the others may look for their name server at an outdated address.
        let bridge = format!(
            "ip link set lo up; ip link add br0 address 02:00:00:00:00:01 type bridge; {}; ip link set br0 up; mount --make-rprivate /; \
             mount -t proc proc /proc",
            addresses.join("; ")
        );
        let mut starter = Command::new("unshare");
        starter.args(["--net", "--mount", "--pid", "--fork"]);
        Ok(Network { holder: Holder::start(starter, &bridge).context("the cluster's network")?, families })
    }

    /// The bridge's address of the cluster's own family.
    pub fn bridge(&self) -> IpAddr {
        self.families[0].bridge()
    }

    /// The process that holds the cluster's network, mounts and processes.
    pub fn pid(&self) -> u32 {
        self.holder.pid
    }

    /// Adds a pod's network with the addresses that belong to `number`.
    pub fn add_pod(&self, hostname: &str, number: u32) -> Result<PodNetwork> {
        let mut starter = Command::new("nsenter");
        starter.args(["-t", &self.pid().to_string(), "-p", "--", "unshare", "--net", "--uts"]);
        let holder = Holder::start(starter, &format!("hostname {hostname}; ip link set lo up"))?;
        let addresses: Vec<IpAddr> = self.families.iter().map(|family| family.of_pod(number)).collect();
        let port = format!("v{number}");
        let pod = holder.pid.to_string();
        spawner::run(
            self.command("ip").args(["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &pod]),
        )?;
        spawner::run(self.command("ip").args(["link", "set", &port, "master", "br0", "up"]))?;
        let adding = self.families.iter().zip(&addresses).map(|(family, address)| family.add(*address, "eth0"));
        let all: Vec<String> = adding.chain(std::iter::once("ip link set eth0 up".to_owned())).collect();
        let pod_network = PodNetwork { holder, addresses, port };
        spawner::run(pod_network.command("sh").args(["-ec", &all.join("; ")]))?;
        Ok(pod_network)
    }

    /// A command in the cluster's network, on no pod.
    pub fn command(&self, program: &str) -> Command {
        in_network_of(self.pid(), program)
    }

    /// Connects from the cluster's network.
    pub fn connect(&self, address: SocketAddr, limit: Duration) -> Result<TcpStream> {
        self.inside(move || Ok(TcpStream::connect_timeout(&address, limit)?))
    }

    /// Listens on the bridge, which every pod can reach.
    pub fn listen(&self, port: u16) -> Result<TcpListener> {
        let bridge = self.bridge();
        self.inside(move || {
            // A process that is just starting may still hold the last listener's socket.
            let mut tries = 0..100;
            loop {
                match TcpListener::bind((bridge, port)) {
                    Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries.next().is_some() => {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    bound => return Ok(bound?),
                }
            }
        })
    }

    /// Runs on a thread inside the cluster's network. A socket that it makes stays in that network.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        inside(self.pid(), work)
    }

    /// The node's address of a family, if the cluster has that.
    pub fn node(&self, is_v4: bool) -> Option<IpAddr> {
        self.families.iter().map(|family| family.bridge()).find(|address| address.is_ipv4() == is_v4)
    }
}

/// The network and hostname that a pod's containers share.
pub struct PodNetwork {
    holder: Holder,
    /// One of each family of the cluster, in its order.
    pub addresses: Vec<IpAddr>,
    /// The pod's end at the bridge.
    pub port: String,
}

impl PodNetwork {
    /// The address that Kubernetes calls the pod's own.
    pub fn address(&self) -> IpAddr {
        self.addresses[0]
    }

    pub fn pid(&self) -> u32 {
        self.holder.pid
    }

    /// Connects from the pod's address.
    pub fn connect(&self, address: SocketAddr, limit: Duration) -> Result<TcpStream> {
        inside(self.pid(), move || Ok(TcpStream::connect_timeout(&address, limit)?))
    }

    /// A command in the pod's network.
    pub fn command(&self, program: &str) -> Command {
        in_network_of(self.pid(), program)
    }
}

/// Runs on a thread inside a process's network.
pub fn inside<T: Send + 'static>(pid: u32, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let thread = std::thread::spawn(move || -> Result<T> {
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))?;
        work()
    });
    thread.join().map_err(|_| anyhow::anyhow!("the thread in another network panicked"))?
}

fn in_network_of(pid: u32, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid.to_string(), "-n", "--", program]);
    command
}
