//! The cluster's name server: the headless Service's own name, and one name for each of its pods, like CoreDNS. The
//! name of another Service resolves to any ready pod each time, as connections to a Service are spread.
//!
//! A packet is a header of 12 bytes, a question (labels, type, class), and in an answer records that point back to the
//! question's name. (RFC 1035)

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Shared;
use super::manifest::Service;

/// The content of a pod's `/etc/resolv.conf`.
pub fn resolv_conf(server: IpAddr, domain: &str, options: &str) -> String {
    format!("nameserver {server}\nsearch default.svc.{domain} svc.{domain} {domain}\noptions {options}\n")
}

/// The name server's behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Works,
    /// Answers every question with SERVFAIL.
    Fails,
    /// Gives no answer.
    Silent,
    /// Answers every name with one address, like a search domain with a wildcard.
    AnswersAll,
    /// Loses each question the first time, so that every lookup takes five seconds. It acts like a node whose
    /// connection tracking loses one of two packets.
    Slow,
    /// Answers with SERVFAIL while the cluster is young.
    FailsAtFirst,
    /// Gives the address of a former pod for a while, beside that of its successor.
    Stale,
}

/// A repeated question within this time belongs to the same lookup: the C library asks again after five seconds.
/// (resolv.conf(5), timeout)
const AGAIN: Duration = Duration::from_secs(9);

/// The time without names in a young cluster.
const YOUNG: Duration = Duration::from_secs(15);

/// The time for which a former pod's address is given. In Kubernetes' configuration CoreDNS keeps answers for up to 30
/// seconds.
const STALE: Duration = Duration::from_secs(20);

const HEADER: usize = 12;
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// Answers until the cluster ends.
pub fn start(shared: &Arc<Shared>) -> Result<()> {
    let bridge = shared.network.bridge();
    let socket = shared.network.inside(move || Ok(UdpSocket::bind((bridge, 53))?))?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let cluster: Weak<Shared> = Arc::downgrade(shared);
    std::thread::spawn(move || {
        let (mut packet, mut lost) = ([0; 512], Lost::default());
        loop {
            let received = socket.recv_from(&mut packet);
            let Some(cluster) = cluster.upgrade() else { return };
            if cluster.is_over() {
                return;
            }
            let Ok((length, asker)) = received else { continue };
            let mode = *cluster.resolver.lock().expect("resolver");
            if mode == Mode::Slow && lost.is_lost(asker.ip(), &packet[..length]) {
                continue;
            }
            if let Some(answer) = answer(&packet[..length], &cluster) {
                let _ = socket.send_to(&answer, asker);
            }
        }
    });
    Ok(())
}

/// The lost questions, with sender and time.
#[derive(Default)]
struct Lost(HashMap<(IpAddr, Vec<u8>), Instant>);

impl Lost {
    fn is_lost(&mut self, asker: IpAddr, question: &[u8]) -> bool {
        let question = (asker, question.to_vec());
        if self.0.remove(&question).is_some_and(|at| at.elapsed() < AGAIN) {
            return false;
        }
        self.0.insert(question, Instant::now());
        true
    }
}

fn answer(query: &[u8], cluster: &Shared) -> Option<Vec<u8>> {
    let (name, end) = name_at(query, HEADER)?;
    let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
    let question = query.get(HEADER..end + 4)?;
    let is_asked_for = |address: &IpAddr| match address {
        IpAddr::V4(_) => kind == TYPE_A,
        IpAddr::V6(_) => kind == TYPE_AAAA,
    };
    let mode = *cluster.resolver.lock().expect("resolver");
    let (code, mut addresses) = match mode {
        Mode::Silent => return None,
        Mode::Fails => (SERVER_FAILURE, Vec::new()),
        Mode::AnswersAll => (NO_ERROR, vec![cluster.network.bridge()]),
        Mode::FailsAtFirst if cluster.started.elapsed() < YOUNG => (SERVER_FAILURE, Vec::new()),
        Mode::Works | Mode::Slow | Mode::FailsAtFirst | Mode::Stale => match addresses_of(&name, cluster) {
            found if found.is_empty() => (NO_SUCH_NAME, found),
            found => (NO_ERROR, found),
        },
    };
    // A name with addresses of the other family exists, with an empty answer.
    addresses.retain(is_asked_for);
    let mut answer = query[..2].to_vec();
    answer.extend([0x84, code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        answer.extend([0xc0, HEADER as u8, 0, kind as u8, 0, 1, 0, 0, 0, 5, 0, data.len() as u8]);
        answer.extend(data);
    }
    Some(answer)
}

fn name_at(packet: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join(".").to_ascii_lowercase(), at));
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).into_owned());
        at += length;
    }
}

/// A pod has its name once it has an address. An unready one has it only where the Service says so.
fn addresses_of(name: &str, cluster: &Shared) -> Vec<IpAddr> {
    let manifests = cluster.manifests();
    let spec = &manifests.stateful_set.spec;
    let domain = format!(".default.svc.{}", cluster.surroundings.domain);
    let Some(name) = name.strip_suffix(&domain) else { return Vec::new() };
    let named = |name: &str| manifests.services.iter().find(|service| service.metadata.name == name);
    if name != spec.service_name
        && let Some(service) = named(name)
    {
        return one_that_is_ready(service, cluster);
    }
    let Some(service) = named(&spec.service_name) else { return Vec::new() };
    let all = service.spec.publish_not_ready_addresses;
    let pods = cluster.pods.lock().expect("pods");
    let served = pods.there.values().filter(|pod| pod.has_labels(&service.spec.selector));
    let published = served.filter(|pod| all || pod.status.lock().expect("status").ready);
    let found =
        published.filter(|pod| name == spec.service_name || name == format!("{}.{}", pod.name, spec.service_name));
    let is_stale = *cluster.resolver.lock().expect("resolver") == Mode::Stale;
    let stale = |pod: &str| pods.former.get(pod).filter(|(_, since)| is_stale && since.elapsed() < STALE);
    found
        .flat_map(|pod| stale(&pod.name).map_or_else(|| pod.network.addresses.clone(), |(old, _)| old.clone()))
        .collect()
}

fn one_that_is_ready(service: &Service, cluster: &Shared) -> Vec<IpAddr> {
    let pods = cluster.pods.lock().expect("pods");
    let served = pods.there.values().filter(|pod| pod.has_labels(&service.spec.selector));
    let ready: Vec<&Vec<IpAddr>> = served.filter(|pod| pod.is_ready()).map(|pod| &pod.network.addresses).collect();
    let dice = std::hash::RandomState::new().build_hasher().finish() as usize;
    if ready.is_empty() { Vec::new() } else { ready[dice % ready.len()].clone() }
}
